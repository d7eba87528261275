"""SMS, from hand-over to receipt, through a real gateway's interface on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from sqlalchemy.engine import Connection, Engine

from dev.eurosms.book import Fate
from dev.eurosms.orders import Fault, altered, cut, error, fewer, garbage, never, refusal, truncated, twice
from dev.eurosms.server import EuroSms
from dev.ports import HOST
from notify.channels.eurosms import EuroSmsChannel
from notify.domain.channel import ChannelName
from notify.domain.person import Person
from notify.domain.status import Status
from notify.drain import Drainer, DrainResult
from notify.exceptions import InvalidMessage, SenderFault
from notify.handover import hand_over
from notify.receiving import Receiving, ReceivingResult
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import people, register, sms_parts
from notify.storage.register import RegisteredMessage

SENDER = "eurosms_default"
ANNA, BOB = "+421903622237", "+421905123456"
LONG = "x" * 161


@pytest.fixture
def gateway() -> Iterator[EuroSms]:
    """A gateway that behaves."""
    with EuroSms() as running:
        yield running


@pytest.fixture
def settings(hand_over_settings: HandOverSettings) -> HandOverSettings:
    """A sender of mails, and one of SMS."""

    def identity(sender: str) -> SenderIdentity:
        return SenderIdentity("example.com", None, ChannelName.SMS if sender == SENDER else ChannelName.EMAIL)

    return replace(hand_over_settings, senders=("smtp_default", SENDER), identity=identity, region="SK")


#: Fields in; the numbers of the messages out.
Queue = Callable[..., list[int]]


@pytest.fixture
def queue(connection: Connection, settings: HandOverSettings) -> Queue:
    """Hand SMS over, and commit."""

    def call(recipient: Any = ANNA, message: str = "Testovacia sprava", **fields: Any) -> list[int]:
        given = {"channel": "sms", "recipient": recipient, "message": message} | fields
        stored = hand_over(connection, given, settings).messages
        connection.commit()
        return [one.id for one in stored]

    return call


def channel(gateway: EuroSms, **extra: object) -> EuroSmsChannel:
    extras = {"sender": "MyShop", "timeout": 2} | extra
    described = AirflowConnection(
        conn_id=SENDER,
        conn_type="http",
        host=f"http://{HOST}",
        port=gateway.port,
        login="demo",
        password="testkey",
        extra=json.dumps(extras),
    )
    return EuroSmsChannel(SENDER, described)


def drain(engine: Engine, gateway: EuroSms, limit: int = -1, **extra: object) -> DrainResult:
    return Drainer(engine, channel(gateway, **extra), SENDER, limit=limit).run()


def receive(engine: Engine, gateway: EuroSms) -> ReceivingResult:
    source = channel(gateway).receipts()
    try:
        return Receiving(engine, SENDER, source).run()
    finally:
        source.close()


def read(connection: Connection, number: int) -> RegisteredMessage:
    connection.rollback()
    message = register.read(connection, number)
    connection.rollback()
    return message


def states(connection: Connection, numbers: list[int]) -> list[str]:
    return [read(connection, number).status.value for number in numbers]


def do(connection: Connection, statement: str) -> None:
    connection.execute(sa.text(statement))
    connection.commit()


def refused(connection: Connection, settings: HandOverSettings, **fields: Any) -> dict[str, str]:
    """The faults of an SMS, by field."""
    with pytest.raises(InvalidMessage) as error:
        hand_over(connection, {"channel": "sms", "recipient": ANNA, "message": "Hi"} | fields, settings)
    return {fault.field: fault.problem for fault in error.value.faults}


# --- Handed over -----------------------------------------------------------------------------------------------------


def test_a_number_in_two_writings_is_one_recipient(connection: Connection, queue: Queue) -> None:
    """Of a number named twice there is one SMS, kept as E.164, sent at most once unless the producer says otherwise."""
    [number] = queue("0903 622 237; +421903622237")
    message = read(connection, number)
    assert [one.address for one in message.recipients] == [ANNA]
    assert (message.channel, message.sender, message.parts) == (ChannelName.SMS, SENDER, 1)
    assert (message.guarantee, message.subject) == ("at_most_once", "SMS")
    [other] = queue(BOB, guarantee="at_least_once")
    assert read(connection, other).guarantee == "at_least_once"


def test_people_get_it_on_their_telephone(connection: Connection, settings: HandOverSettings, queue: Queue) -> None:
    """A login, and a group, stand for telephone numbers; who has none is named."""
    known = [
        Person(login="anna", name="Anna", phone="0903 622 237", groups=["team"]),
        Person(login="bob", name="Bob", phone=BOB, groups=["team"]),
        Person(login="cyril", email="cyril@example.com", groups=["team"]),
    ]
    people.save(connection, known)
    numbers = queue("anna; team")
    assert [read(connection, one).recipients[0].address for one in numbers] == [ANNA, BOB]
    assert "has no telephone number" in refused(connection, settings, recipient="cyril")["recipient"]


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"recipient": "anna@example.com"}, "recipient", "is no phone number"),
        ({"recipient": "nobody"}, "recipient", "is no phone number"),
        ({"recipient": "112"}, "recipient", "short code"),
        ({"subject": "Hello"}, "subject", "only for mails"),
        ({"cc": ANNA}, "cc", "only for mails"),
        ({"html": True}, "html", "only for mails"),
        ({"attachments": [{"filename": "a", "content": "b"}]}, "attachments", "only for mails"),
        ({"message": ""}, "message", "is missing"),
        ({"message": " \n "}, "message", "nothing to read"),
        ({"message": "x" * 1531}, "message", "11 parts"),
        ({"sender": "smtp_default"}, "sender", "is for email"),
        ({"message": None, "template": "welcome"}, "template", "no text for an SMS"),
    ],
)
def test_what_is_no_sms_is_refused(
    connection: Connection, settings: HandOverSettings, fields: dict[str, Any], field: str, problem: str
) -> None:
    """Each fault names its field, and nothing is stored."""
    assert problem in refused(connection, settings, **fields)[field]
    assert connection.scalar(sa.text("select count(*) from notify.messages")) == 0


def test_no_sender_of_sms(connection: Connection, settings: HandOverSettings) -> None:
    """Where no sender is for SMS, the error says what to add."""
    only_mail = replace(settings, senders=("smtp_default",))
    assert "eurosms_default" in refused(connection, only_mail)["channel"]


def test_mails_take_the_first_sender_of_mails(connection: Connection, settings: HandOverSettings) -> None:
    """A gateway at the head of the list is no sender of mails."""
    swapped = replace(settings, senders=(SENDER, "smtp_default"))
    mail = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello"}
    [stored] = hand_over(connection, mail, swapped).messages
    assert register.read(connection, stored.id).sender == "smtp_default"


def test_a_template_of_an_sms(connection: Connection, settings: HandOverSettings, tmp_path: Any) -> None:
    """A kind with sms.txt.j2 makes SMS, in the reader's language."""
    for language, text in (
        ("en", "Invoice {{ number }}, {{ recipient.name or 'colleague' }}"),
        ("sk", "Faktúra {{ number }}"),
    ):
        folder = tmp_path / "invoice" / language
        folder.mkdir(parents=True)
        (folder / "subject.txt.j2").write_text("Invoice")
        (folder / "body.txt.j2").write_text("Invoice")
        (folder / "sms.txt.j2").write_text(text)
    own = replace(settings, templates=tmp_path)
    fields = {"channel": "sms", "recipient": ANNA, "template": "invoice", "data": {"number": 7}}
    english = hand_over(connection, fields, own).messages[0].id
    slovak = hand_over(connection, fields | {"language": "sk"}, own).messages[0].id
    assert [_text(connection, one) for one in (english, slovak)] == ["Invoice 7, colleague", "Faktúra 7"]


