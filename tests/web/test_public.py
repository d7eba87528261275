"""What readers reach by the links in their mails: over HTTP, without a login, with the tokens that their mails had."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from notify.channels.memory import MemoryChannel, SentMail
from notify.domain import link
from notify.domain.kind import BUILT_IN, read_kinds
from notify.domain.link import LIFE, PLACEHOLDER, Purpose
from notify.domain.preference import Preference
from notify.drain import Drainer
from notify.erasing import erase
from notify.exceptions import ConfigurationError
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import links, preferences, register, unsubscriptions
from notify.storage.engine import transaction
from notify.storage.unsubscriptions import BULK
from notify.web.pages.public import masked
from notify.web.wording import wording
from tests.newsroom import Newsroom, settings_of

SHIPPED = Path(__file__).resolve().parents[2] / "include" / "templates"
CASE = {"id": "INV-7", "title": "Invoice 7"}
OUTSIDE = "zoe@outside.example"

#: As mail programs send it: RFC 8058, 3.2 has both.
ONE_CLICK: dict[str, dict[str, Any]] = {
    "urlencoded": {"data": {"List-Unsubscribe": "One-Click"}},
    "multipart": {"files": {"List-Unsubscribe": (None, "One-Click")}},
}


@pytest.fixture
def settings() -> HandOverSettings:
    """The shipped templates, and links to this server."""
    return settings_of(SHIPPED, base_url="https://testserver", kinds=BUILT_IN)


@pytest.fixture
def room(engine: Engine, settings: HandOverSettings) -> Newsroom:
    """Anna, who reads English, Piotr and Zuzana, and what tells them."""
    found = Newsroom(engine, settings)
    found.hire("anna", language="en", timezone="Europe/Vienna")
    found.hire("piotr", language="pl-PL")
    found.hire("zuzana", language="sk")
    return found


@pytest.fixture
def browser(airflow: FastAPI, outbox: URL) -> Iterator[TestClient]:
    """A browser in which nobody has logged in, as far from Airflow as a mailbox is."""
    with TestClient(airflow, base_url="https://testserver", follow_redirects=False) as client:
        yield client


def send(room: Newsroom) -> list[SentMail]:
    """Send what is queued."""
    channel = MemoryChannel()
    Drainer(room.engine, channel, "smtp_default", limit=-1).run()
    return channel.outbox


def received(room: Newsroom, recipients: Any = "anna", kind: str = "case_received", **fields: Any) -> SentMail:
    """The mail about an event that its one reader received."""
    room.publish(recipients, kind=kind, case=CASE, **fields)
    (mail,) = send(room)
    return mail


def message(room: Newsroom, recipient: str = OUTSIDE, **fields: Any) -> SentMail:
    """A message that its reader received."""
    given = {"recipient": recipient, "subject": "Hi", "message": "Hello"} | fields
    with transaction(room.engine) as connection:
        hand_over(connection, given, room.settings)
    (mail,) = send(room)
    return mail


def my(mail: SentMail) -> str:
    """Where the link at its end leads to."""
    (found,) = re.findall(r"https://testserver(/notify/my/\S+)", mail.text)
    return str(found)


def unsubscribe(mail: SentMail) -> str:
    """Where its header leads to."""
    header = str(mail.parsed["List-Unsubscribe"]).strip()
    found = re.fullmatch(r"<https://testserver(/notify/unsubscribe/[A-Za-z0-9_-]{40})>", header)
    assert found
    return found[1]


def said(room: Newsroom, login: str = "anna") -> dict[str, Preference]:
    with room.engine.connect() as connection:
        return preferences.find(connection, [login]).get(login, {})


def unwanted(room: Newsroom, address: str) -> set[str]:
    with room.engine.connect() as connection:
        return unsubscriptions.of(connection, address)


def frequencies(room: Newsroom, login: str = "anna") -> dict[str, str | None]:
    return {kind: one.frequency for kind, one in said(room, login).items()}


def state(room: Newsroom) -> list[list[Any]]:
    """All that a link could change."""
    tables = ("preferences", "unsubscriptions", "suppressions", "messages", "recipients", "message_events", "people")
    return [room.rows(f"select * from notify.{table} order by 1, 2") for table in tables]


def form(page: str) -> dict[str, str]:
    """The fields of a page's form, as a browser sends them if nothing is touched."""
    found = dict(re.findall(r'<input type="(?:time|hidden)"[^>]* name="([^"]+)" value="([^"]*)"', page))
    for name, options in re.findall(r'<select [^>]*name="([^"]+)">(.*?)</select>', page, re.DOTALL):
        values = re.findall(r'<option value="([^"]*)"( selected)?', options)
        found[name] = next((value for value, chosen in values if chosen), values[0][0])
    return found


