"""The API's other resources: events, deadlines, people, suppressions, senders, and what operators ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from notify import cli, set_preference
from notify.deadlines import set_deadline_fields, set_reminder_fields
from notify.domain.person import Person
from notify.exceptions import InvalidDeadline, InvalidEvent, InvalidPreference, InvalidSuppression
from notify.preferences import set_preference_fields
from notify.publishing import publish_event
from notify.settings import HandOverSettings
from notify.storage import people, suppressions, unsubscriptions
from notify.suppressing import suppress
from tests import metadata as airflows
from tests.web_client import API, As

EVENT = {"kind": "case_received", "case": {"id": "C1", "title": "The cave"}, "recipients": "anna; bob", "actor": "bob"}
TERM = {"case": {"id": "C1", "stage": "Approval", "owner": "anna"}, "due": "P3D", "advance": ["P1D"]}
REMINDER = {"login": "anna", "case": "C1", "at": "P3D", "note": "The secret of the cave"}


@pytest.fixture(autouse=True)
def _staff(connection: Connection) -> None:
    """Anna, Bob and Carl, and somebody with a strange login; Anna has Bob as a supervisor."""
    people.save(
        connection,
        [
            Person(login="bob", name="Bob", email="bob@example.com", groups=["staff"]),
            Person(login="anna", name="Anna", email="anna@example.com", groups=["staff"], supervisor="bob"),
            Person(login="carl", name="Carl", email="carl@example.com", active=False, timezone="Europe/Warsaw"),
            Person(login="firm/dora", name="Dora", email="dora@example.com"),
        ],
        source="test",
    )
    connection.commit()


@pytest.fixture
def user(program: As) -> TestClient:
    """Somebody who may hand over, and look at people."""
    return program("user")


@pytest.fixture
def boss(program: As) -> TestClient:
    """Somebody who may do everything."""
    return program("admin")


def faults(answer: Any) -> list[tuple[str, str]]:
    """What is wrong with which field."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [(one["field"], one["problem"]) for one in answer.json()["errors"]]


def size(connection: Connection, table: str) -> int:
    connection.rollback()
    return int(connection.scalar(sa.text(f"select count(*) from notify.{table}")) or 0)


def logged(session: Session) -> list[tuple[str, str, Any]]:
    """What Airflow's audit log has of us."""
    session.rollback()
    rows = session.execute(
        sa.select(Log.event, Log.owner, Log.extra).where(Log.event.like("notify.%")).order_by(Log.id)
    )
    return [(event, owner, json.loads(extra)) for event, owner, extra in rows]


# --- Events ----------------------------------------------------------------------------------------------------------


def test_an_event(user: TestClient) -> None:
    """What happened is published with who published it; the answer says where its notifications are."""
    answer = user.post(f"{API}/events", json=EVENT)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told == {
        "event_id": told["event_id"], "duplicate": False, "mails": 1, "waiting": 0, "refused": {"own_action": 1},
    }  # fmt: skip
    event = user.get(f"{API}/events/{told['event_id']}").json()
    assert (event["kind"], event["case_id"], event["actor"]) == ("case_received", "C1", "bob")
    assert (event["created_by"], event["recipients"]) == ("the_user (API)", 2)
    assert (event["mails"], event["waiting"], event["refused"]) == (1, 0, {"own_action": 1})
    [mail] = user.get(f"{API}/messages", params={"case": "C1"}).json()["messages"]
    assert user.get(f"{API}/messages/{mail['id']}").json()["created_by"] == "the_user (API)"


@pytest.mark.parametrize(
    "fields",
    [{}, EVENT | {"kind": "nonsense"}, EVENT | {"recipients": "nobody", "x": 1}, EVENT | {"idempotency_key": "task:x"}],
    ids=str,
)
def test_events_have_the_same_errors(
    user: TestClient, connection: Connection, hand_over_settings: HandOverSettings, fields: dict[str, Any]
) -> None:
    """What is wrong with an event is told in the words of the other doors, and nothing is stored."""
    with pytest.raises(InvalidEvent) as refused:
        publish_event(connection, fields, hand_over_settings)
    assert faults(user.post(f"{API}/events", json=fields)) == [(one.field, one.problem) for one in refused.value.faults]
    assert size(connection, "events") == 0


