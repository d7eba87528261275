"""The register in the browser: what is found, what is shown, and what can be done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName
from notify.handover import hand_over
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import outbox, register
from notify.storage.outbox import Action
from tests.web_client import As

HOSTILE = (
    "<p>Hello</p><script>parent.document.title = 'pwned'</script><img src=https://evil.example/x.png>"
    "<form action=https://evil.example><button>Win</button></form>"
)

#: A sender of SMS.
SMS = SenderIdentity("example.com", None, ChannelName.SMS)

#: A gateway has taken the message, and delivered its only part.
TAKEN = """
    with drain as (
        insert into notify.drains (id, sender, worker, hourly_limit, lease_until)
        values (gen_random_uuid(), 'eurosms_default', 'w', 1, now()) returning id
    ), attempt as (
        insert into notify.attempts (message_id, number, sender, bulk, drain_id)
        select :id, 1, 'eurosms_default', false, id from drain returning id
    )
    insert into notify.sms_parts (attempt_id, number, message_id, sender, reference, arrival, words, reported_at, price)
    select id, 1, :id, 'eurosms_default', 'a-uuid', 'delivered', 'DELIVRD', now(), 0.05 from attempt
"""

Queue = Callable[..., list[int]]


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand messages over, and commit."""

    def call(*, using: HandOverSettings = hand_over_settings, **fields: object) -> list[int]:
        given = {"recipient": "anna@example.com", "subject": "Open Sesame", "message": "A tale."} | fields
        numbers = [message.id for message in hand_over(connection, given, using).messages]
        connection.commit()
        return numbers

    return call


def csrf(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


def status(connection: Connection, number: int) -> str:
    connection.rollback()
    return register.read(connection, number).status.value


def test_the_register(logged_in: As, queue: Queue) -> None:
    """The register shows messages newest first, and finds them by their recipient."""
    [first], [second] = queue(subject="The first"), queue(subject="The second", recipient="brian@example.com")
    client = logged_in("viewer")
    page = client.get("/notify/messages").text
    assert page.index("The second") < page.index("The first")
    found = client.get("/notify/messages", params={"address": "BRIAN@example.com"}).text
    assert f"/messages/{second}" in found
    assert f"/messages/{first}" not in found


def test_a_message_of_a_site(logged_in: As, queue: Queue, hand_over_settings: HandOverSettings) -> None:
    """A message shows the site that it is for, and the register finds it by that."""
    brno = SenderIdentity("example.com", None, ChannelName.EMAIL, "Brno & Co")
    using = replace(hand_over_settings, identity=lambda _sender: brno)
    [other], [number] = queue(subject="Elsewhere"), queue(subject="For Brno", site="Brno & Co", using=using)
    client = logged_in("viewer")
    assert (
        'href="/notify/messages?site=Brno%20%26%20Co">Brno &amp; Co</a>'
        in client.get(f"/notify/messages/{number}").text
    )
    assert "<dt>Site</dt>" not in client.get(f"/notify/messages/{other}").text
    page = client.get("/notify/messages", params={"site": "Brno & Co"}).text
    assert "For Brno" in page
    assert "Elsewhere" not in page


def test_all_pages(logged_in: As, queue: Queue) -> None:
    """From page to page, each message is seen once."""
    numbers = queue(recipient=[f"reader{number}@example.com" for number in range(120)])
    client, seen, path = logged_in("viewer"), [], "/notify/messages?kind=send_message"
    while path:
        page = client.get(path).text
        seen += [int(number) for number in re.findall(r'data-label="No."><a href="[^"]*/messages/(\d+)"', page)]
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == sorted(numbers, reverse=True)


def test_how_many_filters(logged_in: As, queue: Queue) -> None:
    """A phone folds the filters; how many are set can be seen nevertheless, and what a link set is none of them."""
    queue(case_id="C1")
    client = logged_in("viewer")
    assert '<summary class="button">Filters</summary>' in client.get("/notify/messages?dag_id=D&run_id=r").text
    found = client.get("/notify/messages", params={"case": "C1", "status": "queued", "kind": "", "before": "9"}).text
    assert '<summary class="button">Filters (2 set)</summary>' in found


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "before=x", "status=gone", "until=2026-13-01", "run_id=r1"],
    ids=lambda text: text.split("=")[0],
)
def test_filters_that_cannot_be_understood(logged_in: As, query: str) -> None:
    """A filter that is none is told, by its name."""
    answer = logged_in("viewer").get(f"/notify/messages?{query}")
    assert answer.status_code == 422
    assert query.split("=", maxsplit=1)[0] in answer.text


