"""What became of each recipient of a campaign, so that nobody gets it twice, however often it is generated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.campaign import Campaign, Fate
from notify.domain.destination import Region, is_number, parse_destination
from notify.storage.models import campaign_recipients, memberships

#: Members of groups that are fetched together.
STRETCH = 1_000


@dataclass(frozen=True, slots=True)
class Known:
    """A recipient who was met before.

    :param number_of_pass: the pass that met them last
    :param message_id: the message that was made for them
    """

    number_of_pass: int
    fate: Fate
    message_id: int | None


@dataclass(frozen=True, slots=True)
class Met:
    """A recipient, and what became of them.

    :param key: see :func:`notify.domain.campaign.key_of`
    :param place: where their source names them
    """

    key: bytes
    fate: Fate
    place: str
    message_id: int | None = None


def known(connection: Connection, campaign: Campaign, keys: Collection[bytes]) -> dict[bytes, Known]:
    """Those of these that the campaign has met before."""
    table = campaign_recipients
    query = sa.select(table.c.key, table.c["pass"], table.c.fate, table.c.message_id).where(
        table.c.campaign_id == campaign.id, table.c.key == sa.any_(sa.literal(list(keys), ARRAY(sa.LargeBinary)))
    )
    return {key: Known(number, Fate(fate), message) for key, number, fate, message in connection.execute(query)}


_PUT = sa.text("""
    insert into notify.campaign_recipients (campaign_id, key, pass, fate, place, message_id)
    select :campaign, key, :pass, fate, place, message_id
    from unnest(cast(:keys as bytea[]), cast(:fates as text[]), cast(:places as text[]), cast(:messages as bigint[]))
        as met (key, fate, place, message_id)
    on conflict (campaign_id, key) do update
    set pass = excluded.pass, fate = excluded.fate, place = excluded.place, message_id = excluded.message_id
""")


def put(connection: Connection, campaign: Campaign, met: Sequence[Met]) -> None:
    """Store what became of recipients in this pass."""
    values = {
        "campaign": campaign.id,
        "pass": campaign.number_of_pass,
        "keys": [one.key for one in met],
        "fates": [one.fate.value for one in met],
        "places": [one.place for one in met],
        "messages": [one.message_id for one in met],
    }
    connection.execute(_PUT, values)


_LEFT = sa.text("""
    with gone as (
        select key, message_id from notify.campaign_recipients
        where campaign_id = :campaign and pass < :pass and fate = 'created'
        order by key limit :most for update
    ), marked as (
        update notify.campaign_recipients r set fate = 'left', pass = :pass
        from gone where r.campaign_id = :campaign and r.key = gone.key
    )
    select message_id from gone
""")


def leave(connection: Connection, campaign: Campaign, most: int) -> list[int]:
    """Mark recipients whom this pass, which is at its end, has not met.

    :returns: the messages that were made for them
    """
    values = {"campaign": campaign.id, "pass": campaign.number_of_pass, "most": most}
    return list(connection.scalars(_LEFT, values))


_UNMET = sa.text("""
    delete from notify.campaign_recipients
    where campaign_id = :campaign and pass < :pass and fate not in ('created', 'left')
""")


def forget_unmet(connection: Connection, campaign: Campaign) -> None:
    """Forget who had no message, and is not among the recipients any more, or is known by another name now."""
    connection.execute(_UNMET, {"campaign": campaign.id, "pass": campaign.number_of_pass})


def forget(connection: Connection, campaign: Campaign) -> None:
    """Forget all of them: the campaign was changed."""
    connection.execute(sa.delete(campaign_recipients).where(campaign_recipients.c.campaign_id == campaign.id))


def count(connection: Connection, number: int) -> Mapping[Fate, int]:
    """What became of a campaign's recipients, in numbers."""
    table = campaign_recipients
    query = sa.select(table.c.fate, sa.func.count()).where(table.c.campaign_id == number).group_by(table.c.fate)
    found = {Fate(fate): size for fate, size in connection.execute(query)}
    return {fate: found[fate] for fate in Fate if fate in found}


