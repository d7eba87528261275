"""The suppression list in the browser."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from notify.domain.person import Person
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import people, register, suppressions, unsubscriptions
from notify.storage.suppressions import Source
from tests.web_client import As

ANNA, BOB = "anna@example.com", "bob@example.com"


def token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/notify/suppressions").text)
    assert found
    return found[1]


@pytest.fixture
def client(logged_in: As, metadata: Session) -> TestClient:
    """An admin's browser, and Airflow's audit log."""
    return logged_in("admin")


@pytest.fixture
def listed(connection: Connection, outbox: object) -> Connection:
    """Two addresses on the list."""
    suppressions.add(connection, ANNA, "asked for it", None)
    suppressions.add(connection, BOB, "mailbox full", None, Source.BOUNCE)
    connection.commit()
    return connection


def known(connection: Connection) -> list[str]:
    connection.rollback()
    return sorted(one.address for one in suppressions.newest(connection, 10))


def shown(client: TestClient, **query: str) -> list[str]:
    page = client.get("/notify/suppressions", params=query).text
    return re.findall(r'data-label="Address"><a href="[^"]*">([^<]*)', page)


def test_the_list(logged_in: As, listed: Connection) -> None:
    """The list tells address, reason and what put it there; it is searched by address and source."""
    client = logged_in("user")
    assert shown(client) == [ANNA, BOB]
    assert shown(client, newest="true") == [ANNA, BOB]
    assert shown(client, address="BOB") == shown(client, source="bounce") == [BOB]
    page = client.get("/notify/suppressions").text
    assert "asked for it" in page
    assert "a bounce" in page
    assert "<details" not in page


def test_not_on_the_list(logged_in: As, listed: Connection) -> None:
    """Of an address that is not on the list that is told, with the way to what was suppressed for it."""
    page = logged_in("user").get("/notify/suppressions", params={"address": "eve@example.com"}).text
    assert "eve@example.com is not on the list" in page
    assert "status=suppressed&amp;address=eve%40example.com" in page


def test_an_erased_address(client: TestClient, listed: Connection) -> None:
    """The address of somebody who was erased is shown as such, and can be lifted by whoever knows it alone."""
    suppressions.hide(listed, ANNA)
    listed.commit()
    page = client.get("/notify/suppressions").text
    assert "of somebody who was erased" in page
    assert re.findall(r'type="checkbox" name="address" value="([^"]*)"', page) == [BOB]
    page = client.get("/notify/suppressions", params={"address": ANNA}).text
    assert re.findall(r'type="checkbox" name="address" value="([^"]*)"', page) == [ANNA]
    client.post("/notify/suppressions/lift", data={"address": ANNA, "confirmed": "true", "csrf_token": token(client)})
    assert known(listed) == [BOB]


def test_adding(
    client: TestClient, connection: Connection, metadata: Session, hand_over_settings: HandOverSettings
) -> None:
    """An address is put on the list; what was queued is suppressed and counted, and the audit log says who did it."""
    given = {"recipient": ANNA, "subject": "s", "message": "m"}
    number = hand_over(connection, given, hand_over_settings).messages[0].id
    connection.commit()
    sent = {"address": "Anna@Example.com", "reason": "asked by phone", "days": "30", "csrf_token": token(client)}
    answer = client.post("/notify/suppressions/add", data=sent)
    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert "1 queued message was suppressed" in page
    assert "asked by phone" in page
    connection.rollback()
    assert register.read(connection, number).status == "suppressed"
    assert register.read(connection, number).events[-1].actor == "the_admin (page)"
    [line] = metadata.scalars(sa.select(Log))
    assert (line.event, line.owner) == ("notify.suppress", "the_admin")
    assert json.loads(line.extra or "") == {"address": "Anna@example.com", "reason": "asked by phone", "days": "30"}


def test_kept(client: TestClient, listed: Connection) -> None:
    """Where the address stands there for at least as long, it is told that nothing was changed."""
    sent = {"address": ANNA, "reason": "moved", "days": "3", "csrf_token": token(client)}
    page = client.get(client.post("/notify/suppressions/add", data=sent).headers["location"]).text
    assert "was on the list already" in page
    assert "asked for it" in page


def test_refused(client: TestClient, connection: Connection) -> None:
    """What is wrong is told with the names of the fields, and nothing is changed."""
    sent = {"address": "anna", "reason": " ", "days": "0", "csrf_token": token(client)}
    answer = client.post("/notify/suppressions/add", data=sent)
    assert answer.status_code == 422
    assert re.findall(r"<code>(address|reason|days)</code>", answer.text) == ["address", "reason", "days"]
    assert known(connection) == []


def test_lifting(client: TestClient, listed: Connection, metadata: Session) -> None:
    """One address is lifted by its button, and the audit log says who did it; the other stays."""
    sent = {"address": ANNA, "confirmed": "true", "csrf_token": token(client)}
    answer = client.post("/notify/suppressions/lift", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/notify/suppressions?address=anna%40example.com")
    assert known(listed) == [BOB]
    [line] = metadata.scalars(sa.select(Log))
    assert (line.event, json.loads(line.extra or "")) == ("notify.lift_suppression", {"addresses": [ANNA]})


def test_lifting_a_selection(client: TestClient, listed: Connection) -> None:
    """Several are lifted after a page that names and counts them; until then nothing is changed."""
    page = client.post("/notify/suppressions/lift", data={"address": [ANNA, BOB], "csrf_token": token(client)}).text
    assert "Send to 2 addresses again?" in page
    assert "Yes, lift 2" in page
    assert known(listed) == [ANNA, BOB]
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    sent = {name: [unescape(value) for key, value in hidden if key == name] for name, _ in hidden}
    assert client.post("/notify/suppressions/lift", data=sent).status_code == 303
    assert known(listed) == []


def test_all_or_none(client: TestClient, listed: Connection) -> None:
    """Where one of several is not on the list, none is lifted."""
    sent = {"address": [ANNA, "eve@example.com"], "confirmed": "true", "csrf_token": token(client)}
    answer = client.post("/notify/suppressions/lift", data=sent)
    assert answer.status_code == 404
    assert "eve@example.com is not on the list" in answer.text
    assert known(listed) == [ANNA, BOB]


@pytest.mark.parametrize("address", [[], ["sha256:abc"], ["anna"]])
def test_nothing_to_lift(client: TestClient, listed: Connection, address: list[str]) -> None:
    """Without an address there is nothing to lift."""
    answer = client.post("/notify/suppressions/lift", data={"address": address, "csrf_token": token(client)})
    assert answer.status_code == 422


def test_from_a_person(client: TestClient, connection: Connection) -> None:
    """On a person's page their address is suppressed and lifted, and the way leads back there."""
    people.save(connection, [Person(login="a/na", name="Anna", email="Anna@example.com")])
    connection.commit()
    page = client.get("/notify/people/a/na").text
    assert "is not on the" in page
    sent = {"address": ANNA, "reason": "asked for it", "login": "a/na", "csrf_token": token(client)}
    answer = client.post("/notify/suppressions/add", data=sent)
    assert answer.headers["location"] == "/notify/people/a/na"
    page = client.get("/notify/people/a/na").text
    assert re.search(r"Nothing is sent to <b>Anna@example.com</b> until somebody lifts it: asked for it", page)
    sent = {"address": ANNA, "confirmed": "true", "login": "a/na", "csrf_token": token(client)}
    assert client.post("/notify/suppressions/lift", data=sent).headers["location"] == "/notify/people/a/na"
    assert known(connection) == []


