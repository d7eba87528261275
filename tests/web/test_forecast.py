"""When what waits is expected to leave: page, API and command line say the same, and why where nobody can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from airflow import settings as airflow_settings
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from notify import cli
from notify.channels.memory import MemoryChannel
from notify.cli.database import connect
from notify.drain import Drainer
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import outbox as transitions
from tests.metadata import add_dag, clear
from tests.web_client import API, As

SENDER = "smtp_default"

#: Fields of a message in, its number out.
Queue = Callable[..., int]


@dataclass(frozen=True)
class Said:
    """What a door says: a moment and how it is meant, or why there is none."""

    at: datetime | None
    certainty: str | None
    why: str | None


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand a message over, and commit."""

    def call(**fields: Any) -> int:
        given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello"} | fields
        [message] = hand_over(connection, given, hand_over_settings).messages
        connection.commit()
        return message.id

    return call


@pytest.fixture
def sending(metadata: Session) -> Callable[..., None]:
    """Tell Airflow's database of Notifications, which runs in two minutes unless something else is said."""

    def put(**state: Any) -> None:
        clear(metadata)
        soon = datetime.now(UTC) + timedelta(minutes=2)
        add_dag(metadata, "Notifications", **{"next_dagrun_create_after": soon, **state})

    put()
    return put


@pytest.fixture
def command(outbox: URL, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """`python -m notify senders` in this process; its output."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good

    def run(*arguments: str) -> str:
        capsys.readouterr()  # what the API server has logged until now
        assert cli.main(["senders", *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    yield run
    connect().dispose()  # one engine a process, which outlives the database


def drain(engine: Engine, limit: int) -> None:
    Drainer(engine, MemoryChannel(), SENDER, limit=limit).run()


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Doors:
    """All that tells of a forecast, each time asked for the same."""

    program: As
    logged_in: As
    command: Any

    def message(self, number: int) -> Said:
        """What API and page say of a message."""
        told = self.program("viewer").get(f"{API}/messages/{number}").json()
        leaves = told["leaves"] or {}
        said = Said(moment(leaves.get("at")), leaves.get("certainty"), told["leaves_reason"])
        page = self.logged_in("viewer").get(f"/notify/messages/{number}").text
        expected = re.search(r'Expected to leave (\w+) <b><time datetime="([^"]+)"', page)
        why = re.search(r"(?:It is not sent|Nobody can tell when it leaves): ([^<]*)\.<", page)
        when, how = (moment(expected[2]), expected[1]) if expected else (None, None)
        assert said == Said(when, how, why[1] if why else None)
        return said

    def sender(self) -> Said:
        """What API, overview and command line say of the queue."""
        [told] = self.program("viewer").get(f"{API}/senders").json()["senders"]
        [same] = json.loads(self.command("--json"))["senders"]
        empty, again = told["empty"] or {}, same["empty"] or {}
        said = Said(moment(empty.get("at")), empty.get("certainty"), told["empty_reason"])
        assert said == Said(moment(again.get("at")), again.get("certainty"), same["empty_reason"])
        page = self.logged_in("viewer").get("/notify/").text
        why = re.search(r"nobody can tell: ([^<]*)<", page)
        expected = re.search(r'<b>(\w+) <time datetime="([^"]+)" data-brief>[^<]*</time></b>, if nothing more', page)
        when, how = (moment(expected[2]), expected[1]) if expected else (None, None)
        assert said == Said(when, how, why[1] if why else None)
        return said


@pytest.fixture
def doors(sending: Any, program: As, logged_in: As, command: Any) -> Doors:
    return Doors(program, logged_in, command)


# --- A moment --------------------------------------------------------------------------------------------------------


def test_the_limit_holds_it_back(doors: Doors, engine: Engine, queue: Queue) -> None:
    """What waits for the limit leaves an hour after what was sent before it: all doors tell the same moment."""
    queue()
    drain(engine, limit=1)
    number = queue()
    said = doors.message(number)
    assert (said.certainty, said.why) == ("at", None)
    assert said.at is not None
    assert timedelta(minutes=59) < said.at - datetime.now(UTC) < timedelta(minutes=66)
    assert doors.sender() == said
    told = re.search(r"^  Empty       at (.*), if nothing more comes in$", doors.command(), flags=re.MULTILINE)
    assert told
    assert told[1] == f"{said.at:%Y-%m-%d %H:%MZ}"


def test_its_time_has_not_come(doors: Doors, queue: Queue) -> None:
    """What may not leave yet leaves after that; of its sender's queue, in which nothing is due, nothing is told."""
    number = queue(send_after="2041-05-06T07:08:00Z")
    assert doors.message(number) == Said(datetime(2041, 5, 6, 7, 8, tzinfo=UTC), "after", None)
    assert doors.sender() == Said(None, None, None)
    assert "Empty" not in doors.command()


def test_what_does_not_wait(doors: Doors, connection: Connection, engine: Engine, queue: Queue) -> None:
    """What was sent, or is held, is told neither a moment nor why there is none."""
    sent = queue()
    drain(engine, limit=9)
    held = queue()
    transitions.hold(connection, held)
    connection.commit()
    for number in (sent, held):
        assert doors.message(number) == Said(None, None, None)


# --- No moment, and why ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"is_paused": True}, "Notifications is paused"),
        ({"is_stale": True}, "Airflow does not know the DAG Notifications"),
        ({"has_import_errors": True}, "Airflow cannot read the DAG Notifications"),
    ],
    ids=["paused", "unknown", "broken"],
)
def test_nothing_runs(doors: Doors, sending: Any, queue: Queue, state: dict[str, bool], why: str) -> None:
    """Where Notifications does not come by itself, that is why nobody can tell."""
    number = queue()
    sending(**state)
    assert doors.message(number) == doors.sender() == Said(None, None, why)
    assert f"  Empty       nobody can tell: {why}\n" in doors.command()


