"""A person is erased from every table; what others need stays, with a stand-in in the person's place.

All of it happens in the caller's transaction. What belongs to the person alone loses its content: the rows stay, so
that the balance is even and the register tells that there was something. What others got as well loses the person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection

from notify.domain.erasure import ERASED, Erased, pattern, traces
from notify.exceptions import ConfigurationError, TransitionError
from notify.storage import attachments, suppressions
from notify.storage.models import metadata

# --- Who it is -------------------------------------------------------------------------------------------------------

_BY_LOGIN = sa.text("select login, lower(email) as email from notify.people where login = :who for no key update")
_BY_ADDRESS = sa.text("""
    select login, lower(email) as email from notify.people where lower(email) = lower(:who) order by login
    for no key update
""")
_FORMER = sa.text("""
    select distinct lower(address) from (
        select address from notify.recipients where login = any(cast(:logins as text[]))
        union all
        select address from notify.notifications where login = any(cast(:logins as text[])) and address is not null
    ) found
""")
_OTHERS = sa.text("""
    select lower(email) as email, login from notify.people
    where lower(email) = any(cast(:addresses as text[])) and login <> all(cast(:logins as text[])) order by login
""")
_KNOWN_LOGIN = sa.text("""
    select exists (select from notify.notifications where login = :who)
        or exists (select from notify.recipients where login = :who)
""")


def find(connection: Connection, who: str) -> Erased:
    """All names of a person.

    An address that is now somebody else's as well is none of theirs.

    :param who: an address, or a login; of an address, everybody who has it
    :raises ConfigurationError: an address of the login is another person's too, or nothing is known of the login
    """
    if "@" in who:
        logins = [row.login for row in connection.execute(_BY_ADDRESS, {"who": who})]
        addresses = {who.lower()}
    else:
        rows = connection.execute(_BY_LOGIN, {"who": who}).all()
        if not rows and not connection.scalar(_KNOWN_LOGIN, {"who": who}):
            raise ConfigurationError(f"Nothing is known of {who!r}: it is neither an address nor a login.")
        logins = [who]
        addresses = {row.email for row in rows if row.email}
    named = set(addresses)
    addresses |= set(connection.scalars(_FORMER, {"logins": logins}))
    others = {
        row.email: row.login for row in connection.execute(_OTHERS, {"addresses": [*addresses], "logins": logins})
    }
    if taken := named & others.keys():
        holder = others[taken.pop()]
        raise ConfigurationError(
            f"The address of {who} is also that of {holder}. Give {holder} another one first, or name the address: "
            "then everybody is erased who has it."
        )
    return Erased(uuid4().hex[:12], tuple(logins), tuple(sorted(addresses - others.keys())))


def _names(erased: Erased) -> dict[str, Any]:
    return {
        "addresses": list(erased.addresses),
        "mailboxes": [erased.address(one) for one in erased.addresses],
        "logins": list(erased.logins),
        "pseudonyms": [erased.login(one) for one in erased.logins],
        "words": [rf"(?<![[:alnum:]]){re.escape(one)}(?![[:alnum:]])" for one in erased.logins],
        "erased": ERASED,
    }


# --- Messages --------------------------------------------------------------------------------------------------------

# Alone: nobody else gets it. Only the lower one finds those to a former address that is somebody else's by now.
_MESSAGES = sa.text("""
    with theirs as (
        select message_id from notify.recipients where lower(address) = any(cast(:addresses as text[]))
        union
        select message_id from notify.recipients where login = any(cast(:logins as text[]))
    )
    select m.id, m.status,
           not exists (
               select from notify.recipients r
               where r.message_id = m.id and lower(r.address) <> all(cast(:addresses as text[]))
                 and (r.login is null or r.login <> all(cast(:logins as text[])))) as alone
    from notify.messages m join theirs on theirs.message_id = m.id order by m.id for update of m
""")
_TAKE_BACK = sa.text("""
    update notify.messages set status = 'queued', status_reason = 'the person is erased'
    where id = any(cast(:ids as bigint[])) and status in ('held', 'uncertain')
""")
_CANCEL = sa.text("""
    update notify.messages set status = 'cancelled', status_reason = 'the person is erased'
    where id = any(cast(:ids as bigint[])) and status = 'queued'
