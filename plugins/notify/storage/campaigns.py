"""Campaigns: written, changed, moved from state to state, and looked at.

What becomes of their messages stands in :mod:`notify.storage.campaign_messages`, what became of their recipients in
:mod:`notify.storage.campaign_recipients`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.campaign import (
    INSTEAD,
    MOST_TYPED,
    STARTS,
    Campaign,
    CampaignAction,
    CampaignDraft,
    CampaignStatus,
    Row,
)
from notify.domain.channel import ChannelName
from notify.domain.message import Guarantee
from notify.exceptions import CampaignError, NoSuchCampaign, PassLost
from notify.storage import attachments
from notify.storage.attachments import StoredFile
from notify.storage.models import campaign_attachments, campaign_rows, campaigns, messages
from notify.storage.sources import encoded_size

#: A pass that has not been heard of for so long is dead: another run begins anew.
SILENCE = timedelta(minutes=5)

#: Rows that are fetched together.
STRETCH = 1_000

#: Who came in a file stands behind all who can be typed, so that each sort can be written anew without the other.
_LISTED = MOST_TYPED + 1


@dataclass(frozen=True, slots=True)
class CampaignFile:
    """A file that the messages of a campaign carry.

    :param uri: where it was fetched, None where it was handed over
    """

    sha256: bytes
    filename: str
    content_type: str
    uri: str | None = None


#: What an author writes, as its columns are called.
_WRITTEN = (
    *("description", "channel", "sender", "site", "subject", "message", "html", "template", "data", "add_template"),
    *("language", "transliterate", "guarantee", "reply_to", "groups", "query_connection", "query", "note"),
    "classification",
)

#: What may be changed without making the messages anew.
REMARKS = frozenset({"description", "note", "classification"})


def add(
    connection: Connection,
    draft: CampaignDraft,
    rows: Iterable[Row],
    files: Sequence[CampaignFile] = (),
    *,
    idempotency_key: str | None = None,
) -> int:
    """Store a campaign.

    :param rows: its recipients, as far as they were typed or came in a file
    :param idempotency_key: asked for first, see :func:`find_by_key`
    :returns: its number
    """
    values = {**_values(draft), "idempotency_key": idempotency_key}
    number: int = connection.execute(sa.insert(campaigns).values(values).returning(campaigns.c.id)).scalar_one()
    add_rows(connection, number, rows)
    put_files(connection, number, files)
    return number


_LOCK_KEY = sa.text("select pg_advisory_xact_lock(hashtextextended('campaign ' || :key, 0))")


def find_by_key(connection: Connection, key: str) -> int | None:
    """The campaign that was handed over under a key; waits for a hand-over of the same key that is under way."""
    connection.execute(_LOCK_KEY, {"key": key})
    number: int | None = connection.scalar(sa.select(campaigns.c.id).where(campaigns.c.idempotency_key == key))
    return number


def change(connection: Connection, number: int, draft: CampaignDraft, *, stale: bool) -> None:
    """Write a campaign anew.

    :param stale: whether what was made of it is to be thrown away; then it is a draft again
    """
    values = {**_values(draft), "changed_at": sa.func.now()}
    if stale:
        values |= {"status": CampaignStatus.DRAFT.value, "stale": True, "fault": None}
    connection.execute(sa.update(campaigns).where(campaigns.c.id == number).values(values))


def _values(draft: CampaignDraft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in _WRITTEN}


_COPY = (
    sa.text("""
        insert into notify.campaign_rows (campaign_id, number, place, recipient, fields)
        select :new, number, place, recipient, fields from notify.campaign_rows where campaign_id = :old
    """),
    sa.text("""
        insert into notify.campaign_attachments (campaign_id, position, sha256, filename, content_type, uri)
        select :new, position, sha256, filename, content_type, uri
        from notify.campaign_attachments where campaign_id = :old
    """),
)


def copy(connection: Connection, number: int) -> int:
    """Write a campaign once more, with the same recipients and files, as a draft.

    :returns: the number of the new one
    :raises NoSuchCampaign: there is none of that number
    """
    columns = [campaigns.c[name] for name in _WRITTEN]
    same = sa.select(*columns).where(campaigns.c.id == number)
    new: int | None = connection.scalar(
        sa.insert(campaigns).from_select(list(_WRITTEN), same).returning(campaigns.c.id)
    )
    if new is None:
        raise NoSuchCampaign(f"There is no campaign {number}.")
    for statement in _COPY:
        connection.execute(statement, {"new": new, "old": number})
    return new


def drop_rows(connection: Connection, number: int, *, typed: bool) -> None:
    """Forget who was typed, or who came in a file.

    :param typed: which of the two
    """
    mine = campaign_rows.c.campaign_id == number, campaign_rows.c.place.is_(None) == typed
    connection.execute(sa.delete(campaign_rows).where(*mine))


def add_rows(connection: Connection, number: int, rows: Iterable[Row]) -> None:
    """Store who was typed or came in a file; of each sort there are none before, see :func:`drop_rows`."""
    typed, listed = count(1), count(_LISTED)
    numbered = (_row(typed if _line(row.place) is None else listed, row) for row in rows)
    while some := list(islice(numbered, STRETCH)):
        connection.execute(_PUT_ROWS, {"campaign": number, "rows": json.dumps(some)})


_PUT_ROWS = sa.text("""
    insert into notify.campaign_rows (campaign_id, number, place, recipient, fields)
    select :campaign, r.number, r.place, r.recipient, r.fields
    from json_to_recordset(:rows) as r (number integer, place integer, recipient text, fields jsonb)
