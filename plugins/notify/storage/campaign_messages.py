"""The messages of campaigns: they follow the state of their campaign, in steps of which each is a transaction.

A message that was made and may not leave yet is held, and *parked*: so it is known from one that a person holds, which
a campaign leaves alone. The claim takes nothing of a paused or cancelled campaign; what is done here keeps the queue
tidy, and may come later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.campaign import Campaign, CampaignStatus, Progress
from notify.storage import campaign_recipients, unsubscriptions, withholding
from notify.storage.attachments import StoredFile

#: Messages that one step moves.
MOST = 2_000

# In these, "= any" and the order keep PostgreSQL from walking through the register by its primary key, until it has met
# so many messages of the campaign: it believes that they lie at its beginning.
#
# Numbers are drawn as messages are made, so this is also the order of the queue. What was never tried waits for nothing
# but its campaign: a time that it was postponed to before is over.
_RELEASE = sa.text("""
    with mine as (
        select id from notify.messages
        where campaign_id = :campaign and status = any(array['held']) and parked
        order by status, id limit :most for update skip locked
    )
    update notify.messages m
    set status = 'queued', parked = false, status_reason = null,
        not_before = greatest(
            case when m.attempts > 0 then m.not_before end, cast(:send_after as timestamptz), now())
    from mine where m.id = mine.id
    returning m.id
""")

_PARK = sa.text("""
    with mine as (
        select id from notify.messages
        where campaign_id = :campaign and status = any(array['queued'])
        order by status, id limit :most for update skip locked
    )
    update notify.messages m set status = 'held', parked = true, status_reason = 'its campaign is paused'
    from mine where m.id = mine.id
""")

_CANCEL = sa.text("""
    with mine as (
        select id from notify.messages
        where campaign_id = :campaign and status = any(array['held', 'queued']) and (status <> 'held' or parked)
        order by status, id limit :most for update skip locked
    )
    update notify.messages m set status = 'cancelled', parked = false, status_reason = 'its campaign was cancelled'
    from mine where m.id = mine.id
""")

_TAKE_BACK = sa.text("""
    update notify.messages
    set status = 'cancelled', parked = false, status_reason = 'no longer among the recipients of its campaign'
    where id = any(cast(:ids as bigint[])) and status = 'held' and parked
""")

# What somebody is moving is waited for: what is left behind would go to somebody who gets another.
_THROW_AWAY = sa.text("""
    with mine as (
        select id from notify.messages
        where campaign_id = :campaign and first_tried_at is null and status = any(array['cancelled', 'held'])
        order by status, id limit :most for update
    )
    delete from notify.messages m using mine where m.id = mine.id
""")

# No EXISTS: that would read the register from its beginning, in the belief that one of them is met soon.
_SETTLED = sa.text("""
    select (
        select id from notify.messages
        where campaign_id = :campaign and status = any(cast(:unsettled as text[])) and (status <> 'held' or parked)
        order by status, id limit 1) is null
""")


def follow(connection: Connection, campaign: Campaign) -> int:
    """Move some messages to where their campaign's state wants them; what somebody is moving comes with a later step.

    :param campaign: which the caller has locked
    :returns: how many; at 0 there is nothing left that can be moved now
    """
    if campaign.status is CampaignStatus.SENDING:
        return _release(connection, campaign)
    if campaign.status is CampaignStatus.PAUSED:
        return connection.execute(_PARK, {"campaign": campaign.id, "most": MOST}).rowcount
    if campaign.status is CampaignStatus.CANCELLED:
        return connection.execute(_CANCEL, {"campaign": campaign.id, "most": MOST}).rowcount
    return 0


def _release(connection: Connection, campaign: Campaign) -> int:
    """Put messages in the queue; whose recipient wants none any more, or is on the suppression list, goes nowhere."""
    values = {"campaign": campaign.id, "most": MOST, "send_after": campaign.send_after}
    released = list(connection.scalars(_RELEASE, values))
    if released:
        withholding.from_suppressed(connection, released)
        withholding.from_unsubscribed(connection, released, unsubscriptions.BULK, unsubscriptions.UNSUBSCRIBED)
    return len(released)


#: What may stand in no state of its own, by the campaign's: messages that are yet to be moved.
_UNSETTLED: dict[CampaignStatus, list[str]] = {
    CampaignStatus.SENDING: ["held"],
    CampaignStatus.PAUSED: ["queued", "sending"],
    CampaignStatus.CANCELLED: ["queued", "sending", "held"],
}


def settled(connection: Connection, campaign: Campaign) -> bool:
    """Whether all its messages are where its state wants them; one that is being sent may come back to the queue."""
    states = _UNSETTLED.get(campaign.status, [])
    return bool(connection.scalar(_SETTLED, {"campaign": campaign.id, "unsettled": states}))


def over(connection: Connection, campaign: Campaign) -> bool:
    """Whether nothing of it waits; what a person holds is theirs."""
    states = ["queued", "sending", "held"]
    return bool(connection.scalar(_SETTLED, {"campaign": campaign.id, "unsettled": states}))


def take_back(connection: Connection, ids: Sequence[int]) -> None:
    """Cancel messages whose recipients have left the campaign before it was sent."""
    connection.execute(_TAKE_BACK, {"ids": list(ids)})


def throw_away(connection: Connection, campaign: Campaign) -> int:
    """Forget messages of which none was sent: the campaign was changed, or is forgotten itself.

    :returns: how many; 0 at the end
    """
    return connection.execute(_THROW_AWAY, {"campaign": campaign.id, "most": MOST}).rowcount


# --- Files -----------------------------------------------------------------------------------------------------------

# Of the messages in "mine". The size is that of the mail without its files, and of the new ones.
_PUT_FILES = """
    resized as (
        update notify.messages m set size = m.size + :growth from mine where m.id = mine.id
    ), gone as (
        delete from notify.message_attachments a using mine
        where a.message_id = mine.id and a.position >= cardinality(cast(:names as text[]))
    ), put as (
        insert into notify.message_attachments (message_id, position, sha256, filename, content_type)
        select mine.id, file.position - 1, file.sha256, file.name, file.type
        from mine cross join unnest(cast(:digests as bytea[]), cast(:names as text[]), cast(:types as text[]))
            with ordinality as file (sha256, name, type, position)
        on conflict (message_id, position) do update
        set sha256 = excluded.sha256, filename = excluded.filename, content_type = excluded.content_type
    )
