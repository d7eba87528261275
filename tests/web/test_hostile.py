"""Whoever means harm, over HTTP: a stranger, somebody with too few rights, another site in somebody's browser, and
whoever may write a text that others will look at."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from airflow.models.variable import Variable
from fastapi import FastAPI
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from starlette.types import Message

from notify import settings
from notify.domain import link
from notify.domain.address import CONTROL
from notify.domain.link import Purpose
from notify.domain.preference import Preference
from notify.domain.schedule import MOST_CHARACTERS
from notify.exceptions import SenderFault
from notify.handover import hand_over
from notify.rendering import html
from notify.settings import HandOverSettings
from notify.storage import drains, links, models, people, preferences
from notify.storage.engine import engine_for
from notify.web.app import create_app
from notify.web.body import MOST
from tests.newsroom import person
from tests.web.test_people import fields as form_of
from tests.web.test_rights import PLACES, ROUTES, ask
from tests.web_client import API, As

#: Markup that gets out of text and attributes alike, and an expression of Jinja's. Without a blank: it fits into a URL.
PROBE = "\"><xss-probe/onclick=alert(1)>'{{1234567*7654321}}"
PRODUCT = str(1234567 * 7654321)

#: What a mail says, and nobody may read who may see the register alone.
SECRET = "open-sesame"

#: The same without the expression: what an author types into a campaign is a template, and that is worked out there.
TYPED = PROBE.partition("{{")[0]

#: A login that is a trap for whoever writes it into a path.
LOGIN = "o'probe&lt/%2e%2e"

#: Values that no field foresees.
ODD = {
    "NUL": "a\0b",
    "markup": PROBE,
    "beyond bigint": str(2**63),
    "an odd offset": "2026-03-02T14:00:00+00:00:00.5",
    "a place with it": "2026-03-02T14:00:00+00:00:00.5_1",
    "the end of time": "9999-12-31T23:59:59-23:59",
}

#: The same for forms.
ODD_TOO = {"NUL": "a\0b", "markup": PROBE, "beyond bigint": str(2**63), "many digits": "0000000001" + "9" * 12}


class Seen(HTMLParser):
    """What a browser makes of a page.

    :ivar links: where its links lead
    :ivar frames: what it frames
    :ivar faults: what no page of ours may have
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.frames: list[str] = []
        self.faults: list[str] = []
        self._getting = False
        self.feed(text)
        self.close()
        if PRODUCT in text:
            self.faults.append("an expression was worked out")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        given = {name: value or "" for name, value in attrs}
        if tag == "xss-probe" or (tag == "script" and not given.get("src", "").startswith("/notify/static/")):
            self.faults.append(f"<{tag}>")
        self.faults += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            place = given.get(name, "/")
            if not re.match(r"/(?!/)|#", place):
                self.faults.append(f"{tag} {name}={place}")
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "iframe":
            self.frames.append(given["src"])
            if given.get("sandbox") != "":
                self.faults.append("a frame that may do something")
        if tag == "form":
            self._getting = given.get("method", "get") == "get"
        if self._getting and given.get("name") == "csrf_token":
            self.faults.append("a form whose token ends in the address")


def walk(client: TestClient) -> dict[str, Response]:
    """Follow all links of ours from the overview on; what was found where."""
    found: dict[str, Response] = {}
    waiting = ["/notify/"]
    while waiting:
        place = waiting.pop().partition("#")[0]
        if place in found or not place.startswith("/notify/"):
            continue
        found[place] = answer = client.get(place)
        assert answer.status_code < 500, (place, answer.text)
        if place.endswith("/html") or "/html?" in place:
            assert "sandbox" in answer.headers["content-security-policy"].split("; ")
            continue
        seen = Seen(answer.text)
        assert not seen.faults, (place, seen.faults)
        waiting += [*seen.links, *seen.frames]
        assert len(found) < 500, "it leads on and on"
    return found


_REPORT = """
    insert into notify.bounces (report, message_id, address, action, status, counts, words, reporter, notice)
    values (sha256('x'), 1, :probe, 'delayed', :probe, false, :probe, :probe, 'none')
"""