def test_what_an_event_told_is_a_text(user: TestClient, program: As) -> None:
    """Who may not read texts learns nothing of what an event told."""
    data = {"changes": [{"what": "comment_added", "text": "The secret of the cave"}]}
    number = user.post(f"{API}/events", json=EVENT | {"kind": "case_changed", "data": data}).json()["event_id"]
    answer = program("viewer").get(f"{API}/events/{number}")
    assert answer.status_code == 200
    assert "secret" not in answer.text


def test_no_such_event(user: TestClient) -> None:
    """A number that no event has is a 404, in words."""
    assert "no event 4711" in user.get(f"{API}/events/4711").json()["detail"]
    assert user.get(f"{API}/events/4711").status_code == 404


# --- Deadlines -------------------------------------------------------------------------------------------------------


def test_a_term(user: TestClient, metadata: Session) -> None:
    """A term is set with who set it, is looked at, and taken back; what is set anew is moved."""
    first = user.post(f"{API}/deadlines", json=TERM)
    assert first.status_code == 201, first.text
    number = first.json()["id"]
    term = user.get(f"{API}/deadlines/{number}").json()
    assert (term["type"], term["stage"], term["owner"], term["closed_reason"]) == ("term", "Approval", "anna", None)
    assert term["set_by"].startswith("the_user (API")
    assert [one["kind"] for one in term["steps"]] == ["deadline_approaching", "deadline_exceeded"]
    moved = user.post(f"{API}/deadlines", json=TERM | {"due": "P4D"}).json()["id"]
    assert user.get(f"{API}/deadlines/{number}").json()["closed_reason"] == "moved"
    assert user.delete(f"{API}/deadlines", params={"case": "C1", "stage": ""}).json() == {"cleared": []}
    assert user.delete(f"{API}/deadlines", params={"case": "C1", "stage": "Approval"}).json() == {"cleared": [moved]}
    assert user.get(f"{API}/deadlines/{moved}").json()["closed_reason"] == "cleared"
    assert logged(metadata) == [("notify.clear_deadlines", "the_user", {"ids": [moved]})]


def test_a_term_set_again_after_its_time(user: TestClient, connection: Connection) -> None:
    """The same request at another time is another term: a program that sets it each month is not taken for a retry."""
    first = user.post(f"{API}/deadlines", json=TERM).json()
    user.delete(f"{API}/deadlines", params={"case": "C1"})
    second = user.post(f"{API}/deadlines", json=TERM).json()
    assert second["id"] != first["id"]
    assert second["ended"] is None


def test_a_reminder(user: TestClient, program: As) -> None:
    """A reminder is set and taken back; its note is a text, which not everybody may read."""
    user.post(f"{API}/deadlines", json=TERM)
    number = user.post(f"{API}/reminders", json=REMINDER).json()["id"]
    assert user.get(f"{API}/deadlines/{number}").json()["note"] == "The secret of the cave"
    seen = program("viewer").get(f"{API}/deadlines", params={"person": "anna"})
    assert {one["id"] for one in seen.json()["deadlines"]} > {number}
    assert "secret" not in seen.text
    gone = {"case": "C1", "login": "anna"}
    assert user.delete(f"{API}/reminders", params=gone).json() == {"cleared": [number]}
    assert user.delete(f"{API}/reminders", params=gone).json() == {"cleared": []}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/deadlines", {}),
        ("/deadlines", TERM | {"due": "soon", "nonsense": 1}),
        ("/deadlines", TERM | {"case": {"id": "C1", "owner": "nobody"}}),
        ("/reminders", REMINDER | {"login": "nobody"}),
    ],
)
def test_deadlines_have_the_same_errors(
    user: TestClient, connection: Connection, hand_over_settings: HandOverSettings, path: str, fields: dict[str, Any]
) -> None:
    """What is wrong with a deadline is told in the words of the other doors, and nothing is set."""
    setting = set_reminder_fields if path == "/reminders" else partial(set_deadline_fields, settings=hand_over_settings)
    with pytest.raises(InvalidDeadline) as refused:
        setting(fields, connection=connection)
    assert faults(user.post(f"{API}{path}", json=fields)) == [(one.field, one.problem) for one in refused.value.faults]
    assert size(connection, "deadlines") == 0