def test_unsubscribed(client: TestClient, connection: Connection, metadata: Session) -> None:
    """What an address has unsubscribed from is told with it and with its person, and can be taken back, on record."""
    people.save(connection, [Person(login="anna", email="Anna@example.com")])
    unsubscriptions.add(connection, ANNA, unsubscriptions.BULK, "the reader")
    connection.commit()
    assert "has unsubscribed from" in client.get("/notify/suppressions", params={"address": ANNA}).text
    assert re.search(r"unsubscribed</a> from bulk mail", client.get("/notify/people/anna").text)
    sent = {"address": ANNA, "scope": unsubscriptions.BULK, "csrf_token": token(client)}
    answer = client.post("/notify/suppressions/resubscribe", data=sent)
    assert answer.headers["location"] == "/notify/suppressions?address=anna%40example.com"
    assert "unsubscribed" not in client.get(answer.headers["location"]).text
    assert client.post("/notify/suppressions/resubscribe", data=sent).status_code == 404
    [line] = metadata.scalars(sa.select(Log))
    assert (line.event, line.owner) == ("notify.resubscribe", "the_admin")


@pytest.mark.parametrize("action", ["add", "lift", "resubscribe"])
def test_forged(client: TestClient, listed: Connection, action: str) -> None:
    """A form that is not from this person's page changes nothing."""
    sent = {"address": ANNA, "reason": "r", "confirmed": "true", "csrf_token": "nonsense"}
    assert client.post(f"/notify/suppressions/{action}", data=sent).status_code == 403
    assert known(listed) == [ANNA, BOB]


@pytest.mark.parametrize("query", ["address=%00", "after=%00", "source=nobody", "withheld=-1"])
def test_not_understood(logged_in: As, listed: Connection, query: str) -> None:
    """A filter that is none is told."""
    assert logged_in("user").get(f"/notify/suppressions?{query}").status_code == 422