def test_a_hostile_subject(logged_in: As, queue: Queue) -> None:
    """What a producer writes is text here, never markup."""
    [number] = queue(subject="<script>alert(1)</script>", case_id='"><b>x')
    for path in ("/notify/messages", f"/notify/messages/{number}"):
        page = logged_in("admin").get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_hostile_mail(logged_in: As, queue: Queue) -> None:
    """A mail is shown in a frame that may do nothing, by an answer that lets it fetch nothing."""
    [number] = queue(message=HOSTILE, html=True, add_template=False)
    client = logged_in("user")
    page = client.get(f"/notify/messages/{number}").text
    assert re.search(rf'<iframe[^>]* sandbox=""[^>]* src="/notify/messages/{number}/html"', page)
    answer = client.get(f"/notify/messages/{number}/html")
    assert "Hello" in answer.text
    policy = answer.headers["content-security-policy"]
    assert {"default-src 'none'", "form-action 'none'", "sandbox"} <= set(policy.split("; "))
    assert "script-src" not in policy


def test_viewers_see_no_bodies(logged_in: As, queue: Queue) -> None:
    """Who may look at the register alone learns what became of a message, and nothing of its text."""
    [number] = queue(message="The secret of the cave.", subject="Hello")
    page = logged_in("viewer").get(f"/notify/messages/{number}").text
    assert "queued" in page
    assert "secret of the cave" not in page
    assert "does not let you read" in page
    assert "<button" not in page
    assert "secret of the cave" in logged_in("user").get(f"/notify/messages/{number}").text


def test_no_such_message(logged_in: As) -> None:
    """A number that no message has is a 404, in words."""
    answer = logged_in("viewer").get("/notify/messages/4711")
    assert answer.status_code == 404
    assert "There is no message 4711" in answer.text


def test_hold_and_release(logged_in: As, connection: Connection, queue: Queue) -> None:
    """A message is held and released by its buttons; the history says who did it."""
    [number] = queue()
    client = logged_in("user")
    for action, after in (("hold", "held"), ("release", "queued"), ("cancel", "cancelled"), ("resend", "queued")):
        page = client.get(f"/notify/messages/{number}").text
        assert f"/messages/{action}" in page
        answer = client.post(f"/notify/messages/{action}", data={"id": number, "csrf_token": csrf(page)})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/notify/messages/{number}")
        assert status(connection, number) == after
    assert "the_user (page)" in client.get(f"/notify/messages/{number}").text


def test_all_or_none(logged_in: As, connection: Connection, queue: Queue) -> None:
    """Where one of several cannot be held, none is."""
    [one], [other] = queue(), queue()
    client = logged_in("user")
    token = csrf(client.get(f"/notify/messages/{one}").text)
    client.post("/notify/messages/cancel", data={"id": other, "csrf_token": token})
    answer = client.post("/notify/messages/hold", data={"id": [one, other], "csrf_token": token})
    assert answer.status_code == 409
    assert f"Message {other} is cancelled" in answer.text
    assert status(connection, one) == "queued"


# --- Several at once -------------------------------------------------------------------------------------------------


def confirm(client: TestClient, action: str, *numbers: int, back: str = "") -> str:
    """The page that asks before something is done to several messages."""
    answer = client.get("/notify/messages/confirm", params={"action": action, "id": numbers, "back": back})
    assert answer.status_code == 200
    return str(answer.text)


def offered(page: str) -> str:
    """The messages with which a page offers to go on, as its form has them."""
    found = re.search(r'type="hidden" name="numbers" value="([^"]*)"', page)
    return found[1] if found else ""


def test_selecting(logged_in: As, queue: Queue) -> None:
    """Who may change messages can tick them; who may not sees no boxes and no buttons for it."""
    numbers = queue(), queue()
    page = logged_in("user").get("/notify/messages").text
    boxes = re.findall(r'<input type="checkbox" name="id" value="(\d+)" aria-label="Select message \1">', page)
    assert [int(box) for box in boxes] == [numbers[1][0], numbers[0][0]]
    assert re.findall(r'name="action" value="(\w+)"', page) == [action.value for action in Action]
    page = logged_in("viewer").get("/notify/messages").text
    assert 'name="id"' not in page
    assert "data-all" not in page
    assert 'name="action"' not in page


