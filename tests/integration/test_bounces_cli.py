"""What the command line tells of bounces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from notify import cli
from notify.domain.status import Status
from notify.settings import HandOverSettings
from tests.imap_server import ImapServer
from tests.returns import FULL, Postroom

ANNA, BOB = "anna@customer.example", "bob@customer.example"

#: Arguments in; output out.
Command = Callable[..., str]


@pytest.fixture
def room(engine: Engine, hand_over_settings: HandOverSettings) -> Iterator[Postroom]:
    with ImapServer() as server:
        yield Postroom(engine, hand_over_settings, server)


@pytest.fixture
def notify(notify: Any) -> Command:
    """The command line; what it is told must be done."""

    def run(*arguments: str) -> str:
        status, out, err = notify(*arguments)
        assert status == 0, err
        return out

    return run


@pytest.fixture
def refuse(notify: Command, capsys: pytest.CaptureFixture[str]) -> Command:
    """The same for what must be refused; its error."""

    def run(*arguments: str) -> str:
        assert cli.main(arguments) == 1
        return capsys.readouterr().err

    return run


def test_show(room: Postroom, notify: Command) -> None:
    """A message is shown with what reports said of it, in the order in which they came; another one as before."""
    message, other = room.send(ANNA, reply_to=BOB), room.send(BOB)
    room.bounce(message, ("4.4.1", "X-Postfix; connection timed out"), action="delayed")
    room.bounce(message, said=[("anna@elsewhere.example", *FULL)])
    room.bounce(message)
    room.run()
    shown = notify("messages", "show", str(message.id))
    assert f"Message {message.id}: undelivered (came back from where it was forwarded: 552 5.2.2 over quota)" in shown
    reports = shown.partition("Delivery reports\n")[2].splitlines()
    elsewhere = "anna@elsewhere.example  failed soft, not held against the address by mail.example.org: "
    assert [line.partition("Z  ")[2] for line in reports] == [
        f"{ANNA}  delayed by mail.example.org: 4.4.1 connection timed out",
        f"{elsewhere}552 5.2.2 over quota; the sender of the mail was told",
        f"{ANNA}  failed hard by mail.example.org: 550 5.1.1 no such mailbox",
    ]
    assert "Delivery reports" not in notify("messages", "show", str(other.id))


def test_suppressions(room: Postroom, notify: Command) -> None:
    """The list tells what put an address there, until when and why; lifting forgives."""
    message = room.send(ANNA)
    room.bounce(message)
    room.run()
    notify("suppressions", "add", BOB, "--reason", "asked for it")
    (line,) = notify("suppressions", "list", "--source", "bounce").splitlines()
    assert f"{ANNA}  until " in line
    assert line.endswith(f", by a bounce: message {message.id} came back: 550 5.1.1 no such mailbox")
    assert len(notify("suppressions", "list").splitlines()) == 2
    assert "its bounces so far count no more" in notify("suppressions", "lift", ANNA)
    assert room.rows("select counts from notify.bounces") == [(False,)]
    assert notify("suppressions", "list", "--source", "bounce") == "No such address is on the list.\n"


def test_sent_again(room: Postroom, notify: Command, refuse: Command) -> None:
    """What came back can be sent again by command, once the address is lifted; until then, the command says so."""
    message = room.send(ANNA)
    room.bounce(message)
    room.run()
    assert f"first: python -m notify suppressions lift {ANNA}" in refuse("messages", "resend", str(message.id))
    assert f"--address {ANNA}, then python -m notify messages resend ID" in notify("suppressions", "lift", ANNA)
    assert "in the queue again" in notify("messages", "resend", str(message.id))
    assert [mail.recipients for mail in room.drain().outbox] == [(ANNA,)]


def test_what_is_queued_is_suppressed_too(room: Postroom, notify: Command) -> None:
    """Who is put on the list gets nothing that is queued already; it stays in the register, and others get theirs."""
    first, second, shared = room.queue(ANNA), room.queue(ANNA.upper()), room.queue(ANNA, BOB)
    told = notify("suppressions", "add", ANNA, "--reason", "unsubscribed")
    assert told == f"{ANNA} gets nothing until you lift it. 2 queued messages were suppressed.\n"
    assert [mail.recipients for mail in room.drain().outbox] == [(BOB,)]
    for number in (first, second):
        message = room.read(number)
        assert (message.status, message.status_reason) == (Status.SUPPRESSED, "on the suppression list: unsubscribed")
    assert room.read(shared).status is Status.SENT


def test_what_was_queued_since(room: Postroom, notify: Command) -> None:
    """Where the address is on the list already, what is queued all the same is suppressed for the reason there."""
    notify("suppressions", "add", ANNA, "--reason", "unsubscribed")
    number = room.queue(ANNA)
    room.do("update notify.messages set status = 'queued'")
    room.do("update notify.recipients set outcome = 'pending'")
    told = notify("suppressions", "add", ANNA, "--reason", "moved", "--days", "3")
    assert "on the list already" in told
    assert "1 queued message was suppressed." in told
    assert room.read(number).status_reason == "on the suppression list: unsubscribed"


def test_one_refused_takes_all_along(room: Postroom, notify: Command, refuse: Command) -> None:
    """Of several messages none is changed where one is refused; that is told, and what can be done with that one."""
    held, other = str(room.queue(ANNA)), str(room.queue(BOB))
    assert notify("messages", "hold", held) == f"Message {held} is held.\n"
    said = refuse("messages", "hold", other, held)
    assert f"Message {held} is held; only queued can become held." in said
    assert f"release it first: python -m notify messages release {held}" in said
    assert "Nothing was changed" in said
    assert "Nothing was changed" not in refuse("messages", "hold", held)
    assert room.read(int(other)).status is Status.QUEUED
    notify("messages", "cancel", held, other)
    assert {room.read(int(one)).status for one in (held, other)} == {Status.CANCELLED}
    assert f"python -m notify messages resend {held}" in refuse("messages", "hold", held)


def test_what_arrived_is_not_sent_again(room: Postroom, refuse: Command) -> None:
    """A delivered message cannot be resent, and the error says what to do instead."""
    message = room.send(ANNA)
    room.bounce(message, said=[(ANNA, "2.1.5", "smtp; 250 2.1.5 OK")], action="delivered")
    room.run()
    assert "hand over a new message" in refuse("messages", "resend", str(message.id))


def test_a_doubt_is_settled(room: Postroom, notify: Command, refuse: Command) -> None:
    """A person says that an uncertain message arrived; of any other message that cannot be said."""
    number = str(room.queue(ANNA))
    assert "only uncertain can become delivered" in refuse("messages", "arrived", number)
    room.do("update notify.messages set status = 'sending', guarantee = 'at_most_once'")
    room.do("update notify.messages set status = 'uncertain'")
    assert f"If it did: python -m notify messages arrived {number}" in refuse("messages", "hold", number)
    assert notify("messages", "arrived", number) == f"Message {number} is delivered.\n"
    assert room.read(int(number)).status is Status.DELIVERED
