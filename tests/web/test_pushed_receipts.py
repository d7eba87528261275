"""Receipts that a gateway pushes, over HTTP: a reason to ask, never more."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
import uvicorn
from airflow.sdk import Connection as AirflowConnection
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from dev.eurosms.book import Fate
from dev.eurosms.server import EuroSms
from dev.ports import HOST, free_ports
from notify.channels.eurosms import EuroSmsChannel
from notify.cli import main
from notify.domain import push
from notify.domain.channel import ChannelName
from notify.drain import Drainer
from notify.handover import hand_over
from notify.receiving import Receiving, ReceivingResult
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import pushes, register
from notify.storage.engine import transaction
from notify.web.receipts import MOST
from tests.web_client import As

SENDER = "eurosms_default"
ANNA = "+421903622237"
LONG = "x" * 161


@pytest.fixture
def gateway() -> Iterator[EuroSms]:
    """A gateway that behaves."""
    with EuroSms() as running:
        yield running


@pytest.fixture
def browser(airflow: FastAPI, outbox: URL) -> Iterator[TestClient]:
    """Nobody who has logged in."""
    with TestClient(airflow, follow_redirects=False) as client:
        yield client


@pytest.fixture
def address(engine: Engine) -> str:
    """Where receipts are pushed to."""
    with engine.connect() as connection:
        return push.address("", SENDER, pushes.token(connection, SENDER))


def described(gateway: EuroSms) -> dict[str, Any]:
    """The sender's connection."""
    return {
        "conn_type": "http",
        "host": f"http://{HOST}",
        "port": gateway.port,
        "login": "demo",
        "password": "testkey",
        "extra": json.dumps({"sender": "MyShop"}),
    }


def channel(gateway: EuroSms) -> EuroSmsChannel:
    return EuroSmsChannel(SENDER, AirflowConnection(conn_id=SENDER, **described(gateway)))