"""
_REFRESH = sa.text(f"""
    with these as materialized (
        select id from (
            select id from notify.messages
            where campaign_id = :campaign and status = any(array['held', 'queued']) and id > :after offset 0) waiting
        order by id limit :most
    ), mine as (
        select m.id from notify.messages m join these on these.id = m.id
        where m.boundary is not null and m.status in ('held', 'queued') order by m.id for update of m
    ), {_PUT_FILES}
    select (select max(id) from these) as last, (select count(*) from mine) as size
""")  # noqa: S608 - made of constants

# What a run has begun has been read already; what it has only reserved has not. Whoever begins it waits for us, and so
# we wait for nobody.
_REFRESH_RESERVED = sa.text(f"""
    with reserved as materialized (
        select id from (
            select id, boundary from notify.messages
            where campaign_id = :campaign and status = any(array['sending']) offset 0) sending
        where boundary is not null
    ), mine as (
        select a.message_id as id from notify.attempts a join reserved on reserved.id = a.message_id
        where a.begun_at is null and a.ended_at is null order by a.message_id for update of a skip locked
    ), {_PUT_FILES}
    select count(*) from mine
""")  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A step of :func:`refresh`.

    :param last: where to go on; None at the end, at which comes what runs have reserved
    :param size: messages that have the new files now
    """

    last: int | None
    size: int


def refresh(
    connection: Connection, campaign: Campaign, files: Sequence[StoredFile], growth: int, after: int
) -> Refreshed:
    """Put other files into messages that have not left.

    :param growth: bytes by which each message grows
    :param after: where to go on, 0 at first
    """
    values = {
        "campaign": campaign.id,
        "after": after,
        "most": MOST,
        "growth": growth,
        "digests": [file.sha256 for file in files],
        "names": [file.filename for file in files],
        "types": [file.content_type for file in files],
    }
    row = connection.execute(_REFRESH, values).one()
    if row.last is None:
        return Refreshed(None, connection.scalar(_REFRESH_RESERVED, values) or 0)
    return Refreshed(row.last, row.size)


# --- In numbers ------------------------------------------------------------------------------------------------------

# From the index alone.
_PROGRESS = sa.text("""
    select status, count(*) as size, coalesce(sum(parts), 0) as parts, max(sent_at) as last_sent_at
    from notify.messages where campaign_id = :campaign group by status
""")

_WAITING = frozenset({"held", "queued", "sending"})


_SENDER = sa.text("""
    select one.sender
    from unnest(array['queued', 'held', 'sending', 'sent', 'delivered', 'undelivered', 'failed', 'uncertain',
                      'cancelled', 'suppressed', 'expired']) with ordinality as s (status, position)
    cross join lateral (
        select sender from notify.messages
        where campaign_id = :campaign and status = any(array[s.status]) order by status desc, id desc limit 1) one
    order by s.position limit 1
""")


def sender(connection: Connection, number: int) -> str | None:
    """The sender of a campaign's messages, first of those that have not left; None where there are none."""
    found: str | None = connection.scalar(_SENDER, {"campaign": number})
    return found


def progress(connection: Connection, campaign: Campaign) -> Progress:
    """How far a campaign is."""
    rows = connection.execute(_PROGRESS, {"campaign": campaign.id}).all()
    fates = campaign_recipients.count(connection, campaign.id)
    left_out = {fate.value: size for fate, size in fates.items() if fate != "created"}
    if campaign.doubled:
        left_out["doubled"] = campaign.doubled
    moments: list[datetime] = [row.last_sent_at for row in rows if row.last_sent_at]
    return Progress(
        created=sum(row.size for row in rows),
        left_out=left_out,
        states={row.status: row.size for row in rows},
        parts=sum(int(row.parts) for row in rows if row.status in _WAITING),
        last_sent_at=max(moments, default=None),
    )
