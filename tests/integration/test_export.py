"""The register as a file, on a real PostgreSQL: what is in it, that it streams, and the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from notify import exporting, progress
from notify.domain.status import Status
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import search as searching
from notify.storage.export import OF_MESSAGE
from notify.storage.search import Search
from notify.table import Format, Style, written
from tests.conftest import CHECKOUT, Command
from tests.connections import postgres_connection
from tests.integration.test_search import FILL, NOON
from tests.mailing import Mailing

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


@pytest.fixture
def three_hundred(connection: Connection) -> None:
    """Three hundred messages, one a minute from noon on."""
    for statement in FILL.text.split(";\n"):
        names = {name: value for name, value in {"noon": NOON, "count": 300}.items() if f":{name}" in statement}
        connection.execute(sa.text(statement), names)
    connection.commit()


def exported(engine: Engine, wanted: Search = Search(), *, texts: bool = False) -> list[dict[str, Any]]:  # noqa: B008
    rows = exporting.messages(engine.connect, wanted, texts=texts)
    pieces = written(exporting.columns(texts=texts), rows, Style(Format.JSON))
    found: list[dict[str, Any]] = json.loads(b"".join(pieces))
    return found


def cells(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# --- What is in it ---------------------------------------------------------------------------------------------------


def test_a_message(engine: Engine, queue: Queue) -> None:
    """A message is there with what the register knows of it and with each recipient; its text only if asked for."""
    number = queue(recipient="Anna <anna@example.com>; bob@example.com", cc="carl@example.com", case_id="C1")
    [one] = exported(engine)
    assert list(one) == [*OF_MESSAGE, "recipients"]
    assert (one["id"], one["status"], one["case_id"], one["subject"]) == (number, "queued", "C1", "[C1] Open Sesame")
    assert one["created_at"].endswith("Z")
    assert [(who["role"], who["address"], who["name"], who["outcome"]) for who in one["recipients"]] == [
        ("to", "anna@example.com", "Anna", "pending"),
        ("to", "bob@example.com", "", "pending"),
        ("cc", "carl@example.com", "", "pending"),
    ]
    [with_text] = exported(engine, texts=True)
    assert {name: value for name, value in with_text.items() if name != "text"} == one
    assert "A tale." in with_text["text"]


def test_a_text_that_is_gone(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Of a message whose body is no longer kept, the text is none, and the rest is there."""
    queue()
    connection.execute(sa.text("update notify.messages set content_id = null"))
    connection.commit()
    [one] = exported(engine, texts=True)
    assert (one["text"], one["subject"]) == (None, "Open Sesame")


@pytest.mark.parametrize(
    "wanted",
    [
        Search(),
        Search(statuses=frozenset({Status.FAILED, Status.QUEUED})),
        Search(kind="rare"),
        Search(address="READER3@example.com", case_id="C1"),
        Search(since=NOON + timedelta(minutes=100), until=NOON + timedelta(minutes=250), sender="one"),
    ],
    ids=["all", "states", "kind", "address", "time"],
)
@pytest.mark.parametrize("stretch", [1000, 7])
def test_it_has_what_the_pages_have(
    engine: Engine, three_hundred: None, monkeypatch: pytest.MonkeyPatch, wanted: Search, stretch: int
) -> None:
    """With any filters, an export has the messages that the register's pages have together, each once, newest first."""
    monkeypatch.setattr(exporting, "STRETCH", stretch)
    monkeypatch.setattr(searching, "WINDOW", 40)
    with engine.connect() as connection:
        shown, before = [], None
        while True:
            page = searching.search(connection, wanted, before=before, limit=50)
            shown += [one.id for one in page.found]
            if (before := page.next_before) is None:
                break
    assert [one["id"] for one in exported(engine, wanted)] == shown
    assert shown


# --- That it streams -------------------------------------------------------------------------------------------------