""")
_EMPTY = sa.text("""
    update notify.messages
    set content_id = null, headers = '', subject = :erased, reply_to = null,
        idempotency_key = case when idempotency_key ~ any(cast(:words as text[]))
            then 'erased:' || encode(sha256(convert_to(idempotency_key, 'UTF8')), 'hex') else idempotency_key end
    where id = any(cast(:ids as bigint[]))
""")
_DETACH = sa.text("""
    delete from notify.message_attachments where message_id = any(cast(:ids as bigint[])) returning sha256
""")
_LEAVE = sa.text("""
    delete from notify.recipients r
    where r.message_id = any(cast(:ids as bigint[]))
      and (lower(r.address) = any(cast(:addresses as text[])) or r.login = any(cast(:logins as text[])))
""")
_STAND_IN = sa.text("""
    update notify.recipients r
    set address = coalesce(
            (select n.instead from unnest(cast(:addresses as text[]), cast(:mailboxes as text[])) as n (was, instead)
             where n.was = lower(r.address)), r.address),
        login = (select n.instead from unnest(cast(:logins as text[]), cast(:pseudonyms as text[])) as n (was, instead)
                 where n.was = r.login),
        name = '', response = null
    where r.message_id = any(cast(:ids as bigint[]))
""")


@dataclass(frozen=True, slots=True)
class Theirs:
    """Messages that a person gets.

    :param alone: those that nobody else gets
    :param shared: the others
    """

    alone: list[int]
    shared: list[int]


def messages(connection: Connection, erased: Erased) -> Theirs:
    """The person's messages, locked.

    :raises TransitionError: one of them is being sent at this moment
    """
    rows = connection.execute(_MESSAGES, _names(erased)).all()
    if under_way := [row.id for row in rows if row.status == "sending"]:
        raise TransitionError(
            f"{len(under_way)} messages to this person are being sent at this moment, such as {under_way[0]}; nothing "
            "was erased. Try again in a few minutes; if a run has died, the next one takes them over."
        )
    return Theirs([row.id for row in rows if row.alone], [row.id for row in rows if not row.alone])


def cancel(connection: Connection, alone: Sequence[int]) -> int:
    """Take back what would still be sent to the person alone; how many."""
    connection.execute(_TAKE_BACK, {"ids": alone})
    return connection.execute(_CANCEL, {"ids": alone}).rowcount


def empty(connection: Connection, erased: Erased, theirs: Theirs) -> int:
    """Take text, headers and files from what the person alone got, and the person from what others got as well.

    :returns: how many files went with them
    """
    values = _names(erased) | {"ids": theirs.alone}
    connection.execute(_EMPTY, values)
    files = {digest for digest in connection.scalars(_DETACH, values) if digest is not None}
    connection.execute(_STAND_IN, values)
    connection.execute(_LEAVE, values | {"ids": theirs.shared})
    return attachments.drop_unused(connection, sorted(files))


# --- Notifications, and what is put aside ----------------------------------------------------------------------------

_CLOSE = sa.text("""
    with gone as (
        delete from notify.deferred where login = any(cast(:logins as text[])) returning notification_id
    )
    update notify.notifications n set home = 'refused', reason = 'inactive', moved_at = now()
    from gone where n.id = gone.notification_id
""")
_NOTIFICATIONS = sa.text("""
    update notify.notifications n
    set address = coalesce(
            (select a.instead from unnest(cast(:addresses as text[]), cast(:mailboxes as text[])) as a (was, instead)
             where a.was = lower(n.address)), n.address),
        login = coalesce(
            (select a.instead from unnest(cast(:logins as text[]), cast(:pseudonyms as text[])) as a (was, instead)
             where a.was = n.login), n.login),
        name = '', subject = null, summary = null, content_id = null, content_fields = null
    where n.login = any(cast(:logins as text[])) or lower(n.address) = any(cast(:addresses as text[]))
""")
_DROP_CONTENTS = sa.text("""
    delete from notify.contents c
    where c.id = any(cast(:ids as bigint[]))
      and not exists (select from notify.messages m where m.content_id = c.id offset 0)
      and not exists (select from notify.notifications n where n.content_id = c.id offset 0)
