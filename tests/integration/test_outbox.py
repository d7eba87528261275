"""What people do to messages in a real PostgreSQL: hold, release, cancel, suppress, receipts, sending again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.channels.memory import MemoryChannel
from notify.domain.outcome import Verdict
from notify.domain.status import RESENDABLE, Status
from notify.drain import Drainer
from notify.exceptions import TransitionError
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import outbox, register, suppressions
from notify.storage.engine import set_actor, transaction

SENDER = "smtp_default"
ANNA, BOB, CYRIL = "anna@example.com", "bob@example.com", "cyril@example.org"

#: What people and receipts do: how, from which states, and where it leads.
Action = tuple[Callable[[Connection, int], None], frozenset[Status], Status]
ACTIONS: dict[str, Action] = {
    "hold": (outbox.hold, frozenset({Status.QUEUED}), Status.HELD),
    "release": (outbox.release, frozenset({Status.HELD}), Status.QUEUED),
    "cancel": (outbox.cancel, frozenset({Status.QUEUED, Status.HELD}), Status.CANCELLED),
    "suppress": (lambda c, n: outbox.suppress(c, n, "on the list"), frozenset({Status.QUEUED}), Status.SUPPRESSED),
    "delivered": (
        lambda c, n: outbox.receipt(c, n, delivered=True, reason="2.0.0"),
        frozenset({Status.SENT, Status.UNCERTAIN}),
        Status.DELIVERED,
    ),
    "bounced": (
        lambda c, n: outbox.receipt(c, n, delivered=False, reason="5.1.1"),
        frozenset({Status.SENT, Status.UNCERTAIN, Status.DELIVERED}),
        Status.UNDELIVERED,
    ),
    "resend": (outbox.resend, RESENDABLE, Status.QUEUED),
    "arrived": (outbox.arrived, frozenset({Status.UNCERTAIN}), Status.DELIVERED),
}

#: Recipients and fields in; the message's number out.
Queue = Callable[..., int]


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand one message over, and commit."""

    def call(*recipients: str, **fields: Any) -> int:
        given = {"recipient": recipients or ANNA, "one_mail": True, "subject": "Hi", "message": "Hello"} | fields
        [message] = hand_over(connection, given, hand_over_settings).messages
        connection.commit()
        return message.id

    return call


def put(connection: Connection, number: int, status: Status) -> None:
    """Put a message into a state without a transition: by making it anew."""
    connection.execute(
        sa.text("""
            with gone as (delete from notify.messages returning *)
            insert into notify.messages (id, message_id, status, sender, kind, guarantee, subject, headers, size,
                                         content_id, sent_at)
            select :id, message_id, :status, sender, kind, 'at_most_once', subject, headers, size, content_id, now()
            from gone where id = :id
        """),
        {"id": number, "status": status.value},
    )


def drain(engine: Engine, channel: MemoryChannel) -> None:
    Drainer(engine, channel, SENDER, limit=-1).run()


def make_due(connection: Connection) -> None:
    connection.execute(sa.text("update notify.messages set not_before = now() where status = 'queued'"))
    connection.commit()


# --- Transitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIONS)
def test_actions(connection: Connection, queue: Queue, name: str) -> None:
    """Each action works from the states it is meant for, and from every other is refused naming the state."""
    act, starts, after = ACTIONS[name]
    number = queue()
    for before in Status:
        savepoint = connection.begin_nested()
        put(connection, number, before)
        if before in starts:
            act(connection, number)
            assert register.read(connection, number).status is after
        else:
            with pytest.raises(TransitionError) as caught:
                act(connection, number)
            assert f"Message {number} is {before}" in str(caught.value)
            assert register.read(connection, number).status is before
        savepoint.rollback()


@pytest.mark.parametrize("name", ACTIONS)
def test_unknown_message(connection: Connection, name: str) -> None:
    """A message that is not in the register is told apart from one in the wrong state."""
    with pytest.raises(TransitionError, match="There is no message 4711"):
        ACTIONS[name][0](connection, 4711)


