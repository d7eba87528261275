"""Settings: the schedules and their zone, to be changed here; senders and pools, which Airflow's own pages change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from notify import settings
from notify.channels import channel_for, channel_of
from notify.domain import push
from notify.domain.channel import ChannelName
from notify.domain.limit import Usage
from notify.domain.schedule import parse_schedule
from notify.exceptions import ConfigurationError, InvalidSchedule, SenderFault
from notify.schedules import SCHEDULED, InForce
from notify.storage import limits, pushes
from notify.web import airflow, forgery, upcoming, variables
from notify.web.airflow import DagState, PoolState
from notify.web.fields import Line
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound
from notify.web.rights import Right, requires
from notify.web.variables import Change, SetElsewhere, Variable

router = APIRouter(prefix="/settings")

#: The Variable of the zone that all schedules are in.
ZONE = "notify_timezone"

#: What can be changed here: each Variable, what it is for, and its default.
CHANGEABLE = {
    ZONE: ("Zone of schedules, and of readers whose own is not known", settings.DEFAULT_TIMEZONE),
    **{variable: (f"Schedule of {dag_id}", default) for dag_id, (variable, default) in SCHEDULED.items()},
}


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody has typed, and not saved.

    :param name: of the Variable; empty: nothing was typed
    :param problem: why it cannot be used, empty where it can
    """

    name: str = ""
    value: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Coming:
    """What a schedule comes to.

    :param words: the schedule in words
    :param runs: the next ones
    """

    found: InForce
    words: str
    runs: list[datetime]

    @classmethod
    def of(cls, text: str, zone: str, last: datetime | None) -> Coming:
        """What a text comes to.

        :raises InvalidSchedule: it is no schedule
        """
        found = InForce(text, parse_schedule(text), zone)
        return cls(found, upcoming.in_words(found), upcoming.next_runs(found, last))


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A DAG with its schedule.

    :param problem: why what stands in the Variable cannot be used, empty where it can
    :param change: the latest on this page
    :param typed: what it would be, where somebody has typed something that is a schedule
    """

    dag: DagState
    variable: Variable
    default: str
    coming: Coming
    problem: str
    change: Change | None
    typed: Coming | None

    @property
    def taken_over(self) -> bool:
        """Whether Airflow has read the schedule that stands here."""
        return not self.dag.known or self.dag.schedule == upcoming.as_kept(self.coming.found)


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender.

    :param about: what its channel tells of it
    :param fault: why its connection cannot be used, and what to do; None where it can
    :param pool: None where there is none
    :param used: what counts against its limit now; None where the outbox does not answer
    :param channel: how its messages travel, None where no connection says so
    :param push_to: where its gateway may push receipts to; empty where it cannot, or nobody has said where Airflow is
    """

    name: str
    about: dict[str, str]
    fault: SenderFault | None
    pool: PoolState | None
    used: Usage | None
    push_to: str = ""
    channel: ChannelName | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the outbox knows of a sender.

    :param token: that its gateway pushes receipts with
    """

    used: Usage
    token: str


@router.get("", response_class=HTMLResponse)
def view(
    request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)], name: Line = "", value: Line = ""
) -> Response:
    """All settings; and what one would come to, before it is saved."""
    return _page(request, user, _typed(name, value) if name else Typed())


@router.post("/{name}")
def save(
    request: Request,
    name: str,
    user: Annotated[BaseUser, requires(Right.CHANGE_SETTINGS)],
    value: Annotated[Line, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Save one; it is checked as in the preview."""
    forgery.require_token(request, user, csrf_token)
    typed = _typed(name, value)
    if typed.problem:
        return _page(request, user, typed, status=422)
    return _change(request, user, typed, typed.value)