# --- Unsubscribing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ONE_CLICK.values(), ids=ONE_CLICK)
def test_one_click(room: Newsroom, browser: TestClient, request_: dict[str, Any]) -> None:
    """A mail provider's request stops the kind, without redirect or cookie; the next event makes no mail."""
    mail = received(room)
    assert mail.parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    answer = browser.post(unsubscribe(mail), **request_)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert frequencies(room) == {"case_received": "never"}
    later = room.publish("anna", kind="case_received", case=CASE)
    assert room.homes(later.event_id) == {"anna": "never"}
    other = room.publish(
        "anna", kind="deadline_exceeded", case=CASE, data={"due_at": datetime.now(UTC), "stage": "Approval"}
    )
    assert room.homes(other.event_id) == {"anna": "mail"}


def test_again_and_again(room: Newsroom, browser: TestClient) -> None:
    """To unsubscribe twice is as once, and the answer is the same."""
    place = unsubscribe(received(room))
    first = browser.post(place, **ONE_CLICK["urlencoded"])
    before = state(room)
    second = browser.post(place, **ONE_CLICK["urlencoded"])
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.text == second.text
    assert state(room) == before


def test_to_look_changes_nothing(room: Newsroom, browser: TestClient) -> None:
    """Whoever follows the links of a mail, as programs that look for viruses do, changes nothing."""
    mail = received(room)
    before = state(room)
    for place in (unsubscribe(mail), my(mail)):
        for _ in range(2):
            assert browser.get(place).status_code == 200
        browser.head(place)
        browser.options(place)
    assert state(room) == before


@pytest.mark.parametrize("body", [{}, {"List-Unsubscribe": "Yes"}, {"other": "One-Click"}])
def test_other_requests(room: Newsroom, browser: TestClient, body: dict[str, str]) -> None:
    """A request that does not say what RFC 8058 has changes nothing."""
    place = unsubscribe(received(room))
    before = state(room)
    assert browser.post(place, data=body).status_code == 422
    assert state(room) == before


def test_the_button(room: Newsroom, browser: TestClient) -> None:
    """A person finds what will stop, presses the button, and takes it back; how often they got it is as before."""
    room.choose("anna", "daily", kind="case_received", hour="17:30")
    room.choose("anna", None, quiet_from="22:00", quiet_until="07:00")
    room.publish("anna", kind="case_received", case=CASE)
    room.pass_time(timedelta(days=2))
    room.merge()
    (mail,) = send(room)
    before = said(room)
    page = browser.get(unsubscribe(mail)).text
    assert "New case" in page
    done = browser.post(unsubscribe(mail), data=form(page))
    assert "no longer sent" in done.text
    assert said(room)["case_received"] == Preference(frequency="never", hour="17:30")
    back = browser.post(unsubscribe(mail), data=form(done.text))
    assert back.status_code == 200
    assert said(room) == before
    assert browser.post(unsubscribe(mail), data=form(done.text)).status_code == 200
    assert said(room) == before


