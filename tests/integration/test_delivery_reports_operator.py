"""The operator of DeliveryReports, with its connections and Variables as Airflow hands them out."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy.engine import URL, Engine

from notify import settings
from notify.bouncing import BounceResult
from notify.domain.identity import Mark
from notify.domain.status import Status
from notify.exceptions import ConfigurationError, MailboxFault, RestoredCopy
from notify.operators import DeliveryReportsOperator
from notify.settings import HandOverSettings
from notify.storage import identity
from tests.imap_server import HOST, LOGIN, PASSWORD, ImapServer
from tests.returns import Postroom

ANNA, BOB = "anna@customer.example", "bob@example.com"


def context() -> Any:
    ti = SimpleNamespace(dag_id="DeliveryReports", run_id="manual__1", task_id="imap_bounces", map_index=-1)
    return {"ti": ti}


@pytest.fixture
def room(
    engine: Engine, notify_db: URL, hand_over_settings: HandOverSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Postroom]:
    """A post room that Airflow's connections lead to."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BOUNCE_HARD_DAYS", "0")
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BOUNCE_CONTACT", BOB)
    with ImapServer() as server:
        connect(monkeypatch, server.port)
        yield Postroom(engine, hand_over_settings, server)


def connect(monkeypatch: pytest.MonkeyPatch, port: int, name: str = "IMAP_BOUNCES") -> None:
    described = {
        "conn_type": "imap", "host": HOST, "port": port, "login": LOGIN, "password": PASSWORD,
        "extra": json.dumps({"use_ssl": False}),
    }  # fmt: skip
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(described))


def test_a_run(room: Postroom, caplog: pytest.LogCaptureFixture) -> None:
    """The run is told in numbers, in the log and as XCom; Variables apply; the log has no address and no password."""
    message = room.send(ANNA)
    room.bounce(message)
    with caplog.at_level(logging.INFO):
        answer = DeliveryReportsOperator(task_id="imap_bounces").execute(context())
    assert set(answer) == set(BounceResult.__dataclass_fields__)
    assert (answer["hard"], answer["undelivered"], answer["suppressed"], answer["notices"]) == (1, 1, 1, 1)
    assert json.loads(json.dumps(answer)) == answer
    assert room.read(message.id).status is Status.UNDELIVERED
    assert room.suppressed()[ANNA].expires_at is None
    ((dag_id, run_id),) = room.rows(
        "select origin_dag_id, origin_run_id from notify.messages where kind = 'undelivered'"
    )
    assert (dag_id, run_id) == ("DeliveryReports", "manual__1")
    assert f"message {message.id}, recipient 1: failed, hard (5.1.1)" in caplog.text
    assert (
        "1 mails, 1 new reports, 1 hard, 1 undelivered, 1 suppressed, 1 notices; nothing more is waiting" in caplog.text
    )
    assert "@" not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_copy_reads_no_mail(room: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a restored copy the task is red and leaves the mailbox to the original, which may still read it."""
    message = room.send(ANNA)
    room.bounce(message)
    with room.engine.connect() as connection:
        ahead = Mark(identity.read(connection).id, 7)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(ahead))
    with pytest.raises(RestoredCopy, match="python -m notify db confirm"):
        DeliveryReportsOperator(task_id="imap_bounces").execute(context())
    assert room.read(message.id).status is Status.SENT
    monkeypatch.delenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK")
    assert DeliveryReportsOperator(task_id="imap_bounces").execute(context())["looked_at"] == 1


def test_without_a_connection(room: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the connection the task is skipped, and says what to add."""
    monkeypatch.delenv("AIRFLOW_CONN_IMAP_BOUNCES")
    with pytest.raises(AirflowSkipException, match="add one of type imap"):
        DeliveryReportsOperator(task_id="imap_bounces").execute(context())


def test_another_mailbox(room: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second task may read a second mailbox."""
    connect(monkeypatch, room.server.port, "IMAP_SECOND")
    monkeypatch.delenv("AIRFLOW_CONN_IMAP_BOUNCES")
    room.bounce(room.send(ANNA))
    assert DeliveryReportsOperator(task_id="t", conn_id="imap_second").execute(context())["undelivered"] == 1


def test_a_fault_is_told(room: Postroom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A mailbox that cannot be read makes the task red; cause and remedy stand in the log."""
    connect(monkeypatch, 1)
    with pytest.raises(MailboxFault):
        DeliveryReportsOperator(task_id="imap_bounces").execute(context())
    assert "connection refused" in caplog.text
    assert "What to do: Check Host and Port in Admin → Connections → imap_bounces" in caplog.text


def test_stopped_before_it_began(room: Postroom) -> None:
    """A task that is to end begins no mail."""
    room.bounce(room.send(ANNA))
    operator = DeliveryReportsOperator(task_id="imap_bounces")
    operator.on_kill()
    answer = operator.execute(context())
    assert (answer["looked_at"], answer["left"], answer["stopped"]) == (0, 1, "stopped politely")


@pytest.mark.parametrize(("text", "days"), [("", 90), ("30", 30), ("0", None)])
def test_days(monkeypatch: pytest.MonkeyPatch, text: str, days: int | None) -> None:
    """How long a hard bounce suppresses is an admin's to say."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BOUNCE_HARD_DAYS", text)
    assert settings.bounce_settings().hard_expiry == (timedelta(days=days) if days else None)


@pytest.mark.parametrize("text", ["-1", "a year", "1.5", "999999"])
def test_no_days(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is no number of days is refused by name."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BOUNCE_HARD_DAYS", text)
    with pytest.raises(ConfigurationError, match="notify_bounce_hard_days"):
        settings.bounce_settings()


def test_dag_can_be_copied() -> None:
    """Airflow copies a DAG deeply, with its tasks; no lock may stand in the way."""
    with DAG("DeliveryReports", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        DeliveryReportsOperator(task_id="imap_bounces")
    copied = copy.deepcopy(dag).get_task("imap_bounces")
    assert copied.conn_id == "imap_bounces"
