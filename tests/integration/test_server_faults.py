"""What a server's fault means for its message, for the run and for the messages behind it: the table in docs/faults.md.

Through a drain, on a real PostgreSQL; what the channel makes of each fault is in ``test_smtp_faults.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.channels.base import Channel
from notify.drain import Drainer, DrainResult
from notify.exceptions import SenderFault
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import register
from notify.storage.register import RegisteredMessage
from tests.smtp_client import ANNA, BOB, PASSWORD, channel
from tests.smtp_raw import Peer, raw_server
from tests.smtp_sink import Answer, Certificate, Lie, Mischief, SmtpSink

SENDER = "smtp_default"
READERS = [f"reader{number}@example.com" for number in range(8)]

#: Fields in; the numbers of the messages out.
Queue = Callable[..., list[int]]


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running
        running.behave()
        assert running.wait_closed(), "a connection was left open"


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand messages over, and commit."""

    def call(*recipients: str, **fields: Any) -> list[int]:
        given = {"recipient": list(recipients), "subject": "Invoice", "message": "Dear reader,"} | fields
        numbers = [message.id for message in hand_over(connection, given, hand_over_settings).messages]
        connection.commit()
        return numbers

    return call


def drain(engine: Engine, channel: Channel) -> DrainResult:
    return Drainer(engine, channel, SENDER, limit=-1).run()


def read(connection: Connection, number: int) -> RegisteredMessage:
    connection.rollback()
    message = register.read(connection, number)
    connection.rollback()
    return message


def wait_of(message: RegisteredMessage) -> float:
    """How many seconds it waits, from the end of its last try."""
    ended = message.tries[-1].ended_at
    assert isinstance(ended, datetime)
    return (message.not_before - ended).total_seconds()


def make_due(connection: Connection) -> None:
    """What waits for a later moment is due now."""
    connection.execute(sa.text("update notify.messages set not_before = now() where status = 'queued'"))
    connection.commit()


# --- faults of one message: it backs off or fails, the run is green and the others pass -------------------------------


@pytest.mark.parametrize(
    ("stage", "answer", "status"),
    [
        ("RCPT", "451 4.7.1 greylisted, come back later", "queued"),
        ("RCPT", "450 4.2.1 mailbox busy", "queued"),
        ("RCPT", "452 4.2.2 mailbox full", "queued"),
        ("RCPT", "550 5.1.1 no such mailbox", "failed"),
        ("RCPT", "552 5.2.2 mailbox full", "failed"),
        ("MAIL", "552 5.3.4 too big", "failed"),
        ("DATA", "451 4.3.0 later", "queued"),
        ("END", "451 4.3.0 later", "queued"),
        ("END", "452 4.3.1 disk full", "queued"),
        ("END", "421 4.3.2 shutting down", "queued"),
        ("END", "552 5.2.3 too big", "failed"),
        ("END", "554 5.7.1 taken for spam", "failed"),
    ],
    ids=str,
)
def test_fault_of_one_message(
    engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink, *, stage: str, answer: str, status: str
) -> None:
    """The message alone is charged: it waits a minute, or has failed; the others are sent in the same run."""
    numbers = queue(ANNA) + queue(*READERS)
    sink.answer(stage, answer, times=1)
    result = drain(engine, channel(sink.port, max_connections=1, timeout=10))
    first = read(connection, numbers[0])
    assert first.status == status
    assert [one.outcome for one in first.tries] == ["temporary" if status == "queued" else "permanent"]
    assert result.accepted == len(READERS)
    assert (result.retried, result.failed) == ((1, 0) if status == "queued" else (0, 1))
    if status == "queued":
        assert 60 <= wait_of(first) < 70
        make_due(connection)
        assert drain(engine, channel(sink.port)).accepted == 1