@router.post("/{name}/default")
def reset(
    request: Request,
    name: str,
    user: Annotated[BaseUser, requires(Right.CHANGE_SETTINGS)],
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Take what was saved away, so that the default applies."""
    forgery.require_token(request, user, csrf_token)
    _require_known(name)
    return _change(request, user, Typed(name), None)


def _change(request: Request, user: BaseUser, typed: Typed, value: str | None) -> Response:
    """Set a Variable, or remove it, and lead back to it; where that has no effect, say so."""
    try:
        with airflow.metadata() as session:
            variables.change(session, user, typed.name, value, description=CHANGEABLE[typed.name][0])
    except SetElsewhere as error:
        return _page(request, user, replace(typed, problem=str(error)), status=409)
    return RedirectResponse(f"{request.scope['root_path']}/settings#{typed.name}", status_code=303)


def _require_known(name: str) -> None:
    if name not in CHANGEABLE:
        raise NotFound(f"There is no setting {name!r} that can be changed here.")


def _typed(name: str, value: str) -> Typed:
    """What was typed, checked."""
    _require_known(name)
    value = " ".join(value.split())
    try:
        settings.known_timezone(value) if name == ZONE else parse_schedule(value)
    except ConfigurationError as error:
        return Typed(name, value, str(error))
    return Typed(name, value)


def _page(request: Request, user: BaseUser, typed: Typed, *, status: int = 200) -> Response:
    served, note = settings.served()
    with airflow.metadata() as session:
        zone = variables.read(session, ZONE)
        changes = variables.last_changes(session, CHANGEABLE)
        schedules = _schedules(session, _zone(zone, typed), typed, changes)
        pools = airflow.pools(session, served)
    return page(
        request,
        "settings.html",
        title="Settings",
        user=user,
        status=status,
        typed=typed,
        zone=zone,
        zone_in_force=_zone(zone, Typed()),
        zone_change=changes.get(ZONE),
        zones=sorted(available_timezones()),
        default_zone=settings.DEFAULT_TIMEZONE,
        schedules=schedules,
        senders=_senders(served, pools),
        note=note,
        database=variables.DATABASE,
        seconds=conf.getint("dag_processor", "min_file_process_interval", fallback=30),
        now=datetime.now(UTC),
        in_zone=_in_zone,
    )


def _zone(zone: Variable, typed: Typed) -> str:
    """The zone that applies, or that would apply."""
    wanted = typed.value if typed.name == ZONE and not typed.problem else zone.value
    return wanted if wanted in available_timezones() else settings.DEFAULT_TIMEZONE


def _schedules(session: Session, zone: str, typed: Typed, changes: dict[str, Change]) -> list[Scheduled]:
    last = airflow.last_scheduled(session)
    return [
        _scheduled(dag, variables.read(session, SCHEDULED[dag.dag_id][0]), zone, last.get(dag.dag_id), typed, changes)
        for dag in airflow.dag_states(session)
    ]


def _scheduled(  # noqa: PLR0917 - what was read for all of them
    dag: DagState, variable: Variable, zone: str, last: datetime | None, typed: Typed, changes: dict[str, Change]
) -> Scheduled:
    default = SCHEDULED[dag.dag_id][1]
    try:
        coming, problem = Coming.of(variable.value or default, zone, last), ""
    except InvalidSchedule as error:
        coming, problem = Coming.of(default, zone, last), str(error)
    asked = typed.name == variable.name and not typed.problem
    would_be = Coming.of(typed.value, zone, last) if asked else None
    return Scheduled(dag, variable, default, coming, problem, changes.get(variable.name), would_be)


def _senders(served: tuple[str, ...], pools: dict[str, PoolState]) -> list[Sender]:
    kept = _kept(served)
    return [_sender(name, pools.get(name), kept.get(name)) for name in served]


def _sender(name: str, pool: PoolState | None, kept: Kept | None) -> Sender:
    used = kept.used if kept else None
    try:
        channel = channel_for(name)
        push_to = _push_to(name, kept.token) if kept and channel.pushes else ""
        return Sender(name, dict(channel.about()), None, pool, used, push_to, channel_of(name))
    except SenderFault as fault:
        return Sender(name, {}, fault, pool, used, channel=channel_of(name))
    except ConfigurationError as error:
        return Sender(name, {}, SenderFault(str(error), "See Health."), pool, used)


def _push_to(name: str, token: str) -> str:
    try:
        base_url = settings.base_url()
    except ConfigurationError:  # Health tells of it
        base_url = ""
    return push.address(base_url, name, token) if base_url else ""


def _kept(served: tuple[str, ...]) -> dict[str, Kept]:
    """What is known of each; nothing where the outbox does not answer, for settings are what may mend that."""
    try:
        with reading() as connection:
            return {name: Kept(limits.usage(connection, name), pushes.token(connection, name)) for name in served}
    except ConfigurationError:
        return {}


def _in_zone(at: datetime, zone: str) -> str:
    """A moment as a schedule has it: in its zone, with the day of the week."""
    return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %H:%M %Z}"
