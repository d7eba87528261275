"""What the command line changes stands in Airflow's audit log, as what page and API change does."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from airflow import settings as airflow_settings
from airflow.models.log import Log
from fastapi.testclient import TestClient
from sqlalchemy.engine import URL, Connection
from sqlalchemy.orm import Session, sessionmaker

from notify import cli
from notify.cli.database import connect, user
from notify.deadlines import set_deadline_fields, set_reminder_fields
from notify.domain.person import Person
from notify.domain.preference import Frequency, Preference
from notify.settings import HandOverSettings
from notify.storage import people, preferences, suppressions, unsubscriptions
from tests.web_client import API, As

EVE = "eve@example.com"

#: Arguments in; exit status, output and errors out.
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    outbox: URL, metadata: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """The command line in this process, where Airflow's own commands work as well."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what the API server has logged until now
        status = cli.main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    yield run
    connect().dispose()  # one engine a process, which outlives the database


@pytest.fixture
def boss(program: As) -> TestClient:
    """A program that may do everything."""
    return program("admin")


@pytest.fixture
def known(connection: Connection, hand_over_settings: HandOverSettings) -> Callable[[], None]:
    """Put everything where the changes find it; again, once they have been made."""

    def put() -> None:
        connection.rollback()
        people.save(connection, [Person(login="anna", email="anna@example.com")], source="test")
        preferences.save(connection, "anna", "case_received", Preference(frequency=Frequency.HOURLY))
        preferences.clear(connection, "anna", "case_changed")
        suppressions.lift(connection, EVE)
        suppressions.add(connection, "bob@example.com", "asked for it", None)
        unsubscriptions.add(connection, EVE, unsubscriptions.BULK, "the reader")
        term = {"case": {"id": "C1", "stage": "Approval", "owner": "anna"}, "due": "P3D"}
        set_deadline_fields(term, connection=connection, settings=hand_over_settings)
        set_reminder_fields({"login": "anna", "case": "C1", "at": "P3D"}, connection=connection)
        connection.commit()

    put()
    return put


def logged(session: Session) -> list[tuple[str, str, dict[str, Any]]]:
    """What the audit log has of us since it was looked at last: event, owner, and what it was about."""
    session.rollback()
    lines = session.scalars(sa.select(Log).where(Log.event.like("notify.%")).order_by(Log.id)).all()
    found = [(one.event, one.owner or "", json.loads(one.extra or "")) for one in lines]
    session.execute(sa.delete(Log))
    session.commit()
    return found


#: The same change by command and by API: method, path, body.
CHANGES = [
    (
        ["preferences", "set", "anna", "case_changed", "daily", "--hour", "17:30"],
        ("PUT", "people/anna/preferences/case_changed", {"frequency": "daily", "hour": "17:30"}),
    ),
    (["preferences", "clear", "anna", "case_received"], ("DELETE", "people/anna/preferences/case_received", None)),
    (
        ["suppressions", "add", "Eve@Example.com", "--reason", "asked by phone", "--days", "30"],
        ("PUT", "suppressions/Eve@Example.com", {"reason": "asked by phone", "days": 30}),
    ),
    (["suppressions", "lift", "BOB@example.com"], ("DELETE", "suppressions/BOB@example.com", None)),
    (
        ["suppressions", "lift", "EVE@example.com", "--scope", "bulk-mail"],
        ("DELETE", "unsubscriptions/EVE@example.com/bulk-mail", None),
    ),
    (["deadlines", "clear", "C1"], ("DELETE", "deadlines?case=C1", None)),
    (["deadlines", "clear", "C1", "--reminder-of", "anna"], ("DELETE", "reminders?case=C1&login=anna", None)),
]


@pytest.mark.parametrize(("words", "same"), CHANGES, ids=lambda one: "-".join(map(str, one[:2])))
def test_as_by_api(
    command: Command, boss: TestClient, known: Any, metadata: Session, *, words: list[str], same: tuple[str, str, Any]
) -> None:
    """A command leaves the line that the API leaves for the same change, with its own owner and door, and no more."""
    method, path, body = same
    answer = boss.request(method, f"{API}/{path}", json=body)
    assert answer.is_success, answer.text
    [(event, _, about)] = logged(metadata)
    known()
    status, _, err = command(*words)
    assert (status, err) == (0, "")
    [(made, owner, told)] = logged(metadata)
    assert (made, owner, told.pop("door")) == (event, getpass.getuser(), "cli")
    assert bool(about.pop("ids", None)) == bool(told.pop("ids", None))  # of deadlines, which were set twice
    assert told == about


def test_what_changes_nothing(command: Command, known: Callable[[], None], metadata: Session) -> None:
    """What is refused, finds nothing to change, or only looks, leaves no line."""
    for words, status in (
        (["preferences", "set", "anna", "case_changed", "often"], 1),
        (["preferences", "clear", "anna", "case_changed"], 0),
        (["preferences", "show", "anna"], 0),
        (["suppressions", "lift", EVE], 1),
        (["suppressions", "lift", EVE, "--scope", "nonsense"], 1),
        (["deadlines", "clear", "C9"], 0),
        (["person", "erase", "anna", "--dry-run"], 0),
        (["db", "confirm"], 0),
    ):
        assert command(*words)[0] == status, words
    assert logged(metadata) == []


def test_what_the_command_line_alone_does(
    command: Command, known: Callable[[], None], metadata: Session, tmp_path: Any
) -> None:
    """An import and an erasure are recorded in numbers: the log is not the place to look for who they were about."""
    file = tmp_path / "people.csv"
    file.write_text("login,email,preferences\nzoe,zoe@example.com,daily\n")
    assert command("people", "import", str(file))[0] == 0
    assert command("person", "erase", "zoe@example.com")[0] == 0
    [(first, _, imported), (second, owner, erased)] = logged(metadata)
    assert (first, second, owner) == ("notify.import_people", "notify.erase_person", getpass.getuser())
    assert (imported["file"], imported["added"], imported["preferences"]) == ("people.csv", 1, 1)
    assert (erased["door"], erased["people"]) == ("cli", 1)
    assert "zoe" not in json.dumps([imported, erased])


@pytest.mark.parametrize("address", ["sqlite:///{}/empty.db", "postgresql+psycopg://clerk:s3cret@127.0.0.1:1/airflow"])
def test_out_of_reach(
    command: Command, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, address: str
) -> None:
    """Where Airflow's own database cannot be reached, the change is made, and told not to be recorded, and why."""
    elsewhere = sa.create_engine(address.format(tmp_path))
    monkeypatch.setattr(airflow_settings, "NonScopedSession", sessionmaker(elsewhere))
    status, out, err = command("suppressions", "add", EVE, "--reason", "asked by phone")
    assert status == 0
    assert out.startswith(f"{EVE} gets nothing until you lift it.")
    assert err.startswith("notify: done, but not recorded in Airflow's audit log: Airflow's own database does not ")
    assert "s3cret" not in err
    assert "Traceback" not in err
    assert [one.address for one in suppressions.newest(connection, 10)] == [EVE]


def test_somebody_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that runs as a number which nobody has, that number is who did it."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    assert user() == "uid 987654321"