def test_the_first_line_comes_before_the_last_is_read(
    engine: Engine, connection: Connection, three_hundred: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read when they are asked for: what changes after the first stretch is told as it is then."""
    monkeypatch.setattr(exporting, "STRETCH", 10)
    rows = exporting.messages(engine.connect, Search())
    first = next(rows)
    connection.execute(sa.text("update notify.messages set subject = 'changed' where status <> 'nothing'"))
    connection.commit()
    rest = list(rows)
    assert first["subject"] == "s300"
    assert [one["subject"] for one in rest[:9]] == [f"s{number}" for number in range(299, 290, -1)]
    assert {one["subject"] for one in rest[9:]} == {"changed"}
    assert len(rest) == 299


def test_nothing_is_held_between_stretches(
    engine: Engine, three_hundred: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes their time with an export holds no connection and no transaction of the outbox."""
    monkeypatch.setattr(exporting, "STRETCH", 10)
    opened = []

    @contextmanager
    def opening() -> Iterator[Connection]:
        with engine.connect() as found:
            opened.append(True)
            yield found
        opened.append(False)

    rows = exporting.messages(opening, Search())
    for _ in range(25):
        next(rows)
    assert opened == [True, False] * 3


# --- The command line ------------------------------------------------------------------------------------------------


def test_command(notify: Command, queue: Queue) -> None:
    """The command writes CSV to standard output, or what it is told; what is in the file can be chosen by filters."""
    first, second = queue(subject="=HYPERLINK(1)"), queue(recipient="+x@example.com", site=None)
    status, out, err = notify("messages", "export")
    assert status == 0
    assert [(row["id"], row["subject"], row["recipients"]) for row in cells(out)] == [
        (str(second), "Open Sesame", "'+x@example.com"),
        (str(first), "'=HYPERLINK(1)", "anna@example.com"),
    ]
    _, out, _ = notify("messages", "export", "--raw", "--address", "anna@example.com")
    assert [row["subject"] for row in cells(out)] == ["=HYPERLINK(1)"]
    _, out, _ = notify("messages", "export", "--format", "jsonl", "--status", "held", "--status", "queued", "--bodies")
    assert ["A tale." in json.loads(line)["text"] for line in out.splitlines()] == [True, True]
    assert notify("messages", "export", "--bom")[1].startswith("\ufeffid,")
    _, out, _ = notify("messages", "export", "--format", "json", "--since", "2999-01-01")
    assert json.loads(out) == []
    assert "messages so far" not in err


def test_of_a_campaign(
    notify: Command, queue: Queue, connection: Connection, hand_over_settings: HandOverSettings
) -> None:
    """The messages of a campaign can be taken along alone."""
    queue()
    number = queue()
    campaign = Mailing(connection.engine, hand_over_settings).write()
    connection.execute(
        sa.text("update notify.messages set campaign_id = :campaign where id = :id"),
        {"campaign": campaign, "id": number},
    )
    connection.commit()
    _, out, _ = notify("messages", "export", "--campaign", campaign)
    assert [row["id"] for row in cells(out)] == [str(number)]
    assert cells(notify("messages", "export", "--campaign", campaign + 1)[1]) == []


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_filter_that_cannot_be_understood(notify: Command, queue: Queue, option: str, tmp_path: Path) -> None:
    """A filter that is none is told as the page tells it, and no file is begun."""
    file = tmp_path / "register.csv"
    status, _, err = notify("messages", "export", option, "yesterday", "--output", file)
    assert status == 1
    assert f"{option[2:]}: 'yesterday' is no date and time" in err
    assert not file.exists()


def test_into_a_file(notify: Command, queue: Queue, tmp_path: Path) -> None:
    """A file is for its owner alone; one that is there already is not written over."""
    queue()
    file = tmp_path / "register.csv"
    status, out, _ = notify("messages", "export", "--output", file)
    assert (status, out) == (0, f"1 messages are in {file}.\n")
    assert len(cells(file.read_text())) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    status, _, err = notify("messages", "export", "--output", file)
    assert status == 1
    assert f"There is a file {file} already" in err
    assert len(cells(file.read_text())) == 1
    status, _, err = notify("messages", "export", "--output", tmp_path / "nowhere" / "register.csv")
    assert status == 1
    assert "cannot be written: No such file or directory." in err


def test_a_part_is_not_left_behind(
    notify: Command, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an export breaks off, no file stays that could be taken for a whole one."""
    queue()
    real = exporting.messages

    def broken(*given: Any, **more: Any) -> Iterator[dict[str, object]]:
        yield from real(*given, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "messages", broken)
    file = tmp_path / "register.csv"
    assert notify("messages", "export", "--output", file)[0] == 130
    assert not file.exists()


def test_progress(notify: Command, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long export says on standard error how far it is; standard output has the file alone."""
    queue()
    queue()
    monkeypatch.setattr(progress, "EVERY", 0.0)
    _, out, err = notify("messages", "export")
    assert "notify: 1 messages so far\nnotify: 2 messages so far\n" in err
    assert len(cells(out)) == 2


def test_a_reader_that_stops(notify_db: URL, three_hundred: None) -> None:
    """Where whoever reads the pipe stops, as head does, the command ends without a complaint."""
    place = {"AIRFLOW_CONN_NOTIFY_DB": postgres_connection(notify_db), "PYTHONPATH": str(CHECKOUT / "plugins")}
    command = [sys.executable, "-m", "notify", "messages", "export", "--format", "jsonl"]
    reading, writing = os.pipe()
    threading.Thread(target=lambda: (os.read(reading, 10), os.close(reading))).start()
    done = subprocess.run(
        command, env=os.environ | place, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )
    os.close(writing)
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr
