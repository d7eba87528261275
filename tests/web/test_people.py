"""People in the browser: who is found, what is shown of them, and how what they want to hear is changed."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from notify.domain.preference import Preference
from notify.storage import preferences, suppressions
from tests.newsroom import KINDS, LONG_AGO, Newsroom, settings_of, write_templates
from tests.web_client import As

HOSTILE = "<script>alert('x')</script>\"'"


@pytest.fixture
def room(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Newsroom:
    """Anna and Brian; the server has the same kinds and templates."""
    templates = write_templates(tmp_path / "templates")
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(templates))
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", KINDS)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_TIMEZONE", "Europe/Warsaw")
    found = Newsroom(engine, settings_of(templates))
    found.hire("brian")
    found.hire("anna", groups=["finance", "leads"], supervisor="brian", phone="+48 600", language="pl")
    return found


def words(page: str) -> str:
    """What a page shows, without its markup."""
    unseen = r'<(script|style|option|select)\b.*?</\1>|<span class="unseen">.*?</span>'
    body = re.sub(unseen, " ", page.partition("<main")[2].partition(">")[2], flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def fields(page: str, action: str) -> dict[str, list[str]]:
    """A form as a browser would send it untouched."""
    form = re.search(rf'<form[^>]*action="[^"]*{action}".*?</form>', page, re.DOTALL)
    assert form
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form[0]):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") != "checkbox" and "name" in attributes:
            found.setdefault(attributes["name"], []).append(unescape(attributes.get("value", "")))
    for name, options in re.findall(r'<select name="([^"]*)".*?>(.*?)</select>', form[0], re.DOTALL):
        chosen = re.search(r"<option([^>]*) selected>([^<]*)", options)
        value = chosen and (re.search(r'value="([^"]*)"', chosen[1]) or [None, chosen[2]])[1]
        found[name] = [value or ""]
    return found


def save(client: TestClient, login: str = "anna", **changes: str) -> httpx.Response:
    """Load a person's page, change some fields, and save."""
    page = client.get(f"/notify/people/{login}").text
    given = fields(page, "/people/preferences")
    return client.post("/notify/people/preferences", data=given | {name: [text] for name, text in changes.items()})


def said(room: Newsroom, login: str = "anna") -> dict[str, Preference]:
    with room.engine.connect() as connection:
        return preferences.find(connection, [login]).get(login, {})


# --- Looking ---------------------------------------------------------------------------------------------------------


def test_finding(logged_in: As, room: Newsroom) -> None:
    """People are found by a part of their login, name or address, by group, and by whether they have left."""
    room.hire("carl", active=False)
    client = logged_in("user")

    def found(**query: str) -> list[str]:
        page = client.get("/notify/people", params=query).text
        return re.findall(r'data-label="Login"><a href="[^"]*">([^<]*)', page)

    assert found() == ["anna", "brian", "carl"]
    assert found(text="BRI") == found(text=" brian@EXAMPLE.com ") == ["brian"]
    assert found(group="finance") == ["anna"]
    assert found(state="left") == ["carl"]
    assert found(text="nobody") == []