def places(connection: Connection, number: int, fate: Fate, limit: int) -> list[str]:
    """Where those stand of whom this became, to find them in their source."""
    table = campaign_recipients
    query = sa.select(table.c.place).where(table.c.campaign_id == number, table.c.fate == fate.value)
    return list(connection.scalars(query.order_by(_number_in_place(), table.c.place).limit(limit)))


def _number_in_place() -> sa.ColumnElement[int]:
    """The number of a row, by which people count; who has none, as the member of a group, comes last."""
    number = sa.func.substring(campaign_recipients.c.place, "^(?:query )?(?:row|typed) ([0-9]{1,18})$")
    return sa.func.coalesce(sa.cast(number, sa.BigInteger), _LAST)


_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Stood:
    """Where somebody stands, and what became of them.

    :param number: of their row, for the next page
    """

    number: int
    place: str
    fate: Fate


def left_out(
    connection: Connection,
    number: int,
    fates: Collection[Fate],
    after: tuple[int, str] | None,
    limit: int,
) -> list[Stood]:
    """Where those stand of whom one of these became, by their rows.

    :param after: the number and the place of the last one of the page before
    """
    table, row = campaign_recipients, _number_in_place()
    query = sa.select(row, table.c.place, table.c.fate).where(
        table.c.campaign_id == number, table.c.fate.in_([fate.value for fate in fates])
    )
    if after is not None:
        query = query.where(sa.tuple_(row, table.c.place) > sa.tuple_(*map(sa.literal, after)))
    found = connection.execute(query.order_by(row, table.c.place).limit(limit))
    return [Stood(position, place, Fate(fate)) for position, place, fate in found]


# People write addresses and numbers in many ways, as they are in a file. What may be one of these is read as it is when
# the messages are made.
_MAY_BE = sa.text("""
    select r.campaign_id, r.number, r.recipient from notify.campaign_rows r
    where exists (
        select from unnest(cast(:mailboxes as text[])) m (one) where strpos(lower(r.recipient), m.one) > 0)
      or regexp_replace(r.recipient, '[^0-9]', '', 'g') like any(cast(:tails as text[]))
      or r.recipient = any(cast(:logins as text[]))
""")
_DROP_ROWS = sa.text("""
    delete from notify.campaign_rows r
    using unnest(cast(:campaigns as bigint[]), cast(:numbers as integer[])) as gone (campaign_id, number)
    where r.campaign_id = gone.campaign_id and r.number = gone.number
""")

#: Digits at the end that all spellings of a telephone number have in common.
_TAIL = 6


def drop_rows(connection: Connection, addresses: Collection[str], logins: Collection[str], region: Region) -> int:
    """Remove somebody from all lists of recipients; what became of them stands there as a hash alone.

    :param addresses: in lower case, numbers in E.164
    :param region: the country of numbers without the code of one
    :returns: how many rows
    """
    values = {
        "mailboxes": [one for one in addresses if not is_number(one)],
        "tails": [f"%{one[-_TAIL:]}" for one in addresses if is_number(one)],
        "logins": list(logins),
    }
    gone = [
        (row.campaign_id, row.number)
        for row in connection.execute(_MAY_BE, values)
        if row.recipient in logins or _meant(row.recipient, region) in addresses
    ]
    columns = {"campaigns": [campaign for campaign, _ in gone], "numbers": [number for _, number in gone]}
    return connection.execute(_DROP_ROWS, columns).rowcount if gone else 0


def _meant(recipient: str, region: Region) -> str | None:
    """Where a message to somebody goes who is written so; None where it can go nowhere."""
    with suppress(ValueError):
        return parse_destination(recipient, region).lower()
    return None


# --- Groups ----------------------------------------------------------------------------------------------------------


def members(connection: Connection, group: str, after: str) -> list[str]:
    """The next logins of a group's members.

    :param after: the login to go on after, empty at first
    """
    query = sa.select(memberships.c.login).where(memberships.c.group_name == group, memberships.c.login > after)
    return list(connection.scalars(query.order_by(memberships.c.login).limit(STRETCH)))
