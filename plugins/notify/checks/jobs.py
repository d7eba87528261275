"""The DAGs: whether Airflow can be asked, has them, runs them, when they are meant to, and with the limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

from notify import settings
from notify.checks import ids
from notify.checks.check import Check, Found, Need, Place
from notify.checks.surroundings import Surroundings
from notify.domain.limit import HOURLY_LIMITS
from notify.domain.schedule import parse_schedule
from notify.exceptions import ConfigurationError, InvalidSchedule
from notify.schedules import SCHEDULED
from notify.storage import campaigns
from notify.web import airflow
from notify.web.airflow import MASS_MAILING, NOTIFICATIONS

#: Handed over by hand, or by others; it has no schedule.
_SEND_MESSAGE = "SendMessage"

#: Of campaigns that wait, so many are named.
_MOST_NAMED = 10

_OTHERS = (*(name for name in SCHEDULED if name != NOTIFICATIONS), _SEND_MESSAGE)


def _answers(around: Surroundings) -> Iterator[Found]:
    try:
        with around.metadata() as session:
            airflow.dag_states(session, [NOTIFICATIONS])
    except ConfigurationError as error:
        yield Found(str(error))


def _sends(around: Surroundings) -> Iterator[Found]:
    yield from _idle(around, [NOTIFICATIONS])


def _others_run(around: Surroundings) -> Iterator[Found]:
    yield from _idle(around, _OTHERS)


def _idle(around: Surroundings, names: list[str] | tuple[str, ...]) -> Iterator[Found]:
    """Those of these DAGs that do not run."""
    with around.metadata() as session:
        for state in airflow.dag_states(session, names):
            place = Place(f"dags/{state.dag_id}", state.dag_id) if state.known else Place("dags", "Dags")
            if error := airflow.import_error(session, state.dag_id):
                yield Found(f"Airflow cannot read the DAG {state.dag_id}: {error}", place=place)
            elif state.why:
                yield Found(f"{state.why}.", "Unpause it." if state.paused and state.known else None, place)


def _campaigns_go_on(around: Surroundings) -> Iterator[Found]:
    with around.outbox() as connection:
        waiting = campaigns.awaiting_a_run(connection)
    if not waiting:
        return
    with around.metadata() as session:
        [state] = airflow.dag_states(session, [MASS_MAILING])
    if state.why:
        some = ", ".join(map(str, waiting[:_MOST_NAMED])) + (" …" if len(waiting) > _MOST_NAMED else "")
        place = Place(f"dags/{MASS_MAILING}", MASS_MAILING) if state.known else None
        yield Found(f"Campaigns wait for a run of {MASS_MAILING} ({some}), and none comes: {state.why}.", place=place)


def _scheduled(_around: Surroundings) -> Iterator[Found]:
    for dag_id, (variable, default) in SCHEDULED.items():
        try:
            parse_schedule(settings.variable(variable, default))
        except InvalidSchedule as error:
            told = f"The Variable {variable} cannot be used: {error} The DAG {dag_id} keeps its default, {default}."
            yield Found(told, place=Place(f"settings#{variable}", "Settings", ours=True))


def _limited(around: Surroundings) -> Iterator[Found]:
    with around.metadata() as session:
        run = airflow.last_run(session, NOTIFICATIONS)
    if run is not None and not isinstance(run.conf.get(HOURLY_LIMITS), dict):
        place = Place(f"dags/{NOTIFICATIONS}/runs/{quote(run.run_id, safe='')}", run.run_id)
        yield Found(f"The last run of Notifications, {run.run_id}, carries no hourly limits.", place=place)


def _in_time(around: Surroundings) -> Iterator[Found]:
    now = datetime.fromtimestamp(around.clock(), UTC)
    with around.metadata() as session:
        states = airflow.dag_states(session)
    for state in states:
        if state.overdue(now):
            assert state.next_at is not None
            at = state.next_at.astimezone(UTC)
            yield Found(f"A run of {state.dag_id} was due at {at:%Y-%m-%d %H:%M} UTC, and has not begun.")


CHECKS = (
    Check(
        id=ids.METADATA,
        title="Airflow's own database can be read",
        meaning="Whether DAGs run and pools exist cannot be told from here.",
        remedy="Look at the health of Airflow itself. On the command line: run it where Airflow's own commands work.",
        look=_answers,
    ),
    Check(
        id=ids.NOTIFICATIONS,
        title="Notifications is there, and runs",
        meaning="Nothing is sent by any sender; messages wait.",
        remedy="See that dags/Notifications.py lies in the DAG folder, that the DAG processor can read it, and that "
        "the DAG is not paused.",
        look=_sends,
        needs=frozenset({Need.METADATA}),
    ),
    Check(
        id=ids.OTHER_DAGS,
        title="The other DAGs are there, and run",
        meaning="UserNotifications moves what was put aside, Reminders tells of deadlines, MassMailing makes the "
        "messages of campaigns, DeliveryReports reads what came back, Housekeeping forgets, SendMessage takes messages "
        "by form. Each waits, and loses nothing.",
        remedy="See that its file lies in the DAG folder, that the DAG processor can read it, and that the DAG is not "
        "paused; unless that is meant.",
        look=_others_run,
        needs=frozenset({Need.METADATA}),
    ),
    Check(
        id=ids.CAMPAIGNS,
        title="Campaigns do not wait in vain",
        meaning="MassMailing makes the messages of campaigns, and puts them in the queue. What people ask for is "
        "noted, and nothing comes of it until that DAG runs; what is paused or cancelled does not leave.",
        remedy="Unpause MassMailing, or mend what Airflow says of its file.",
        look=_campaigns_go_on,
        needs=frozenset({Need.OUTBOX, Need.METADATA}),
    ),
    Check(
        id=ids.SCHEDULE,
        title="Each schedule is one",
        meaning="The DAG keeps its default schedule, and has the tag invalid-schedule.",
        remedy="Write a cron expression of five fields, a preset or an ISO 8601 duration.",
        look=_scheduled,
    ),
    Check(
        id=ids.LISTENER,
        title="Runs of Notifications know the hourly limits",
        meaning="A change of a pool has no effect: the last limit known applies, else 100 an hour. And nobody makes a "
        "pool that is missing, without which Airflow never starts the sender's task.",
        remedy="The plugin is not loaded in the scheduler. See that its plugins folder is this one, that "
        "airflow plugins lists notify there, and restart it.",
        look=_limited,
        needs=frozenset({Need.METADATA}),
        place=Place("plugins", "Plugins"),
    ),
    Check(
        id=ids.OVERDUE,
        title="Runs begin in time",
        meaning="No scheduler is at work, or it cannot follow: what should be sent or made by now waits.",
        remedy="Look at the health of Airflow's scheduler and DAG processor, and at what else they have to do.",
        look=_in_time,
        needs=frozenset({Need.METADATA}),
    ),
)
