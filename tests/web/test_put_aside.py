"""Put aside in the browser: who gets what when, and what it would look like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tests.newsroom import KINDS, LONG_AGO, Newsroom, settings_of, with_sms, write_templates
from tests.web.test_overview import words
from tests.web_client import As

#: A digest with HTML that somebody hostile wrote.
HOSTILE = "<html><body><h1>Digest</h1><script>parent.document.title = 'pwned'</script>{{ digest.count }}</body></html>"


@pytest.fixture
def room(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Newsroom:
    """Anna and Bob, who hear of news once a day; the server has the same kinds and templates."""
    templates = write_templates(tmp_path / "templates")
    (templates / "digest" / "en" / "body.html.j2").write_text(HOSTILE)
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(templates))
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", KINDS)
    found = Newsroom(engine, settings_of(templates))
    found.hire("anna", "bob")
    for login in ("anna", "bob"):
        found.choose(login, "daily")
    return found


def test_who_gets_what(logged_in: As, room: Newsroom) -> None:
    """Of each person: how many wait, of which kinds, when the first are due, and what becomes of them."""
    room.publish("anna; bob", word="one"), room.publish("anna", word="two", kind="news")
    told = words(logged_in("user").get("/notify/put-aside").text)
    assert re.search(r"Anna anna 2 news 2 \S+ \S+ UTC one digest of 2 Preview", told)
    assert re.search(r"Bob bob 1 news 1 \S+ \S+ UTC one mail, as it is Preview", told)


def test_by_sms(logged_in: As, room: Newsroom) -> None:
    """What goes by SMS is told apart: of both channels one is moved as it is, several become one of each."""
    room.settings = with_sms(room.settings.templates)
    room.hire("anna", phone="+421903622237"), room.hire("bob", phone="+421905123456")
    room.choose("anna", "daily", channel="both")
    room.choose("bob", "daily", channel="sms")
    room.publish("anna", word="one")
    client = logged_in("user")
    assert "one mail, as it is and one SMS, as it is" in words(client.get("/notify/put-aside").text)
    room.publish("anna; bob", word="two"), room.publish("anna", word="three")
    told = words(client.get("/notify/put-aside").text)
    assert "one digest of 3 and one SMS of 3" in told
    assert re.search(r"Bob bob 1 news 1 \S+ \S+ UTC one SMS, as it is", told)


def test_somebody(logged_in: As, room: Newsroom) -> None:
    """A person is found by login; for whom nothing waits, that is told."""
    room.publish("anna; bob")
    client = logged_in("user")
    page = client.get("/notify/put-aside", params={"login": " bob "}).text
    assert "one mail, as it is" in page
    assert "anna" not in words(page)
    assert "Nothing is put aside for carl" in client.get("/notify/put-aside", params={"login": "carl"}).text


def test_all_pages(logged_in: As, room: Newsroom) -> None:
    """From page to page, each person is seen once."""
    logins = [f"p{number:03}" for number in range(120)]
    room.hire(*logins)
    for login in logins:
        room.choose(login, "daily")
    room.publish(logins)
    client, seen, path = logged_in("user"), [], "/notify/put-aside"
    while path:
        page = client.get(path).text
        seen += re.findall(r"Preview<span class=\"unseen\"> of (\w+)</span>", page)
        further = re.search(r'rel="next" href="([^"]+)"', page)
        path = further[1].replace("&amp;", "&") if further else ""
    assert seen == logins


def test_why_no_mail(logged_in: As, room: Newsroom) -> None:
    """Who gets nothing as things stand is told with the reason, in the list and in the preview."""
    room.publish("anna; bob")
    room.hire("bob", active=False)
    client = logged_in("user")
    assert "no mail: the person is no longer active" in words(client.get("/notify/put-aside").text)
    page = words(client.get("/notify/put-aside/person", params={"login": "bob"}).text)
    assert "1 would make no mail: the person is no longer active" in page
    assert client.get("/notify/put-aside/person/html", params={"login": "bob"}).status_code == 404


def test_the_preview(logged_in: As, room: Newsroom) -> None:
    """The digest is shown as it would be sent, in a frame and by an answer that let it do nothing; none is stored."""
    room.publish("anna", word="one", occurred_at=LONG_AGO), room.publish("anna", word="two", occurred_at=LONG_AGO)
    client = logged_in("user")
    page = client.get("/notify/put-aside/person?login=anna").text
    assert "A digest of 2" in page
    assert "Digest of 2" in page
    assert re.search(r'<iframe[^>]* sandbox=""[^>]* src="/notify/put-aside/person/html\?login=anna"', page)
    answer = client.get("/notify/put-aside/person/html?login=anna")
    assert "<h1" in answer.text
    assert {"default-src 'none'", "sandbox"} <= set(answer.headers["content-security-policy"].split("; "))
    assert room.mails() == []
    assert room.homes_of("anna") == ["waiting", "waiting"]


def test_who_may_look(logged_in: As, room: Newsroom) -> None:
    """Who may not see people sees none; who may not read mails gets no preview."""
    room.publish("anna")
    viewer = logged_in("viewer")
    assert viewer.get("/notify/put-aside").status_code == 403
    for path in ("person", "person/html"):
        assert viewer.get(f"/notify/put-aside/{path}?login=anna").status_code == 403
    assert "put-aside" not in viewer.get("/notify/messages").text


def test_nobody(logged_in: As, room: Newsroom) -> None:
    """Where nothing is put aside, that is told, by a page and by a preview."""
    client = logged_in("user")
    assert "Nothing is put aside." in client.get("/notify/put-aside").text
    assert client.get("/notify/put-aside/person?login=anna").status_code == 404


@pytest.mark.parametrize("path", ["/put-aside?login=%00", "/put-aside?after=a%00", "/put-aside/person?login=%00"])
def test_what_is_no_login(logged_in: As, path: str) -> None:
    """What the database knows no text of is refused by its name."""
    answer = logged_in("user").get(f"/notify{path}")
    assert answer.status_code == 422
    assert "NUL" in answer.text


def test_a_login_with_a_slash(logged_in: As, room: Newsroom) -> None:
    """A login may hold what a path cannot."""
    room.hire("a/b?c")
    room.choose("a/b?c", "daily")
    room.publish(["a/b?c"])
    client = logged_in("user")
    [link] = re.findall(r'href="(/notify/put-aside/person[^"]*)"', client.get("/notify/put-aside").text)
    assert "One mail" in client.get(link).text