@pytest.mark.parametrize("query", ["", "stage=Approval", "case=", "case=C1&stag=Approval", "case=C1%00"])
def test_what_is_cleared_by_no_mistake(user: TestClient, connection: Connection, query: str) -> None:
    """A slip of the pen takes back no more than was meant: it is refused."""
    user.post(f"{API}/deadlines", json=TERM)
    assert user.delete(f"{API}/deadlines?{query}").status_code == 422
    assert connection.scalar(sa.text("select count(*) from notify.deadlines where closed_at is null")) == 1


def test_all_pages_of_deadlines(user: TestClient) -> None:
    """From page to page each open deadline is seen once, the one that is told of first before the others."""
    for number in range(7):
        user.post(
            f"{API}/deadlines", json=TERM | {"case": {"id": f"C{number}", "owner": "anna"}, "due": f"P{9 - number}D"}
        )
    seen, path = [], f"{API}/deadlines?limit=3"
    while path:
        page = user.get(path).json()
        seen += [one["case_id"] for one in page["deadlines"]]
        path = page["next"]
    assert seen == [f"C{number}" for number in reversed(range(7))]
    assert user.get(f"{API}/deadlines", params={"ended": True}).json()["deadlines"] == []
    assert user.get(f"{API}/deadlines", params={"after": "x"}).status_code == 422


# --- People ----------------------------------------------------------------------------------------------------------


def test_people(user: TestClient) -> None:
    """People are found by any part of what they are called, by group, and by whether they are there still."""

    def logins(**query: Any) -> list[str]:
        return [one["login"] for one in user.get(f"{API}/people", params=query).json()["people"]]

    assert logins() == ["anna", "bob", "carl", "firm/dora"]
    assert logins(group="staff") == ["anna", "bob"]
    assert logins(active=False) == ["carl"]
    assert logins(text="DORA@") == ["firm/dora"]
    seen, path = [], f"{API}/people?limit=1"
    while path:
        page = user.get(path).json()
        seen += [one["login"] for one in page["people"]]
        path = page["next"]
    assert seen == logins()


@pytest.mark.parametrize("login", ["anna", "firm%2Fdora", "firm/dora"])
def test_a_person(user: TestClient, connection: Connection, login: str) -> None:
    """All that is known of a person; a login may have a slash in it."""
    suppressions.add(connection, "anna@example.com", "unsubscribed", None)
    connection.commit()
    person = user.get(f"{API}/people/{login}").json()
    assert person["name"] in {"Anna", "Dora"}
    if login == "anna":
        assert (person["groups"], person["supervisor"], person["source"]) == (["staff"], "bob", "test")
        assert person["suppressed"]["reason"] == "unsubscribed"
    else:
        assert person["suppressed"] is None


@pytest.mark.parametrize("path", ["nobody", "nobody/preferences", "a%00b"])
def test_no_such_person(user: TestClient, path: str) -> None:
    """Who is not known is a 404, or no name at all."""
    assert user.get(f"{API}/people/{path}").status_code == (422 if "%00" in path else 404)


