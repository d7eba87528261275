"""A person who is erased: what happened for them alone, names of things, and the many ways to write an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy.engine import Engine

from notify import set_deadline, set_reminder
from notify.domain.erasure import Erased
from notify.erasing import _left, erase
from notify.handover import hand_over
from notify.publishing import publish_event
from notify.remind import Reminding
from notify.settings import HandOverSettings
from notify.storage import mentions
from notify.storage.engine import transaction
from tests.integration.test_erasure import ANNA, POLISH, found
from tests.newsroom import Newsroom, settings_of, write_templates


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Iterator[Newsroom]:
    """Anna, Bob and Carl, who hear at once."""
    made = Newsroom(engine, settings_of(write_templates(tmp_path / "templates")))
    made.hire("anna", "bob", "carl")
    yield made
    engine.dispose()


@pytest.fixture
def give(engine: Engine, hand_over_settings: HandOverSettings) -> Callable[..., None]:
    """Hand a message over."""

    def call(recipient: str, **fields: Any) -> None:
        given = {"recipient": recipient, "subject": "Hi", "message": "Text"} | fields
        with engine.begin() as connection:
            hand_over(connection, given, hand_over_settings)

    return call


# --- What happened for the person alone ------------------------------------------------------------------------------


def test_the_note_of_a_reminder(room: Newsroom, hand_over_settings: HandOverSettings) -> None:
    """A reminder that was told of leaves nothing of its note, in the event, the case or the mail."""
    with room.engine.begin() as connection:
        case = {"id": "1", "owner": "anna", "title": "Oncology"}
        set_reminder("anna", case, "PT1S", note="my oncologist, room 5", connection=connection)
    for column in ("deadlines set due_at", "deadline_steps set fires_at"):
        room.do(f"update notify.{column} = now() - interval '1 minute'")
    assert Reminding(room.engine, hand_over_settings).run().reminders == 1
    assert "events.data: oncolog" in found(room.engine, "oncolog")
    erase(room.engine, "anna")
    assert found(room.engine, "oncolog") == []
    assert room.balance().even


def test_events_of_others_keep_what_they_tell(room: Newsroom) -> None:
    """An event, and a case, that somebody else has heard of keeps title and data."""
    shared = room.publish("anna; carl", word="ours", case={"id": "1", "title": "Ours"}).event_id
    alone = room.publish("anna", word="hers", case={"id": "1", "title": "Ours"}).event_id
    outside = room.publish(f"{ANNA}; x@example.org", word="out").event_id
    other = room.publish("bob", word="his", case={"id": "2", "title": "His"}).event_id
    secret = room.publish(ANNA, word="secret", case={"id": "3", "title": "Hers"}).event_id
    with room.engine.begin() as connection:
        set_deadline({"id": "4", "owner": "bob", "title": "Due"}, "P1D", connection=connection, settings=room.settings)
    due = room.publish("anna", case={"id": "4", "title": "Due"}).event_id
    erase(room.engine, "anna")
    assert {row[0]: row[1:] for row in room.rows("select id, data ->> 'word', case_title from notify.events")} == {
        shared: ("ours", "Ours"), alone: (None, ""), outside: ("out", ""), other: ("his", "His"), secret: (None, ""),
        due: (None, ""),
    }  # fmt: skip
    titles = dict(room.rows("select id, title from notify.cases"))
    assert titles == {"1": "Ours", "2": "His", "3": "", "4": "Due"}


def test_events_of_an_outside_address(room: Newsroom) -> None:
    """What happened for somebody who is no person of ours goes as well."""
    room.publish("x@example.org", word="theirs", case={"id": "1", "title": "Theirs"})
    erase(room.engine, "x@example.org")
    assert found(room.engine, "theirs") == []


def test_a_login_in_a_key(room: Newsroom, give: Callable[..., None]) -> None:
    """Keys of what the person got are hashed where their login stands in them by itself; others keep theirs."""
    give("anna; bob", one_mail=True, idempotency_key="welcome:anna")
    give("bob", idempotency_key="about:anna")
    give("anna", idempotency_key="annas:1")
    room.publish("anna; carl", idempotency_key="event:anna:1")
    room.publish("carl", idempotency_key="event:anna:2")
    erase(room.engine, "anna")
    keys = room.rows("select idempotency_key from notify.messages where idempotency_key is not null order by id")
    assert [key[:7] for key in keys] == ["erased:", "about:a", "annas:1"]
    assert [key[:7] for key in room.rows("select idempotency_key from notify.events order by id")] == [
        "erased:",
        "event:a",
    ]


def test_who_handed_over_and_published(room: Newsroom, hand_over_settings: HandOverSettings) -> None:
    """Whoever handed over, published an event or set a deadline is named by the stand-in; others keep their name."""
    actors = ["anna (API)", "anna", "annabel (API)", "bob (page)", "anna_ (API)"]
    for number, actor in enumerate(actors):
        with transaction(room.engine, actor=actor) as connection:
            hand_over(
                connection, {"recipient": "bob@example.com", "subject": "Hi", "message": "Hi"}, hand_over_settings
            )
            fields = {"kind": "alarm", "recipients": "carl", "data": {"word": "x"}, "case": str(number)}
            publish_event(connection, fields, room.settings)
            case = {"id": f"d{number}", "owner": "bob"}
            set_deadline(case, "P1D", connection=connection, settings=room.settings, set_by=actor)
    erase(room.engine, "anna")
    for query in (
        "select created_by from notify.messages where kind = 'send_message' order by id",
        "select created_by from notify.events order by id",
        "select set_by from notify.deadlines order by id",
    ):
        named = [re.sub(r"erased-\w+-0", "(erased)", one) for one in room.rows(query)]
        assert named == ["(erased) (API)", "(erased)", *actors[2:]]


# --- Names with the address ------------------------------------------------------------------------------------------


def test_a_case_with_the_address_in_its_id(room: Newsroom, give: Callable[..., None]) -> None:
    """The id changes wherever it stands, deadlines and events stay with their case, and two cases stay two."""
    ids = [f"mail:{ANNA}", f"mail:{ANNA.upper()}"]
    with room.engine.begin() as connection:
        for case in ids:
            set_deadline({"id": case, "owner": "bob"}, "P1D", connection=connection, settings=room.settings)
    for case in ids:
        room.publish("bob", case={"id": case})
        give("bob", case_id=case, add_case_id_to_subject=False, add_url=False)
    erase(room.engine, ANNA)
    assert found(room.engine, ANNA) == []
    cases = room.rows("select id from notify.cases order by id")
    assert [re.sub(r"erased-\w+-0@", "@", one) for one in cases] == ["mail:@erased.invalid", "mail:@erased.invalid (2)"]
    for table in ("deadlines", "events"):
        assert room.rows(f"select case_id from notify.{table} order by 1") == cases, table
    assert room.rows("select case_id from notify.messages where case_id is not null group by 1 order by 1") == cases


def test_a_group_with_the_address_in_its_name(room: Newsroom) -> None:
    """A group changes its name, and keeps its members."""
    room.do("insert into notify.groups (name) values (:name)", name=f"friends of {ANNA}")  # no door lets that in now
    room.do("insert into notify.memberships (group_name, login) values (:name, 'carl')", name=f"friends of {ANNA}")
    erase(room.engine, ANNA)
    assert found(room.engine, ANNA) == []
    [name] = room.rows("select group_name from notify.memberships where login = 'carl' and group_name like 'friends%'")
    assert re.fullmatch(r"friends of erased-\w+-0@erased\.invalid", name)


# --- Ways to write it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "texts"),
    [
        ("žofia@example.com", ["write to žofia@example.com, or ŽOFIA@example.com", f"{POLISH} žofia@example.com"]),
        ("o'brien@example.com", ["ask o'brien@example.com", "a mailto:o%27brien%40example.com link"]),
        ("a=b&c@example.com", ["it is a=b&c@example.com, ż"]),
        (ANNA, [f"{POLISH} ANNA@example.com {POLISH}", f"{POLISH} Anna@example.com", "see ?to=anna%40example.com"]),
    ],
)
def test_however_it_is_written(room: Newsroom, give: Callable[..., None], address: str, texts: list[str]) -> None:
    """In quoted-printable, in base64, in HTML and in a URL, the address goes, and the search sees if it is there."""
    for text in texts:
        give("bob", message=text, subject=f"{text[-30:]}", case_id="1", add_url=False)
        give("bob", message="x" * 90 + f" {text} " + "y" * 30)
        give("bob", message=text, add_template=False)
    room.do(
        "insert into notify.cases (id, url, seen_at) values ('1', :url, now())", url=f"https://x/?to={quote(address)}"
    )
    one = Erased("t", (), (address,))
    with room.engine.connect() as connection:
        before = mentions.in_bodies(connection, one)
        assert len(before) == 3 * len(texts)
        assert {"messages.subject", "cases.url"} <= mentions.left(connection, one).keys()
    result = erase(room.engine, address)
    assert (result.left, result.bodies) == ({}, len(before))
    parts = [part for mail in room.mails() for part in mail.parsed.walk() if part.get_content_maintype() == "text"]
    assert {part.get_content_subtype() for part in parts} == {"plain", "html"}
    spelled = [
        address.lower(),
        escape(address),
        address.replace("'", "&#39;"),
        quote(address),
        quote(address, safe="@"),
    ]
    for part in parts:
        assert not [one for one in spelled if one.lower() in part.get_content().lower()]
    assert found(room.engine, *spelled) == []


def test_what_is_left_in_a_text_is_told(room: Newsroom, give: Callable[..., None]) -> None:
    """A text that came in after the search, in any encoding, is told of."""
    for text in ("eve@example.com", f"{POLISH}{POLISH} eve@example.com", "žofia@example.com"):
        give("bob", message=text)
    with room.engine.connect() as connection:
        assert _left(connection, Erased("t", (), ("eve@example.com",))) == {"contents.body": 2}
        assert _left(connection, Erased("t", (), ("žofia@example.com",))) == {"contents.body": 1}
