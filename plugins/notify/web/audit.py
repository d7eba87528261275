"""Airflow's audit log: who changed what by page or API, where the outbox keeps no history of its own.

The history of messages is written by the outbox's database. What is done to people, the suppression list and deadlines
stands where admins look for who changed a Variable or a pool: in Airflow, Browse → Audit Log.
"""

from __future__ import annotations

import json

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.models import Log

from notify.web import airflow


def record(user: BaseUser | str, event: str, **about: object) -> None:
    """Put down what somebody does; last in the transaction that does it, for nothing is changed unrecorded.

    :param user: who does it; a text for whoever is no user of Airflow
    :param event: what is done, e.g. ``lift_suppression``
    :param about: to what, in values that JSON has
    :raises notify.web.airflow.AirflowUnreachable: it cannot be put down
    """
    name = user if isinstance(user, str) else user.get_name()
    with airflow.metadata() as session:
        session.add(
            Log(f"notify.{event}", owner=name, owner_display_name=name, extra=json.dumps(about, ensure_ascii=False))
        )
