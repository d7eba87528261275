"""Where an address stands, in any table and in any encoding: cleaned of it, and searched for what is left.

All of it happens in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection

from notify.domain.destination import is_number
from notify.domain.erasure import Erased, letter_cases, number_pattern, pattern, spellings, traces
from notify.storage.models import metadata

# --- Columns ---------------------------------------------------------------------------------------------------------

#: Keys are compared with what producers hand over; a key with another text in it would be another key anyway.
_KEYS = frozenset({"idempotency_key"})

#: Keys of rows to which other rows refer, of which no two must become the same: :func:`rename` sees to them.
_NAMES = frozenset({"cases.id", "deadlines.case_id", "events.case_id", "messages.case_id", "groups.name",
                    "memberships.group_name"})  # fmt: skip


def _texts() -> Iterator[tuple[sa.Table, list[sa.Column[Any]]]]:
    """Each table with its columns of text; the senders last, for every claim locks them."""
    for table in sorted(metadata.sorted_tables, key=lambda table: table.name == "senders"):
        columns = [
            column
            for column in table.columns
            if isinstance(column.type, sa.Text) and f"{table.name}.{column.name}" not in _NAMES
        ]
        if columns:
            yield table, columns


def _mentions(
    columns: Sequence[sa.ColumnElement[Any]],
    addresses: Iterable[str],
    logins: Iterable[str] = (),
    *,
    stored: bool = False,
) -> sa.ColumnElement[bool]:
    """Whether one of these may hold one of the addresses or logins; cheap, and true for longer ones too."""
    together = sa.func.lower(sa.func.concat_ws("\n", *(sa.cast(column, sa.Text) for column in columns)))
    numbers, mailboxes = _apart(addresses)
    wanted = [spelling for one in mailboxes for spelling in spellings(one, stored=stored)]
    wanted += [one.lower() for one in logins]
    found = [sa.func.strpos(together, one) > 0 for one in wanted]
    return sa.or_(sa.false(), *found, *(together.op("~*")(number_pattern(one)) for one in numbers))


def _apart(addresses: Iterable[str]) -> tuple[list[str], list[str]]:
    """Telephone numbers, which are found by patterns, for their digits may stand apart; and mailboxes."""
    given = list(addresses)
    return [one for one in given if is_number(one)], [one for one in given if not is_number(one)]


def _wanted(erased: Erased, *, stored: bool = False) -> dict[str, list[str]]:
    """The same for a statement: texts in lower case, and patterns."""
    numbers, mailboxes = _apart(erased.addresses)
    wanted = {spelling for one in mailboxes for spelling in spellings(one, stored=stored)}
    return {"wanted": list(wanted), "patterns": [number_pattern(one) for one in numbers]}


def clean_texts(connection: Connection, erased: Erased) -> int:
    """Replace the addresses in all columns of text: answers of servers, reasons, titles; how many rows."""
    return sum(
        connection.execute(
            sa.update(table)
            .where(_mentions(columns, [address]))
            .values({column: _cleaned(column, address, erased.address(address)) for column in columns})
        ).rowcount
        for table, columns in _texts()
        for address in erased.addresses
    )


def _cleaned(column: sa.Column[Any], address: str, instead: str) -> sa.ColumnElement[Any]:
    if column.name in _KEYS:
        hashed = sa.func.encode(sa.func.sha256(sa.func.convert_to(column, "UTF8")), "hex")
        return sa.case((_mentions([column], [address]), sa.literal("erased:") + hashed), else_=column)
    return sa.func.regexp_replace(column, pattern(address), instead, "gi")


def clean_values(connection: Connection, erased: Erased) -> int:
    """The same for JSON, where logins are replaced as well, and for lists; how many rows."""
    return sum(
        _clean_column(connection, erased, column)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, JSONB) or _is_list_of_texts(column)
    )


def _is_list_of_texts(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, ARRAY) and isinstance(column.type.item_type, sa.Text)


def _clean_column(connection: Connection, erased: Erased, column: sa.Column[Any]) -> int:
    key = list(column.table.primary_key.columns)
    wanted = _mentions([column], erased.addresses, erased.logins)
    rows = connection.execute(sa.select(column, *key).where(wanted)).all()
    changed = 0
    for row in rows:
        cleaned = erased.clean_value(row[0])
        if cleaned != row[0]:
            same = sa.and_(*(part == value for part, value in zip(key, row[1:], strict=True)))
            connection.execute(sa.update(column.table).where(same).values({column: cleaned}))
            changed += 1
    return changed


# --- Names of cases and groups ---------------------------------------------------------------------------------------

_CASE_IDS = sa.text("""
    select id from (
        select id from notify.cases union select case_id from notify.events union select case_id from notify.messages
    ) found
    where exists (select from unnest(cast(:wanted as text[])) w (one) where strpos(lower(id), w.one) > 0)
       or id ~* any(cast(:patterns as text[]))
    order by id