def _text(connection: Connection, number: int) -> str:
    body: bytes = connection.execute(
        sa.text("select c.body from notify.messages m join notify.contents c on c.id = m.content_id where m.id = :id"),
        {"id": number},
    ).scalar_one()
    return body.decode()


def test_transliterated(connection: Connection, queue: Queue) -> None:
    """Diacritics cost parts, and can be left out on demand."""
    text = "Ďakujeme za objednávku, dorazí v pondelok. " * 3
    [as_it_is], [plain] = queue(message=text), queue(message=text, transliterate=True)
    assert read(connection, as_it_is).parts == 2
    assert read(connection, plain).parts == 1
    assert "Dakujeme" in _text(connection, plain)


# --- Sent ------------------------------------------------------------------------------------------------------------


def test_sent_in_requests_of_many(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """A queue of 250 leaves in requests of up to 100, each SMS once, with its text and its parts."""
    numbers = queue([f"+4219036{number:05}" for number in range(22000, 22248)])
    numbers += queue(ANNA, "Ďakujeme za objednávku") + queue(BOB, LONG)
    result = drain(engine, gateway)
    assert (result.accepted, result.waiting) == (250, 0)
    assert gateway.doubles() == []
    assert len(gateway.taken) == 250
    assert len(gateway.requests("send/m2m")) <= 25
    by_number = {sms.number: sms for sms in gateway.taken}
    assert by_number[421903622237].text == "Ďakujeme za objednávku"
    assert len(by_number[421905123456].parts) == 2
    assert states(connection, numbers) == ["sent"] * 250
    assert [one.number for one in sms_parts.of_message(connection, numbers[-1])] == [1, 2]


def test_a_gateway_that_names_all_parts_alike(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue
) -> None:
    """Names that are given twice, or are none, settle their messages all the same: no run breaks off over them."""
    numbers = queue([ANNA, BOB], LONG)
    gateway.order(altered(_named_alike))
    assert drain(engine, gateway).accepted == 2
    assert states(connection, numbers) == ["sent"] * 2


def _named_alike(body: Any) -> Any:
    return body | {"result": [one | {"i": ["a\x00b"] * 300} for one in body["result"]]}


def test_test_only(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """With the extra test, the gateway is asked and nothing is delivered or charged."""
    [number] = queue()
    drain(engine, gateway, test=True)
    assert states(connection, [number]) == ["sent"]
    assert gateway.taken == []
    assert len(gateway.requests("test/m2m")) == 1


# --- The limit -------------------------------------------------------------------------------------------------------


def test_the_limit_counts_parts(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """With five slots, two SMS of two parts leave; the third waits, and a short one behind it does not overtake."""
    numbers = [queue(message=LONG)[0] for _ in range(3)] + queue(message="short")
    result = drain(engine, gateway, limit=5)
    assert (result.accepted, result.held_back) == (2, 2)
    assert states(connection, numbers) == ["sent", "sent", "queued", "queued"]
    assert result.next_slot_at is not None
    do(connection, "update notify.attempts set ended_at = ended_at - interval '61 minutes'")
    assert drain(engine, gateway, limit=5).accepted == 2
    assert states(connection, numbers) == ["sent"] * 4


def test_more_parts_than_slots(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """An SMS of more parts than an hour has slots waits until all of them are free, and not for ever."""
    [short], [long] = queue(message="short"), queue(message="x" * 400)
    assert drain(engine, gateway, limit=2).accepted == 1
    assert states(connection, [short, long]) == ["sent", "queued"]
    do(connection, "update notify.attempts set ended_at = ended_at - interval '61 minutes'")
    assert drain(engine, gateway, limit=2).accepted == 1


# --- Gone wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        cut(taken=True),
        cut(),
        never(taken=True),
        error(503, taken=True),
        error(500),
        garbage(taken=True),
        truncated(),
        refusal("QUOTA_OF_THE_MOON", taken=True),
    ],
)
def test_no_answer_is_a_doubt_that_receipts_settle(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue, fault: Fault
) -> None:
    """What no answer says was taken or not is never sent twice; a receipt with our key settles it."""
    numbers = queue([ANNA, BOB], LONG)
    gateway.order(fault)
    assert drain(engine, gateway, timeout=1).uncertain == 2
    drain(engine, gateway)
    assert gateway.doubles() == []
    assert states(connection, numbers) == ["uncertain"] * 2
    result = receive(engine, gateway)
    assert (result.settled, result.delivered) == ((2, 2) if fault.taken else (0, 0))
    assert states(connection, numbers) == (["delivered"] if fault.taken else ["uncertain"]) * 2


def test_one_line_less(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """A message of which the answer says nothing is in doubt; the others are not."""
    numbers = queue([ANNA, BOB])
    gateway.order(fewer())
    drain(engine, gateway)
    assert sorted(states(connection, numbers)) == ["sent", "uncertain"]


def test_a_bad_number_keeps_no_other(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """What is refused for good fails, with the gateway's words; the others of the request are sent."""
    [bad], [good] = queue(BOB), queue(ANNA)
    gateway.refuse("456", "WRONG_NUMBER")
    drain(engine, gateway)
    assert states(connection, [bad, good]) == ["failed", "sent"]
    assert "WRONG_NUMBER" in str(read(connection, bad).status_reason)


@pytest.mark.parametrize("code", ["NO_BALANCE", "WRONG_SIGNATURE", "WRONG_IID", "WRONG_SENDER"])
def test_the_account_is_at_fault(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue, code: str
) -> None:
    """What the account is refused for goes back uncharged, and the run names the remedy; later it is sent, once."""
    numbers = queue([ANNA, BOB])
    gateway.order(refusal(code), times=None)
    with pytest.raises(SenderFault, match=code):
        drain(engine, gateway)
    assert states(connection, numbers) == ["queued"] * 2
    gateway.behave()
    do(connection, "update notify.messages set not_before = now()")
    assert drain(engine, gateway).accepted == 2
    assert gateway.doubles() == []


def test_balance_runs_out_in_the_middle(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """What there was money for is sent; the rest waits for more, and is not counted as refused."""
    numbers = queue([f"+4219036{number:05}" for number in range(22000, 22010)])
    gateway.top_up("0.20")
    with pytest.raises(SenderFault, match="NO_BALANCE"):
        drain(engine, gateway)
    assert sorted(states(connection, numbers)) == ["queued"] * 6 + ["sent"] * 4
    gateway.top_up(10)
    do(connection, "update notify.messages set not_before = now()")
    drain(engine, gateway)
    assert states(connection, numbers) == ["sent"] * 10
    assert gateway.doubles() == []


def test_nobody_listens(connection: Connection, engine: Engine, queue: Queue) -> None:
    """A gateway that cannot be reached has taken nothing: all waits, and the run says where to look."""
    numbers = queue([ANNA, BOB])
    with EuroSms() as gone:
        pass
    with pytest.raises(SenderFault, match="cannot be reached"):
        drain(engine, gone)
    assert states(connection, numbers) == ["queued"] * 2


def test_not_the_gateway(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """A web server that is no gateway has taken nothing."""
    numbers = queue()
    gateway.order(garbage(b"<html>Not found</html>", status=404), times=None)
    with pytest.raises(SenderFault, match="is not EuroSMS"):
        drain(engine, gateway)
    assert states(connection, numbers) == ["queued"]


# --- Receipts --------------------------------------------------------------------------------------------------------


def test_delivered_when_all_parts_are(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """One part on the telephone is not yet the message; an undelivered one is its end."""
    gateway.fate("7", Fate(only=frozenset({1})))
    gateway.fate("6", Fate(("UNDELIV",), only=frozenset({2}), others=("DELIVRD",)))
    half, whole, lost = queue(ANNA, LONG)[0], queue("+421903622238", LONG)[0], queue(BOB, LONG)[0]
    drain(engine, gateway)
    result = receive(engine, gateway)
    assert (result.delivered, result.undelivered) == (1, 1)
    assert states(connection, [half, whole, lost]) == ["sent", "delivered", "undelivered"]
    assert "UNDELIV" in str(read(connection, lost).status_reason)
    assert [one.price is not None for one in sms_parts.of_message(connection, whole)] == [True, True]


def test_receipts_twice_late_and_out_of_order(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue
) -> None:
    """The last word stays, whatever comes after it and however often."""
    gateway.fate("", Fate(("ENROUTE", "ACCEPTD", "DELIVRD", "SEEN")))
    [number] = queue(message=LONG)
    drain(engine, gateway)
    for _ in range(5):
        gateway.order(twice(), on="status/any")
        receive(engine, gateway)
    assert states(connection, [number]) == ["delivered"]
    assert [event.to_status for event in read(connection, number).events].count("delivered") == 1


def test_a_lost_answer_is_asked_for_again(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue
) -> None:
    """A query whose answer is lost is repeated by the next run, and tells the same: no receipt is lost."""
    [number] = queue()
    drain(engine, gateway)
    gateway.order(cut(taken=True), on="status/any")
    with pytest.raises(SenderFault, match="does not say how it stands"):
        receive(engine, gateway)
    assert states(connection, [number]) == ["sent"]
    assert receive(engine, gateway).delivered == 1
    first, second = gateway.requests("status/any")[:2]
    assert first.words == second.words


def test_many_receipts_at_once(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """An answer as long as the receipts of a day in which nobody asked is read: else none would be, ever again."""
    [number] = queue()
    drain(engine, gateway)
    gateway.order(altered(lambda answer: {**answer, "padding": "x" * 20_000_000}), on="status/any")
    assert receive(engine, gateway).delivered == 1
    assert states(connection, [number]) == ["delivered"]


def test_who_is_silent_is_asked_for_by_name(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue
) -> None:
    """A part of which nothing was heard is asked for after a while, once an hour, and no more after seven days."""
    gateway.fate("", Fate(after=5))
    [number] = queue()
    drain(engine, gateway)
    assert receive(engine, gateway).asked == 0
    do(connection, "update notify.sms_parts set created_at = created_at - interval '16 minutes'")
    assert [receive(engine, gateway).asked for _ in range(2)] == [1, 0]
    do(connection, "update notify.sms_parts set asked_at = asked_at - interval '61 minutes'")
    assert receive(engine, gateway).asked == 1
    assert states(connection, [number]) == ["delivered"]


def test_nobody_asks_after_seven_days(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """The gateway has forgotten it by then: the message stays sent."""
    gateway.fate("", Fate(()))
    [number] = queue()
    drain(engine, gateway)
    do(connection, "update notify.sms_parts set created_at = created_at - interval '8 days'")
    assert receive(engine, gateway).asked == 0
    assert states(connection, [number]) == ["sent"]


def test_receipts_of_others(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """An account may be shared: what is not ours changes nothing, even if its key looks like one of ours."""
    [number] = queue()
    gateway.order(cut())
    drain(engine, gateway)
    assert states(connection, [number]) == ["uncertain"]
    _send_as_somebody_else(gateway, f"{number}-0-0123456789ab")
    result = receive(engine, gateway)
    assert (result.foreign, result.delivered) == (1, 0)
    assert states(connection, [number]) == ["uncertain"]


def _send_as_somebody_else(gateway: EuroSms, key: str) -> None:
    from notify.channels.eurosms_client import EuroSmsClient

    settings = channel(gateway)._settings
    client = EuroSmsClient(settings)
    request = {
        "iid": "demo",
        "sgn": settings.sign("MyShop", "421903622237", "Hi"),
        "rcpt": {"r": 421903622237, "f": key},
        "sndr": "MyShop",
        "txt": "Hi",
        "flgs": 1,
    }
    client.ask("/api/v3/send/one", request)
    client.close()


def test_a_message_that_is_being_sent_again_is_left_alone(
    connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue
) -> None:
    """While a drain is at a message its receipts wait: the drain's word would overwrite theirs."""
    [number] = queue()
    drain(engine, gateway)
    connection.execute(sa.text("update notify.messages set status = 'queued' where id = :id"), {"id": number})
    connection.execute(sa.text("update notify.messages set status = 'sending' where id = :id"), {"id": number})
    connection.commit()
    assert receive(engine, gateway).delivered == 0
    connection.execute(sa.text("update notify.messages set status = 'sent' where id = :id"), {"id": number})
    connection.commit()
    assert receive(engine, gateway).delivered == 1
    assert Status.DELIVERED.value == states(connection, [number])[0]


def test_resent_by_a_person(connection: Connection, engine: Engine, gateway: EuroSms, queue: Queue) -> None:
    """Of a message that a person had sent again, the latest attempt's parts count."""
    from notify.storage import outbox

    gateway.fate("", Fate(("UNDELIV",)))
    [number] = queue(message=LONG)
    drain(engine, gateway)
    receive(engine, gateway)
    assert states(connection, [number]) == ["undelivered"]
    gateway.fate("", Fate())
    connection.rollback()
    outbox.resend(connection, number)
    connection.commit()
    drain(engine, gateway)
    assert receive(engine, gateway).delivered == 1
    assert states(connection, [number]) == ["delivered"]
    assert len(sms_parts.of_message(connection, number)) == 4


def test_seven_days_are_seven_days() -> None:
    """The gateway keeps receipts for as long as we ask for them."""
    assert timedelta(days=7) == sms_parts.KEPT