@pytest.mark.parametrize("login", ["anna", "firm/dora"])
def test_preferences(boss: TestClient, metadata: Session, login: str) -> None:
    """What a person said is put down, looked at, and forgotten; who did it stands in Airflow's audit log."""
    place = f"{API}/people/{login}/preferences"
    answer = boss.put(f"{place}/case_changed", json={"frequency": "weekly", "hour": "17:30", "weekday": "tuesday"})
    assert (answer.status_code, answer.content) == (204, b"")
    told = boss.get(place).json()
    assert told["said"] == {
        "case_changed": {
            "frequency": "weekly", "hour": "17:30", "weekday": 2, "quiet_from": None, "quiet_until": None,
            "channel": None,
        }
    }  # fmt: skip
    assert told["applies"]["case_changed"] == {
        "mandatory": False, "frequency": "weekly", "hour": "17:30", "weekday": 2, "quiet_from": None,
        "quiet_until": None, "channel": "email",
    }  # fmt: skip
    assert told["applies"]["deadline_exceeded"]["mandatory"] is True
    boss.put(f"{place}/*", json={"quiet_from": "22:00", "quiet_until": "07:00"})
    assert boss.get(place).json()["applies"]["case_received"]["quiet_from"] == "22:00"
    for _ in range(2):
        assert boss.delete(f"{place}/case_changed").status_code == 204
    assert set(boss.get(place).json()["said"]) == {"*"}
    assert [(event, owner, about["preferences"]) for event, owner, about in logged(metadata)] == [
        ("notify.set_preferences", "the_admin", {"case_changed": "weekly, tuesday, at 17:30"}),
        ("notify.set_preferences", "the_admin", {"*": "quiet 22:00-07:00"}),
        ("notify.set_preferences", "the_admin", {"case_changed": "nothing said"}),
    ]


@pytest.mark.parametrize(
    ("login", "kind", "fields"),
    [
        ("anna", "case_received", {"frequency": "weekly"}),
        ("anna", "deadline_exceeded", {"frequency": "never"}),
        ("anna", "nonsense", {"frequency": "daily"}),
        ("nobody", "case_received", {"frequency": "often", "hour": "25:00"}),
        ("anna", "case_received", {}),
        ("anna", "case_received", {"connection": None, "settings": "x", "login": "bob"}),
    ],
)
def test_preferences_have_the_same_errors(
    boss: TestClient, connection: Connection, login: str, kind: str, fields: dict[str, Any]
) -> None:
    """What cannot be chosen is refused in the words of the other doors."""
    with pytest.raises(InvalidPreference) as refused:
        set_preference_fields(login, kind, fields, connection=connection)
    told = faults(boss.put(f"{API}/people/{login}/preferences/{kind}", json=fields))
    assert told == [(one.field, one.problem) for one in refused.value.faults]
    assert size(connection, "preferences") == 0


# --- Suppressions ----------------------------------------------------------------------------------------------------