""")
_GROUP_NAMES = sa.text("""
    select name from notify.groups
    where exists (select from unnest(cast(:wanted as text[])) w (one) where strpos(lower(name), w.one) > 0)
       or name ~* any(cast(:patterns as text[]))
    order by name
""")

# In one statement: foreign keys are looked at when it ends.
_RENAME_CASES = sa.text("""
    with names as (
        select * from unnest(cast(:was as text[]), cast(:instead as text[])) as n (was, instead)
    ), parents as (
        update notify.cases c set id = n.instead from names n where c.id = n.was
    ), terms as (
        update notify.deadlines d set case_id = n.instead from names n where d.case_id = n.was
    ), happened as (
        update notify.events e set case_id = n.instead from names n where e.case_id = n.was
    )
    update notify.messages m set case_id = n.instead from names n where m.case_id = n.was
""")
_RENAME_GROUPS = sa.text("""
    with names as (
        select * from unnest(cast(:was as text[]), cast(:instead as text[])) as n (was, instead)
    ), parents as (
        update notify.groups g set name = n.instead from names n where g.name = n.was
    )
    update notify.memberships m set group_name = n.instead from names n where m.group_name = n.was
""")


def rename(connection: Connection, erased: Erased) -> int:
    """Replace the addresses in ids of cases and names of groups, wherever these stand; how many names."""
    wanted = _wanted(erased)
    count = 0
    for query, statement in ((_CASE_IDS, _RENAME_CASES), (_GROUP_NAMES, _RENAME_GROUPS)):
        names = _new_names(erased, connection.scalars(query, wanted))
        if names:
            connection.execute(statement, {"was": list(names), "instead": list(names.values())})
        count += len(names)
    return count


def _new_names(erased: Erased, names: Iterable[str]) -> dict[str, str]:
    """What each is called from now on; those that differ in the case of letters alone are told apart by a number."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        cleaned = erased.clean(name)
        if cleaned != name:
            number = next(one for one in range(1, len(taken) + 2) if _numbered(cleaned, one) not in taken)
            found[name] = _numbered(cleaned, number)
            taken.add(found[name])
    return found


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


# --- Mails that others got -------------------------------------------------------------------------------------------

