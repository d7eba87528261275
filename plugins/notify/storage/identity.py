"""The outbox's identity: what it has written down about itself, so that a restored copy knows that it is one.

The rules are those of :mod:`notify.domain.identity`. What the server does not let us read about the place is left out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.domain.identity import Identity, Mark, Place, doubt_from_outside, judge
from notify.exceptions import RestoredCopy
from notify.storage import drains

log = logging.getLogger(__name__)

# Each is asked for alone: clouds and careful admins forbid some of them, and Aurora knows none of the first.
_SYSTEM: LiteralString = "select system_identifier from pg_control_system()"
_DATABASE: LiteralString = "select oid::bigint from pg_database where datname = current_database()"
# Of the segment that is written now: the control file knows of a promotion only after the next checkpoint.
_TIMELINE: LiteralString = "select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer"

_READ = sa.text("""
    select id, counter, former, witnessed, refused, system_identifier, database_oid, timeline from notify.identity
""")
_ADVANCE = sa.text("update notify.identity set counter = counter + 1 returning id, counter")
_SETTLE = sa.text("""
    update notify.identity
    set system_identifier = coalesce(:system, system_identifier), database_oid = coalesce(:database, database_oid),
        timeline = coalesce(:timeline, timeline)
""")
_ACCEPT = sa.text("""
    update notify.identity
    set system_identifier = coalesce(:system, system_identifier), database_oid = coalesce(:database, database_oid),
        timeline = coalesce(:timeline, timeline), witnessed = witnessed or :witnessed, refused = null,
        refused_mark = null
""")
_REFUSE = sa.text(
    "update notify.identity set refused = :why, refused_mark = :marked where refused is distinct from :why"
)


def place(connection: Connection) -> Place:
    """Where the outbox lies, as far as the server tells."""
    return Place(_ask(connection, _SYSTEM), _ask(connection, _DATABASE), _ask(connection, _TIMELINE))


def _ask(connection: Connection, question: LiteralString) -> int | None:
    try:
        with connection.begin_nested():
            answer: int | None = connection.scalar(sa.text(question))
            return answer
    except (sa.exc.ProgrammingError, sa.exc.NotSupportedError, sa.exc.InternalError, sa.exc.OperationalError):
        if connection.invalidated:
            raise
        return None


def read(connection: Connection) -> Identity:
    """What the outbox has written down about itself."""
    row = connection.execute(_READ).one()
    lies = Place(row.system_identifier, row.database_oid, row.timeline)
    return Identity(row.id, row.counter, lies, frozenset(row.former), row.witnessed, row.refused)


def settle(connection: Connection) -> None:
    """Write down where a new outbox lies, unless that is known."""
    if read(connection).place == Place():
        _write(connection, place(connection))


def _write(connection: Connection, here: Place) -> None:
    connection.execute(_SETTLE, {"system": here.system, "database": here.database, "timeline": here.timeline})


def doubt(connection: Connection, mark: Mark | None) -> str | None:
    """Why nothing is sent from this outbox, as far as can be told outside of a run; None where it is.

    :param mark: what stands outside, read before this; None where that cannot be seen from here
    """
    return doubt_from_outside(read(connection), place(connection), mark)


def require_original(connection: Connection, mark: Mark | None) -> None:
    """Make sure that this is the outbox that was sent from, and no copy.

    :param mark: what stands outside, read before this
    :raises RestoredCopy: it is a copy; the message says why, and how to confirm it
    """
    identity, here = read(connection), place(connection)
    judgement = judge(identity, here, mark)
    if judgement.doubt:
        raise RestoredCopy(judgement.doubt, mark.outbox if mark else None)
    if judgement.note:
        log.warning("%s", judgement.note)
    witnessed = mark is not None and mark.outbox == identity.id
    if identity.refused or witnessed > identity.witnessed or _news(identity.place, here):
        connection.execute(
            _ACCEPT,
            {
                "system": here.system,
                "database": here.database,
                "timeline": here.timeline,
                "witnessed": witnessed,
            },
        )


def _news(before: Place, here: Place) -> bool:
    pairs = ((before.system, here.system), (before.database, here.database), (before.timeline, here.timeline))
    return any(now is not None and now != then for then, now in pairs)


def remember_refusal(engine: Engine, refusal: RestoredCopy) -> None:
    """Write down why a run did not send, for whoever confirms without Airflow at hand."""
    with engine.begin() as connection:
        connection.execute(_REFUSE, {"why": refusal.doubt, "marked": refusal.marked})


def advance(connection: Connection) -> Mark:
    """Count a run's beginning or end.

    To be called late in the transaction: it locks the one row that all senders' runs advance.

    :returns: what to leave outside once this is committed
    """
    row = connection.execute(_ADVANCE).one()
    return Mark(row.id, row.counter)


# --- Confirmed by a person -------------------------------------------------------------------------------------------

_WOULD_LEAVE = sa.text("""
    select sender, guarantee, count(*) as size, min(created_at) as oldest from notify.messages
    where status in ('queued', 'sending') or parked and campaign_id = any(array(
        select c.id from notify.campaigns c where c.status = 'sending'))
    group by sender, guarantee order by sender, guarantee
