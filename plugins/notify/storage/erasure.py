"""A person is erased from every table; what others need stays, with a stand-in in the person's place.

All of it happens in the caller's transaction. What belongs to the person alone loses its content: the rows stay, so
that the balance is even and the register tells that there was something. What others got as well loses the person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.destination import Region, is_number, sought
from notify.domain.erasure import ERASED, NOWHERE, Erased
from notify.exceptions import ConfigurationError, TransitionError
from notify.storage import attachments, people, suppressions, unsubscriptions
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
# Where the person's mail was forwarded to, as servers told; what is known as anybody else's too is left to them.
_FORWARDED = sa.text("""
    select distinct lower(b.address) from notify.bounces b
    join notify.recipients r on r.message_id = b.message_id and (r.position = b.position or b.position is null)
    where (lower(r.address) = any(cast(:addresses as text[])) or r.login = any(cast(:logins as text[])))
      and b.address like '%_@_%' and b.address not like :nowhere
      and not exists (select from notify.people p where lower(p.email) = lower(b.address))
      and not exists (select from notify.recipients o where lower(o.address) = lower(b.address))
      and not exists (select from notify.notifications n where lower(n.address) = lower(b.address))
      and not exists (
          select from notify.bounces same
          join notify.recipients o on o.message_id = same.message_id and o.position = same.position
          where same.address = b.address and lower(o.address) <> all(cast(:addresses as text[]))
            and (o.login is null or o.login <> all(cast(:logins as text[]))))
""")
_OTHERS = sa.text("""
    select lower(email) as email, login from notify.people
    where lower(email) = any(cast(:addresses as text[])) and login <> all(cast(:logins as text[])) order by login
""")
_BY_LOGINS = sa.text("""
    select login, lower(email) as email from notify.people where login = any(cast(:logins as text[]))
    order by login for no key update
""")
_KNOWN_LOGIN = sa.text("""
    select exists (select from notify.notifications where login = :who)
        or exists (select from notify.recipients where login = :who)
