"""Campaigns over the API: written, steered and looked at, over a real outbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models import Log
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from notify.campaigns import authoring
from notify.channels.memory import MemoryChannel
from notify.domain.person import Person
from notify.exceptions import InvalidCampaign
from notify.settings import HandOverSettings
from notify.storage import people
from notify.web.body import MOST
from tests.mailing import PLAIN, SENDER, Mailing, csv_of
from tests.metadata import add_dag
from tests.web_client import API, As

PLACE = f"{API}/campaigns"


@pytest.fixture
def user(program: As) -> TestClient:
    """Somebody who may hand over."""
    return program("user")


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """What runs do, and what the database says."""
    return Mailing(engine, hand_over_settings)


def write(client: TestClient, **fields: Any) -> int:
    """Write a campaign; its number."""
    answer = client.post(PLACE, json={**PLAIN, **fields})
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "draft"
    return int(answer.json()["id"])


def tell(client: TestClient, number: int, action: str, **more: Any) -> str:
    """Tell it to do something; its state then."""
    answer = client.post(f"{PLACE}/{number}/{action}", json=more or None)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == number
    return str(answer.json()["status"])


def get(client: TestClient, number: int, place: str = "", **query: Any) -> dict[str, Any]:
    answer = client.get(f"{PLACE}/{number}{place}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- The whole way ---------------------------------------------------------------------------------------------------


def test_the_whole_way(user: TestClient, mailing: Mailing, metadata: Session) -> None:
    """A campaign is written, generated, sent, paused, resumed and done, and says how far it is at each step."""
    add_dag(metadata, "Notifications", next_dagrun_create_after=datetime.now(UTC) + timedelta(minutes=2))
    number = write(user, csv=csv_of(3), recipients=["typed@example.com"], subject="Hello", message="Come and see.")
    draft = get(user, number)
    assert (draft["typed"], draft["rows"], draft["leaves_through"], draft["created_by"]) == (
        1,
        3,
        SENDER,
        "the_user (API)",
    )
    assert (draft["subject"], draft["over"], draft["over_reason"]) == ("Hello", None, None)
    assert tell(user, number, "generate") == "generating"
    mailing.generate_what_waits()
    generated = get(user, number)
    assert (generated["progress"]["states"], generated["rows_read"]) == ({"held": 4}, 4)
    assert generated["over"]["certainty"] == "at"
    assert {"send", "edit", "generate"} <= set(generated["actions"])
    assert tell(user, number, "send") == "sending"
    assert get(user, number)["progress"]["states"] == {"queued": 4}
    assert tell(user, number, "pause") == "paused"
    paused = get(user, number)
    assert (paused["progress"]["states"], paused["over"], paused["over_reason"]) == ({"held": 4}, None, "it is paused")
    assert tell(user, number, "resume") == "sending"
    channel = MemoryChannel()
    mailing.drain(channel)
    assert len(channel.outbox) == 4
    mailing.follow(number)
    done = get(user, number)
    assert (done["status"], done["progress"]["sent"], done["progress"]["share"], done["actions"]) == ("done", 4, 1, [])


def test_postponed(user: TestClient, mailing: Mailing) -> None:
    """What is sent, or resumed, with a delay or for a time is in the queue, and due then."""
    number = write(user, csv=csv_of(1))
    mailing.generate(number)
    tell(user, number, "send", send_after="PT2H")
    [[away]] = mailing.rows("select not_before - now() from notify.messages")
    assert timedelta(minutes=119) < away <= timedelta(hours=2)
    tell(user, number, "pause")
    tell(user, number, "resume", send_after="2041-05-06T09:08:00+02:00")
    later = datetime(2041, 5, 6, 7, 8, tzinfo=UTC)
    assert mailing.rows("select not_before from notify.messages") == [(later,)]
    assert datetime.fromisoformat(get(user, number)["send_after"]) == later


def test_generated_and_sent_in_one_go(user: TestClient, mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `send` it leaves as soon as it is made; a run that makes it is asked for at once."""
    asked: list[str] = []
    monkeypatch.setattr("notify.web.campaigns.trigger_mass_mailing", lambda user: asked.append(user.get_name()))
    number = write(user, csv=csv_of(2))
    assert tell(user, number, "generate", send=True, send_after="PT1H") == "generating"
    assert asked == ["the_user"]
    assert get(user, number)["send_when_generated"] is True
    mailing.generate_what_waits()
    assert get(user, number)["status"] == "sending"


