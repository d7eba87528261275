"""The operators of deadlines: thin skins, but fields, key and refusals pass through them."""

from __future__ import annotations

import copy
import inspect
import logging
import re
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from notify import deadlines
from notify.domain import deadline as domain
from notify.domain.deadline import Closed, Deadline, DeadlineType, ReminderDraft, Step, StepOutcome, TermDraft
from notify.exceptions import Fault, InvalidDeadline, RemindingFailed
from notify.operators import deadlines as operators
from notify.operators.deadlines import (
    ClearDeadlineOperator,
    ClearReminderOperator,
    SetDeadlineOperator,
    SetReminderOperator,
)
from notify.operators.reminders import RemindersOperator
from notify.operators.task import key_of
from notify.remind import RemindResult
from notify.settings import HandOverSettings
from notify.storage.outbox import Origin

RUN_ID = "manual__2026-07-01T12:00:00+00:00"
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
ORIGIN = Origin("invoices", RUN_ID, "set", -1)
CASE = {"id": "INV-{{ ds }}", "stage": "Approval"}


def context(**fields: Any) -> Any:
    """What a task sees of its run, as far as we look."""
    ti = SimpleNamespace(dag_id="invoices", run_id=RUN_ID, task_id="set", map_index=-1, try_number=2)
    return {"ti": ti, "ds": "2026-07-01", "params": {}, **fields}


def deadline(**fields: Any) -> Deadline:
    """A deadline as it comes back."""
    steps = (
        Step(0, "deadline_approaching", NOON, ("@owner",), StepOutcome.PAST, NOON),
        Step(1, "deadline_escalated", NOON, ("@supervisor", "finance")),
    )
    known: dict[str, Any] = dict.fromkeys(inspect.signature(Deadline).parameters)
    known |= {"id": 5, "type": DeadlineType.TERM, "case_id": "INV-7", "due_at": NOON, "plan": {}, "steps": steps}
    return Deadline(**known | fields)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict[str, Any]]]:
    """What the operators hand over; there is no database here."""
    made: list[tuple[str, Any, dict[str, Any]]] = []

    def called(name: str, answer: Any) -> None:
        def function(*arguments: Any, **fields: Any) -> Any:
            made.append((name, arguments, fields))
            return answer

        monkeypatch.setattr(deadlines, name, function)

    called("set_deadline_fields", deadline())
    called("set_reminder_fields", deadline(closed_reason=Closed.MOVED, steps=()))
    called("clear_deadline", [5, 7])
    called("clear_reminder", [])
    return made


# --- Fields ----------------------------------------------------------------------------------------------------------


def test_the_operators_know_all_fields() -> None:
    """An operator has every field of what it sets, and no other; the word for all stages is the same everywhere."""
    assert set(SetDeadlineOperator.template_fields) == set(TermDraft.model_fields)
    assert set(SetReminderOperator.template_fields) == set(ReminderDraft.model_fields)
    assert operators.ANY_STAGE == domain.ANY_STAGE


@pytest.mark.parametrize(
    "operator", [SetDeadlineOperator, SetReminderOperator, ClearDeadlineOperator, ClearReminderOperator]
)
def test_every_field_is_templated(operator: type[BaseOperator]) -> None:
    """Each parameter of the operators is a template field."""
    own = [name for name in inspect.signature(operator.__init__).parameters if name not in {"self", "kwargs"}]
    assert own == list(operator.template_fields)
    assert set(operator.template_fields_renderers) <= set(own)


def test_fields_are_rendered(calls: list[tuple[str, Any, dict[str, Any]]]) -> None:
    """Jinja in a field is rendered, inside lists and mappings as well, and the task is who sets it."""
    operator = SetDeadlineOperator(
        task_id="set", case=CASE, due="{{ params.due }}", escalations=[{"after": "P1D", "to": ["{{ params.who }}"]}]
    )
    operator.render_template_fields(context(params={"due": "P3D", "who": "chief"}))
    operator.execute(context())
    fields = {
        "case": {"id": "INV-2026-07-01", "stage": "Approval"},
        "due": "P3D",
        "advance": None,
        "escalations": [{"after": "P1D", "to": ["chief"]}],
        "calendar": None,
    }
    assert calls == [("set_deadline_fields", (fields,), {"set_by": key_of(ORIGIN)})]