""")


def _row(numbers: Iterator[int], row: Row) -> dict[str, Any]:
    place = _line(row.place)
    return {"number": next(numbers), "place": place, "recipient": row.recipient, "fields": dict(row.fields) or None}


def _line(place: str) -> int | None:
    """A row's number, of those that came in a file."""
    word, _, number = place.partition(" ")
    return int(number) if word == "row" and number.isdigit() else None


def rows_after(connection: Connection, number: int, after: int) -> list[tuple[int, Row]]:
    """The next of those who were typed or came in a file, each with where to go on.

    :param after: where to go on, 0 at first
    """
    table = campaign_rows
    query = sa.select(table).where(table.c.campaign_id == number, table.c.number > after)
    found = connection.execute(query.order_by(table.c.number).limit(STRETCH))
    return [(row.number, Row(_place(row), row.recipient, row.fields or {})) for row in found]


def typed(connection: Connection, number: int) -> list[str]:
    """Who was typed, in order."""
    table = campaign_rows
    query = sa.select(table.c.recipient).where(table.c.campaign_id == number, table.c.place.is_(None))
    return list(connection.scalars(query.order_by(table.c.number)))


@dataclass(frozen=True, slots=True)
class Counted:
    """How many were typed, and how many came in a file."""

    typed: int
    given: int


def count_rows(connection: Connection, number: int) -> Counted:
    """How many were typed or came in a file."""
    given = sa.func.count(campaign_rows.c.place)
    query = sa.select(sa.func.count(), given).where(campaign_rows.c.campaign_id == number)
    everybody, from_file = connection.execute(query).one()
    return Counted(everybody - from_file, from_file)


def _place(row: sa.Row[Any]) -> str:
    return f"typed {row.number}" if row.place is None else f"row {row.place}"


def put_files(connection: Connection, number: int, files: Sequence[CampaignFile]) -> None:
    """Store which files its messages carry, instead of those before; their contents are stored already."""
    connection.execute(sa.delete(campaign_attachments).where(campaign_attachments.c.campaign_id == number))
    rows = [
        {
            "campaign_id": number,
            "position": position,
            "sha256": file.sha256,
            "filename": file.filename,
            "content_type": file.content_type,
            "uri": file.uri,
        }
        for position, file in enumerate(files)
    ]
    if rows:
        connection.execute(sa.insert(campaign_attachments), rows)


def files(connection: Connection, number: int) -> list[CampaignFile]:
    """The files that its messages carry, in order."""
    table = campaign_attachments
    query = sa.select(table).where(table.c.campaign_id == number).order_by(table.c.position)
    return [CampaignFile(row.sha256, row.filename, row.content_type, row.uri) for row in connection.execute(query)]


def stored_files(connection: Connection, number: int) -> tuple[list[StoredFile], int]:
    """The files that its messages carry, as messages have them, and their bytes on the wire."""
    found = files(connection, number)
    sizes = attachments.sizes(connection, [file.sha256 for file in found])
    stored = [StoredFile(file.sha256, file.filename, file.content_type) for file in found]
    return stored, sum(encoded_size(sizes[file.sha256]) for file in found)


# --- Looked at -------------------------------------------------------------------------------------------------------