def test_confirming_and_doing(logged_in: As, connection: Connection, queue: Queue) -> None:
    """Several are held at once, behind a page that says how many, what happens, and with which it cannot be done."""
    [one], [other], [gone] = queue(subject="The first"), queue(subject="The second"), queue(subject="The third")
    client = logged_in("user")
    token = csrf(client.get(f"/notify/messages/{gone}").text)
    client.post("/notify/messages/cancel", data={"id": gone, "csrf_token": token})
    page = confirm(client, "hold", one, other, gone, 4711, back="kind=send_message&before=9&done=hold&count=3")
    assert "Possible with 2" in page
    assert "Not possible with 2" in page
    assert f"Message {gone} is cancelled; only queued can become held" in page
    assert "There is no message 4711" in page
    assert "It is not sent until somebody releases it." in page
    assert "Yes, hold 2 messages" in page
    assert offered(page) == f"{one} {other}"
    assert status(connection, one) == "queued"
    [back] = re.findall(r'name="back" value="([^"]*)"', page)
    answer = client.post(
        "/notify/messages/hold", data={"numbers": offered(page), "csrf_token": csrf(page), "back": back}
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/notify/messages?kind=send_message&done=hold&count=2"
    assert {status(connection, one), status(connection, other)} == {"held"}
    page = client.get(answer.headers["location"]).text
    assert "2 messages are held." in page
    assert "done=" not in page
    assert "the_user (page)" in client.get(f"/notify/messages/{one}").text


def test_moved_in_between(logged_in: As, connection: Connection, queue: Queue) -> None:
    """Where one of them was moved after the question, none is held, it is named, and the others are offered again."""
    [one], [other] = queue(), queue()
    client = logged_in("user")
    page = confirm(client, "hold", one, other)
    outbox.cancel(connection, other)
    connection.commit()
    answer = client.post("/notify/messages/hold", data={"numbers": offered(page), "csrf_token": csrf(page)})
    assert answer.status_code == 409
    assert "Nothing was changed: with 1 of them it cannot be done." in answer.text
    assert f"Message {other} is cancelled" in answer.text
    assert offered(answer.text) == str(one)
    assert status(connection, one) == "queued"
    client.post("/notify/messages/hold", data={"numbers": offered(answer.text), "csrf_token": csrf(answer.text)})
    assert status(connection, one) == "held"


def test_with_none_it_is_possible(logged_in: As, queue: Queue) -> None:
    """Where it can be done with none of them, there is nothing to say yes to."""
    [one] = queue()
    page = confirm(logged_in("user"), "arrived", one)
    assert "Possible with none" in page
    assert "<form" not in page


def test_asking_waits_for_nobody(logged_in: As, connection: Connection, queue: Queue) -> None:
    """The question locks nothing, and waits for nobody who has."""
    [one] = queue()
    connection.execute(sa.text("select from notify.messages where id = :id for update"), {"id": one})
    assert offered(confirm(logged_in("user"), "resend", one)) == ""
    assert offered(confirm(logged_in("user"), "cancel", one)) == str(one)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [([], "No message is selected"), (range(1, 1002), "At most 1000 messages at once"), ([0], "id"), ([2**63], "id")],
    ids=["none", "too many", "zero", "too large"],
)
def test_what_is_no_selection(logged_in: As, numbers: Sequence[int], says: str) -> None:
    """Nothing, too much, and what is no number of a message is refused in words."""
    answer = logged_in("user").get("/notify/messages/confirm", params={"action": "hold", "id": list(numbers)})
    assert answer.status_code == 422
    assert says in answer.text


@pytest.mark.parametrize("numbers", ["x", "1,2", "0", f"{2**63}", "1 -2"])
def test_what_are_no_numbers(logged_in: As, queue: Queue, numbers: str) -> None:
    """What a form says that are no numbers of messages is refused in words."""
    [one] = queue()
    client = logged_in("user")
    token = csrf(client.get(f"/notify/messages/{one}").text)
    answer = client.post("/notify/messages/hold", data={"numbers": numbers, "csrf_token": token})
    assert answer.status_code == 422
    assert "no numbers of messages" in answer.text