""")
_CONTENTS = sa.text("""
    select content_id from notify.messages where id = any(cast(:ids as bigint[])) and content_id is not null
    union
    select content_id from notify.notifications
    where content_id is not null
      and (login = any(cast(:logins as text[])) or lower(address) = any(cast(:addresses as text[])))
""")


def contents(connection: Connection, erased: Erased, theirs: Theirs) -> list[int]:
    """The texts that were written for the person, others maybe as well; to be asked before they are emptied."""
    return list(connection.scalars(_CONTENTS, _names(erased) | {"ids": theirs.alone}))


def notifications(connection: Connection, erased: Erased) -> int:
    """Close what is put aside for the person, and let no notification tell whose it was; how many."""
    values = _names(erased)
    connection.execute(_CLOSE, values)
    return connection.execute(_NOTIFICATIONS, values).rowcount


def drop_contents(connection: Connection, ids: Sequence[int]) -> None:
    """Remove texts that nobody needs any more."""
    connection.execute(_DROP_CONTENTS, {"ids": ids})


# --- The person, and what is theirs ----------------------------------------------------------------------------------

_PEOPLE: Sequence[sa.TextClause] = (
    sa.text("""
        delete from notify.deadlines where login = any(cast(:logins as text[]))
    """),
    # Somebody has to hear of it: the supervisor, as when an owner cannot be reached.
    sa.text("""
        update notify.cases c set owner = (
            select nullif(p.supervisor, '') from notify.people p
            where p.login = c.owner and p.supervisor <> all(cast(:logins as text[])))
        where c.owner = any(cast(:logins as text[]))
    """),
    sa.text("""
        update notify.deadlines d set owner = (
            select p.supervisor from notify.people p
            where p.login = d.owner and p.supervisor <> all(cast(:logins as text[])))
        where d.owner = any(cast(:logins as text[])) and d.closed_at is null
    """),
    sa.text("""
        with ended as (
            update notify.deadlines set closed_at = now(), closed_reason = 'cleared'
            where owner is null and type = 'term' and closed_at is null and id = any(cast(:owned as bigint[]))
            returning id
        )
        update notify.deadline_steps s set outcome = 'closed', settled_at = now()
        from ended where s.deadline_id = ended.id and s.outcome is null
    """),
    sa.text("""
        update notify.deadline_steps set recipients = case
            when recipients <@ cast(:logins as text[]) then array['@owner']
            else array(select one from unnest(recipients) with ordinality as r (one, place)
                       where one <> all(cast(:logins as text[])) order by place) end
        where recipients && cast(:logins as text[]) and outcome is null
    """),
    sa.text("""
        update notify.people set supervisor = null where supervisor = any(cast(:logins as text[]))
    """),
    sa.text("""
        delete from notify.people where login = any(cast(:logins as text[]))
    """),
)
_OWNED = sa.text("select id from notify.deadlines where owner = any(cast(:logins as text[])) and closed_at is null")


def person(connection: Connection, erased: Erased) -> int:
    """Remove the person with groups, preferences and reminders, and hand what they own to their supervisor.

    A deadline of whose owner no supervisor is known ends.

    :returns: how many people that were
    """
    values = _names(erased)
    values["owned"] = list(connection.scalars(_OWNED, values))
    removed = 0
    for statement in _PEOPLE:
        removed = connection.execute(statement, values).rowcount
    return removed


_BOUNCES = sa.text("""
    update notify.bounces b
    set address = n.instead, words = '', counts = false, notice = case notice when 'due' then 'none' else notice end
    from unnest(cast(:addresses as text[]), cast(:mailboxes as text[])) as n (was, instead)
    where n.was = lower(b.address)
""")
_SENTENCE = sa.text("""
    update notify.message_events e set actor = n.instead || substr(e.actor, length(n.was) + 1)
    from unnest(cast(:logins as text[]), cast(:pseudonyms as text[])) as n (was, instead)
    where e.actor = n.was or starts_with(e.actor, n.was || ' (')