def read(connection: Connection, number: int, *, lock: bool = False) -> Campaign:
    """A campaign.

    :param lock: whether nobody else may move it until the transaction ends
    :raises NoSuchCampaign: there is none of that number
    """
    query = sa.select(campaigns).where(campaigns.c.id == number)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).mappings().one_or_none()
    if row is None:
        raise NoSuchCampaign(f"There is no campaign {number}.")
    return _campaign(row)


@dataclass(frozen=True, slots=True)
class Page:
    """Campaigns, the newest first.

    :param next_before: where the next page begins, None at the end
    """

    found: tuple[Campaign, ...]
    next_before: int | None


def page(
    connection: Connection,
    *,
    statuses: Iterable[CampaignStatus] = (),
    text: str = "",
    before: int | None = None,
    limit: int = 50,
) -> Page:
    """Campaigns, the newest first.

    :param statuses: only those in one of these states; none: all
    :param text: only those whose description or classification has this part
    :param before: a page's ``next_before``
    """
    query = sa.select(campaigns).order_by(campaigns.c.id.desc()).limit(limit + 1)
    wanted = [one.value for one in statuses]
    if wanted:
        query = query.where(campaigns.c.status.in_(wanted))
    if text:
        either = (campaigns.c.description, campaigns.c.classification)
        query = query.where(sa.or_(*(column.icontains(text, autoescape=True) for column in either)))
    if before is not None:
        query = query.where(campaigns.c.id < before)
    found = [_campaign(row) for row in connection.execute(query).mappings()]
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def _campaign(row: sa.RowMapping) -> Campaign:
    values = {name: value for name, value in row.items() if name not in {"pass", "idempotency_key"}}
    values |= {
        "status": CampaignStatus(row["status"]),
        "channel": ChannelName(row["channel"]),
        "guarantee": None if row["guarantee"] is None else Guarantee(row["guarantee"]),
        "groups": tuple(row["groups"]),
        "number_of_pass": row["pass"],
    }
    return Campaign(**values)


def under_way(connection: Connection) -> list[int]:
    """Those whose messages may have to follow them: some are sent or paused, others are not settled yet."""
    open_ones = sa.or_(campaigns.c.unsettled, campaigns.c.status.in_(("generating", "sending", "paused")))
    followed = sa.or_(campaigns.c.unsettled, campaigns.c.status.in_(("sending", "paused")))
    return list(connection.scalars(sa.select(campaigns.c.id).where(open_ones, followed).order_by(campaigns.c.id)))


def awaiting_a_run(connection: Connection) -> list[int]:
    """Those that wait for a run of MassMailing: to have their messages made, or moved."""
    waits = sa.or_(campaigns.c.unsettled, campaigns.c.status == CampaignStatus.GENERATING.value)
    return list(connection.scalars(sa.select(campaigns.c.id).where(waits).order_by(campaigns.c.id)))


# --- Moved -----------------------------------------------------------------------------------------------------------


def expect(connection: Connection, number: int, action: CampaignAction) -> Campaign:
    """Lock a campaign in whose state something can be done.

    :raises CampaignError: it cannot
    """
    campaign = read(connection, number, lock=True)
    if campaign.may(action):
        return campaign
    expected = ", ".join(sorted(STARTS[action]))
    raise CampaignError(
        f"Campaign {number} is {campaign.status}; to {action} is possible only for one that is {expected}. "
        f"{INSTEAD[campaign.status]}."
    )


def request(connection: Connection, number: int, *, send: bool = False, send_after: datetime | None = None) -> None:
    """Have its messages made, by the next run of MassMailing; the caller has locked it.

    :param send: whether they are sent as soon as they are made
    :param send_after: in that case, not before
    """
    values = {"generating_at": None, "fault": None, "send_when_generated": send, "send_after": send_after}
    _put(connection, number, CampaignStatus.GENERATING, **values)


def send(connection: Connection, number: int, send_after: datetime | None) -> None:
    """Let its messages go; the caller has locked it, and sees to it that they do."""
    moments = {"started_at": sa.func.coalesce(campaigns.c.started_at, sa.func.now()), "send_after": send_after}
    _put(connection, number, CampaignStatus.SENDING, unsettled=True, **moments)


def pause(connection: Connection, number: int) -> None:
    """Let none of its messages go, from the moment that this is committed; the caller has locked it."""
    _put(connection, number, CampaignStatus.PAUSED, unsettled=True)