def test_suppressing(boss: TestClient, connection: Connection, metadata: Session) -> None:
    """An address is put on the list, what is queued to it is withheld, and it is taken off again."""
    letter = {"recipient": "Eve@example.com", "subject": "Hi", "message": "Hi"}
    number = boss.post(f"{API}/messages", json=letter).json()["messages"][0]["id"]
    place = f"{API}/suppressions/EVE@example.com"
    answer = boss.put(place, json={"reason": "asked by phone", "days": 30})
    assert (answer.status_code, answer.json()) == (200, {"changed": True, "withheld": 1})
    assert boss.get(f"{API}/messages/{number}").json()["status"] == "suppressed"
    [one] = boss.get(f"{API}/suppressions").json()["suppressions"]
    assert (one["address"], one["reason"], one["source"]) == ("eve@example.com", "asked by phone", "person")
    lasting = datetime.fromisoformat(one["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < lasting < timedelta(days=31)
    assert boss.put(place, json={"reason": "again", "days": 1}).json() == {"changed": False, "withheld": 0}
    assert boss.delete(place).status_code == 204
    assert boss.get(f"{API}/suppressions").json()["suppressions"] == []
    assert boss.delete(place).status_code == 404
    assert [event for event, _, _ in logged(metadata)] == ["notify.suppress"] * 2 + ["notify.lift_suppression"]


@pytest.mark.parametrize(
    ("address", "reason", "days"),
    [("nobody", "x", None), ("eve@example.com", "", None), ("eve@example.com", "x", 0), ("eve@", "a\nb", 10**9)],
)
def test_suppressions_have_the_same_errors(
    boss: TestClient, connection: Connection, address: str, reason: str, days: int | None
) -> None:
    """What cannot stand on the list is refused in the words of the other doors."""
    with pytest.raises(InvalidSuppression) as refused:
        suppress(connection, address, reason, days)
    told = faults(boss.put(f"{API}/suppressions/{address}", json={"reason": reason, "days": days}))
    assert told == [(one.field, one.problem) for one in refused.value.faults]
    assert size(connection, "suppressions") == 0


@pytest.mark.parametrize("body", [{"reason": 7}, {"reason": "x", "days": "30"}, {"reason": "x", "until": "2027"}])
def test_what_is_no_suppression(boss: TestClient, connection: Connection, body: Any) -> None:
    """A field that is none, or of another type, is named."""
    assert {field for field, _ in faults(boss.put(f"{API}/suppressions/eve@example.com", json=body))} <= {
        "reason",
        "days",
        "until",
    }
    assert size(connection, "suppressions") == 0


def test_pages_of_suppressions(user: TestClient, connection: Connection) -> None:
    """From page to page each address is seen once; they are found by a part, and by what put them there."""
    for number in range(7):
        source = suppressions.Source.BOUNCE if number % 2 else suppressions.Source.PERSON
        suppressions.add(connection, f"a{number}@example.com", "x", None, source)
    connection.commit()
    seen, path = [], f"{API}/suppressions?limit=2"
    while path:
        page = user.get(path).json()
        seen += [one["address"] for one in page["suppressions"]]
        path = page["next"]
    assert seen == [f"a{number}@example.com" for number in range(7)]
    bounced = user.get(f"{API}/suppressions", params={"source": "bounce", "address": "a"}).json()["suppressions"]
    assert [one["address"] for one in bounced] == [f"a{number}@example.com" for number in (1, 3, 5)]


# --- Unsubscriptions -------------------------------------------------------------------------------------------------


def test_unsubscribing(boss: TestClient, connection: Connection, metadata: Session) -> None:
    """On its reader's word an address gets no more bulk mail, queued or handed over later; and then again."""
    letter = {"recipient": "Zoe@customer.example", "subject": "News", "message": "News", "priority": "bulk"}
    queued = boss.post(f"{API}/messages", json=letter).json()["messages"][0]["id"]
    place = f"{API}/unsubscriptions/ZOE@customer.example/bulk-mail"
    answer = boss.put(place)
    assert (answer.status_code, answer.json()) == (200, {"changed": True, "withheld": 1})
    assert boss.get(f"{API}/messages/{queued}").json()["status"] == "suppressed"
    assert boss.put(place).json() == {"changed": False, "withheld": 0}
    assert boss.post(f"{API}/messages", json=letter).json()["suppressed"] == 1
    [one] = boss.get(f"{API}/unsubscriptions").json()["addresses"]
    assert one["address"] == "zoe@customer.example"
    [said] = one["unsubscriptions"]
    assert (said["scope"], said["created_by"]) == ("bulk-mail", "the_admin (API)")
    assert boss.delete(place).status_code == 204
    assert boss.delete(place).status_code == 404
    assert boss.get(f"{API}/unsubscriptions").json()["addresses"] == []
    assert boss.post(f"{API}/messages", json=letter).json()["suppressed"] == 0
    about = {"address": "zoe@customer.example", "scope": "bulk-mail"}
    assert logged(metadata) == [
        ("notify.unsubscribe", "the_admin", about),
        ("notify.unsubscribe", "the_admin", about),
        ("notify.resubscribe", "the_admin", about),
    ]


def test_unsubscribed_from_a_kind(boss: TestClient) -> None:
    """An address that is nobody's whom we know hears no more of a kind of event; all others do, and of all others."""
    assert boss.put(f"{API}/unsubscriptions/zoe@customer.example/case_received").json()["changed"] is True
    event = EVENT | {"recipients": "zoe@customer.example; anna"}
    told = boss.post(f"{API}/events", json=event).json()
    assert (told["mails"], told["refused"]) == (1, {"never": 1})
    changed = {"kind": "case_changed", "data": {"changes": [{"what": "comment_added", "text": "See page 2."}]}}
    assert boss.post(f"{API}/events", json=event | changed).json()["mails"] == 2


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("nobody/bulk-mail", ["address"]),
        ("zoe@customer.example/nonsense", ["scope"]),
        ("zoe@customer.example/deadline_exceeded", ["scope"]),
        ("Anna@Example.com/case_received", ["scope"]),
        ("nobody/deadline_exceeded", ["address", "scope"]),
    ],
    ids=["no-address", "no-kind", "mandatory", "of-a-person", "two-faults"],
)
def test_what_nobody_can_unsubscribe_from(
    boss: TestClient, connection: Connection, path: str, fields: list[str]
) -> None:
    """What would stop nothing is refused, with every fault: a mandatory kind, or a kind that preferences decide on."""
    assert [field for field, _ in faults(boss.put(f"{API}/unsubscriptions/{path}"))] == fields
    assert size(connection, "unsubscriptions") == 0


