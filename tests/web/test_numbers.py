"""Telephone numbers where addresses are: in the API and in the browser."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from notify.domain.channel import ChannelName
from notify.domain.person import Person
from notify.handover import hand_over
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import people, register, suppressions, unsubscriptions
from tests.web_client import As

ANNA = "+421903622237"
API = "/notify/api/v1"

#: As people write it, and as a link has it whose plus became a blank.
WRITTEN = ("0903 622 237", "+421 903 622 237", ANNA, " 421903622237")


@pytest.fixture(autouse=True)
def slovakia(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers without the code of a country are Slovak ones."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_PHONE_REGION", "SK")


@pytest.fixture
def queued(connection: Connection, outbox: object, hand_over_settings: HandOverSettings) -> int:
    """Anna, whose number is stored without the code of its country, and an SMS to her."""
    people.save(connection, [Person(login="anna", email="anna@example.com", phone="0903/622 237")])
    settings = replace(
        hand_over_settings,
        senders=("eurosms_default",),
        identity=lambda _sender: SenderIdentity("example.com", None, ChannelName.SMS),
    )
    done = hand_over(connection, {"channel": "sms", "recipient": ANNA, "message": "Hi"}, settings)
    connection.commit()
    return done.messages[0].id


def fresh(connection: Connection, number: int) -> str:
    connection.rollback()
    return register.read(connection, number).status.value


@pytest.mark.parametrize("written", WRITTEN[:3])
def test_suppressed_by_the_api(program: As, connection: Connection, queued: int, written: str) -> None:
    """The API takes a number in any spelling, tells it in one, and lifts it in any."""
    boss = program("admin")
    answer = boss.put(f"{API}/suppressions/{written}", json={"reason": "asked"})
    assert (answer.status_code, answer.json()) == (200, {"changed": True, "withheld": 1})
    assert fresh(connection, queued) == "suppressed"
    for sought in WRITTEN:
        listed = boss.get(f"{API}/suppressions", params={"address": sought}).json()["suppressions"]
        assert [one["address"] for one in listed] == [ANNA]
        found = boss.get(f"{API}/messages", params={"address": sought}).json()["messages"]
        assert [one["id"] for one in found] == [queued]
    person = boss.get(f"{API}/people/anna").json()
    assert (person["suppressed"], person["phone_suppressed"]["reason"]) == (None, "asked")
    assert boss.delete(f"{API}/suppressions/0903622237").status_code == 204
    assert boss.get(f"{API}/people/anna").json()["phone_suppressed"] is None


def test_refused_by_the_api(program: As, queued: int) -> None:
    """What is neither a mailbox nor a number is refused by the error that commands have."""
    boss = program("admin")
    for answer in (
        boss.put(f"{API}/suppressions/0903", json={"reason": "asked"}),
        boss.put(f"{API}/unsubscriptions/0903/bulk-mail"),
        boss.delete(f"{API}/suppressions/anna"),
        boss.delete(f"{API}/unsubscriptions/anna/bulk-mail"),
    ):
        assert answer.status_code == 422
        assert "write a mailbox, such as anna@example.com, or a telephone number, such as +421" in answer.text


def test_unsubscribed_by_the_api(program: As, connection: Connection, queued: int) -> None:
    """A number is unsubscribed from bulk, and from no kind of event."""
    boss = program("admin")
    assert boss.put(f"{API}/unsubscriptions/0903 622 237/bulk-mail").json() == {"changed": True, "withheld": 0}
    assert boss.put(f"{API}/unsubscriptions/0903 622 237/case_changed").status_code == 422
    for written in WRITTEN:
        [one] = boss.get(f"{API}/unsubscriptions", params={"address": written}).json()["addresses"]
        assert one["address"] == ANNA
    assert boss.get(f"{API}/people/anna").json()["phone_unsubscribed"] == ["bulk-mail"]
    assert boss.delete(f"{API}/unsubscriptions/{ANNA}/bulk-mail").status_code == 204
    connection.rollback()
    assert unsubscriptions.of(connection, ANNA) == set()


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/notify/suppressions").text)
    assert found
    return found[1]


def test_suppressed_in_the_browser(logged_in: As, metadata: Session, connection: Connection, queued: int) -> None:
    """The list takes, finds and lifts a number; the links that lead from it find its messages."""
    client = logged_in("admin")
    fields = {"csrf_token": token(client), "reason": "asked"}
    done = client.post("/notify/suppressions/add", data=fields | {"address": "0903 622 237"})
    assert done.status_code == 303
    assert fresh(connection, queued) == "suppressed"
    page = client.get(done.headers["location"]).text
    assert "1 queued message was suppressed" in page
    assert re.findall(r'data-label="Address"><a href="[^"]*">([^<]*)', page) == [ANNA]
    for path in re.findall(r'href="(/notify/messages\?[^"]*)"', page):
        assert f'href="/notify/messages/{queued}"' in client.get(unescape(path)).text, path
    for written in WRITTEN:
        assert ANNA in client.get("/notify/suppressions", params={"address": written}).text
    lifted = {"csrf_token": token(client), "address": "+421 903 622 237", "confirmed": "true"}
    assert client.post("/notify/suppressions/lift", data=lifted).status_code == 303
    connection.rollback()
    assert suppressions.newest(connection, 10) == []


def test_a_person_has_both(logged_in: As, connection: Connection, queued: int) -> None:
    """A person's page tells of the address and of the number apart, and leads to what was written to either."""
    suppressions.add(connection, ANNA, "asked for peace", None)
    unsubscriptions.add(connection, ANNA, unsubscriptions.BULK, "boss")
    connection.commit()
    client = logged_in("admin")
    page = client.get("/notify/people/anna").text
    assert f"Nothing is sent to <b>{ANNA}</b>" in page
    assert "asked for peace" in page
    assert "anna@example.com is not on the" in page
    assert "SMS are sent to +421903622237 again" in page
    [path] = re.findall(r'href="(/notify/suppressions\?address[^"]*)"', page)
    assert "bulk mail" in client.get(unescape(path)).text
    paths = re.findall(r'href="(/notify/messages\?address[^"]*)"', page)
    assert [f'href="/notify/messages/{queued}"' in client.get(unescape(one)).text for one in paths] == [False, True]


def test_found_by_number(logged_in: As, queued: int) -> None:
    """People and Explain take a number; of one that is nobody's, Explain leads to its messages."""
    client = logged_in("admin")
    for written in WRITTEN:
        assert 'href="/notify/people/anna"' in client.get("/notify/people", params={"text": written}).text
        assert "Written to anna directly: 1 message" in client.get("/notify/explain", params={"person": written}).text
    nobody = client.get("/notify/explain", params={"person": "+421905999888"})
    assert nobody.status_code == 404
    assert "/notify/messages?address=%2B421905999888" in nobody.text