def test_no_slots(doors: Doors, engine: Engine, queue: Queue) -> None:
    """A pool without slots is named."""
    number = queue()
    drain(engine, limit=0)
    said = Said(None, None, f"the pool {SENDER} has 0 slots, which holds everything")
    assert doors.message(number) == doors.sender() == said


def test_not_served(doors: Doors, queue: Queue) -> None:
    """A sender that no run serves is named, with the Variable."""
    said = doors.message(queue(sender="smtp_second"))
    assert said.why == "no run serves the sender smtp_second, which is not in the Variable notify_senders"


def test_a_copy(doors: Doors, connection: Connection, queue: Queue) -> None:
    """From an outbox that the last run took for a copy nothing leaves, whatever the limit allows."""
    number = queue()
    connection.execute(sa.text("update notify.identity set refused = 'it is another database'"))
    connection.commit()
    assert doors.message(number).why == "this outbox may be a restored copy: it is another database"


def test_too_far(doors: Doors, engine: Engine, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves later than anybody plans is told as that; nothing is wrong with it."""
    queue()
    drain(engine, limit=1)
    number = queue()
    monkeypatch.setattr("notify.domain.forecast.HORIZON", timedelta(minutes=30))  # a year has too many messages
    said = Said(None, None, "it is more than a year away, or no run comes")
    assert doors.message(number) == doors.sender() == said
    assert "It is not sent" not in doors.logged_in("viewer").get(f"/notify/messages/{number}").text


def test_without_airflow_s_database(command: Any, queue: Queue, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Where a command cannot ask Airflow, it tells all the rest, and that."""
    queue()
    elsewhere = sa.create_engine(f"sqlite:///{tmp_path}/empty.db")
    monkeypatch.setattr(airflow_settings, "NonScopedSession", sessionmaker(elsewhere))
    told = command()
    assert "  Empty       nobody can tell: Airflow's own database does not answer: no such table" in told
    assert "  Due         1, the first since " in told
