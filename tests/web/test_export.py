"""The register as a download, from the page and by API: what is in it, who may have it, and who has taken it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import Callable, MutableMapping
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from notify import exporting, table
from notify.handover import hand_over
from notify.settings import HandOverSettings
from tests.web_client import API, As

PATHS = {"page": "/notify/messages/export", "API": f"{API}/messages/export"}

#: Fields in; the number of the message out.
Queue = Callable[..., int]


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand a message over, and commit."""

    def call(**fields: Any) -> int:
        given = {"recipient": "anna@example.com", "subject": "Open Sesame", "message": "A tale."} | fields
        [stored] = hand_over(connection, given, hand_over_settings).messages
        connection.commit()
        return stored.id

    return call


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, metadata: Session) -> str:
    """Where the register can be had as a file."""
    return PATHS[request.param]


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv(logged_in: As, queue: Queue, path: str) -> None:
    """Whoever may see the register gets it as CSV, under a name, and no cell is a formula."""
    number = queue(subject="=1+1", recipient="anna@example.com; bob@example.com", one_mail=True)
    answer = logged_in("viewer").get(path, params={"format": "csv"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert re.fullmatch(r'attachment; filename="messages-\d{8}T\d{6}Z\.csv"', answer.headers["content-disposition"])
    assert answer.headers["cache-control"] == "no-store"
    [row] = cells(answer.text)
    assert (row["id"], row["subject"], row["recipients"]) == (str(number), "'=1+1", "anna@example.com; bob@example.com")
    assert cells(logged_in("viewer").get(path, params={"format": "csv", "raw": "true"}).text)[0]["subject"] == "=1+1"
    assert logged_in("viewer").get(path, params={"format": "csv", "bom": "true"}).content.startswith(b"\xef\xbb\xbfid,")


def test_the_usual_format(logged_in: As, queue: Queue, metadata: Session) -> None:
    """People get CSV, and programs JSON, unless they say otherwise."""
    queue()
    assert cells(logged_in("viewer").get(PATHS["page"]).text)[0]["subject"] == "Open Sesame"
    assert logged_in("viewer").get(PATHS["API"]).json()[0]["subject"] == "Open Sesame"


def test_json(logged_in: As, queue: Queue, path: str) -> None:
    """As JSON, recipients are whole; as JSON Lines, each message is a line."""
    numbers = [queue(), queue()][::-1]
    whole = logged_in("viewer").get(path, params={"format": "json"})
    assert whole.headers["content-type"] == "application/json"
    assert [one["id"] for one in whole.json()] == numbers
    assert [who["address"] for who in whole.json()[0]["recipients"]] == ["anna@example.com"]
    lines = logged_in("viewer").get(path, params={"format": "jsonl"}).text.splitlines()
    assert [json.loads(line) for line in lines] == whole.json()
    assert logged_in("viewer").get(path, params={"format": "json", "kind": "none"}).json() == []


def test_filters(logged_in: As, queue: Queue, path: str) -> None:
    """The filters are those of the register, and what is none is refused as there."""
    queue(case_id="C1")
    number = queue(case_id="C2", recipient="bob@example.com")
    client = logged_in("viewer")
    for name, value in {"case": "C2", "address": "BOB@example.com"}.items():
        found = client.get(path, params={name: value, "format": "json", "status": "queued"}).json()
        assert [one["id"] for one in found] == [number]
    for name, value in {"status": "gone", "since": "yesterday", "format": "xlsx"}.items():
        answer = client.get(path, params={name: value})
        assert answer.status_code == 422
        assert name in answer.text


def test_texts(logged_in: As, queue: Queue, path: str) -> None:
    """Texts are there only if they are asked for, and only for whoever may read them."""
    queue()
    assert "A tale." not in logged_in("user").get(path, params={"format": "json"}).text
    [one] = logged_in("user").get(path, params={"format": "json", "bodies": "true"}).json()
    assert "A tale." in one["text"]
    refused = logged_in("viewer").get(path, params={"bodies": "true"})
    assert refused.status_code == 403
    assert "read the texts of messages" in unescape(refused.text)
    assert "A tale." not in refused.text


def test_who_has_taken_it(logged_in: As, queue: Queue, metadata: Session) -> None:
    """Airflow's audit log says who took what along; of what was refused, nothing."""
    queue(case_id="C1")
    logged_in("viewer").get(PATHS["page"], params={"case": "C1", "status": "queued"})
    logged_in("user").get(PATHS["API"], params={"format": "json", "bodies": "true"})
    logged_in("viewer").get(PATHS["API"], params={"bodies": "true"})
    metadata.rollback()
    found = metadata.scalars(sa.select(Log).where(Log.event == "notify.export_messages").order_by(Log.id)).all()
    assert [(one.owner, json.loads(one.extra or "")) for one in found] == [
        (
            "the_viewer",
            {"door": "page", "format": "csv", "bodies": False, "filters": {"statuses": ["queued"], "case_id": "C1"}},
        ),
        ("the_user", {"door": "API", "format": "json", "bodies": True, "filters": {}}),
    ]


def test_no_audit_log_no_file(logged_in: As, queue: Queue, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow's audit log cannot be written, nobody takes anything along."""
    from notify.web.airflow import AirflowUnreachable

    def fail(*_given: object, **_about: object) -> None:
        raise AirflowUnreachable

    queue()
    monkeypatch.setattr("notify.web.audit.record", fail)
    answer = logged_in("viewer").get(path)
    assert answer.status_code == 503
    assert "Open Sesame" not in answer.text


def test_no_database(logged_in: As, path: str, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outbox is away, that is told with a status of its own, instead of an empty file."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://nobody@127.0.0.1:1/nowhere")
    assert logged_in("viewer").get(path).status_code == 503


def test_the_form(logged_in: As, queue: Queue, metadata: Session) -> None:
    """The page has a form that takes along what its filters show; texts are offered to whoever may read them."""
    queue(case_id="C1")
    queue(case_id='"C2" & co')
    client = logged_in("viewer")
    page = client.get("/notify/messages", params={"case": '"C2" & co', "before": "999", "kind": ""}).text
    form = re.search(r'<form[^>]*action="(/notify/messages/export)".*?</form>', page, re.DOTALL)
    assert form
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0])
    assert [(name, unescape(value)) for name, value in hidden] == [("case", '"C2" & co')]
    assert 'name="bodies"' not in form[0]
    [row] = cells(client.get(form[1], params={name: unescape(value) for name, value in hidden}).text)
    assert row["case_id"] == '"C2" & co'
    assert 'name="bodies"' in logged_in("user").get("/notify/messages").text


def test_it_is_made_while_it_is_fetched(  # noqa: PLR0917 - as many fixtures
    airflow: FastAPI, logged_in: As, queue: Queue, connection: Connection, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first message leaves before the last is read, so neither time nor memory goes by the register's length."""
    for _ in range(5):
        queue()
    monkeypatch.setattr(exporting, "STRETCH", 1)
    monkeypatch.setattr(table, "PIECE", 1)
    client: TestClient = logged_in("viewer")
    cookie = f"_token={client.cookies['_token']}".encode()
    bodies: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            bodies.append(message["body"])
            if len(bodies) == 2:
                connection.execute(sa.text("update notify.messages set subject = 'changed'"))
                connection.commit()
        await asyncio.sleep(0)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"format=jsonl",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie)], "client": ("c", 1), "server": ("testserver", 80),
    }  # fmt: skip
    asyncio.run(airflow(scope, receive, send))
    subjects = [json.loads(line)["subject"] for line in b"".join(bodies).splitlines()]
    assert subjects == ["Open Sesame"] * 2 + ["changed"] * 3