@dataclass
class Stage:
    """A gateway, what is sent through it, and what the outbox knows of that.

    :param address: where the gateway may push receipts to
    """

    engine: Engine
    gateway: EuroSms
    settings: HandOverSettings
    address: str

    def send(self, text: str = "Hi") -> tuple[int, list[str]]:
        """Have an SMS sent.

        :returns: the message's number, and what the gateway calls its parts
        """
        with transaction(self.engine) as connection:
            fields = {"channel": "sms", "recipient": ANNA, "message": text}
            number = hand_over(connection, fields, self.settings).messages[0].id
        Drainer(self.engine, channel(self.gateway), SENDER, limit=-1).run()
        return number, self.gateway.taken[-1].uuids

    def receive(self, **limits: int) -> ReceivingResult:
        """What a run of DeliveryReports does."""
        with closing(channel(self.gateway).receipts()) as source:
            return Receiving(self.engine, SENDER, source, **limits).run()

    def status(self, number: int) -> str:
        """How it stands with a message."""
        with self.engine.connect() as connection:
            return register.read(connection, number).status.value

    def parts(self) -> list[tuple[Any, ...]]:
        """All that is known of all parts."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text("select * from notify.sms_parts order by 1, 2"))]

    def marked(self) -> int:
        """How many parts should be asked for."""
        query = "select count(*) from notify.sms_parts where pushed_at is not null and arrival = 'underway'"
        with self.engine.connect() as connection:
            return connection.scalar(sa.text(query)) or 0


@pytest.fixture
def stage(engine: Engine, gateway: EuroSms, hand_over_settings: HandOverSettings, address: str) -> Stage:
    """An outbox with one sender, of SMS."""
    identity = SenderIdentity("example.com", None, ChannelName.SMS)
    settings = replace(hand_over_settings, senders=(SENDER,), identity=lambda _: identity)
    return Stage(engine, gateway, settings, address)


def forms(uuid: str) -> list[dict[str, str]]:
    """A receipt in both of its forms."""
    fields = {"sms_uuid": uuid, "delivery_result": "DELIVRD", "segment": "1"}
    return [fields, {"delivery_report": json.dumps(fields)}]


# --- What it does ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [0, 1])
def test_pushed_asked_delivered(browser: TestClient, stage: Stage, form: int) -> None:
    """What is pushed changes no state; the next run asks for that part, and delivered is what the gateway then says."""
    stage.gateway.fate("", Fate(after=1))
    number, [uuid] = stage.send("Hi")
    answer = browser.get(stage.address, params=forms(uuid)[form])
    assert (answer.status_code, answer.text) == (200, f"ok|{uuid}")
    assert answer.headers["content-type"].startswith("text/plain")
    assert (stage.status(number), stage.marked()) == ("sent", 1)
    result = stage.receive()
    assert (result.pushed, result.asked, result.delivered) == (1, 0, 1)
    assert (stage.status(number), stage.marked()) == ("delivered", 0)
    assert [one.words for one in stage.gateway.requests("status/one")] == [(uuid,)]


def test_what_the_changes_told_is_not_asked_for(browser: TestClient, stage: Stage) -> None:
    """A part that was among the changes is settled: nobody asks for it by name."""
    _, [uuid] = stage.send("Hi")
    browser.get(stage.address, params={"sms_uuid": uuid})
    result = stage.receive()
    assert (result.pushed, result.delivered) == (0, 1)


def test_a_lie_changes_nothing(browser: TestClient, stage: Stage) -> None:
    """Whoever pushes DELIVRD of what is not delivered makes us ask, and no more."""
    stage.gateway.fate("", Fate(()))
    number, uuids = stage.send(LONG)
    for uuid in uuids:
        assert browser.get(stage.address, params=forms(uuid)[0]).text == f"ok|{uuid}"
    result = stage.receive()
    assert (result.pushed, result.delivered, result.undelivered) == (2, 0, 0)
    assert stage.status(number) == "sent"
    assert stage.receive().pushed == 0


def test_pushed_again(browser: TestClient, stage: Stage) -> None:
    """A push that is repeated is answered alike, and writes nothing; one of a part that has arrived neither."""
    _, [uuid] = stage.send("Hi")
    browser.get(stage.address, params={"sms_uuid": uuid})
    before = stage.parts()
    assert [browser.get(stage.address, params=one).text for one in forms(uuid) * 3] == [f"ok|{uuid}"] * 6
    assert stage.parts() == before
    stage.receive()
    before = stage.parts()
    assert browser.get(stage.address, params={"sms_uuid": uuid}).text == f"ok|{uuid}"
    assert stage.parts() == before
    assert stage.receive().pushed == 0


def test_one_that_nobody_knows(browser: TestClient, stage: Stage) -> None:
    """A part that is none of ours is confirmed like any other, so that it is not repeated, and leaves no row."""
    stage.send("Hi")
    before = stage.parts()
    for one in forms("00000000-0000-0000-0000-000000000000"):
        answer = browser.get(stage.address, params=one)
        assert (answer.status_code, answer.text) == (200, "ok|00000000-0000-0000-0000-000000000000")
    assert stage.parts() == before


def test_a_run_asks_for_so_many_and_the_next_for_the_others(browser: TestClient, stage: Stage) -> None:
    """A flood of pushes has no run ask without end; what is left over is asked for by the next."""
    stage.gateway.fate("", Fate(()))
    _, uuids = stage.send("x" * 400)
    for uuid in uuids:
        browser.get(stage.address, params={"sms_uuid": uuid})
    assert [stage.receive(most_pushed=2).pushed for _ in range(3)] == [2, 1, 0]
    assert stage.marked() == 0


# --- What it does not take -------------------------------------------------------------------------------------------


def test_another_token(browser: TestClient, stage: Stage) -> None:
    """Without the sender's token nothing is noted, and nobody learns why: another sender's is none, either."""
    _, [uuid] = stage.send("Hi")
    token = stage.address.rpartition("/")[2]
    for place in (
        stage.address[:-1] + ("0" if token[-1] != "0" else "1"),
        stage.address.replace(SENDER, "eurosms_other"),
        f"/notify/receipts/{SENDER}/{quote('ü' * 40)}",
        f"/notify/receipts/a%00b/{token}",
        f"/notify/receipts/{'x' * 300}/{token}",
    ):
        answer = browser.get(place, params={"sms_uuid": uuid})
        assert (answer.status_code, answer.text) == (404, "There is nothing here.")
    assert stage.marked() == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sms_uuid=",
        "sms_uuid=<script>alert(1)</script>",
        "sms_uuid=a%0Ab",
        "sms_uuid=%00",
        "sms_uuid=%ff",
        "sms_uuid=" + "a" * 101,
        "delivery_report=",
        "delivery_report=nonsense",
        "delivery_report=[]",
        "delivery_report={}",
        'delivery_report={"sms_uuid":7}',
        "delivery_report=" + "[" * 4000,
    ],
)
def test_malformed(browser: TestClient, stage: Stage, query: str) -> None:
    """What names no part is refused in a sentence, and is not confirmed."""
    stage.send("Hi")
    answer = browser.get(f"{stage.address}?{query}")
    assert (answer.status_code, answer.text) == (400, "This is no receipt: it has no sms_uuid.")
    assert stage.marked() == 0


def test_oversized(browser: TestClient, stage: Stage) -> None:
    """What is too long is not read."""
    _, [uuid] = stage.send("Hi")
    answer = browser.get(stage.address, params={"sms_uuid": uuid, "more": "x" * MOST})
    assert answer.status_code == 414
    assert stage.marked() == 0


def test_only_get(browser: TestClient, stage: Stage) -> None:
    """There is nothing to post."""
    assert browser.post(stage.address, data={"sms_uuid": "a"}).status_code == 405


def test_the_database_is_away(browser: TestClient, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be noted is not confirmed: the gateway says it again."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", f"postgres://nobody@127.0.0.1:{free_ports(1)[0]}/gone")
    answer = browser.get(stage.address, params={"sms_uuid": "a"})
    assert (answer.status_code, answer.text) == (503, "Not now; say it again later.")


# --- With the gateway itself -----------------------------------------------------------------------------------------


@pytest.fixture
def server(airflow: FastAPI, outbox: URL) -> Iterator[str]:
    """The app behind a real server, as the gateway reaches it."""
    port = free_ports(1)[0]
    running = uvicorn.Server(uvicorn.Config(airflow, host=HOST, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    yield f"http://{HOST}:{port}"
    running.should_exit = True
    thread.join()


@pytest.mark.parametrize("form", ["query", "json"])
def test_the_gateway_pushes(server: str, stage: Stage, form: str) -> None:
    """The gateway pushes until each receipt is confirmed; then it is asked, and the message is delivered."""
    number, uuids = stage.send(LONG)
    stage.gateway.push_to(f"{server}{stage.address}", form=form)
    assert stage.gateway.wait(lambda it: {one.uuid for one in it.pushes if one.confirmed} == set(uuids))
    assert (stage.status(number), stage.marked()) == ("sent", 2)
    assert stage.receive().delivered == 1
    assert stage.status(number) == "delivered"


# --- Where an admin finds it -----------------------------------------------------------------------------------------


def test_the_settings_page_has_the_address(
    logged_in: As, metadata: Session, gateway: EuroSms, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin finds the address to register, and who may not change settings does not."""
    monkeypatch.setattr("notify.settings.senders", lambda: (SENDER,))
    monkeypatch.setenv(f"AIRFLOW_CONN_{SENDER.upper()}", json.dumps(described(gateway)))
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BASE_URL", "https://airflow.example.com")
    whole = f"https://airflow.example.com{address}"
    assert whole in unescape(logged_in("admin").get("/notify/settings").text)
    assert whole not in unescape(logged_in("viewer").get("/notify/settings").text)


def test_the_command_has_the_address(
    outbox: URL, gateway: EuroSms, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So does the command line; where nobody has said where Airflow is reached, it asks for that."""
    monkeypatch.setattr("notify.settings.senders", lambda: (SENDER,))
    monkeypatch.setenv(f"AIRFLOW_CONN_{SENDER.upper()}", json.dumps(described(gateway)))
    assert main(["sms", "push-url"]) == 1
    assert "notify_base_url" in capsys.readouterr().err
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BASE_URL", "https://airflow.example.com")
    assert main(["sms", "push-url", SENDER]) == 0
    assert capsys.readouterr().out == f"{SENDER}: https://airflow.example.com{address}\n"
    assert main(["sms", "push-url", "smtp_default"]) == 1
    assert "no sender of SMS" in capsys.readouterr().err
