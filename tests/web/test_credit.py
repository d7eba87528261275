"""What is left on an SMS gateway's account: asked by DeliveryReports, shown wherever a sender is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import Session

from dev.eurosms.orders import cut, error, garbage
from dev.eurosms.server import EuroSms
from dev.ports import HOST
from notify.channels.eurosms import EuroSmsChannel
from notify.channels.memory import MemoryChannel
from notify.checks import ids
from notify.checks.running import CHECKS, run
from notify.checks.surroundings import Surroundings
from notify.cli import main
from notify.domain.channel import ChannelName
from notify.drain import Drainer
from notify.exceptions import SenderFault
from notify.handover import hand_over
from notify.operators import SmsReceiptsOperator
from notify.receiving import ask_credit
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import accounts
from notify.storage.engine import transaction
from tests.web_client import API, As

SENDER = "eurosms_default"


@pytest.fixture
def gateway() -> Iterator[EuroSms]:
    """A gateway with an account that has 100 EUR."""
    with EuroSms() as running:
        yield running


@pytest.fixture
def place(outbox: URL, metadata: Session, gateway: EuroSms, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sender, of SMS, to be warned of below 20 EUR; as Airflow hands it out to tasks, pages and commands."""
    monkeypatch.setattr("notify.settings.senders", lambda: (SENDER,))
    connect(monkeypatch, gateway, credit_warning=20)


def connect(monkeypatch: pytest.MonkeyPatch, gateway: EuroSms, login: str = "demo", **extra: object) -> None:
    found = described(gateway, login, **extra)
    monkeypatch.setenv(f"AIRFLOW_CONN_{SENDER.upper()}", json.dumps({"conn_type": "http", **found}))


def described(gateway: EuroSms, login: str = "demo", **extra: object) -> dict[str, Any]:
    extras = json.dumps({"sender": "MyShop", "timeout": 2, **extra})
    return {"host": f"http://{HOST}", "port": gateway.port, "login": login, "password": "testkey", "extra": extras}


def channel(gateway: EuroSms, login: str = "demo", **extra: object) -> EuroSmsChannel:
    return EuroSmsChannel(
        SENDER, AirflowConnection(conn_id=SENDER, conn_type="http", **described(gateway, login, **extra))
    )


def reports() -> list[dict[str, Any]]:
    """What the task of DeliveryReports tells."""
    ti = SimpleNamespace(dag_id="DeliveryReports", run_id="manual__1", task_id="sms", map_index=-1)
    found: list[dict[str, Any]] = SmsReceiptsOperator(task_id="sms").execute({"ti": ti})  # type: ignore[typeddict-item]
    return found


def known(connection: Connection) -> tuple[str, str, str | None] | None:
    connection.rollback()
    found = accounts.of(connection, [SENDER])
    return (found[0].credit.words, f"{found[0].credit.amount:f}", str(found[0].credit.warning)) if found else None


def warned() -> list[str]:
    """What Health says of it."""
    needed = {ids.NO_DATABASE, ids.SCHEMA, ids.CREDIT}
    results = run(Surroundings(), [one for one in CHECKS if one.id in needed])
    return [one.told for one in results if one.id == ids.CREDIT and one.found]


# --- Asked -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
def test_delivery_reports_asks(connection: Connection, gateway: EuroSms) -> None:
    """The task that asks for receipts asks what is left as well, and keeps it with the sender; a page asks nobody."""
    [done] = reports()
    assert done["credit"] == "100.000 EUR"
    assert json.loads(json.dumps(done)) == done
    assert known(connection) == ("100.000 EUR", "100.0000", "20.0000")
    assert len(gateway.requests("balance")) == 1
    gateway.top_up("7.5")
    reports()
    assert known(connection) == ("7.500 EUR", "7.5000", "20.0000")


@pytest.mark.parametrize("fault", [cut(), error(503), garbage(b"<html>Hello</html>"), garbage(b""), garbage(b"a lot")])
@pytest.mark.usefixtures("place")
def test_no_answer_is_no_fault_of_the_run(
    connection: Connection, gateway: EuroSms, caplog: pytest.LogCaptureFixture, fault: Any
) -> None:
    """Where the gateway does not say, what it said before stands, the log has why, and the run is not red."""
    reports()
    gateway.order(fault, on="balance")
    with caplog.at_level(logging.WARNING):
        [done] = reports()
    assert done["credit"] is None
    assert "what is left on the account is not known" in caplog.text
    assert known(connection) == ("100.000 EUR", "100.0000", "20.0000")


def test_an_account_that_nobody_knows(gateway: EuroSms) -> None:
    """Another integration ID is a fault of the connection, which the error names."""
    with pytest.raises(SenderFault, match=r"does not know the integration ID.*Check Login"):
        channel(gateway, "nobody").credit()


@pytest.mark.parametrize("extra", ["a lot", "-1", "1e3", True, 10_000_000, "1,5"])
def test_a_threshold_that_is_none(gateway: EuroSms, extra: object) -> None:
    """A threshold that is no amount is told, as any extra is."""
    with pytest.raises(SenderFault, match=r"credit_warning .* is no amount"):
        channel(gateway, credit_warning=extra)


