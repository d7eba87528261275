"""Mails that come back: read from a real IMAP server, noted in a real PostgreSQL, told to their senders."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify.bouncing import BounceResult
from notify.channels.memory import MemoryChannel
from notify.domain.outcome import Verdict
from notify.domain.person import Person
from notify.domain.status import Status
from notify.exceptions import MailboxFault
from notify.mailboxes.imap import ImapSource
from notify.mailboxes.imap_settings import ImapSettings
from notify.publishing import publish_event
from notify.settings import HandOverSettings
from notify.storage import bounces, outbox, people, suppressions
from notify.storage.engine import transaction
from notify.storage.register import RegisteredMessage
from tests.dsn_fuzzer import SAMPLES
from tests.imap_server import ImapServer, stumbling
from tests.returns import FULL, GONE, MAILBOX, SPAM, Postroom, dsn, imap_connection

ANNA, BOB, CYRIL = "anna@customer.example", "bob@customer.example", "cyril@customer.example"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with ImapServer() as running:
        yield running


@pytest.fixture
def room(engine: Engine, hand_over_settings: HandOverSettings, server: ImapServer) -> Postroom:
    """A post room whose mailbox is empty."""
    room = Postroom(engine, hand_over_settings, server)
    server.flag(r"(\Deleted)")
    with server._reader() as client:
        client.expunge()
    return room


def counted(result: BounceResult) -> dict[str, object]:
    """What a run counted, without what is none."""
    names = set(BounceResult.__dataclass_fields__) - {"seconds", "stopped", "looked_at"}
    return {name: value for name in sorted(names) if (value := getattr(result, name))}


# --- One message -----------------------------------------------------------------------------------------------------


def test_hard(room: Postroom) -> None:
    """A hard bounce: the message is undelivered, its address gets nothing for 90 days, for the server's own reason."""
    message = room.send(ANNA)
    room.bounce(message)
    result = room.run()
    assert counted(result) == {"reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1, "untold": 1}
    message = room.read(message.id)
    assert message.status is Status.UNDELIVERED
    assert message.status_reason == "came back: 550 5.1.1 no such mailbox"
    (recipient,) = message.recipients
    assert (recipient.outcome, recipient.code) == ("permanent", 550)
    last = message.events[-1]
    assert (last.from_status, last.to_status, last.actor) == ("sent", "undelivered", "delivery report")
    found = room.suppressed()[ANNA]
    assert found.reason == f"message {message.id} came back: 550 5.1.1 no such mailbox"
    assert found.source == "bounce"
    assert found.expires_at is not None
    assert abs(found.expires_at - datetime.now(UTC) - 90 * DAY) < timedelta(minutes=5)


def test_reading_again_changes_nothing(room: Postroom) -> None:
    """A report that is read twice, or comes twice, has its effects once."""
    message = room.send(ANNA, reply_to=BOB)
    raw = room.bounce(message)
    room.run()
    before = room.state()
    room.server.deliver(raw, b"Received: by another way\r\n" + raw)
    result = room.run()
    assert counted(result) == {"repeated": 2}
    assert room.state() == before


def test_lifted_and_sent_again(room: Postroom) -> None:
    """What came back can be sent again; it may come back again, and that is not told a second time."""
    message = room.send(ANNA, reply_to=BOB)
    room.bounce(message)
    assert room.run().told == 1
    with transaction(room.engine) as connection:
        assert suppressions.lift(connection, ANNA)
        outbox.resend(connection, message.id)
    assert [mail.recipients for mail in room.drain().outbox] == [(BOB,), (ANNA,)]
    assert room.read(message.id).status is Status.SENT
    room.bounce(message)
    assert counted(room.run()) == {"reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1}
    assert room.read(message.id).status is Status.UNDELIVERED


def test_found_by_message_id(room: Postroom) -> None:
    """Where the report came to the mailbox's own address, the Message-ID finds the message."""
    message = room.send(ANNA)
    room.bounce(message, to=MAILBOX)
    assert room.run().undelivered == 1


def test_found_by_return_path(room: Postroom) -> None:
    """Where the report names no Message-ID, the address that it came to finds the message."""
    message = room.send(ANNA)
    room.server.deliver(dsn("none", [(ANNA, *GONE)], to=room.return_path(message)))
    assert room.run().undelivered == 1


def test_forged(room: Postroom) -> None:
    """Who has not seen the mail can make none come back: neither by its number, nor by another mail's check."""
    message, mine = room.send(ANNA), room.send(BOB)
    check = room.return_path(message, mine.message_id)
    room.server.deliver(
        dsn("<guessed@example.com>", [(ANNA, *GONE)], to=check),
        dsn("<guessed@example.com>", [(ANNA, *GONE)], to=f"bounces+{message.id}-0123456789@example.com"),
    )
    before = room.state()
    assert counted(room.run()) == {"ignored": {"not_ours": 2}}
    assert room.state() == before


def test_forged_with_the_old_check(room: Postroom) -> None:
    """The Message-ID, which answers and archives show, does not tell the address that its mail comes back to."""
    message = room.send(ANNA)
    check = hashlib.sha256(message.message_id.encode()).hexdigest()[:10]
    room.server.deliver(dsn("none", [(ANNA, *GONE)], to=f"bounces+{message.id}-{check}@example.com"))
    assert counted(room.run()) == {"ignored": {"not_ours": 1}}


def by_references(room: Postroom, message: RegisteredMessage) -> None:
    """A report that only says what it answers to."""
    raw = dsn("none", [(ANNA, *GONE)])
    room.server.deliver(b"References: " + message.message_id.encode() + b"\r\n" + raw)


def by_message_id(room: Postroom, message: RegisteredMessage) -> None:
    """A report that brings the mail back, and came to the mailbox's own address."""
    room.server.deliver(dsn(message.message_id, [(ANNA, *GONE)]))


def by_return_path(room: Postroom, message: RegisteredMessage) -> None:
    """A report that came to the mail's own address."""
    room.server.deliver(dsn(message.message_id, [(ANNA, *GONE)], to=room.return_path(message)))


@pytest.mark.parametrize(
    ("forge", "recipients"),
    [(by_references, [ANNA]), (by_message_id, [ANNA]), (by_references, [ANNA, BOB]), (by_return_path, [ANNA, BOB])],
)
def test_made_up_by_others(
    room: Postroom, forge: Callable[[Postroom, RegisteredMessage], None], recipients: list[str]
) -> None:
    """One hard report that others than its reader can make up suppresses no address: three do, and for a week only."""
    for number in range(3):
        assert room.suppressed() == {}, number
        message = room.send(*recipients)
        forge(room, message)
        forge(room, message)
        assert room.run().reports == 2
        assert room.read(message.id).recipients[0].outcome == "permanent"
    found = room.suppressed()[ANNA]
    assert found.expires_at is not None
    assert abs(found.expires_at - datetime.now(UTC) - 7 * DAY) < timedelta(minutes=5)


def test_made_up_of_what_waits(room: Postroom) -> None:
    """A hard report that its reader's fellows can make up does not keep back what is to be sent to them again."""
    message = room.send(ANNA, BOB)
    force(room, message.id, Status.QUEUED, "in_doubt")
    by_return_path(room, message)
    room.run()
    assert [one.outcome for one in room.read(message.id).recipients] == ["in_doubt", "in_doubt"]


@pytest.mark.parametrize(("age", "suppressed"), [(DAY * 14 - timedelta(hours=1), 1), (DAY * 14, 0)])
def test_late(room: Postroom, age: timedelta, suppressed: int) -> None:
    """What comes back more than 14 days after it was sent is noted with the message, and held against nobody."""
    message = room.send(ANNA)
    room.do("update notify.messages set sent_at = sent_at - cast(:age as interval)", age=age)
    room.do("update notify.attempts set begun_at = begun_at - cast(:age as interval), ended_at = ended_at - "
            "cast(:age as interval)", age=age)  # fmt: skip
    room.bounce(message)
    result = room.run()
    assert (result.undelivered, result.suppressed) == (1, suppressed)
    assert room.rows("select counts from notify.bounces") == [(bool(suppressed),)]


def test_a_message_that_was_never_sent(room: Postroom) -> None:
    """What never left cannot come back: a report that says so is held against nobody."""
    message = room.read(room.queue(ANNA))
    room.bounce(message)
    assert room.run().suppressed == 0
    assert room.read(message.id).status is Status.QUEUED


def test_what_is_named_is_not_locked(room: Postroom) -> None:
    """A report that names many messages locks only the one that it came back for, if any."""
    ours, others = room.send(ANNA), [room.send(BOB) for _ in range(3)]
    named = " ".join(f"bounces+{other.id}-0123456789@example.com" for other in others)
    room.server.deliver(dsn("none", [(BOB, *GONE)], to=named), dsn("none", [(ANNA, *GONE)], to=room.return_path(ours)))
    database = room.engine.url.database
    room.do(f"alter database {database} set lock_timeout = '10s'")  # who waits fails, and does not hang
    room.engine.dispose()
    with transaction(room.engine) as other:
        other.execute(sa.text("select from notify.messages where id <> :id for update"), {"id": ours.id})
        result = room.run()
    assert counted(result) == {
        "reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1, "untold": 1, "ignored": {"not_ours": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("action", "status", "counts"),
    [
        ("delayed", Status.SENT, "delayed"),
        ("relayed", Status.SENT, "relayed"),
        ("expanded", Status.SENT, "relayed"),
        ("delivered", Status.DELIVERED, "delivered"),
    ],
)
def test_what_is_no_failure(room: Postroom, action: str, status: Status, counts: str) -> None:
    """A delay is noted; a delivery makes the message delivered; neither is told to anybody."""
    message = room.send(ANNA, reply_to=BOB)
    room.bounce(message, ("2.0.0", "smtp; 250 ok"), action=action)
    assert counted(room.run()) == {"reports": 1, counts: 1}
    assert room.read(message.id).status is status
    assert room.suppressed() == {}
    with room.engine.connect() as connection:
        (told,) = bounces.of_message(connection, message.id)
    assert (told.action, told.blame, told.notice) == (action, None, "none")


def test_delivered_to_all(room: Postroom) -> None:
    """A message is delivered when reports say so of each recipient, in one report or several."""
    message = room.send(ANNA, BOB)
    ok = ("2.0.0", "smtp; 250 ok")
    room.bounce(message, said=[(ANNA, *ok)], action="delivered")
    room.run()
    assert room.read(message.id).status is Status.SENT
    room.bounce(message, said=[(BOB, *ok)], action="delivered")
    room.run()
    assert room.read(message.id).status is Status.DELIVERED


def test_back_after_all(room: Postroom) -> None:
    """What was delivered, and comes back from behind the server that said so, is undelivered."""
    message = room.send(ANNA)
    room.bounce(message, ("2.0.0", "smtp; 250 ok"), action="delivered")
    room.bounce(message)
    room.run()
    assert [event.to_status for event in room.read(message.id).events][-2:] == ["delivered", "undelivered"]


def test_not_the_address(room: Postroom) -> None:
    """A refusal that is not the address's fault makes the message undelivered, and counts against nobody."""
    for _ in range(4):
        room.bounce(room.send(ANNA), SPAM)
    assert counted(room.run()) == {"reports": 4, "blameless": 4, "undelivered": 4, "untold": 4}
    assert room.suppressed() == {}


# --- Several recipients ----------------------------------------------------------------------------------------------


def test_one_of_several(room: Postroom) -> None:
    """Where some were reached, the message stays sent and says how many were not; the last makes it undelivered."""
    message = room.send(ANNA, BOB, CYRIL)
    room.bounce(message, said=[(ANNA, *GONE)])
    room.run()
    message = room.read(message.id)
    assert message.status is Status.SENT
    assert message.status_reason == "came back: 550 5.1.1 no such mailbox (1 of 3 recipients not reached)"
    assert [one.outcome for one in message.recipients] == ["permanent", "accepted", "accepted"]
    room.bounce(message, said=[(BOB, *FULL), (CYRIL, *SPAM)])
    assert counted(room.run()) == {"reports": 1, "soft": 1, "blameless": 1, "undelivered": 1, "untold": 2}
    assert room.read(message.id).status is Status.UNDELIVERED
    assert room.suppressed() == {}


def test_resend_reaches_the_others(room: Postroom) -> None:
    """After a bounce of one of several, a resend goes to that one only."""
    message = room.send(ANNA, BOB)
    room.bounce(message, said=[(ANNA, *FULL)])
    room.run()
    with transaction(room.engine) as connection:
        outbox.resend(connection, message.id)
    assert [mail.recipients for mail in room.drain().outbox] == [(ANNA,)]


def test_case_makes_no_difference(room: Postroom) -> None:
    """A server that writes the address in another case means the same."""
    message = room.send("Anna@Customer.example", BOB)
    room.bounce(message, said=[("ANNA@CUSTOMER.EXAMPLE", *GONE)])
    room.run()
    assert [one.outcome for one in room.read(message.id).recipients] == ["permanent", "accepted"]
    assert room.rows("select address, counts from notify.bounces") == [(ANNA, True)]


@pytest.mark.parametrize("original", [None, ANNA])
def test_forwarded(room: Postroom, original: str | None) -> None:
    """What was forwarded and came back from there is undelivered, but the address itself is not to blame."""
    message = room.send(ANNA)
    room.bounce(message, said=[("anna@elsewhere.example", *GONE)], original=original)
    assert counted(room.run()) == {"reports": 1, "hard": 1, "undelivered": 1, "untold": 1}
    assert "from where it was forwarded" in (room.read(message.id).status_reason or "")
    assert room.suppressed() == {}


def test_nobody_of_the_message(room: Postroom) -> None:
    """A report about an address that no recipient has is kept with the message, and changes none of them."""
    message = room.send(ANNA, BOB)
    room.bounce(message, said=[("who@elsewhere.example", *GONE)])
    room.run()
    message = room.read(message.id)
    assert message.status is Status.SENT
    assert [one.outcome for one in message.recipients] == ["accepted", "accepted"]
    assert "0 of 2 recipients not reached" in (message.status_reason or "")


def test_erased_recipients(room: Postroom) -> None:
    """A report about a message whose recipients were erased is kept, and breaks nothing."""
    message = room.send(ANNA)
    room.do("delete from notify.recipients")
    room.bounce(message)
    assert counted(room.run()) == {"reports": 1, "hard": 1, "untold": 1}
    assert room.read(message.id).status is Status.SENT


# --- States ----------------------------------------------------------------------------------------------------------


def force(room: Postroom, number: int, status: Status, outcome: str) -> None:
    """Put a message into a state, however that may have come about."""
    room.do("alter table notify.messages disable trigger user")
    room.do(
        "update notify.messages set status = :status, guarantee = 'at_most_once', sent_at = null where id = :id "
        "and :status not in ('sent', 'delivered', 'undelivered')",
        status=status.value,
        id=number,
    )
    room.do("update notify.messages set status = :status where id = :id", status=status.value, id=number)
    room.do("alter table notify.messages enable trigger user")
    room.do("update notify.recipients set outcome = :outcome where message_id = :id", outcome=outcome, id=number)


@pytest.mark.parametrize(
    ("status", "outcome", "after", "outcome_after"),
    [
        (Status.SENT, "accepted", Status.UNDELIVERED, "permanent"),
        (Status.DELIVERED, "accepted", Status.UNDELIVERED, "permanent"),
        (Status.UNCERTAIN, "in_doubt", Status.UNDELIVERED, "permanent"),
        (Status.QUEUED, "in_doubt", Status.SUPPRESSED, "permanent"),
        (Status.QUEUED, "pending", Status.SUPPRESSED, "permanent"),
        (Status.UNDELIVERED, "permanent", Status.UNDELIVERED, "permanent"),
        (Status.FAILED, "in_doubt", Status.FAILED, "permanent"),
        (Status.CANCELLED, "pending", Status.CANCELLED, "pending"),
        (Status.HELD, "pending", Status.HELD, "pending"),
        (Status.EXPIRED, "in_doubt", Status.EXPIRED, "permanent"),
        (Status.SUPPRESSED, "pending", Status.SUPPRESSED, "pending"),
    ],
)
def test_states(room: Postroom, status: Status, outcome: str, after: Status, outcome_after: str) -> None:
    """A hard bounce breaks no state; it settles a doubt, and keeps back what would go there again."""
    message = room.send(ANNA)
    force(room, message.id, status, outcome)
    room.bounce(message)
    result = room.run()
    assert (result.reports, result.unreadable) == (1, 0)
    reason = message.status_reason
    message = room.read(message.id)
    assert message.status is after
    assert (message.status_reason == reason) is (after is status)
    assert [one.outcome for one in message.recipients] == [outcome_after]
    assert set(room.suppressed()) == {ANNA}


def test_a_soft_bounce_of_what_is_tried_again(room: Postroom) -> None:
    """A message that is tried again anyway stays in the queue when an earlier try came back softly."""
    message = room.send(ANNA)
    force(room, message.id, Status.QUEUED, "in_doubt")
    room.bounce(message, FULL)
    room.run()
    assert room.read(message.id).status is Status.QUEUED


def test_a_message_that_is_being_sent(room: Postroom) -> None:
    """A report that is quicker than the drain's own commit waits in the mailbox, and is taken by the next run."""
    message = room.send(ANNA)
    force(room, message.id, Status.SENDING, "pending")
    room.bounce(message)
    before = room.state()
    for _ in range(2):
        assert counted(room.run()) == {"postponed": 1, "left": 1}
    assert room.state() == before
    room.do("update notify.messages set sent_at = now()")
    force(room, message.id, Status.SENT, "accepted")
    assert room.run().undelivered == 1


# --- Suppression -----------------------------------------------------------------------------------------------------


def test_three_soft_ones(room: Postroom) -> None:
    """The third message to come back softly within a week suppresses its address for a week."""
    for number in range(3):
        assert room.suppressed() == {}, number
        room.bounce(room.send(ANNA), FULL)
        result = room.run()
    assert (result.soft, result.suppressed) == (1, 1)
    found = room.suppressed()[ANNA]
    assert found.reason.startswith("3 messages came back in 7 days, the last of them message ")
    assert found.expires_at is not None
    assert abs(found.expires_at - datetime.now(UTC) - 7 * DAY) < timedelta(minutes=5)


def test_what_makes_no_three(room: Postroom) -> None:
    """Three reports of one message are one; those of more than a week ago, and of another address, do not count."""
    message = room.send(ANNA, BOB)
    for _ in range(3):
        room.bounce(message, said=[(ANNA, *FULL)])
    room.run()
    room.bounce(room.send(ANNA), FULL)
    room.run()
    room.do("update notify.bounces set received_at = now() - interval '7 days 1 minute'")
    for who in (ANNA, ANNA, BOB, BOB):
        room.bounce(room.send(who), FULL)
    room.run()
    assert room.suppressed() == {}


def test_lifting_forgives(room: Postroom) -> None:
    """Once lifted, an address is suppressed again by three new ones only."""
    for _ in range(3):
        room.bounce(room.send(ANNA), FULL)
    room.run()
    with transaction(room.engine) as connection:
        assert suppressions.lift(connection, ANNA)
    for _ in range(2):
        room.bounce(room.send(ANNA), FULL)
    assert room.run().suppressed == 0
    room.bounce(room.send(ANNA), FULL)
    assert room.run().suppressed == 1


def test_for_good_stays_for_good(room: Postroom) -> None:
    """An address that a person has put on the list for good is not brought back by a bounce's expiry."""
    message = room.send(ANNA)
    with transaction(room.engine) as connection:
        suppressions.add(connection, ANNA, "asked to be left alone", None)
    room.bounce(message)
    assert room.run().suppressed == 0
    found = room.suppressed()[ANNA]
    assert (found.reason, found.source, found.expires_at) == ("asked to be left alone", "person", None)


def test_what_waits_is_kept_back(room: Postroom) -> None:
    """What is queued for a suppressed address alone is not sent, and what others get too goes to these alone."""
    message = room.send(ANNA)
    alone, shared, held = room.queue(ANNA), room.queue("ANNA@customer.example", BOB), room.queue(ANNA)
    others = room.queue(BOB)
    with transaction(room.engine) as connection:
        outbox.hold(connection, held)
    room.bounce(message)
    assert room.run().withheld == 1
    states = [room.read(number).status.value for number in (alone, shared, held, others)]
    assert states == ["suppressed", "queued", "held", "queued"]
    assert (room.read(alone).status_reason or "").startswith(f"on the suppression list: message {message.id} came")
    assert sorted(mail.recipients for mail in room.drain().outbox) == [(BOB,), (BOB,)]
    assert [one.outcome for one in room.read(shared).recipients] == ["permanent", "accepted"]


def test_what_reached_others_before(room: Postroom) -> None:
    """What waits for a suppressed address, and has reached all others, ends as sent."""
    message = room.send(ANNA)
    number = room.queue(ANNA, BOB)
    refusing = MemoryChannel()
    refusing.refuse(ANNA, Verdict.TEMPORARY, 450, "later")
    room.drain(refusing)
    assert [one.outcome for one in room.read(number).recipients] == ["temporary", "accepted"]
    room.bounce(message)
    room.run()
    room.do("update notify.messages set not_before = now() where status = 'queued'")
    assert room.drain().outbox == []
    assert room.read(number).status is Status.SENT


def test_somebody_is_moving_it(room: Postroom) -> None:
    """What somebody else is at in this moment is left to them: no run waits for it."""
    message, waiting = room.send(ANNA), room.queue(ANNA)
    room.bounce(message)
    database = room.engine.url.database
    room.do(f"alter database {database} set lock_timeout = '10s'")  # who waits fails, and does not hang
    room.engine.dispose()
    with transaction(room.engine) as other:
        other.execute(sa.text("select from notify.messages where id = :id for update"), {"id": waiting})
        assert counted(room.run()) == {"reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1, "untold": 1}


def test_two_runs_at_once(room: Postroom) -> None:
    """Two runs that read the same mailbox at once note each report once."""
    messages = [room.send(ANNA, BOB, one_mail=True, reply_to=CYRIL) for _ in range(12)]
    for message in messages:
        room.bounce(message, FULL)
    results: list[BounceResult] = []
    runs = [threading.Thread(target=lambda: results.append(room.run(batch=3))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert len(results) == 2
    assert sum(result.reports for result in results) == 12
    assert sum(result.undelivered for result in results) == 12
    assert sum(result.told for result in results) == 24
    assert room.rows("select count(*) from notify.bounces") == [(24,)]
    assert set(room.suppressed()) == {ANNA, BOB}


# --- The sender is told ----------------------------------------------------------------------------------------------


def notices(room: Postroom) -> list[tuple[list[str], str, str]]:
    """The notices in the outbox: recipients, subject and text."""
    found = room.rows("""
        select m.id, m.subject, c.body, m.headers from notify.messages m join notify.contents c on c.id = m.content_id
        where m.kind = 'undelivered' order by m.id
    """)
    told = []
    for number, subject, body, headers in found:
        parsed = message_from_bytes(headers + body, policy=policy.default)
        part = parsed.get_body(("plain",))
        text = part.get_content() if part is not None else ""  # type: ignore[union-attr]  # the policy's own class
        told.append(([one.address for one in room.read(number).recipients], subject, text))
    return told


def test_where_answers_go(room: Postroom) -> None:
    """Whoever gets the answers to a mail is told that it came back: which, to whom, why, and what follows."""
    message = room.send(ANNA, subject="Your invoice", reply_to="Bob <bob@customer.example>")
    room.bounce(message)
    assert counted(room.run(contact=CYRIL)) == {
        "reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1, "notices": 1, "told": 1,
    }  # fmt: skip
    ((to, subject, text),) = notices(room)
    assert to == [BOB]
    assert subject == "Not delivered: Your invoice"
    for words in (ANNA, "550 5.1.1 no such mailbox", str(message.id), "no mail is sent to this address until"):
        assert words in text


def test_whoever_did_it(room: Postroom) -> None:
    """Of an event's mail, whoever did what it tells of is told, in their language."""
    with transaction(room.engine) as connection:
        people.save(connection, [Person(login="pawel", name="Paweł", email=CYRIL, language="pl")])
        published = publish_event(
            connection, {"kind": "case_received", "case": "INV-1", "actor": "pawel", "recipients": ANNA}, room.settings
        )
    assert published.mails == 1
    room.drain()
    ((number,),) = room.rows("select id from notify.messages")
    room.bounce(room.read(number))
    room.run(contact=BOB)
    ((to, subject, _),) = notices(room)
    assert to == [CYRIL]
    assert subject.startswith("Nie doręczono: ")


@pytest.mark.parametrize("trouble", ["inactive", "without address", "suppressed", "unknown"])
def test_the_contact(room: Postroom, trouble: str) -> None:
    """Where neither can be told, the contact is."""
    pawel = Person(
        login="pawel",
        name="Paweł",
        email=None if trouble == "without address" else CYRIL,
        active=trouble != "inactive",
    )
    with transaction(room.engine) as connection:
        if trouble != "unknown":
            people.save(connection, [pawel])
        if trouble == "suppressed":
            suppressions.add(connection, CYRIL, "gone", None)
        publish_event(
            connection, {"kind": "case_received", "case": "INV-1", "actor": "pawel", "recipients": ANNA}, room.settings
        )
    room.drain()
    ((number,),) = room.rows("select id from notify.messages")
    room.bounce(room.read(number), FULL)
    assert room.run(contact=BOB).notices == 1
    assert [to for to, _, _ in notices(room)] == [[BOB]]


def test_not_by_what_came_back(room: Postroom) -> None:
    """Whose own mail came back is not told by another mail to the same address."""
    room.bounce(room.send(ANNA, reply_to=ANNA), FULL)
    assert room.run(contact=BOB).notices == 1
    assert [to for to, _, _ in notices(room)] == [[BOB]]


def test_nobody_to_tell(room: Postroom) -> None:
    """Where nobody is known, nobody is told, now or later; the run says so."""
    room.bounce(room.send(ANNA))
    assert room.run().untold == 1
    assert counted(room.run(contact=BOB)) == {}


@pytest.mark.parametrize(
    "fields", [{"priority": "bulk"}, {"template": "undelivered", "message": None, "subject": None}]
)
def test_never_told(room: Postroom, fields: dict[str, object]) -> None:
    """Of bulk that came back, and of a notice that did, nobody is told: that would be a storm, or a loop."""
    if "template" in fields:
        fields = fields | {"data": {"mails": [], "more": 2}}
    room.bounce(room.send(ANNA, reply_to=BOB, **fields))
    assert counted(room.run(contact=CYRIL)) == {"reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1}


def test_one_notice_for_all(room: Postroom) -> None:
    """Whatever came back in a run, each of the senders gets one mail; each mail and recipient is told of once."""
    for _ in range(3):
        message = room.send(ANNA, CYRIL, reply_to=BOB, one_mail=True)
        room.bounce(message, FULL)
        room.bounce(message, SPAM)
    assert room.run().told == 6
    ((_, subject, text),) = notices(room)
    assert subject == "6 mails were not delivered"
    assert text.count(ANNA) == 3
    room.bounce(message)
    room.run()
    assert len(notices(room)) == 1


def test_a_notice_names_so_many(room: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice of very many mails names some of them, and counts the others."""
    monkeypatch.setattr("notify.undelivered.NAMED", 2)
    for _ in range(5):
        room.bounce(room.send(ANNA, reply_to=BOB), SPAM)
    room.run()
    ((_, subject, text),) = notices(room)
    assert subject == "5 mails were not delivered"
    assert text.count(ANNA) == 2
    assert "and 3 more" in text


def test_a_contact_that_is_none(room: Postroom) -> None:
    """A contact that cannot be reached is told of as soon as it is corrected; the run goes on."""
    room.bounce(room.send(ANNA))
    assert counted(room.run(contact="nobody-here")) == {
        "reports": 1, "hard": 1, "undelivered": 1, "suppressed": 1, "untellable": 1,
    }  # fmt: skip
    assert counted(room.run(contact=BOB)) == {"notices": 1, "told": 1}


def test_a_contact_that_is_none_holds_up_nobody(
    room: Postroom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However many mails cannot be told of, those behind them are; the log names the Variable, and no address."""
    monkeypatch.setattr("notify.undelivered.MOST", 2)
    wrong = "anna@nowhere@example.com"
    for reply_to in [None] * 5 + [BOB] * 3:
        room.bounce(room.send(CYRIL, reply_to=reply_to), SPAM)
    caplog.set_level(logging.INFO)
    assert counted(room.run(contact=wrong)) == {
        "reports": 8, "blameless": 8, "undelivered": 8, "notices": 1, "told": 1, "untellable": 5,
    }  # fmt: skip
    assert counted(room.run(contact=wrong)) == {"notices": 1, "told": 1, "untellable": 5}
    assert [to for to, _, _ in notices(room)] == [[BOB], [BOB]]
    assert caplog.text.count("Correct the Variable notify_bounce_contact") == 2
    assert wrong not in caplog.text
    room.run(contact=ANNA)
    assert notices(room)[-1][0] == [ANNA]


# --- The mailbox -----------------------------------------------------------------------------------------------------


def samples() -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path(SAMPLES).glob("*.eml"))]


def test_all_that_lands_there(room: Postroom) -> None:
    """Everything that lands in a mailbox is counted by what it is, and put away; what cannot be read is flagged."""
    room.server.deliver(*samples())
    result = room.run(batch=7)
    assert counted(result) == {
        "ignored": {"auto_reply": 1, "complaint": 1, "other": 1, "read_receipt": 1, "not_ours": 21},
        "unreadable": 1,
    }
    (flags,) = room.server.flags()
    assert flags == {"\\Flagged"}
    assert counted(room.run()) == {}


def test_a_poisoned_mail(room: Postroom, caplog: pytest.LogCaptureFixture) -> None:
    """A mail that cannot be read keeps no other from being read; the log names it, and no address."""
    caplog.set_level(logging.INFO)
    first, second = room.send(ANNA), room.send(BOB)
    room.bounce(first)
    room.server.deliver((SAMPLES / "report_without_status.eml").read_bytes())
    room.bounce(second)
    result = room.run()
    assert (result.undelivered, result.unreadable) == (2, 1)
    assert (
        "of imap_bounces is flagged, for a person to look at: The mail says that it is a delivery report" in caplog.text
    )
    assert "@" not in caplog.text


@pytest.mark.parametrize("processed", ["Processed", "Erledigt/Zurück & mehr", "\\Seen", "\\Deleted"])
@pytest.mark.parametrize("moves", [True, False], ids=["MOVE", "COPY"])
def test_putting_away(room: Postroom, monkeypatch: pytest.MonkeyPatch, processed: str, moves: bool) -> None:
    """What was read is moved, marked or deleted, with and without MOVE; what is no report of ours is never deleted."""
    if not moves:
        monkeypatch.setattr("notify.mailboxes.imap.ImapMailbox._capabilities", lambda _: frozenset({"UIDPLUS"}))
    report = room.bounce(room.send(ANNA))
    other = (SAMPLES / "on_holiday.eml").read_bytes()
    room.server.deliver(other)
    assert room.run(source=room.source(processed=processed)).undelivered == 1
    left = room.server.contents()
    if processed == "\\Seen":
        assert left == [report, other]
        assert room.server.flags() == [{"\\Seen"}, {"\\Seen"}]
    elif processed == "\\Deleted":
        assert left == [other]
    else:
        assert left == []
        folder = "Erledigt/Zur&APw-ck &- mehr" if "/" in processed else processed
        assert room.server.contents(f'"{folder}"')[-2:] == [report, other]
    assert counted(room.run(source=room.source(processed=processed))) == {}


def test_without_uidplus(room: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with neither MOVE nor UIDPLUS has it marked as deleted, and that is not read again."""
    monkeypatch.setattr("notify.mailboxes.imap.ImapMailbox._capabilities", lambda _: frozenset())
    room.bounce(room.send(ANNA))
    room.run()
    assert room.server.flags() == [{"\\Deleted"}]
    assert counted(room.run()) == {}


def test_another_folder(room: Postroom) -> None:
    """The mailbox may be a folder."""
    report = room.bounce(room.send(ANNA))
    with room.server._reader() as client:
        client.create("Returned")
        client.copy("1:*", "Returned")
    assert room.run(source=room.source(mailbox="Returned")).undelivered == 1
    assert room.server.contents() == [report]


def test_many_mails(room: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """More mails than one search, one batch or one run takes are all read in the end, each once."""
    monkeypatch.setattr("notify.mailboxes.imap.STRIDE", 4)
    for _ in range(11):
        room.bounce(room.send(ANNA), SPAM)
    first = room.run(batch=3, most=7)
    assert (first.looked_at, first.stopped) == (7, "7 mails are enough for one run")
    assert room.run(batch=3, most=7).looked_at == 4
    assert room.rows("select count(*) from notify.bounces") == [(11,)]


def test_a_huge_mail(room: Postroom) -> None:
    """Of a huge mail only the beginning is fetched, and read."""
    message = room.send(ANNA)
    raw = dsn(message.message_id, [(ANNA, *GONE)]) + b"x" * 5_000_000
    room.server.deliver(raw)
    assert room.run().undelivered == 1


def test_stopped(room: Postroom) -> None:
    """A run that is told to stop begins no further mail; what it had read is put away, the rest is the next one's."""
    for _ in range(5):
        room.bounce(room.send(ANNA), SPAM)
    stop = threading.Event()

    class Stopping:
        """Stops the run at the third mail."""

        name = "imap_bounces"

        def open(self):  # type: ignore[no-untyped-def]
            opened = room.source().open()
            mailbox = opened.__enter__()
            fetch = mailbox.fetch

            def fetched(numbers: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
                for position, mail in enumerate(fetch(numbers)):
                    if position == 2:
                        stop.set()
                    yield mail

            mailbox.fetch = fetched  # type: ignore[method-assign]
            return _Opened(opened, mailbox)

    result = room.run(source=Stopping(), stop=stop)  # type: ignore[arg-type]
    assert (result.looked_at, result.left, result.reports) == (2, 3, 2)
    assert len(room.server.contents()) == 3
    assert room.run().reports == 3


@pytest.mark.parametrize("words", [b"NO [SERVERBUG] Internal error", b""])
def test_a_mail_that_its_server_does_not_give(room: Postroom, words: bytes) -> None:
    """A mail that its server cannot read is flagged, for a person to look at; what lies around it is taken."""
    for _ in range(3):
        room.bounce(room.send(ANNA))
    with room.source().open() as mailbox:
        numbers = mailbox.waiting(10)
    with stumbling(room.server.port, numbers[1], words=words) as port:
        source = ImapSource(ImapSettings.of("imap_bounces", imap_connection(port)))
        result = room.run(source=source)
        assert (result.looked_at, result.reports, result.unreadable, result.left) == (3, 2, 1, 0)
        assert room.run(source=source).looked_at == 0
    assert room.server.flags() == [{r"\Flagged"}]


class _Opened:
    def __init__(self, opened, mailbox) -> None:  # type: ignore[no-untyped-def]
        self.opened, self.mailbox = opened, mailbox

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self.mailbox

    def __exit__(self, *error: object) -> None:
        self.opened.__exit__(*error)


def test_out_of_time(room: Postroom) -> None:
    """A run whose time is over leaves the rest to the next one."""
    room.bounce(room.send(ANNA))
    result = room.run(budget=timedelta(0))
    assert (result.left, result.stopped) == (1, "its time was over")


def test_the_mailbox_fails(room: Postroom) -> None:
    """What was read before a mailbox failed stands, and is told in the same run; the error says what to do."""
    room.bounce(room.send(ANNA, reply_to=BOB))
    source = room.source()

    class Failing:
        """Breaks off when the first batch is to be put away."""

        name = "imap_bounces"

        def open(self):  # type: ignore[no-untyped-def]
            opened = source.open()
            mailbox = opened.__enter__()
            finish = mailbox.finish

            def broken(numbers: Sequence[int]) -> None:
                mailbox._client.shutdown()  # type: ignore[attr-defined]
                finish(numbers)

            mailbox.finish = broken  # type: ignore[method-assign]
            return _Opened(opened, mailbox)

    with pytest.raises(MailboxFault, match="What to do: The next run tries again"):
        room.run(source=Failing())  # type: ignore[arg-type]
    assert [to for to, _, _ in notices(room)] == [[BOB]]
    assert counted(room.run()) == {"repeated": 1}