@pytest.mark.parametrize("hindrance", ["none", "no body", "suppressed"])
@pytest.mark.parametrize("action", outbox.Action)
def test_obstacles(connection: Connection, queue: Queue, action: outbox.Action, hindrance: str) -> None:
    """Whether something can be done, and why not, can be asked before; it is what doing it would say."""
    number = queue()
    if hindrance == "suppressed":
        suppressions.add(connection, ANNA, "unsubscribed", None)
    for before in Status:
        savepoint = connection.begin_nested()
        put(connection, number, before)
        if hindrance == "no body":
            connection.execute(sa.text("update notify.messages set content_id = null"))
        said = outbox.obstacle(connection, action, number)
        assert register.read(connection, number).status is before
        told = None
        try:
            outbox.act(connection, action, number)
        except TransitionError as error:
            told = str(error)
        assert said == told
        savepoint.rollback()
    assert outbox.obstacle(connection, action, 4711) == "There is no message 4711 in the register."


def test_it_arrived(connection: Connection, engine: Engine, queue: Queue) -> None:
    """Who says that an uncertain message arrived is in its history; when it was sent is when it was first tried."""
    number = queue()
    put(connection, number, Status.UNCERTAIN)
    connection.execute(sa.text("update notify.messages set sent_at = null, first_tried_at = '2026-03-02 12:00Z'"))
    connection.commit()
    with transaction(engine, actor="anna") as mine:
        outbox.arrived(mine, number)
    message = register.read(connection, number)
    assert (message.status, message.sent_at) == (Status.DELIVERED, datetime(2026, 3, 2, 12, tzinfo=UTC))
    [event] = message.events
    assert (event.from_status, event.to_status, event.actor) == ("uncertain", "delivered", "anna")
    assert event.reason == "a person says that it arrived"


def test_history(connection: Connection, engine: Engine, queue: Queue) -> None:
    """The history tells each step with its reason, its time and who did it."""
    number = queue()
    with transaction(engine, actor="anna") as mine:
        outbox.hold(mine, number, "wait for the lawyers")
    with transaction(engine) as mine:
        outbox.release(mine, number)
    connection.rollback()
    events = register.read(connection, number).events
    assert [(one.from_status, one.to_status, one.reason, one.actor) for one in events] == [
        ("queued", "held", "wait for the lawyers", "anna"),
        ("held", "queued", "released by a person", None),
    ]
    assert events[0].at < events[1].at
    assert timedelta(0) <= datetime.now(UTC) - events[1].at < timedelta(minutes=1)


def test_actor_ends_with_the_transaction(connection: Connection, queue: Queue) -> None:
    """Who acted in one transaction is not held responsible for the next one on the same connection."""
    number = queue()
    set_actor(connection, "anna")
    outbox.hold(connection, number)
    connection.commit()
    outbox.release(connection, number)
    connection.commit()
    assert [one.actor for one in register.read(connection, number).events] == ["anna", None]


def test_rolled_back(connection: Connection, queue: Queue) -> None:
    """A step that is rolled back leaves neither state nor history."""
    number = queue()
    outbox.cancel(connection, number)
    connection.rollback()
    message = register.read(connection, number)
    assert (message.status, message.events) == (Status.QUEUED, ())