def cancel(connection: Connection, number: int) -> None:
    """Let none of its messages go any more, likewise."""
    _put(connection, number, CampaignStatus.CANCELLED, unsettled=True, ended_at=sa.func.now())


def settled(connection: Connection, number: int) -> None:
    """Its messages are where its state wants them."""
    connection.execute(sa.update(campaigns).where(campaigns.c.id == number).values(unsettled=False))


def done(connection: Connection, number: int) -> None:
    """Nothing of it waits any more; the caller has locked it."""
    _put(connection, number, CampaignStatus.DONE, unsettled=False, ended_at=sa.func.now())


def remove(connection: Connection, number: int) -> None:
    """Forget it. What was made of it is gone already; what a person had sent singly stays, as a message of nobody's."""
    mine = messages.c.campaign_id == number
    connection.execute(sa.update(messages).where(mine).values(campaign_id=None, parked=False))
    connection.execute(sa.delete(campaigns).where(campaigns.c.id == number))


def _put(connection: Connection, number: int, status: CampaignStatus, **values: Any) -> None:
    connection.execute(sa.update(campaigns).where(campaigns.c.id == number).values(status=status.value, **values))


# --- A pass over its recipients --------------------------------------------------------------------------------------

_BEGIN = sa.text("""
    with mine as (
        select id from notify.campaigns
        where status = 'generating' and (generating_at is null or generating_at < now() - :silence)
          and (cast(:only as bigint) is null or id = :only)
        order by id limit 1 for update skip locked
    )
    update notify.campaigns c
    set pass = c.pass + 1, rows_read = 0, doubled = 0, generating_at = now() from mine where c.id = mine.id
    returning c.id
""")

_KEEP = sa.text("""
    update notify.campaigns
    set rows_read = rows_read + :read, doubled = doubled + :doubled, generating_at = clock_timestamp()
    where id = :id and pass = :pass and status = 'generating'
    returning id
""")


def begin_pass(connection: Connection, only: int | None = None, *, silence: timedelta = SILENCE) -> Campaign | None:
    """Begin a pass over the recipients of a campaign that waits for it, or whose pass has died.

    :param only: no other campaign
    :param silence: of a pass that is dead
    :returns: None where none waits
    """
    number = connection.scalar(_BEGIN, {"silence": silence, "only": only})
    return None if number is None else read(connection, number)


def keep_pass(connection: Connection, campaign: Campaign, *, read: int = 0, doubled: int = 0) -> None:
    """Say that a pass goes on, and lock its campaign until the transaction ends.

    :param read: recipients read since the last time
    :param doubled: of these, those that it had read before
    :raises PassLost: it is another one's, or the campaign was cancelled
    """
    values = {"id": campaign.id, "pass": campaign.number_of_pass, "read": read, "doubled": doubled}
    if connection.scalar(_KEEP, values) is None:
        raise PassLost(f"The messages of campaign {campaign.id} are not this run's to make any more. Nothing is lost.")


def cleared(connection: Connection, number: int) -> None:
    """What was made of it before it was changed is gone."""
    connection.execute(sa.update(campaigns).where(campaigns.c.id == number).values(stale=False))


def interrupt_pass(connection: Connection, campaign: Campaign) -> None:
    """Leave the rest to the next run, at once; the pass may be another one's already."""
    mine = campaigns.c.id == campaign.id, campaigns.c["pass"] == campaign.number_of_pass
    connection.execute(sa.update(campaigns).where(*mine).values(generating_at=None))


def end_pass(connection: Connection, campaign: Campaign, problem: str | None = None) -> CampaignStatus:
    """All its recipients are read; the caller holds the lock of :func:`keep_pass`.

    :param problem: why some of them get nothing
    :returns: its state now
    """
    moments = {"generated_at": sa.func.now(), "send_when_generated": False}
    _put(connection, campaign.id, CampaignStatus.GENERATED, fault=problem, **moments)
    if not campaign.send_when_generated:
        return CampaignStatus.GENERATED
    send(connection, campaign.id, campaign.send_after)
    return CampaignStatus.SENDING


def fail_pass(connection: Connection, campaign: Campaign, fault: str) -> None:
    """Its messages cannot be made; the author is told why, and may try again."""
    _put(connection, campaign.id, CampaignStatus.DRAFT, fault=fault, send_when_generated=False)
