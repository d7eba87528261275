"""The mark outside of the outbox: left by each run, in Airflow and on the worker, and never set back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from airflow.sdk import Variable
from sqlalchemy.engine import Engine

from notify.domain.identity import Mark, read_mark
from notify.exceptions import RestoredCopy
from notify.storage import identity
from notify.witness import Witness, watched
from tests.connections import postgres_connection

CHECKOUT = Path(__file__).resolve().parents[2]
OWN, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A worker's home."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, home: Path) -> dict[str, str]:
    """Airflow's Variables; there is no Airflow here."""
    kept: dict[str, str] = {}

    def put(key: str, value: str, description: str | None = None) -> None:
        kept[key] = value

    monkeypatch.setattr(Variable, "get", lambda key, default=None: kept.get(key, default))
    monkeypatch.setattr(Variable, "set", put)
    return kept


def test_marks_only_go_forward(variables: dict[str, str]) -> None:
    """A task that writes late does not take back the mark of a later one; another outbox's mark gives way."""
    witness = Witness()
    assert witness.read() is None
    for mark, stands in [
        (Mark(OWN, 5), Mark(OWN, 5)),
        (Mark(OWN, 4), Mark(OWN, 5)),
        (Mark(OTHER, 1), Mark(OTHER, 1)),
    ]:
        witness.write(mark)
        assert read_mark(variables["notify_outbox_mark"]) == witness.read() == stands


def test_a_variable_that_went_back_as_well(variables: dict[str, str]) -> None:
    """Where Airflow's database was restored together with the outbox, the worker's file still knows of the run."""
    witness = Witness()
    witness.write(Mark(OWN, 5))
    variables["notify_outbox_mark"] = str(Mark(OWN, 3))
    assert witness.read() == Mark(OWN, 5)
    variables["notify_outbox_mark"] = str(Mark(OTHER, 3))  # the file is of another outbox, and has no say
    assert witness.read() == Mark(OTHER, 3)
    del variables["notify_outbox_mark"]
    assert witness.read() is None


def test_a_mark_that_is_none(variables: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """A Variable that somebody has edited is told of, and counts as none."""
    variables["notify_outbox_mark"] = "7"
    assert Witness().read() is None
    assert "no mark" in caplog.text


def test_a_mark_that_cannot_be_left(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: Path
) -> None:
    """A run does not fail because its mark could not be left; its log says what that means."""

    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise PermissionError("forbidden")

    monkeypatch.setattr(Variable, "set", refuse)
    Witness().write(Mark(OWN, 5))
    assert "forbidden" in caplog.text


def test_before_and_after(variables: dict[str, str], engine: Engine) -> None:
    """A run leaves a mark when it begins and when it ends, also when it fails; one that is refused leaves none."""
    with watched(engine) as first:
        assert Witness().read() == first

    def fail() -> None:
        with watched(engine):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    last = Witness().read()
    assert last == Mark(first.outbox, first.counter + 3)
    variables["notify_outbox_mark"] = str(Mark(first.outbox, first.counter + 4))
    before = dict(variables)
    with pytest.raises(RestoredCopy), watched(engine):
        pytest.fail("a copy was sent from")
    assert variables == before
    with engine.connect() as connection:
        assert identity.read(connection).mark == last
        assert "gone back" in str(identity.read(connection).refused)


def test_in_airflow(engine: Engine, tmp_path: Path) -> None:
    """Airflow's own task leaves the mark in a Variable and finds it again: an outbox gone back sends nothing."""
    sender = {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"from_email": "a@example.com"}}
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW_CONN_NOTIFY_DB": postgres_connection(engine.url),
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(sender),
        "PYTHONPATH": str(CHECKOUT / "plugins"),
    }

    def airflow(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert airflow("db", "migrate").returncode == 0
    assert airflow("dags", "test", "Notifications").returncode == 0
    (tmp_path / "notify_outbox_mark.json").unlink()  # the Variable has to do
    with engine.begin() as connection:
        assert identity.read(connection).counter == 2
        connection.execute(sa.text("update notify.identity set counter = 1"))
    second = airflow("dags", "test", "Notifications")
    assert "python -m notify db confirm" in second.stdout + second.stderr
    with engine.connect() as connection:
        assert identity.read(connection).counter == 1
