"""``senders``: what waits for each sender, and why it is not sent."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from notify import settings
from notify.channels import channel_of
from notify.cli.database import connect
from notify.domain.channel import ChannelName
from notify.domain.limit import UNLIMITED, bulk_limit
from notify.storage import identity, schema, senders
from notify.storage.accounts import Account
from notify.storage.senders import LastRun, Standing
from notify.witness import Witness

if TYPE_CHECKING:
    from notify.web.forecast import Outlook


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    listing = commands.add_parser(
        "senders",
        help="why is nothing sent? Of each sender: what waits and until when, its limit, its last run and last fault",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=_senders)


def _senders(options: argparse.Namespace) -> None:
    served, note = settings.served()
    mark = Witness().read()
    with connect().connect() as connection:
        schema.require(connection)
        refused = identity.doubt(connection, mark)
        found = senders.standings(connection, served)
        outlooks = _outlooks(connection, found, served)
    if options.json:
        told = [_document(one, outlooks[one.sender], served) for one in found]
        print(json.dumps({"refused": refused, "senders": told}, default=_plain))
        return
    if refused:
        print(f"Nothing is sent: this outbox may be a restored copy: {refused}; see python -m notify db status.")
    if note:
        print(note)
    print("\n".join(line for one in found for line in _lines(one, outlooks[one.sender], served)))


def _outlooks(connection: Connection, found: Sequence[Standing], served: Collection[str]) -> dict[str, Outlook]:
    """When each sender's queue is empty; Airflow is asked for the runs to come where there is anything to send."""
    from notify.checks.surroundings import Surroundings  # with Airflow's models, as in notify.cli.audit
    from notify.web import airflow, forecast
    from notify.web.forecast import Outlook

    if not any(one.queue.due for one in found):
        return {one.sender: Outlook() for one in found}
    try:
        with Surroundings().metadata() as session:
            [sending] = airflow.dag_states(session, [airflow.NOTIFICATIONS])
    except airflow.AirflowUnreachable as error:
        return {one.sender: Outlook(why=str(error).rstrip(".")) for one in found}
    return {one.sender: forecast.of_sender(connection, one, served, sending) for one in found}


def _document(one: Standing, outlook: Outlook, served: Collection[str]) -> dict[str, Any]:
    """A sender for programs, as the API has it."""
    told = {"channel": channel_of(one.sender), "served": one.sender in served, "summary": _summary(one, served)}
    empty = asdict(outlook.expected) if outlook.expected else None
    account = one.account.document() if one.account else None
    return asdict(one) | told | {"account": account, "empty": empty, "empty_reason": outlook.why or None}


def _plain(value: object) -> str:
    """What JSON has no word for: moments and amounts."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _summary(one: Standing, served: Collection[str]) -> str:
    """In a few words, what stands between its messages and the reader."""
    said, moment = one.answer(served)
    return f"{said} {_written(moment)}" if moment else said


def _lines(one: Standing, outlook: Outlook, served: Collection[str]) -> Iterator[str]:
    parts = channel_of(one.sender) is ChannelName.SMS
    yield f"{one.sender}{' (SMS)' if parts else ''}: {_summary(one, served)}"
    yield f"  Served      {'yes' if one.sender in served else 'no: it is not in the Variable notify_senders'}"
    due = f" ({one.queue.parts.total:,} parts)" if parts and one.queue.due else ""
    yield f"  Due         {one.queue.due:,}{due}{_since(one.queue.due_since, one.at)}"
    if one.queue.due:
        yield f"  Empty       {_empty(one, outlook)}"
    yield f"  Later       {one.queue.later:,}{_first(one.queue.next_at)}"
    if one.held:
        yield f"  Held        {one.held:,}, by a person; see python -m notify messages list --status held"
    if one.parked:
        yield f"  Parked      {one.parked:,}, until their campaigns leave; see python -m notify campaigns list"
    yield f"  Limit       {_limit(one, ' parts' if parts else '')}"
    yield f"  Last run    {_run(one.last_run, one.at) if one.last_run else 'none yet'}"
    if one.account:
        yield f"  Credit      {_credit(one.account)}"
    if one.fault and one.fault_at:
        yield f"  Last fault  {_written(one.fault_at)}, {_ago(one.at - one.fault_at)}: {one.fault}"
        yield f"  Remedy      {one.remedy}"


def _empty(one: Standing, outlook: Outlook) -> str:
    if outlook.expected is None:
        return f"nobody can tell: {outlook.why}"
    again = " and it can send again" if one.fault else ""
    return f"{outlook.expected.certainty} {_written(outlook.expected.at)}, if nothing more comes in{again}"


def _since(moment: datetime | None, now: datetime) -> str:
    return f", the first since {_written(moment)}, {_ago(now - moment)}" if moment else ""


def _first(moment: datetime | None) -> str:
    return f", the first at {_written(moment)}" if moment else ""


def _limit(one: Standing, unit: str) -> str:
    if one.limit == UNLIMITED:
        told = "none"
    else:
        used = f"used {one.used.total:,} (bulk {one.used.bulk:,} of {bulk_limit(one.limit):,})"
        told = f"{one.limit:,}{unit} in any 60 minutes, {used}"
    held = f"; {one.held_back:,} held back" if one.held_back else ""
    seen = f"the pool at {_written(one.limit_seen_at)}" if one.limit_seen_at else "the default: no run has seen a pool"
    return f"{told}{held}; from {seen}"


def _credit(account: Account) -> str:
    credit = account.credit
    low = "; top it up" if credit.low else ""
    below = f"; to be warned of below {credit.warning:f}" if credit.warning is not None else ""
    return f"{credit.words} left on the account, as of {_written(account.at)}{below}{low}"


def _run(run: LastRun, now: datetime) -> str:
    who = f"{run.dag_id}/{run.run_id}" if run.dag_id else run.worker
    begun = f"{_written(run.started_at)}, {_ago(now - run.started_at)}, {who}, {run.accepted:,} sent"
    if run.ended_at:
        return f"{begun}: {run.end_reason or 'ended'}"
    return f"{begun} so far" if run.alive else f"{begun}: it died; the next run takes over"


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}"


def _ago(past: timedelta) -> str:
    """How long ago, roughly, for a person."""
    minutes = max(int(past.total_seconds()) // 60, 0)
    days, hours = minutes // 1440, minutes // 60
    count, unit = (days, "day") if days else (hours, "hour") if hours else (minutes, "minute")
    return f"{count} {unit}{'' if count == 1 else 's'} ago"
