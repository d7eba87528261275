"""Requests of the API, whatever about: who may ask, what is read, how errors are told, and what comes twice."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection, Engine
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from notify.housekeeping import Housekeeper
from notify.storage import register
from notify.web import app as web_app
from notify.web import forgery
from notify.web.api import handover as api_handover
from notify.web.api import operations
from notify.web.body import MOST, MOST_HANDED_OVER, BodyLimit
from tests.web_client import API, As

LETTER = {"recipient": "anna@example.com", "subject": "Open Sesame", "message": "A tale."}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def user(program: As) -> TestClient:
    """Somebody who may hand over."""
    return program("user")


def count(connection: Connection, table: str = "messages") -> int:
    """How many rows a table has."""
    connection.rollback()
    return int(connection.scalar(sa.text(f"select count(*) from notify.{table}")) or 0)


def problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """The document of an error; it is one, and says what it is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["type"], told["status"]) == (f"urn:notify:{kind}", status)
    assert told["title"]
    assert told["detail"]
    return told


# --- What is read ----------------------------------------------------------------------------------------------------

MALFORMED = {
    "nothing": b"",
    "no JSON": b"recipient=anna",
    "cut off": b'{"recipient": "anna',
    "no object": b'["anna@example.com"]',
    "no number": b'{"data": NaN}',
    "no UTF-8": b'{"subject": "\xff"}',
    "nested too deeply": b'{"data": ' + b"[" * 200_000,
    "a number of too many digits": b'{"data": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_no_json(user: TestClient, connection: Connection, body: bytes) -> None:
    """What is no JSON object is refused as such, and what was sent is not told again."""
    told = problem(user.post(f"{API}/messages", content=body, headers=JSON), 400, "malformed")
    assert "anna" not in told["detail"]
    assert count(connection) == 0


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
def test_no_media_type_of_json(user: TestClient, connection: Connection, media: str) -> None:
    """A body must say that it is JSON: a form of another site cannot."""
    answer = user.post(f"{API}/messages", content=json.dumps(LETTER), headers={"Content-Type": media})
    problem(answer, 415, "wrong-media")
    assert count(connection) == 0


@pytest.mark.parametrize("media", ["application/json", "Application/JSON; charset=utf-8", "application/notify+json"])
def test_media_types_of_json(user: TestClient, media: str) -> None:
    """All that is JSON by its media type is taken."""
    answer = user.post(f"{API}/messages", content=json.dumps(LETTER), headers={"Content-Type": media})
    assert answer.status_code == 201


@pytest.mark.parametrize("role", [None, "viewer"])
@pytest.mark.parametrize("body", [b"{", b"x" * (MOST + 1)], ids=["no JSON", "large"])
def test_who_may_not_is_not_read(program: As, role: str | None, body: bytes) -> None:
    """Who has no right to it learns nothing of what is wrong with the body: it is not looked at."""
    answer = program(role).post(f"{API}/messages", content=body, headers={"Content-Type": "text/plain"})
    problem(answer, 401 if role is None else 403, "not-logged-in" if role is None else "forbidden")


# --- How much is read ------------------------------------------------------------------------------------------------


def test_too_large(user: TestClient, connection: Connection) -> None:
    """More than a megabyte comes to no route but a hand-over, and that takes as much as a mail may have."""
    padding = {"data": {"changes": [{"what": "comment_added", "text": "x" * MOST}]}}
    event = {"kind": "case_changed", "case": "C", "recipients": "anna@example.com"} | padding
    told = problem(user.post(f"{API}/events", json=event), 413, "too-large")
    assert f"{MOST:,} bytes" in told["detail"]
    assert user.post(f"{API}/messages", json=LETTER | {"message": "x" * MOST}).status_code == 201
    told = problem(user.post(f"{API}/messages", json=LETTER | {"message": "x" * MOST_HANDED_OVER}), 413, "too-large")
    assert f"{MOST_HANDED_OVER:,} bytes" in told["detail"]
    assert count(connection) == 1


def test_a_form_that_is_too_large(logged_in: As) -> None:
    """The page's forms have a limit as well, and people are told on a page."""
    answer = logged_in("user").post("/notify/messages/hold", data={"id": "1", "csrf_token": "x" * MOST})
    assert answer.status_code == 413
    assert answer.headers["content-type"].startswith("text/html")
    assert f"{MOST:,} bytes" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def asked(app: Callable[..., Any], *, headers: list[tuple[bytes, bytes]], most: int) -> tuple[list[Message], int]:
    """What an app answers to a body of chunks without end, and how many bytes it took."""
    sent: list[Message] = []
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 65536
        assert taken <= most, "it reads on and on"
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/notify/api/v1/events", "raw_path": b"",
        "root_path": "/notify", "query_string": b"", "headers": headers, "scheme": "http", "server": ("here", 80),
        "client": ("there", 1),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent, taken


@pytest.mark.parametrize("swallows", [False, True], ids=["an app that lets errors pass", "an app that swallows them"])
def test_a_body_without_end(swallows: bool) -> None:
    """A body that does not say how large it is ends where it is too large, whatever the app makes of that."""

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        try:
            while (await receive())["more_body"]:
                pass
        except Exception:
            if not swallows:
                raise
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"no form"})

    limited = BodyLimit(reading, tell=web_app._tell, larger=frozenset())
    [start, *_], taken = asked(limited, headers=[], most=MOST + 65536)
    assert start["status"] == 413
    assert taken == MOST + 65536


