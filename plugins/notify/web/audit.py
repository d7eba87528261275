"""Airflow's audit log: who changed what, where the outbox keeps no history of its own; for commands: notify.cli.audit.

The history of messages is written by the outbox's database. What is done to people, the suppression list and deadlines
stands where admins look for who changed a Variable or a pool: in Airflow, Browse → Audit Log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow.models import Log

from notify.web import airflow

if TYPE_CHECKING:  # for commands, which have no such user
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser


def record(user: BaseUser | str, event: str, **about: object) -> None:
    """Put down what somebody does; last in the transaction that does it, for nothing is changed unrecorded.

    :param user: who does it; a text for whoever is no user of Airflow
    :param event: what is done, e.g. ``lift_suppression``
    :param about: to what, in values that JSON has
    :raises notify.web.airflow.AirflowUnreachable: it cannot be put down
    """
    name = user if isinstance(user, str) else user.get_name()
    with airflow.metadata() as session:
        session.add(line(name, event, about))


def line(owner: str, event: str, about: Mapping[str, object]) -> Log:
    """What is put down; the parameters are those of :func:`record`."""
    told = json.dumps(about, ensure_ascii=False)
    return Log(f"notify.{event}", owner=owner, owner_display_name=owner, extra=told)