@pytest.fixture
def haunted(program: As, connection: Connection, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outbox in which whatever others may write is markup, and a secret where only texts may have it."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SCHEDULE_NOTIFICATIONS", PROBE)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_BASE_URL", "https://testserver")
    anna = person(LOGIN, name=PROBE, email="anna@example.com", groups=[PROBE])
    people.save(connection, [anna, person("brian", supervisor=LOGIN)])
    preferences.save(connection, LOGIN, "case_changed", Preference(frequency="daily"))
    connection.commit()
    admin = program("admin")

    def tell(path: str, method: str = "POST", **body: Any) -> None:
        answer = admin.request(method, f"{API}{path}", json=body)
        assert answer.is_success, answer.text

    text = f"{SECRET} {PROBE}"
    named = '"' + PROBE.replace('"', r"\"") + '" <zoe@outside.example>'
    case = {"id": PROBE, "title": PROBE, "url": f"https://erp.example/{PROBE}", "process": PROBE, "stage": PROBE}
    owned = case | {"owner": LOGIN}
    file = {"filename": PROBE.replace("/", " "), "content": text}
    letter = {"recipient": [named, LOGIN], "subject": PROBE, "case_id": PROBE, "case_url": case["url"]}
    tell("/messages", **letter, message=text, attachments=[file])
    tell("/messages", **letter, message=f"<p>{text}</p><script>1</script>", html=True)
    changes = {"changes": [{"what": "comment_added", "text": text}]}
    tell(
        "/events", kind="case_changed", case=owned, actor=PROBE, recipients=[LOGIN, "zoe@outside.example"], data=changes
    )
    tell("/deadlines", case=owned, due="P3D", escalations=[{"after": "P1D", "to": [PROBE]}])
    tell("/reminders", login=LOGIN, case=PROBE, at="P3D", note=text, name=PROBE)
    campaign = {"description": PROBE, "subject": TYPED, "message": f"{SECRET} {TYPED}", "html": True}
    remarks = {"note": f"{SECRET} {PROBE}", "classification": PROBE, "attachments": [file], "groups": [PROBE]}
    tell("/campaigns", **campaign, **remarks, csv=f'email,{SECRET}\n"{TYPED.replace(chr(34), "")}",x\nb@example.com,y')
    tell("/suppressions/bob@example.com", "PUT", reason=PROBE)
    tell("/messages/2/hold")
    drains.remember_fault(connection, "smtp_default", SenderFault(PROBE, PROBE))
    for change in (
        "update notify.messages set status_reason = :probe",
        "update notify.campaigns set fault = :probe",
        "update notify.recipients set code = 550, response = :probe",
        "update notify.message_events set reason = :probe, actor = :probe",
        "insert into notify.unsubscriptions values ('anna@example.com', 'case_changed', :probe, now())",
        _REPORT,
    ):
        connection.execute(sa.text(change), {"probe": PROBE})
    connection.commit()


def all_rows(connection: Connection, metadata: Session) -> dict[str, object]:
    """What every table holds, in a digest; and of Airflow's own those that we write to."""
    connection.rollback()
    metadata.rollback()
    digest = "select md5(string_agg(cast(t as text), ',' order by cast(t as text))) from notify.{} t"
    rows = {
        table.name: connection.scalar(sa.text(digest.format(table.name))) for table in models.metadata.tables.values()
    }
    counts = {
        one.__tablename__: metadata.scalar(sa.select(sa.func.count()).select_from(one)) for one in (Log, Variable)
    }
    return rows | counts


# --- What others write -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("haunted")
def test_markup_stays_text(logged_in: As, connection: Connection, metadata: Session) -> None:
    """Wherever the links of the page lead, what others wrote is text, links stay here, and nothing is changed."""
    before = all_rows(connection, metadata)
    found = walk(logged_in("admin"))
    assert len(found) > 40
    for part in (
        "/messages/1",
        "/campaigns/1",
        "/people",
        "/deadlines/",
        "/put-aside/person?",
        "/suppressions",
        "/explain?",
        "/templates/",
    ):
        assert any(place.startswith(f"/notify{part}") for place in found), part
    assert any("xss-probe" in answer.text for answer in found.values())
    assert any(SECRET in answer.text for answer in found.values())
    assert all_rows(connection, metadata) == before