def test_what_says_that_it_is_too_large() -> None:
    """Where the request says itself that it is too large, nothing is read."""

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was asked")

    limited = BodyLimit(never, tell=web_app._tell, larger=frozenset())
    [start, *_], taken = asked(limited, headers=[(b"content-length", str(MOST + 1).encode())], most=0)
    assert (start["status"], taken) == (413, 0)


# --- Whose request it is ---------------------------------------------------------------------------------------------

CHANGES = [
    ("POST", "/messages", LETTER),
    ("POST", "/messages/batch", {"messages": [LETTER]}),
    ("PUT", "/suppressions/anna@example.com", {"reason": "left"}),
    ("DELETE", "/suppressions/anna@example.com", None),
    ("DELETE", "/deadlines?case=C", None),
]


def csrf(login: str) -> str:
    """The token that this user's pages carry."""
    return forgery.token_for(SimpleAuthManagerUser(username=login, role=None))


@pytest.mark.usefixtures("metadata")
@pytest.mark.parametrize(
    "headers",
    [{}, {"X-CSRF-Token": "nonsense"}, {"X-CSRF-Token": csrf("the_user")}],
    ids=["none", "nonsense", "another user's"],
)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_forged(logged_in: As, connection: Connection, headers: dict[str, str], change: tuple[str, str, Any]) -> None:
    """The browser's cookie alone changes nothing: another site could have sent it along."""
    method, path, body = change
    answer = logged_in("admin").request(method, f"{API}{path}", json=body, headers=headers)
    problem(answer, 403, "forged")
    assert count(connection) + count(connection, "suppressions") == 0


@pytest.mark.usefixtures("metadata")
def test_a_page_may_call_it(logged_in: As, connection: Connection) -> None:
    """With the token of a page of this user, the cookie will do."""
    answer = logged_in("user").post(f"{API}/messages", json=LETTER, headers={"X-CSRF-Token": csrf("the_user")})
    assert answer.status_code == 201
    [number] = [one["id"] for one in answer.json()["messages"]]
    assert register.read(connection, number).created_by == "the_user (API)"


