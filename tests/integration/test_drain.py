"""Draining on a real PostgreSQL through a real SMTP server: what is sent, what goes back, and what the limit holds."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from sqlalchemy.engine import Connection, Engine

from notify.channels.base import Channel, Parcel
from notify.channels.memory import MemoryChannel
from notify.channels.smtp import SmtpChannel
from notify.crew import Crew
from notify.domain.drain import Drain
from notify.domain.outcome import Outcome, Verdict
from notify.drain import FAULTS_BEFORE_CHARGE, Drainer, DrainResult
from notify.exceptions import LeaseLost, SenderFault
from notify.handover import hand_over
from notify.operators import NotificationsOperator
from notify.sessions import Report
from notify.settings import HandOverSettings
from notify.storage import attempts, drains, limits, outbox, register, suppressions, unsubscriptions, waiting
from notify.storage.attempts import Settlement
from notify.storage.register import RegisteredMessage
from tests.smtp_sink import HOST, Mischief, SmtpSink

SENDER = "smtp_default"
ANNA, BOB, CYRIL = "anna@example.com", "bob@example.com", "cyril@example.org"

#: What no log may hold.
SECRETS = ("Sesame", "wonderland", "example.com", "example.org", "s3cret")


@pytest.fixture(autouse=True)
def _no_secret_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """In every test here, no record of ours holds a subject, a body, a recipient's address or a password."""
    caplog.set_level(logging.DEBUG, logger="notify")
    yield
    ours = [record for record in caplog.get_records("call") if record.name.startswith("notify")]
    for record in ours:
        text = logging.Formatter().format(record)
        assert not [secret for secret in SECRETS if secret in text], text


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    """A server that records what it takes."""
    with SmtpSink() as running:
        yield running
        running.behave()
        assert running.wait_closed(), "a connection was left open"


def smtp(sink: SmtpSink, **extra: object) -> SmtpChannel:
    extras = {"disable_ssl": True, "disable_tls": True, "from_email": "notify@firm.example", "timeout": 10} | extra
    login = extras.pop("login", None)
    described = AirflowConnection(
        conn_id=SENDER,
        conn_type="smtp",
        host=HOST,
        port=sink.port,
        login=str(login) if login else None,
        password="s3cret-pa55word" if login else None,
        extra=json.dumps(extras),
    )
    return SmtpChannel(SENDER, described)


#: Fields in; the numbers of the messages out.
Queue = Callable[..., list[int]]


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand messages over, and commit."""

    def call(
        recipient: Any = ANNA, *, count: int = 1, using: HandOverSettings = hand_over_settings, **fields: Any
    ) -> list[int]:
        numbers = []
        for _ in range(count):
            given = {"recipient": recipient, "subject": "Open Sesame", "message": "A tale of wonderland."} | fields
            numbers += [message.id for message in hand_over(connection, given, using).messages]
        connection.commit()
        return numbers

    return call


def drain(engine: Engine, channel: Channel, limit: int | None = -1, **plan: Any) -> DrainResult:
    return Drainer(engine, channel, SENDER, limit=limit, **plan).run()


def read(connection: Connection, number: int) -> RegisteredMessage:
    connection.rollback()
    message = register.read(connection, number)
    connection.rollback()
    return message


def states(connection: Connection, numbers: list[int]) -> list[str]:
    return [read(connection, number).status.value for number in numbers]


def do(connection: Connection, statement: str, **values: object) -> int:
    changed = connection.execute(sa.text(statement), values).rowcount
    connection.commit()
    return changed


def value(connection: Connection, query: str) -> Any:
    connection.rollback()
    found = connection.scalar(sa.text(query))
    connection.rollback()
    return found


def make_due(connection: Connection) -> None:
    """What waits for a later moment is due now."""
    do(connection, "update notify.messages set not_before = now() where status = 'queued' and not_before > now()")


def age(connection: Connection, by: timedelta) -> None:
    """All that has happened, happened so much earlier."""
    do(
        connection,
        """
        with a as (update notify.attempts set claimed_at = claimed_at - :by, begun_at = begun_at - :by,
                   ended_at = ended_at - :by)
        update notify.messages set first_tried_at = first_tried_at - :by, not_before = not_before - :by
        """,
        by=by,
    )


# --- Sent ------------------------------------------------------------------------------------------------------------


def test_accepted(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """What is due arrives, once, and its attempt, its recipients and its history are on record."""
    [number] = queue()
    result = drain(engine, smtp(sink), dag_id="Notifications", run_id="run_1")
    assert (result.accepted, result.waiting, result.stopped) == (1, 0, "nothing more is due")
    message = read(connection, number)
    [mail] = sink.taken
    assert mail.parsed["Message-ID"] == message.message_id
    assert mail.rcpts == (ANNA,)
    assert message.status == "sent"
    assert message.sent_at is not None
    assert [(one.outcome, one.code) for one in message.tries] == [("accepted", 250)]
    assert [one.outcome for one in message.recipients] == ["accepted"]
    assert [(event.from_status, event.to_status, event.actor) for event in message.events] == [
        ("queued", "sending", "Notifications/run_1"),
        ("sending", "sent", "Notifications/run_1"),
    ]
    assert drain(engine, smtp(sink)).accepted == 0
    assert len(sink.taken) == 1


def test_nothing_due(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """Without anything due, no connection is opened, and the run says so."""
    assert drain(engine, smtp(sink)).stopped == "nothing more is due"
    queue(send_after="PT1H")
    queue(sender="smtp_second")
    result = drain(engine, smtp(sink))
    assert (result.accepted, result.waiting, result.held_back) == (0, 1, 0)
    assert sink.sessions == 0


def test_sessions(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """Several sessions share the work, and there are never more than the connection allows."""
    queue([f"r{number}@example.com" for number in range(60)])
    sink.answer("END", None, delay=0.02)
    assert drain(engine, smtp(sink, max_connections=3)).accepted == 60
    assert sink.most_sessions == sink.sessions == 3
    assert len({mail.parsed["Message-ID"] for mail in sink.taken}) == len(sink.taken) == 60


def test_one_session(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """Where one connection is allowed, one is used, for all messages."""
    queue([f"r{number}@example.com" for number in range(30)])
    drain(engine, smtp(sink, max_connections=1))
    assert sink.sessions == 1
    assert len(sink.taken) == 30


def test_fewer_sessions_than_wanted(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """A server that takes only one connection gets the whole queue through it, and is not asked again and again."""
    queue([f"r{number}@example.com" for number in range(60)])
    sink.answer("CONNECT", b"421 4.7.0 too many connections\r\n", skip=1)
    assert drain(engine, smtp(sink, max_connections=4)).accepted == 60
    assert sink.sessions <= 4


def test_order(engine: Engine, queue: Queue, connection: Connection) -> None:
    """Urgent goes before normal, normal before bulk; within each, what has waited longest goes first."""
    wanted = {name: queue(f"{name}@example.com", count=2, priority=name) for name in ("bulk", "normal", "urgent")}
    channel = MemoryChannel(max_connections=1)
    drain(engine, channel)
    ids = {read(connection, number).message_id: number for numbers in wanted.values() for number in numbers}
    sent = [ids[mail.message_id] for mail in channel.outbox]
    assert sent == wanted["urgent"] + wanted["normal"] + wanted["bulk"]


def test_urgent_overtakes(engine: Engine, queue: Queue) -> None:
    """An urgent message that comes during a long run does not wait for the run's end."""
    queue([f"r{number}@example.com" for number in range(60)])
    channel = Slow(after=5, then=lambda: queue("urgent@example.com", priority="urgent"))
    drain(engine, channel)
    place = [mail.recipients[0] for mail in channel.outbox].index("urgent@example.com")
    assert place < 30


