"""What is put aside: who has something due, and what it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName


@dataclass(frozen=True, slots=True)
class PutAside:
    """A notification that waits, with the mail that was generated for it.

    :param notification_id: its number
    :param due_at: until when it waits
    :param channel: through which it is to go
    :param sms_text: of an SMS, what it says
    :param beside: of an SMS, whether a mail tells its person of the same event; one that was refused tells nothing
    """

    notification_id: int
    event_id: int
    login: str
    kind: str
    due_at: datetime
    occurred_at: datetime
    language: str | None
    subject: str
    summary: str
    content_id: int
    content_fields: bytes
    content_size: int
    case_id: str | None
    case_title: str
    case_url: str | None
    process: str | None
    site: str | None
    channel: str
    sms_text: str | None
    beside: bool

    @property
    def by_sms(self) -> bool:
        """Whether it is to be an SMS."""
        return self.channel == ChannelName.SMS


@dataclass(frozen=True, slots=True)
class Batch:
    """People with something to look at, in the order of their logins.

    :param logins: those who are ours until the transaction ends
    :param last: the last one that was looked at, also where another run has them
    :param elsewhere: how many another run has
    """

    logins: tuple[str, ...]
    last: str
    elsewhere: int

    @property
    def size(self) -> int:
        """How many people were looked at."""
        return len(self.logins) + self.elsewhere


# Along the index, from one login to the next: memory and time of a batch do not depend on how much waits in all.
_DUE = sa.text("""
    select login, count(*) as size from notify.deferred
    where login > :after and look_at <= now()
    group by login order by login limit :people
""")

# The person is the unit: what is due for one of them becomes one digest, and two runs never share it.
_TAKE = sa.text("""
    select login from notify.people where login = any(cast(:logins as text[]))
    order by login for no key update skip locked
""")

_PUT_ASIDE = """
    select d.notification_id, n.event_id, d.login, d.kind, d.due_at, e.occurred_at, n.language, n.subject, n.summary,
           n.content_id, n.content_fields, octet_length(c.body) as content_size,
           e.case_id, e.case_title, e.case_url, e.process, e.site, n.channel, n.sms_text,
           n.channel = 'sms' and exists (
               select from notify.notifications o
               where o.event_id = n.event_id and o.login = n.login and o.channel = 'email'
                 and o.home <> 'refused') as beside
    from notify.deferred d
    join notify.notifications n on n.id = d.notification_id
    join notify.events e on e.id = n.event_id
    join notify.contents c on c.id = n.content_id
"""

_READ = sa.text(f"""
    {_PUT_ASIDE}
    where d.login = any(cast(:logins as text[])) and d.look_at <= now()
    order by d.login, e.occurred_at, d.notification_id
    for update of d
""")

_KEEP = sa.text("""
    update notify.deferred d set due_at = k.due_at, look_at = k.due_at
    from unnest(cast(:ids as bigint[]), cast(:dues as timestamptz[])) as k (id, due_at)
    where d.notification_id = k.id
""")

_LEFT = sa.text("select count(*) as size, min(look_at) as next from notify.deferred")


def take(connection: Connection, *, after: str, people: int, most: int) -> Batch | None:
    """Take the next people that have something due, or something to be looked at again.

    :param after: the last login of the batch before, or empty
    :param people: at most so many
    :param most: notifications; the batch ends before the person with whom it would have more, unless they are alone
    :returns: None where nobody is left
    """
    found = connection.execute(_DUE, {"after": after, "people": people}).all()
    if not found:
        return None
    wanted = list(_within(found, most))
    taken = tuple(connection.scalars(_TAKE, {"logins": wanted}))
    return Batch(taken, wanted[-1], len(wanted) - len(taken))


def _within(found: Sequence[sa.Row], most: int) -> Iterator[str]:  # type: ignore[type-arg]  # rows of login and size
    total = 0
    for row in found:
        total += row.size
        if total > most and total > row.size:
            return
        yield row.login


def read(connection: Connection, logins: Collection[str]) -> list[PutAside]:
    """What is to be looked at of these people, oldest first; locked: a change of preference waits, or is seen."""
    return [PutAside(*row) for row in connection.execute(_READ, {"logins": list(logins)})]


def keep(connection: Connection, kept: Iterable[tuple[int, datetime]]) -> None:
    """Let notifications wait on.

    :param kept: their numbers, each with the moment until which it waits
    """
    given = list(kept)
    if given:
        connection.execute(_KEEP, {"ids": [one[0] for one in given], "dues": [one[1] for one in given]})


@dataclass(frozen=True, slots=True)
class Left:
    """What waits.

    :param size: how many notifications
    :param next: when the next of them is looked at
    """

    size: int
    next: datetime | None


def left(connection: Connection) -> Left:
    """Count what waits."""
    return Left(*connection.execute(_LEFT).one())


# --- For people who look ---------------------------------------------------------------------------------------------

# From one login to the next: whoever has a hundred thousand costs as little as whoever has one.
_LOGINS = sa.text("""
    with recursive found (login, place) as (
        (select login, 1 from notify.deferred where login > :after order by login limit 1)
        union all
        select (select d.login from notify.deferred d where d.login > found.login order by d.login limit 1), place + 1
        from found where found.login is not null and place < :people
    )
    select login from found where login is not null
