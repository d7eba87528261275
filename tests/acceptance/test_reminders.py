"""Deadlines and reminders in a real Airflow: tasks of users set them, Reminders tells of them, Notifications sends.

Time is moved by the data: what is set for the hours to come is made to have been due while nobody looked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dev.stack import Stack
from tests.acceptance.observing import Mailbox, clear, in_a_shell, query, run

pytestmark = pytest.mark.usefixtures("empty")

TOLD = ("looked_at", "approaching", "exceeded", "escalated", "reminders", "superseded", "closed", "unnoticed", "failed")


def people_file(stack: Stack) -> Path:
    """An owner, who wants to hear of nothing, and the supervisor to whom things escalate."""
    file = stack.home / "people.json"
    owner = {"login": "olga", "email": "olga@example.com", "supervisor": "sven", "preferences": "never"}
    file.write_text(json.dumps([owner, {"login": "sven", "email": "sven@example.com"}]))
    return file


def case(number: str, stage: str = "Review") -> dict[str, str]:
    """A case of Olga's."""
    return {"id": number, "title": f"Title of {number}", "stage": stage, "owner": "olga"}


def remind(stack: Stack) -> dict[str, Any]:
    """Run Reminders; what is zero is left out of its answer."""
    result = run(stack, "Reminders")
    return {name: result[name] for name in TOLD if result[name]}


def two_days_pass(stack: Stack) -> None:
    """What is set is due two days earlier: the scheduler was off meanwhile."""
    query(stack, "update notify.deadlines set due_at = due_at - interval '2 days'")
    query(stack, "update notify.deadline_steps set fires_at = fires_at - interval '2 days'")


def test_after_two_days_off_each_deadlines_latest_step_is_told_once(stack: Stack) -> None:
    """However many steps were missed, one mail for each deadline, and none for what was cleared or has moved on."""
    too_late = {"login": "olga", "case": case("MOVED", "Draft"), "at": "PT1H", "note": "Too late."}
    moved = {"kind": "case_received", "case": case("MOVED", "Signature"), "recipients": "olga"}
    stack.produce(
        [
            {"set_deadline": {"case": case("EXC"), "due": "PT1H", "advance": ["PT30M"]}},
            {"set_deadline": {"case": case("ADV"), "due": "PT49H", "advance": ["P1D"], "escalations": ["P1D"]}},
            {"set_deadline": {"case": case("GONE"), "due": "PT1H"}},
            {"set_deadline": {"case": case("LATER"), "due": "P5D"}},
            {"set_reminder": {"login": "olga", "case": case("REM"), "at": "PT1H", "note": "Call back."}},
            {"set_reminder": too_late},
            {"publish": moved},
        ],
        people_file(stack),
    )
    escalating = {"case": case("ESC"), "due": "PT1H", "advance": ["PT30M"], "escalations": ["PT6H", "P1D"]}
    stack.run("SetDeadlines", {"calls": [escalating]})
    stack.run("ClearDeadlines", {"calls": [{"case": "GONE"}]})
    assert remind(stack) == {}

    mailbox = Mailbox(stack)
    two_days_pass(stack)
    assert remind(stack) == {
        "looked_at": 5,
        "approaching": 1,
        "exceeded": 1,
        "escalated": 1,
        "reminders": 1,
        "superseded": 4,
        "closed": {"done": 3, "stage_changed": 1},
    }
    assert remind(stack) == {}
    run(stack, "Notifications", "smtp_default")

    # Olga hears of what is mandatory; a notice in advance is not.
    assert mailbox.letters() == [
        ("olga@example.com", "[EXC] Deadline passed: Title of EXC"),
        ("olga@example.com", "[REM] Reminder: Title of REM"),
        ("sven@example.com", "[ESC] Overdue: Title of ESC (escalation 2)"),
    ]
    told = in_a_shell(stack.home, "python -m notify explain --case ADV")
    assert "olga: no mail, reason never" in told
    assert "The balance is even." in in_a_shell(stack.home, "python -m notify check")


def test_a_cleared_task_moves_no_deadline(stack: Stack) -> None:
    """A SetDeadlineOperator that is cleared and runs again leaves the term as it was, and nobody is told twice."""
    stack.produce([], people_file(stack))
    run_id = stack.run("SetDeadlines", {"calls": [{"case": case("C-1"), "due": "PT1H"}]})
    two_days_pass(stack)
    assert remind(stack) == {"looked_at": 1, "exceeded": 1, "closed": {"done": 1}}
    before = query(stack, "select id, due_at from notify.deadlines")
    clear(stack, "SetDeadlines", run_id)
    assert query(stack, "select id, due_at from notify.deadlines") == before
    assert remind(stack) == {}