class Slow(MemoryChannel):
    """One session; something happens while it sends a message.

    :param after: messages before it
    :param then: what happens
    """

    def __init__(self, *, after: int, then: Callable[[], object], max_connections: int = 1) -> None:
        super().__init__(max_connections=max_connections)
        self._countdown = after
        self._then = then

    def deliver(self, parcel: Parcel) -> tuple[Outcome, bool]:
        with self._lock:
            self._countdown -= 1
            now = self._countdown == 0
        if now:
            self._then()
        return super().deliver(parcel)


def test_enclosures(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """Attachments arrive byte for byte."""
    content = bytes(range(256)) * 2000
    queue(attachments=[{"filename": "a.pdf", "content": content}, {"filename": "b.txt", "content": b"."}])
    drain(engine, smtp(sink))
    [mail] = sink.taken
    parts = [(part.get_filename(), part.get_payload(decode=True)) for part in mail.parsed.iter_attachments()]
    assert parts == [("a.pdf", content), ("b.txt", b".")]


# --- Refused ---------------------------------------------------------------------------------------------------------


def test_one_of_three_refused(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A refused recipient stops nobody else, and is on record with the server's words and in the result."""
    [number] = queue([ANNA, BOB, CYRIL], one_mail=True)
    sink.answer("RCPT", "550 5.1.1 no such mailbox", address=BOB)
    result = drain(engine, smtp(sink))
    assert (result.accepted, result.failed, result.refused_recipients) == (1, 0, 1)
    assert [mail.rcpts for mail in sink.taken] == [(ANNA, CYRIL)]
    message = read(connection, number)
    assert [(one.address, one.outcome, one.code) for one in message.recipients] == [
        (ANNA, "accepted", 250),
        (BOB, "permanent", 550),
        (CYRIL, "accepted", 250),
    ]
    assert message.recipients[1].response == "5.1.1 no such mailbox"
    assert "1 of 3 recipients refused" in str(message.status_reason)


def test_all_refused(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A message that nobody may have fails with the server's words, and stops no other."""
    [bad], [good] = queue(BOB), queue(ANNA)
    sink.answer("RCPT", "550 5.1.1 no such mailbox", address=BOB)
    result = drain(engine, smtp(sink))
    assert (result.accepted, result.failed) == (1, 1)
    assert states(connection, [bad, good]) == ["failed", "sent"]
    assert read(connection, bad).status_reason == "refused: 550 5.1.1 no such mailbox"


def test_twice_refused_for_now(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """Refused for now, a message waits a minute, then five, and leaves as the same message."""
    [number] = queue()
    sink.answer("END", "451 4.3.0 try again later", times=2)
    for waited in (1, 5):
        assert drain(engine, smtp(sink)).retried == 1
        assert drain(engine, smtp(sink)).accepted == 0  # not before its time
        wait = read(connection, number).not_before - datetime.now(UTC)
        assert timedelta(minutes=waited * 0.9) < wait < timedelta(minutes=waited * 1.2)
        make_due(connection)
    assert drain(engine, smtp(sink)).accepted == 1
    message = read(connection, number)
    assert [(one.outcome, one.code) for one in message.tries] == [
        ("temporary", 451),
        ("temporary", 451),
        ("accepted", 250),
    ]
    assert {mail.parsed["Message-ID"] for mail in sink.received} == {message.message_id}


def test_only_those_not_reached(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """After a greylisted recipient, only that one gets the message again; the others keep their one copy."""
    [number] = queue([ANNA, BOB, CYRIL], one_mail=True)
    sink.answer("RCPT", "450 4.2.0 greylisted", address=BOB, times=1)
    assert drain(engine, smtp(sink)).retried == 1
    make_due(connection)
    assert drain(engine, smtp(sink)).accepted == 1
    assert [mail.rcpts for mail in sink.taken] == [(ANNA, CYRIL), (BOB,)]
    assert states(connection, [number]) == ["sent"]


@pytest.mark.parametrize("reached", [True, False])
def test_given_up(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink, *, reached: bool) -> None:
    """After 72 hours of refusals a message is given up with the last reason; who got it has got it."""
    [number] = queue([ANNA, BOB] if reached else [BOB], one_mail=True)
    sink.answer("RCPT", "450 4.2.2 mailbox full", address=BOB)
    drain(engine, smtp(sink))
    age(connection, timedelta(hours=71))
    assert drain(engine, smtp(sink)).retried == 1
    age(connection, timedelta(hours=2))
    make_due(connection)
    result = drain(engine, smtp(sink))
    assert (result.retried, result.failed, result.accepted) == ((0, 0, 1) if reached else (0, 1, 0))
    message = read(connection, number)
    assert message.status == ("sent" if reached else "failed")
    assert "given up after 72 hours" in str(message.status_reason)
    assert "mailbox full" in str(message.status_reason)


# --- In doubt --------------------------------------------------------------------------------------------------------


def test_answer_lost(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """When the answer is lost, the message goes back to the queue and arrives again as the same message."""
    [number] = queue()
    sink.answer("END", Mischief.RESET, times=1)
    result = drain(engine, smtp(sink))
    assert (result.accepted, result.retried) == (0, 1)
    assert read(connection, number).tries[0].outcome == "in_doubt"
    make_due(connection)
    assert drain(engine, smtp(sink)).accepted == 1
    message_id = read(connection, number).message_id
    assert [mail.parsed["Message-ID"] for mail in sink.taken] == [message_id] * 2


def test_answer_lost_at_most_once(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A message that may never be repeated becomes uncertain when its answer is lost, and is not sent again."""
    [number], [other] = queue(guarantee="at_most_once"), queue()
    sink.answer("END", Mischief.RESET, times=1)
    result = drain(engine, smtp(sink, max_connections=1))
    assert (result.accepted, result.uncertain) == (1, 1)
    age(connection, timedelta(hours=100))
    drain(engine, smtp(sink))
    message = read(connection, number)
    assert message.status == "uncertain"
    assert [one.outcome for one in message.recipients] == ["in_doubt"]
    ids = [mail.parsed["Message-ID"] for mail in sink.taken]
    assert sorted(ids) == sorted([message.message_id, read(connection, other).message_id])


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_lost_before_the_message(
    engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink, guarantee: str
) -> None:
    """A connection lost before the message was taken leaves no doubt: it goes on, whatever its guarantee."""
    queue(guarantee=guarantee)
    sink.answer("MAIL", Mischief.RESET, times=1)
    drain(engine, smtp(sink))
    make_due(connection)
    assert drain(engine, smtp(sink)).accepted == 1
    assert len(sink.taken) == 1


# --- The sender's fault ----------------------------------------------------------------------------------------------


def test_server_down(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A server that is down fails the run with cause and remedy; nothing is charged, and the next run delivers."""
    numbers = queue(count=3)
    with SmtpSink() as gone:
        port = gone.port
        down = smtp(gone)
    with pytest.raises(SenderFault) as caught:
        drain(engine, down)
    assert str(port) in caught.value.cause
    assert "Admin → Connections" in caught.value.remedy
    assert states(connection, numbers) == ["queued"] * 3
    assert value(connection, "select sum(attempts + refusals) from notify.messages") == 0
    assert value(connection, "select count(*) from notify.attempts") == 0
    assert value(connection, "select last_fault from notify.senders") == caught.value.cause
    assert value(connection, "select last_remedy from notify.senders") == caught.value.remedy
    with SmtpSink(port=port) as back:
        assert drain(engine, smtp(back)).accepted == 3
        assert back.wait_closed()
    assert value(connection, "select last_fault from notify.senders") is None


def test_bad_login(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A refused login fails the run without charging a message and without telling the password."""
    numbers = queue(count=2)
    with SmtpSink(users={"clerk": "another"}) as sink:
        with pytest.raises(SenderFault, match="refused the login") as caught:
            drain(engine, smtp(sink, login="clerk"))
        assert sink.wait_closed()
    assert "s3cret" not in str(caught.value)
    assert states(connection, numbers) == ["queued"] * 2
    assert value(connection, "select count(*) from notify.attempts") == 0


def test_closing_time(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A server that says 421 at MAIL, always, is the sender's trouble: everything waits, nothing is refused."""
    numbers = queue(count=6)
    sink.answer("MAIL", "421 4.3.2 closing")
    with pytest.raises(SenderFault, match="421"):
        drain(engine, smtp(sink))
    assert states(connection, numbers) == ["queued"] * 6
    assert value(connection, "select sum(refusals) from notify.messages") == 0
    assert sink.taken == []
    sink.behave()
    make_due(connection)
    assert drain(engine, smtp(sink), limit=6).accepted == 6  # what the server did not take has cost no slot


def test_closing_once(engine: Engine, queue: Queue, connection: Connection, sink: SmtpSink) -> None:
    """A server that says 421 once is asked again on a new connection; the queue goes on."""
    queue(count=4)
    sink.answer("MAIL", "421 4.3.2 closing", times=1)
    result = drain(engine, smtp(sink, max_connections=1))
    assert (result.accepted, result.released) == (3, 1)
    make_due(connection)
    assert drain(engine, smtp(sink)).accepted == 1


def test_poison(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A message at which the server always hangs up stops no other, and is charged only when others get through."""
    [poison] = queue(BOB)
    sink.answer("RCPT", Mischief.HANG_UP, address=BOB)
    for _ in range(FAULTS_BEFORE_CHARGE):
        queue(count=3)
        assert drain(engine, smtp(sink, max_connections=1)).accepted == 3
        assert read(connection, poison).tries[-1].outcome == "sender_fault"
        make_due(connection)
    assert value(connection, f"select refusals from notify.messages where id = {poison}") == 0
    drain(engine, smtp(sink, max_connections=1))  # alone: the server may be at fault
    assert value(connection, f"select refusals from notify.messages where id = {poison}") == 0
    make_due(connection)
    queue(count=3, priority="urgent")
    result = drain(engine, smtp(sink, max_connections=1))
    assert (result.accepted, result.retried) == (3, 1)
    assert value(connection, f"select refusals from notify.messages where id = {poison}") == 1
    assert "RCPT" in str(read(connection, poison).status_reason)


def test_unexpected_exception(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A bug in a channel is doubt about one message, not the end of the queue."""
    numbers = queue(count=3)

    def fail() -> None:
        raise ZeroDivisionError

    result = drain(engine, Slow(after=1, then=fail))
    assert (result.accepted, result.retried) == (2, 1)
    assert "ZeroDivisionError" in str(read(connection, numbers[0]).status_reason)


# --- What is no longer whole -----------------------------------------------------------------------------------------


def test_erased(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A message whose content was erased while it waited fails and says so; nobody gets an empty mail."""
    erased, rest = queue(count=2), queue(count=2, message="Another tale")
    do(connection, f"update notify.messages set content_id = null where id in ({erased[0]}, {erased[1]})")
    result = drain(engine, smtp(sink))
    assert (result.accepted, result.failed) == (2, 2)
    assert states(connection, erased + rest) == ["failed", "failed", "sent", "sent"]
    assert "erased" in str(read(connection, erased[0]).status_reason)


def test_recipients_erased(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A message whose recipients were erased fails, alone in the queue as well."""
    [number] = queue()
    do(connection, "delete from notify.recipients")
    assert drain(engine, smtp(sink)).failed == 1
    assert states(connection, [number]) == ["failed"]
    assert sink.taken == []


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_damaged_storage(  # noqa: PLR0917 - pytest passes them by name
    engine: Engine,
    connection: Connection,
    queue: Queue,
    hand_over_settings: HandOverSettings,
    tmp_path: Path,
    damage: str,
) -> None:
    """A file that object storage lost or changed keeps back its own message, with the reason, and no other."""
    own = replace(hand_over_settings, attachment_store=f"file://{tmp_path}")
    [damaged] = queue(attachments=[{"filename": "a.bin", "content": b"one"}], using=own)
    [file] = tmp_path.iterdir()
    whole = queue(attachments=[{"filename": "b.bin", "content": b"two"}], using=own) + queue()
    if damage == "changed":
        file.write_bytes(b"other")
    else:
        file.unlink()
    channel = MemoryChannel()
    result = drain(engine, channel)
    assert (result.accepted, result.retried) == (2, 1)
    assert states(connection, [damaged, *whole]) == ["queued", "sent", "sent"]
    assert file.name in str(read(connection, damaged).status_reason)
    file.write_bytes(b"one")
    make_due(connection)
    drain(engine, channel)
    assert channel.outbox[-1].attachments[0].content == b"one"


# --- The limit -------------------------------------------------------------------------------------------------------


def test_limit(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """With a pool of 5, five of twelve arrive; seven are held back, and the result says until when."""
    numbers = queue(count=12)
    result = drain(engine, smtp(sink), limit=5)
    assert (result.accepted, result.held_back, result.waiting, result.stopped) == (5, 7, 7, "the limit is reached")
    assert len(sink.taken) == 5
    first_end = value(connection, "select min(ended_at) from notify.attempts")
    assert result.next_slot_at == (first_end + timedelta(hours=1)).isoformat(timespec="seconds")
    assert states(connection, numbers) == ["sent"] * 5 + ["queued"] * 7
    before = sink.sessions
    again = drain(engine, smtp(sink), limit=5)
    assert (again.accepted, again.held_back, again.stopped) == (0, 7, "the limit is reached")
    assert sink.sessions == before, "a limit that is used up must not even connect"
    age(connection, timedelta(minutes=59))
    assert drain(engine, smtp(sink), limit=5).accepted == 0
    age(connection, timedelta(minutes=1, seconds=1))
    assert drain(engine, smtp(sink), limit=5).accepted == 5


def test_next_slot_after_a_cut(engine: Engine, connection: Connection, queue: Queue) -> None:
    """After the limit was lowered, the next slot is when enough of the window has passed, not the first to leave it."""
    queue(count=5)
    drain(engine, MemoryChannel(), limit=10)
    do(
        connection,
        "update notify.attempts set ended_at = now() - number_in_row * interval '10 minutes' from ("
        "select id as this, row_number() over (order by id) as number_in_row from notify.attempts) n where id = this",
    )
    queue(count=1)
    result = drain(engine, MemoryChannel(), limit=2)  # ended 10, 20, 30, 40 and 50 minutes ago
    assert result.held_back == 1
    assert result.next_slot_at is not None
    wait = datetime.fromisoformat(result.next_slot_at) - datetime.now(UTC)
    assert timedelta(minutes=39) < wait < timedelta(minutes=41)


def test_limit_zero(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """A pool of no slots holds everything and does not connect; no time is promised."""
    queue(count=2)
    drain(engine, MemoryChannel(), limit=1)
    result = drain(engine, smtp(sink), limit=0)
    assert (result.accepted, result.held_back, result.next_slot_at) == (0, 1, None)
    assert sink.sessions == 0


def test_no_limit(engine: Engine, queue: Queue) -> None:
    """A pool of -1 has no limit."""
    queue([f"r{number}@example.com" for number in range(150)])
    result = drain(engine, MemoryChannel(), limit=-1)
    assert (result.accepted, result.held_back) == (150, 0)


def test_limit_not_known(engine: Engine, queue: Queue) -> None:
    """Without a limit in the run, the last one known applies, else 100."""
    queue([f"r{number}@example.com" for number in range(120)])
    assert (first := drain(engine, MemoryChannel(), limit=None)).accepted == 100
    assert first.limit == 100
    assert drain(engine, MemoryChannel(), limit=103).accepted == 3
    result = drain(engine, MemoryChannel(), limit=None)
    assert (result.limit, result.accepted) == (103, 0)


def test_refused_tokens_count(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """What the server refused was an attempt too: it counts, so the server never sees more than the limit."""
    queue(count=4)
    sink.answer("END", "451 4.3.0 try again later", times=2)
    result = drain(engine, smtp(sink), limit=3)
    assert (result.retried, result.accepted, result.held_back) == (2, 1, 1)
    assert len(sink.received) == 3


def test_bulk_share(engine: Engine, queue: Queue) -> None:
    """Bulk takes at most 80 % of the slots; the rest stays free for what matters."""
    queue([f"b{number}@example.com" for number in range(20)], priority="bulk")
    result = drain(engine, MemoryChannel(), limit=10)
    assert (result.accepted, result.held_back) == (8, 12)
    queue(count=3)
    channel = MemoryChannel()
    assert drain(engine, channel, limit=10).accepted == 2
    assert all(mail.recipients == (ANNA,) for mail in channel.outbox)


def test_next_slot_of_bulk(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What waits for the share of bulk is promised a slot when bulk leaves the window, not when anything does."""
    queue(count=1)
    drain(engine, MemoryChannel(), limit=10)
    do(connection, "update notify.attempts set ended_at = ended_at - interval '50 minutes'")
    queue([f"b{number}@example.com" for number in range(9)], priority="bulk")
    result = drain(engine, MemoryChannel(), limit=10)
    assert (result.accepted, result.held_back) == (8, 1)
    assert result.next_slot_at is not None
    assert datetime.fromisoformat(result.next_slot_at) - datetime.now(UTC) > timedelta(minutes=58)


def test_priorities_share_the_limit(engine: Engine, queue: Queue) -> None:
    """A limit is spent on urgent first, then on normal, then on bulk."""
    for name in ("bulk", "normal", "urgent"):
        queue([f"{name}{number}@example.com" for number in range(4)], priority=name)
    channel = MemoryChannel(max_connections=1)
    drain(engine, channel, limit=7)
    kinds = [mail.recipients[0][:4] for mail in channel.outbox]
    assert kinds == ["urge"] * 4 + ["norm"] * 3


def test_senders_have_limits_of_their_own(engine: Engine, queue: Queue) -> None:
    """One sender's messages cost the other nothing."""
    queue(count=3)
    queue(count=3, sender="smtp_second")
    assert drain(engine, MemoryChannel(), limit=2).accepted == 2
    assert Drainer(engine, MemoryChannel(), "smtp_second", limit=2).run().accepted == 2


def test_sender_that_nobody_serves(
    engine: Engine,
    connection: Connection,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Messages of a sender that was taken out of notify_senders wait; each run of the others says so."""
    queue(count=2, sender="smtp_second")
    queue()
    assert waiting.unserved(connection, [SENDER, "smtp_second"]) == {}
    assert waiting.unserved(connection, ["smtp_second"]) == {SENDER: 1}
    assert waiting.unserved(connection, []) == {SENDER: 1, "smtp_second": 2}
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SENDERS", json.dumps([SENDER]))
    monkeypatch.setattr("notify.settings.database_url", lambda: None)
    monkeypatch.setattr("notify.storage.engine.engine_for", lambda _url: engine)
    monkeypatch.setattr("notify.channels.channel_for", lambda _sender: MemoryChannel())
    run = SimpleNamespace(dag_id="Notifications", run_id="r", conf={"hourly_limits": {SENDER: 5}})
    result = NotificationsOperator(task_id=SENDER, sender=SENDER).execute({"dag_run": run})  # type: ignore[typeddict-item]
    assert result["accepted"] == 1
    assert "2 messages wait for the sender smtp_second, which no run serves" in caplog.text
    assert f"wait for the sender {SENDER}," not in caplog.text


# --- Time ------------------------------------------------------------------------------------------------------------


def test_budget(engine: Engine, connection: Connection, queue: Queue) -> None:
    """When the time is spent, nothing new is begun; what was reserved goes back with its tokens."""
    numbers = queue(count=40)
    channel = Slow(after=3, then=lambda: time.sleep(0.6))
    result = drain(engine, channel, limit=40, budget=timedelta(seconds=0.5))
    assert result.stopped == "the time budget is spent"
    assert 3 <= result.accepted < 20
    assert result.held_back == 0
    assert result.waiting == 40 - result.accepted
    assert value(connection, "select count(*) from notify.attempts") == result.accepted
    assert drain(engine, MemoryChannel(), limit=40).accepted == 40 - result.accepted
    assert set(states(connection, numbers)) == {"sent"}


def test_stop(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A polite stop finishes what has begun and releases the rest, as if it had never been claimed."""
    numbers = queue(count=40)
    stop = threading.Event()
    channel = Slow(after=5, then=stop.set)
    result = drain(engine, channel, stop=stop)
    assert result.stopped == "stopped politely"
    assert result.accepted == len(channel.outbox) == 5
    assert result.released > 0
    assert value(connection, "select sum(attempts) from notify.messages") == 5
    assert states(connection, numbers) == ["sent"] * 5 + ["queued"] * 35
    released = read(connection, numbers[6])
    assert released.tries == ()
    assert released.status_reason == "released: stopped politely"


def test_expired(engine: Engine, connection: Connection, queue: Queue, sink: SmtpSink) -> None:
    """What may no longer be sent becomes expired, also when the limit would have held it; the rest goes."""
    [late], [fresh] = queue(expires_after="PT1H"), queue(expires_after="PT1H")
    do(connection, f"update notify.messages set expires_at = now() - interval '1 second' where id = {late}")
    result = drain(engine, smtp(sink), limit=0)
    assert (result.expired, result.held_back) == (1, 1)
    assert states(connection, [late, fresh]) == ["expired", "queued"]
    assert drain(engine, smtp(sink)).accepted == 1
    assert len(sink.taken) == 1


def test_expiring_during_the_run(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What expires during a run is neither sent nor taken for held back by the limit."""
    queue(count=1)
    [late] = queue(send_after="PT1H", expires_after="PT2H")
    expire = f"update notify.messages set not_before = now(), expires_at = now() where id = {late}"
    channel = Slow(after=1, then=lambda: do(connection, expire))
    result = drain(engine, channel)
    assert (result.accepted, result.held_back, result.stopped) == (1, 0, "nothing more is due")


def test_expiring_while_reserved(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What becomes too late while it is reserved, behind another, is not sent, and its slot is given back."""
    queue()
    [late] = queue(expires_after="PT1H")
    expire = f"update notify.messages set expires_at = now() where id = {late}"
    channel = Slow(after=1, then=lambda: do(connection, expire))
    result = drain(engine, channel, limit=10)
    assert (result.accepted, result.expired, result.waiting) == (1, 1, 0)
    assert states(connection, [late]) == ["expired"]
    assert value(connection, "select count(*) from notify.attempts") == 1


def test_several_expiring_while_reserved(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Messages that become too late together, while they are reserved, end no run; what comes after them is sent."""
    queue()
    late, [fresh] = queue(count=5, expires_after="PT1H"), queue()
    expire = f"update notify.messages set expires_at = now() where id = any(array{late})"
    channel = Slow(after=1, then=lambda: do(connection, expire))
    result = drain(engine, channel, limit=10)
    assert (result.accepted, result.expired, result.waiting) == (2, 5, 0)
    assert states(connection, [*late, fresh]) == ["expired"] * 5 + ["sent"]
    assert value(connection, "select count(*) from notify.attempts") == 2


def test_suppressed_while_reserved(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Who comes onto the suppression list gets nothing of what is reserved or queued; others of a message do."""
    queue(["first@example.com"])
    alone = queue(["Gone@example.com"], count=2)
    [shared] = queue(["gone@example.com", "here@example.com"], one_mail=True)
    [lapsed] = queue(["lapsed@example.com"])

    def list_them() -> None:
        suppressions.add(connection, "gone@example.com", "it bounced", None)
        suppressions.add(connection, "lapsed@example.com", "it bounced", timedelta(seconds=-1))
        connection.commit()

    channel = Slow(after=1, then=list_them)
    result = drain(engine, channel, limit=10)
    assert (result.accepted, result.suppressed, result.waiting) == (3, 2, 0)
    assert states(connection, [*alone, shared, lapsed]) == ["suppressed", "suppressed", "sent", "sent"]
    assert read(connection, alone[0]).status_reason == "on the suppression list: it bounced"
    assert [one.outcome for one in read(connection, shared).recipients] == ["permanent", "accepted"]
    assert value(connection, "select count(*) from notify.attempts") == 3


def test_unsubscribed_while_reserved(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Who wants no more bulk mail gets nothing of it that is reserved; other mail to them, and others, go on."""
    queue(["first@example.com"], priority="bulk")
    [alone] = queue(["Gone@example.com"], priority="bulk")
    [shared] = queue(["gone@example.com", "here@example.com"], one_mail=True, priority="bulk")
    [other] = queue(["gone@example.com"])

    def unsubscribe() -> None:
        unsubscriptions.add(connection, "gone@example.com", unsubscriptions.BULK, "reader")
        connection.commit()

    result = drain(engine, Slow(after=1, then=unsubscribe), limit=-1)
    assert states(connection, [alone, shared, other]) == ["suppressed", "sent", "sent"]
    assert (result.accepted, result.suppressed, result.waiting) == (3, 1, 0)
    assert read(connection, alone).status_reason == unsubscriptions.UNSUBSCRIBED
    assert [one.outcome for one in read(connection, shared).recipients] == ["permanent", "accepted"]


def test_unsubscribed_before_it_is_tried_again(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What was under way when its reader unsubscribed, and was not taken, is not sent when its time comes."""
    [number] = queue(["gone@example.com"], priority="bulk")
    channel = MemoryChannel()
    channel.refuse("gone@example.com", Verdict.TEMPORARY, 450, "later")
    assert drain(engine, channel).retried == 1
    unsubscriptions.add(connection, "gone@example.com", unsubscriptions.BULK, "reader")
    do(connection, f"update notify.messages set not_before = now() where id = {number}")
    connection.commit()
    assert drain(engine, channel).suppressed == 1
    assert states(connection, [number]) == ["suppressed"]


def test_suppressed_while_queued(engine: Engine, connection: Connection, queue: Queue) -> None:
    """By whatever way an address comes onto the list: what is queued for it then is not sent."""
    [number] = queue(["gone@example.com"])
    suppressions.add(connection, "gone@example.com", "asked for it", None)
    connection.commit()
    channel = MemoryChannel()
    assert drain(engine, channel).suppressed == 1
    assert channel.outbox == []
    assert states(connection, [number]) == ["suppressed"]


def test_expired_in_a_persons_hands(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A late message that a person is just moving holds no run up; theirs is the last word."""
    [late], [fresh] = queue(expires_after="PT1H"), queue()
    do(connection, f"update notify.messages set expires_at = now() - interval '1 second' where id = {late}")
    outbox.hold(connection, late)  # not committed yet
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(drain, engine, MemoryChannel())
        try:
            assert run.result(10).accepted == 1
        finally:
            connection.commit()
    assert states(connection, [late, fresh]) == ["held", "sent"]


def test_send_after(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What is for later waits, whatever else is sent."""
    [later], [now] = queue(send_after="PT1H"), queue()
    channel = MemoryChannel()
    result = drain(engine, channel)
    assert (result.accepted, result.waiting, result.held_back) == (1, 1, 0)
    assert states(connection, [later, now]) == ["queued", "sent"]
    make_due(connection)
    assert drain(engine, channel).accepted == 1


def test_held_are_not_sent(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Held, cancelled and suppressed messages are not sent."""
    numbers = queue(count=3)
    outbox.hold(connection, numbers[0])
    outbox.cancel(connection, numbers[1])
    outbox.suppress(connection, numbers[2], "on the list")
    connection.commit()
    channel = MemoryChannel()
    drain(engine, channel)
    assert channel.outbox == []


# --- Several drains, and drains that die -----------------------------------------------------------------------------


def test_two_drains_at_once(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """Two drains of one sender share the queue: no message leaves twice, and together they keep the limit."""
    queue([f"r{number}@example.com" for number in range(120)])
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: drain(engine, smtp(sink), limit=100), range(2)))
    ids = [mail.parsed["Message-ID"] for mail in sink.taken]
    assert len(set(ids)) == len(ids) == 100
    assert sum(result.accepted for result in results) == 100


def test_alone(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A run that is to be alone leaves the queue to the one that is at it, says who that is, and holds nobody up."""
    queue(count=3)
    results: list[DrainResult] = []
    channel = Slow(after=1, then=lambda: results.append(drain(engine, MemoryChannel(), alone=True, limit=7)))
    first = drain(engine, channel, alone=True, dag_id="Notifications", run_id="one")
    [second] = results
    assert (second.accepted, second.limit, second.held_back) == (0, 7, 0)
    assert second.stopped.startswith("another run is at it (Notifications/one, ")
    assert (first.accepted, first.limit) == (3, -1)
    assert value(connection, "select hourly_limit from notify.senders") == -1
    assert drain(engine, MemoryChannel(), alone=True).stopped == "nothing more is due"


def test_alone_in_a_race(engine: Engine, queue: Queue) -> None:
    """Of many runs that start at the same moment and are to be alone, one works at a time; nothing is sent twice."""
    queue(count=20)
    channel = MemoryChannel()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: drain(engine, channel, alone=True), range(8)))
    assert sum(result.accepted for result in results) == len(channel.outbox) == 20
    assert len({mail.message_id for mail in channel.outbox}) == 20


def test_dead_is_not_at_work(engine: Engine, queue: Queue) -> None:
    """A drain whose lease ran out keeps no run from its work."""
    queue(count=2)
    dead_drain(engine, claim=1, begin=0)
    assert drain(engine, MemoryChannel(), alone=True).accepted == 2


def dead_drain(engine: Engine, claim: int, begin: int) -> tuple[Drain, list[attempts.Claimed]]:
    """A drain that claimed and began, and whose lease ran out."""
    with engine.begin() as connection:
        drain = drains.start(connection, SENDER, -1, worker="dead", lease=timedelta(seconds=-1))
        claimed = attempts.claim(connection, drain, claim)
        attempts.turn(connection, drain.id, [], claimed[:begin], living=False)
    return drain, claimed


def test_recovery(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Of a dead drain, what was only reserved is released; what had begun is in doubt and settled by its guarantee."""
    [first], [second], [third] = queue(), queue(guarantee="at_most_once"), queue()
    dead_drain(engine, claim=3, begin=2)
    channel = MemoryChannel()
    result = drain(engine, channel, limit=10)
    assert (result.recovered, result.doubted, result.accepted) == (1, 2, 1)
    assert states(connection, [first, second, third]) == ["queued", "uncertain", "sent"]
    assert value(connection, "select count(*) from notify.attempts") == 3
    assert "the drain died" in str(read(connection, first).status_reason)
    make_due(connection)
    assert drain(engine, channel).accepted == 1
    assert read(connection, second).status == "uncertain"


def test_recovered_cannot_go_on(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A drain that was taken for dead can neither renew, begin nor settle; what another did stands."""
    [begun], [reserved] = queue(), queue()
    lost, claimed = dead_drain(engine, claim=2, begin=1)
    with engine.begin() as other:
        assert drains.recover(other, SENDER) == drains.Recovered(released=1, doubted=1)
    accepted = Settlement(claimed[0], Outcome.same([0], Verdict.ACCEPTED, 250, "taken"))
    for step in (
        lambda mine: drains.renew(mine, lost),
        lambda mine: attempts.turn(mine, lost.id, [], claimed[1:]),
        lambda mine: attempts.turn(mine, lost.id, [accepted]),
        lambda mine: attempts.turn(mine, lost.id, [], claimed[1:], living=False),
        lambda mine: attempts.turn(mine, lost.id, [accepted], living=False),
    ):
        with pytest.raises(LeaseLost), engine.begin() as mine:
            step(mine)
    assert states(connection, [begun, reserved]) == ["queued", "queued"]
    assert [one.outcome for one in read(connection, begun).tries] == ["in_doubt"]
    with engine.begin() as mine:
        assert attempts.release(mine, lost.id, "too late") == 0
        drains.end(mine, lost, "too late")
    assert value(connection, "select end_reason from notify.drains") == "its lease ran out"


def test_living_are_left_alone(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A drain whose lease holds keeps what it has."""
    queue(count=2)
    with engine.begin() as mine:
        living = drains.start(mine, SENDER, -1, worker="alive")
        claimed = attempts.claim(mine, living, 2)
    with engine.begin() as other:
        assert drains.recover(other, SENDER) == drains.Recovered(0, 0)
    with engine.begin() as mine:
        assert len(attempts.turn(mine, living.id, [], claimed)) == 2


def test_taken_over_while_sending(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A drain that stood still past its lease stops with LeaseLost, and its message is sent again by another."""
    numbers = queue(count=3)

    def stand_still() -> None:
        with engine.begin() as other:
            other.execute(sa.text("update notify.drains set lease_until = now() - interval '1 second'"))
            drains.recover(other, SENDER)

    slow = Slow(after=1, then=stand_still)
    with pytest.raises(LeaseLost):
        drain(engine, slow)
    assert len(slow.outbox) == 1
    assert states(connection, numbers) == ["queued"] * 3
    make_due(connection)
    assert drain(engine, MemoryChannel()).accepted == 3


def test_lease_is_renewed(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A drain that waits for a slow server longer than its lease shows itself meanwhile, and keeps its messages."""
    queue(count=2)
    recovered: list[drains.Recovered] = []

    def wait() -> None:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            with engine.begin() as other:
                recovered.append(drains.recover(other, SENDER))
            time.sleep(0.1)

    assert drain(engine, Slow(after=1, then=wait), lease=timedelta(seconds=0.9)).accepted == 2
    assert set(recovered) == {drains.Recovered(0, 0)}


class Silent(MemoryChannel):
    """A server that never answers its first message, until the test lets it go."""

    def __init__(self, *, max_connections: int) -> None:
        super().__init__(max_connections=max_connections)
        self.let_go = threading.Event()
        self._first = threading.Lock()

    def deliver(self, parcel: Parcel) -> tuple[Outcome, bool]:
        if self._first.acquire(blocking=False):
            self.let_go.wait(30)
        return super().deliver(parcel)


@pytest.fixture
def silent() -> Iterator[Callable[..., Silent]]:
    """Silent servers, let go in the end."""
    made: list[Silent] = []

    def make(max_connections: int) -> Silent:
        made.append(Silent(max_connections=max_connections))
        return made[-1]

    yield make
    for channel in made:
        channel.let_go.set()


IMPATIENT: dict[str, Any] = {"patience": timedelta(seconds=0.4), "lease": timedelta(seconds=0.6)}


def test_silent_server(  # noqa: PLR0917 - pytest passes them by name
    engine: Engine,
    connection: Connection,
    queue: Queue,
    silent: Callable[..., Silent],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A session that never comes back holds its run up for no longer than the patience; its message is in doubt."""
    monkeypatch.setattr("notify.crew.GOODBYE", 0.1)
    numbers = queue(count=3)
    with pytest.raises(SenderFault, match="has not come back within"):
        drain(engine, silent(1), limit=3, **IMPATIENT)
    assert (
        "smtp_default (limit 3 an hour): 0 handed to the server, 2 released, 2 waiting; the sender failed"
        in caplog.text
    )
    assert states(connection, numbers) == ["sending", "queued", "queued"]
    with engine.connect() as other:
        assert limits.usage(other, SENDER).total == 1, "it may yet be sent, so it counts"
    result = drain(engine, MemoryChannel(), limit=3)
    assert (result.doubted, result.accepted) == (1, 2)
    make_due(connection)
    drain(engine, MemoryChannel(), limit=4)
    assert states(connection, numbers) == ["sent"] * 3


def test_one_silent_session(
    engine: Engine, connection: Connection, queue: Queue, silent: Callable[..., Silent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session that never comes back does without its own message only; when it speaks at last, it is not heard."""
    monkeypatch.setattr("notify.crew.GOODBYE", 0.1)
    numbers = queue(count=20)
    channel = silent(2)
    result = drain(engine, channel, **IMPATIENT)
    assert (result.accepted, result.stopped) == (19, "nothing more is due")
    channel.let_go.set()
    assert sorted(states(connection, numbers)) == ["sending"] + ["sent"] * 19
    assert drain(engine, MemoryChannel()).doubted == 1


def test_too_big_for_the_memory(
    engine: Engine, connection: Connection, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that cannot even be put together waits like a refused one; its session lives on."""
    numbers = queue(count=2)

    def burst(begun: attempts.Begun) -> Parcel:
        if begun.parcel.id == numbers[0]:
            raise MemoryError
        return begun.parcel

    monkeypatch.setattr(attempts.Begun, "load", burst)
    result = drain(engine, MemoryChannel(max_connections=1), **IMPATIENT)
    assert (result.retried, result.accepted) == (1, 1)
    assert states(connection, numbers) == ["queued", "sent"]


def test_interrupted_between_begin_and_send(
    engine: Engine, connection: Connection, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is torn down after it wrote "begun" and before it sent leaves nothing in ``sending`` for good."""
    numbers = queue(count=3)

    def torn(*_arguments: object) -> None:
        raise TimeoutError  # as Airflow's execution_timeout does, wherever the main thread is

    with monkeypatch.context() as patch:
        patch.setattr("notify.drain._Run._give", torn)
        with pytest.raises(TimeoutError):
            drain(engine, MemoryChannel())
    drain(engine, MemoryChannel())
    make_due(connection)
    drain(engine, MemoryChannel())
    assert states(connection, numbers) == ["sent"] * 3


def test_recovery_beside_a_living_drain(engine: Engine, queue: Queue) -> None:
    """A run that takes over from a drain which then goes on fails neither of them with a deadlock."""
    queue(count=2)
    slow, claimed = dead_drain(engine, claim=1, begin=1)
    accepted = Settlement(claimed[0], Outcome.same([0], Verdict.ACCEPTED, 250, "taken"))
    channel = MemoryChannel()
    with ThreadPoolExecutor(1) as pool, engine.connect() as mine:
        mine.execute(sa.text("set local deadlock_timeout = '100ms'"))
        attempts.turn(mine, slow.id, [accepted])
        other = pool.submit(drain, engine, channel, 10)
        _until_somebody_waits(engine, other)
        attempts.claim(mine, slow, 1)  # needs the sender, which a run that begins writes to
        mine.commit()
        other.result(20)
    assert len(channel.outbox) <= 1


def _until_somebody_waits(engine: Engine, other: Any) -> None:
    deadline = time.monotonic() + 20
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while not other.done() and time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.scalar(sa.text(query)):
                return
        time.sleep(0.02)


def test_database_lost(engine: Engine, connection: Connection, queue: Queue) -> None:
    """When the database goes away in the middle, the run fails, and what had begun is doubted, never lost."""
    numbers = queue(count=5)
    mine = value(connection, "select pg_backend_pid()")

    def cut() -> None:
        connection.execute(
            sa.text(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> :mine and backend_type = 'client backend'"
            ),
            {"mine": mine},
        )
        connection.rollback()

    with pytest.raises(sa.exc.DBAPIError):
        drain(engine, Slow(after=2, then=cut))
    do(connection, "update notify.drains set lease_until = now() - interval '1 second' where ended_at is null")
    drain(engine, MemoryChannel())
    make_due(connection)
    drain(engine, MemoryChannel())
    assert states(connection, numbers) == ["sent"] * 5


# --- The result ------------------------------------------------------------------------------------------------------


def test_summary(engine: Engine, queue: Queue, sink: SmtpSink) -> None:
    """The result's one line tells what an operator asks: how many left, how many wait, why, and until when."""
    queue([ANNA, BOB], one_mail=True)
    queue(count=2)
    sink.answer("RCPT", "550 5.1.1 no such mailbox", address=BOB)
    result = drain(engine, smtp(sink), limit=2)
    assert result.summary.startswith(
        f"smtp_default (limit 2 an hour): 2 handed to the server, 1 recipients refused, 1 held back by the limit, "
        f"next slot at {result.next_slot_at}, 1 waiting; the limit is reached; "
    )


# --- The circuit breaker ---------------------------------------------------------------------------------------------


class Mortal(MemoryChannel):
    """A server that dies after so many messages, once all sessions are open, and counts who knocks at its door.

    :param lives: messages that it takes at least
    """

    def __init__(self, lives: int, max_connections: int) -> None:
        super().__init__(max_connections=max_connections)
        self._lives = lives
        self._opened = 0
        self._dead = False
        self.knocks = 0  # since its death

    def open(self) -> Any:
        with self._lock:
            if self._dead:
                self.knocks += 1
                raise SenderFault("Nobody is there.", "Start the server.")
            self._opened += 1
        return super().open()

    def deliver(self, parcel: Parcel) -> tuple[Outcome, bool]:
        with self._lock:
            self._lives -= 1
            self._dead = self._dead or (self._lives < 0 and self._opened >= self.max_connections)
        if self._dead:
            raise SenderFault("The connection is gone.", "Start the server.")
        return super().deliver(parcel)


def test_dead_server_costs_one_try(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A server that dies under eight sessions is knocked at once, and once again by the next run."""
    numbers = queue([f"r{number}@example.com" for number in range(400)])
    channel = Mortal(lives=40, max_connections=8)
    for knocks in (1, 2):
        with pytest.raises(SenderFault, match="Nobody is there"):
            drain(engine, channel)
        assert channel.knocks == knocks
    assert sorted(set(states(connection, numbers))) == ["queued", "sent"]
    assert value(connection, "select count(*) from notify.attempts where ended_at is null") == 0
    assert value(connection, "select max(refusals) from notify.messages") == 0


def test_sessions_come_back(engine: Engine, connection: Connection, queue: Queue) -> None:
    """When all connections break at once and the server is there again, the run goes on and sends everything."""
    numbers = queue([f"r{number}@example.com" for number in range(60)])
    channel = Slow(after=20, then=lambda: [channel.break_next() for _ in range(3)], max_connections=4)
    drain(engine, channel)
    make_due(connection)
    drain(engine, channel)
    assert set(states(connection, numbers)) == {"sent"}
    assert len(channel.outbox) == 60


def test_nothing_to_send_is_not_waited_for(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Messages whose content was erased hold the run up by no renewal of its lease: no session has them."""
    numbers = queue([f"r{number}@example.com" for number in range(12)])
    connection.execute(sa.text("update notify.messages set content_id = null where id <= 6"))
    connection.commit()
    patience = []

    class Watched(Crew):
        def wait(self, seconds: float) -> list[Report]:
            patience.append((self.busy, seconds))
            return super().wait(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("notify.drain.Crew", Watched)
        drain(engine, MemoryChannel(max_connections=1))
    assert states(connection, numbers) == ["failed"] * 6 + ["sent"] * 6
    assert [seconds for busy, seconds in patience if not busy]
    assert not any(seconds for busy, seconds in patience if not busy)