""")


def find(connection: Connection, who: str, region: Region) -> Erased:
    """All names of a person.

    An address that is now somebody else's as well is none of theirs. One to which their mail was forwarded is.

    :param who: an address, a telephone number, or a login; of an address or number, everybody who has it
    :param region: the country of numbers without the code of one
    :raises ConfigurationError: an address of the login is another person's too, or nothing is known of the login
    """
    logins, named = _meant(connection, who, region)
    addresses = named | _numbers(connection, logins, region) | set(connection.scalars(_FORMER, {"logins": logins}))
    others = {
        row.email: row.login for row in connection.execute(_OTHERS, {"addresses": [*addresses], "logins": logins})
    }
    if taken := named & others.keys():
        holder = others[taken.pop()]
        raise ConfigurationError(
            f"The address of {who} is also that of {holder}. Give {holder} another one first, or name the address: "
            "then everybody is erased who has it."
        )
    addresses -= others.keys()
    addresses -= {one for one in addresses if is_number(one) and _of_others(connection, one, logins, region)}
    forwarded = {"logins": logins, "addresses": [*addresses], "nowhere": f"%@{NOWHERE}"}
    addresses |= set(connection.scalars(_FORWARDED, forwarded))
    return Erased(uuid4().hex[:12], tuple(logins), tuple(sorted(addresses)))


def _meant(connection: Connection, who: str, region: Region) -> tuple[list[str], set[str]]:
    """The logins of whoever is named so, and the addresses that are meant."""
    if "@" in who:
        return [row.login for row in connection.execute(_BY_ADDRESS, {"who": who})], {who.lower()}
    rows = connection.execute(_BY_LOGIN, {"who": who}).all()
    if rows or connection.scalar(_KNOWN_LOGIN, {"who": who}):
        return [who], {row.email for row in rows if row.email}
    number = sought(who, region)
    if not is_number(number):
        raise ConfigurationError(
            f"Nothing is known of {who!r}: it is neither an address nor a telephone number nor a login."
        )
    logins = [person.login for person in people.find_by_phone(connection, number, region)]
    rows = connection.execute(_BY_LOGINS, {"logins": logins}).all()
    return [row.login for row in rows], {number, *(row.email for row in rows if row.email)}


def _numbers(connection: Connection, logins: Sequence[str], region: Region) -> set[str]:
    """The telephone numbers of people."""
    found = (people.number_of(person, region) for person in people.find(connection, logins).values())
    return {number for number in found if number}


def _of_others(connection: Connection, number: str, logins: Sequence[str], region: Region) -> bool:
    """Whether somebody else has a telephone number as well, as in an office."""
    return any(person.login not in logins for person in people.find_by_phone(connection, number, region))


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

#: The one reason in the history that stays: it tells nothing of the person.
_WHY = "the person is erased"

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
    update notify.messages set status = 'queued', status_reason = :why, parked = false
    where id = any(cast(:ids as bigint[])) and status in ('held', 'uncertain')
""")
_CANCEL = sa.text("""
    update notify.messages set status = 'cancelled', status_reason = :why
    where id = any(cast(:ids as bigint[])) and status = 'queued'
""")
_EMPTY = sa.text("""
    update notify.messages
    set content_id = null, headers = '', subject = :erased, reply_to = null,
        status_reason = case when status_reason = :why then :why end,
        recipients_erased = coalesce(recipients_erased, 0)
            + (select count(*) from notify.recipients r where r.message_id = messages.id)
    where id = any(cast(:ids as bigint[]))
""")
_FORGET_REASONS = sa.text("""
    update notify.message_events set reason = null
    where message_id = any(cast(:ids as bigint[])) and reason <> :why
""")
_FORGET_ANSWERS = sa.text("update notify.attempts set response = null where message_id = any(cast(:ids as bigint[]))")
_HASH_KEYS = sa.text("""
    update notify.messages
    set idempotency_key = 'erased:' || encode(sha256(convert_to(idempotency_key, 'UTF8')), 'hex')
    where id = any(cast(:ids as bigint[])) and idempotency_key ~ any(cast(:words as text[]))
""")
_DETACH = sa.text("""
    delete from notify.message_attachments where message_id = any(cast(:ids as bigint[])) returning sha256
""")
_LEAVE = sa.text("""
    with gone as (
        delete from notify.recipients r
        where r.message_id = any(cast(:ids as bigint[]))
          and (lower(r.address) = any(cast(:addresses as text[])) or r.login = any(cast(:logins as text[])))
        returning r.message_id
    )
    update notify.messages m set recipients_erased = coalesce(m.recipients_erased, 0) + g.count
    from (select message_id, count(*) from gone group by message_id) g where g.message_id = m.id
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
    values = {"ids": alone, "why": _WHY}
    connection.execute(_TAKE_BACK, values)
    return connection.execute(_CANCEL, values).rowcount


def empty(connection: Connection, erased: Erased, theirs: Theirs) -> int:
    """Take text, headers, reasons and files from what the person alone got, and the person from what others got too.

    :returns: how many files went with them
    """
    values = _names(erased) | {"ids": theirs.alone, "why": _WHY}
    for statement in (_EMPTY, _FORGET_REASONS, _FORGET_ANSWERS):
        connection.execute(statement, values)
    connection.execute(_HASH_KEYS, values | {"ids": [*theirs.alone, *theirs.shared]})
    files = {digest for digest in connection.scalars(_DETACH, values) if digest is not None}
    connection.execute(_STAND_IN, values)
    connection.execute(_LEAVE, values | {"ids": theirs.shared})
    return attachments.drop_unused(connection, sorted(files))


# --- What servers said ------------------------------------------------------------------------------------------------

_BOUNCES = sa.text("""
    select id from notify.bounces
    where address not like :nowhere
      and (message_id = any(cast(:alone as bigint[])) or lower(address) = any(cast(:addresses as text[])))
    union
    select b.id from notify.bounces b
    join notify.recipients r on r.message_id = b.message_id and (r.position = b.position or b.position is null)
    where b.address not like :nowhere
      and (lower(r.address) = any(cast(:addresses as text[])) or r.login = any(cast(:logins as text[])))
""")

# What a server answered to all recipients alike tells of none.
_SAID = sa.text("""
    select message_id, words from notify.bounces where id = any(cast(:bounces as bigint[])) and words <> ''
    union
    select r.message_id, r.response from notify.recipients r
    where r.message_id = any(cast(:shared as bigint[])) and r.response <> ''
      and (lower(r.address) = any(cast(:addresses as text[])) or r.login = any(cast(:logins as text[])))
      and not exists (
          select from notify.recipients o
          where o.message_id = r.message_id and o.response = r.response
            and lower(o.address) <> all(cast(:addresses as text[]))
            and (o.login is null or o.login <> all(cast(:logins as text[]))))
    order by message_id, words
""")
_UNSAY: Sequence[sa.TextClause] = (
    sa.text("""
        update notify.messages set status_reason = replace(status_reason, :words, :erased)
        where id = :message_id and strpos(status_reason, :words) > 0
    """),
    sa.text("""
        update notify.message_events set reason = replace(reason, :words, :erased)
        where message_id = :message_id and strpos(reason, :words) > 0
    """),
    sa.text("""
        update notify.attempts set response = replace(response, :words, :erased)
        where message_id = :message_id and strpos(response, :words) > 0
    """),
)
_FORGET_BOUNCES = sa.text("""
    update notify.bounces b
    set address = coalesce(
            (select n.instead from unnest(cast(:addresses as text[]), cast(:mailboxes as text[])) as n (was, instead)
             where n.was = lower(b.address)), :prefix || b.id || :suffix),
        words = '', counts = false, notice = case notice when 'due' then 'none' else notice end
    where b.id = any(cast(:bounces as bigint[]))
""")


def unsay(connection: Connection, erased: Erased, theirs: Theirs) -> None:
    """Let nothing be known of what servers said of the person; to be asked while they are a recipient still.

    A server names who is unknown to it in words of its own, and where their mail was forwarded to. A report of which
    nobody knows whose it is counts as theirs.
    """
    values = _names(erased) | {"alone": theirs.alone, "shared": theirs.shared, "nowhere": f"%@{NOWHERE}"}
    values["bounces"] = list(connection.scalars(_BOUNCES, values))
    said = [{**row, "erased": ERASED} for row in connection.execute(_SAID, values).mappings()]
    for statement in _UNSAY if said else ():
        connection.execute(statement, said)
    prefix, suffix = f"erased-{erased.token}-b", f"@{NOWHERE}"
    connection.execute(_FORGET_BOUNCES, values | {"prefix": prefix, "suffix": suffix})


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
        name = '', subject = null, summary = null, content_id = null, content_fields = null, sms_text = null
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


# --- Events ----------------------------------------------------------------------------------------------------------

_EVENT_KEYS = sa.text("""
    update notify.events e
    set idempotency_key = 'erased:' || encode(sha256(convert_to(idempotency_key, 'UTF8')), 'hex')
    where idempotency_key ~ any(cast(:words as text[])) and exists (
        select from notify.notifications n
        where n.event_id = e.id
          and (n.login = any(cast(:logins as text[])) or lower(n.address) = any(cast(:addresses as text[]))))
""")
_OWN_EVENTS = sa.text("""
    update notify.events e set data = '{}', case_title = ''
    where e.id in (
        select event_id from notify.notifications
        where login = any(cast(:logins as text[])) or lower(address) = any(cast(:addresses as text[]))
    ) and not exists (
        select from notify.notifications n
        where n.event_id = e.id and (n.login is null or n.login <> all(cast(:logins as text[])))
          and (n.address is null or lower(n.address) <> all(cast(:addresses as text[]))))
    returning e.id, e.case_id
""")

# Whose deadline it is needs the title, and so does who has heard of the case.
_OWN_CASES = sa.text("""
    update notify.cases c set title = ''
    where c.id = any(cast(:cases as text[]))
      and not exists (
          select from notify.deadlines d
          where d.case_id = c.id and (d.login is null or d.login <> all(cast(:logins as text[]))))
      and not exists (
          select from notify.events e where e.case_id = c.id and e.id <> all(cast(:events as bigint[])))
""")


def events(connection: Connection, erased: Erased) -> None:
    """Take title and data from what happened for the person alone; to be asked while it is known whose it was.

    A title goes from the case as well where nobody else has heard of it.
    """
    values = _names(erased)
    connection.execute(_EVENT_KEYS, values)
    own = connection.execute(_OWN_EVENTS, values).all()
    cases = sorted({row.case_id for row in own if row.case_id is not None})
    connection.execute(_OWN_CASES, values | {"cases": cases, "events": [row.id for row in own]})


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


#: Columns that hold a login and nothing else, beside those that are seen to above.
_LOGINS = (("events", "actor"), ("events", "owner"), ("deadlines", "owner"), ("campaign_recipients", "place"))

#: Columns that name who acted: a login, and maybe by what door, as in ``anna (page)``.
_ACTORS = (
    ("message_events", "actor"),
    ("messages", "created_by"),
    ("events", "created_by"),
    ("deadlines", "set_by"),
    ("campaigns", "created_by"),
    ("unsubscriptions", "actor"),
    ("balance", "created_by"),
)


def traces_of_logins(connection: Connection, erased: Erased) -> None:
    """Let stand-ins take the place of logins where the history names them."""
    for table, name in _LOGINS:
        column = metadata.tables[f"notify.{table}"].c[name]
        for login in erased.logins:
            connection.execute(sa.update(column.table).where(column == login).values({column: erased.login(login)}))
    for table, name in _ACTORS:
        column = metadata.tables[f"notify.{table}"].c[name]
        for login in erased.logins:
            theirs = sa.or_(column == login, column.startswith(f"{login} (", autoescape=True))
            named = sa.literal(erased.login(login)) + sa.func.substr(column, len(login) + 1)
            connection.execute(sa.update(column.table).where(theirs).values({column: named}))


def suppress_hashed(connection: Connection, erased: Erased) -> int:
    """Keep the suppressions of the addresses under their hash: the person must not get mail again for being erased.

    Likewise what they have unsubscribed from.
    """
    unsubscribed = sum(unsubscriptions.hide(connection, address) for address in erased.addresses)
    return unsubscribed + sum(suppressions.hide(connection, address) for address in erased.addresses)
