"""What page, API and command line tell of an SMS: its channel, its parts, its text to who may read it, its arrival."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from dev.eurosms.server import EuroSms
from dev.ports import HOST
from notify.channels.eurosms import EuroSmsChannel
from notify.cli import main
from notify.domain.channel import ChannelName
from notify.drain import Drainer
from notify.handover import hand_over
from notify.receiving import Receiving
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage.engine import transaction
from tests.web_client import API, As

SENDER = "eurosms_default"
ANNA, BOB = "+421903622237", "+421905123456"
TEXT = "Zásielka čaká <na> pošte. " * 4


@dataclass
class Sent:
    """What there is: a delivered SMS of two parts, one that waits, and a mail."""

    delivered: int
    waiting: int
    mail: int


@pytest.fixture
def gateway() -> Iterator[EuroSms]:
    """A gateway that behaves."""
    with EuroSms() as running:
        yield running


@pytest.fixture
def sent(
    outbox: URL,
    engine: Engine,
    gateway: EuroSms,
    hand_over_settings: HandOverSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> Sent:
    """Have them in the register; the sender of SMS has five parts an hour."""
    described: dict[str, Any] = {
        "conn_type": "http", "host": f"http://{HOST}", "port": gateway.port, "login": "demo", "password": "testkey",
        "extra": json.dumps({"sender": "MyShop"}),
    }  # fmt: skip
    monkeypatch.setattr("notify.settings.senders", lambda: ("smtp_default", SENDER))
    monkeypatch.setenv(f"AIRFLOW_CONN_{SENDER.upper()}", json.dumps(described))

    def identity(sender: str) -> SenderIdentity:
        return SenderIdentity("example.com", None, ChannelName.SMS if sender == SENDER else ChannelName.EMAIL)

    settings = replace(hand_over_settings, senders=("smtp_default", SENDER), identity=identity)
    channel = EuroSmsChannel(SENDER, AirflowConnection(conn_id=SENDER, **described))

    def hand(**fields: Any) -> int:
        with transaction(engine) as connection:
            return hand_over(connection, fields, settings).messages[0].id

    mail = hand(recipient="anna@example.com", subject="A letter", message="Hello")
    delivered = hand(channel="sms", recipient=ANNA, message=TEXT)
    Drainer(engine, channel, SENDER, limit=5).run()
    with closing(channel.receipts()) as source:
        assert Receiving(engine, SENDER, source).run().delivered == 1
    return Sent(delivered, hand(channel="sms", recipient=BOB, message="x" * 400), mail)


def words(page: str) -> str:
    return " ".join(unescape(page).split())


def test_the_register(logged_in: As, sent: Sent) -> None:
    """The register finds SMS by their channel, and has their text, number, sender, times and parts."""
    page = words(logged_in("user").get("/notify/messages", params={"channel": "sms"}).text)
    assert TEXT.strip() in page
    assert '<span class="faint">SMS, 2 parts</span>' in page
    assert '<span class="faint">SMS, 3 parts</span>' in page
    assert ANNA in page
    assert page.count('<span class="faint">delivered <time') == 1
    assert "A letter" not in page
    page = words(logged_in("user").get("/notify/messages", params={"channel": "email"}).text)
    assert "A letter" in page
    assert ANNA not in page
    assert "A letter" in (everything := words(logged_in("user").get("/notify/messages", params={"channel": ""}).text))
    assert ANNA in everything
    assert logged_in("user").get("/notify/messages", params={"channel": "pigeon"}).status_code == 422


def test_texts_are_for_those_who_may_read_them(logged_in: As, program: As, sent: Sent) -> None:
    """Whoever may not read bodies sees that it is an SMS, and of how many parts."""
    page = words(logged_in("viewer").get("/notify/messages", params={"channel": "sms"}).text)
    assert "SMS, 2 parts" in page
    assert "čaká" not in page
    for path in ("/messages", f"/messages/{sent.delivered}"):
        answer = program("viewer").get(f"{API}{path}")
        assert answer.status_code == 200
        assert "čaká" not in str(answer.json())


def test_a_message_on_the_page(logged_in: As, sent: Sent) -> None:
    """The page of a message says when it was sent and delivered; of a mail nothing of the kind."""
    page = words(logged_in("user").get(f"/notify/messages/{sent.delivered}").text)
    assert "<dt>Channel</dt><dd>SMS, 2 parts</dd>" in page
    assert "<dt>Sent</dt>" in page
    assert "<dt>Delivered</dt>" in page
    page = words(logged_in("user").get(f"/notify/messages/{sent.mail}").text)
    assert "<dt>Channel</dt>" not in page
    assert "<dt>Delivered</dt>" not in page


def test_the_api(program: As, sent: Sent) -> None:
    """The API tells channel, parts, when it arrived, and of each part what became of it and its price."""
    client = program("viewer")
    listed = client.get(f"{API}/messages", params={"channel": "sms"}).json()["messages"]
    assert [(one["id"], one["channel"], one["parts"]) for one in listed] == [
        (sent.waiting, "sms", 3),
        (sent.delivered, "sms", 2),
    ]
    assert [one["delivered_at"] is not None for one in listed] == [False, True]
    found = client.get(f"{API}/messages/{sent.delivered}").json()
    assert (found["channel"], found["parts"], found["delivered_at"]) == ("sms", 2, listed[1]["delivered_at"])
    assert [(one["number"], one["arrival"], one["words"], one["price"]) for one in found["arrivals"]] == [
        (1, "delivered", "DELIVRD", "0.0500"),
        (2, "delivered", "DELIVRD", "0.0500"),
    ]
    mail = client.get(f"{API}/messages/{sent.mail}").json()
    assert (mail["channel"], mail["parts"], mail["delivered_at"], mail["arrivals"]) == ("email", 1, None, [])


def test_when_it_arrived(program: As, engine: Engine, sent: Sent) -> None:
    """When it arrived is what the gateway says of its last part; sent again, it has not arrived yet."""
    with engine.begin() as connection:
        statement = "update notify.sms_parts set reported_at = '2026-01-02T03:04:05Z' where number = 2"
        connection.execute(sa.text(statement))
        connection.execute(sa.text("update notify.sms_parts set reported_at = '2026-01-02T03:04:04Z' where number = 1"))
    client = program("viewer")
    found = client.get(f"{API}/messages/{sent.delivered}").json()
    assert found["delivered_at"] == "2026-01-02T03:04:05Z"
    with engine.begin() as connection:
        connection.execute(sa.text("update notify.sms_parts set arrival = 'underway', reported_at = null"))
    told = client.get(f"{API}/messages/{sent.delivered}").json()
    [event] = [one for one in told["history"] if one["to_status"] == "delivered"]
    assert told["delivered_at"] == event["at"]


def test_the_command(sent: Sent, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line lists SMS by channel with their parts, shows each part, and exports them."""

    def told(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["messages", *arguments]) == 0
        return capsys.readouterr().out

    lines = told("list", "--channel", "sms").splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["SMS, 3 parts", "SMS, 2 parts"]
    assert told("list", "--channel", "email").endswith("A letter\n")
    shown = told("show", str(sent.delivered))
    assert "  Channel      SMS, 2 parts\n" in shown
    assert "  Delivered    " in shown
    assert "\nParts\n  1. delivered at " in shown
    assert "Z: DELIVRD, 0.0500\n" in shown
    assert "Parts" not in told("show", str(sent.mail))


