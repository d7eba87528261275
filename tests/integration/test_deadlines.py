"""Deadlines and reminders, from setting them to the mail, in a real PostgreSQL."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from notify import deadlines as notify_deadlines
from notify.domain.deadline import Closed, Deadline
from notify.domain.event import Case
from notify.domain.person import Person
from notify.domain.preference import Frequency, Preference
from notify.exceptions import InvalidDeadline, InvalidEvent, RemindingFailed
from notify.publishing import publish
from notify.remind import Reminding, RemindResult
from notify.settings import HandOverSettings
from notify.storage import cases, deadlines, people, preferences, suppressions
from notify.storage.models import events
from notify.storage.outbox import Origin, now

CHECKOUT = Path(__file__).resolve().parents[2]

NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


# --- What is known of a case -----------------------------------------------------------------------------------------


def known(connection: Connection, case_id: str = "C-1") -> cases.KnownCase:
    """What is known of a case."""
    return cases.find(connection, [case_id])[case_id]


def test_a_case_is_known_as_it_was_told(connection: Connection) -> None:
    """What is told of a case is known, and what nobody told of is not."""
    cases.see(connection, Case(id="C-1", title="A", stage="Review", owner="anna"), at=NOON)
    assert known(connection) == cases.KnownCase("C-1", "A", None, None, "Review", "anna", None, None, NOON)
    assert cases.find(connection, ["C-2"]) == {}


def test_what_is_not_told_stays(connection: Connection) -> None:
    """A later event that tells of the stage alone leaves the rest as it is known."""
    cases.see(connection, Case(id="C-1", title="A", process="P", stage="Review", owner="anna"), at=NOON)
    cases.see(connection, Case(id="C-1", stage="Approval"), at=NOON + HOUR)
    assert known(connection) == cases.KnownCase("C-1", "A", None, "P", "Approval", "anna", None, None, NOON + HOUR)


@pytest.mark.parametrize("fields", [{}, {"closed": True}, {"reopened": True}])
def test_older_events_change_nothing(connection: Connection, fields: dict[str, bool]) -> None:
    """An event that comes out of order does not undo what a later one told."""
    cases.see(connection, Case(id="C-1", stage="Approval"), at=NOON, closed="reopened" in fields)
    before = known(connection)
    cases.see(connection, Case(id="C-1", stage="Review"), at=NOON - HOUR, **fields)
    assert known(connection) == before


def test_a_bare_id_tells_nothing(connection: Connection) -> None:
    """An event that names the case alone leaves an earlier one, published later, its say."""
    cases.see(connection, Case(id="C-1"), at=NOON)
    cases.see(connection, Case(id="C-1", stage="Review"), at=NOON - 2 * HOUR)
    cases.see(connection, Case(id="C-1"), at=NOON)
    cases.see(connection, Case(id="C-1", stage="Approval"), at=NOON - HOUR)
    assert known(connection).stage == "Approval"


def test_a_case_closes_and_reopens(connection: Connection) -> None:
    """A case stays closed since it first was, whatever is told of it later, until it is reopened."""
    cases.see(connection, Case(id="C-1"), at=NOON, closed=True)
    cases.see(connection, Case(id="C-1", title="A"), at=NOON + HOUR)
    cases.see(connection, Case(id="C-1"), at=NOON + 2 * HOUR, closed=True)
    assert known(connection).closed_at == NOON
    cases.see(connection, Case(id="C-1"), at=NOON + 3 * HOUR, reopened=True)
    assert known(connection).closed_at is None


def test_a_bare_id_locks_no_case(engine: Engine) -> None:
    """Whoever names a case that is known, and tells nothing of it, keeps nobody who does waiting."""
    with engine.begin() as connection:
        cases.see(connection, Case(id="C-1", stage="Review"), at=NOON)
    with engine.begin() as first, engine.begin() as second:
        assert not cases.see(first, Case(id="C-1"), at=NOON)
        second.execute(sa.text("set local lock_timeout = '1s'"))
        assert cases.see(second, Case(id="C-1", stage="Payment"), at=NOON)


# --- Setting a deadline ----------------------------------------------------------------------------------------------

CASE = {"id": "C-1", "title": "Invoice 7", "process": "Invoices", "stage": "Approval", "owner": "anna"}

PEOPLE = [
    Person(login="chief", name="Chief", email="chief@example.com"),
    Person(login="anna", name="Anna", email="anna@example.com", supervisor="chief", groups=["finance"]),
    Person(login="brian", name="Brian", email="brian@example.com", groups=["finance"]),
    Person(login="gone", name="Gone", email="gone@example.com", active=False, supervisor="chief"),
    Person(login="mute", name="Mute", supervisor="gone"),
]


@pytest.fixture
def settings(hand_over_settings: HandOverSettings) -> HandOverSettings:
    """Settings with a calendar: half past seven to half past three in Warsaw."""
    text = '{"warsaw": {"country": "PL", "hours": "07:30-15:30", "timezone": "Europe/Warsaw"}}'
    return replace(hand_over_settings, calendars=text)


@pytest.fixture
def outbox(engine: Engine) -> Engine:
    """An outbox that knows people."""
    with engine.begin() as connection:
        people.save(connection, PEOPLE)
    return engine


@pytest.fixture
def set_deadline(outbox: Engine, settings: HandOverSettings) -> Callable[..., Deadline]:
    """Set a deadline in a transaction of its own."""
    return partial(notify_deadlines.set_deadline, connection=outbox, settings=settings)


@pytest.fixture
def set_reminder(outbox: Engine) -> Callable[..., Deadline]:
    """Set a reminder in a transaction of its own."""
    return partial(notify_deadlines.set_reminder, connection=outbox)


def stored(engine: Engine, deadline_id: int) -> Deadline:
    """A deadline as it is now."""
    with engine.connect() as connection:
        found = deadlines.read(connection, deadline_id)
    assert found is not None
    return found


def clock(engine: Engine) -> datetime:
    """The database's clock."""
    with engine.connect() as connection:
        return now(connection)