""")

#: Columns that hold a login and nothing else, beside those that are seen to above.
_LOGINS = (("events", "actor"), ("events", "owner"), ("deadlines", "owner"), ("deadlines", "set_by"))


def traces_of_logins(connection: Connection, erased: Erased) -> None:
    """Let stand-ins take the place of logins where the history names them."""
    values = _names(erased)
    for statement in (_BOUNCES, _SENTENCE):
        connection.execute(statement, values)
    for table, name in _LOGINS:
        column = metadata.tables[f"notify.{table}"].c[name]
        for login in erased.logins:
            connection.execute(sa.update(column.table).where(column == login).values({column: erased.login(login)}))


def suppress_hashed(connection: Connection, erased: Erased) -> int:
    """Keep the suppressions of the addresses under their hash: the person must not get mail again for being erased."""
    return sum(suppressions.hide(connection, address) for address in erased.addresses)


# --- Whatever mentions the address -----------------------------------------------------------------------------------

#: Keys are compared with what producers hand over; a key with another text in it would be another key anyway.
_KEYS = frozenset({"idempotency_key"})


def _texts() -> Iterator[tuple[sa.Table, list[sa.Column[Any]]]]:
    """Each table with its columns of text; the senders last, for every claim locks them."""
    for table in sorted(metadata.sorted_tables, key=lambda table: table.name == "senders"):
        columns = [column for column in table.columns if isinstance(column.type, sa.Text)]
        if columns:
            yield table, columns


def _mentions(columns: Sequence[sa.ColumnElement[Any]], address: str) -> sa.ColumnElement[bool]:
    """Whether one of these may mention an address; cheap, and true for longer ones as well."""
    together = sa.func.concat_ws("\n", *(sa.cast(column, sa.Text) for column in columns))
    return sa.func.strpos(sa.func.lower(together), address) > 0


def clean_texts(connection: Connection, erased: Erased) -> int:
    """Replace the addresses in all columns of text: answers of servers, reasons, titles; how many rows."""
    return sum(
        connection.execute(
            sa.update(table)
            .where(_mentions(columns, address))
            .values({column: _cleaned(column, address, erased.address(address)) for column in columns})
        ).rowcount
        for table, columns in _texts()
        for address in erased.addresses
    )


def _cleaned(column: sa.Column[Any], address: str, instead: str) -> sa.ColumnElement[Any]:
    if column.name in _KEYS:
        hashed = sa.func.encode(sa.func.sha256(sa.func.convert_to(column, "UTF8")), "hex")
        return sa.case(
            (sa.func.strpos(sa.func.lower(column), address) > 0, sa.literal("erased:") + hashed), else_=column
        )
    return sa.func.regexp_replace(column, pattern(address), instead, "gi")


def clean_values(connection: Connection, erased: Erased) -> int:
    """The same for JSON, where logins are replaced as well, and for lists; how many rows."""
    changed = 0
    wanted = [*erased.addresses, *(one.lower() for one in erased.logins)]
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, JSONB) or (
                isinstance(column.type, ARRAY) and isinstance(column.type.item_type, sa.Text)
            ):
                changed += sum(_clean_column(connection, erased, column, one) for one in wanted)
    return changed


def _is_list_of_texts(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, ARRAY) and isinstance(column.type.item_type, sa.Text)


def _clean_column(connection: Connection, erased: Erased, column: sa.Column[Any], wanted: str) -> int:
    key = list(column.table.primary_key.columns)
    rows = connection.execute(sa.select(column, *key).where(_mentions([column], wanted))).all()
    changed = 0
    for row in rows:
        cleaned = erased.clean_value(row[0])
        if cleaned != row[0]:
            same = sa.and_(*(part == value for part, value in zip(key, row[1:], strict=True)))
            connection.execute(sa.update(column.table).where(same).values({column: cleaned}))
            changed += 1
    return changed


# --- Mails that others got -------------------------------------------------------------------------------------------

_BODIES = sa.text("""
    select c.id from notify.contents c
    cross join lateral (
        select replace(replace(encode(c.body, 'escape'), E'=\\r\\n', ''), E'\\r\\n', '') as line) b
    where exists (select from unnest(cast(:plain as text[])) p (one) where strpos(lower(b.line), p.one) > 0)
       or exists (select from unnest(cast(:encoded as text[])) p (one) where strpos(b.line, p.one) > 0)
""")
_SPELLINGS = sa.text("""
    select distinct address from notify.recipients where lower(address) = any(cast(:addresses as text[]))