def test_a_thousand(logged_in: As, connection: Connection, queue: Queue) -> None:
    """A thousand messages are held at once."""
    numbers = queue(recipient=[f"reader{number}@example.com" for number in range(1000)])
    client = logged_in("user")
    page = confirm(client, "hold", *numbers)
    assert "Yes, hold 1,000 messages" in page
    answer = client.post("/notify/messages/hold", data={"numbers": offered(page), "csrf_token": csrf(page)})
    assert answer.status_code == 303
    held = sa.text("select count(*) from notify.messages where status = 'held'")
    assert connection.scalar(held) == 1000


# --- Uncertain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "button"), [("arrived", "It arrived"), ("resend", "Send again")])
def test_uncertain(logged_in: As, connection: Connection, queue: Queue, action: str, button: str) -> None:
    """Of a message of which nobody knows, a person says that it arrived, or has it sent again; the history has it."""
    [number] = queue(guarantee="at_most_once")
    connection.execute(sa.text("set local session_replication_role = replica"))
    connection.execute(sa.text("update notify.messages set status = 'uncertain', first_tried_at = now()"))
    connection.commit()
    client = logged_in("user")
    page = client.get(f"/notify/messages/{number}").text
    assert "Nobody knows whether it arrived" in page
    assert f'<summary class="button">{button}</summary>' in page
    answer = client.post(f"/notify/messages/{action}", data={"id": number, "csrf_token": csrf(page)})
    assert answer.status_code == 303
    assert status(connection, number) == {"arrived": "delivered", "resend": "queued"}[action]
    assert "the_user (page)" in client.get(f"/notify/messages/{number}").text


# --- Who is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "nonsense", "of another user"])
def test_forged(logged_in: As, connection: Connection, queue: Queue, token: str) -> None:
    """A form that is not from this person's page changes nothing."""
    [number] = queue()
    if token == "of another user":
        token = csrf(logged_in("admin").get(f"/notify/messages/{number}").text)
    answer = logged_in("user").post("/notify/messages/hold", data={"id": number, "csrf_token": token})
    assert answer.status_code == 403
    assert status(connection, number) == "queued"


def test_a_program_needs_no_form(logged_in: As, connection: Connection, queue: Queue) -> None:
    """Who brings a token of Airflow's in the header is no browser that was led here by another site."""
    [number] = queue()
    bearer = {"Authorization": f"Bearer {logged_in('user').cookies['_token']}"}
    answer = logged_in(None).post("/notify/messages/hold", data={"id": number}, headers=bearer)
    assert answer.status_code == 303
    assert status(connection, number) == "held"


@pytest.mark.parametrize("path", ["", "/", "/messages", "/static/notify.css", "/nowhere"])
def test_headers(logged_in: As, path: str) -> None:
    """Every answer says what the browser must not do."""
    answer = logged_in("viewer").get(f"/notify{path}", follow_redirects=True)
    policy = answer.headers["content-security-policy"]
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'self'"} <= set(policy.split("; "))
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_database(logged_in: As, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outbox does not answer, people are told what to do, and nothing of the inside."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify:s3cret@127.0.0.1:1/outbox")
    answer = logged_in("viewer").get("/notify/messages")
    assert answer.status_code == 503
    assert "notify_db" in answer.text
    assert "s3cret" not in answer.text


def test_statements_stay_few(logged_in: As, queue: Queue, connection: Connection) -> None:
    """A page of fifty messages asks the database no more than a page of one."""
    queue()
    asked: list[str] = []

    def note(*given: str) -> None:
        asked.append(given[2])

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    client = logged_in("viewer")
    client.get("/notify/messages")
    few = len(asked)
    queue(recipient=[f"reader{number}@example.com" for number in range(60)])
    asked.clear()
    client.get("/notify/messages")
    sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    assert 0 < len(asked) <= few


def test_the_parts_of_an_sms(logged_in: As, connection: Connection, hand_over_settings: HandOverSettings) -> None:
    """Of an SMS the page shows its text, its parts and what became of each; its text to those who may read it."""
    settings = replace(hand_over_settings, senders=("eurosms_default",), identity=lambda _sender: SMS)
    given = {"channel": "sms", "recipient": "+421903622237", "message": "Faktúra č. 7"}
    [stored] = hand_over(connection, given, settings).messages
    connection.execute(sa.text(TAKEN), {"id": stored.id})
    connection.commit()
    page = logged_in("admin").get(f"/notify/messages/{stored.id}").text
    assert "Faktúra č. 7" in page
    assert "SMS, 1 part" in page
    assert "DELIVRD" in page
    assert "0.0500" in page
    assert "Faktúra" not in logged_in("viewer").get(f"/notify/messages/{stored.id}").text
