"""Deadlines in the browser: what is open, what was told, and how it is taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from notify.deadlines import set_deadline, set_reminder
from notify.domain.deadline import Deadline
from notify.remind import Reminding
from notify.settings import HandOverSettings
from notify.storage import deadlines, people
from tests.newsroom import person
from tests.web.test_people import words
from tests.web_client import As

Set = Callable[..., Deadline]


@pytest.fixture
def term(connection: Connection, outbox: object, hand_over_settings: HandOverSettings) -> Set:
    """Set a term of Anna's, whose supervisor is Brian, and commit."""
    people.save(connection, [person("brian"), person("anna", supervisor="brian"), person("carl")])
    connection.commit()

    def call(case: str = "INV-7", due: Any = "P3D", *, stage: str = "Approval", **plan: Any) -> Deadline:
        told = {"id": case, "stage": stage, "owner": "anna"}
        found = set_deadline(told, due, connection=connection, settings=hand_over_settings, **plan)
        connection.commit()
        return found

    return call


def listed(client: TestClient, **query: str) -> list[int]:
    page = client.get("/notify/deadlines", params=query).text
    return [int(number) for number in re.findall(r'data-label="No."><a href="[^"]*/deadlines/(\d+)"', page)]


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/notify/deadlines").text)
    assert found
    return found[1]


def reason(connection: Connection, number: int) -> str | None:
    connection.rollback()
    found = deadlines.read(connection, number)
    assert found
    return found.closed_reason


def test_what_is_open(logged_in: As, connection: Connection, term: Set) -> None:
    """Open deadlines stand by what is told next, whoever sets them; they are found by case and by person."""
    late, soon = term("A", "P9D"), term("B", "P5D", advance=["P4D"])
    reminder = set_reminder("carl", "A", "P7D", note="Call", connection=connection)
    connection.commit()
    client = logged_in("viewer")
    assert listed(client) == [soon.id, reminder.id, late.id]
    assert listed(client, case="A") == [reminder.id, late.id]
    assert listed(client, person="carl") == [reminder.id]
    assert listed(client, person="anna") == [soon.id, late.id]
    assert listed(client, state="ended") == []
    told = words(client.get("/notify/deadlines?case=B").text)
    assert "stage Approval anna" in told
    assert "deadline approaching to @owner" in told


def test_all_pages(logged_in: As, term: Set) -> None:
    """From page to page, each deadline is seen once."""
    numbers = [term(f"C-{number:03}", timedelta(hours=500 - number)).id for number in range(60)]
    client, seen, path = logged_in("viewer"), [], "/notify/deadlines"
    while path:
        page = client.get(path).text
        seen += [int(number) for number in re.findall(r'data-label="No."><a href="[^"]*/deadlines/(\d+)"', page)]
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = unescape(following[1]) if following else ""
    assert seen == numbers[::-1]


@pytest.fixture
def told(engine: Engine, term: Set, hand_over_settings: HandOverSettings) -> Deadline:
    """A term that passed an hour ago, of which Anna was told; Brian is to be told in two days."""
    found = term(due="PT1S", escalations=["P2D"])
    with engine.begin() as connection:
        connection.execute(
            sa.text("update notify.deadline_steps set fires_at = now() - interval '1 hour' where position = 0")
        )
        connection.execute(sa.text("update notify.deadlines set due_at = now() - interval '1 hour'"))
    Reminding(engine, hand_over_settings).run()
    return found


def test_steps(logged_in: As, connection: Connection, told: Deadline) -> None:
    """A deadline's page tells who was told what, with the message, and what comes next."""
    message = connection.scalar(sa.text("select id from notify.messages"))
    page = logged_in("user").get(f"/notify/deadlines/{told.id}").text
    assert f'/messages/{message}">message {message}</a> to anna@example.com: queued' in page
    assert "passed" in words(page)
    assert "deadline escalated @supervisor to come" in words(page)


def test_viewers_see_messages_only(logged_in: As, connection: Connection, told: Deadline) -> None:
    """Who may look at the register alone is led to the messages, and learns nothing of people and notes."""
    message = connection.scalar(sa.text("select id from notify.messages"))
    reminder = set_reminder("carl", "INV-7", "P7D", note="The secret", connection=connection)
    connection.commit()
    client = logged_in("viewer")
    page = client.get(f"/notify/deadlines/{told.id}").text
    assert f"/messages/{message}" in page
    assert "anna@example.com" not in page
    assert "/people/" not in page
    assert "<button" not in page.partition("<main")[2]
    assert "The secret" not in client.get(f"/notify/deadlines/{reminder.id}").text
    assert "The secret" in logged_in("user").get(f"/notify/deadlines/{reminder.id}").text