@pytest.mark.usefixtures("metadata")
def test_reading_needs_no_token(logged_in: As) -> None:
    """What changes nothing needs no token of a page."""
    assert logged_in("viewer").get(f"{API}/messages").status_code == 200


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("DELETE", "/messages", 405, "not-possible"),
        ("PATCH", "/messages/1", 405, "not-possible"),
        ("GET", "/messages/one", 422, "unusable-query"),
        ("GET", "/events/0", 422, "unusable-query"),
    ],
)
def test_errors_are_documents(program: As, method: str, path: str, status: int, kind: str) -> None:
    """Below the API every error is a problem document, and may be shown by no browser as anything else."""
    answer = program("admin").request(method, f"{API}{path}")
    problem(answer, status, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert answer.headers["allow"]


def test_headers_of_a_refusal() -> None:
    """What an error says in headers is said: how to log in, for one."""
    error = HTTPException(401, "Not authenticated", headers={"WWW-Authenticate": "Bearer"})
    scope = {"type": "http", "path": "/notify/api/v1/messages", "root_path": "/notify", "headers": []}
    answer = web_app._tell(Request(scope), error)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_no_database(program: As, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outbox does not answer, programs are told what to do, and nothing of the inside."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify:s3cret@127.0.0.1:1/outbox")
    answer = program("viewer").get(f"{API}/messages")
    assert "notify_db" in problem(answer, 503, "configuration")["detail"]
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("path", [f"{API}/health", "/notify/messages"])
def test_an_error_that_nobody_foresaw(
    airflow: FastAPI, program: As, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Of an error of ours nothing is told but that it happened; the server's log gets it."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("s3cret")

    monkeypatch.setattr(operations.LOOKOUT, "look", broken)
    monkeypatch.setattr("notify.web.pages.messages.search", broken)
    known = program("viewer")
    client = TestClient(airflow, raise_server_exceptions=False, headers=dict(known.headers))
    answer = client.get(path)
    assert answer.status_code == 500
    assert "s3cret" not in answer.text
    assert "server's log" in answer.text.replace("&#39;", "'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    if path.startswith(API):
        problem(answer, 500, "unexpected")


# --- What comes twice ------------------------------------------------------------------------------------------------

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


def test_the_first_answer_again(user: TestClient, connection: Connection) -> None:
    """The same request with the same key does nothing more, and gives the first answer, word for word."""
    first = user.post(f"{API}/messages", json=LETTER, headers=KEY)
    again = user.post(f"{API}/messages", json=LETTER, headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert count(connection) == 1
    unquoted = {"Idempotency-Key": KEY["Idempotency-Key"].strip('"')}
    assert user.post(f"{API}/messages", json=LETTER, headers=unquoted).content == first.content


def test_without_a_key(user: TestClient, connection: Connection) -> None:
    """Without a key each request is one of its own."""
    assert user.post(f"{API}/messages", json=LETTER).json() != user.post(f"{API}/messages", json=LETTER).json()
    assert count(connection) == 2
    assert count(connection, "api_requests") == 0


@pytest.mark.parametrize("other", ["body", "path", "query"])
def test_another_request_with_the_key(user: TestClient, connection: Connection, other: str) -> None:
    """The same key with another request is a mistake, and told as one."""
    first: dict[str, Any] = {"method": "DELETE", "url": f"{API}/deadlines?case=C1"}
    second = {"method": "DELETE", "url": f"{API}/deadlines?case=C2"}
    if other == "body":
        first = {"method": "POST", "url": f"{API}/messages", "json": LETTER}
        second = first | {"json": LETTER | {"message": "Another tale."}}
    elif other == "path":
        second = {"method": "POST", "url": f"{API}/messages", "json": LETTER}
    assert user.request(**first, headers=KEY).is_success
    before = count(connection)
    problem(user.request(**second, headers=KEY), 422, "key-reused")
    assert count(connection) == before


def test_keys_are_each_users_own(program: As, connection: Connection) -> None:
    """Two users with the same key do not get in each other's way."""
    answers = [program(role).post(f"{API}/messages", json=LETTER, headers=KEY).json() for role in ("user", "op")]
    assert answers[0] != answers[1]
    assert count(connection) == 2


def test_what_was_refused_is_not_kept(user: TestClient, connection: Connection) -> None:
    """A request that did nothing can be made right, and comes again with its key."""
    assert user.post(f"{API}/messages", json={"recipient": "nobody"}, headers=KEY).status_code == 422
    assert count(connection, "api_requests") == 0
    assert user.post(f"{API}/messages", json=LETTER, headers=KEY).status_code == 201


@pytest.mark.parametrize("key", ["", '""', "x" * 300, "a b\tc", "ž".encode()])
def test_what_is_no_key(user: TestClient, connection: Connection, key: Any) -> None:
    """A key that cannot be one is refused, not overlooked."""
    problem(user.post(f"{API}/messages", json=LETTER, headers={"Idempotency-Key": key}), 422, "unusable-query")
    assert count(connection) == 0


def test_a_resend_is_not_repeated(user: TestClient, connection: Connection) -> None:
    """An action that comes twice is done once; the second is no error, though the state is another by now."""
    number = user.post(f"{API}/messages", json=LETTER).json()["messages"][0]["id"]
    user.post(f"{API}/messages/{number}/cancel")
    for _ in range(2):
        answer = user.post(f"{API}/messages/{number}/resend", headers=KEY)
        assert (answer.status_code, answer.json()) == (200, {"id": number, "status": "queued"})
    history = user.get(f"{API}/messages/{number}").json()["history"]
    assert [one["to_status"] for one in history] == ["cancelled", "queued"]


def test_an_answer_without_a_body(program: As, connection: Connection) -> None:
    """What has nothing to tell says so twice as well."""
    admin = program("admin")
    admin.put(f"{API}/suppressions/anna@example.com", json={"reason": "left"})
    for _ in range(2):
        answer = admin.delete(f"{API}/suppressions/anna@example.com", headers=KEY)
        assert (answer.status_code, answer.content) == (204, b"")
    assert admin.delete(f"{API}/suppressions/anna@example.com").status_code == 404


@pytest.fixture
def waiting(connection: Connection, engine: Engine) -> Iterator[Callable[[], None]]:
    """A hand-over under the message's key ``slow`` waits for us; await that somebody does."""
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtextextended('slow', 0))"))

    def until_somebody_does() -> None:
        deadline = time.monotonic() + 60
        with engine.connect() as watching:
            query = sa.text("select count(*) from pg_locks where locktype = 'advisory' and not granted")
            while not watching.scalar(query):
                assert time.monotonic() < deadline
                watching.rollback()

    yield until_somebody_does
    connection.rollback()


def test_while_it_is_under_way(program: As, connection: Connection, waiting: Callable[[], None]) -> None:
    """A request that comes again while the first is under way is told so; afterwards it gets the first's answer."""
    letter = LETTER | {"idempotency_key": "slow"}
    answers: list[Any] = []

    def ask() -> None:
        answers.append(program("user").post(f"{API}/messages", json=letter, headers=KEY))

    first = threading.Thread(target=ask)
    first.start()
    waiting()
    problem(program("user").post(f"{API}/messages", json=letter, headers=KEY), 409, "in-progress")
    connection.rollback()
    first.join(timeout=60)
    assert answers[0].status_code == 201
    assert program("user").post(f"{API}/messages", json=letter, headers=KEY).content == answers[0].content
    assert count(connection) == 1


def test_nothing_of_a_person_is_kept(user: TestClient, connection: Connection) -> None:
    """What is kept of requests and answers has numbers alone: neither who asked, nor the key, nor whom it is about."""
    letter = LETTER | {"recipient": "Anna <anna@firm.example>; bob@firm.example"}
    user.post(f"{API}/messages", json=letter, headers={"Idempotency-Key": "anna@firm.example"})
    [row] = connection.execute(sa.text("select * from notify.api_requests")).all()
    kept = " ".join(str(bytes(value) if isinstance(value, memoryview) else value) for value in row)
    assert "messages" in kept
    assert not [one for one in ("anna", "bob", "the_user", "Sesame", "firm.example") if one in kept.lower()]


def test_housekeeping_forgets(user: TestClient, connection: Connection, engine: Engine) -> None:
    """After a day, and no sooner, Housekeeping removes an answer; then the key is free."""
    for number in range(3):
        user.post(f"{API}/messages", json=LETTER, headers={"Idempotency-Key": f"k{number}"})
    connection.execute(
        sa.text("""
            update notify.api_requests r set created_at = now() - make_interval(hours => case n when 1 then 23 else 25
            end) from (select key, row_number() over (order by key) as n from notify.api_requests) o where o.key = r.key
        """)
    )
    connection.commit()
    assert Housekeeper(engine).run().requests == 2
    assert count(connection, "api_requests") == 1
    assert Housekeeper(engine).run().requests == 0
    assert count(connection) == 3


def test_both_or_neither(user: TestClient, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the answer cannot be kept, nothing is done: there are both, or neither."""

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("notify.web.api.request.requests.add", broken)
    with pytest.raises(RuntimeError):
        user.post(f"{API}/messages", json=LETTER, headers=KEY)
    assert count(connection) == 0


def test_the_settings_are_read_before(
    user: TestClient, monkeypatch: pytest.MonkeyPatch, connection: Connection
) -> None:
    """While Airflow is asked for settings, no transaction of the outbox stands open."""
    stood: list[int] = []
    original = api_handover.hand_over_settings

    def watched() -> Any:
        connection.rollback()
        query = "select count(*) from pg_stat_activity where application_name = 'notify' and state like 'idle in%'"
        stood.append(int(connection.scalar(sa.text(query)) or 0))
        return original()

    monkeypatch.setattr(api_handover, "hand_over_settings", watched)
    assert user.post(f"{API}/messages", json=LETTER).status_code == 201
    assert stood == [0]
