"""Airflow's audit log, for commands: who changed what on the command line stands where the page and the API put it."""

from __future__ import annotations

import sys

from notify.cli import database

#: By what door, beside what the page and the API tell of the same change.
DOOR = "cli"


def record(event: str, **about: object) -> None:
    """Put down what somebody does; last in the transaction that does it.

    Commands also serve where nothing of Airflow but the outbox can be reached, so a change that cannot be put down is
    made nevertheless, and that is told.

    :param event: what is done, e.g. ``lift_suppression``
    :param about: to what, in values that JSON has
    """
    # With Airflow's models, which cost too much for who only looks.
    from notify.checks.surroundings import Surroundings
    from notify.web import audit
    from notify.web.airflow import AirflowUnreachable

    try:
        with Surroundings().metadata() as session:
            session.add(audit.line(database.user(), event, {"door": DOOR, **about}))
    except AirflowUnreachable as error:
        print(
            f"notify: done, but not recorded in Airflow's audit log: {error} To have it recorded, run commands where "
            "Airflow's own commands work.",
            file=sys.stderr,
        )