@pytest.mark.parametrize(
    ("general", "own", "after"),
    [
        (None, None, {}),
        ("daily", None, {"*": "daily"}),
        (None, "hourly", {"case_received": "hourly"}),
        ("never", "daily", {"*": "never", "case_received": "daily"}),
    ],
)
def test_back_to_what_it_was(
    room: Newsroom, browser: TestClient, general: str | None, own: str | None, after: dict[str, str]
) -> None:
    """Taking it back leaves what the person said before, of this kind and of all."""
    mail = received(room)
    if general:
        room.choose("anna", general)
    if own:
        room.choose("anna", own, kind="case_received")
    done = browser.post(unsubscribe(mail), **ONE_CLICK["urlencoded"])
    browser.post(unsubscribe(mail), data=form(done.text))
    assert frequencies(room) == after


def test_back_where_never_is_the_rule(room: Newsroom, browser: TestClient) -> None:
    """Somebody who gets nothing of anything and wants this again gets it at once."""
    mail = received(room)
    room.choose("anna", "never")
    browser.post(unsubscribe(mail), data={"again": "case_received:"})
    assert frequencies(room) == {"*": "never", "case_received": "immediately"}


def digest(room: Newsroom) -> SentMail:
    """A digest of a new case and of a change."""
    for kind in ("case_received", "case_changed"):
        room.choose("anna", "hourly", kind=kind)
    room.publish("anna", kind="case_received", case=CASE)
    room.publish("anna", kind="case_changed", case=CASE, data={"changes": [{"what": "closed"}]})
    room.pass_time(timedelta(hours=2))
    room.merge()
    (mail,) = send(room)
    return mail


def test_a_digest_by_one_click(room: Newsroom, browser: TestClient) -> None:
    """One click on a digest stops each kind that it was made of, and no other."""
    answer = browser.post(unsubscribe(digest(room)), **ONE_CLICK["multipart"])
    assert answer.status_code == 200
    assert frequencies(room) == {"case_received": "never", "case_changed": "never"}


def test_a_digest_by_hand(room: Newsroom, browser: TestClient) -> None:
    """On the page of a digest a person chooses what stops; who unticks all is asked again."""
    place = unsubscribe(digest(room))
    page = browser.get(place).text
    assert re.findall(r'name="scope" value="(\w+)" checked', page) == ["case_received", "case_changed"]
    browser.post(place, data=form(page) | {"scope": ["case_changed"]})
    assert frequencies(room) == {"case_received": "hourly", "case_changed": "never"}
    before = state(room)
    nothing = browser.post(place, data=form(page))
    assert nothing.status_code == 200
    assert "Stop these mails?" in nothing.text
    assert state(room) == before


@pytest.mark.parametrize("recipient", ["anna", OUTSIDE])
def test_bulk(room: Newsroom, browser: TestClient, recipient: str) -> None:
    """Who unsubscribes from bulk mail gets none more, queued or handed over; what is written to them still comes."""
    address = "anna@example.com" if recipient == "anna" else OUTSIDE
    place = unsubscribe(message(room, recipient, priority="bulk"))
    with transaction(room.engine) as connection:
        given = {"recipient": recipient, "subject": "Hi", "message": "Hello", "priority": "bulk"}
        hand_over(connection, given, room.settings)
    done = browser.post(place, **ONE_CLICK["urlencoded"])
    assert unwanted(room, address) == {BULK}
    assert send(room) == []
    assert room.rows("select status from notify.messages order by id") == ["sent", "suppressed"]
    assert room.rows("select actor from notify.message_events where to_status = 'suppressed'") == [
        f"the {'person' if recipient == 'anna' else 'reader'}, by link (message 1)"
    ]
    assert message(room, recipient).to == [address]
    assert room.rows("select count(*) from notify.suppressions") == [0]
    browser.post(place, data=form(done.text))
    assert unwanted(room, address) == set()
    assert message(room, recipient, priority="bulk").to == [address]


