"""A person who is erased, and what servers said of their mail, before that and after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from notify.channels.memory import MemoryChannel
from notify.domain.outcome import Verdict
from notify.domain.status import Status
from notify.erasing import erase
from notify.settings import HandOverSettings
from notify.storage import erasure
from notify.storage.register import RegisteredMessage
from tests.imap_server import ImapServer
from tests.integration.test_erasure import found
from tests.returns import GONE, Postroom

ANNA, BOB = "anna@firm.example", "bob@firm.example"
PRIVATE = "anna.private@mail.example"
UNKNOWN = ("5.1.1", f"smtp; 550 5.1.1 <{PRIVATE}> no such user, says the server of anna.private")


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with ImapServer() as running:
        yield running


@pytest.fixture
def room(engine: Engine, hand_over_settings: HandOverSettings, server: ImapServer) -> Postroom:
    """A post room whose mailbox is empty."""
    server.flag(r"(\Deleted)")
    with server._reader() as client:
        client.expunge()
    return Postroom(engine, hand_over_settings, server)


def forwarded(room: Postroom, message: RegisteredMessage, to: str = PRIVATE, whose: str | None = ANNA) -> None:
    """Have a mail come back from where it was forwarded to."""
    room.bounce(message, said=[(to, *UNKNOWN)], original=whose)


def stored(room: Postroom) -> list[tuple[Any, ...]]:
    """What is known of bounces."""
    return room.rows("select address, words, counts, notice from notify.bounces order by id")


def known(room: Postroom) -> tuple[str, ...]:
    """Anna's addresses."""
    with room.engine.begin() as connection:
        return erasure.find(connection, ANNA, str).addresses


# --- Before ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", [ANNA, None])
def test_where_the_mail_was_forwarded_to(room: Postroom, whose: str | None) -> None:
    """The private address behind the person's own goes as well, from every table; so do the words that tell of it."""
    forwarded(room, room.send(ANNA), whose=whose)
    room.run()
    told = room.send(BOB, message=f"The mail to {PRIVATE} came back.")
    assert found(room.engine, "anna.private") != []
    assert known(room) == (PRIVATE, ANNA)
    assert erase(room.engine, ANNA).left == {}
    assert found(room.engine, "anna") == []
    [(address, *rest)] = stored(room)
    assert address.endswith("@erased.invalid")
    assert rest[:2] == ["", False]
    assert room.read(told.id).subject == "Hi"


def test_mails_that_told_of_it(room: Postroom) -> None:
    """Who was told that the mail came back keeps that mail, without the addresses."""
    forwarded(room, room.send(ANNA, reply_to=BOB))
    assert room.run().notices == 1
    assert any(place.startswith("mail 2") for place in found(room.engine, PRIVATE))
    assert erase(room.engine, ANNA).bodies == 1
    assert found(room.engine, ANNA, PRIVATE) == []


def test_nobody_is_told_of_it(room: Postroom) -> None:
    """A bounce of which the sender was not told yet is not told of any more."""
    message = room.send(ANNA, reply_to=BOB)
    room.do(
        """
        insert into notify.bounces
            (report, message_id, position, address, action, status, blame, counts, words, reporter, notice)
        values (sha256('1'), :id, 0, :address, 'failed', '5.1.1', 'hard', false, :words, 'mx', 'due')
        """,
        id=message.id,
        address=PRIVATE,
        words=UNKNOWN[1],
    )
    erase(room.engine, ANNA)
    assert [one[3] for one in stored(room)] == ["none"]
    assert room.run().notices == 0
    assert found(room.engine, "anna") == []


def test_an_address_that_is_somebody_elses(room: Postroom) -> None:
    """Mail that was forwarded to somebody who gets mail of their own: the bounce forgets them, nothing else does."""
    theirs = room.send(BOB, message=f"Dear {BOB}")
    forwarded(room, room.send(ANNA), to=BOB)
    room.run()
    assert known(room) == (ANNA,)
    erase(room.engine, ANNA)
    assert [one[0].rpartition("-b")[2] for one in stored(room)] == ["1@erased.invalid"]
    assert [one.address for one in room.read(theirs.id).recipients] == [BOB]
    assert {place for place in found(room.engine, BOB) if "bounces" in place or "reason" in place} == set()
    assert f"mail {theirs.id}: {BOB}" in found(room.engine, BOB)


def test_an_address_that_came_back_for_another(room: Postroom) -> None:
    """An address behind another's is the other's: nothing that is known of their bounces changes."""
    forwarded(room, room.send(BOB), whose=BOB)
    forwarded(room, room.send(ANNA))
    room.run()
    erase(room.engine, ANNA)
    assert PRIVATE in [one[0] for one in stored(room)]
    assert room.rows("select count(*) from notify.message_events where reason like '%anna.private%'") == [(1,)]


