"""A mail leaves by SMTP, comes back by IMAP, and its sender is told; killed at every step, each happens once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk import Connection
from sqlalchemy.engine import Engine

from notify.channels.smtp import SmtpChannel
from notify.domain.status import Status
from notify.drain import Drainer
from notify.settings import HandOverSettings
from tests.imap_server import ImapServer
from tests.returns import FULL, GONE, MAILBOX, SENDER, Postroom, dsn
from tests.smtp_sink import HOST, Received, SmtpSink

CHECKOUT = Path(__file__).resolve().parents[2]
ANNA, BOB = "anna@customer.example", "bob@example.com"


@pytest.fixture
def room(engine: Engine, hand_over_settings: HandOverSettings) -> Iterator[Postroom]:
    with ImapServer() as server:
        yield Postroom(engine, hand_over_settings, server)


def leave(room: Postroom) -> list[Received]:
    """Send what is queued by SMTP, with a return path."""
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "notify@example.com", "return_path": MAILBOX}
    with SmtpSink() as sink:
        described = Connection(conn_id=SENDER, conn_type="smtp", host=HOST, port=sink.port, extra=json.dumps(extra))
        Drainer(room.engine, SmtpChannel(SENDER, described), SENDER, limit=-1).run()
        return sink.received


def come_back(room: Postroom, mail: Received, status: tuple[str, str] = GONE) -> None:
    """The report that the server makes of what it received: to the envelope's sender, about its recipients."""
    said = [(address, *status) for address in mail.rcpts]
    room.server.deliver(dsn(str(mail.parsed["Message-ID"]), said, to=mail.mail_from))


def test_there_and_back(room: Postroom) -> None:
    """What a server received comes back to the return path: undelivered, suppressed, told; once, however often read."""
    number = room.queue(ANNA, reply_to=BOB)
    later = room.queue(ANNA)
    room.do("update notify.messages set not_before = now() + interval '1 hour' where id = :id", id=later)
    (mail,) = leave(room)
    assert mail.mail_from.startswith(f"bounces+{number}-")
    come_back(room, mail)
    result = room.run()
    assert (result.hard, result.undelivered, result.suppressed, result.withheld, result.notices) == (1, 1, 1, 1, 1)
    assert room.read(number).status is Status.UNDELIVERED
    assert room.read(later).status is Status.SUPPRESSED
    assert set(room.suppressed()) == {ANNA}
    before = room.state()
    come_back_again = room.server.contents('"Processed"')
    room.server.deliver(*come_back_again)
    assert room.run().repeated == 1
    assert room.state() == before
    (notice,) = leave(room)
    assert notice.rcpts == (BOB,)
    assert notice.parsed["Subject"] == "Not delivered: Hi"


def test_the_way_of_a_notice(room: Postroom) -> None:
    """A notice that comes back itself makes no other."""
    room.queue(ANNA, reply_to=BOB)
    for _ in range(2):
        for mail in leave(room):
            come_back(room, mail)
        room.run(contact="carl@example.com")
    assert [row[0] for row in room.rows("select status from notify.messages order by id")] == ["undelivered"] * 2


def killed(room: Postroom, at: str) -> None:
    """A run that is killed there."""
    url = room.engine.url.render_as_string(hide_password=False)
    environment = {"PYTHONPATH": f"{CHECKOUT / 'plugins'}:{CHECKOUT}", "AIRFLOW_HOME": os.environ["AIRFLOW_HOME"]}
    command = [sys.executable, "-m", "tests.bounce_worker", "--url", url, "--port", str(room.server.port), "--at", at]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("at", ["take", "finish", "tell"])
def test_killed(room: Postroom, at: str) -> None:
    """Wherever a run is killed, the next one makes it whole, and nothing happens twice."""
    first, second = room.queue(ANNA, reply_to=BOB), room.queue(BOB, reply_to=ANNA)
    for mail in leave(room):
        come_back(room, mail, GONE if ANNA in mail.rcpts else FULL)
    killed(room, at)
    noted = room.rows("select count(*) from notify.bounces where notice = 'due'")
    assert noted == [(0,)] if at == "take" else noted == [(2,)]
    assert len(room.server.contents()) == (0 if at == "tell" else 2)
    room.run()
    assert [room.read(number).status for number in (first, second)] == [Status.UNDELIVERED] * 2
    assert set(room.suppressed()) == {ANNA}
    assert room.rows("select message_id, notice from notify.bounces order by 1") == [(first, "told"), (second, "none")]
    assert room.rows("select count(*) from notify.messages where kind = 'undelivered'") == [(1,)]
    assert [len(room.read(number).events) for number in (first, second)] == [3, 3]
    assert room.server.contents() == []
    before = room.state()
    room.run()
    assert room.state() == before