@pytest.mark.parametrize(
    ("answer", "guarantee", "status"),
    [
        (Mischief.HANG_UP, "at_least_once", "queued"),
        (Mischief.STALL, "at_least_once", "queued"),
        (Mischief.HANG_UP, "at_most_once", "uncertain"),
        (Mischief.STALL, "at_most_once", "uncertain"),
    ],
    ids=str,
)
def test_final_answer_is_lost(
    engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink, *, answer: Answer, guarantee: str, status: str
) -> None:
    """A lost final answer repeats the message under the same Message-ID, or leaves it to a person; others pass."""
    numbers = queue(ANNA, guarantee=guarantee) + queue(*READERS)
    sink.answer("END", answer, times=1)
    result = drain(engine, channel(sink.port, max_connections=1, timeout=1))
    assert result.accepted == len(READERS)
    assert read(connection, numbers[0]).status == status
    make_due(connection)
    drain(engine, channel(sink.port))
    copies = [mail for mail in sink.taken if mail.rcpts == (ANNA,)]
    assert len(copies) == (2 if status == "queued" else 1)
    assert len({mail.parsed["Message-ID"] for mail in copies}) == 1


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_one_write_is_lost(engine: Engine, connection: Connection, queue: Queue, guarantee: str) -> None:
    """Where content goes with its envelope, only a message that may be repeated is ever in doubt at its envelope."""
    seen: list[str] = []

    def play(peer: Peer) -> None:
        peer.greet("PIPELINING", "CHUNKING")
        while line := peer.line():
            verb = line.upper().split()[0]
            if verb == "MAIL" and len(seen) == 3:
                seen.append("lost")
                peer.reset()
                return
            if verb == "BDAT":
                size = int(line.split()[1])
                peer.take(size)
                peer.say("503 5.5.1 no MAIL" if size == 8 else "250 2.0.0 taken")
                seen.extend([] if size == 8 else ["taken"])
            elif verb == "DATA":
                peer.say("354 go on")
                peer.content()
                peer.say("250 2.0.0 taken")
                seen.append("taken")
            else:
                peer.say("250 ok")

    numbers = queue(*READERS, guarantee=guarantee)
    with raw_server(play) as port:
        drain(engine, channel(port, max_connections=1, timeout=10))
    tries = {one.outcome for number in numbers for one in read(connection, number).tries} - {"accepted"}
    assert tries <= ({"in_doubt", "sender_fault"} if guarantee == "at_least_once" else {"sender_fault"})
    assert "uncertain" not in {read(connection, number).status for number in numbers}


def test_too_many_recipients(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Recipients too many for one transaction get the message in the same attempt, and nobody gets it twice."""
    with SmtpSink(most_rcpts=3) as small:
        [number] = queue(*READERS, one_mail=True)
        assert drain(engine, channel(small.port)).accepted == 1
        message = read(connection, number)
        assert message.status == "sent"
        assert [one.outcome for one in message.recipients] == ["accepted"] * len(READERS)
        assert len(message.tries) == 1
        assert sorted(rcpt for mail in small.taken for rcpt in mail.rcpts) == READERS


def test_some_recipients_are_left(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Where the connection is lost before the last recipients' turn, they alone are tried again."""
    with SmtpSink(most_rcpts=5) as small:
        [number] = queue(*READERS, one_mail=True)
        small.answer("MAIL", Mischief.RESET, times=1, skip=1)
        assert drain(engine, channel(small.port)).retried == 1
        make_due(connection)
        assert drain(engine, channel(small.port)).accepted == 1
        assert sorted(rcpt for mail in small.taken for rcpt in mail.rcpts) == READERS
    assert read(connection, number).status == "sent"


# --- faults of the server: nothing is charged, and all messages wait --------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("CONNECT", b"554 5.3.2 no service here\r\n"),
        ("CONNECT", b"421 4.3.2 too many connections\r\n"),
        ("CONNECT", Mischief.HANG_UP),
        ("CONNECT", Mischief.STALL),
        ("EHLO", "421 4.3.2 shutting down"),
        ("EHLO", Mischief.STALL),
        ("MAIL", "421 4.3.2 shutting down"),
        ("MAIL", "451 4.3.2 not accepting messages"),
        ("MAIL", "452 4.3.1 disk full"),
        ("MAIL", "450 4.7.1 too much mail from you"),
        ("MAIL", "530 5.7.0 log in"),
        ("MAIL", "550 5.7.60 not allowed to send as this"),
        ("MAIL", Mischief.STALL),
        ("RCPT", "421 4.3.2 shutting down"),
        ("RCPT", "530 5.7.0 log in"),
        ("RCPT", Mischief.HANG_UP),
        ("DATA", "421 4.3.2 shutting down"),
        ("DATA", Mischief.STALL),
    ],
    ids=str,
)
def test_fault_of_the_server(
    engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink, *, stage: str, answer: Answer
) -> None:
    """No message is charged, few are tried, the run is red with cause and remedy; later all are sent."""
    numbers = queue(*READERS)
    sink.answer(stage, answer)
    with pytest.raises(SenderFault) as caught:
        drain(engine, channel(sink.port, max_connections=2, timeout=1, retry_limit=0))
    assert caught.value.remedy
    messages = [read(connection, number) for number in numbers]
    assert {message.status.value for message in messages} == {"queued"}
    assert {one.outcome for message in messages for one in message.tries} <= {"sender_fault"}
    assert sum(len(message.tries) for message in messages) <= 4
    assert sink.sessions <= 4
    sink.behave()
    make_due(connection)
    assert drain(engine, channel(sink.port)).accepted == len(READERS)
    assert len(sink.taken) == len(READERS)


