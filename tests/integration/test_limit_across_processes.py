"""The promise under fire: four processes drain one sender, and are killed and frozen at random meanwhile."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL, Connection

from notify.handover import hand_over
from notify.settings import HandOverSettings

CHECKOUT = Path(__file__).resolve().parents[2]

LIMIT = 20
WINDOW = 2.0
LEASE = 1.0
WORKERS = 4
SESSIONS = 2
MESSAGES = 90

#: What the server takes to answer, in seconds: long enough that most blows fall into it.
DELAY = 0.15

#: How long workers are killed and frozen, in seconds.
CHAOS = 8.0

#: How long a worker is frozen: past its lease, but not so long that its attempts have left the window.
FROZEN = 1.4

#: When a test that waits gives up, in seconds.
DEADLINE = 60.0


# --- Counting --------------------------------------------------------------------------------------------------------


def most_in_any_window(moments: Iterable[float], window: float) -> int:
    """The largest number of moments in any half-open interval of a length; a densest one begins at a moment."""
    ordered = sorted(moments)
    first = most = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 15), st.integers(-5, 45))
def test_most_in_any_window(moments: list[int], window: int, start: int) -> None:
    """The count is reached by a window that begins at a moment, and exceeded by no window, wherever it begins."""
    most = most_in_any_window(moments, window)

    def within(begin: int) -> int:
        return sum(begin <= moment < begin + window for moment in moments)

    assert within(start) <= most
    assert most == max(map(within, moments), default=0)


# --- The processes ---------------------------------------------------------------------------------------------------


@contextmanager
def python(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A module of ours in a process of its own, ended in any case."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'plugins'}"},
    )
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        if module.endswith("smtp_sink"):
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


class Workers:
    """The processes that drain.

    :param process: their parent, see ``tests/drain_worker.py``
    :param chance: decides who suffers
    """

    def __init__(self, process: subprocess.Popen[str], chance: random.Random) -> None:
        self._process = process
        self._chance = chance
        self._frozen: list[tuple[float, int]] = []
        self.alive = [self.start() for _ in range(WORKERS)]
        self.kills = 0
        self.freezes = 0

    def start(self) -> int:
        return int(self._tell("start").split()[1])

    def strike(self, busy: Sequence[int]) -> None:
        """Kill or freeze one, of those that are sending if there are any."""
        pid = self._chance.choice([pid for pid in self.alive if pid in busy] or self.alive)
        self.alive.remove(pid)
        if self._chance.random() < 0.6 or not self.alive:
            self.kill(pid)
        else:
            self.freeze(pid)

    def kill(self, pid: int) -> None:
        """Kill one; another takes its place."""
        self._tell(f"kill {pid}")
        self.kills += 1
        self.alive.append(self.start())

    def freeze(self, pid: int) -> None:
        """Let one stand still past its lease, so that it finds its messages taken over."""
        self._tell(f"freeze {pid}")
        self.freezes += 1
        self._frozen.append((time.monotonic() + FROZEN, pid))

    def thaw(self, *, everybody: bool = False) -> None:
        """Let those go on whose time has come."""
        for entry in list(self._frozen):
            if everybody or time.monotonic() >= entry[0]:
                self._tell(f"thaw {entry[1]}")
                self._frozen.remove(entry)
                self.alive.append(entry[1])

    def _tell(self, order: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        answer = line_of(self._process)
        assert answer.startswith(order.split(maxsplit=1)[0]), answer
        return answer


# --- The fire --------------------------------------------------------------------------------------------------------


@pytest.fixture
def seed() -> int:
    """Of all chance; pytest shows it when the test fails. Give it as NOTIFY_SEED to have the same again."""
    chosen = int(os.environ.get("NOTIFY_SEED") or random.randrange(2**32))
    print(f"NOTIFY_SEED={chosen}")
    return chosen


def test_limit_across_processes(
    database: URL, connection: Connection, hand_over_settings: HandOverSettings, tmp_path: Path, seed: int
) -> None:
    """Whatever is killed or frozen: no window exceeds the limit, nothing is lost, and few messages are repeated."""
    chance = random.Random(seed)
    record = tmp_path / "record.jsonl"
    url = database.render_as_string(hide_password=False)
    with python("tests.smtp_sink", "--record", record, "--delay", DELAY) as sink:
        port = int(line_of(sink).split()[1])
        options = {"url": url, "port": port, "limit": LIMIT, "window": WINDOW, "lease": LEASE, "connections": SESSIONS}
        with python("tests.drain_worker", *(f"--{name}={value}" for name, value in options.items())) as parent:
            assert line_of(parent) == "ready"
            workers = Workers(parent, chance)
            handed = play(connection, hand_over_settings, workers, chance)
            wait_until_drained(connection)
        assert parent.returncode == 0, "a worker did not end well"
    received = [json.loads(line) for line in record.read_text().splitlines()]
    judge(connection, received, handed, workers)


def play(connection: Connection, settings: HandOverSettings, workers: Workers, chance: random.Random) -> dict[str, str]:
    """Hand messages over while workers suffer; returns the guarantee of each by its Message-ID."""
    handed: dict[str, str] = {}
    end = time.monotonic() + CHAOS
    next_blow = time.monotonic() + 0.3
    while (now := time.monotonic()) < end:
        if len(handed) < MESSAGES:
            handed |= hand_over_some(connection, settings, chance)
        forget_back_offs(connection)
        workers.thaw()
        if now >= next_blow and (busy_workers(connection) or now >= next_blow + 1):
            workers.strike(busy_workers(connection))
            next_blow = now + chance.uniform(0.1, 1.0)
        time.sleep(chance.uniform(0.01, 0.1))
    workers.thaw(everybody=True)
    return handed


def hand_over_some(connection: Connection, settings: HandOverSettings, chance: random.Random) -> dict[str, str]:
    fields: dict[str, Any] = {
        "recipient": [f"r{number}@example.com" for number in range(chance.randint(1, 4))],
        "subject": "Hi",
        "message": "Hello",
        "priority": chance.choice(["urgent", "normal", "bulk"]),
        "guarantee": chance.choice(["at_least_once", "at_least_once", "at_most_once"]),
    }
    handed_over = hand_over(connection, fields, settings)
    connection.commit()
    return {message.message_id: fields["guarantee"] for message in handed_over.messages}


def busy_workers(connection: Connection) -> list[int]:
    """The processes that have a message under way."""
    query = "select distinct worker from notify.drains d join notify.attempts a on a.drain_id = d.id where a.begun_at "
    busy = connection.scalars(sa.text(query + "is not null and a.ended_at is null and d.ended_at is null")).all()
    connection.rollback()
    return [int(worker.rpartition(":")[2]) for worker in busy]


def forget_back_offs(connection: Connection) -> None:
    """What waits a minute after a doubt need not wait in a test."""
    connection.execute(
        sa.text(
            "update notify.messages set not_before = now() where id in (select id from notify.messages "
            "where status = 'queued' and not_before > now() for update skip locked)"
        )
    )
    connection.commit()


def wait_until_drained(connection: Connection) -> None:
    """Until nothing waits and nothing is under way."""
    deadline = time.monotonic() + DEADLINE
    open_ones = "select count(*) from notify.messages where status in ('queued', 'sending')"
    while time.monotonic() < deadline:
        forget_back_offs(connection)
        left = connection.scalar(sa.text(open_ones))
        connection.rollback()
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"{left} messages are still on their way")


def judge(connection: Connection, received: Sequence[dict[str, Any]], handed: dict[str, str], workers: Workers) -> None:
    """Hold what the server saw against the promise."""
    most = most_in_any_window((mail["at"] for mail in received), WINDOW)
    blows = f"{workers.kills} kills, {workers.freezes} freezes"
    print(f"{len(handed)} messages, {len(received)} arrived, at most {most} in a window; {blows}")
    assert most <= LIMIT, f"{most} in {WINDOW} s"
    assert most > LIMIT // 2, "the limit was never tried"
    assert workers.kills + workers.freezes > 5

    copies = Counter(mail["message_id"] for mail in received)
    assert set(copies) <= set(handed), "a Message-ID that was never handed over"
    status: dict[str, str] = dict(connection.execute(sa.text("select message_id, status from notify.messages")).all())
    for message_id, guarantee in handed.items():
        if guarantee == "at_most_once":
            assert copies[message_id] <= 1
            assert status[message_id] in ({"sent", "uncertain"} if copies[message_id] else {"uncertain"})
        else:
            assert copies[message_id] >= 1, "lost"
            assert status[message_id] == "sent"
    repeated = copies.total() - len(copies)
    assert repeated <= SESSIONS * (workers.kills + workers.freezes)