def test_all_pages(logged_in: As, room: Newsroom) -> None:
    """From page to page, each person is seen once; first those whose login begins so."""
    room.hire(*[f"p{number:03}" for number in range(120)])
    client, seen, path = logged_in("user"), [], "/notify/people?text=p"
    while path:
        page = client.get(path).text
        seen += re.findall(r'data-label="Login"><a href="[^"]*">([^<]*)', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = unescape(following[1]) if following else ""
    assert seen[:50] == [f"p{number:03}" for number in range(50)]
    assert sorted(seen) == ["anna", "brian", *[f"p{number:03}" for number in range(120)]]


def test_nobody_yet(logged_in: As, outbox: object) -> None:
    """Where nobody is known, the page says how people come in."""
    assert "python -m notify people import" in logged_in("user").get("/notify/people").text


def test_a_person(logged_in: As, room: Newsroom) -> None:
    """A person's page tells their data, groups and supervisor, what waits, and leads to their messages."""
    room.choose("anna", "daily")
    room.publish("anna")
    page = logged_in("user").get("/notify/people/anna").text
    told = words(page)
    for part in ("Anna anna", "Address anna@example.com", "Phone +48 600", "Language pl", "Supervisor brian"):
        assert part in told
    assert re.search(r"Put aside 1 , the first due", told)
    for link in ("/put-aside?login=anna", "/messages?address=anna%40example.com", "/people/brian", "?group=finance"):
        assert f'href="/notify{link}' in page or f"{link}" in page
    assert "python -m notify person erase anna@example.com" in told


LOGINS = ["a/b", "a.b c", "ü", "..", "a/../b", "/a", "a?b=c&d", "a%2Fb", "a#b", "a+b"]


@pytest.mark.parametrize("login", LOGINS)
def test_logins_of_all_sorts(logged_in: As, room: Newsroom, login: str) -> None:
    """The list leads to each person, whatever their login holds, also where browsers would rewrite a path."""
    room.hire(login, name="The One", email="one@example.com")
    client = logged_in("admin")
    page = client.get("/notify/people", params={"text": "The One"}).text
    link = unescape(re.search(r'data-label="Login"><a href="([^"]*)"', page)[1])  # type: ignore[index]
    assert not {"..", "."} & set(urlsplit(link).path.split("/"))
    answer = client.get(link)
    assert answer.status_code == 200
    assert "The One" in answer.text
    given = fields(answer.text, "/people/preferences") | {"*.frequency": ["daily"]}
    back = client.post("/notify/people/preferences", data=given)
    place = back.headers["location"]
    assert (back.status_code, place.split("#")[0]) == (303, f"{link}{'&' if '?' in link else '?'}saved")
    assert "Saved." in client.get(place).text
    assert "Saved." not in client.get(link).text
    assert said(room, login)["*"].frequency == "daily"


@pytest.mark.parametrize("path", ["nobody", "", quote("a\0b"), "people/anna"])
def test_nobody(logged_in: As, room: Newsroom, path: str) -> None:
    """A login that nobody has is told in words."""
    answer = logged_in("user").get(f"/notify/people/{path}")
    assert answer.status_code in {404, 422}
    assert "NUL" in answer.text or "There is no person" in answer.text


def test_hostile_data(logged_in: As, room: Newsroom) -> None:
    """Names, groups and reasons are text here, never markup, wherever they are shown."""
    room.hire("eve", name=HOSTILE, groups=[HOSTILE.replace("@", "")], phone="<b>1</b>")
    with room.engine.begin() as connection:
        suppressions.add(connection, "eve@example.com", HOSTILE, None)
    room.publish("eve", case={"id": HOSTILE, "title": HOSTILE}, actor=HOSTILE)
    client = logged_in("admin")
    for path in ("people", "people?text=script", "people/eve", "suppressions", "explain?person=eve", "explain?event=1"):
        page = client.get(f"/notify/{path}").text
        assert "<script>alert" not in page
        assert "<b>1</b>" not in page
        assert "&lt;script&gt;alert(" in page, path


def test_viewers_see_no_people(logged_in: As, room: Newsroom) -> None:
    """Who may look at the register alone sees nobody, nor a way to them."""
    client = logged_in("viewer")
    assert "People" not in client.get("/notify/messages").text
    for path in ("people", "people/anna", "suppressions", "explain?person=anna"):
        answer = client.get(f"/notify/{path}")
        assert answer.status_code == 403
        assert "anna@example.com" not in answer.text


def test_statements_stay_few(logged_in: As, room: Newsroom) -> None:
    """A page of fifty people asks the database no more than a page of two."""
    asked: list[str] = []

    def note(*given: str) -> None:
        asked.append(given[2])

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    client = logged_in("user")
    client.get("/notify/people?text=a")
    few = len(asked)
    room.hire(*[f"anna{number}" for number in range(60)])
    asked.clear()
    client.get("/notify/people?text=a")
    sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    assert 0 < len(asked) <= few


# --- Preferences -----------------------------------------------------------------------------------------------------


def choices(page: str, kind: str) -> list[str]:
    """What can be chosen for a kind."""
    select = re.search(rf'<select name="{re.escape(kind)}\.frequency".*?</select>', page, re.DOTALL)
    return re.findall(r"<option[^>]*>(\w+)</option>", select[0]) if select else []


def test_only_what_may_be_chosen(logged_in: As, room: Newsroom) -> None:
    """Each kind offers the choices that it leaves, and a mandatory one none."""
    page = logged_in("admin").get("/notify/people/anna").text
    assert choices(page, "chores") == ["hourly", "daily", "never"]
    assert choices(page, "*") == ["immediately", "hourly", "daily", "weekly", "never"]
    assert choices(page, "alarm") == []
    assert re.search(r"alarm always immediately", words(page))


def test_saving(logged_in: As, room: Newsroom, metadata: Session) -> None:
    """What is saved applies, and stands in Airflow's audit log with who did it; the page shows it again."""
    client = logged_in("admin")
    news = {"news.frequency": "weekly", "news.weekday": "3", "news.hour": "07:30"}
    answer = save(client, **news, **{"*.quiet_from": "22:00", "*.quiet_until": "06:00"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/notify/people/anna?saved#preferences")
    assert said(room) == {
        "news": Preference(frequency="weekly", weekday=3, hour="07:30"),
        "*": Preference(quiet_from="22:00", quiet_until="06:00"),
    }
    told = words(client.get("/notify/people/anna").text)
    assert "weekly, wednesday at 07:30, quiet 22:00-06:00" in told
    [line] = metadata.scalars(sa.select(Log))
    assert (line.event, line.owner) == ("notify.set_preferences", "the_admin")
    assert json.loads(line.extra or "") == {
        "login": "anna",
        "preferences": {"*": "quiet 22:00-06:00", "news": "weekly, wednesday, at 07:30"},
    }


def test_saving_nothing(logged_in: As, room: Newsroom, metadata: Session) -> None:
    """A form that is saved as it was loaded changes nothing, and nothing is put down."""
    room.choose("anna", "daily", "news", hour="17:00", quiet_from="22:00", quiet_until="06:00", weekday=2)
    before = room.rows("select kind, xmin::text from notify.preferences")
    assert save(logged_in("admin")).status_code == 303
    assert room.rows("select kind, xmin::text from notify.preferences") == before
    assert metadata.scalars(sa.select(Log)).all() == []


def test_clearing(logged_in: As, room: Newsroom, metadata: Session) -> None:
    """A kind whose fields are all emptied is one of which nothing is said."""
    room.choose("anna", "daily", "news", hour="17:00")
    save(logged_in("admin"), **{"news.frequency": "", "news.hour": ""})
    assert said(room) == {}


def test_a_kind_that_is_gone(logged_in: As, room: Newsroom, metadata: Session) -> None:
    """What somebody said of a kind that is no longer registered is shown, and can be forgotten."""
    room.choose("anna", "daily", "former")
    client = logged_in("admin")
    assert "daily (there is no such kind any more)" in words(client.get("/notify/people/anna").text)
    save(client, forget="former")
    assert said(room) == {}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"chores.frequency": "weekly"}, "chores.frequency"),
        ({"news.hour": "25:00"}, "news.hour"),
        ({"*.quiet_from": "22:00"}, "*.quiet_until"),
        ({"kind": "nonsense", "nonsense.frequency": "daily"}, "nonsense.kind"),
        ({"kind": "alarm", "alarm.frequency": "never"}, "alarm.kind"),
    ],
)
def test_refused(logged_in: As, room: Newsroom, changes: dict[str, str], named: str) -> None:
    """What cannot be chosen is refused with the field's name, and what was right beside it is not saved either."""
    answer = save(logged_in("admin"), **{"letter.frequency": "never"} | changes)
    assert answer.status_code == 422
    assert named in unescape(answer.text)
    assert said(room) == {}


