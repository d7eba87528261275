"""Messages over the API: hand-over one by one and in batches, the register, and what a person may do."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from sqlalchemy.engine import Connection, Engine

from notify.channels.smtp import SmtpChannel
from notify.drain import Drainer
from notify.exceptions import InvalidMessage
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import register, suppressions
from tests.fuzz.doors import CONFS
from tests.fuzz.given import Given
from tests.smtp_sink import HOST, SmtpSink
from tests.web_client import API, As

LETTER = {"recipient": "anna@example.com", "subject": "Open Sesame", "message": "A tale."}


@pytest.fixture
def user(program: As) -> TestClient:
    """Somebody who may hand over."""
    return program("user")


def hand(client: TestClient, **fields: Any) -> int:
    """Hand a message over; its number."""
    answer = client.post(f"{API}/messages", json=LETTER | fields)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["messages"][0]["id"])


def count(connection: Connection) -> int:
    """How many messages there are."""
    connection.rollback()
    return int(connection.scalar(sa.text("select count(*) from notify.messages")) or 0)


def states(connection: Connection, *numbers: int) -> list[str]:
    connection.rollback()
    return [register.read(connection, number).status.value for number in numbers]


# --- Hand-over -------------------------------------------------------------------------------------------------------


def test_a_message(user: TestClient, connection: Connection) -> None:
    """What a program hands over is in the outbox, with who did it; the answer names it."""
    answer = user.post(f"{API}/messages", json=LETTER | {"recipient": ["anna@example.com", "bob@example.com"]})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["duplicate"], told["suppressed"]) == (False, 0)
    found = [register.read(connection, one["id"]) for one in told["messages"]]
    assert [one.message_id for one in found] == [one["message_id"] for one in told["messages"]]
    assert [one.recipients[0].address for one in found] == ["anna@example.com", "bob@example.com"]
    assert {one.created_by for one in found} == {"the_user (API)"}


WRONG: dict[str, dict[str, Any]] = {
    "several faults": {"recipient": "nobody", "subject": "two\nlines", "language": "x", "priority": 7},
    "no such field": {"recipient": "anna@example.com", "subjekt": "x"},
    "no template": {"recipient": "anna@example.com", "template": "nonsense"},
    "a local path": LETTER | {"attachments": ["file:///etc/passwd"]},
    "a path without a scheme": LETTER | {"attachments": [{"uri": "/etc/passwd"}]},
    "nothing": {},
    "half a surrogate pair": LETTER | {"message": "\ud800"},
    "data that no text can hold": LETTER | {"case_id": "a\0b"},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_the_same_errors_as_at_every_door(
    user: TestClient, connection: Connection, hand_over_settings: HandOverSettings, fields: dict[str, Any]
) -> None:
    """What is wrong is told in the words of the other doors, field by field, and nothing is stored."""
    with pytest.raises(InvalidMessage) as refused:
        hand_over(connection, fields, hand_over_settings)
    content = json.dumps(fields)  # as a program writes it that has half of a character
    answer = user.post(f"{API}/messages", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["type"] == "urn:notify:invalid"
    assert told["errors"] == [{"field": one.field, "problem": one.problem} for one in refused.value.faults]
    assert "/etc/passwd" not in json.dumps(connection.execute(sa.text("select * from notify.attachments")).all())
    assert count(connection) == 0


def test_attachments(user: TestClient, connection: Connection) -> None:
    """A file comes as base64, or a text as it is."""
    files = [
        {"filename": "a.pdf", "content_base64": b64encode(b"%PDF \xff").decode()},
        {"filename": "b.txt", "content": "ž"},
    ]
    number = hand(user, attachments=files)
    query = """
        select f.filename, a.content from notify.message_attachments f
        join notify.attachments a on a.sha256 = f.sha256 where f.message_id = :id order by f.position
    """
    stored = [(name, bytes(content)) for name, content in connection.execute(sa.text(query), {"id": number})]
    assert stored == [("a.pdf", b"%PDF \xff"), ("b.txt", "ž".encode())]


def test_a_known_key(user: TestClient, connection: Connection) -> None:
    """Under a message's own key the first one is returned, whoever asks, and none is added."""
    first = user.post(f"{API}/messages", json=LETTER | {"idempotency_key": "k"}).json()
    again = user.post(f"{API}/messages", json=LETTER | {"idempotency_key": "k"}).json()
    assert again == first | {"duplicate": True}
    assert count(connection) == 1


