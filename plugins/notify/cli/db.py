"""``db upgrade | check | downgrade | status | confirm``: the schema of the outbox database, and its identity."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from notify.cli import audit
from notify.cli.database import changing, connect
from notify.domain.identity import Identity, Mark, Place, doubt_from_outside
from notify.exceptions import ConfigurationError, RestoredCopy
from notify.storage import identity, schema
from notify.storage.identity import Pending
from notify.witness import Witness

#: In the place of the mark, where Airflow's Variables cannot be read, or hold none.
UNSEEN = "cannot be seen from here; what the last run found counts"


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    db = commands.add_parser("db", help="the schema of the outbox database, and whether it is a copy")
    actions = db.add_subparsers(required=True, metavar="ACTION")

    upgrade = actions.add_parser("upgrade", help="create the schema, or bring it up to this version")
    upgrade.add_argument("revision", nargs="?", default="head", help="a revision (default: %(default)s)")
    upgrade.set_defaults(run=_upgrade)

    check = actions.add_parser("check", help="tell whether the schema fits this version; exit status 1 if not")
    check.set_defaults(run=_check)

    downgrade = actions.add_parser("downgrade", help="take the schema back to an earlier revision")
    downgrade.add_argument("revision", help="a revision, or 'base' to remove all tables")
    downgrade.add_argument("--yes", action="store_true", help="confirm that data may be lost")
    downgrade.set_defaults(run=_downgrade)

    status = actions.add_parser(
        "status", help="the outbox's identity, and whether it is sent from; exit status 1 if not"
    )
    status.set_defaults(run=_status)

    confirm = actions.add_parser(
        "confirm",
        help="send from a restored copy: it becomes an outbox of its own",
        description="What is queued in it is sent again, though the original may have sent it since the copy was made; "
        "what was handed over as at_most_once is held, so that a person decides.",
    )
    choice = confirm.add_mutually_exclusive_group()
    choice.add_argument("--hold", action="store_true", help="hold everything that is queued")
    choice.add_argument("--dry-run", action="store_true", help="only show what is queued, and change nothing")
    confirm.set_defaults(run=_confirm)


def _upgrade(options: argparse.Namespace) -> None:
    before, after = schema.upgrade(connect(), options.revision)
    if before == after:
        print(f"The outbox database is at revision {after} already.")
    else:
        print(f"The outbox database was upgraded from {before or 'nothing'} to revision {after}.")


def _check(_options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        print(f"The outbox database is at revision {schema.check(connection)}, as this version needs it.")


def _downgrade(options: argparse.Namespace) -> None:
    if not options.yes:
        raise ConfigurationError(
            f"Going back to {options.revision} drops tables or columns, with the messages in them. "
            "Make a backup (pg_dump), then add --yes."
        )
    before, after = schema.downgrade(connect(), options.revision)
    if before == after:
        print(f"The outbox database is at revision {after or 'nothing'} already.")
        return
    print(f"The outbox database was taken back from {before or 'nothing'} to {after or 'nothing'}.")


# --- A restored copy -------------------------------------------------------------------------------------------------


def _status(_options: argparse.Namespace) -> None:
    mark = Witness().read()
    with connect().connect() as connection:
        schema.require(connection)
        known, here = identity.read(connection), identity.place(connection)
    print("\n".join(_identity_lines(known, here, mark)))
    if doubt := doubt_from_outside(known, here, mark):
        raise RestoredCopy(doubt)
    print("It is the original, and is sent from." if mark or not known.counter else "No run has refused it.")


def _identity_lines(known: Identity, here: Place, mark: Mark | None) -> Iterator[str]:
    yield f"Outbox {known.id}, counter of runs {known.counter}"
    yield f"  Lay at   {_place(known.place)}"
    yield f"  Lies at  {_place(here)}"
    found = f"outbox {mark.outbox}, counter {mark.counter}" if mark else UNSEEN
    yield f"  Mark     {found}"


def _place(place: Place) -> str:
    names = {"server": place.system, "database": place.database, "timeline": place.timeline}
    return ", ".join(f"{name} {'unknown' if value is None else value}" for name, value in names.items())


def _confirm(options: argparse.Namespace) -> None:
    mark = Witness().read()
    with changing() as connection:
        doubt = identity.doubt(connection, mark)
        if doubt is None:
            _nothing_to_confirm(identity.read(connection), mark)
            return
        print(f"This outbox may be a restored copy: {doubt}.")
        print("\n".join(_pending_lines(identity.pending(connection))))
        if options.dry_run:
            print("Nothing was changed.")
            return
        done = identity.confirm(connection, mark, hold=options.hold)
        audit.record("confirm_copy", outbox=str(done.id), held=done.held, uncertain=done.uncertain)
    print(f"Confirmed: it is sent from, as outbox {done.id}. {done.held} messages are held.")
    if done.uncertain:
        print(f"{done.uncertain} at_most_once messages were being sent at the copy's time, and are uncertain now.")


def _nothing_to_confirm(known: Identity, mark: Mark | None) -> None:
    if mark is None and known.counter:
        raise ConfigurationError(
            "No run has refused this outbox, and the mark of the last run cannot be seen from here, so nothing was "
            "confirmed. Run this where Airflow's Variables can be read, or once a run of Notifications has refused it."
        )
    print("There is nothing to confirm: this outbox is the original.")


def _pending_lines(pending: Pending) -> Iterator[str]:
    yield "In its queue, and perhaps sent by the original since:" if pending.leaving else "Nothing is in its queue."
    for one in pending.leaving:
        yield f"  {one.size:>8,}  of {one.sender}, {one.guarantee}, the oldest of {one.oldest:%Y-%m-%d %H:%MZ}"
    if pending.put_aside:
        yield f"  {pending.put_aside:>8,}  notifications put aside are due: UserNotifications makes mails of them"
    if pending.steps:
        yield f"  {pending.steps:>8,}  steps of deadlines are due: Reminders tells of them"
