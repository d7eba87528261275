"""``explain``: why somebody did, or did not, get a mail."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from pydantic import AwareDatetime, TypeAdapter
from sqlalchemy.engine import Connection

from notify.cli import arguments
from notify.cli.database import connect
from notify.domain.home import BECAUSE, Home, Reason
from notify.domain.person import Person
from notify.exceptions import ConfigurationError
from notify.storage import explanation, outbox, people, register, schema
from notify.storage.explanation import Direct, Told

#: How far back a person's story goes, unless somebody asks for more.
USUAL = "P7D"

#: The longest time back; whoever wants all has all by then.
_LONGEST = timedelta(days=36_500)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = TypeAdapter(AwareDatetime)
_BACK = TypeAdapter(timedelta)


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    explain = commands.add_parser(
        "explain",
        help="why somebody did, or did not, get a mail",
        description="Tells the home of each notification: a mail or a digest with its state, until when it waits, or "
        "the reason why there is none.",
    )
    of = explain.add_mutually_exclusive_group(required=True)
    of.add_argument("--event", type=arguments.number, metavar="ID", help="an event, for each of its recipients")
    of.add_argument(
        "--person", type=arguments.text, metavar="LOGIN|ADDRESS", help="all that concerned a person, newest first"
    )
    of.add_argument("--case", type=arguments.text, metavar="CASE", help="all events of a case, newest first")
    of.add_argument("--message", type=arguments.number, metavar="ID", help="what a mail or a digest tells of")
    explain.add_argument(
        "--since",
        metavar="WHEN",
        type=_since,
        help=f"with --person: a day (2026-11-01), a moment with its zone, or a time back (default: {USUAL})",
    )
    explain.add_argument("--most", type=arguments.most, default=200, metavar="N", help="lines (default: %(default)s)")
    explain.set_defaults(run=_explain)


def _since(text: str) -> datetime | timedelta:
    """A number could be taken for seconds since 1970, and so could a day without dashes."""
    try:
        return _ago(text.upper()) if text[:1] in {"P", "p"} else _moment_in(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; write 2026-11-01, 2026-11-01T08:00+01:00, or P7D for the last seven days"
        ) from None


def _ago(text: str) -> timedelta:
    back = _BACK.validate_python(text)
    if not timedelta(0) <= back <= _LONGEST:
        raise ValueError
    return back


def _moment_in(text: str) -> datetime:
    if _DAY.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    moment = _MOMENT.validate_python(text) if _DAY.match(text) else None
    if moment is None or moment.year < 1970:
        raise ValueError
    return moment.astimezone(UTC)


def _explain(options: argparse.Namespace) -> None:
    if options.since is not None and options.person is None:
        raise ConfigurationError("--since goes with --person only; anything else is told whole. Leave it out.")
    with connect().connect() as connection:
        schema.require(connection)
        lines = list(_story(connection, options))
    print("\n".join(lines))


def _story(connection: Connection, options: argparse.Namespace) -> Iterator[str]:
    if options.person is not None:
        yield from _of_person(connection, options)
        return
    if options.event is not None:
        told = explanation.of_event(connection, options.event, most=options.most)
        nothing = f"There is no event {options.event}."
    elif options.case is not None:
        told = explanation.of_case(connection, options.case, most=options.most)
        nothing = f"Nothing was published about the case {options.case!r}."
    else:
        register.read(connection, options.message)  # or there is no such message
        told = explanation.in_message(connection, options.message, most=options.most)
        nothing = (
            f"Message {options.message} tells of no event: somebody wrote it directly. "
            f"Look at it with: python -m notify messages show {options.message}"
        )
    if not told:
        raise ConfigurationError(nothing)
    yield from _by_event(told)
    yield from _cut(len(told), options.most)


def _of_person(connection: Connection, options: argparse.Namespace) -> Iterator[str]:
    person = _person(connection, options.person)
    given = _ago(USUAL) if options.since is None else options.since
    since = given if isinstance(given, datetime) else outbox.now(connection) - given
    told = explanation.of_person(connection, person.login, since=since, most=options.most)
    yield f"{person.login}, since {_moment(since)}: {_counted(len(told), 'notification')}"
    for one in told:
        yield f"  {_happened(one)}"
        yield f"      {_home(one)}"
    yield from _cut(len(told), options.most)
    written = explanation.direct(connection, person.email, since=since, most=options.most) if person.email else []
    if written:
        yield f"Written to {person.login} directly: {_counted(len(written), 'message')}"
        yield from (f"  {_direct(one)}" for one in written)


def _person(connection: Connection, who: str) -> Person:
    """A person by login or address."""
    found = people.find(connection, [who]) or people.find_by_email(connection, [who], inactive=True)
    for person in found.values():
        return person
    if "@" in who:
        raise ConfigurationError(
            f"No person has the address {who}. What was written to it: python -m notify messages list --address {who}"
        )
    raise ConfigurationError(f"There is no person {who!r}; see python -m notify people list.")


def _by_event(told: Sequence[Told]) -> Iterator[str]:
    for _, group in groupby(told, key=lambda one: one.event_id):
        notifications = list(group)
        yield _happened(notifications[0])
        for one in notifications:
            yield f"  {one.login or one.address}: {_home(one)}"


def _happened(one: Told) -> str:
    title = f" {one.case_title!r}" if one.case_title else ""
    case = f" of case {one.case_id}{title}" if one.case_id else ""
    actor = f" by {one.actor}" if one.actor else ""
    return f"event {one.event_id}: {one.kind}{case}{actor}, {_moment(one.occurred_at)}{_origin(one)}"


def _home(one: Told) -> str:
    if one.reason is not None:
        more = f"; see python -m notify suppressions list --address {one.address}, and lift"
        suppressed = one.reason == Reason.SUPPRESSED and one.address
        return f"no mail, reason {one.reason}: {BECAUSE[Reason(one.reason)]}{more if suppressed else ''}"
    if one.home is Home.WAITING:
        return f"waiting until {_moment(one.due_at) if one.due_at else '?'}, then UserNotifications moves it"
    mail = f"digest of {one.in_message}" if one.home is Home.DIGEST else "mail"
    return f"{mail}, message {one.message_id} to {one.address}: {_state(one)}"


def _state(one: Told | Direct) -> str:
    sent = f" {_moment(one.sent_at)}" if isinstance(one, Told) and one.sent_at else ""
    attempts = f"{one.attempts} attempt{'' if one.attempts == 1 else 's'}"
    return f"{one.status}{sent}, {attempts}" + (f" ({one.status_reason})" if one.status_reason else "")


def _direct(one: Direct) -> str:
    return f"message {one.message_id}: {one.subject!r}, {_moment(one.created_at)}{_origin(one)}: {_state(one)}"


def _origin(one: Told | Direct) -> str:
    """The run that published or wrote it; Python code has none."""
    return f", from {one.origin_dag_id} / {one.origin_run_id}" if one.origin_dag_id else ""


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _cut(shown: int, most: int) -> Iterator[str]:
    if shown == most:
        yield f"… there may be more; ask for them with --most {most * 10}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