def test_two_persons_at_once(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Of two who move the same message, the second waits, finds it moved, and is told so."""
    number = queue()
    outbox.hold(connection, number)
    with engine.connect() as other:
        other.execute(sa.text("set local lock_timeout = '100ms'"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            outbox.hold(other, number)
        other.rollback()
        connection.commit()
        with pytest.raises(TransitionError, match="is held"):
            outbox.hold(other, number)


def test_release_keeps_the_time(connection: Connection, queue: Queue) -> None:
    """Holding and releasing a message for later leaves it for later."""
    number = queue(send_after="PT5H")
    before = register.read(connection, number).not_before
    outbox.hold(connection, number)
    outbox.release(connection, number)
    assert register.read(connection, number).not_before == before


# --- Sending again ---------------------------------------------------------------------------------------------------


def test_resend_to_those_not_reached(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What reached some goes again to the others only, as the same message."""
    number = queue(ANNA, BOB, CYRIL)
    channel = MemoryChannel()
    channel.refuse(BOB, Verdict.PERMANENT, 550, "5.1.1 no such mailbox")
    drain(engine, channel)
    channel.accept(BOB)
    outbox.resend(connection, number)
    connection.commit()
    drain(engine, channel)
    assert [mail.recipients for mail in channel.outbox] == [(ANNA, CYRIL), (BOB,)]
    assert len({mail.message_id for mail in channel.outbox}) == 1
    message = register.read(connection, number)
    assert [one.outcome for one in message.recipients] == ["accepted"] * 3
    assert [one.number for one in message.tries] == [1, 2]


def test_resend_to_everybody(engine: Engine, connection: Connection, queue: Queue) -> None:
    """What reached everybody goes again to everybody."""
    number = queue(ANNA, BOB)
    channel = MemoryChannel()
    for _ in range(2):
        drain(engine, channel)
        outbox.resend(connection, number)
        connection.commit()
    drain(engine, channel)
    assert [mail.recipients for mail in channel.outbox] == [(ANNA, BOB)] * 3
    assert len({mail.message_id for mail in channel.outbox}) == 1


def test_resend_uncertain(engine: Engine, connection: Connection, queue: Queue) -> None:
    """An uncertain message goes again when a person says so, once."""
    number = queue(guarantee="at_most_once")
    channel = MemoryChannel()
    channel.lose_next_answer()
    drain(engine, channel)
    assert register.read(connection, number).status is Status.UNCERTAIN
    outbox.resend(connection, number)
    connection.commit()
    drain(engine, channel)
    drain(engine, channel)
    assert len(channel.outbox) == 2
    connection.rollback()
    assert register.read(connection, number).status is Status.SENT


def test_resend_starts_afresh(engine: Engine, connection: Connection, queue: Queue) -> None:
    """A message sent again waits for nothing, cannot expire by its old term, and has its 72 hours anew."""
    number = queue(send_after="PT1H", expires_after="PT2H")
    connection.execute(
        sa.text("""
            update notify.messages set not_before = now() - interval '5 days', expires_at = now() - interval '1 day',
                   first_tried_at = now() - interval '4 days', refusals = 9
        """)
    )
    connection.commit()
    channel = MemoryChannel()
    drain(engine, channel)
    connection.rollback()
    assert register.read(connection, number).status is Status.EXPIRED
    outbox.resend(connection, number)
    connection.commit()
    channel.refuse(ANNA, Verdict.TEMPORARY, 450, "4.2.1 busy", times=1)
    drain(engine, channel)
    message = register.read(connection, number)
    assert message.status is Status.QUEUED
    assert message.not_before - datetime.now(UTC) < timedelta(minutes=2)
    make_due(connection)
    drain(engine, channel)
    assert register.read(connection, number).status is Status.SENT


@pytest.mark.parametrize("name", ["resend", "release"])
def test_nothing_goes_to_the_suppression_list(connection: Connection, queue: Queue, name: str) -> None:
    """What would go to somebody who is on the list by now is not put in the queue, until they are lifted."""
    act, after = ACTIONS[name][0], "first: python -m notify suppressions lift anna@example.com"
    number = queue(ANNA, BOB)
    outbox.hold(connection, number)
    suppressions.add(connection, ANNA.upper(), "unsubscribed", None)
    with pytest.raises(TransitionError, match=rf"anna@example.com \(unsubscribed\)\. .*{after}"):
        act(connection, number)
    assert register.read(connection, number).status is Status.HELD
    suppressions.lift(connection, ANNA)
    act(connection, number)
    assert register.read(connection, number).status is Status.QUEUED


def test_resend_looks_at_whom_it_would_reach(engine: Engine, connection: Connection, queue: Queue) -> None:
    """Who has got the message already may be on the list; but not if it would go to all of them once more."""
    number = queue(ANNA, BOB)
    channel = MemoryChannel()
    channel.refuse(BOB, Verdict.PERMANENT, 550, "5.1.1 no such mailbox")
    drain(engine, channel)
    suppressions.add(connection, ANNA, "unsubscribed", None)
    outbox.resend(connection, number)
    connection.commit()
    drain(engine, MemoryChannel())
    with pytest.raises(TransitionError, match=r"lift anna@example\.com"):
        outbox.resend(connection, number)


def test_many_on_the_list(connection: Connection, queue: Queue) -> None:
    """Of very many on the list some are named, and the others are counted."""
    number = queue(*(f"r{n}@example.com" for n in range(8)))
    outbox.cancel(connection, number)
    for n in range(8):
        suppressions.add(connection, f"r{n}@example.com", "gone", None)
    with pytest.raises(TransitionError, match=r"r4@example.com \(gone\); and 3 more\."):
        outbox.resend(connection, number)


def test_resend_while_waiting(connection: Connection, queue: Queue) -> None:
    """A message that waits in the queue is not sent again: it has not been sent yet."""
    with pytest.raises(TransitionError, match="is queued"):
        outbox.resend(connection, queue())


# --- Invariants ------------------------------------------------------------------------------------------------------


def test_at_most_one_open_attempt(engine: Engine, connection: Connection, queue: Queue) -> None:
    """After refusals, doubts and sending again, no attempt is open, every one had begun, and numbers have no gap."""
    numbers = [queue() for _ in range(4)]
    channel = MemoryChannel(max_connections=2)
    channel.refuse(ANNA, Verdict.TEMPORARY, 450, "4.2.1 busy", times=2)
    channel.lose_next_answer(taken=False)
    channel.break_next()
    for _ in range(6):
        drain(engine, channel)
        make_due(connection)
    for number in numbers:
        outbox.resend(connection, number)
    connection.commit()
    drain(engine, channel)
    for number in numbers:
        message = register.read(connection, number)
        assert message.status is Status.SENT
        assert [one.number for one in message.tries] == list(range(1, len(message.tries) + 1))
        assert all(one.begun_at and one.ended_at and one.begun_at <= one.ended_at for one in message.tries)
        assert [one.outcome for one in message.tries].count("accepted") == 2


def test_a_sending_message_is_out_of_reach(engine: Engine, connection: Connection, queue: Queue) -> None:
    """While a session has a message, nobody can hold, cancel or repeat it."""
    number = queue()
    refused: list[str] = []

    class Curious(MemoryChannel):
        """Somebody tries while it sends."""

        def deliver(self, parcel: Any) -> Any:
            for act in (outbox.hold, outbox.cancel, outbox.resend):
                with engine.connect() as other, pytest.raises(TransitionError) as caught:
                    act(other, parcel.id)
                refused.append(str(caught.value))
            return super().deliver(parcel)

    drain(engine, Curious())
    assert len(refused) == 3
    assert all(f"Message {number} is sending" in text for text in refused)


# --- The register ----------------------------------------------------------------------------------------------------


def test_newest(connection: Connection, queue: Queue) -> None:
    """The newest messages come first, and can be narrowed to a state and to a recipient."""
    first, second = queue(ANNA), queue(BOB, CYRIL)
    outbox.hold(connection, first)
    assert [line.id for line in register.newest(connection)] == [second, first]
    assert [line.id for line in register.newest(connection, limit=1)] == [second]
    assert [line.id for line in register.newest(connection, status=Status.HELD)] == [first]
    assert [line.id for line in register.newest(connection, address="CYRIL@example.org")] == [second]
    assert register.newest(connection, status=Status.SENT) == []
    with pytest.raises(TransitionError, match="no message 4711"):
        register.read(connection, 4711)