def test_senders(logged_in: As, program: As, metadata: Session, sent: Sent, capsys: pytest.CaptureFixture[str]) -> None:
    """What a sender of SMS may send, has sent and has waiting is told in parts; of one of mails nothing changes."""
    told = program("viewer").get(f"{API}/senders/{SENDER}").json()
    assert (told["channel"], told["limit"], told["used"]["total"]) == ("sms", 5, 2)
    assert (told["queue"]["due"], told["queue"]["due_parts"]) == (1, 3)
    page = words(logged_in("viewer").get("/notify/").text)
    assert f'{SENDER} <span class="faint">SMS</span>' in page
    assert "<b>2</b> of 5 parts sent in the last 60 minutes" in page
    assert "1 due</a> (3 parts)" in page
    assert page.count("(1 parts)") == 0
    capsys.readouterr()
    assert main(["senders"]) == 0
    out = capsys.readouterr().out
    assert f"{SENDER} (SMS): " in out
    assert "  Due         1 (3 parts), the first since" in out
    assert "5 parts in any 60 minutes, used 2" in out
    assert "smtp_default: " in out
    assert main(["senders", "--json"]) == 0
    channels = {one["sender"]: one["channel"] for one in json.loads(capsys.readouterr().out)["senders"]}
    assert channels == {"smtp_default": None, SENDER: "sms"}


def test_settings(logged_in: As, metadata: Session, sent: Sent) -> None:
    """Settings says which sender is for SMS, and counts what it has sent in parts."""
    page = words(logged_in("viewer").get("/notify/settings").text)
    assert "<dt>Channel</dt><dd>SMS</dd>" in page
    assert "<dd>2 parts sent, 0 of them bulk</dd>" in page


def test_an_sms_without_its_text(logged_in: As, engine: Engine, sent: Sent) -> None:
    """Of an SMS whose text is gone the register says that it is one."""
    with engine.begin() as connection:
        connection.execute(sa.text("update notify.messages set content_id = null"))
    page = words(logged_in("user").get("/notify/messages", params={"channel": "sms"}).text)
    assert f'<a href="/notify/messages/{sent.delivered}">SMS</a>' in page
