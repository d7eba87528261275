"""The command line, for admins and operators: ``python -m notify``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from notify.exceptions import NotifyError


def parser() -> argparse.ArgumentParser:
    """All commands, with their help."""
    from notify.cli import (
        campaigns,
        check,
        db,
        deadlines,
        explain,
        health,
        messages,
        people,
        permissions,
        person,
        preferences,
        senders,
        sms,
        suppressions,
    )

    root = argparse.ArgumentParser(
        prog="python -m notify",
        description="The notification outbox. The database is the Airflow connection notify_db "
        "(in Airflow, or as AIRFLOW_CONN_NOTIFY_DB).",
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    messaging = (people, person, preferences, suppressions, messages, campaigns, senders, sms, deadlines)
    for module in (db, *messaging, explain, check, health, permissions):
        module.add_commands(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    :param arguments: without the program's name; None: those of this process
    :returns: exit status: 0 done, 1 refused or failed, 2 called in a wrong way
    """
    # Outside a task, connections and Variables come from Airflow's own database, as they do for Airflow's command line.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the command itself says what it did
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except NotifyError as error:
        print(f"notify: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("notify: interrupted; what was not committed has not happened", file=sys.stderr)
        return 130
    return 0