@pytest.mark.parametrize(("answer", "amount"), [(b"80,693 EUR", "80.693"), (b"-3.2 EUR\n", "-3.2"), (b"12", "12")])
def test_how_it_may_be_written(gateway: EuroSms, answer: bytes, amount: str) -> None:
    """A comma, a debt, no currency."""
    gateway.order(garbage(answer), on="balance")
    assert str(channel(gateway).credit().amount) == amount


def test_a_sender_that_has_none(engine: Engine, connection: Connection, gateway: EuroSms) -> None:
    """A channel tells nothing unless it can; what a gateway before it had told is forgotten."""
    assert ask_credit(engine, SENDER, channel(gateway)) is not None
    assert ask_credit(engine, SENDER, MemoryChannel()) is None
    assert known(connection) is None


def test_nobody_to_ask(notify_db: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sender of SMS, or with one that tells neither receipts nor credit, the task is skipped."""
    monkeypatch.setattr("notify.settings.senders", lambda: ("smtp_default",))
    with pytest.raises(AirflowSkipException):
        reports()
    extras = {"gateway": "template", "sender": "X", "path": "/", "request": "{}", "accepted": "true"}
    template = {"conn_type": "http", "host": "http://127.0.0.1", "extra": json.dumps(extras)}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_SMS", json.dumps(template))
    monkeypatch.setattr("notify.settings.senders", lambda: ("other_sms",))
    with pytest.raises(AirflowSkipException):
        reports()


def test_a_run_keeps_it(engine: Engine, connection: Connection, gateway: EuroSms) -> None:
    """What a run over the queue writes of its sender leaves the credit alone."""
    ask_credit(engine, SENDER, channel(gateway, credit_warning="2.5"))
    Drainer(engine, MemoryChannel(), SENDER, limit=7).run()
    assert known(connection) == ("100.000 EUR", "100.0000", "2.5000")
    assert connection.scalar(sa.text("select hourly_limit from notify.senders")) == 7


# --- Shown -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
def test_where_it_is_shown(program: As, logged_in: As, gateway: EuroSms, capsys: pytest.CaptureFixture[str]) -> None:
    """Overview, the command and the API tell it; none of them asks the gateway."""
    reports()
    asked = len(gateway.requests())
    page = unescape(logged_in("viewer").get("/notify/").text)
    assert "<b>100.000 EUR</b> left on the account" in page
    assert "Top it up" not in page
    told = program("viewer").get(f"{API}/senders/{SENDER}").json()["account"]
    assert told.pop("at")
    assert told == {"credit": "100.000 EUR", "amount": "100.0000", "warning": "20.0000", "low": False}
    capsys.readouterr()
    assert main(["senders"]) == 0
    out = capsys.readouterr().out
    assert "  Credit      100.000 EUR left on the account, as of " in out
    assert "; to be warned of below 20" in out
    assert main(["senders", "--json"]) == 0
    [sender] = json.loads(capsys.readouterr().out)["senders"]
    assert (sender["account"]["amount"], sender["account"]["low"]) == ("100.0000", False)
    assert len(gateway.requests()) == asked


@pytest.mark.usefixtures("place")
def test_too_little(
    program: As, logged_in: As, gateway: EuroSms, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the threshold the log, Overview, the command, the API and Health say so; at it they do not."""
    gateway.top_up("20.00")
    reports()
    assert warned() == []
    gateway.top_up("19.99")
    with caplog.at_level(logging.WARNING):
        reports()
    assert "19.990 EUR left on the account. Top it up" in caplog.text
    [said] = warned()
    assert said.startswith(f"19.990 EUR are left on the account of {SENDER}, less than 20")
    assert "Top it up" in logged_in("viewer").get("/notify/").text
    assert program("viewer").get(f"{API}/senders/{SENDER}").json()["account"]["low"] is True
    assert main(["senders"]) == 0
    assert "; top it up" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_nothing_left(gateway: EuroSms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a threshold Health warns once nothing is left; of a sender that was never asked it says nothing."""
    connect(monkeypatch, gateway)
    assert warned() == []
    reports()
    assert warned() == []
    gateway.top_up(0)
    reports()
    assert len(warned()) == 1


@pytest.mark.usefixtures("place")
def test_never_asked(program: As, logged_in: As, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody has asked nothing is shown."""
    assert program("viewer").get(f"{API}/senders/{SENDER}").json()["account"] is None
    assert "left on the account" not in logged_in("viewer").get("/notify/").text
    assert main(["senders"]) == 0
    assert "Credit" not in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_refused_for_want_of_money(engine: Engine, gateway: EuroSms, hand_over_settings: HandOverSettings) -> None:
    """Where the last run could not send for want of money, Health says so before anybody asks what is left."""
    identity = SenderIdentity("example.com", None, ChannelName.SMS)
    settings = replace(hand_over_settings, senders=(SENDER,), identity=lambda _: identity)
    with transaction(engine) as connection:
        hand_over(connection, {"channel": "sms", "recipient": "+421903622237", "message": "Hi"}, settings)
    gateway.top_up(0)
    with pytest.raises(SenderFault, match="NO_BALANCE"):
        Drainer(engine, channel(gateway), SENDER, limit=-1).run()
    needed = {ids.NO_DATABASE, ids.SCHEMA, ids.LAST_RUN}
    [found] = [one for one in run(Surroundings(), [one for one in CHECKS if one.id in needed]) if one.found]
    assert "NO_BALANCE" in found.told
    assert found.remedy.startswith("Top up the account")
