"""Airflow's Variables, as the page shows and changes them: where a value comes from, and who set it.

What is changed here goes the way of Airflow's own page, its audit log included (Browse → Audit Log). That log does not
tell values; so a line of ours stands beside it, with what stood there before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import ensure_secrets_loaded
from airflow.models.log import Log
from airflow.models.variable import Variable as Model
from airflow.secrets.environment_variables import EnvironmentVariablesBackend
from airflow.secrets.metastore import MetastoreBackend
from sqlalchemy.orm import Session

from notify.exceptions import NotifyError

log = logging.getLogger(__name__)

#: Our line in the audit log.
CHANGED = "notify.change_variable"

#: How many of our lines are looked through for the latest of each Variable.
_LINES = 200


class SetElsewhere(NotifyError):
    """A Variable is not set in Airflow's database, and what is saved there would have no effect.

    :param name: of the Variable
    :param place: where it is set
    """

    def __init__(self, name: str, place: str) -> None:
        super().__init__(
            f"The Variable {name} is set in {place}, which comes before what is saved here. Nothing was saved. Change "
            "it there, or remove it there first."
        )


@dataclass(frozen=True, slots=True)
class Variable:
    """A Variable, as Airflow hands it out.

    :param value: stripped; empty where there is none
    :param place: where it is set: ``Airflow's database``, the environment, a secrets backend; None where it is not
    :param stored: whether Airflow's database has one, whether or not it counts
    """

    name: str
    value: str
    place: str | None
    stored: bool

    @property
    def elsewhere(self) -> bool:
        """Whether what is saved in Airflow's database has no effect."""
        return self.place not in {None, DATABASE}


#: Where Airflow's own page keeps Variables.
DATABASE = "Airflow's database"


def read(session: Session, name: str) -> Variable:
    """A Variable, and where it comes from."""
    stored = session.scalar(sa.select(Model).where(Model.key == name))
    value, place = _outside(name)
    if place is None and stored is not None:
        value, place = stored.val, DATABASE
    return Variable(name, (value or "").strip(), place, stored is not None)


def _outside(name: str) -> tuple[str | None, str | None]:
    """What the environment or a secrets backend says, and which of them."""
    for backend in ensure_secrets_loaded():
        if isinstance(backend, MetastoreBackend):
            continue
        try:
            value = backend.get_variable(name)
        except Exception as error:  # noqa: BLE001 - each backend has its own; Airflow goes on to the next as well
            log.warning("The secrets backend %s does not answer: %s", type(backend).__name__, type(error).__name__)
            continue
        if value is not None:
            environment = isinstance(backend, EnvironmentVariablesBackend)
            return value, "the environment" if environment else f"the secrets backend {type(backend).__name__}"
    return None, None


def change(session: Session, user: BaseUser, name: str, value: str | None, *, description: str = "") -> None:
    """Set a Variable, or remove it.

    :param value: None removes it
    :param description: of a Variable that is new
    :raises SetElsewhere: that would have no effect
    """
    found = read(session, name)
    if found.elsewhere:
        raise SetElsewhere(name, found.place or "")
    stored = session.scalar(sa.select(Model).where(Model.key == name))
    told: dict[str, Any]
    if value is None:
        Model.delete(name, session=session)
        event, told = "delete_variable", {"variable_key": name, "method": "DELETE"}
    else:
        described = description if stored is None else stored.description
        Model.set(name, value, description=described, session=session)
        event = "post_variable" if stored is None else "patch_variable"
        told = {"key": name, "val": "***", "description": described, "method": "POST" if stored is None else "PATCH"}
    _record(session, user, event, told)
    _record(session, user, CHANGED, {"variable": name, "before": found.value or None, "after": value})


def _record(session: Session, user: BaseUser, event: str, told: dict[str, Any]) -> None:
    name = user.get_name()
    session.add(Log(event, owner=name, owner_display_name=name, extra=json.dumps(told, ensure_ascii=False)))


@dataclass(frozen=True, slots=True)
class Change:
    """A change that somebody made on our page.

    :param before: what stood there, None if nothing did
    :param after: what has stood there since, None: nothing
    """

    by: str
    at: datetime | None
    before: str | None
    after: str | None


def last_changes(session: Session, names: Collection[str]) -> dict[str, Change]:
    """The latest change of each of these Variables on our page, as far as the audit log reaches."""
    found: dict[str, Change] = {}
    for line in session.scalars(sa.select(Log).where(Log.event == CHANGED).order_by(Log.id.desc()).limit(_LINES)):
        told = _told(line.extra)
        name = str(told.get("variable"))
        if name in names and name not in found:
            found[name] = Change(line.owner or "somebody", line.dttm, told.get("before"), told.get("after"))
    return found


def _told(extra: str | None) -> dict[str, Any]:
    try:
        told = json.loads(extra or "{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