def test_an_outside_address(room: Newsroom, browser: TestClient) -> None:
    """An outside address is unsubscribed from the kind alone."""
    place = unsubscribe(received(room, [OUTSIDE]))
    browser.post(place, **ONE_CLICK["urlencoded"])
    assert unwanted(room, OUTSIDE) == {"case_received"}
    assert room.homes(room.publish([OUTSIDE], kind="case_received", case=CASE).event_id) == {OUTSIDE: "never"}
    changed = room.publish([OUTSIDE], kind="case_changed", case=CASE, data={"changes": [{"what": "closed"}]})
    assert room.homes(changed.event_id) == {OUTSIDE: "mail"}


def test_a_kind_that_has_become_mandatory(room: Newsroom, browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an admin has made a kind mandatory since, or removed it, the page says that it cannot be stopped."""
    place = unsubscribe(received(room))
    monkeypatch.setattr("notify.settings.kinds", lambda: read_kinds('{"other": {}}') | {"case_received": _mandatory()})
    assert "cannot be stopped" in browser.get(place).text
    assert browser.post(place, **ONE_CLICK["urlencoded"]).status_code == 409
    assert said(room) == {}


def _mandatory() -> Any:
    return read_kinds('{"alarm": {"choices": "mandatory"}}')["alarm"]


# --- Settings --------------------------------------------------------------------------------------------------------


def test_settings(room: Newsroom, browser: TestClient) -> None:
    """A person sees what applies to them, and no more of themselves than they need to know whose page it is."""
    room.choose("anna", "daily", kind="case_changed")
    room.choose("anna", None, hour="17:15", weekday="friday", quiet_from="22:00", quiet_until="06:30")
    page = unescape(browser.get(my(received(room))).text)
    assert form(page) == {
        "frequency.case_received": "immediately",
        "frequency.case_changed": "daily",
        "frequency.deadline_approaching": "immediately",
        BULK: "yes",
        "hour.*": "17:15",
        "weekday.*": "5",
        "quiet_from.*": "22:00",
        "quiet_until.*": "06:30",
    }
    assert "Europe/Vienna" in page
    assert "Deadline passed" in page
    assert "a•••@example.com" in page
    assert "anna@example.com" not in page
    assert "Anna" not in page
    for name, kind in BUILT_IN.items():
        options = re.search(rf'name="frequency.{name}">(.*?)</select>', page, re.DOTALL)
        assert re.findall(r'value="(\w+)"', options[1] if options else "") == [one.value for one in kind.choices]


def test_saved(room: Newsroom, browser: TestClient) -> None:
    """What is saved is what the database has, the page shows it, and the next event obeys it."""
    place = my(received(room))
    fields = form(browser.get(place).text)
    changed = {
        "frequency.case_changed": "weekly",
        "weekday.*": "3",
        "hour.*": "09:30",
        "frequency.case_received": "never",
    }
    answer = browser.post(place, data=fields | changed)
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "Saved." in page
    assert form(page) == fields | changed
    assert said(room) == {
        "case_changed": Preference(frequency="weekly"),
        "case_received": Preference(frequency="never"),
        "*": Preference(hour="09:30", weekday=3),
    }
    news = room.publish("anna", kind="case_changed", case=CASE, data={"changes": [{"what": "closed"}]})
    assert room.homes(news.event_id) == {"anna": "waiting"}
    (due,) = room.rows("select due_at at time zone 'Europe/Vienna' from notify.deferred")
    assert (due.isoweekday(), due.hour, due.minute) == (3, 9, 30)


def test_nothing_was_changed(room: Newsroom, browser: TestClient) -> None:
    """Who saves the page as it is says nothing: defaults, and what applies to all kinds, go on applying."""
    room.choose("anna", "daily")
    later = (datetime.now(UTC).hour + 6) % 23  # the mail that brings the link must not be put aside
    room.choose(
        "anna", "immediately", kind="case_received", quiet_from=f"{later:02}:00", quiet_until=f"{later + 1:02}:00"
    )
    place = my(received(room))
    before = state(room)
    assert browser.post(place, data=form(browser.get(place).text)).status_code == 303
    assert state(room) == before


def test_times_of_a_kind(room: Newsroom, browser: TestClient) -> None:
    """Where a kind has times of its own, the page shows them and lets them be changed, or be as all others."""
    room.choose("anna", "daily", kind="case_changed", hour="06:00")
    place = my(received(room))
    fields = form(browser.get(place).text)
    assert fields["hour.case_changed"] == "06:00"
    browser.post(place, data=fields | {"hour.case_changed": "07:00", "weekday.case_changed": "2"})
    assert said(room)["case_changed"] == Preference(frequency="daily", hour="07:00", weekday=2)
    browser.post(place, data=fields | {"hour.case_changed": "", "weekday.case_changed": ""})
    assert said(room)["case_changed"] == Preference(frequency="daily")
    assert "hour.case_changed" not in form(browser.get(place).text)


def test_cleared(room: Newsroom, browser: TestClient) -> None:
    """Who empties all fields has said nothing any more."""
    room.choose("anna", None, hour="17:15", quiet_from="22:00", quiet_until="06:30")
    place = my(received(room))
    fields = form(browser.get(place).text)
    browser.post(place, data=fields | {"hour.*": "", "quiet_from.*": "", "quiet_until.*": ""})
    assert said(room) == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"quiet_from.*": "22:00"}, "a beginning and an end"),
        ({"quiet_from.*": "22:00", "quiet_until.*": "22:00"}, "a beginning and an end"),
        ({"hour.*": "late"}, "17:30"),
        ({"weekday.*": "someday"}, "not offered"),
        ({"frequency.case_received": "weekly"}, "not offered"),
        ({"frequency.case_received": "<script>alert(1)</script>"}, "not offered"),
        ({"frequency.deadline_exceeded": "never"}, "not offered"),
        ({"frequency.case_changed": "daily", "hour.*": "25:00", "quiet_from.*": "22:00"}, "17:30"),
    ],
)
def test_what_cannot_be_chosen(room: Newsroom, browser: TestClient, fields: dict[str, str], words: str) -> None:
    """Where one thing cannot be, nothing is saved; the page says why, and has what was written."""
    place = my(received(room))
    before = state(room)
    answer = browser.post(place, data=form(browser.get(place).text) | fields)
    assert answer.status_code == 422
    assert words in answer.text
    assert "Nothing was saved" in answer.text
    assert "<script>" not in answer.text
    if "quiet_from.*" in fields:
        assert form(answer.text)["quiet_from.*"] == "22:00"
    assert state(room) == before


def test_fields_that_are_none(room: Newsroom, browser: TestClient) -> None:
    """Fields that the page does not have change nothing: nobody's name, address or other kinds."""
    place = my(received(room))
    before = state(room)
    odd = {
        "login": "piotr",
        "email": "x@evil.example",
        "frequency.nonsense": "never",
        "hour.nonsense": "1",
        "active": "no",
    }
    assert browser.post(place, data=odd).status_code == 303
    assert state(room) == before


def test_bulk_in_the_settings(room: Newsroom, browser: TestClient) -> None:
    """Bulk mail is stopped and wanted again on the page of the settings as well."""
    place = my(received(room))
    for wanted, after in (("no", {BULK}), ("no", {BULK}), ("yes", set())):
        browser.post(place, data=form(browser.get(place).text) | {BULK: wanted})
        assert unwanted(room, "anna@example.com") == after
        assert form(browser.get(place).text)[BULK] == wanted


def test_settings_of_an_outside_address(room: Newsroom, browser: TestClient) -> None:
    """Whoever reads an outside address can stop the kind of this mail and bulk mail, and learns of no other kinds."""
    place = my(received(room, [OUTSIDE]))
    fields = form(browser.get(place).text)
    assert fields == {"frequency.case_received": "immediately", BULK: "yes"}
    browser.post(place, data=fields | {"frequency.case_received": "never", BULK: "no"})
    assert unwanted(room, OUTSIDE) == {"case_received", BULK}
    for fields in ({"frequency.case_received": "daily"}, {"frequency.deadline_exceeded": "never"}):
        assert browser.post(place, data=fields).status_code == 422
    browser.post(place, data={"frequency.case_received": "immediately"})
    assert unwanted(room, OUTSIDE) == {BULK}


def test_a_message_to_an_outside_address(room: Newsroom, browser: TestClient) -> None:
    """Of a message that was written to them alone, the page says whom to ask."""
    page = browser.get(my(message(room))).text
    assert form(page) == {BULK: "yes"}
    assert "tell whoever sends it" in unescape(page)


@pytest.mark.parametrize("login", ["anna", "piotr", "zuzana"])
def test_the_language(room: Newsroom, browser: TestClient, login: str) -> None:
    """Both pages speak the person's language, whatever the browser asks for."""
    language = {"anna": "en", "piotr": "pl", "zuzana": "sk"}[login]
    words, mail = wording(language), received(room, login)
    german = {"Accept-Language": "de, en"}
    page = unescape(browser.get(my(mail), headers=german).text)
    assert f'<html lang="{language}">' in page
    for name in ("my.title", "my.save", "my.quiet", "frequencies.daily", "weekdays.3", "kinds.case_changed"):
        assert words(name) in page
    asking = unescape(browser.get(unsubscribe(mail), headers=german).text)
    assert words("unsubscribe.button") in asking
    assert words("unsubscribe.still") in asking


def test_the_language_outside(room: Newsroom, browser: TestClient) -> None:
    """At an outside address the mail's language counts."""
    place = my(message(room, language="sk"))
    assert '<html lang="sk">' in browser.get(place, headers={"Accept-Language": "pl"}).text


# --- Links that do not work ------------------------------------------------------------------------------------------


def forged(room: Newsroom, mail: SentMail, purpose: Purpose) -> dict[str, str]:
    """Tokens that do not work, and why."""
    with room.engine.connect() as connection:
        number = room.rows("select id from notify.messages order by id desc limit 1")[0]
        message_id = register.read(connection, number).message_id
        secret, today = links.secret(connection), datetime.now(UTC).date()
    assert message_id == mail.message_id
    other = next(one for one in Purpose if one is not purpose)
    good = link.make(purpose, number, message_id, today, secret)
    return {
        "changed": good[:-1] + ("A" if good[-1] != "A" else "B"),
        "of another secret": link.make(purpose, number, message_id, today, b"x" * 32),
        "for something else": link.make(other, number, message_id, today, secret),
        "too old": link.make(purpose, number, message_id, today - LIFE[purpose] - timedelta(days=2), secret),
        "of no message": link.make(purpose, 4711, message_id, today, secret),
        "of another message": link.make(purpose, number, "<other@example.com>", today, secret),
        "a placeholder": PLACEHOLDER,
        "too short": good[:-1],
        "too long": good + "A",
        "nonsense": "1' or '1'='1",
    }


@pytest.mark.parametrize("purpose", Purpose)
def test_all_alike(room: Newsroom, browser: TestClient, purpose: Purpose) -> None:
    """Whatever is wrong with a link, the answer is the same to the last byte, and nothing changes."""
    mail = received(room)
    page = "my" if purpose is Purpose.SETTINGS else "unsubscribe"
    before = state(room)
    answers: set[tuple[int, str, tuple[tuple[str, str], ...]]] = set()
    for token in forged(room, mail, purpose).values():
        for answer in (
            browser.get(f"/notify/{page}/{token}"),
            browser.post(f"/notify/{page}/{token}", data={"List-Unsubscribe": "One-Click", BULK: "no"}),
        ):
            answers.add((answer.status_code, answer.text, tuple(sorted(answer.headers.items()))))
    assert len(answers) == 1
    ((status, text, _),) = answers
    assert status == 404
    assert "at the end of a newer mail" in text
    assert state(room) == before


def test_erased(room: Newsroom, browser: TestClient) -> None:
    """The links of somebody who was erased are as if they had never been."""
    mail = received(room)
    unknown = browser.get(f"/notify/my/{'A' * 40}")
    erase(room.engine, "anna")
    for answer in (browser.get(my(mail)), browser.get(unsubscribe(mail)), browser.post(my(mail), data={BULK: "no"})):
        assert (answer.status_code, answer.text) == (404, unknown.text)


@pytest.mark.parametrize("language", ["en", "pl", "sk"])
def test_the_language_of_the_browser(browser: TestClient, language: str) -> None:
    """Where nobody is known, the page speaks what the browser asks for."""
    answer = browser.get(f"/notify/my/{'A' * 40}", headers={"Accept-Language": f"{language};q=0.9, de"})
    assert wording(language)("gone.text") in unescape(answer.text)


def test_what_it_costs(room: Newsroom, browser: TestClient) -> None:
    """What is no token asks the database nothing, a forged one a single question, which is answered by keys."""
    mail = received(room)
    browser.get(my(mail))  # the version of the schema is looked at once
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        browser.get("/notify/my/nonsense")
        assert asked == []
        browser.get(f"/notify/my/{forged(room, mail, Purpose.SETTINGS)['of no message']}")
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    (query,) = [one for one in asked if "link_secret" in one and "recipients" in one]
    assert [one for one in asked if "notify.messages" in one and one is not query and "m.message_id" in one] == []
    with room.engine.connect() as connection:
        connection.execute(sa.text("set enable_seqscan = off"))
        plan = "\n".join(connection.scalars(sa.text(f"explain {links._FIND.text}"), {"number": 1}))
    assert "Seq Scan on messages" not in plan
    assert "Seq Scan on recipients" not in plan


def test_no_database(room: Newsroom, browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outbox does not answer, readers are asked to come again, and learn nothing of the inside."""
    mail = received(room)
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify:s3cret@127.0.0.1:1/outbox")
    for answer in (browser.get(my(mail)), browser.post(unsubscribe(mail), **ONE_CLICK["urlencoded"])):
        assert answer.status_code == 503
        assert "try again in a few minutes" in answer.text
        for word in ("notify_db", "Airflow", "s3cret", "log"):
            assert word not in answer.text


@pytest.mark.parametrize("page", ["my", "unsubscribe"])
def test_bodies_are_small(room: Newsroom, browser: TestClient, page: str) -> None:
    """A body that no form of ours has is refused, whether or not it says how long it is."""
    mail = received(room)
    place = my(mail) if page == "my" else unsubscribe(mail)
    before = state(room)
    long = b"List-Unsubscribe=One-Click&x=" + b"x" * 20_000
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post(place, content=long, headers=head).status_code == 413
    assert browser.post(place, content=iter([long[:9000], long[9000:]]), headers=head).status_code == 413
    assert browser.post(place, files={"List-Unsubscribe": ("a.txt", b"One-Click")}).status_code == 400
    assert browser.post(place, content=b"--x\r\nnonsense", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert browser.post(place, json={"List-Unsubscribe": "One-Click"}).status_code != 200
    assert state(room) == before


def test_other_methods(room: Newsroom, browser: TestClient) -> None:
    """What is neither looked at nor posted is answered by a page of ours as well."""
    answer = browser.put(my(received(room)))
    assert answer.status_code == 405
    assert "did not work" in answer.text


# --- What browsers are told ------------------------------------------------------------------------------------------


def answers(room: Newsroom, browser: TestClient) -> Iterator[Response]:
    """One of each sort."""
    mail = received(room)
    yield browser.get(my(mail))
    yield browser.post(my(mail), data={})
    yield browser.post(my(mail), data={"hour.*": "x"})
    yield browser.get(unsubscribe(mail))
    yield browser.post(unsubscribe(mail), **ONE_CLICK["urlencoded"])
    yield browser.get("/notify/my/nonsense")
    yield browser.put(my(mail))


def test_headers(room: Newsroom, browser: TestClient) -> None:
    """Every answer keeps scripts, frames, caches, robots and referrers away, and sets no cookie."""
    for answer in answers(room, browser):
        policy = set(answer.headers["content-security-policy"].split("; "))
        assert {"default-src 'none'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'"} <= policy
        assert not any(one.startswith("script-src") for one in policy)
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "noindex" in answer.headers["x-robots-tag"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers


def test_pages_stand_alone(room: Newsroom, browser: TestClient) -> None:
    """No page leads into Airflow, runs a script or has a style of its own; what it needs from us is there."""
    for answer in answers(room, browser):
        page = answer.text
        assert not re.search(r"<script|<iframe|<a |\sstyle=|\son\w+=", page)
        for place in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert place.startswith("/notify/static/")
            assert browser.get(place).status_code == 200


def test_no_token_is_logged(room: Newsroom, browser: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """No log of ours has a token in it, also where something goes wrong."""
    caplog.set_level(logging.DEBUG, logger="notify")
    mail = received(room)
    tokens = [place.rpartition("/")[2] for place in (my(mail), unsubscribe(mail))]
    list(answers(room, browser))
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("notify"))
    assert not any(token in text for token in tokens)


def test_who_did_it(room: Newsroom, browser: TestClient, metadata: Session) -> None:
    """Airflow's audit log has each change with the message by whose link it was made, and nothing where none was."""
    mail = received(room)
    fields = form(browser.get(my(mail)).text)
    for frequency in ("daily", "daily"):
        browser.post(my(mail), data=fields | {"frequency.case_changed": frequency})
    for _ in range(2):
        done = browser.post(unsubscribe(mail), **ONE_CLICK["urlencoded"])
    for _ in range(2):
        browser.post(unsubscribe(mail), data=form(done.text))
    lines = metadata.scalars(sa.select(Log).order_by(Log.id)).all()
    assert [line.event for line in lines] == ["notify.change_settings", "notify.unsubscribe", "notify.resubscribe"]
    assert {line.owner for line in lines} == {"the person, by link (message 1)"}
    assert "anna" not in " ".join(str(line.extra) for line in lines)


def test_no_audit_log(room: Newsroom, browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the audit log cannot be written, nothing is changed, and the reader is asked to come again."""
    mail = received(room)

    def fail(*_args: object, **_about: object) -> None:
        raise ConfigurationError

    monkeypatch.setattr("notify.web.audit.record", fail)
    before = state(room)
    assert browser.post(unsubscribe(mail), **ONE_CLICK["urlencoded"]).status_code == 503
    assert browser.post(my(mail), data={"frequency.case_changed": "daily"}).status_code == 503
    assert state(room) == before


@pytest.mark.parametrize(
    ("address", "shown"),
    [("anna@example.com", "a•••@example.com"), ("a@b", "a•••@b"), ('"x y"@example.com', '"•••@example.com')],
)
def test_masked(address: str, shown: str) -> None:
    """Of an address, its first letter and its domain are shown."""
    assert masked(address) == shown


def test_own_kinds(room: Newsroom, browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admin's own kinds are on the page by their names, with their own choices."""
    place = my(received(room))
    own = {"invoice_paid": {"choices": ["daily", "never"], "default": "daily"}}
    monkeypatch.setattr("notify.settings.kinds", lambda: read_kinds(json.dumps(own)))
    page = browser.get(place).text
    assert "Invoice paid" in page
    browser.post(place, data={"frequency.invoice_paid": "never"})
    assert frequencies(room) == {"invoice_paid": "never"}