def test_what_a_server_said_of_one_of_many(room: Postroom) -> None:
    """Of a mail that others got too, the server's words about the person go, those about others stay."""
    message = room.send(ANNA, BOB)
    room.bounce(
        message, said=[(ANNA, "5.1.1", "smtp; 550 5.1.1 anna unknown"), (BOB, "5.2.2", "smtp; 552 bob is full")]
    )
    room.run()
    channel = MemoryChannel()
    for address, words in ((ANNA, "no anna here"), (BOB, "no bob here")):
        channel.refuse(address, Verdict.PERMANENT, 550, words)
    refused = room.queue(ANNA, BOB)
    room.drain(channel)
    assert "no anna here" in str(room.read(refused).status_reason)
    assert "anna" in str(room.read(message.id).status_reason)
    erase(room.engine, ANNA)
    assert found(room.engine, "anna") == []
    assert [one[1] for one in stored(room)] == ["", "552 bob is full"]
    assert room.read(message.id).status is Status.UNDELIVERED
    assert [one.response for one in room.read(message.id).recipients] == ["came back: 552 bob is full"]


def test_what_a_server_said_of_the_only_one(room: Postroom) -> None:
    """Of a mail that nobody else got, no answer and no reason stays, whatever is in it."""
    channel = MemoryChannel()
    channel.refuse(ANNA, Verdict.PERMANENT, 550, "no anna here")
    refused = room.queue(ANNA)
    room.drain(channel)
    assert {"attempts.response: anna", "message_events.reason: anna"} <= set(found(room.engine, "anna"))
    erase(room.engine, ANNA)
    assert found(room.engine, "anna") == []
    assert room.read(refused).status is Status.FAILED


def test_what_a_server_said_to_all_alike(room: Postroom) -> None:
    """An answer that all recipients got alike tells of nobody, and stays."""
    message = room.send(ANNA, BOB)
    before = room.read(message.id)
    erase(room.engine, ANNA)
    after = room.read(message.id)
    assert [one.response for one in after.tries] == [one.response for one in before.tries] != [None]
    assert [one.reason for one in after.events] == [one.reason for one in before.events]


# --- After -----------------------------------------------------------------------------------------------------------


def test_a_report_that_comes_late(room: Postroom) -> None:
    """A mail of an erased person that comes back is noted without their address, and nobody is told of it."""
    message = room.send(ANNA, reply_to=BOB)
    erase(room.engine, ANNA)
    room.bounce(message, said=[(ANNA, *GONE)])
    result = room.run()
    assert (result.hard, result.suppressed, result.notices, result.untold) == (1, 0, 0, 0)
    assert found(room.engine, "anna") == []
    [recipient] = room.read(message.id).recipients
    assert stored(room) == [(recipient.address, "", False, "none")]
    assert room.read(message.id).status is Status.UNDELIVERED
    assert room.read(message.id).status_reason == "came back: 5.1.1"


@pytest.mark.parametrize("original", [None, ANNA])
def test_a_report_that_comes_late_of_one_of_two(room: Postroom, original: str | None) -> None:
    """It is not taken for a report about the other, whose mail has arrived; what comes of theirs still is theirs."""
    message = room.send(ANNA, BOB)
    erase(room.engine, ANNA)
    room.bounce(message, said=[(PRIVATE if original else ANNA, *UNKNOWN)], original=original)
    assert (room.run().hard, room.read(message.id).status) == (1, Status.SENT)
    assert found(room.engine, "anna") == []
    assert [one.outcome for one in room.read(message.id).recipients] == ["accepted"]
    room.bounce(room.read(message.id), said=[("bob@home.example", *GONE)], original=BOB)
    room.run()
    assert [one[0] for one in stored(room)] == ["erased@erased.invalid", "bob@home.example"]
    assert room.read(message.id).status is Status.UNDELIVERED


def test_one_report_of_an_erased_person_and_another(room: Postroom) -> None:
    """Where a report speaks of both, the other's half has all its effects."""
    message = room.send(ANNA, BOB)
    erase(room.engine, ANNA)
    room.bounce(message, said=[(ANNA, *GONE), (BOB, *GONE)])
    assert room.run().reports == 1
    assert found(room.engine, "anna") == []
    assert [one[:2] for one in stored(room)] == [("erased@erased.invalid", ""), (BOB, "550 5.1.1 no such mailbox")]
    assert room.read(message.id).status is Status.UNDELIVERED