def test_clearing(logged_in: As, connection: Connection, term: Set, metadata: Session) -> None:
    """A term is taken back by its button, no other one is; the audit log says who did it."""
    one, other = term("A"), term("A", stage="Booking")
    client = logged_in("user")
    sent = {"id": one.id, "confirmed": "true", "csrf_token": token(client)}
    answer = client.post("/notify/deadlines/clear", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/notify/deadlines/{one.id}")
    assert (reason(connection, one.id), reason(connection, other.id)) == ("cleared", None)
    assert "cleared" in words(client.get(f"/notify/deadlines/{one.id}").text)
    assert listed(client, state="ended") == [one.id]
    [line] = metadata.scalars(sa.select(Log))
    assert (line.event, line.owner, json.loads(line.extra or "")) == (
        "notify.clear_deadlines", "the_user", {"ids": [one.id]},
    )  # fmt: skip


def test_clearing_a_selection(logged_in: As, connection: Connection, term: Set, metadata: Session) -> None:
    """Several, reminders among them, are taken back after a page that names and counts them."""
    one = term("A")
    reminder = set_reminder("carl", "A", "P7D", name="call", connection=connection)
    connection.commit()
    client = logged_in("user")
    page = client.post("/notify/deadlines/clear", data={"id": [one.id, reminder.id], "csrf_token": token(client)}).text
    assert "Clear 2 deadlines?" in page
    assert "reminder of carl (call)" in page
    assert reason(connection, one.id) is None
    sent = {"id": [one.id, reminder.id], "confirmed": "true", "csrf_token": token(client)}
    assert client.post("/notify/deadlines/clear", data=sent).headers["location"] == "/notify/deadlines"
    assert reason(connection, one.id) == reason(connection, reminder.id) == "cleared"


def test_all_or_none(logged_in: As, connection: Connection, term: Set, metadata: Session) -> None:
    """Where one of several has ended already, even by another in its place, none is taken back."""
    moved, other = term("A"), term("B")
    again = term("A", "P8D")
    client = logged_in("user")
    sent = {"id": [other.id, moved.id], "confirmed": "true", "csrf_token": token(client)}
    answer = client.post("/notify/deadlines/clear", data=sent)
    assert answer.status_code == 409
    assert f"Deadline {moved.id} has ended already" in answer.text
    assert [reason(connection, number) for number in (moved.id, other.id, again.id)] == ["moved", None, None]


@pytest.mark.parametrize("confirmed", ["", "true"])
@pytest.mark.parametrize(("ids", "status"), [([], 422), (["x"], 422), (["0"], 422), (["9" * 30], 422), (["99"], 404)])
def test_nothing_to_clear(logged_in: As, term: Set, ids: list[str], status: int, confirmed: str) -> None:
    """Without a deadline there is nothing to take back."""
    client = logged_in("user")
    term()
    sent = {"id": ids, "csrf_token": token(client)} | ({"confirmed": confirmed} if confirmed else {})
    assert client.post("/notify/deadlines/clear", data=sent).status_code == status


def test_forged(logged_in: As, connection: Connection, term: Set) -> None:
    """A form that is not from this person's page changes nothing."""
    one = term()
    sent = {"id": one.id, "confirmed": "true", "csrf_token": "nonsense"}
    assert logged_in("user").post("/notify/deadlines/clear", data=sent).status_code == 403
    assert reason(connection, one.id) is None


@pytest.mark.parametrize(
    "query", ["after=x", "after=2026-01-01T00:00:00_1", "after=2026-01-01T00:00:00%2B00:00_0", "case=%00"]
)
def test_not_understood(logged_in: As, term: Set, query: str) -> None:
    """A place in the list that is none is told."""
    assert logged_in("viewer").get(f"/notify/deadlines?{query}").status_code == 422


def test_no_such_deadline(logged_in: As, term: Set) -> None:
    """A number that no deadline has is a 404, in words."""
    answer = logged_in("viewer").get("/notify/deadlines/4711")
    assert answer.status_code == 404
    assert "There is no deadline 4711" in answer.text


def test_hostile_data(logged_in: As, connection: Connection, term: Set) -> None:
    """Cases, stages, names and notes are text here, never markup."""
    evil = "<script>alert('x')</script>\"'"
    found = term(evil, stage=evil)
    reminder = set_reminder("carl", evil, "P7D", name=evil, note=evil, connection=connection)
    connection.commit()
    client = logged_in("user")
    asked = {"id": [found.id, reminder.id], "csrf_token": token(client)}
    pages = [
        client.get(f"/notify/{path}").text
        for path in ("deadlines", f"deadlines/{found.id}", f"deadlines/{reminder.id}")
    ]
    for page in [*pages, client.post("/notify/deadlines/clear", data=asked).text]:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(" in page
