"""The promise of events under fire: two processes merge, and are killed at random moments, again and again."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import time
from collections import Counter
from email.message import EmailMessage
from pathlib import Path

import pytest
from airflow.sdk import Connection as AirflowConnection
from sqlalchemy.engine import URL, Engine

from notify.channels.smtp import SmtpChannel
from notify.drain import Drainer
from tests.forked import parent_of, tell
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates
from tests.smtp_sink import HOST, SmtpSink

KILLS = 50
WORKERS = 2
PEOPLE = 500

#: Put-aside notifications at the beginning, and events that are published between two kills.
BEGINNING = 2_500
MORE = 2

#: Of how many people an event is told, at most.
AUDIENCE = 25

#: The longest that a worker lives after it has begun, in seconds: some batches' time.
LIFE = 0.15


@pytest.fixture
def seed() -> int:
    """Of all chance; pytest shows it when the test fails. Give it as NOTIFY_SEED to have the same again."""
    chosen = int(os.environ.get("NOTIFY_SEED") or random.randrange(2**32))
    print(f"NOTIFY_SEED={chosen}")
    return chosen


class Press:
    """Publishes events, each of one word that stands nowhere else, and knows whom they concern."""

    def __init__(self, room: Newsroom, chance: random.Random) -> None:
        self.room = room
        self.chance = chance
        self.words: dict[str, list[str]] = {}
        self.people = [f"p{number:03}" for number in range(PEOPLE)]
        room.hire(*self.people)
        for login in self.people:
            room.choose(login, "daily")

    def publish(self) -> int:
        """Publish an event; returns for how many."""
        word = f"w{len(self.words)}w"
        self.words[word] = self.chance.sample(self.people, self.chance.randint(1, AUDIENCE))
        # Each has a case of its own: a digest shows thirty of them, and ten entries of one.
        self.room.publish(self.words[word], word=word, case=word, occurred_at=LONG_AGO)
        return len(self.words[word])

    @property
    def expected(self) -> Counter[tuple[str, str]]:
        """How often each address is to be told of each event: once."""
        return Counter({(f"{login}@example.com", word): 1 for word, told in self.words.items() for login in told})


def test_killed_again_and_again(database: URL, engine: Engine, tmp_path: Path, seed: int) -> None:
    """Killed 50 times while two run: the balance is even, and each event is in one mail to everybody it concerns."""
    chance = random.Random(seed)
    room = Newsroom(engine, settings_of(write_templates(tmp_path / "templates")))
    press = Press(room, chance)
    published = 0
    while published < BEGINNING:
        published += press.publish()
    with parent_of(
        "tests.merge_worker",
        f"--url={database.render_as_string(hide_password=False)}",
        f"--templates={room.settings.templates}",
    ) as parent:
        open_ones = kill(parent, press, chance)
    assert parent.returncode == 0, "a worker did not end well; its cause is on stderr"
    interrupted = room.rows("select count(*) from notify.deferred where look_at <= now()")[0]
    room.merge()
    balance = room.balance()
    print(f"{KILLS} kills, {open_ones} in a transaction; {balance.found} notifications in {balance.digests} digests "
          f"and {balance.mails} mails; {interrupted} were left to the last run")  # fmt: skip
    assert balance.even, balance.wrong
    assert balance.waiting == 0
    assert balance.found == press.expected.total()
    assert balance.digests + balance.mails > KILLS
    assert open_ones > KILLS // 5, "most were killed while they did nothing"
    assert received(engine) == press.expected


def kill(parent: subprocess.Popen[str], press: Press, chance: random.Random) -> int:
    """Kill workers, others taking their places, with always enough to do; returns how many were in a transaction."""
    alive = [tell(parent, "start") for _ in range(WORKERS)]
    open_ones = 0
    for _ in range(KILLS):
        for _ in range(MORE):
            press.publish()
        time.sleep(chance.uniform(0, LIFE))
        victim = chance.choice(alive)
        alive.remove(victim)
        open_ones += is_in_transaction(press.room, victim)
        tell(parent, f"kill {victim}")
        alive.append(tell(parent, "start"))
    return open_ones


def is_in_transaction(room: Newsroom, pid: int) -> bool:
    """Whether a worker has a transaction open."""
    query = "select count(*) from pg_stat_activity where application_name = :name and xact_start is not null"
    return bool(room.rows(query, name=f"merge {pid}")[0])


def received(engine: Engine) -> Counter[tuple[str, str]]:
    """Send everything through a real server; returns how often each address was told of each event."""
    with SmtpSink() as sink:
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "notify@example.com", "max_connections": 4}
        described = AirflowConnection(
            conn_id="smtp_default", conn_type="smtp", host=HOST, port=sink.port, extra=json.dumps(extra)
        )
        result = Drainer(engine, SmtpChannel("smtp_default", described), "smtp_default", limit=-1).run()
        assert result.stopped == "nothing more is due"
        taken = list(sink.taken)
    found: Counter[tuple[str, str]] = Counter()
    for mail in taken:
        [address] = mail.rcpts
        found.update((address, word) for word in words(mail.parsed))
    return found


def words(mail: EmailMessage) -> list[str]:
    """The events that a mail tells of: in its subject, or in the lines of a digest."""
    if not str(mail["Subject"]).startswith("Digest"):
        return re.findall(r"News: (w\d+w)", str(mail["Subject"]))
    part = mail.get_body(("plain",))
    assert part is not None
    return re.findall(r"^\* (w\d+w)\r?$", str(part.get_content()), re.MULTILINE)