def test_bulk_mail_to_a_person(boss: TestClient) -> None:
    """Bulk mail is no kind of event: a person's address can be unsubscribed from it, which their record tells."""
    assert boss.get(f"{API}/people/anna").json()["unsubscribed"] == []
    assert boss.put(f"{API}/unsubscriptions/anna@example.com/bulk-mail").json()["changed"] is True
    assert boss.get(f"{API}/people/anna").json()["unsubscribed"] == ["bulk-mail"]


def test_pages_of_unsubscriptions(user: TestClient, connection: Connection) -> None:
    """From page to page each address is seen once with all that it gets no more of; by scope, and by address."""
    for number in range(7):
        for scope in ("bulk-mail", "case_received") if number % 2 else ("bulk-mail",):
            unsubscriptions.add(connection, f"a{number}@customer.example", scope, "the reader")
    connection.commit()
    seen, path = [], f"{API}/unsubscriptions?limit=2"
    while path:
        page = user.get(path).json()
        seen += [(one["address"], len(one["unsubscriptions"])) for one in page["addresses"]]
        path = page["next"]
    assert seen == [(f"a{number}@customer.example", 1 + number % 2) for number in range(7)]

    def found(**query: str) -> list[str]:
        return [one["address"] for one in user.get(f"{API}/unsubscriptions", params=query).json()["addresses"]]

    assert found(scope="case_received") == [f"a{number}@customer.example" for number in (1, 3, 5)]
    assert found(address="A2@Customer.example") == ["a2@customer.example"]
    assert found(address="a2@customer.example", scope="case_received") == []
    unsubscriptions.hide(connection, "a2@customer.example")
    connection.commit()
    [hidden] = found(address="A2@customer.example")
    assert hidden.startswith("sha256:")
    assert user.get(f"{API}/unsubscriptions", params={"scope": "\0"}).status_code == 422


# --- Senders ---------------------------------------------------------------------------------------------------------