""")
_WOULD_BE_MADE = sa.text("""
    select (select count(*) from notify.deferred where due_at <= now()) as put_aside,
           (select count(*) from notify.deadline_steps where outcome is null and fires_at <= now()) as steps
""")
_END_DRAINS = sa.text("""
    update notify.drains set ended_at = now(), end_reason = 'a person confirmed the outbox' where ended_at is null
    returning sender
""")
# What is at_most_once may have left the original since the copy was made, and must not leave twice; so may have what a
# campaign that is being sent has not put in the queue yet.
_HOLD = sa.text("""
    update notify.messages
    set status = 'held',
        parked = false,
        status_reason = case guarantee when 'at_most_once'
            then 'held: a restored copy; the original may have sent it' else 'held: a restored copy' end
    where (:all or guarantee = 'at_most_once') and (status = 'queued' or campaign_id = any(array(
        select c.id from notify.campaigns c where c.status = 'sending')) and status = 'held' and parked)
""")
_SEND_NOT_BY_ITSELF = sa.text("""
    update notify.campaigns set send_when_generated = false where status = 'generating' and send_when_generated
""")
_CONFIRM = sa.text("""
    update notify.identity
    set former = former || id || array_remove(cast(:marks as uuid[]), null), id = gen_random_uuid(), witnessed = false,
        refused = null, refused_mark = null, confirmed_at = now(),
        system_identifier = :system, database_oid = :database, timeline = :timeline
    returning id
""")


@dataclass(frozen=True, slots=True)
class Leaving:
    """Messages of a sender that would leave an outbox.

    :param oldest: when the first of them was handed over
    """

    sender: str
    guarantee: str
    size: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """What would leave an outbox, or be made by it.

    :param leaving: in the queue, or being sent when the copy was made
    :param put_aside: notifications that are due, and become mails with the next run of UserNotifications
    :param steps: of deadlines that are due, and are told with the next run of Reminders
    """

    leaving: tuple[Leaving, ...]
    put_aside: int
    steps: int


def pending(connection: Connection) -> Pending:
    """What would leave this outbox, or be made by it, if it were sent from."""
    leaving = tuple(Leaving(*row) for row in connection.execute(_WOULD_LEAVE))
    return Pending(leaving, *connection.execute(_WOULD_BE_MADE).one())


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a confirmation did.

    :param id: the outbox's identity from now on
    :param held: messages that are held
    :param uncertain: at_most_once messages that were being sent when the copy was made
    """

    id: UUID
    held: int
    uncertain: int


def confirm(connection: Connection, mark: Mark | None, *, hold: bool) -> Confirmed:
    """Make this outbox the one to send from, under an identity of its own.

    What was being sent when the copy was made is taken over as from a drain that died. A campaign that was to be sent
    as soon as it is generated waits for a person.

    :param mark: what stands outside, where that can be read
    :param hold: hold all that is queued, and not only what is at_most_once
    """
    connection.execute(_END_DRAINS)
    doubtful = sa.text("select count(*) from notify.messages where status = 'uncertain'")
    before = connection.scalar(doubtful) or 0
    for sender in connection.scalars(sa.text("select sender from notify.senders order by sender")).all():
        drains.recover(connection, sender)
    uncertain = (connection.scalar(doubtful) or 0) - before
    held = connection.execute(_HOLD, {"all": hold}).rowcount
    connection.execute(_SEND_NOT_BY_ITSELF)
    here = place(connection)
    marks = [connection.scalar(sa.text("select refused_mark from notify.identity")), mark and mark.outbox]
    values = {"marks": marks, "system": here.system, "database": here.database, "timeline": here.timeline}
    return Confirmed(connection.execute(_CONFIRM, values).scalar_one(), held, uncertain)