""")

_SUMS = sa.text("""
    with mine as (
        select d.login, d.kind, d.due_at, d.look_at, n.channel
        from notify.deferred d join notify.notifications n on n.id = d.notification_id
        where d.login = any(cast(:logins as text[]))
    ), next as (
        select login, greatest(min(due_at), now()) as until from mine group by login
    )
    select m.login, m.kind, count(*) as size, count(*) filter (where m.due_at <= n.until) as together,
           count(*) filter (where m.due_at <= n.until and m.channel = 'sms') as texts,
           min(m.due_at) as next_at, bool_or(m.look_at < m.due_at and m.look_at <= now()) as again
    from mine m join next n on n.login = m.login
    group by m.login, m.kind order by m.login, m.kind
""")

_LOOK = sa.text(f"""
    {_PUT_ASIDE}
    where d.login = :login
    order by d.due_at, e.occurred_at, d.notification_id limit :most
""")


@dataclass(frozen=True, slots=True)
class Pile:
    """What is put aside for a person.

    :param kinds: how many of each kind of event
    :param next_at: when the first of it is due
    :param together: how many are due by then: one is moved as it is, more become one digest, of each channel
    :param texts: how many of these go by SMS
    :param again: the next run looks at it before it is due, for something about the person has changed
    """

    login: str
    kinds: dict[str, int]
    next_at: datetime
    together: int
    texts: int
    again: bool

    @property
    def size(self) -> int:
        """All of it."""
        return sum(self.kinds.values())


@dataclass(frozen=True, slots=True)
class Piles:
    """A page of people for whom something is put aside, by login.

    :param next_after: where the next page begins, None at the end
    """

    found: tuple[Pile, ...]
    next_after: str | None


def piles(connection: Connection, *, after: str = "", limit: int = 50) -> Piles:
    """For whom something is put aside.

    :param after: the login after which to begin: a page's ``next_after``
    :param limit: people, at most
    """
    logins = list(connection.scalars(_LOGINS, {"after": after, "people": limit + 1}))
    shown = logins[:limit]
    found = _piles(connection, shown)
    return Piles(tuple(found[login] for login in shown if login in found), shown[-1] if len(logins) > limit else None)


def pile(connection: Connection, login: str) -> Pile | None:
    """What is put aside for a person, None where nothing is."""
    return _piles(connection, [login]).get(login)


def _piles(connection: Connection, logins: Sequence[str]) -> dict[str, Pile]:
    found: dict[str, Pile] = {}
    for login, rows in groupby(connection.execute(_SUMS, {"logins": list(logins)}), key=lambda row: str(row.login)):
        kinds = list(rows)
        found[login] = Pile(
            login,
            {row.kind: row.size for row in kinds},
            min(row.next_at for row in kinds),
            sum(row.together for row in kinds),
            sum(row.texts for row in kinds),
            any(row.again for row in kinds),
        )
    return found


def look(connection: Connection, login: str, *, most: int) -> list[PutAside]:
    """What is put aside for a person, what is due first in front; nothing is locked."""
    return [PutAside(*row) for row in connection.execute(_LOOK, {"login": login, "most": most})]
