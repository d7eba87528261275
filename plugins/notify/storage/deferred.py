"""What is put aside: who has something due, and what it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True)
class PutAside:
    """A notification that waits, with the mail that was generated for it.

    :param notification_id: its number
    :param due_at: until when it waits
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

_READ = sa.text("""
    select d.notification_id, n.event_id, d.login, d.kind, d.due_at, e.occurred_at, n.language, n.subject, n.summary,
           n.content_id, n.content_fields, octet_length(c.body) as content_size,
           e.case_id, e.case_title, e.case_url, e.process
    from notify.deferred d
    join notify.notifications n on n.id = d.notification_id
    join notify.events e on e.id = n.event_id
    join notify.contents c on c.id = n.content_id
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
