"""``deadlines list | show | clear``: what is set on cases, and what became of it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from notify.cli import arguments, audit
from notify.cli.database import changing, connect
from notify.deadlines import clear_deadline, clear_reminder
from notify.domain.deadline import ANY_STAGE, Deadline, Step
from notify.exceptions import ConfigurationError
from notify.storage import deadlines, schema


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("deadlines", help="terms of stages and reminders: what is set, and what became of it")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="by their due time, each with what is told next")
    listing.add_argument("--case", type=arguments.text, metavar="ID", help="of this case only")
    listing.add_argument("--all", action="store_true", help="those that have ended as well")
    listing.add_argument("--limit", type=arguments.most, default=50, help="how many (default: %(default)s)")
    listing.set_defaults(run=_list)

    show = actions.add_parser("show", help="one with its steps")
    show.add_argument("id", type=arguments.number, metavar="ID")
    show.set_defaults(run=_show)

    clear = actions.add_parser("clear", help="take the terms of a case back, or a person's reminder on it")
    clear.add_argument("case", type=arguments.text, metavar="CASE")
    clear.add_argument(
        "--stage",
        type=arguments.text,
        default=ANY_STAGE,
        help="of this stage only; '' (in quotes): of the whole case only",
    )
    clear.add_argument(
        "--reminder-of",
        type=arguments.text,
        metavar="LOGIN",
        help="this person's reminder instead of terms",
    )
    clear.add_argument("--name", type=arguments.text, default="", help="with --reminder-of: the reminder's name")
    clear.set_defaults(run=_clear)


def _list(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        found = deadlines.listed(connection, case_id=options.case, ended=options.all, limit=options.limit)
    for one in found:
        state = one.closed_reason or "open"
        print(f"{one.id:>8}  {state:<13}  {_written(one.due_at)}  {one.case_id}  {one.whose}{_next(one)}")
    if not found:
        print("There are no such deadlines.")


def _show(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        found = deadlines.read(connection, options.id)
    if found is None:
        raise ConfigurationError(f"There is no deadline {options.id}; see python -m notify deadlines list.")
    print("\n".join(_lines(found)))


def _clear(options: argparse.Namespace) -> None:
    with changing() as connection:
        if options.reminder_of is not None:
            cleared = clear_reminder(options.reminder_of, options.case, name=options.name, connection=connection)
        else:
            cleared = clear_deadline(options.case, stage=options.stage, connection=connection)
        if cleared:
            audit.record("clear_deadlines", ids=cleared)
    for number in cleared:
        print(f"Deadline {number} is cleared.")
    if not cleared:
        ended = f"python -m notify deadlines list --case {shlex.quote(options.case)} --all"
        print(f"There was none that is open; see {ended}.")


def _lines(one: Deadline) -> Iterator[str]:
    ended = f"{one.closed_reason} at {_written(one.closed_at)}" if one.closed_at else "open"
    yield f"Deadline {one.id}: {ended}"
    yield f"  Case    {one.case_id}"
    yield f"  What    {one.whose}"
    yield f"  Due     {_written(one.due_at)}"
    yield f"  Set     {_written(one.created_at)} by {one.set_by or 'Python code'}"
    if one.note:
        yield f"  Note    {' '.join(one.note.split())}"
    yield "Steps"
    yield from (
        f"  {_written(step.fires_at)}  {step.kind} to {', '.join(step.recipients)}{_end(step)}" for step in one.steps
    )


def _next(one: Deadline) -> str:
    """What is told next, without which a term that passed and is still open looks forgotten."""
    step = next((step for step in one.steps if step.outcome is None), None)
    return f"; next {step.kind} {_written(step.fires_at)}" if step else ""


def _end(step: Step) -> str:
    if step.outcome is None or step.settled_at is None:
        return ""
    event = f", event {step.event_id}" if step.event_id is not None else ""
    return f": {step.outcome} at {_written(step.settled_at)}{event}"


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