@pytest.mark.usefixtures("haunted")
def test_no_text_for_viewers(logged_in: As, program: As) -> None:
    """Who may see the register alone reads no text: not on any page that links lead to, nor by the API's numbers."""
    found = walk(logged_in("viewer"))
    assert {"/notify/messages/1", "/notify/campaigns/1"} <= found.keys()
    asked = program("viewer")
    kinds = ("messages", "campaigns", "events", "deadlines")
    places = [f"{API}/{what}/{number}" for what in kinds for number in (1, 2, 3)]
    told = [asked.get(place) for place in (*places, f"{API}/messages", f"{API}/deadlines", f"{API}/senders")]
    assert sum(answer.status_code == 200 for answer in told) >= 8
    for answer in (*found.values(), *told):
        assert SECRET not in answer.text


# --- What no field foresees ------------------------------------------------------------------------------------------


def pages(*, forms: bool) -> Iterator[tuple[APIRoute, str, list[str]]]:
    """Routes with their paths, and the fields that they take: of their address, or of their form."""
    for route in create_app().routes:
        if isinstance(route, APIRoute) and ("POST" if forms else "GET") in route.methods:
            dependant = get_flat_dependant(route.dependant, skip_repeats=True)
            taken = [one.alias for one in (dependant.body_params if forms else dependant.query_params)]
            path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda place: PLACES.get(place[1], "1"), route.path)
            yield route, f"/notify{path}", taken


def check(answer: Response, about: object) -> None:
    """It is an answer that somebody has foreseen."""
    assert answer.status_code < 500, (about, answer.text)
    assert "set-cookie" not in answer.headers, about
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert not Seen(answer.text).faults, about


@pytest.mark.usefixtures("haunted")
def test_odd_addresses(logged_in: As) -> None:
    """Whatever stands in an address, the answer says what is wrong with it, or that nothing is found."""
    client = logged_in("admin")
    asked = 0
    for route, path, taken in pages(forms=False):
        for name in taken:
            also = {"person": "brian"} if name == "since" and path.endswith("/explain") else {}
            for odd in ODD.values():
                check(client.get(path, params=also | {name: odd}), (path, name, odd))
                asked += 1
        for name in route.param_convertors:
            for odd in ("a\0b", PROBE, str(2**63)):
                given = PLACES | {name: quote(odd, safe="")}
                place = re.sub(r"\{(\w+)(?::\w+)?\}", lambda one, given=given: given.get(one[1], "1"), route.path)
                check(client.get(f"/notify{place}"), place)
    assert asked > 250


#: What the fields of forms may hold.
GOOD = {"address": "zoe@example.com", "reason": "left", "id": "1", "to": "zoe@example.com", "value": "@hourly"}


@pytest.mark.usefixtures("haunted")
def test_odd_forms(logged_in: As) -> None:
    """Whatever stands in a form, the answer says what is wrong with it, or it is done."""
    client = logged_in("admin")
    page = client.get("/notify/people/brian").text
    token = form_of(page, "/people/preferences")["csrf_token"]
    asked = 0
    forms = [(path, taken) for _, path, taken in pages(forms=True)]
    forms += [(f"/notify/settings/{name}", ["value"]) for name in ("notify_timezone", "notify_schedule_reminders")]
    for path, taken in forms:
        for name in taken:
            for odd in ODD_TOO.values():
                given = {one: GOOD[one] for one in taken if one in GOOD} | {"csrf_token": token, name: odd}
                check(client.post(path, data=given), (path, name, odd))
                asked += 1
    for name in ("login", "seen", "kind", "forget", "case_changed.frequency", "case_changed.hour"):
        for odd in ODD_TOO.values():
            check(
                client.post("/notify/people/preferences", data=form_of(page, "/people/preferences") | {name: odd}), odd
            )
    assert asked > 60


