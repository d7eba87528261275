"""Deadlines and reminders, from setting them to the mail, in a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.engine import Connection

from notify.domain.event import Case
from notify.storage import cases

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