def test_senders(program: As, user: TestClient, connection: Connection, metadata: Session) -> None:
    """What waits for a sender, what its limit allows, and when its queue is empty."""
    airflows.add_dag(metadata, "Notifications", next_dagrun_create_after=datetime.now(UTC) + timedelta(minutes=2))
    connection.execute(sa.text("insert into notify.senders (sender, hourly_limit) values ('smtp_default', 2)"))
    connection.commit()
    letters = [{"recipient": f"r{number}@example.com", "subject": "Hi", "message": "Hi"} for number in range(3)]
    user.post(f"{API}/messages/batch", json={"messages": letters})
    told = program("viewer").get(f"{API}/senders").json()
    assert (told["refused"], told["note"]) == (None, "")
    [one] = told["senders"]
    assert (one["sender"], one["served"], one["limit"]) == ("smtp_default", True, 2)
    assert (one["queue"]["due"], one["used"]["total"]) == (3, 0)
    assert one["empty"]["at"] > one["at"]
    assert user.get(f"{API}/senders/smtp_default").json()["queue"] == one["queue"]
    assert user.get(f"{API}/senders/nonsense").status_code == 404


# --- Explain, check, health ------------------------------------------------------------------------------------------


def test_explain(user: TestClient, connection: Connection) -> None:
    """Why somebody got a mail, and somebody else none: by person, by event, by case and by message."""
    number = user.post(f"{API}/events", json=EVENT).json()["event_id"]
    message = user.get(f"{API}/messages").json()["messages"][0]["id"]
    for query in ({"event": number}, {"case": "C1"}):
        [story] = user.get(f"{API}/explain", params=query).json()["stories"]
        assert {"sort": "event", "name": str(number)} in story["happened"]["names"]
        homes = {one["who"]: one["told"] for one in story["homes"]}
        assert {"sort": "message", "name": str(message)} in homes["anna"]["names"]
        assert "reason own_action" in homes["bob"]["text"]
    told = user.get(f"{API}/explain", params={"person": "bob@example.com", "since": "P1D"}).json()
    assert (told["login"], len(told["stories"]), told["cut"]) == ("bob", 1, False)
    [story] = user.get(f"{API}/explain", params={"message": message}).json()["stories"]
    assert f"message {message} to anna@example.com: queued" in story["homes"][0]["told"]["text"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422), ("event=1&case=C1", 422), ("event=x", 422), ("event=1&since=P1D", 422), ("person=anna&since=x", 422),
        ("event=4711", 404), ("case=nowhere", 404), ("message=4711", 404), ("person=nobody", 404),
        ("person=x@example.com", 404), ("person=anna&most=0", 422),
    ],
)  # fmt: skip
def test_what_cannot_be_explained(user: TestClient, query: str, status: int) -> None:
    """What is no question is told apart from what nothing is known of."""
    answer = user.get(f"{API}/explain?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_check(program: As, user: TestClient, connection: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    """The balance is that of the command line; and one that is not even is told as such."""
    set_preference("anna", "case_received", frequency="never", connection=connection)
    connection.commit()
    user.post(f"{API}/events", json=EVENT)
    told = program("viewer").get(f"{API}/check").json()
    assert cli.main(["check", "--json"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert datetime.fromisoformat(told.pop("at")) < datetime.fromisoformat(same.pop("at"))
    assert told == same
    assert (told["even"], told["refused"]) == (True, {"never": 1, "own_action": 1})
    connection.execute(sa.text("update notify.events set recipients = 7"))
    connection.commit()
    told = user.get(f"{API}/check").json()
    assert told["even"] is False
    assert told["wrong"][0]["count"] == 1


def test_one_check_at_a_time(user: TestClient, connection: Connection) -> None:
    """While somebody draws the balance up, nobody else makes the database do it as well."""
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtextextended('notify balance', 0))"))
    answer = user.get(f"{API}/check")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:notify:too-long"


def test_health(program: As) -> None:
    """All checks are made, each with what was found and what to do; the whole says whether there is an error."""
    told = program("viewer").get(f"{API}/health").json()
    assert len(told["checks"]) > 5
    found = [one for one in told["checks"] if one["outcome"] in {"error", "warning"}]
    assert all(one["told"] and one["remedy"] for one in found)
    assert told["healthy"] is not any(one["outcome"] == "error" for one in found)
