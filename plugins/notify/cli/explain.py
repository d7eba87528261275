"""``explain``: why somebody did, or did not, get a mail."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from notify import explaining
from notify.cli import arguments
from notify.cli.database import connect
from notify.domain.destination import is_number, sought
from notify.exceptions import ConfigurationError, NothingKnown
from notify.explaining import MOST, USUAL, Explanation, Sentence, Sort, Thing
from notify.settings import phone_region
from notify.storage import schema


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
        "--person",
        type=arguments.text,
        metavar="LOGIN|ADDRESS|NUMBER",
        help="all that concerned a person, newest first",
    )
    of.add_argument("--case", type=arguments.text, metavar="CASE", help="all events of a case, newest first")
    of.add_argument("--message", type=arguments.number, metavar="ID", help="what a mail or a digest tells of")
    explain.add_argument(
        "--since",
        metavar="WHEN",
        type=_since,
        help=f"with --person: a day (2026-11-01), a moment with its zone, or a time back (default: {USUAL})",
    )
    explain.add_argument("--most", type=arguments.most, default=MOST, metavar="N", help="lines (default: %(default)s)")
    explain.set_defaults(run=_explain)


def _since(text: str) -> datetime | timedelta:
    try:
        return explaining.read_since(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _explain(options: argparse.Namespace) -> None:
    if options.since is not None and options.person is None:
        raise ConfigurationError("--since goes with --person only; anything else is told whole. Leave it out.")
    with connect().connect() as connection:
        schema.require(connection)
        try:
            found = _answer(connection, options)
        except NothingKnown as error:
            raise NothingKnown(f"{error}{_where_else(options)}") from None
    print("\n".join(_lines(found, options.most)))


def _answer(connection: Connection, options: argparse.Namespace) -> Explanation:
    if options.person is not None:
        return explaining.of_person(connection, options.person, since=options.since, most=options.most)
    if options.event is not None:
        return explaining.of_event(connection, options.event, most=options.most)
    if options.case is not None:
        return explaining.of_case(connection, options.case, most=options.most)
    return explaining.of_message(connection, options.message, most=options.most)


def _where_else(options: argparse.Namespace) -> str:
    """Where to look where nothing is known."""
    if options.message is not None:
        return f" Look at it with: python -m notify messages show {options.message}"
    if options.person is None:
        return ""
    if "@" in options.person or is_number(sought(options.person, phone_region)):
        return f" What was written to it: python -m notify messages list --address {shlex.quote(options.person)}"
    return " See python -m notify people list."


def _lines(found: Explanation, most: int) -> Iterator[str]:
    if found.login is not None and found.since is not None:
        yield f"{found.login}, since {_moment(found.since)}: {_counted(found.count, 'notification')}"
        for story in found.stories:
            yield f"  {_written(story.happened)}"
            yield from (f"      {_written(home)}" for _, home in story.homes)
    else:
        for story in found.stories:
            yield _written(story.happened)
            yield from (f"  {who}: {_written(home)}" for who, home in story.homes)
    if found.cut:
        yield f"… there may be more; ask for them with --most {most * 10}"
    if found.direct:
        yield f"Written to {found.login} directly: {_counted(len(found.direct), 'message')}"
        yield from (f"  {_written(one)}" for one in found.direct)


def _written(sentence: Sentence) -> str:
    return "".join(_part(part) for part in sentence)


def _part(part: str | datetime | Thing) -> str:
    if isinstance(part, Thing):
        if part.sort is Sort.SUPPRESSION:
            return f"python -m notify suppressions list --address {part.name}"
        return f"{part.sort} {part.name}"
    return part if isinstance(part, str) else _moment(part)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%SZ}"
