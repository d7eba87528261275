"""Deadlines and reminders, from setting them to the mail, in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.engine import Connection, Engine

from notify import deadlines as notify_deadlines
from notify.domain.deadline import Closed, Deadline
from notify.domain.event import Case
from notify.domain.person import Person
from notify.exceptions import InvalidDeadline
from notify.settings import HandOverSettings
from notify.storage import cases, deadlines, people
from notify.storage.outbox import now

NOON = datetime(2026, 11, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


# --- What is known of a case -----------------------------------------------------------------------------------------


def known(connection: Connection, case_id: str = "C-1") -> cases.KnownCase:
    """What is known of a case."""
    return cases.find(connection, [case_id])[case_id]


def test_a_case_is_known_as_it_was_told(connection: Connection) -> None:
    """What is told of a case is known, and what nobody told of is not."""
    cases.see(connection, Case(id="C-1", title="A", stage="Review", owner="anna"), at=NOON)
    assert known(connection) == cases.KnownCase("C-1", "A", None, None, "Review", "anna", None, NOON)
    assert cases.find(connection, ["C-2"]) == {}


def test_what_is_not_told_stays(connection: Connection) -> None:
    """A later event that tells of the stage alone leaves the rest as it is known."""
    cases.see(connection, Case(id="C-1", title="A", process="P", stage="Review", owner="anna"), at=NOON)
    cases.see(connection, Case(id="C-1", stage="Approval"), at=NOON + HOUR)
    assert known(connection) == cases.KnownCase("C-1", "A", None, "P", "Approval", "anna", None, NOON + HOUR)


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
        return [one.id for one in deadlines.newest(connection, case_id=case_id, ended=False, limit=100)]


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
        "Mon 19 13:00",  # nine to five UTC
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
