"""SMS in a real Airflow: handed over, sent within the pool's slots, and followed to the telephone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dev.eurosms import EuroSms
from dev.stack import MAIL_SENDER, SMS_SENDER, Stack
from tests.acceptance.observing import Mailbox, hand_over, query, run

pytestmark = pytest.mark.usefixtures("empty")

#: The last digit decides: one arrives, one never will, of one nothing is heard.
ARRIVES, NEVER, SILENT = "+421903000001", "+421903000006", "+421903000009"

#: Two parts, as č is not in the alphabet of GSM.
LONG = "Ďakujeme za nákup. " * 5 + "čau"


@pytest.fixture
def gateway(stack: Stack) -> EuroSms:
    """The one that the stack has beside its mail catcher."""
    assert stack.sms is not None
    return stack.sms


def taken(gateway: EuroSms, *numbers: str) -> list[tuple[str, str, int]]:
    """What the gateway took for numbers: number, text, parts."""
    messages = ((f"+{sms.number}", sms.text, len(sms.parts)) for sms in gateway.taken)
    return [message for message in messages if message[0] in numbers]


def states(stack: Stack) -> dict[str, str]:
    """The states of the messages in the register, by recipient."""
    return dict(
        query(
            stack, "select r.address, m.status from notify.messages m join notify.recipients r on r.message_id = m.id"
        )
    )


def test_from_the_door_to_the_receipt(stack: Stack, gateway: EuroSms) -> None:
    """One run of each DAG: the SMS leave once, in the words handed over; the register says what became of each."""
    conf = {"channel": "sms", "recipient": f"0903 000 001; {NEVER}; {SILENT}", "message": LONG.strip()}
    run_id = stack.run("SendMessage", conf)
    assert len(stack.xcom("SendMessage", run_id)["messages"]) == 3

    sent = run(stack, "Notifications", SMS_SENDER)
    assert (sent["accepted"], sent["waiting"]) == (3, 0)
    assert taken(gateway, ARRIVES, NEVER, SILENT) == [(number, LONG.strip(), 2) for number in (ARRIVES, NEVER, SILENT)]
    assert set(states(stack).values()) == {"sent"}

    (told,) = run(stack, "DeliveryReports", "sms_receipts")
    assert (told["delivered"], told["undelivered"]) == (1, 1)
    assert states(stack) == {ARRIVES: "delivered", NEVER: "undelivered", SILENT: "sent"}
    assert gateway.doubles() == []


def test_the_pool_counts_parts(stack: Stack, gateway: EuroSms) -> None:
    """A slot of the sender's pool is a part: an SMS of two waits where one is free, and leaves when there are more."""
    short, long = "+421903000010", "+421903000011"
    hand_over_sms(stack, short, "Hello.")
    hand_over_sms(stack, long, LONG)
    stack.set_pool(SMS_SENDER, 2)
    first = run(stack, "Notifications", SMS_SENDER)
    assert (first["limit"], first["accepted"], first["held_back"]) == (2, 1, 1)
    assert [number for number, _, _ in taken(gateway, short, long)] == [short]

    stack.set_pool(SMS_SENDER, 3)
    second = run(stack, "Notifications", SMS_SENDER)
    assert (second["limit"], second["accepted"], second["held_back"]) == (3, 1, 0)
    assert [parts for _, _, parts in taken(gateway, short, long)] == [1, 2]


@pytest.fixture
def penniless(gateway: EuroSms) -> Iterator[None]:
    """Nothing is left on the account."""
    before = gateway.account().balance
    gateway.top_up(0)
    yield
    gateway.top_up(before)


@pytest.mark.usefixtures("penniless")
def test_no_money(stack: Stack, gateway: EuroSms) -> None:
    """An account without money: the task is red and names the remedy, the SMS waits uncharged, and mails leave."""
    number = "+421903000020"
    mailbox = Mailbox(stack)
    hand_over_sms(stack, number, "Hello.")
    hand_over(stack, "beside it")
    run_id = stack.trigger("Notifications")
    assert stack.wait_for_run("Notifications", run_id) == "failed"
    ended = {task["task_id"]: task["state"] for task in stack.client.tasks("Notifications", run_id)}
    assert ended == {MAIL_SENDER: "success", SMS_SENDER: "failed"}
    log = stack.client.task_log("Notifications", run_id, SMS_SENDER)
    assert "NO_BALANCE" in log
    assert "Top up" in log
    assert states(stack)[number] == "queued"
    assert taken(gateway, number) == []
    assert mailbox.letters() == [("anna@example.com", "beside it")]


def hand_over_sms(stack: Stack, number: str, text: str) -> None:
    """By the API, as a program does."""
    letter = {"channel": "sms", "recipient": number, "message": text}
    stack.client.request("POST", "/notify/api/v1/messages", letter).raise_for_status()