def test_refused_login(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A password that is refused costs one try of the run, and no message."""
    with SmtpSink(users={"clerk": "another"}) as strict:
        numbers = queue(*READERS)
        with pytest.raises(SenderFault, match="535"):
            drain(engine, channel(strict.port, login="clerk", max_connections=4))
        assert strict.sessions == 1
    assert {read(connection, number).status.value for number in numbers} == {"queued"}


def test_login_runs_out(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A session that must log in once more is opened anew; the message that it was at steps aside for a minute."""
    with SmtpSink(users={"clerk": PASSWORD}) as strict:
        numbers = queue(*READERS)
        strict.answer("MAIL", "530 5.7.57 client not authenticated", times=1, skip=3)
        result = drain(engine, channel(strict.port, login="clerk", max_connections=1))
        assert (result.accepted, result.waiting) == (len(READERS) - 1, 1)
        make_due(connection)
        assert drain(engine, channel(strict.port, login="clerk")).accepted == 1
    assert [one.outcome for number in numbers for one in read(connection, number).tries].count("sender_fault") == 1


@pytest.mark.parametrize("lie", list(Lie), ids=str)
def test_offers_that_are_not_kept(engine: Engine, connection: Connection, queue: Queue, lie: Lie) -> None:
    """A server that offers what it does not do gets every message once, at the latest with the next run."""
    with SmtpSink(lies=[lie]) as liar:
        queue(*READERS)
        made = channel(liar.port, max_connections=1, timeout=1)
        drain(engine, made)
        make_due(connection)
        drain(engine, made)
        assert sorted(rcpt for mail in liar.taken for rcpt in mail.rcpts) == READERS


def test_encryption_breaks_off(
    engine: Engine, connection: Connection, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encryption that breaks off again and again ends the run with a named fault; no message is charged."""
    certificate = Certificate.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))

    def play(peer: Peer) -> None:
        peer.encrypt(certificate.context())
        peer.greet("PIPELINING")
        peer.expect("MAIL")
        peer.garbage()

    numbers = queue(ANNA, BOB)
    with raw_server(play) as port, pytest.raises(SenderFault, match="the session ended at MAIL"):
        drain(engine, channel(port, disable_ssl=False, max_connections=1, timeout=5))
    assert {read(connection, number).status.value for number in numbers} == {"queued"}


# --- the table --------------------------------------------------------------------------------------------------------


def test_table_has_every_fault() -> None:
    """The table for operators names every reply code that these tests make happen."""
    table = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    marks = [*_marks(test_fault_of_one_message), *_marks(test_fault_of_the_server)]
    codes = {found[1] for mark in marks if (found := re.match(r"b?'?(\d{3}) ", repr(mark[1]).strip('"')))}
    assert codes
    assert not {code for code in codes if code not in table}


def _marks(test: Callable[..., object]) -> list[tuple[object, ...]]:
    [mark] = [mark for mark in test.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    return list(mark.args[1])