def test_the_key_of_a_task(user: TestClient, connection: Connection) -> None:
    """Nobody takes a key that a task has by default, and so swallows its mail; neither here nor in a batch."""
    fields = LETTER | {"idempotency_key": "task:load/manual__1/tell/-1"}
    for answer in (
        user.post(f"{API}/messages", json=fields),
        user.post(f"{API}/messages/batch", json={"messages": [fields]}),
    ):
        assert answer.status_code == 422
        assert "marks the keys that tasks have" in answer.json()["errors"][0]["problem"]
    assert count(connection) == 0


def test_a_suppressed_recipient(user: TestClient, connection: Connection) -> None:
    """Who is on the suppression list gets nothing, and the answer says so."""
    suppressions.add(connection, "anna@example.com", "unsubscribed", None)
    connection.commit()
    answer = user.post(f"{API}/messages", json=LETTER).json()
    assert answer["suppressed"] == 1
    assert states(connection, answer["messages"][0]["id"]) == ["suppressed"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(example=CONFS)
def test_whatever_comes(program: As, example: Given) -> None:
    """Whatever JSON is handed over, it is stored, or refused with the field that is wrong; nothing breaks."""
    content = json.dumps(dict(example.fields))
    answer = program("user").post(
        f"{API}/messages", content=content, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.status_code in {201, 400, 422}, answer.text
    if answer.status_code == 422:
        assert answer.json()["errors"]
    if answer.status_code == 400:
        assert answer.json()["type"] == "urn:notify:malformed"


# --- A batch ---------------------------------------------------------------------------------------------------------


def test_a_batch(user: TestClient, connection: Connection) -> None:
    """Messages of all sorts come in together; each has its own answer, in their order."""
    suppressions.add(connection, "carl@example.com", "unsubscribed", None)
    connection.commit()
    known = hand(user, idempotency_key="known")
    given = [
        LETTER | {"recipient": ["anna@example.com", "bob@example.com"]},
        LETTER | {"idempotency_key": "known"},
        LETTER | {"recipient": "carl@example.com", "idempotency_key": "new", "subject": "The first"},
        LETTER | {"idempotency_key": "new", "subject": "The second"},
    ]
    answer = user.post(f"{API}/messages/batch", json={"messages": given})
    assert answer.status_code == 201, answer.text
    one, two, three, four = answer.json()["handed_over"]
    assert len(one["messages"]) == 2
    assert (two["duplicate"], two["messages"][0]["id"]) == (True, known)
    assert (three["duplicate"], three["suppressed"]) == (False, 1)
    assert (four["duplicate"], four["messages"]) == (True, three["messages"])
    assert register.read(connection, three["messages"][0]["id"]).subject == "The first"
    assert count(connection) == 4


def test_a_batch_is_taken_whole_or_not_at_all(user: TestClient, connection: Connection) -> None:
    """One that cannot be taken keeps all out; each fault names the message that it is in."""
    given = [dict(LETTER) for _ in range(20)]
    given[3]["subject"] = "two\nlines"
    given[17]["recipient"] = "nobody"
    given[17]["nonsense"] = "x"
    answer = user.post(f"{API}/messages/batch", json={"messages": given})
    assert answer.status_code == 422
    assert sorted(one["field"] for one in answer.json()["errors"]) == [
        "messages[17].nonsense",
        "messages[17].recipient",
        "messages[3].subject",
    ]
    assert count(connection) == 0


NO_BATCH: dict[str, Any] = {
    "none": {"messages": []},
    "too many": {"messages": [LETTER] * 1001},
    "no list": {"messages": LETTER},
    "missing": {},
    "a stranger beside": {"messages": [LETTER], "message": LETTER},
    "no object": {"messages": [LETTER, "x", None]},
}


@pytest.mark.parametrize("body", NO_BATCH.values(), ids=NO_BATCH)
def test_what_is_no_batch(user: TestClient, connection: Connection, body: Any) -> None:
    """What is no list of 1 to 1,000 objects is refused, with what is wrong."""
    answer = user.post(f"{API}/messages/batch", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    assert count(connection) == 0


def test_faults_without_number(user: TestClient) -> None:
    """However much is wrong, the answer has an end."""
    nobody = [f"nobody{number}" for number in range(300)]
    answer = user.post(f"{API}/messages/batch", json={"messages": [LETTER | {"recipient": nobody}] * 10})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 1000
    assert "3000 faults" in answer.json()["detail"]


def test_files_of_a_refused_batch(user: TestClient, connection: Connection) -> None:
    """No file of a batch that is refused is kept."""
    file = {"filename": "a.txt", "content": "x"}
    answer = user.post(
        f"{API}/messages/batch", json={"messages": [LETTER | {"attachments": [file]}, {"recipient": "nobody"}]}
    )
    assert answer.status_code == 422
    assert connection.scalar(sa.text("select count(*) from notify.attachments")) == 0


def test_two_batches_with_the_same_keys(user: TestClient, connection: Connection) -> None:
    """Keys are waited for in one order, whatever the order of the messages: no two batches wait for each other."""
    asked: list[Any] = []

    def note(*given: Any) -> None:
        if "unnest" in given[2] and "advisory" in given[2]:
            asked.append(given[3])

    sa.event.listen(Engine, "before_cursor_execute", note)
    for order in ("ab", "ba"):
        batch = [LETTER | {"idempotency_key": key} for key in order]
        assert user.post(f"{API}/messages/batch", json={"messages": batch}).status_code == 201
    sa.event.remove(Engine, "before_cursor_execute", note)
    assert len(asked) == 2
    assert asked[0] == asked[1]
    assert count(connection) == 2


def test_a_thousand_at_once(user: TestClient, engine: Engine, connection: Connection) -> None:
    """A thousand different messages come in by one call, with few statements in all, and a run delivers every one."""
    given = [
        {"recipient": f"reader{number}@example.com", "subject": f"Number {number}", "message": f"Tale {number}."}
        for number in range(1000)
    ]
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    sa.event.listen(Engine, "before_cursor_execute", note)
    answer = user.post(f"{API}/messages/batch", json={"messages": given})
    sa.event.remove(Engine, "before_cursor_execute", note)
    assert answer.status_code == 201, answer.text
    assert len(asked) < 50
    numbers = [one["messages"][0]["id"] for one in answer.json()["handed_over"]]
    assert numbers == sorted(set(numbers))
    with SmtpSink() as sink:
        described = AirflowConnection(
            conn_id="smtp_default",
            conn_type="smtp",
            host=HOST,
            port=sink.port,
            extra=json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "notify@firm.example"}),
        )
        Drainer(engine, SmtpChannel("smtp_default", described), "smtp_default", limit=-1).run()
        got = {(mail.rcpts, str(mail.parsed["Subject"])) for mail in sink.received}
        assert len(sink.received) == 1000
    assert got == {((one["recipient"],), one["subject"]) for one in given}
    assert set(states(connection, *numbers)) == {"sent"}


# --- The register ----------------------------------------------------------------------------------------------------


def test_all_pages(user: TestClient) -> None:
    """From page to page, by the link that each has, every message that fits is seen once, newest first."""
    kept = [hand(user, case_id="C1", recipient=f"reader{number}@example.com") for number in range(7)]
    hand(user)
    seen, path = [], f"{API}/messages?case=C1&limit=3&status=queued&status=held"
    while path:
        page = user.get(path).json()
        assert len(page["messages"]) <= 3
        seen += [one["id"] for one in page["messages"]]
        path = page["next"]
    assert seen == kept[::-1]


def test_a_page_has_what_the_register_tells(user: TestClient) -> None:
    """A line of the register: state, subject, sender, recipient and how many there are."""
    number = hand(user, recipient=["anna@example.com", "bob@example.com"], one_mail=True, priority="bulk")
    [line] = user.get(f"{API}/messages", params={"address": "BOB@example.com"}).json()["messages"]
    assert line | {"created_at": "", "not_before": ""} == {
        "id": number, "status": "queued", "status_reason": None, "channel": "email", "parts": 1,
        "sender": "smtp_default", "site": None, "kind": "send_message", "priority": "bulk", "subject": "Open Sesame",
        "case_id": None, "campaign_id": None, "created_at": "", "not_before": "", "sent_at": None,
        "delivered_at": None, "address": "anna@example.com", "recipients": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "stauts=held", "status=gone", "limit=0", "limit=501", "before=x", "before=0", "before=9223372036854775808",
        "since=yesterday", "until=9999-12-31", "address=a%00b", "run_id=r1", "map_index=x",
    ],
)  # fmt: skip
def test_filters_that_cannot_be_understood(user: TestClient, query: str) -> None:
    """A filter that is none, or that is misspelt, is told by its name; it is not left out."""
    answer = user.get(f"{API}/messages?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert query.partition("=")[0] in answer.text


def test_one_message(user: TestClient, program: As) -> None:
    """Who may look at the register learns what became of a message, and nothing of its text."""
    number = hand(user, message="The secret of the cave.", case_id="C1")
    viewer = program("viewer")
    told = viewer.get(f"{API}/messages/{number}")
    assert told.status_code == 200
    assert "secret of the cave" not in told.text
    message = told.json()
    assert (message["status"], message["subject"], message["created_by"]) == (
        "queued",
        "[C1] Open Sesame",
        "the_user (API)",
    )
    assert [one["address"] for one in message["recipients"]] == ["anna@example.com"]
    assert (message["attempts"], message["history"], message["reports"]) == ([], [], [])
    refused = viewer.get(f"{API}/messages/{number}/content")
    assert refused.status_code == 403
    assert "secret of the cave" not in refused.text
    content = user.get(f"{API}/messages/{number}/content").json()
    assert "secret of the cave" in content["text"]
    assert "secret of the cave" in content["html"]
    assert {"name": "Subject", "value": "[C1] Open Sesame"} in content["headers"]


def test_a_message_without_a_text(user: TestClient, connection: Connection) -> None:
    """What Housekeeping has emptied is told to be so."""
    number = hand(user)
    connection.execute(sa.text("update notify.messages set content_id = null, headers = ''"))
    connection.commit()
    answer = user.get(f"{API}/messages/{number}/content")
    assert answer.status_code == 404
    assert "has no text any more" in answer.json()["detail"]
    assert user.get(f"{API}/messages/{number}").json()["has_body"] is False


@pytest.mark.parametrize("path", ["", "/content", "/hold", "/resend"])
def test_no_such_message(user: TestClient, path: str) -> None:
    """A number that no message has is a 404, in words."""
    answer = user.request("POST" if path in {"/hold", "/resend"} else "GET", f"{API}/messages/4711{path}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:notify:not-found"
    assert "no message 4711" in answer.json()["detail"]


# --- What a person may do --------------------------------------------------------------------------------------------


def test_what_can_be_done(user: TestClient, connection: Connection) -> None:
    """A message is held, released, cancelled and sent again; its history says who did it, and by what door."""
    number = hand(user)
    for action, after in (("hold", "held"), ("release", "queued"), ("cancel", "cancelled"), ("resend", "queued")):
        answer = user.post(f"{API}/messages/{number}/{action}")
        assert (answer.status_code, answer.json()) == (200, {"id": number, "status": after})
        assert states(connection, number) == [after]
    history = user.get(f"{API}/messages/{number}").json()["history"]
    assert [(one["to_status"], one["actor"]) for one in history] == [
        (status, "the_user (API)") for status in ("held", "queued", "cancelled", "queued")
    ]


def test_not_in_that_state(user: TestClient, connection: Connection) -> None:
    """What cannot be done to a message in its state is refused, with what can."""
    number = hand(user)
    answer = user.post(f"{API}/messages/{number}/release")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:notify:state"
    assert f"Message {number} is queued" in answer.json()["detail"]
    assert states(connection, number) == ["queued"]


def test_several_at_once(user: TestClient, connection: Connection) -> None:
    """Several are held at once: all of them, or, where one cannot be, none."""
    one, two, three = (hand(user) for _ in range(3))
    answer = user.post(f"{API}/messages/hold", json={"messages": [two, one, two]})
    assert answer.json() == {"messages": [{"id": one, "status": "held"}, {"id": two, "status": "held"}]}
    answer = user.post(f"{API}/messages/hold", json={"messages": [three, two]})
    assert answer.status_code == 409
    assert f"Message {two} is held" in answer.json()["detail"]
    assert states(connection, one, two, three) == ["held", "held", "queued"]


@pytest.mark.parametrize("messages", [None, [], ["1"], [0], [2**63], [1] * 1001, [True], "1"], ids=str)
def test_what_is_no_list_of_messages(user: TestClient, messages: Any) -> None:
    """What is no list of 1 to 1,000 numbers of messages is refused, and named."""
    answer = user.post(f"{API}/messages/hold", json={"messages": messages})
    assert answer.status_code == 422
    assert all(one["field"].startswith("messages") for one in answer.json()["errors"])


@pytest.mark.parametrize("action", ["delete", "batch", "content"])
def test_what_nobody_can_do(user: TestClient, action: str) -> None:
    """What is no action is not there, or not possible in that way."""
    answer = user.post(f"{API}/messages/{hand(user)}/{action}")
    assert answer.status_code in {404, 405}
    assert answer.headers["content-type"] == "application/problem+json"
