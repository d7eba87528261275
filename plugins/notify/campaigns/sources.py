"""Where the recipients of campaigns come from: typed or from a file, members of groups, the rows of a query."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator

from sqlalchemy.engine import Engine

from notify import databases
from notify.domain import recipient_list
from notify.domain.campaign import Campaign, Row
from notify.exceptions import UnusableSource
from notify.storage import campaign_recipients, campaigns


def rows_of(engine: Engine, campaign: Campaign, connections: Collection[str]) -> Generator[Row]:
    """All recipients of a campaign, source after source, as a stream.

    :param connections: those that a query may be asked on
    :raises UnusableSource: the query may not be asked there, or its result cannot be used
    :raises ConfigurationError: the query cannot be run
    """
    yield from _given(engine, campaign.id)
    for group in campaign.groups:
        yield from _members(engine, group)
    if campaign.query is not None and campaign.query_connection is not None:
        require_allowed(campaign.query_connection, connections)
        yield from _queried(campaign, campaign.query_connection, campaign.query)


def _given(engine: Engine, number: int) -> Iterator[Row]:
    """Those who were typed, or came in a file."""
    after = 0
    while True:
        with engine.connect() as connection:
            some = campaigns.rows_after(connection, number, after)
        if not some:
            return
        yield from (row for _, row in some)
        after, _ = some[-1]


def _members(engine: Engine, group: str) -> Iterator[Row]:
    after = ""
    while True:
        with engine.connect() as connection:
            some = campaign_recipients.members(connection, group, after)
        if not some:
            return
        yield from (Row(login, login, is_login=True) for login in some)
        after = some[-1]


def require_allowed(conn_id: str, connections: Collection[str]) -> None:
    """Make sure that campaigns may ask a connection: else whoever writes one could read all that Airflow can.

    :raises UnusableSource: they may not
    """
    if conn_id not in connections:
        allowed = ", ".join(sorted(connections)) or "none so far"
        raise UnusableSource(
            f"Campaigns may not ask the connection {conn_id}; they may ask: {allowed}. An admin adds it to the "
            "Variable notify_campaign_connections."
        )


def _queried(campaign: Campaign, conn_id: str, sql: str) -> Iterator[Row]:
    try:
        with databases.rows(conn_id, sql) as (columns, values):
            yield from recipient_list.rows_of(columns, values, campaign.channel)
    except ValueError as error:
        raise UnusableSource(f"The result of the query cannot be used: {error}.") from error
