"""Airflow's audit log: who changed what, where the outbox keeps no history of its own; for commands: notify.cli.audit.

The history of messages is written by the outbox's database. What is done to people, the suppression list and deadlines
stands where admins look for who changed a Variable or a pool: in Airflow, Browse → Audit Log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from airflow.models import Log
from sqlalchemy.orm import Session

from notify.domain.campaign import CampaignAction
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


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did.

    :param what: e.g. ``pause``
    :param about: what was put down of it
    """

    at: datetime
    by: str
    what: str
    about: Mapping[str, Any]

    @property
    def send_after(self) -> datetime | None:
        """From when on it was to be sent."""
        with suppress(ValueError):
            return datetime.fromisoformat(str(self.about.get("send_after")))
        return None


#: Of what was done to a campaign, so much is looked at.
_DEEDS = 200

#: What can be done to a campaign, as the log calls it.
_TO_CAMPAIGNS = {
    f"notify.{what}_campaign": what for what in ("create", "copy", "test", *(one.value for one in CampaignAction))
}


def of_campaign(session: Session, number: int) -> list[Deed]:
    """What was done to a campaign, the latest first, as far as the audit log reaches."""
    written = Log.event.in_(_TO_CAMPAIGNS), Log.extra.contains(f'"campaign": {number}')
    lines = session.scalars(sa.select(Log).where(*written).order_by(Log.id.desc()).limit(_DEEDS))
    told = [(line, _about(line.extra)) for line in lines]
    return [
        Deed(line.dttm, line.owner or "somebody", _TO_CAMPAIGNS[line.event], about)
        for line, about in told
        if about.get("campaign") == number and line.dttm is not None
    ]


def _about(extra: str | None) -> dict[str, Any]:
    try:
        told = json.loads(extra or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
