"""``db upgrade | check | downgrade``: the schema of the outbox database."""

from __future__ import annotations

import argparse
from typing import Any

from notify.cli.database import connect
from notify.exceptions import ConfigurationError
from notify.storage import schema


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    db = commands.add_parser("db", help="the schema of the outbox database")
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
