"""The command line, for admins and operators: ``python -m notify``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from notify.exceptions import NotifyError

#: Loggers of Airflow 3.3.2 that take every Variable of less than five characters for a secret too short to be masked,
#: and say so on stdout, before a command's answer (2026-11).
_TOO_LOUD = ("airflow._shared.secrets_masker.secrets_masker", "airflow.sdk._shared.secrets_masker.secrets_masker")


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
    _hush()
    options = parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except NotifyError as error:
        print(f"notify: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads has seen enough, as head has. Python would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("notify: interrupted; what was not committed has not happened", file=sys.stderr)
        return 130
    return 0


def _hush() -> None:
    """Have nothing said beside the answer that is not about the command."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # the command itself says what it did
    for name in _TOO_LOUD:
        logging.getLogger(name).addFilter(_is_error)  # levels are lost where Airflow configures its logging


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