LETTER = '{"recipient": "zoe@example.com", "subject": "Hi", '

#: Bodies that no database holds, or no file system.
UNSTORABLE = {
    "half of a character in a reason": ("PUT", "/suppressions/zoe@example.com", r'{"reason": "\ud800"}'),
    "half of a character in a title": ("POST", "/reminders",
        r'{"login": "anna", "at": "P3D", "case": {"id": "C", "title": "\ud800"}}'),
    "half of a character in a key": ("POST", "/messages", LETTER + r'"message": "Hi", "idempotency_key": "\ud800"}'),
    "a template of an endless name": ("POST", "/messages",
        '{"recipient": "zoe@example.com", "template": "' + "x" * 5000 + '"}'),
    "days without end": ("PUT", "/suppressions/zoe@example.com", '{"reason": "left", "days": ' + "9" * 400 + "}"),
}  # fmt: skip


def test_what_cannot_be_stored(program: As, connection: Connection) -> None:
    """What JSON can say and nothing can hold is a fault of its field, at every route."""
    people.save(connection, [person("anna")])
    connection.commit()
    admin = program("admin")
    for about, (method, path, body) in UNSTORABLE.items():
        answer = admin.request(method, f"{API}{path}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, about
        assert answer.json()["type"] == "urn:notify:invalid", about
    for table in ("messages", "deadlines", "suppressions"):
        assert connection.scalar(sa.text(f"select count(*) from notify.{table}")) == 0


def test_wildcards(logged_in: As, connection: Connection) -> None:
    """The signs that stand for any other in SQL stand for themselves in a search."""
    people.save(connection, [person("anna"), person("per_cent", name="100 % sure")])
    connection.commit()
    client = logged_in("admin")

    def found(text: str) -> list[str]:
        return re.findall(
            r'data-label="Login"><a href="[^"]*">([^<]*)', client.get("/notify/people", params={"text": text}).text
        )

    assert (found("%"), found("_"), found("\\")) == (["per_cent"], ["per_cent"], [])


# --- Links in mails --------------------------------------------------------------------------------------------------

Linked = Callable[[Purpose], str]


@pytest.fixture
def linked(connection: Connection, hand_over_settings: HandOverSettings, outbox: object) -> Linked:
    """Where the links of a message lead."""
    given = {"recipient": "zoe@outside.example", "subject": "Hi", "message": "Hello", "priority": "bulk"}
    [stored] = hand_over(connection, given, hand_over_settings).messages
    secret = links.secret(connection)
    connection.commit()

    def call(purpose: Purpose) -> str:
        page = "my" if purpose is Purpose.SETTINGS else "unsubscribe"
        token = link.make(purpose, stored.id, stored.message_id, datetime.now(UTC).date(), secret)
        return f"/notify/{page}/{token}"

    return call


@pytest.mark.parametrize("purpose", Purpose)
def test_each_sign_counts(logged_in: As, linked: Linked, purpose: Purpose) -> None:
    """A link of which any one sign is another, or in another case, is none."""
    stranger, good = logged_in(None), linked(purpose)
    assert stranger.get(good).status_code == 200
    page, _, token = good.rpartition("/")
    for place, sign in enumerate(token):
        for other in {"A", "_", sign.swapcase()} - {sign}:
            assert stranger.get(f"{page}/{token[:place]}{other}{token[place + 1 :]}").status_code == 404, place


@pytest.mark.parametrize("purpose", Purpose)
def test_no_link_travels_in_the_clear(logged_in: As, linked: Linked, purpose: Purpose) -> None:
    """A link with a slash too many leads nowhere: a redirect would carry it on, in the clear if TLS ends before us."""
    answer = logged_in(None).get(f"{linked(purpose)}/")
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


# --- Forms -----------------------------------------------------------------------------------------------------------

#: Codecs that take minutes, that fail, and that make halves of characters; and how one can be named.
CODECS = ("punycode", "idna", "undefined", "unicode_escape", "utf-7", "UTF-16", "latin-1")
SPELLINGS = ('; charset="{}"', "; charset={}; charset=utf-8", "; CharSet={}", "; charset*=utf-8''{}", ";charset*0={}")


def multipart(client: TestClient, path: str, said: str) -> Response:
    """Post a form that says something of its charset."""
    body = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
    return client.post(path, content=body, headers={"Content-Type": f"multipart/form-data; boundary=x{said}"})


def test_forms_are_in_utf_8(logged_in: As, linked: Linked, connection: Connection) -> None:
    """No form is read by another of Python's codecs, whoever sends it and however it is named."""
    stranger, place = logged_in(None), linked(Purpose.UNSUBSCRIBE)
    for said in (*(f"; charset={codec}" for codec in CODECS), *(one.format("punycode") for one in SPELLINGS)):
        for path in ("/notify/messages/hold", "/notify/people/preferences", f"{API}/messages"):
            answer = multipart(stranger, path, said)
            assert (answer.status_code, "must be in UTF-8" in answer.text) == (415, True), said
        assert multipart(stranger, place, said).status_code == 415
    assert connection.scalar(sa.text("select count(*) from notify.unsubscriptions")) == 0


def test_forms_that_say_so(logged_in: As, linked: Linked, metadata: Session) -> None:
    """A form that says that it is in UTF-8, or says nothing, is read."""
    for said in ("", "; charset=utf-8", '; charset="UTF-8"', "; Charset=utf8"):
        assert multipart(logged_in(None), linked(Purpose.UNSUBSCRIBE), said).status_code == 200


CHANGING = [(method, path) for method, path, _ in ROUTES if method != "GET"]


@pytest.mark.usefixtures("metadata")
def test_every_change_asks_for_a_token(logged_in: As) -> None:
    """No route that changes something is content with the browser's cookie, whatever header is beside it."""
    client = logged_in("admin")
    assert len(CHANGING) > 20
    for method, path in CHANGING:
        for header in ("", "Bearer ", "bearer \t", "Basic eDp5"):
            client.headers["Authorization"] = header
            answer = ask(client, method, path)
            told = answer.status_code, "did not come from a page of ours" in answer.text
            assert told == (403, True), (path, header)


# --- Where answers lead ----------------------------------------------------------------------------------------------


def test_no_answer_names_the_host(logged_in: As) -> None:
    """Nobody is led to the host that a request names: it may be anybody's."""
    for client in (logged_in("admin"), logged_in(None)):
        for path in ("/messages/", "/people/preferences/", "/openapi.json/", "/nowhere"):
            answer = client.get(f"/notify{path}", headers={"Host": "evil.example"})
            assert "location" not in answer.headers
            assert "evil.example" not in answer.text


LURES = [
    "//evil.example", "https://evil.example", r"\\evil.example", r"/\evil.example", "..//evil.example", "?x", "#x",
    "\0", "%2f%2fevil.example", "javascript:alert(1)", "a\r\nLocation: https://evil.example",
]  # fmt: skip


@pytest.mark.usefixtures("metadata")
def test_nobody_is_led_away(logged_in: As, connection: Connection) -> None:
    """Whatever a form says of where it came from, the way back stays on this page."""
    people.save(connection, [person("anna")])
    connection.commit()
    client = logged_in("admin")
    token = form_of(client.get("/notify/people/anna").text, "/people/preferences")["csrf_token"]
    given = {"csrf_token": token, "address": "zoe@example.com", "reason": "left", "confirmed": "true"}
    for lure in LURES:
        for path in ("/notify/suppressions/add", "/notify/suppressions/lift"):
            answer = client.post(path, data=given | {"login": lure})
            assert answer.status_code == 303
            place = answer.headers["location"]
            assert not CONTROL.search(place)
            assert urlsplit(urljoin("http://testserver/notify/", place)).netloc == "testserver"
            assert place.startswith("/notify/people")


# --- How much it costs -----------------------------------------------------------------------------------------------


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Give up what would take hours; regular expressions hear the alarm in the main thread alone."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_comment_that_runs_on() -> None:
    """What a stranger writes is made into HTML in a time that grows with its length, and not with its square."""
    wall = ")" * 1_000_000
    with within(60):
        made = html.paragraphs(f"See https://example.com/a_(b), (https://example.com/c).\n{wall}x) <b> a@example.com")
    for address in ("https://example.com/a_(b)", "https://example.com/c", "mailto:a@example.com"):
        assert f'<a href="{address}"' in made
    assert f"{wall}x) &lt;b&gt;" in made.replace("\N{NO-BREAK SPACE}", " ")


def test_a_long_schedule(logged_in: As, metadata: Session) -> None:
    """Nobody has the server read an endless list of times."""
    times = ",".join(["0-59"] * 200)
    asked = {"name": "notify_schedule_reminders", "value": f"{times} * * * *"}
    found = logged_in("op").get("/notify/settings", params=asked)
    assert f"one has at most {MOST_CHARACTERS}" in found.text


def test_too_many_at_once(logged_in: As, linked: Linked, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all connections are taken, people are asked to come again: that is no fault which nobody foresaw."""
    client, place = logged_in("viewer"), linked(Purpose.SETTINGS)
    assert client.get("/notify/messages").status_code == 200
    ours = engine_for(settings.database_url())
    monkeypatch.setattr(ours.pool, "_timeout", 0.1)
    taken = [ours.connect() for _ in range(ours.pool.size() + ours.pool._max_overflow)]  # type: ignore[attr-defined]
    try:
        answers = [client.get(path) for path in ("/notify/messages", f"{API}/messages", place)]
    finally:
        for one in taken:
            one.close()
    assert [answer.status_code for answer in answers] == [503, 503, 503]


# --- What browsers are told ------------------------------------------------------------------------------------------


def every_sort(logged_in: As, token: str) -> Iterator[Response]:
    """One answer of each sort."""
    admin, stranger = logged_in("admin"), logged_in(None)
    for path in (
        "/notify/",
        "/notify/nowhere",
        "/notify/messages?since=x",
        "/notify/static/notify.js",
        "/notify/static/x",
    ):
        yield admin.get(path)
    yield admin.get(f"{API}/messages")
    yield admin.get(f"{API}/nowhere")
    yield admin.delete("/notify/messages")
    yield admin.post("/notify/messages/hold")
    yield admin.post("/notify/messages/hold", content=b"x" * (MOST + 1))
    yield multipart(admin, "/notify/messages/hold", "; charset=idna")
    yield admin.post("/notify/messages/hold", data={"csrf_token": token, "id": "1"})
    yield stranger.get("/notify/")
    yield stranger.get("/notify/my/nonsense")


@pytest.mark.usefixtures("haunted")
def test_headers(logged_in: As) -> None:
    """Every answer, of whatever sort, keeps foreign scripts, frames, caches and sniffers away."""
    page = logged_in("admin").get("/notify/people/brian").text
    answers = list(every_sort(logged_in, form_of(page, "/people/preferences")["csrf_token"][0]))
    assert {answer.status_code for answer in answers} == {200, 303, 401, 403, 404, 405, 413, 415, 422}
    for answer in answers:
        policy = dict(one.partition(" ")[::2] for one in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == "'none'"
        assert policy["frame-ancestors"] in {"'self'", "'none'"}
        assert policy["form-action"] == "'self'"
        assert "unsafe" not in str(policy)
        told = {name: answer.headers[name] for name in ("x-content-type-options", "cache-control", "referrer-policy")}
        assert told["x-content-type-options"] == "nosniff"
        assert told["cache-control"] == "no-store"
        assert told["referrer-policy"] in {"same-origin", "no-referrer"}
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers


def test_a_query_that_is_no_text(airflow: FastAPI, program: As) -> None:
    """Bytes in an address that are no UTF-8 are no fault which nobody foresaw."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "DELETE", "path": f"{API}/deadlines", "raw_path": b"",
        "root_path": "", "query_string": b"case=\xff", "scheme": "http", "server": ("here", 80), "client": ("there", 1),
        "headers": [(b"authorization", program("admin").headers["Authorization"].encode()), (b"host", b"here")],
    }  # fmt: skip
    asyncio.run(airflow(scope, receive, send))
    assert sent[0]["status"] == 200