def test_cancelled_and_deleted(user: TestClient, mailing: Mailing) -> None:
    """What is cancelled takes back its messages; what was never sent can be forgotten; both cannot be undone."""
    number = write(user, csv=csv_of(2))
    mailing.generate(number)
    tell(user, number, "send")
    assert tell(user, number, "cancel") == "cancelled"
    assert get(user, number)["progress"]["states"] == {"cancelled": 2}
    refused = user.delete(f"{PLACE}/{number}")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:notify:state")
    second = write(user)
    assert user.delete(f"{PLACE}/{second}").status_code == 204
    assert user.get(f"{PLACE}/{second}").status_code == 404


# --- Writing ---------------------------------------------------------------------------------------------------------

WRONG: dict[str, dict[str, Any]] = {
    "several faults": {"description": "", "subject": "two\nlines", "channel": "pigeon"},
    "no such field": {**PLAIN, "subjekt": "x"},
    "a template that is none": {**PLAIN, "message": "{{ first"},
    "recipients that are none": {**PLAIN, "recipients": ["nobody", "a@b@c"], "groups": ["nowhere"]},
    "a CSV that is none": {**PLAIN, "csv": "first_name\nAnna"},
    "a connection that is not for campaigns": {**PLAIN, "query_connection": "notify_db", "query": "select 1"},
    "a local path": {**PLAIN, "attachments": ["file:///etc/passwd"]},
    "nothing": {},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_the_same_errors_as_at_every_door(
    user: TestClient, connection: Connection, hand_over_settings: HandOverSettings, fields: dict[str, Any]
) -> None:
    """What is wrong is told in the words of the other doors, field by field, and nothing is stored."""
    with pytest.raises(InvalidCampaign) as refused:
        authoring.create(connection, fields, hand_over_settings)
    connection.rollback()
    answer = user.post(PLACE, json=fields)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:notify:invalid")
    assert answer.json()["errors"] == [{"field": one.field, "problem": one.problem} for one in refused.value.faults]
    assert connection.scalar(sa.text("select count(*) from notify.campaigns")) == 0


def test_edited(user: TestClient, mailing: Mailing) -> None:
    """Fields that are given change, null takes one back; what was made before is a draft again, remarks aside."""
    number = write(user, csv=csv_of(2), note="old", classification="x")
    mailing.generate(number)
    answer = user.patch(f"{PLACE}/{number}", json={"note": "new", "classification": None})
    assert answer.json() == {"id": number, "status": "generated"}
    answer = user.patch(f"{PLACE}/{number}", json={"subject": "Other", "csv": csv_of(3)})
    assert answer.json() == {"id": number, "status": "draft"}
    found = get(user, number)
    assert (found["note"], found["classification"], found["subject"], found["message"], found["rows"]) == (
        *("new", None, "Other", PLAIN["message"]),
        3,
    )
    assert user.patch(f"{PLACE}/{number}", json={"recipients": "typed@example.com"}).is_success
    kept = get(user, number)
    assert (kept["typed"], kept["rows"]) == (1, 3)  # each stays unless it is given
    refused = user.patch(f"{PLACE}/{number}", json={"subject": None})
    assert [one["field"] for one in refused.json()["errors"]] == ["subject"]
    tell(user, number, "generate")
    assert user.patch(f"{PLACE}/{number}", json={"subject": "Late"}).status_code == 409


def test_copied(user: TestClient, mailing: Mailing) -> None:
    """A copy is a draft with the same fields and recipients."""
    number = write(user, csv=csv_of(2))
    tell(user, number, "cancel")
    answer = user.post(f"{PLACE}/{number}/copy")
    assert answer.status_code == 201
    copy = answer.json()
    assert (copy["status"], copy["id"] > number) == ("draft", True)
    assert get(user, copy["id"])["rows"] == 2


def test_a_request_that_is_repeated(user: TestClient, mailing: Mailing) -> None:
    """Under the same Idempotency-Key the first answer comes again: no second campaign is written, none sent twice."""
    key = {"Idempotency-Key": "spring"}
    first = user.post(PLACE, json=PLAIN, headers=key)
    again = user.post(PLACE, json=PLAIN, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert mailing.rows("select count(*) from notify.campaigns") == [(1,)]
    assert user.post(PLACE, json={**PLAIN, "note": "x"}, headers=key).json()["type"] == "urn:notify:key-reused"
    number = first.json()["id"]
    sent = [user.post(f"{PLACE}/{number}/generate", headers={"Idempotency-Key": "go"}) for _ in range(2)]
    assert [one.json()["status"] for one in sent] == ["generating", "generating"]


def test_a_large_file(user: TestClient) -> None:
    """A CSV of many recipients is taken that no other body could be; what is too large names the way out."""
    number = write(user, csv=csv_of(40_000))
    assert len(csv_of(40_000)) > MOST
    assert get(user, number)["rows"] == 40_000
    assert user.patch(f"{PLACE}/{number}", json={"csv": csv_of(40_001)}).status_code == 200
    refused = user.post(PLACE, json={**PLAIN, "csv": "x" * 26_300_000})
    assert refused.status_code == 413
    assert "a query instead of a CSV" in refused.json()["detail"]
    refused = user.post(f"{PLACE}/{number}/test", json={"recipients": ["x" * MOST]})
    assert refused.status_code == 413


# --- Steering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["send", "pause", "resume"])
def test_not_in_that_state(user: TestClient, action: str) -> None:
    """What its state does not allow is refused, and the answer says what can be done instead."""
    number = write(user)
    answer = user.post(f"{PLACE}/{number}/{action}")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:notify:state")
    assert "Generate its messages first" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("action", "given", "field"),
    [
        ("send", {"send_after": "tomorrow"}, "send_after"),
        ("send", {"send_after": "2041-05-06T07:08:00"}, "send_after"),
        ("send", {"send": True}, "send"),
        ("generate", {"send": "yes"}, "send"),
        ("generate", {"send_after": "PT1H"}, "send_after"),
        ("pause", {"send_after": "PT1H"}, "send_after"),
        ("refresh", {"attachments": "x"}, "attachments"),
        ("test", {}, "recipients"),
    ],
)
def test_what_goes_with_an_action(user: TestClient, action: str, given: dict[str, Any], field: str) -> None:
    """What an action does not take is refused, by the name of the field."""
    number = write(user)
    answer = user.post(f"{PLACE}/{number}/{action}", json=given)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_no_such_campaign(user: TestClient) -> None:
    """Of a number that there is none of, every route says so."""
    for method, place in [
        *(("GET", place) for place in ("", "/left-out", "/recipients")),
        *(("POST", f"/{one}") for one in ("generate", "send", "pause", "resume", "cancel", "refresh", "copy")),
        *(("PATCH", ""), ("DELETE", "")),
    ]:
        answer = user.request(method, f"{PLACE}/4711{place}", json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:notify:not-found"), place
    assert user.post(f"{PLACE}/4711/test", json={"recipients": ["a@example.com"]}).status_code == 404


def test_tested(user: TestClient, mailing: Mailing) -> None:
    """A test goes at once to those who are named, with the fields that are given, and is recorded."""
    number = write(user, csv=csv_of(2))
    answer = user.post(f"{PLACE}/{number}/test", json={"recipients": "me@example.com", "fields": {"first_name": "Eve"}})
    [message] = answer.json()["messages"]
    found = user.get(f"{API}/messages/{message['id']}").json()
    assert (found["subject"], found["priority"], found["message_id"]) == (
        "[Test] Hello Eve",
        "urgent",
        message["message_id"],
    )
    many = user.post(f"{PLACE}/{number}/test", json={"recipients": [f"r{n}@example.com" for n in range(21)]})
    assert "are 21; a test goes to 20 at most" in many.json()["errors"][0]["problem"]


def test_refreshed(user: TestClient, mailing: Mailing) -> None:
    """Other files stand in what has not left."""
    number = write(user, csv=csv_of(2), attachments=[{"filename": "a.txt", "content": "old"}])
    mailing.generate(number)
    answer = user.post(f"{PLACE}/{number}/refresh", json={"attachments": [{"filename": "b.txt", "content": "new"}]})
    assert answer.json() == {"files": 1, "messages": 2}
    assert get(user, number)["attachments"] == [{"filename": "b.txt", "content_type": "text/plain", "uri": None}]
    assert user.post(f"{PLACE}/{number}/refresh").json() == {"files": 1, "messages": 2}
    assert mailing.rows("select distinct filename from notify.message_attachments") == [("b.txt",)]


def test_who_did_it(user: TestClient, mailing: Mailing, metadata: Session) -> None:
    """Airflow's audit log has each change, by whom; the history of the messages says who let them go."""
    number = write(user, csv=csv_of(1))
    user.patch(f"{PLACE}/{number}", json={"note": "x"})
    mailing.generate(number)
    tell(user, number, "send")
    user.post(f"{PLACE}/{number}/send")  # refused, so nothing is put down
    copy = user.post(f"{PLACE}/{number}/copy").json()["id"]
    user.delete(f"{PLACE}/{copy}")
    metadata.rollback()
    query = sa.select(Log.event, Log.owner, Log.extra).where(Log.event.startswith("notify.")).order_by(Log.id)
    assert [(event, owner, json.loads(extra or "")) for event, owner, extra in metadata.execute(query)] == [
        ("notify.create_campaign", "the_user", {"campaign": number}),
        ("notify.edit_campaign", "the_user", {"campaign": number, "fields": ["note"]}),
        ("notify.send_campaign", "the_user", {"campaign": number}),
        ("notify.copy_campaign", "the_user", {"campaign": number, "copy": copy}),
        ("notify.delete_campaign", "the_user", {"campaign": copy}),
    ]
    assert mailing.rows("select actor from notify.message_events") == [("the_user (API)",)]


# --- Looking ---------------------------------------------------------------------------------------------------------


def test_the_list(user: TestClient) -> None:
    """Campaigns come newest first, by state and by a part of their description or classification, page by page."""
    numbers = [write(user, description=f"Sale {n}", classification="odd" if n % 2 else None) for n in range(5)]
    tell(user, numbers[0], "cancel")

    def asked(**query: Any) -> list[int]:
        return [one["id"] for page in pages(user, PLACE, **query) for one in page["campaigns"]]

    assert asked(limit=2) == numbers[::-1]
    assert asked(status="draft") == numbers[:0:-1]
    assert asked(status=["draft", "cancelled"], text="ODD", limit=1) == [numbers[3], numbers[1]]
    assert asked(text="sale 4") == [numbers[4]]
    assert user.get(PLACE, params={"status": "lost"}).status_code == 422


def test_the_list_with_progress(user: TestClient, mailing: Mailing) -> None:
    """How far each is stands in the list where that is asked for, as each tells it of itself."""
    first, second = (write(user, csv=csv_of(size)) for size in (2, 3))
    mailing.generate(first)
    assert [one["progress"] for one in user.get(PLACE).json()["campaigns"]] == [None, None]
    listed = user.get(PLACE, params={"progress": True}).json()["campaigns"]
    assert [(one["id"], one["progress"]["states"]) for one in listed] == [(second, {}), (first, {"held": 2})]
    assert listed[1]["progress"] == user.get(f"{PLACE}/{first}").json()["progress"]


def pages(client: TestClient, place: str, **query: Any) -> Iterator[dict[str, Any]]:
    """All pages of a list."""
    answer = client.get(place, params=query)
    while True:
        assert answer.status_code == 200, answer.text
        yield answer.json()
        if answer.json()["next"] is None:
            return
        answer = client.get(answer.json()["next"])


def test_left_out(user: TestClient, mailing: Mailing, connection: Connection) -> None:
    """Who gets none is told by their place in the source, row after row, and by the reason."""
    staff = [
        Person(login="zoe9", name="Zoe", groups=["staff"]),
        Person(login="anna", email="a@b.com", groups=["staff"]),
    ]
    people.save(connection, staff, source="test")
    connection.commit()
    mailing.do("insert into notify.suppressions (address, reason) values ('r1@example.com', 'bounced')")
    lines = [csv_of(1), *(f"nobody{n},X" for n in range(12)), "r1@example.com,Again"]
    number = write(user, csv="\n".join(lines), groups=["staff"], subject="Hello", message="Hello")
    mailing.generate(number)
    assert get(user, number)["progress"]["left_out"] == {
        "suppressed": 1, "invalid": 12, "unreachable": 1, "doubled": 1,
    }  # fmt: skip
    found = [one for page in pages(user, f"{PLACE}/{number}/left-out", limit=5) for one in page["left_out"]]
    rows = [{"place": f"row {n}", "reason": "invalid"} for n in range(3, 15)]
    assert found == [{"place": "row 2", "reason": "suppressed"}, *rows, {"place": "zoe9", "reason": "unreachable"}]
    only = get(user, number, "/left-out", reason=["suppressed", "unreachable"])
    assert [one["place"] for one in only["left_out"]] == ["row 2", "zoe9"]
    for after in ("nonsense", "1", "99999999999999999999_row 1"):
        assert user.get(f"{PLACE}/{number}/left-out", params={"after": after}).status_code == 422


def test_whom_it_names(user: TestClient) -> None:
    """Who was typed or came as CSV can be read, page by page, with their fields."""
    number = write(user, csv=csv_of(3), recipients=["typed@example.com"])
    found = [one for page in pages(user, f"{PLACE}/{number}/recipients", limit=2) for one in page["recipients"]]
    assert found == [
        {"place": "typed 1", "recipient": "typed@example.com", "fields": {}},
        *(
            {"place": f"row {n + 1}", "recipient": f"r{n}@example.com", "fields": {"first_name": f"Name{n}"}}
            for n in (1, 2, 3)
        ),
    ]


def test_who_may_read_what(user: TestClient, program: As) -> None:
    """Whoever may not read texts sees how far a campaign is, and nothing of what it says or of whom it names."""
    secret = "Open Sesame"
    number = write(
        user, subject=secret, message=secret, note=secret, data={"x": secret}, csv=f"email,x\na@example.com,{secret}"
    )
    viewer = program("viewer")
    found = viewer.get(f"{PLACE}/{number}")
    assert found.status_code == 200
    assert secret not in found.text + viewer.get(PLACE).text + viewer.get(f"{PLACE}/{number}/left-out").text
    assert {name for name, value in get(user, number).items() if secret in json.dumps(value)} == {
        *("subject", "message", "note", "data"),
    }
    assert viewer.get(f"{PLACE}/{number}/recipients").status_code == 403
    assert viewer.post(f"{PLACE}/{number}/cancel").status_code == 403
    assert viewer.patch(f"{PLACE}/{number}", json={"note": "x"}).status_code == 403
    assert get(user, number)["status"] == "draft"


# --- Messages --------------------------------------------------------------------------------------------------------


def test_the_messages_of_a_campaign(user: TestClient, mailing: Mailing) -> None:
    """The register finds the messages of a campaign, with other filters too, and says of each which it is of."""
    first, second = write(user, csv=csv_of(3)), write(user, csv=csv_of(2))
    for number in (first, second):
        mailing.generate(number)
    tell(user, first, "send")
    user.post(f"{API}/messages", json={"recipient": "r1@example.com", "subject": "Hi", "message": "Hi"})

    def asked(**query: Any) -> list[int]:
        return [one["id"] for page in pages(user, f"{API}/messages", **query) for one in page["messages"]]

    of_first = [row[0] for row in mailing.rows(
        "select id from notify.messages where campaign_id = :number order by id desc", number=first
    )]  # fmt: skip
    assert asked(campaign=first, limit=2) == of_first
    assert asked(campaign=second, status="queued") == []
    assert len(asked(campaign=second, status="held")) == 2
    assert asked(campaign=first, address="r1@example.com") == of_first[-1:]
    assert asked(campaign=4711) == []
    assert user.get(f"{API}/messages/{of_first[0]}").json()["campaign_id"] == first
    assert user.get(f"{API}/messages", params={"limit": 1}).json()["messages"][0]["campaign_id"] is None
    assert user.get(f"{API}/messages", params={"campaign": "x"}).status_code == 422


# --- What nothing can hold -------------------------------------------------------------------------------------------

HALF, NUL = "a\ud800b", "a\0b"

#: Whatever has a text, with one in it that no database holds.
UNSTORABLE: dict[str, Any] = {
    "description": "{}",
    "subject": "{}",
    "message": "{}",
    "note": "{}",
    "classification": "{}",
    "site": "{}",
    "sender": "{}",
    "language": "{}",
    "template": "{}",
    "reply_to": "{}",
    "groups": ["{}"],
    "recipients": ["{}"],
    "csv": "email,x\na@example.com,{}\n",
    "data": {"x": "{}"},
    "query": "select '{}'",
    "query_connection": "{}",
    "attachments": [{"filename": "{}", "content": "x"}],
}


@pytest.mark.parametrize("odd", [HALF, NUL], ids=["half of a character", "a NUL character"])
def test_what_cannot_be_stored(user: TestClient, mailing: Mailing, odd: str) -> None:
    """What JSON can say and nothing can hold is a fault of its field, wherever it stands."""
    number = write(user)
    for field, shape in UNSTORABLE.items():
        others = {"description": "x", "subject": None, "message": None} if field == "template" else PLAIN
        content = json.dumps({**others, field: shape}).replace("{}", json.dumps(odd)[1:-1])
        for method, place in (("POST", PLACE), ("PATCH", f"{PLACE}/{number}")):
            answer = user.request(method, place, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422, (field, method, answer.text)
            assert any(one["field"].startswith(field) for one in answer.json()["errors"]), (field, method)
    for given in ({"recipients": [odd]}, {"recipients": ["a@example.com"], "fields": {"first_name": odd}}):
        content = json.dumps(given)
        answer = user.post(f"{PLACE}/{number}/test", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (given, answer.text)
    assert mailing.rows("select count(*) from notify.campaigns") == [(1,)]
