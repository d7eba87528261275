"""Through which channel people hear of events: chosen by API, on the page, by the link in a mail, by command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from notify.domain.preference import Preference, Through
from tests.conftest import Command
from tests.newsroom import Newsroom
from tests.web.test_people import fields, said, save
from tests.web.test_people import room as room  # noqa: PLC0414 - a fixture
from tests.web.test_public import browser as browser  # noqa: PLC0414 - a fixture
from tests.web.test_public import my, received
from tests.web.test_public import room as public_room
from tests.web.test_public import settings as settings  # noqa: PLC0414 - a fixture
from tests.web_client import As

API = "/notify/api/v1"
reader = public_room


def test_by_api(program: As, room: Newsroom) -> None:
    """The API takes a channel with anything else that is said, and alone also of a mandatory kind; it tells."""
    boss = program("admin")
    place = f"{API}/people/anna/preferences"
    assert boss.put(f"{place}/news", json={"frequency": "daily", "channel": "both"}).status_code == 204
    assert boss.put(f"{place}/alarm", json={"channel": "sms"}).status_code == 204
    assert boss.put(f"{place}/alarm", json={"channel": "sms", "hour": "17:30"}).status_code == 422
    assert "email, sms, both" in boss.put(f"{place}/news", json={"channel": 7}).text
    found = boss.get(place).json()
    assert found["said"]["news"]["channel"] == "both"
    applies = {name: one["channel"] for name, one in found["applies"].items()}
    assert (applies["news"], applies["alarm"], applies["chores"]) == ("both", "sms", "email")
    assert boss.delete(f"{place}/alarm").status_code == 204
    assert boss.get(place).json()["applies"]["alarm"]["channel"] == "email"


def test_on_the_page(logged_in: As, metadata: Session, room: Newsroom) -> None:
    """A person's page has a choice for each kind, mandatory ones too, and says what comes of it."""
    client = logged_in("admin")
    assert save(client, **{"*.channel": "sms", "alarm.channel": "both", "news.frequency": "daily"}).status_code == 303
    assert said(room) == {
        "*": Preference(channel=Through.SMS),
        "alarm": Preference(channel=Through.BOTH),
        "news": Preference(frequency="daily"),
    }
    page = client.get("/notify/people/anna").text
    assert "always immediately, by e-mail and SMS" in page
    assert "daily at 18:00, by SMS" in page
    assert fields(page, "/people/preferences")["alarm.channel"] == ["both"]
    assert save(client, **{"alarm.channel": ""}).status_code == 303
    assert set(said(room)) == {"*", "news"}
    assert save(client, **{"news.channel": "fax"}).status_code == 422


def test_on_the_page_of_who_may_not(logged_in: As, room: Newsroom) -> None:
    """Who may not change it is shown it."""
    room.choose("anna", None, "alarm", channel="sms")
    page = logged_in("user").get("/notify/people/anna").text
    assert '<td data-label="By">by SMS</td>' in page
    assert "alarm.channel" not in page


@pytest.mark.parametrize(("language", "words"), [("en", "By SMS"), ("pl", "SMS-em"), ("sk", "Formou SMS")])
def test_by_the_link_in_a_mail(browser: TestClient, reader: Newsroom, language: str, words: str) -> None:
    """Who has a telephone chooses by the link in a mail; a kind of which they said so has a choice of its own."""
    reader.hire("anna", phone="+421903622237", language=language)
    place = my(received(reader))
    assert f">{words}</option>" in browser.get(place).text
    assert browser.post(place, data={"channel.*": "both"}).status_code == 303
    assert said(reader) == {"*": Preference(channel=Through.BOTH)}
    reader.choose("anna", "daily", "case_changed", channel="sms")
    page = browser.get(place).text
    assert re.search(r'name="channel\.case_changed">.*?<option value="sms" selected>', page, re.DOTALL)
    assert browser.post(place, data={"channel.*": "", "channel.case_changed": ""}).status_code == 303
    assert said(reader) == {"case_changed": Preference(frequency="daily")}
    assert browser.post(place, data={"channel.*": "fax"}).status_code == 422


def test_who_has_no_telephone_is_not_asked(browser: TestClient, reader: Newsroom) -> None:
    """Who has no telephone is offered no choice; nor is an outside address, for which nobody can choose one."""
    assert "channel" not in browser.get(my(received(reader))).text
    outside = my(received(reader, "zoe@outside.example"))
    assert "channel" not in browser.get(outside).text
    browser.post(outside, data={"channel.*": "sms"})
    assert reader.rows("select count(*) from notify.preferences") == [0]


def test_on_the_command_line(notify: Command, room: Newsroom) -> None:
    """The command sets it, also of a mandatory kind, and shows what applies."""
    assert notify("preferences", "set", "anna", "alarm", "--channel", "both")[1] == "anna, alarm: by e-mail and SMS.\n"
    assert notify("preferences", "set", "anna", "news", "daily", "--channel", "sms")[0] == 0
    shown = notify("preferences", "show", "anna")[1]
    assert re.search(r"alarm +immediately, by e-mail and SMS, mandatory", shown)
    assert re.search(r"news +daily at 18:00, by SMS", shown)
    status, _, error = notify("preferences", "set", "anna", "alarm", "daily", "--channel", "sms")
    assert status == 1
    assert "nothing but the channel can be chosen" in error


def test_in_a_list_of_people(notify: Command, room: Newsroom, tmp_path: Path) -> None:
    """A list of people carries it, as all that they said."""
    file = tmp_path / "people.json"
    file.write_text('[{"login": "anna", "preferences": {"alarm": {"channel": "sms"}, "news": {"channel": "both"}}}]')
    assert notify("people", "import", file)[0] == 0
    assert said(room) == {"alarm": Preference(channel=Through.SMS), "news": Preference(channel=Through.BOTH)}
    file.write_text('[{"login": "anna", "preferences": {"alarm": {"channel": "sms", "frequency": "daily"}}}]')
    assert "nothing but the channel" in notify("people", "import", file)[2]