_BODIES = sa.text("""
    select c.id from notify.contents c
    cross join lateral (
        select replace(replace(encode(c.body, 'escape'), E'=\\r\\n', ''), E'\\r\\n', '') as line) b
    where exists (select from unnest(cast(:wanted as text[])) p (one) where strpos(lower(b.line), p.one) > 0)
       or exists (select from unnest(cast(:encoded as text[])) p (one) where strpos(b.line, p.one) > 0)
       or b.line ~* any(cast(:patterns as text[]))
""")
_WRITTEN = sa.text("""
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
            select from unnest(cast(:wanted as text[])) a (one)
            where strpos(lower(concat_ws(' ', m.subject, m.reply_to, encode(m.headers, 'escape'))), a.one) > 0)
        or concat_ws(' ', m.subject, m.reply_to, encode(m.headers, 'escape')) ~* any(cast(:patterns as text[])))
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


def spelled(connection: Connection, erased: Erased) -> list[str]:
    """The addresses as they were written, in upper and lower case; to be asked before they are replaced."""
    return list(connection.scalars(_WRITTEN, {"addresses": list(erased.addresses)}))


def in_bodies(connection: Connection, erased: Erased, written: Iterable[str] = ()) -> list[int]:
    """Texts that may mention one of the addresses, in whatever encoding.

    :param written: the addresses as they were written; base64 knows no upper and lower case
    """
    plain = _wanted(erased, stored=True)
    cases = {one for address in erased.addresses for one in letter_cases(address)}
    encoded = {trace for one in {*written, *cases} for trace in traces(one)}
    return list(connection.scalars(_BODIES, plain | {"encoded": list(encoded)}))


def text(connection: Connection, content_id: int) -> Text | None:
    """A text, locked; None if it is gone."""
    row = connection.execute(_BODY, {"id": content_id}).one_or_none()
    return Text(row.body, row.fields) if row else None


def set_text(connection: Connection, content_id: int, body: bytes) -> None:
    """Replace a text."""
    connection.execute(_SET_BODY, {"id": content_id, "body": body})


def in_headers(connection: Connection, erased: Erased, shared: Sequence[int]) -> list[int]:
    """Messages whose headers name the person: those shared with others, and any that mention an address."""
    return list(connection.scalars(_HEADED, _wanted(erased, stored=True) | {"ids": shared}))


def headed(connection: Connection, number: int) -> Headed:
    """A message's headers, locked."""
    row = connection.execute(_HEADERS, {"id": number}).one()
    return Headed(row.headers, [tuple(one) for one in connection.execute(_ADDRESSEES, {"id": number})])


def set_headers(connection: Connection, number: int, headers: bytes) -> None:
    """Replace a message's headers."""
    connection.execute(_SET_HEADERS, {"id": number, "headers": headers})


#: The column that :func:`in_bodies` searches.
BODIES = "contents.body"


# --- What is left ----------------------------------------------------------------------------------------------------


def left(connection: Connection, erased: Erased) -> dict[str, int]:
    """Where one of the addresses still stands, other than in texts of mails: rows by table and column."""
    found: dict[str, int] = {}
    for table in metadata.sorted_tables:
        values = {column.name: value for column in table.columns if (value := _as_text(column)) is not None}
        for address in erased.addresses if values else ():
            matches = [sa.func.count().filter(one.op("~*")(pattern(address))) for one in values.values()]
            wanted = _mentions(list(values.values()), [address], stored=True)
            counts = connection.execute(sa.select(*matches).where(wanted)).one()
            for name, count in zip(values, counts, strict=True):
                if count:
                    found[f"{table.name}.{name}"] = found.get(f"{table.name}.{name}", 0) + count
    return found


_MESSAGES_WITH = sa.text("""
    select m.message_id from notify.message_attachments m join notify.attachments a on a.sha256 = m.sha256
    where exists (
        select from unnest(cast(:patterns as text[])) p (one) where encode(a.content, 'escape') ~* p.one)
    union
    select id from notify.messages where content_id = any(cast(:bodies as bigint[])) order by 1
""")


def messages_with(connection: Connection, erased: Erased, bodies: Sequence[int]) -> list[int]:
    """Messages with a file in the outbox that mentions one of the addresses.

    :param bodies: texts whose messages are wanted as well
    """
    values = {"patterns": [pattern(one) for one in erased.addresses], "bodies": list(bodies)}
    return list(connection.scalars(_MESSAGES_WITH, values))


def _as_text(column: sa.Column[Any]) -> sa.ColumnElement[Any] | None:
    if f"{column.table.name}.{column.name}" == BODIES:
        return None  # in encodings that have to be read
    if isinstance(column.type, sa.LargeBinary):
        return sa.func.encode(column, "escape")
    if isinstance(column.type, sa.Text | JSONB | ARRAY):
        return sa.cast(column, sa.Text)
    return None
