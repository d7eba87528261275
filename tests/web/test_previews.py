"""What a message would be, asked by API before it is handed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from httpx import Response
from sqlalchemy.engine import URL, Connection

from notify.domain.person import Person
from notify.storage import people
from notify.web.api.previews import MOST_SHOWN
from tests.web_client import API, As

SENDER = "eurosms_default"
ANNA, BOB = "+421903622237", "+421905123456"
LETTER = {"recipient": "eve@example.com", "subject": "Hi", "message": "Hello Eve"}
SMS = {"channel": "sms", "recipient": ANNA, "message": "Hi"}

#: Fields in, the answer out.
Ask = Callable[..., Response]


@pytest.fixture
def ask(program: As, outbox: URL, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask what a message would be; there is a sender of mails, and one of SMS."""
    monkeypatch.setattr("notify.settings.senders", lambda: ("smtp_default", SENDER))
    described = {"conn_type": "http", "login": "demo", "password": "x", "extra": json.dumps({"sender": "MyShop"})}
    monkeypatch.setenv(f"AIRFLOW_CONN_{SENDER.upper()}", json.dumps(described))
    mail = {"conn_type": "smtp", "host": "mail.example.com", "extra": json.dumps({"from_email": "news@example.com"})}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(mail))
    client = program("user")

    def call(path: str = "/messages/preview", **fields: Any) -> Response:
        return client.post(f"{API}{path}", json=fields)

    return call


def told(answer: Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(connection: Connection) -> list[Any]:
    """How many rows there are of what a hand-over could store."""
    connection.rollback()
    tables = ("messages", "recipients", "contents", "attachments", "api_requests")
    return [connection.scalar(sa.text(f"select count(*) from notify.{table}")) for table in tables]


def test_an_sms(ask: Ask, connection: Connection) -> None:
    """Alphabet, characters, parts and what makes them many; a message for each number; and nothing is stored."""
    text = "Ďakujeme za objednávku, dorazí v pondelok. " * 3
    found = told(ask(**SMS | {"recipient": f"{ANNA}; {BOB}", "message": text}))
    assert (found["count"], found["parts"], found["duplicate"], found["suppressed"]) == (2, 4, False, 0)
    one = found["messages"][0]
    assert (one["channel"], one["sender"], one["text"], one["parts"]) == ("sms", SENDER, text.strip(), 2)
    assert one["sms"] == {
        "encoding": "ucs2", "characters": 128, "units": 128, "parts": 2, "left": 6, "outside": ["Ď", "á", "í"]
    }  # fmt: skip
    assert [one["recipients"][0]["address"] for one in found["messages"]] == [ANNA, BOB]
    assert stored(connection) == [0] * 5


def test_transliterated(ask: Ask) -> None:
    """The text is shown as it would travel."""
    found = told(ask(**SMS | {"message": "Ďakujeme €", "transliterate": True}))
    assert found["messages"][0]["text"] == "Dakujeme €"
    sized = found["messages"][0]["sms"]
    assert (sized["encoding"], sized["characters"], sized["units"], sized["outside"]) == ("gsm", 10, 11, [])


def test_a_mail(ask: Ask, connection: Connection) -> None:
    """A mail is shown by its subject and its text, and counts one."""
    found = told(ask(**LETTER | {"case_id": "INV-1", "priority": "bulk"}))
    [one] = found["messages"]
    assert (one["channel"], one["sms"], one["parts"], found["parts"]) == ("email", None, 1, 1)
    assert (one["subject"], one["priority"]) == ("[INV-1] Hi", "bulk")
    assert "Hello Eve" in one["text"]
    assert one["recipients"] == [
        {"role": "to", "address": "eve@example.com", "name": "", "login": None, "suppressed": None}
    ]
    assert stored(connection) == [0] * 5


@pytest.mark.parametrize(
    "fields",
    [
        {},
        SMS | {"recipient": "nobody"},
        SMS | {"message": "x" * 2000},
        SMS | {"subject": "Hi"},
        LETTER | {"recipient": "", "colour": "red"},
        LETTER | {"template": "none_such"},
    ],
)
def test_what_is_wrong(ask: Ask, fields: dict[str, Any]) -> None:
    """It is refused in the words of the hand-over itself."""
    asked, handed_over = ask(**fields), ask("/messages", **fields)
    assert asked.status_code == handed_over.status_code == 422
    assert asked.json() == handed_over.json()


def test_what_would_come_of_it(ask: Ask, connection: Connection) -> None:
    """Handing the same over has the result that was told: the same messages, the same parts."""
    fields = SMS | {"message": "x" * 400, "idempotency_key": "a"}
    before = told(ask(**fields))
    handed_over = ask("/messages", **fields).json()
    assert len(handed_over["messages"]) == before["count"]
    row = connection.execute(sa.text("select sender, parts, size, status from notify.messages")).one()
    [one] = before["messages"]
    assert tuple(row) == (one["sender"], one["parts"], one["size"], "queued")
    assert told(ask(**fields))["duplicate"] is True


def test_who_gets_nothing(ask: Ask, program: As) -> None:
    """Who is on the suppression list is shown with the reason."""
    body = {"reason": "asked by phone"}
    assert program("admin").put(f"{API}/suppressions/eve@example.com", json=body).status_code == 200
    found = told(ask(**LETTER))
    assert found["suppressed"] == 1
    assert "asked by phone" in found["messages"][0]["recipients"][0]["suppressed"]


def test_many(ask: Ask, connection: Connection) -> None:
    """Of very many the first are shown, and all are counted."""
    staff = [
        Person(login=f"p{number}", name="P", phone=f"+4219036{number:05}", groups=["all"]) for number in range(120)
    ]
    people.save(connection, staff, source="test")
    connection.commit()
    found = told(ask(**SMS | {"recipient": "all", "message": "x" * 161}))
    assert (len(found["messages"]), found["count"], found["parts"]) == (MOST_SHOWN, 120, 240)