def test_two_at_once(logged_in: As, room: Newsroom, metadata: Session) -> None:
    """A form that was loaded before somebody else saved changes nothing."""
    client = logged_in("admin")
    given = fields(client.get("/notify/people/anna").text, "/people/preferences")
    room.choose("anna", "never", "news")
    answer = client.post("/notify/people/preferences", data=given | {"chores.frequency": ["hourly"]})
    assert answer.status_code == 409
    assert "Somebody changed" in answer.text
    assert said(room) == {"news": Preference(frequency="never")}


def test_no_change_without_the_right(logged_in: As, room: Newsroom) -> None:
    """Who may only look sees what applies, and no form to change it; sent all the same, it changes nothing."""
    page = logged_in("user").get("/notify/people/anna").text
    assert "<select" not in page
    assert "does not let you change them" in page
    given = fields(logged_in("admin").get("/notify/people/anna").text, "/people/preferences")
    answer = logged_in("user").post("/notify/people/preferences", data=given | {"news.frequency": ["never"]})
    assert answer.status_code == 403
    assert said(room) == {}


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_forged(logged_in: As, room: Newsroom, token: str) -> None:
    """A form that is not from this person's page changes nothing."""
    answer = save(logged_in("admin"), **{"news.frequency": "never", "csrf_token": token})
    assert answer.status_code == 403
    assert said(room) == {}