""")
_BODY = sa.text("""
    select c.body, coalesce(
        (select m.headers from notify.messages m where m.content_id = c.id and m.headers <> '' limit 1),
        (select n.content_fields from notify.notifications n
         where n.content_id = c.id and n.content_fields is not null limit 1), '') as fields
    from notify.contents c where c.id = :id for no key update of c
""")
_SET_BODY = sa.text("update notify.contents set body = :body where id = :id")
_HEADED = sa.text("""
    select m.id from notify.messages m
    where m.headers <> '' and (
        m.id = any(cast(:ids as bigint[])) or exists (
            select from unnest(cast(:addresses as text[])) a (one)
            where strpos(lower(concat_ws(' ', m.subject, m.reply_to, encode(m.headers, 'escape'))), a.one) > 0))
    order by m.id
""")
_HEADERS = sa.text("select headers, status from notify.messages where id = :id for no key update")
_ADDRESSEES = sa.text("select role, address, name from notify.recipients where message_id = :id order by position")
_SET_HEADERS = sa.text("update notify.messages set headers = :headers where id = :id")


@dataclass(frozen=True, slots=True)
class Text:
    """A stored text.

    :param fields: the header lines that belong to it, others among them
    """

    body: bytes
    fields: bytes


@dataclass(frozen=True, slots=True)
class Headed:
    """A stored header, and who is left to be named in it.

    :param recipients: role, address and name of each
    """

    headers: bytes
    recipients: list[tuple[str, str, str]]


def spellings(connection: Connection, erased: Erased) -> list[str]:
    """The addresses as they were written, in upper and lower case; to be asked before they are replaced."""
    return list(connection.scalars(_SPELLINGS, _names(erased)))


def mentioning_bodies(connection: Connection, erased: Erased, written: Iterable[str]) -> list[int]:
    """Texts that may mention one of the addresses, in whatever encoding."""
    encoded = [trace for one in {*written, *erased.addresses} for trace in traces(one)]
    return list(connection.scalars(_BODIES, {"plain": list(erased.addresses), "encoded": encoded}))


def text(connection: Connection, content_id: int) -> Text | None:
    """A text, locked; None if it is gone."""
    row = connection.execute(_BODY, {"id": content_id}).one_or_none()
    return Text(row.body, row.fields) if row else None


def set_text(connection: Connection, content_id: int, body: bytes) -> None:
    """Replace a text."""
    connection.execute(_SET_BODY, {"id": content_id, "body": body})


def mentioning_headers(connection: Connection, erased: Erased, shared: Sequence[int]) -> list[int]:
    """Messages whose headers name the person: those shared with others, and any that mention an address."""
    return list(connection.scalars(_HEADED, _names(erased) | {"ids": shared}))


def headed(connection: Connection, number: int) -> Headed:
    """A message's headers, locked."""
    row = connection.execute(_HEADERS, {"id": number}).one()
    return Headed(row.headers, [tuple(one) for one in connection.execute(_ADDRESSEES, {"id": number})])


def set_headers(connection: Connection, number: int, headers: bytes) -> None:
    """Replace a message's headers."""
    connection.execute(_SET_HEADERS, {"id": number, "headers": headers})


# --- What is left ----------------------------------------------------------------------------------------------------


def left(connection: Connection, erased: Erased) -> dict[str, int]:
    """Where one of the addresses still stands in plain: rows by table and column."""
    found: dict[str, int] = {}
    for table in metadata.sorted_tables:
        values = {column.name: value for column in table.columns if (value := _as_text(column)) is not None}
        for address in erased.addresses if values else ():
            matches = [sa.func.count().filter(one.op("~*")(pattern(address))) for one in values.values()]
            counts = connection.execute(sa.select(*matches).where(_mentions(list(values.values()), address))).one()
            for name, count in zip(values, counts, strict=True):
                if count:
                    found[f"{table.name}.{name}"] = found.get(f"{table.name}.{name}", 0) + count
    return found


def _as_text(column: sa.Column[Any]) -> sa.ColumnElement[Any] | None:
    if isinstance(column.type, sa.LargeBinary):
        return sa.func.encode(column, "escape")
    if isinstance(column.type, sa.Text | JSONB | ARRAY):
        return sa.cast(column, sa.Text)
    return None