# --- Setting and clearing --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("calls")
def test_setting_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is what XCom can carry; the log tells of the steps to come."""
    caplog.set_level(logging.INFO)
    answer = SetDeadlineOperator(task_id="set", case="INV-7", due="P3D").execute(context())
    assert answer == {"id": 5, "due_at": "2027-03-01T12:00:00+00:00", "ended": None}
    assert "deadline 5 of case INV-7 is due at 2027-03-01T12:00:00+00:00\n" in caplog.text
    assert "deadline_escalated at 2027-03-01T12:00:00+00:00 to @supervisor, finance" in caplog.text
    assert "deadline_approaching" not in caplog.text


def test_setting_a_reminder(calls: list[tuple[str, Any, dict[str, Any]]], caplog: pytest.LogCaptureFixture) -> None:
    """A task that runs again after its reminder was moved says so."""
    caplog.set_level(logging.INFO)
    operator = SetReminderOperator(task_id="set", login="anna", case="INV-7", at="PT5H", note="Call Eve")
    assert operator.execute(context())["ended"] == "moved"
    fields = {"login": "anna", "case": "INV-7", "at": "PT5H", "note": "Call Eve", "name": ""}
    assert calls == [("set_reminder_fields", (fields,), {"set_by": key_of(ORIGIN)})]
    assert "it has ended since this task set it (moved)" in caplog.text


def test_clearing(calls: list[tuple[str, Any, dict[str, Any]]], caplog: pytest.LogCaptureFixture) -> None:
    """What was cleared is told by its numbers; nothing to clear is no error."""
    caplog.set_level(logging.INFO)
    assert ClearDeadlineOperator(task_id="clear", case="INV-7").execute(context()) == {"cleared": [5, 7]}
    assert ClearReminderOperator(task_id="clear", login="anna", case="INV-7", name="call").execute(context()) == {
        "cleared": []
    }
    assert calls == [
        ("clear_deadline", ("INV-7",), {"stage": "*"}),
        ("clear_reminder", ("anna", "INV-7"), {"name": "call"}),
    ]
    assert "cleared: 5, 7" in caplog.text
    assert "cleared: none was open" in caplog.text


def test_faults_fail_for_good(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A faulty deadline fails its task without retries, every fault in the log and in the error."""

    def refuse(*_arguments: Any, **_fields: Any) -> Deadline:
        raise InvalidDeadline([Fault("due", "is missing"), Fault("case.owner", "is not known")])

    monkeypatch.setattr(deadlines, "set_deadline_fields", refuse)
    with pytest.raises(AirflowFailException, match=r"due: is missing\n.*case\.owner: is not known"):
        SetDeadlineOperator(task_id="set", case="INV-7", due=None, retries=3).execute(context())
    assert "case.owner: is not known" in caplog.text


# --- RemindersOperator -----------------------------------------------------------------------------------------------


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, hand_over_settings: HandOverSettings) -> None:
    """Settings without Airflow, and a database that nobody asks."""
    monkeypatch.setattr("notify.settings.database_url", lambda: "postgresql://nowhere/outbox")
    monkeypatch.setattr("notify.settings.hand_over_settings", lambda: hand_over_settings)


@pytest.mark.usefixtures("stack")
def test_a_run_tells_its_numbers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What a run did is its XCom, and one line of its log."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("notify.witness.require_original", lambda _engine: None)
    result = RemindResult(
        looked_at=3, exceeded=2, closed={"done": 2, "stage_changed": 1}, stopped="nothing more is due"
    )
    monkeypatch.setattr("notify.remind.Reminding.run", lambda run: result if run.origin == ORIGIN else None)
    assert RemindersOperator(task_id="set").execute(context()) == asdict(result)
    assert (
        "3 deadlines due, 2 exceeded, 3 ended (2 done, 1 stage_changed); no step to come; nothing more is due; 0.0 s"
        in caplog.text
    )


@pytest.mark.usefixtures("stack")
def test_a_run_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A run in which somebody could not be told fails its task, and may be tried again."""
    monkeypatch.setattr("notify.witness.require_original", lambda _engine: None)

    def fail(_run: object) -> RemindResult:
        raise RemindingFailed("Nobody could be told of 1 deadline.")

    monkeypatch.setattr("notify.remind.Reminding.run", fail)
    with pytest.raises(RemindingFailed):
        RemindersOperator(task_id="set").execute(context())
    assert "Nobody could be told of 1 deadline." in caplog.text


def test_a_run_can_be_stopped_and_copied() -> None:
    """A task that is to end only raises its flag; a copy, which Airflow makes of a DAG, has a flag of its own."""
    operator = RemindersOperator(task_id="Reminders")
    operator.on_kill()
    assert operator._stop.is_set()
    copied = copy.deepcopy(RemindersOperator(task_id="Reminders"))
    assert not copied._stop.is_set()


# --- What users are told ---------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "deadlines.md").read_text()


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("A deadline", set(TermDraft.model_fields)),
        ("A reminder", set(ReminderDraft.model_fields)),
        ("What a run tells", {field.name for field in fields(RemindResult)}),
    ],
)
def test_the_documentation_is_complete(section: str, names: set[str]) -> None:
    """docs/deadlines.md tells of each field and each number, and of no other."""
    table = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == names


def test_the_documentation_names_every_reason() -> None:
    """docs/deadlines.md tells of each reason for which a deadline ends."""
    assert all(f"`{reason.value}`" in PAGE for reason in Closed if reason is not Closed.CLEARED)