def test_no_audit_log_no_change(logged_in: As, room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow's audit log cannot be written, nothing is changed."""

    def away(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("insert", {}, Exception("gone"))

    monkeypatch.setattr("notify.web.airflow.create_session", away)
    answer = save(logged_in("admin"), **{"news.frequency": "never"})
    assert answer.status_code == 503
    assert said(room) == {}


def test_kinds_that_cannot_be_read(logged_in: As, room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the Variable of kinds cannot be read, the page says so and shows the built-in ones."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", "{")
    page = logged_in("admin").get("/notify/people/anna").text
    assert "notify_kinds cannot be used" in page
    assert choices(page, "case_changed") == ["immediately", "hourly", "daily", "weekly", "never"]


# --- What they got, and why ------------------------------------------------------------------------------------------


def test_story(logged_in: As, room: Newsroom) -> None:
    """A person's page tells what they got and what not, with links to the messages and events."""
    published = room.publish("anna", case={"id": "C-7", "title": "Seven"})
    room.choose("anna", "never", "news")
    room.publish("anna")
    page = logged_in("user").get("/notify/people/anna").text
    told = words(page)
    assert "no mail, reason never: the person chose never to hear of this kind" in told
    assert re.search(r"event \d+ : news of case C-7 'Seven'", told)
    [mail] = room.mails("anna")
    assert f'href="/notify/messages/{mail.id}">message {mail.id}</a> to anna@example.com: queued' in page
    assert f"explain?event={published.event_id}" in page


QUESTIONS = {"person": "anna", "message": "{mail}", "event": "{event}", "case": "C-7"}


@pytest.mark.parametrize("about", QUESTIONS)
def test_explain(logged_in: As, room: Newsroom, about: str) -> None:
    """A person, a message, an event and a case are explained in sentences."""
    event = room.publish("anna; brian", case={"id": "C-7"}, actor="brian", occurred_at=LONG_AGO).event_id
    [mail] = room.mails("anna")
    value = QUESTIONS[about].format(mail=mail.id, event=event)
    answer = logged_in("user").get("/notify/explain", params={about: f" {value} "})
    told = words(answer.text)
    assert answer.status_code == 200
    assert f"event {event} : news of case C-7 by brian" in told
    assert f"message {mail.id} to anna@example.com: queued" in told
    assert ("no mail, reason own_action" in told) == (about in {"event", "case"})


def test_explain_by_address(logged_in: As, room: Newsroom) -> None:
    """A person may be named by address; of one that is nobody's, the page leads to its messages."""
    room.publish("anna")
    client = logged_in("user")
    assert "anna , since" in words(client.get("/notify/explain", params={"person": "ANNA@example.com"}).text)
    answer = client.get("/notify/explain", params={"person": "x@example.org"})
    assert answer.status_code == 404
    assert "/notify/messages?address=x%40example.org" in answer.text


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("person=nobody", 404, "There is no person &#39;nobody&#39;"),
        ("event=99", 404, "There is no event 99"),
        ("message=99", 404, "There is no message 99"),
        ("case=C-9", 404, "Nothing was published about the case"),
        ("event=x", 422, "event: &#39;x&#39; is no number"),
        ("message=0", 422, "is no number"),
        ("message=99999999999999999999", 422, "is no number"),
        ("person=anna&since=yesterday", 422, "is no moment"),
        ("person=anna&event=1", 422, "Ask about one of"),
        ("case=a%00b", 422, "NUL"),
    ],
)
def test_not_explained(logged_in: As, room: Newsroom, query: str, status: int, said: str) -> None:
    """What nobody knows, and what is no question, is told in words."""
    answer = logged_in("user").get(f"/notify/explain?{query}")
    assert answer.status_code == status
    assert said in answer.text


def test_how_far_back(logged_in: As, room: Newsroom) -> None:
    """A person's story goes as far back as was asked for."""
    room.publish("anna")
    room.do("update notify.notifications set routed_at = now() - interval '20 days'")
    room.do("update notify.messages set created_at = now() - interval '20 days'")
    client = logged_in("user")
    assert "0 notifications" in words(client.get("/notify/explain?person=anna").text)
    assert "1 notification" in words(client.get("/notify/explain?person=anna&since=P31D").text)