def open_ones(engine: Engine, case_id: str = "C-1") -> list[int]:
    """The numbers of a case's open deadlines."""
    with engine.connect() as connection:
        return [one.id for one in deadlines.listed(connection, case_id=case_id, ended=False, limit=100)]


def outcomes(deadline: Deadline) -> list[str | None]:
    """What became of a deadline's steps."""
    return [step.outcome and step.outcome.value for step in deadline.steps]


def test_a_deadline_has_its_steps(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """A deadline is stored with its notices, its passing and its escalations, in the order of time."""
    due = clock(outbox) + timedelta(days=5)
    escalations = [{"after": "P3D", "to": "@supervisor; finance"}, timedelta(hours=1)]
    deadline = set_deadline(CASE, due, advance=["PT2H", "P2D"], escalations=escalations)
    assert [(step.kind, step.fires_at - due, step.recipients) for step in deadline.steps] == [
        ("deadline_approaching", timedelta(days=-2), ("@owner",)),
        ("deadline_approaching", timedelta(hours=-2), ("@owner",)),
        ("deadline_exceeded", timedelta(0), ("@owner",)),
        ("deadline_escalated", timedelta(hours=1), ("@supervisor",)),
        ("deadline_escalated", timedelta(days=3), ("@supervisor", "finance")),
    ]
    assert [deadline.escalation(step) for step in deadline.steps] == [0, 0, 0, 1, 2]
    assert (deadline.stage, deadline.owner, deadline.due_at) == ("Approval", "anna", due)
    assert stored(outbox, deadline.id) == deadline


def test_the_case_is_told(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """Setting a deadline tells of the case; a later one may leave out what is known, and is the whole case's."""
    first = set_deadline(CASE, "P1D")
    with outbox.connect() as connection:
        case = known(connection)
    assert (case.title, case.process, case.stage, case.owner) == ("Invoice 7", "Invoices", "Approval", "anna")
    whole = set_deadline("C-1", "P9D")
    assert (whole.stage, whole.owner) == (None, "anna")
    assert open_ones(outbox) == [first.id, whole.id]


def test_a_task_that_runs_again_moves_nothing(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """A delay is counted from the first run of a task, and a late second run does not tell an old state of the case."""
    first = set_deadline(CASE, "P3D", advance="P1D", set_by="task:a")
    set_deadline({**CASE, "stage": "Payment", "owner": "brian"}, "P1D", set_by="task:b")
    assert set_deadline(CASE, "P3D", advance="P1D", set_by="task:a") == first
    with outbox.connect() as connection:
        assert known(connection).stage == "Payment"


def test_a_task_that_runs_again_brings_nothing_back(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """What was moved or cleared in the meantime stays so, when the task that set it runs again."""
    first = set_deadline(CASE, "P3D", set_by="task:a")
    second = set_deadline(CASE, "P4D", set_by="task:b")
    assert set_deadline(CASE, "P3D", set_by="task:a").closed_reason is Closed.MOVED
    assert open_ones(outbox) == [second.id]
    notify_deadlines.clear_deadline("C-1", connection=outbox)
    assert set_deadline(CASE, "P4D", set_by="task:b").closed_reason is Closed.CLEARED
    assert open_ones(outbox) == []
    assert set_deadline(CASE, "P3D", advance="P1D", set_by="task:a").id not in {first.id, second.id}


def test_the_same_again_changes_nothing(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """The same moment, notices and owner again are the same deadline, in whatever zone they are written."""
    due = clock(outbox) + timedelta(days=3)
    plan = {"advance": ["P1D"], "escalations": [{"after": "P1D"}]}
    first = set_deadline(CASE, due, **plan)
    assert set_deadline("C-1", due.astimezone(ZoneInfo("Asia/Tokyo")).isoformat(), **plan).id != first.id  # whole case
    assert set_deadline(CASE, due.astimezone(ZoneInfo("Asia/Tokyo")).isoformat(), **plan) == first


def test_set_differently_it_moves(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """Another moment or another plan ends the deadline and makes a new one."""
    due = clock(outbox) + timedelta(days=3)
    ids = [
        set_deadline(CASE, due).id,
        set_deadline(CASE, due + HOUR).id,
        set_deadline(CASE, due + HOUR, advance="P1D").id,
    ]
    assert len(set(ids)) == 3
    assert open_ones(outbox) == ids[2:]
    for one in ids[:2]:
        assert stored(outbox, one).closed_reason is Closed.MOVED
        assert set(outcomes(stored(outbox, one))) == {"closed"}


def test_set_for_another_owner(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """The same deadline for another owner is handed on: what was told is not told again."""
    due = clock(outbox) + timedelta(days=3)
    first = set_deadline(CASE, due, advance=["P4D", "P1D"])
    second = set_deadline({**CASE, "owner": "brian"}, due, advance=["P4D", "P1D"])
    assert stored(outbox, first.id).closed_reason is Closed.OWNER_CHANGED
    assert (second.owner, [step.position for step in second.steps]) == ("brian", [1, 2])


def test_notices_of_the_past(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """Notices in advance whose time has passed are not told; the passing and the escalations are, the latest only."""
    deadline = set_deadline(CASE, clock(outbox) - 3 * HOUR, advance="PT1H", escalations=["PT1H", "PT2H", "PT9H"])
    assert outcomes(deadline) == ["past", None, None, None, None]


def test_working_time(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """A deadline's calendar counts for all its delays, unless one names another or none."""
    friday = datetime(2028, 6, 16, 10, tzinfo=ZoneInfo("Europe/Warsaw"))
    advance = ["P1D", {"before": "P2D", "calendar": None}]
    escalations = ["P1D", {"after": "PT10H", "calendar": "PL"}, {"after": "P2D", "calendar": ""}]
    deadline = set_deadline(CASE, friday, advance=advance, escalations=escalations, calendar="warsaw")
    assert [step.fires_at.astimezone(friday.tzinfo).strftime("%a %d %H:%M") for step in deadline.steps] == [
        "Wed 14 10:00",  # the clock's two days
        "Wed 14 10:00",  # Thursday is Corpus Christi
        "Fri 16 10:00",
        "Sun 18 10:00",
        "Mon 19 10:00",
        "Mon 19 12:00",  # nine to five in Poland
    ]


@pytest.mark.parametrize(
    ("case", "fields", "faults"),
    [
        ({}, {}, {"case.id"}),
        (None, {"due": "soon"}, {"case.id", "due"}),
        ("C-9", {}, {"case.owner"}),
        ({"id": "C-9", "owner": "nobody"}, {}, {"case.owner"}),
        ({"id": "C-9", "owner": "a" * 201}, {"due": None}, {"case.owner", "due"}),
        (CASE, {"due": "2027-01-01T10:00"}, {"due"}),
        (CASE, {"due": "-P1D"}, {"due"}),
        (CASE, {"due": 5}, {"due"}),
        (CASE, {"advance": ["P1D", "1 day"]}, {"advance[1]"}),
        (CASE, {"advance": "P0D"}, {"advance[0]"}),
        (CASE, {"advance": [{"before": "x"}]}, {"advance[0].before"}),
        (CASE, {"advance": [{"befor": "P1D"}]}, {"advance[0].before", "advance[0].befor"}),
        (CASE, {"advance": [5]}, {"advance[0]"}),
        (CASE, {"advance": ["P1D"] * 51}, {"advance"}),
        (CASE, {"escalations": [{"after": "P1D"}, {"after": "P9999D"}]}, {"escalations[1].after"}),
        (CASE, {"escalations": [{"to": "anna"}]}, {"escalations[0].after"}),
        (CASE, {"escalations": [{"after": "P1D", "to": []}]}, {"escalations[0].to"}),
        (CASE, {"escalations": [{"after": "P1D", "to": ["@boss"]}]}, {"escalations[0].to"}),
        (CASE, {"escalations": [{"after": "P1D", "to": ["a@example.com"]}]}, {"escalations[0].to"}),
        (CASE, {"escalations": ["P1D", {"after": "P1D", "to": "anna; nobody"}]}, {"escalations[1].to"}),
        (CASE, {"advance": [{"before": "P1D", "calendar": "x"}], "calendar": "x"}, {"advance[0].calendar", "calendar"}),
        (CASE, {"escalations": [{"after": "P1D", "calendar": "mars"}]}, {"escalations[0].calendar"}),
        (CASE, {"calendar": "a\x00"}, {"calendar"}),
        (CASE, {"escalations": [{"after": "P1D", "to": ["\ud800"]}]}, {"escalations[0].to"}),
        (
            {"id": "C-9", "owner": "nobody"},
            {"due": "x", "calendar": "mars", "escalations": [{"after": "P1D", "to": "nobody"}]},
            {"case.owner", "due", "calendar", "escalations[0].to"},
        ),
    ],
)  # fmt: skip
def test_all_faults_in_one_error(
    outbox: Engine, set_deadline: Callable[..., Deadline], case: Any, fields: dict[str, Any], faults: set[str]
) -> None:
    """What is wrong with a deadline is told in one error, every fault with its field, and nothing is stored."""
    with pytest.raises(InvalidDeadline) as caught:
        set_deadline(case, **{"due": "P3D"} | fields)
    assert {fault.field for fault in caught.value.faults} == faults
    with outbox.connect() as connection:
        assert cases.find(connection, ["C-1", "C-9"]) == {}


def test_a_closed_case_has_no_deadline(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """A deadline of a case that has ended is refused, for nobody would be told; a task's second run is not."""
    first = set_deadline(CASE, "P1D", set_by="task:a")
    with outbox.begin() as connection:
        cases.see(connection, Case(id="C-1"), at=now(connection), closed=True)
    with pytest.raises(InvalidDeadline, match=r"case.id: 'C-1' ended at .* publish case_received"):
        set_deadline(CASE, "P2D")
    assert set_deadline(CASE, "P1D", set_by="task:a") == first


def test_a_deadline_joins_the_callers_transaction(outbox: Engine, settings: HandOverSettings) -> None:
    """What a caller rolls back was never set, cleared or remembered."""
    with outbox.connect() as connection:
        deadline = notify_deadlines.set_deadline(CASE, "P1D", connection=connection, settings=settings)
        assert notify_deadlines.clear_deadline("C-1", connection=connection) == [deadline.id]
        connection.rollback()
    with outbox.connect() as connection:
        assert cases.find(connection, ["C-1"]) == {}


def test_two_at_once_set_one(outbox: Engine, set_deadline: Callable[..., Deadline]) -> None:
    """Programs that set the same term at the same moment end with one that is open, the others moved."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda hours: set_deadline(CASE, timedelta(hours=hours)), range(1, 25)))
    assert len({one.id for one in made}) == 24
    assert open_ones(outbox) == [max(one.id for one in made)]


def test_clearing(outbox: Engine, set_deadline: Callable[..., Deadline], set_reminder: Callable[..., Deadline]) -> None:
    """One stage's term is cleared, or that of the whole case, or all; reminders are their person's."""
    clear = partial(notify_deadlines.clear_deadline, connection=outbox)
    approval, payment = set_deadline(CASE, "P1D"), set_deadline({**CASE, "stage": "Payment"}, "P2D")
    whole, reminder = set_deadline("C-1", "P3D"), set_reminder("anna", "C-1", "P4D")
    assert clear("C-1", stage="Nowhere") == clear("C-2") == []
    assert clear("C-1", stage=None) == [whole.id]
    assert clear("C-1", stage="Payment") == [payment.id]
    assert clear("C-1") == [approval.id]
    assert open_ones(outbox) == [reminder.id]
    cleared = stored(outbox, approval.id)
    assert (cleared.closed_reason, outcomes(cleared)) == (Closed.CLEARED, ["closed"])
    assert clear("C-1") == []


# --- Setting a reminder ----------------------------------------------------------------------------------------------


def test_a_reminder_remembers_the_case(
    outbox: Engine, set_deadline: Any, set_reminder: Callable[..., Deadline]
) -> None:
    """A reminder knows stage and owner of its case as they are when it is set, whoever told of them."""
    set_deadline(CASE, "P1D")
    reminder = set_reminder("brian", "C-1", "PT5H", note="Ask Eve\nabout page 2")
    assert (reminder.stage, reminder.owner, reminder.login) == ("Approval", "anna", "brian")
    assert [(step.kind, step.recipients) for step in reminder.steps] == [("reminder", ("brian",))]
    assert stored(outbox, reminder.id) == reminder


def test_a_reminder_moves(outbox: Engine, set_reminder: Callable[..., Deadline]) -> None:
    """Set again under the same name a reminder moves; under another name, or for another person, it is another."""
    at = clock(outbox) + HOUR
    first = set_reminder("anna", "C-1", at)
    assert set_reminder("anna", "C-1", at) == first
    others = [set_reminder("anna", "C-1", at, name="call"), set_reminder("brian", "C-1", at)]
    moved = set_reminder("anna", "C-1", at + HOUR)
    assert stored(outbox, first.id).closed_reason is Closed.MOVED
    assert open_ones(outbox) == [*(one.id for one in others), moved.id]
    assert notify_deadlines.clear_reminder("anna", "C-1", name="call", connection=outbox) == [others[0].id]
    assert notify_deadlines.clear_reminder("anna", "C-1", name="call", connection=outbox) == []


def test_a_reminders_retry(set_reminder: Callable[..., Deadline]) -> None:
    """A task that runs again does not move its reminder, though its delay counts from now."""
    first = set_reminder("anna", "C-1", "PT5H", set_by="task:a")
    assert set_reminder("anna", "C-1", "PT5H", set_by="task:a") == first
    assert set_reminder("anna", "C-1", "PT5H").id != first.id


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"login": "nobody"}, {"login"}),
        ({"login": "gone"}, {"login"}),
        ({"login": ""}, {"login"}),
        ({"login": "a\x00"}, {"login"}),
        ({"case": None, "at": None, "login": None}, {"case.id", "at", "login"}),
        ({"at": "tomorrow", "note": "\x00", "name": "\n."}, {"at", "note", "name"}),
        ({"note": "\ud800"}, {"note"}),
        ({"note": "x" * 2001}, {"note"}),
    ],
)
def test_faults_of_a_reminder(set_reminder: Callable[..., Deadline], fields: dict[str, Any], faults: set[str]) -> None:
    """What is wrong with a reminder is told in one error, every fault with its field."""
    with pytest.raises(InvalidDeadline) as caught:
        set_reminder(**{"login": "anna", "case": "C-1", "at": "P1D"} | fields)
    assert {fault.field for fault in caught.value.faults} == faults


# --- A run -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def remind(outbox: Engine, settings: HandOverSettings) -> Callable[..., RemindResult]:
    """Run Reminders."""

    def run(**fields: Any) -> RemindResult:
        return Reminding(outbox, settings, **fields).run()

    return run


def pass_time(engine: Engine, span: timedelta) -> None:
    """Let all that is to come lie nearer, and all that is past lie further back."""
    with engine.begin() as connection:
        for table, columns in (
            ("deadlines", ("due_at", "created_at", "closed_at")),
            ("deadline_steps", ("fires_at", "settled_at")),
            ("cases", ("seen_at", "closed_at")),
            ("events", ("occurred_at", "created_at")),
        ):
            moved = ", ".join(f"{column} = {column} - :span" for column in columns)
            connection.execute(sa.text(f"update notify.{table} set {moved}"), {"span": span})


def tell(engine: Engine, *, closed: bool = False, **fields: Any) -> None:
    """Tell of a case, as an event would."""
    with engine.begin() as connection:
        cases.see(connection, Case(**{"id": "C-1"} | fields), at=now(connection), closed=closed)


@dataclass(frozen=True)
class Told:
    """A notification that a run has made."""

    kind: str
    login: str
    home: str
    reason: str | None
    data: dict[str, Any]


def told(engine: Engine) -> list[Told]:
    """All that was told, in the order of the events."""
    query = sa.text("""
        select e.kind, n.login, n.home, n.reason, e.data
        from notify.events e join notify.notifications n on n.event_id = e.id order by e.id, n.position
    """)
    with engine.connect() as connection:
        return [Told(*row) for row in connection.execute(query)]


def kinds(engine: Engine) -> list[tuple[str, str]]:
    """All that was told: the kind, and to whom."""
    return [(one.kind, one.login) for one in told(engine)]


def test_nothing_is_due(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A run that finds nothing due says when there will be something."""
    assert (remind().looked_at, remind().next_due_at) == (0, None)
    deadline = set_deadline(CASE, "P1D")
    result = remind()
    assert (result.looked_at, result.next_due_at) == (0, deadline.due_at.isoformat())
    assert result.summary.startswith("0 deadlines due; next step due at ")
    assert told(outbox) == []


def test_the_steps_of_a_deadline(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A deadline is told of step by step: before it, when it passes, and to others later; then it is done."""
    escalations = ["P1D", {"after": "P2D", "to": ["@owner", "finance", "chief"]}]
    deadline = set_deadline(CASE, "P2D", advance="P1D", escalations=escalations)
    results = []
    for _ in range(5):
        results.append(remind())
        pass_time(outbox, timedelta(days=1))
    assert [(one.looked_at, one.approaching, one.exceeded, one.escalated) for one in results] == [
        (0, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 0, 0, 1),
    ]  # fmt: skip
    assert kinds(outbox) == [
        ("deadline_approaching", "anna"),
        ("deadline_exceeded", "anna"),
        ("deadline_escalated", "chief"),
        ("deadline_escalated", "anna"),
        ("deadline_escalated", "brian"),
        ("deadline_escalated", "chief"),
    ]
    assert {one.home for one in told(outbox)} == {"mail"}
    assert [one.data["escalation"] for one in told(outbox)] == [0, 0, 1, 2, 2, 2]
    assert (results[-1].closed, results[-1].next_due_at) == ({"done": 1}, None)
    done = stored(outbox, deadline.id)
    assert (done.closed_reason, outcomes(done)) == (Closed.DONE, ["fired"] * 4)
    assert len({step.event_id for step in done.steps}) == 4


def test_the_event_of_a_step(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A step's event tells of the case as it is known by now, of the due time, and of the task that told it."""
    deadline = set_deadline(CASE, "PT1H")
    tell(outbox, title="Invoice 7, corrected")
    pass_time(outbox, 2 * HOUR)
    remind(origin=Origin("Reminders", "run", "Reminders"))
    with outbox.connect() as connection:
        event = connection.execute(sa.select(events)).one()
    assert (event.case_id, event.case_title, event.stage, event.owner) == (
        "C-1", "Invoice 7, corrected", "Approval", "anna",
    )  # fmt: skip
    due_at = stored(outbox, deadline.id).due_at
    assert event.data == {"due_at": due_at.isoformat(), "stage": "Approval", "escalation": 0, "note": ""}
    assert (event.idempotency_key, event.actor) == (f"deadline:{deadline.id}:0", None)
    assert (event.origin_dag_id, event.origin_run_id) == ("Reminders", "run")


def test_after_an_outage(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """After two days without runs, of steps due 47, 24 and 1 hours ago the last is told once, the one to come later."""
    deadline = set_deadline(CASE, "PT24H", advance="PT23H", escalations=["PT23H", "PT29H"])
    pass_time(outbox, timedelta(days=2))
    ages = [round((clock(outbox) - step.fires_at) / HOUR) for step in stored(outbox, deadline.id).steps]
    assert ages == [47, 24, 1, -5]
    first, second = remind(), remind()
    assert (first.escalated, first.superseded, first.closed) == (1, 2, {})
    assert (second.looked_at, len(told(outbox))) == (0, 1)
    assert outcomes(stored(outbox, deadline.id)) == ["superseded", "superseded", "fired", None]
    pass_time(outbox, 5 * HOUR)
    assert (remind().escalated, len(told(outbox)), told(outbox)[-1].data["escalation"]) == (1, 2, 2)


def test_a_due_time_in_the_past(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A deadline set too late is told of at once: its latest step, and no notice in advance."""
    set_deadline(CASE, clock(outbox) - 3 * HOUR, advance="PT1H", escalations=["PT1H", "PT2H", "PT9H"])
    result = remind()
    assert (result.escalated, result.superseded, len(told(outbox))) == (1, 2, 1)


def test_what_was_told_is_not_told_again(outbox: Engine, set_deadline: Any, remind: Callable[..., Any]) -> None:
    """A producer who sets the same deadline every night, also after it has passed, has nobody told twice."""
    due = clock(outbox) - HOUR
    for _ in range(3):
        set_deadline(CASE, due)
        remind()
    assert kinds(outbox) == [("deadline_exceeded", "anna")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stage": "Payment"}, "stage_changed"),
        ({"closed": True}, "case_closed"),
        ({"stage": "Payment", "owner": "brian", "closed": True}, "case_closed"),
        ({"stage": "Payment", "owner": "brian"}, "stage_changed"),
    ],
)
def test_a_case_that_moved_on(
    outbox: Engine, set_deadline: Any, set_reminder: Any, remind: Any, *, change: dict[str, Any], reason: str
) -> None:
    """Of a case that is elsewhere by now, or has ended, nobody is told; the deadline ends with that reason."""
    ids = [set_deadline(CASE, "PT1H", escalations="P1D").id, set_reminder("brian", "C-1", "PT1H").id]
    tell(outbox, **change)
    pass_time(outbox, 2 * HOUR)
    result = remind()
    assert (result.looked_at, result.closed, told(outbox)) == (2, {reason: 2}, [])
    assert [stored(outbox, one).closed_reason for one in ids] == [reason, reason]
    assert outcomes(stored(outbox, ids[0])) == ["closed", "closed"]


def publish_of(engine: Engine, settings: HandOverSettings, kind: str, **fields: Any) -> None:
    """Publish an event of the case to the chief."""
    publish(kind, case="C-1", recipients="chief", connection=engine, settings=settings, **fields)


CLOSED = {"changes": [{"what": "closed"}]}


def test_a_case_that_comes_back(
    outbox: Engine, set_deadline: Any, set_reminder: Any, remind: Any, settings: HandOverSettings
) -> None:
    """What was set on a case that has ended does not come back with it."""
    ids = [set_deadline(CASE, "PT1H", advance="PT30M").id, set_reminder("brian", "C-1", "PT1H").id]
    other = set_deadline({**CASE, "id": "C-2"}, "PT5H").id
    publish_of(outbox, settings, "case_changed", data=CLOSED)
    assert [stored(outbox, one).closed_reason for one in [*ids, other]] == ["case_closed", "case_closed", None]
    assert outcomes(stored(outbox, ids[0])) == ["closed", "closed"]
    publish_of(outbox, settings, "case_received")
    pass_time(outbox, 2 * HOUR)
    assert (remind().looked_at, open_ones(outbox)) == (0, [])
    set_deadline(CASE, "PT1H")
    pass_time(outbox, 2 * HOUR)
    assert remind().exceeded == 1


def test_an_end_that_is_no_news(outbox: Engine, set_deadline: Any, settings: HandOverSettings) -> None:
    """A case that was said to have ended before what is known of it by now keeps its deadlines."""
    set_deadline(CASE, "PT1H")
    publish_of(outbox, settings, "case_changed", data=CLOSED, occurred_at=clock(outbox) - HOUR)
    assert len(open_ones(outbox)) == 1


def test_a_clock_that_is_fast(outbox: Engine, set_deadline: Any, remind: Any, settings: HandOverSettings) -> None:
    """An event from the future does not outdo what is told of its case from then on."""
    publish_of(outbox, settings, "case_received", occurred_at=clock(outbox) + timedelta(days=900))
    set_deadline(CASE, "PT1H")
    publish_of(outbox, settings, "case_changed", data=CLOSED)
    pass_time(outbox, 2 * HOUR)
    assert (remind().looked_at, open_ones(outbox)) == (0, [])


def test_the_whole_case_has_no_stage(outbox: Engine, set_deadline: Any, remind: Callable[..., Any]) -> None:
    """A deadline of the whole case does not end with a stage."""
    tell(outbox, stage="Approval", owner="anna")
    set_deadline("C-1", "PT1H")
    tell(outbox, stage="Payment")
    pass_time(outbox, 2 * HOUR)
    assert remind().exceeded == 1


def test_another_owner(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A term goes to the new owner of its case, who is told in the same run; what the old one was told is not told."""
    first = set_deadline(CASE, "PT24H", advance="PT12H", escalations="P1D")
    pass_time(outbox, 13 * HOUR)
    remind()
    tell(outbox, owner="brian")
    pass_time(outbox, 12 * HOUR)
    result = remind()
    assert (result.looked_at, result.handed_on, result.exceeded, result.closed) == (1, 1, 1, {"owner_changed": 1})
    assert kinds(outbox) == [("deadline_approaching", "anna"), ("deadline_exceeded", "brian")]
    assert outcomes(stored(outbox, first.id)) == ["fired", "closed", "closed"]
    [successor] = open_ones(outbox)
    assert (stored(outbox, successor).owner, outcomes(stored(outbox, successor))) == ("brian", ["fired", None])
    pass_time(outbox, timedelta(days=1))
    remind()
    assert (kinds(outbox)[2:], told(outbox)[-1].data["escalation"]) == ([("deadline_escalated", "brian")], 1)


def test_a_reminder(outbox: Engine, set_reminder: Any, remind: Callable[..., RemindResult]) -> None:
    """A reminder is told to its person alone, with what they wrote."""
    tell(outbox, stage="Approval", owner="anna")
    set_reminder("brian", "C-1", "PT1H", note="Ask Eve\nabout page 2")
    pass_time(outbox, 2 * HOUR)
    result = remind()
    assert (result.looked_at, result.reminders, result.closed) == (1, 1, {"done": 1})
    assert kinds(outbox) == [("reminder", "brian")]
    assert told(outbox)[0].data["note"] == "Ask Eve\nabout page 2"


def test_a_reminder_ends_with_the_owner(outbox: Engine, set_reminder: Any, remind: Any) -> None:
    """A reminder on a case that has another owner by now is not told, nor handed on."""
    tell(outbox, stage="Approval", owner="anna")
    set_reminder("anna", "C-1", "PT1H")
    tell(outbox, owner="brian")
    pass_time(outbox, 2 * HOUR)
    assert (remind().closed, told(outbox), open_ones(outbox)) == ({"owner_changed": 1}, [], [])


def test_a_reminder_on_a_case_of_which_little_is_known(outbox: Engine, set_reminder: Any, remind: Any) -> None:
    """Where nobody had told of stage and owner when it was set, a reminder does not end because somebody does."""
    set_reminder("brian", "C-1", "PT1H")
    tell(outbox, stage="Approval", owner="anna")
    pass_time(outbox, 2 * HOUR)
    assert remind().reminders == 1


# --- Whom a run tells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "to", "logins", "unnoticed"),
    [
        ("anna", ["@supervisor"], ["chief"], 0),
        ("brian", ["@supervisor"], ["brian"], 0),
        ("brian", ["@supervisor", "chief"], ["chief", "brian"], 0),
        ("anna", ["gone"], ["gone", "anna"], 0),
        ("anna", ["finance", "@owner"], ["anna", "brian"], 0),
        ("gone", ["@supervisor"], ["chief"], 0),
        ("mute", ["@supervisor"], ["gone", "mute"], 1),
        ("gone", ["@owner"], ["gone", "chief"], 0),
        ("mute", ["@owner"], ["mute", "gone"], 1),
    ],
)
def test_who_is_told(
    outbox: Engine,
    set_deadline: Any,
    remind: Any,
    *,
    owner: str,
    to: list[str],
    logins: list[str],
    unnoticed: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where one of those named cannot be reached the owner is told as well, or their supervisor, or the run says so."""
    deadline = set_deadline({**CASE, "owner": owner}, "PT1H", escalations=[{"after": "PT1H", "to": to}])
    pass_time(outbox, 3 * HOUR)
    result = remind()
    assert [one.login for one in told(outbox)] == logins
    assert (result.escalated, result.unnoticed) == (1, unnoticed)
    warned = f"deadline {deadline.id} of case C-1: nobody could be told" in caplog.text
    assert warned == bool(unnoticed)


def test_a_supervisor_on_the_suppression_list(outbox: Engine, set_deadline: Any, remind: Any) -> None:
    """Somebody whose address is on the suppression list cannot be reached: the owner is told as well."""
    with outbox.begin() as connection:
        suppressions.add(connection, "Chief@example.com", "bounced", None)
    set_deadline(CASE, "PT1H", escalations="PT1H")
    pass_time(outbox, 3 * HOUR)
    assert remind().unnoticed == 0
    assert [(one.login, one.reason) for one in told(outbox)] == [("chief", "suppressed"), ("anna", None)]


def test_a_group_that_is_gone(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """Where a group has lost its members since the deadline was set, the owner is told."""
    set_deadline(CASE, "PT1H", escalations=[{"after": "PT1H", "to": "finance"}])
    with outbox.begin() as connection:
        connection.execute(sa.text("delete from notify.groups"))
    pass_time(outbox, 3 * HOUR)
    assert (remind().escalated, kinds(outbox)) == (1, [("deadline_escalated", "anna")])


def test_a_notice_nobody_wants(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """Who chose to hear nothing in advance could have been told, and is told when the deadline passes."""
    with outbox.begin() as connection:
        preferences.save(connection, "anna", "deadline_approaching", Preference(frequency=Frequency.NEVER))
    set_deadline(CASE, "PT2H", advance="PT1H")
    pass_time(outbox, HOUR)
    assert (remind().unnoticed, told(outbox)[0].reason) == (0, "never")
    pass_time(outbox, HOUR)
    assert (remind().exceeded, told(outbox)[1].home) == (1, "mail")


def test_what_a_run_tells_is_no_news_of_the_case(outbox: Engine, set_deadline: Any, remind: Any) -> None:
    """An event that happened before a run, and is published after it, still tells where the case stands."""
    set_deadline(CASE, "PT1H", escalations="PT10H")
    pass_time(outbox, 2 * HOUR)
    happened = clock(outbox) - timedelta(minutes=5)
    remind()
    with outbox.begin() as connection:
        cases.see(connection, Case(id="C-1", stage="Payment"), at=happened)
        assert known(connection).stage == "Payment"


# --- What goes wrong -------------------------------------------------------------------------------------------------


def several(set_deadline: Any, count: int, **fields: Any) -> list[Deadline]:
    """Deadlines of as many cases."""
    return [set_deadline({**CASE, "id": f"C-{number}"} | fields, "PT1H") for number in range(count)]


def test_one_that_fails(
    outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult], caplog: pytest.LogCaptureFixture
) -> None:
    """A deadline that nobody can be told of stops no other; the run fails, and the next one finds it still due."""
    made = several(set_deadline, 5)
    tell(outbox, id="C-2", owner="newcomer")
    pass_time(outbox, 2 * HOUR)
    with (
        pytest.raises(RemindingFailed, match=rf"deadline {made[2].id}: .*'newcomer'") as caught,
        caplog.at_level("INFO"),
    ):
        remind(batch=2)
    assert "clear them with python -m notify deadlines clear" in str(caught.value)
    assert f"deadline {made[2].id} of case C-2 stays due: " in caplog.text
    assert "4 deadlines due, 4 exceeded, 1 failed, 4 ended (4 done); next step due at " in caplog.text
    assert len(told(outbox)) == 4
    assert open_ones(outbox, "C-2") == [made[2].id]
    with outbox.begin() as connection:
        people.save(connection, [Person(login="newcomer", email="new@example.com")])
    result = remind()
    assert (result.handed_on, result.exceeded, kinds(outbox)[-1]) == (1, 1, ("deadline_exceeded", "newcomer"))


def test_one_that_fails_is_met_once(outbox: Engine, set_deadline: Any, remind: Any) -> None:
    """A deadline with several due steps is tried once in a run, however small its batches are."""
    deadline = set_deadline({**CASE, "id": "C-9"}, "PT4H", advance=["PT1H", "PT2H", "PT3H"])
    several(set_deadline, 3)
    tell(outbox, id="C-9", owner="newcomer")
    pass_time(outbox, 5 * HOUR)
    with pytest.raises(
        RemindingFailed, match=rf"Nobody could be told of 1 deadline[.] .*\n  \* deadline {deadline.id}: "
    ):
        remind(batch=1)
    assert len(told(outbox)) == 3


@pytest.mark.parametrize("batch", [1, 25])
def test_a_record_that_cannot_be_used(
    outbox: Engine, set_deadline: Any, remind: Any, batch: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong with one person's record keeps no other deadline from being told; the run names who it is."""
    several(set_deadline, 3)
    made = set_deadline({**CASE, "id": "C-9", "owner": "brian"}, "PT1H")
    pass_time(outbox, 2 * HOUR)
    with outbox.begin() as connection:
        connection.execute(sa.text("update notify.people set timezone = 'secret@example.com' where login = 'brian'"))
    with pytest.raises(RemindingFailed, match=rf"deadline {made.id}: What is stored of 'brian' .*[(]timezone[)]"):
        remind(batch=batch)
    assert kinds(outbox) == [("deadline_exceeded", "anna")] * 3
    assert open_ones(outbox, "C-9") == [made.id]
    assert "secret@example.com" not in caplog.text
    with outbox.begin() as connection:
        people.save(connection, PEOPLE)
    assert remind().exceeded == 1


def test_a_template_that_is_broken(
    outbox: Engine, set_deadline: Any, set_reminder: Any, settings: HandOverSettings, tmp_path: Path
) -> None:
    """What a template's fault keeps from being told stays due, and all other kinds are told."""
    shutil.copytree(settings.templates, tmp_path / "templates")
    (tmp_path / "templates" / "reminder" / "en" / "subject.txt.j2").write_text("{{ nonsense }}")
    several(set_deadline, 2)
    reminder = set_reminder("anna", "C-1", "PT1H")
    pass_time(outbox, 2 * HOUR)
    with pytest.raises(RemindingFailed, match=f"deadline {reminder.id}: "):
        Reminding(outbox, replace(settings, templates=tmp_path / "templates")).run()
    assert [kind for kind, _ in kinds(outbox)] == ["deadline_exceeded"] * 2


def test_a_key_that_nobody_can_take(outbox: Engine, set_deadline: Any, settings: HandOverSettings) -> None:
    """Nobody can swallow a deadline's mail by publishing an event under its key."""
    deadline = set_deadline(CASE, "PT1H")
    with pytest.raises(InvalidEvent, match="which marks the events that Reminders publishes"):
        publish(
            "case_received",
            recipients="brian",
            case="C-1",
            idempotency_key=f" deadline:{deadline.id}:0",
            connection=outbox,
            settings=settings,
        )


def test_a_producer_at_work(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A run waits for no producer: a case that one is telling of is left to the next run."""
    several(set_deadline, 3)
    pass_time(outbox, 2 * HOUR)
    with outbox.begin() as connection:
        cases.see(connection, Case(id="C-1", stage="Payment"), at=now(connection))
        first = remind()
    assert (first.exceeded, first.elsewhere) == (2, 1)
    assert ", 1 with somebody else, " in first.summary
    assert remind().closed == {"stage_changed": 1}


# --- Several runs, and dead ones -------------------------------------------------------------------------------------


def told_by_deadline(engine: Engine) -> Counter[int]:
    """How many mails each deadline has made."""
    query = sa.text("""
        select s.deadline_id, count(*) as mails from notify.deadline_steps s
        join notify.notifications n on n.event_id = s.event_id and n.home = 'mail'
        join notify.messages m on m.id = n.message_id group by s.deadline_id
    """)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from notify.events")) == connection.scalar(
            sa.text("select count(*) from notify.messages")
        )
        return Counter({row.deadline_id: row.mails for row in connection.execute(query)})


def test_runs_at_once_share_the_work(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """Three runs at the same time tell of each deadline once between them."""
    made = several(set_deadline, 60)
    pass_time(outbox, 2 * HOUR)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda size: remind(batch=size), (2, 3, 5)))
    assert sum(one.exceeded for one in results) == 60
    assert told_by_deadline(outbox) == Counter(one.id for one in made)


def test_progress(
    outbox: Engine, set_deadline: Any, remind: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that takes long says in its log how far it is."""
    several(set_deadline, 3)
    pass_time(outbox, 2 * HOUR)
    monkeypatch.setattr("notify.progress.EVERY", 0.0)
    with caplog.at_level("INFO"):
        remind(batch=2)
    assert [line for line in caplog.messages if "so far" in line] == ["3 deadlines so far, 0 failed"] * 2


def test_a_polite_stop(outbox: Engine, set_deadline: Any, remind: Callable[..., RemindResult]) -> None:
    """A run that is to stop ends with the batch it is at, and says so; the next one goes on."""
    several(set_deadline, 5)
    pass_time(outbox, 2 * HOUR)
    stop = threading.Event()
    stop.set()
    first = remind(stop=stop, batch=2)
    assert (first.exceeded, first.stopped) == (2, "stopped politely")
    assert (remind().exceeded, remind().stopped) == (3, "nothing more is due")


WORKER = """
import os, sys
from pathlib import Path
import sqlalchemy as sa
from notify.remind import Reminding
from notify.settings import HandOverSettings, SenderIdentity

url, templates = sys.argv[1:]
settings = HandOverSettings(("smtp_default",), Path(templates), identity=lambda _sender: SenderIdentity("example.com"))
print("ready", flush=True)
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        Reminding(sa.create_engine(url), settings, batch=3).run()
        os._exit(0)
    print(pid, flush=True)
    print("killed" if os.waitpid(pid, 0)[1] else "done", flush=True)
"""


@contextmanager
def worker(url: URL, templates: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that forks a run for each line, and says how it ended."""
    arguments = [sys.executable, "-c", WORKER, url.render_as_string(hide_password=False), str(templates)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "plugins")}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def start(process: subprocess.Popen[str]) -> int:
    """Start a run; returns its process id."""
    assert process.stdin
    assert process.stdout
    print("run", file=process.stdin, flush=True)
    return int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a run."""
    assert process.stdout
    return process.stdout.readline().strip()


def test_runs_that_are_killed(
    outbox: Engine, database: URL, set_deadline: Any, remind: Callable[..., RemindResult], settings: HandOverSettings
) -> None:
    """However often a run is killed, nothing is told twice and nothing is lost; a living one takes over at once."""
    made = several(set_deadline, 120)
    for number in range(0, 120, 3):
        tell(outbox, id=f"C-{number}", owner="brian")
    pass_time(outbox, 2 * HOUR)
    chance, ends = random.Random(7), Counter[str]()
    with worker(database, settings.templates) as first, worker(database, settings.templates) as second:
        for _ in range(15):
            pids = [start(first), start(second)]
            threading.Event().wait(chance.uniform(0.02, 0.25))
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ends.update([end(first), end(second)])
    assert ends["killed"] > 5
    remind()
    mails = told_by_deadline(outbox)
    assert (len(mails), set(mails.values())) == (120, {1})
    assert len({stored(outbox, one).case_id for one in mails}) == 120
    assert remind().looked_at == 0
    assert len(made) == 120


# --- The command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(outbox: Engine, notify: Any) -> Callable[..., str]:
    """Run a command about deadlines; returns what it prints."""

    def run(*arguments: str, status: int = 0) -> str:
        found, out, err = notify("deadlines", *arguments)
        assert found == status
        return err if status else out

    return run


def test_commands(outbox: Engine, set_deadline: Any, set_reminder: Any, remind: Any, command: Any) -> None:
    """Deadlines can be listed, shown with their steps, and cleared."""
    assert command("list") == "There are no such deadlines.\n"
    first = set_deadline(CASE, "PT5H", advance="PT4H", escalations={"after": "P1D", "to": "finance"}, set_by="task:a")
    second, third = set_deadline("C-1", "P9D"), set_reminder("brian", "C-1", "P1D", note="Ask\nEve", name="call")
    pass_time(outbox, 2 * HOUR)
    remind()
    listed = command("list").splitlines()
    assert [line.split()[0] for line in listed] == [str(one.id) for one in (first, third, second)]
    assert [line.partition("C-1  ")[2].partition(";")[0] for line in listed] == [
        "stage Approval, owner anna", "reminder of brian (call)", "the whole case, owner anna",
    ]  # fmt: skip
    assert [line.partition("; next ")[2].split()[0] for line in listed] == [
        "deadline_exceeded", "reminder", "deadline_exceeded",
    ]  # fmt: skip
    shown = command("show", str(first.id))
    assert f"Deadline {first.id}: open" in shown
    assert "by task:a" in shown
    assert "deadline_approaching to @owner: fired at " in shown
    assert "deadline_escalated to finance\n" in shown
    assert "Note    Ask Eve" in command("show", str(third.id))
    assert command("clear", "C-1", "--stage", "Approval") == f"Deadline {first.id} is cleared.\n"
    assert f"Deadline {first.id}: cleared at " in command("show", str(first.id))
    assert command("clear", "C-1", "--stage", "") == f"Deadline {second.id} is cleared.\n"
    assert "none that is open; see python -m notify deadlines list --case C-1 --all" in command("clear", "C-1")
    assert "; next " not in command("list", "--case", "C-1", "--all").splitlines()[0]
    assert len(command("list", "--case", "C-1").splitlines()) == 1
    cleared = command("clear", "C-1", "--reminder-of", "brian", "--name", "call")
    assert cleared == f"Deadline {third.id} is cleared.\n"
    assert len(command("list", "--case", "C-1", "--all").splitlines()) == 3
    assert command("list", "--case", "C-2", "--all") == "There are no such deadlines.\n"
    assert "There is no deadline 99" in command("show", "99", status=1)
