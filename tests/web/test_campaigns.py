"""Campaigns in the browser: written, looked at, steered."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.models.log import Log
from fastapi.testclient import TestClient
from httpx import Response
from lxml import html
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from notify.campaigns.generating import Generating
from notify.channels.memory import MemoryChannel
from notify.domain.campaign import CampaignStatus
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import people
from notify.web import audit
from tests.mailing import Mailing, csv_of
from tests.newsroom import person
from tests.web.test_people import words
from tests.web_client import As

pytestmark = pytest.mark.usefixtures("metadata")


@pytest.fixture
def mailing(engine: Engine, outbox: object, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns elsewhere, and the runs."""
    return Mailing(engine, hand_over_settings)


@pytest.fixture
def client(logged_in: As) -> TestClient:
    """An author's browser."""
    return logged_in("user")


def form_of(page: str, action: str) -> tuple[dict[str, Any], list[str]]:
    """A form as a browser would send it untouched, and the names of its fields for files."""
    [form] = html.fromstring(page).xpath(f"//form[@action='/notify/campaigns/{action}']")
    fields: dict[str, Any] = {}
    for name, value in form.form_values():
        fields[name] = [*fields.get(name, []), value.removeprefix("\n")]  # as HTML has it of a textarea
    return fields, form.xpath(".//input[@type='file']/@name")


def press(client: TestClient, number: int, action: str, **more: Any) -> Response:
    """Press a button on a campaign's page; it must be there."""
    fields, _ = form_of(client.get(f"/notify/campaigns/{number}").text, f"{number}/{action}")
    return client.post(f"/notify/campaigns/{number}/{action}", data=fields | more)


def save(client: TestClient, place: str = "new", files: Any = None, **typed: Any) -> Response:
    """Fill in the form and send it; a browser sends each field for files, chosen or not."""
    fields, uploads = form_of(client.get(f"/notify/campaigns/{place}").text, "save")
    fields |= {name: value if isinstance(value, list) else [value] for name, value in typed.items()}
    empty = [(name, ("", b"", "application/octet-stream")) for name in uploads]
    return client.post("/notify/campaigns/save", data=fields, files=[*empty, *(files or [])])


def number_of(answer: Response) -> int:
    """Where a browser is led after a form was taken."""
    assert answer.status_code == 303, words(answer.text)
    found = re.fullmatch(r"/notify/campaigns/(\d+)(?:/edit)?(?:\?.*)?", answer.headers["location"])
    assert found
    return int(found[1])


def buttons(page: str) -> set[str]:
    """What a campaign's page lets one do."""
    return set(re.findall(r'action="/notify/campaigns/\d+/(\w+)"', page)) | set(
        re.findall(r'action="/notify/campaigns/(files)"', page)
    )


def faults(answer: Response) -> dict[str, str]:
    """What a form says is wrong, by the field next to which it stands."""
    assert answer.status_code == 422, answer.status_code
    told = re.findall(r'<span class="bad" id="([^"]+)-fault">([^<]*)</span>', answer.text)
    return {name: unescape(said) for name, said in told}


LETTER = {
    "description": "Spring sale",
    "subject": "Hello {{ first_name }}",
    "message": "Dear {{ first_name }},\r\ncome.",
}


# --- Writing ---------------------------------------------------------------------------------------------------------


def test_written(client: TestClient, mailing: Mailing, metadata: Session) -> None:
    """What is typed becomes a draft: its text, its recipients of each sort, and its remarks; the log says who."""
    with mailing.engine.begin() as connection:
        people.save(connection, [person("anna", email="anna@example.com", groups=["clerks", "finance"])])
    files = [("csv_file", ("list.csv", csv_of(2).encode("utf-8-sig"), "text/csv"))]
    typed = {"groups": ["clerks"], "recipients": "brian@example.com,\r\ncarl@example.com", "note": "By Tuesday"}
    number = number_of(save(client, files=files, **LETTER, **typed, classification="sales"))
    written = mailing.read(number)
    assert (written.status, written.description, written.groups) == (CampaignStatus.DRAFT, "Spring sale", ("clerks",))
    assert (written.message, written.note) == ("Dear {{ first_name }},\ncome.", "By Tuesday")
    assert (written.add_template, written.html, written.transliterate) == (True, False, False)
    rows = mailing.rows("select recipient, place, fields from notify.campaign_rows order by number")
    assert rows == [
        ("brian@example.com", None, None),
        ("carl@example.com", None, None),
        ("r1@example.com", 2, {"first_name": "Name1"}),
        ("r2@example.com", 3, {"first_name": "Name2"}),
    ]
    [line] = metadata.scalars(sa.select(Log))
    assert (line.event, line.owner, json.loads(line.extra or "")) == (
        "notify.create_campaign", "the_user", {"campaign": number},
    )  # fmt: skip
    page = words(client.get(f"/notify/campaigns/{number}").text)
    assert "2 typed, 2 in a file, the group clerks" in page
    assert "written by the_user" in page


def test_sent_twice(client: TestClient, mailing: Mailing) -> None:
    """A form that is sent twice makes one campaign."""
    fields, _ = form_of(client.get("/notify/campaigns/new").text, "save")
    fields |= LETTER | {"recipients": "a@example.com"}
    first, second = (number_of(client.post("/notify/campaigns/save", data=fields)) for _ in range(2))
    assert first == second
    assert mailing.rows("select count(*) from notify.campaigns") == [(1,)]


def test_faults_stand_next_to_their_fields(client: TestClient, mailing: Mailing) -> None:
    """Each fault stands next to its field, all at once; what was typed is still there, and nothing is stored."""
    typed = LETTER | {
        "description": "", "message": "Dear {{ nobody", "reply_to": "nonsense", "recipients": "x@example.com, who",
        "csv": "a,b\n1,2", "language": "!", "data": "[1]", "uris": "s3://elsewhere/file.pdf", "classification": "sales",
    }  # fmt: skip
    answer = save(client, **typed)
    told = faults(answer)
    assert set(told) == {"description", "data", "language"}
    told = faults(save(client, **(typed | {"description": "x", "language": "en", "data": "{"})))
    assert set(told) == {"message", "reply_to", "recipients", "csv", "data", "attachments"}
    assert "'who' is no address" in told["recipients"]
    assert "no column says whom a row is for" in told["csv"]
    assert told["attachments"].startswith("file 1: 's3://elsewhere/file.pdf' may not be read")
    again, _ = form_of(answer.text, "save")
    for name in ("message", "recipients", "csv", "data", "uris", "classification", "reply_to"):
        assert again[name] == [typed[name]], name
    assert 'aria-invalid="true"' in answer.text
    assert '<a href="#description">' in answer.text
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]


def test_an_uploaded_list_with_faults(client: TestClient) -> None:
    """A list that was uploaded is pasted for its author, who would have to choose it again; other files are named."""
    files = [("csv_file", ("list.csv", b"who,name\nx,y", "text/csv")), ("files", ("plan.pdf", b"%PDF", ""))]
    answer = save(client, files=files, **LETTER)
    assert set(faults(answer)) == {"csv"}
    again, _ = form_of(answer.text, "save")
    assert again["csv"] == ["who,name\nx,y"]
    assert "no browser keeps it: plan.pdf" in words(answer.text)
    latin = [("csv_file", ("list.csv", "email,name\na@example.com,Ján".encode("latin-1"), "text/csv"))]
    assert "list.csv is not in UTF-8" in faults(save(client, files=latin, **LETTER))["csv"]


def test_large_files(client: TestClient, mailing: Mailing) -> None:
    """A list and files may together be as large as a mail, which other forms may not; what is larger is refused."""
    rows = "\n".join(f"r{number}@example.com,{'x' * 400}" for number in range(5_000))
    files = [("csv_file", ("list.csv", f"email,first_name\n{rows}".encode(), "text/csv"))]
    files += [("files", ("plan.pdf", b"%PDF" * 500_000, "application/pdf"))]
    number = number_of(save(client, files=files, **LETTER))
    assert mailing.rows("select count(*) from notify.campaign_rows where campaign_id = :id", id=number) == [(5_000,)]
    assert [(name, len(content)) for name, content in files_of(mailing)] == [("plan.pdf", 2_000_000)]
    too_large = [("files", ("plan.pdf", bytes(26 * 1024 * 1024), "application/pdf"))]
    assert save(client, files=too_large, **LETTER).status_code == 413
    assert client.post(f"/notify/campaigns/{number}/test", data={"recipients": "x" * 2_000_000}).status_code == 413


def test_broken_forms(client: TestClient) -> None:
    """A form that breaks off, or is none, is refused."""
    for body, kind in ((b"--x\r\nnonsense", "multipart/form-data; boundary=x"), (b"{}", "application/json")):
        answer = client.post("/notify/campaigns/save", content=body, headers={"Content-Type": kind})
        assert answer.status_code in {400, 403}


def test_an_sms(client: TestClient, mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a mail has may still stand in the form: of an SMS it is not meant."""
    channels = {"smtp_default": "email", "eurosms_default": "sms"}
    monkeypatch.setattr("notify.settings.senders", lambda: tuple(channels))
    monkeypatch.setenv("AIRFLOW_CONN_EUROSMS_DEFAULT", json.dumps({"conn_type": "http", "host": "sms.example.com"}))
    typed = {"channel": "sms", "recipients": "+421903111222", "message": "Ahoj, čaká Vás zásielka", "subject": "Old"}
    files = [("files", ("plan.pdf", b"%PDF", "application/pdf"))]
    number = number_of(save(client, files=files, description="Parcels", transliterate="true", **typed))
    written = mailing.read(number)
    assert (written.channel, written.subject, written.transliterate) == ("sms", None, True)
    page = words(client.get(f"/notify/campaigns/{number}").text)
    assert "Ahoj, caka Vas zasielka 23 characters, 1 part" in page


def test_a_template(client: TestClient, mailing: Mailing) -> None:
    """A campaign may be made from a template instead; its text in the form is not meant then."""
    data = json.dumps({"subject": "Hi", "message": "Hello", "html": False})
    typed = LETTER | {"content": "template", "template": "send_message", "data": data, "recipients": "a@example.com"}
    number = number_of(save(client, **typed))
    written = mailing.read(number)
    assert (written.template, written.subject, written.message) == ("send_message", None, None)
    assert written.data == {"subject": "Hi", "message": "Hello", "html": False}
    _, form = form_of(client.get(f"/notify/campaigns/{number}/edit").text, "save")
    assert "csv_file" in form


# --- Changing --------------------------------------------------------------------------------------------------------


def files_of(mailing: Mailing) -> list[tuple[Any, ...]]:
    """The files of campaigns, with their contents."""
    return mailing.rows("""
        select f.filename, a.content from notify.campaign_attachments f join notify.attachments a using (sha256)
        order by f.campaign_id, f.position
    """)


def test_changed(client: TestClient, mailing: Mailing) -> None:
    """The form of a campaign shows what is written; what is changed is stored, and all else stays."""
    attached = [{"filename": name, "content_base64": b64encode(name.encode()).decode()} for name in ("a.txt", "b.txt")]
    number = mailing.write(
        csv=csv_of(3),
        recipients=["z@example.com"],
        message="One\r\nTwo ",
        attachments=attached,
        data={"season": "spring"},
    )
    before = mailing.read(number)
    assert number_of(save(client, f"{number}/edit")) == number
    untouched = mailing.read(number)
    assert (untouched.message, untouched.data, untouched.stale) == ("One\r\nTwo ", {"season": "spring"}, False)
    assert untouched.changed_at > before.changed_at

    more = [("files", ("c.txt", b"c.txt", "text/plain"))]
    number_of(save(client, f"{number}/edit", files=more, subject="Other", recipients="y@example.com", keep="1"))
    changed = mailing.read(number)
    assert (changed.subject, changed.message, changed.stale) == ("Other", "One\r\nTwo ", True)
    assert files_of(mailing) == [("b.txt", b"b.txt"), ("c.txt", b"c.txt")]
    told = words(client.get(f"/notify/campaigns/{number}").text)
    assert "changed by the_user (attachments, recipients, subject)" in told
    recipients = "select recipient from notify.campaign_rows order by number"
    assert [one for [one] in mailing.rows(recipients)] == ["y@example.com", *(f"r{n}@example.com" for n in (1, 2, 3))]
    number_of(save(client, f"{number}/edit", forget_list="true"))
    assert mailing.rows(recipients) == [("y@example.com",)]


def test_remarks_keep_what_was_made(client: TestClient, mailing: Mailing) -> None:
    """Whoever changes only remarks keeps the messages that are made; once it is being sent, nothing else can be."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    number_of(save(client, f"{number}/edit", description="Summer sale"))
    assert (mailing.read(number).status, mailing.read(number).description) == (CampaignStatus.GENERATED, "Summer sale")
    mailing.tell("send", number)
    page = client.get(f"/notify/campaigns/{number}/edit").text
    assert "only its remarks can be changed" in words(page)
    assert 'name="message"' not in page
    number_of(save(client, f"{number}/edit", note="Late", subject="Forged into it"))
    sent = mailing.read(number)
    assert (sent.note, sent.subject, sent.status) == ("Late", "Hello {{ first_name }}", CampaignStatus.SENDING)


def test_changed_by_another_meanwhile(client: TestClient, mailing: Mailing) -> None:
    """Whoever has an old form in front of them does not undo what another changed."""
    number = mailing.write(csv=csv_of(2))
    fields, _ = form_of(client.get(f"/notify/campaigns/{number}/edit").text, "save")
    mailing.edit(number, subject="Theirs")
    answer = client.post("/notify/campaigns/save", data=fields | {"subject": "Mine"})
    assert answer.status_code == 422
    assert "Somebody changed this campaign since its form was shown" in words(answer.text)
    assert mailing.read(number).subject == "Theirs"


def test_copied(client: TestClient, mailing: Mailing) -> None:
    """A copy is a draft with the same text, files and recipients, and opens to be changed."""
    attached = [{"filename": "a.txt", "content": "a"}]
    number = mailing.write(csv=csv_of(2), attachments=[{**one, "content": b"a"} for one in attached])
    answer = press(client, number, "copy")
    assert answer.headers["location"].endswith("/edit")
    copy = number_of(answer)
    assert copy != number
    assert mailing.read(copy).status is CampaignStatus.DRAFT
    assert mailing.rows("select count(*) from notify.campaign_rows where campaign_id = :id", id=copy) == [(2,)]
    assert files_of(mailing) == [("a.txt", b"a")] * 2


# --- What can be done, in each state ---------------------------------------------------------------------------------

ALWAYS = {"test", "copy"}

#: A state in, the number of a campaign that is in it out.
InState = Callable[[str], int]


@pytest.fixture
def in_state(mailing: Mailing) -> InState:
    """A campaign in a state."""

    def call(state: str) -> int:
        number = mailing.write(csv=csv_of(2), attachments=[{"filename": "a.txt", "content": b"a"}])
        if state == "draft":
            return number
        if state == "generating":
            mailing.do("update notify.campaigns set status = 'generating'")
            return number
        mailing.generate(number)
        for what in {"sending": ["send"], "paused": ["send", "pause"], "cancelled": ["cancel"], "done": ["send"]}.get(
            state, []
        ):
            mailing.tell(what, number)
        if state == "done":
            mailing.drain(MemoryChannel())
            mailing.follow(number)
        return number

    return call


#: In each state: the buttons, and a part of what is said of it.
STATES = {
    "draft": ({"generate", "cancel", "files", "delete"}, "Nothing is made of it."),
    "generating": ({"cancel"}, "It waits for the next run of MassMailing"),
    "generated": ({"generate", "send", "cancel", "files", "delete"}, "nothing leaves until it is sent"),
    "sending": ({"pause", "cancel", "files"}, "Its messages are in the queue"),
    "paused": ({"resume", "cancel", "files"}, "What has not left is held"),
    "done": (set(), "Nothing of it waits any more"),
    "cancelled": ({"delete"}, "What had not left was taken back"),
}


@pytest.mark.parametrize("state", STATES)
def test_each_state(client: TestClient, logged_in: As, in_state: InState, state: str) -> None:
    """A campaign's page says in words how it stands, and has a button for what can be done then, and no other."""
    number = in_state(state)
    page = client.get(f"/notify/campaigns/{number}").text
    assert buttons(page) == STATES[state][0] | ALWAYS
    assert STATES[state][1] in words(page)
    assert ("data-moving" in page) == (state in {"generating", "sending"})
    assert re.search(rf'class="state[^"]*">{state}<', page)
    viewers = logged_in("viewer").get(f"/notify/campaigns/{number}").text
    assert STATES[state][1] in words(viewers)
    assert "<button" not in viewers.partition("<main")[2]


def test_what_was_sent_stays(client: TestClient, in_state: InState, mailing: Mailing) -> None:
    """One that was cancelled after it had begun to be sent cannot be deleted: it tells what became of it."""
    number = in_state("sending")
    mailing.tell("cancel", number)
    assert buttons(client.get(f"/notify/campaigns/{number}").text) == ALWAYS


def test_the_whole_way(client: TestClient, mailing: Mailing, metadata: Session) -> None:
    """Generated, sent for later, paused, resumed, cancelled: each by its button, and the log says who did it."""
    number = mailing.write(csv=csv_of(3))
    assert number_of(press(client, number, "generate")) == number
    assert mailing.read(number).status is CampaignStatus.GENERATING
    Generating(mailing.engine, mailing.settings).run()
    press(client, number, "send", send_after="2030-01-31T08:00")
    sent = mailing.read(number)
    assert (sent.status, f"{sent.send_after:%Y-%m-%d %H:%M}") == (CampaignStatus.SENDING, "2030-01-31 08:00")
    assert mailing.progress(number).states == {"queued": 3}
    press(client, number, "pause")
    assert mailing.progress(number).states == {"held": 3}
    press(client, number, "resume")
    assert mailing.progress(number).states == {"queued": 3}
    press(client, number, "cancel")
    assert mailing.progress(number).states == {"cancelled": 3}
    assert mailing.rows("select distinct actor from notify.message_events where to_status = 'cancelled'") == [
        ("the_user (page)",)
    ]
    audit.record("somebody_else", "pause_campaign", campaign=int(f"{number}7"))
    page = words(client.get(f"/notify/campaigns/{number}").text)
    assert "somebody_else" not in page
    assert "sent by the_user, not before 2030-01-31 08:00:00 UTC" in page
    told = re.findall(r"(cancelled|resumed|paused|sent|set to be generated) by the_user", page)
    assert told == ["cancelled", "resumed", "paused", "sent", "set to be generated"]


def test_by_the_clock_of_the_zone(client: TestClient, mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment is typed by the clock of the zone that is named beside it."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_TIMEZONE", "Europe/Bratislava")
    number = mailing.write(csv=csv_of(1))
    mailing.generate(number)
    assert "by the clock of Europe/Bratislava" in words(client.get(f"/notify/campaigns/{number}").text)
    press(client, number, "send", send_after="2030-01-31T08:00")
    assert f"{mailing.read(number).send_after:%H:%M %z}" == "07:00 +0000"


def test_generated_and_sent(client: TestClient, mailing: Mailing) -> None:
    """It can be told to be sent as soon as its messages are made."""
    number = mailing.write(csv=csv_of(1))
    press(client, number, "generate", send="true")
    assert mailing.read(number).send_when_generated
    other = mailing.write(csv=csv_of(1))
    refused = press(client, other, "generate", send_after="2030-01-31T08:00")
    assert (refused.status_code, "is of use only with send" in refused.text) == (422, True)
    assert "It is sent as soon as they are made" in words(client.get(f"/notify/campaigns/{number}").text)


def test_deleted(client: TestClient, mailing: Mailing) -> None:
    """What was never sent can be forgotten, with the messages that were made of it."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    assert press(client, number, "delete").headers["location"] == "/notify/campaigns"
    assert mailing.rows("select (select count(*) from notify.campaigns), (select count(*) from notify.messages)") == [
        (0, 0)
    ]
    assert client.get(f"/notify/campaigns/{number}").status_code == 404


def test_files_are_refreshed(client: TestClient, mailing: Mailing) -> None:
    """Messages that have not left get other files by the button."""
    number = mailing.write(csv=csv_of(2), attachments=[{"filename": "a.txt", "content": b"wrong"}])
    mailing.generate(number)
    mailing.tell("send", number)
    fields, uploads = form_of(client.get(f"/notify/campaigns/{number}").text, "files")
    assert uploads == ["files"]
    given = [("files", ("b.txt", b"right", "text/plain"))]
    answer = client.post("/notify/campaigns/files", data=fields, files=given)
    assert number_of(answer) == number
    assert "The files are in all messages that have not left" in words(client.get(answer.headers["location"]).text)
    assert files_of(mailing) == [("b.txt", b"right")]
    assert mailing.rows("select distinct filename from notify.message_attachments") == [("b.txt",)]
    bad = client.post("/notify/campaigns/files", data=fields | {"uris": "s3://elsewhere/x.pdf"})
    assert (bad.status_code, "may not be read" in bad.text) == (422, True)


def test_tried(client: TestClient, mailing: Mailing) -> None:
    """A test goes to those who are named, at once; whom it cannot reach is told, with what was typed."""
    number = mailing.write(csv=csv_of(2))
    answer = press(client, number, "test", recipients="me@example.com, you@example.com")
    assert number_of(answer) == number
    sent = mailing.rows("select id, subject, priority from notify.messages order by id")
    assert [row[1:] for row in sent] == [("[Test] Hello Name1", "urgent")] * 2
    page = client.get(answer.headers["location"]).text
    assert all(f'/notify/messages/{row[0]}"' in page for row in sent)
    wrong = press(client, number, "test", recipients="nobody")
    assert wrong.status_code == 422
    assert "The test was not sent:" in words(wrong.text)
    [field] = html.fromstring(wrong.text).xpath("//details[@open]//input[@name='recipients']")
    assert (field.get("value"), field.get("aria-invalid")) == ("nobody", "true")


@pytest.mark.parametrize(("action", "state"), [("send", "draft"), ("resume", "sending"), ("delete", "sending")])
def test_too_late(client: TestClient, in_state: InState, mailing: Mailing, action: str, state: str) -> None:
    """What its state does not allow any more is refused, and the reason told; a page may be old."""
    number = in_state(state)
    fields, _ = form_of(client.get(f"/notify/campaigns/{number}").text, f"{number}/copy")
    answer = client.post(f"/notify/campaigns/{number}/{action}", data=fields)
    assert answer.status_code == 409
    assert f"Campaign {number} is {state}" in words(answer.text)
    assert mailing.read(number).status == state


@pytest.mark.parametrize("action", ["generate", "send", "pause", "cancel", "delete", "copy", "test", "files", "save"])
def test_forged(client: TestClient, mailing: Mailing, action: str) -> None:
    """A form that is not from this person's page changes nothing."""
    number = mailing.write(csv=csv_of(1))
    path = action if action in {"files", "save"} else f"{number}/{action}"
    sent = {"csrf_token": "nonsense", "id": number, "recipients": "a@example.com", "description": "Mine"}
    assert client.post(f"/notify/campaigns/{path}", data=sent).status_code == 403
    assert mailing.rows("select status from notify.campaigns") == [("draft",)]
    assert mailing.rows("select id from notify.messages") == []


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("{}/send", {"send_after": "soon"}, 422),
        ("{}/send", {"send_after": "9999-12-31T23:59"}, 422),
        ("{}/edit", {}, 404),
        ("4711/pause", {}, 404),
        ("4711/copy", {}, 404),
        ("4711/test", {"recipients": "a@example.com"}, 404),
        ("files", {"id": "4711"}, 404),
        ("files", {"id": "x"}, 422),
        ("files", {}, 422),
        ("save", {"id": "4711"}, 404),
        ("save", {"id": "9" * 30}, 422),
        ("save", {"message": "a\0b"}, 422),
        ("save", {"groups": "a\0b"}, 422),
        ("save", {"channel": "pigeon", "description": "x", "key": "k" * 900}, 422),
        ("{}/test", {"recipients": "a\0b"}, 422),
    ],
)
def test_odd_forms(client: TestClient, mailing: Mailing, path: str, sent: dict[str, str], status: int) -> None:
    """What no form of ours says is refused in words."""
    number = mailing.write(csv=csv_of(1))
    fields, _ = form_of(client.get(f"/notify/campaigns/{number}").text, f"{number}/copy")
    answer = client.post(f"/notify/campaigns/{path.format(number)}", data=fields | sent)
    assert answer.status_code == status, words(answer.text)
    assert mailing.rows("select count(*), min(status) from notify.campaigns") == [(1, "draft")]


# --- Looked at -------------------------------------------------------------------------------------------------------


def listed(client: TestClient, **query: str) -> list[int]:
    page = client.get("/notify/campaigns", params=query).text
    return [int(number) for number in re.findall(r'data-label="No."><a href="[^"]*/campaigns/(\d+)"', page)]


def test_the_list(client: TestClient, mailing: Mailing) -> None:
    """Campaigns stand newest first, with how far each is; they are found by state and by text."""
    first = mailing.write(description="Spring sale", classification="sales", csv=csv_of(4))
    second = mailing.write(description="Outage", csv=csv_of(1))
    assert listed(client) == [second, first]
    assert listed(client, text="SPRING") == listed(client, text="sales") == [first]
    assert listed(client, text="100 %") == []
    mailing.generate(first)
    mailing.tell("send", first)
    mailing.drain(MemoryChannel(), limit=5)
    sent = mailing.progress(first).sent
    assert listed(client, status="sending") == [first]
    assert listed(client, status="draft", text="") == [second]
    page = client.get("/notify/campaigns").text
    assert f"{sent} of 4 sent" in words(page)
    assert f'<progress id="bar-{first}" max="4" value="{sent}">' in page
    assert client.get("/notify/campaigns?status=nonsense").status_code == 422


def test_all_pages(client: TestClient, mailing: Mailing) -> None:
    """From page to page, each campaign is seen once."""
    numbers = [mailing.write(csv=csv_of(1)) for _ in range(45)]
    seen, path = [], "/notify/campaigns?text=sale"
    while path:
        page = client.get(path).text
        seen += [int(number) for number in re.findall(r'data-label="No."><a href="[^"]*/campaigns/(\d+)"', page)]
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = unescape(following[1]) if following else ""
    assert seen == numbers[::-1]


def test_progress(client: TestClient, mailing: Mailing) -> None:
    """The page counts messages by state with the way to them, and tells who got none, why, and where they stand."""
    mailing.do("insert into notify.suppressions (address, reason) values ('r1@example.com', 'bounced')")
    number = mailing.write(csv="\n".join([csv_of(4), "nobody,Nobody", "r4@example.com,Again"]))
    mailing.generate(number)
    page = client.get(f"/notify/campaigns/{number}").text
    told = words(page)
    assert f'/notify/messages?campaign={number}&amp;status=held">3 held</a>' in page
    assert "Read 6 Messages made 3" in told
    assert "1 suppressed on the suppression list row 2" in told
    assert "1 invalid no address or number, and no login or group that is known row 6" in told
    assert "1 doubled was read more than once" in told
    with mailing.engine.begin() as connection:
        hand_over(connection, {"recipient": "a@example.com", "subject": "Hi", "message": "Hi"}, mailing.settings)
    linked = client.get(f"/notify/messages?campaign={number}").text
    found = re.findall(r'data-label="No."><a href="/notify/(messages/\d+)"', linked)
    assert len(found) == 3
    assert f'<a href="/notify/campaigns/{number}">{number}</a>' in client.get(f"/notify/{found[0]}").text


def test_a_fault(client: TestClient, mailing: Mailing) -> None:
    """Where the messages could not be made, the page says why, and what to do."""
    number = mailing.write(csv="email,city\nnobody,X")
    with mailing.engine.begin() as connection:
        connection.execute(sa.text("update notify.campaigns set status = 'generating'"))
    Generating(mailing.engine, mailing.settings).run()
    page = client.get(f"/notify/campaigns/{number}").text
    assert "Its messages could not be made. Of 1 recipients nobody gets it: 1 invalid." in words(page)
    assert buttons(page) >= {"generate"}
    assert "not made" in words(client.get("/notify/campaigns").text)


def test_the_preview(client: TestClient, mailing: Mailing, logged_in: As) -> None:
    """A draft shows what its first recipient would get, in a frame in which it can do nothing; not to viewers."""
    number = mailing.write(csv=csv_of(1), message="<p>Dear <b>{{ first_name }}</b></p>", html=True)
    page = client.get(f"/notify/campaigns/{number}").text
    assert "As the first recipient (row 2) would get it." in words(page)
    assert "Subject Hello Name1" in words(page)
    [frame] = html.fromstring(page).xpath("//iframe")
    assert (frame.get("sandbox"), frame.get("src")) == ("", f"/notify/campaigns/{number}/html")
    mail = client.get(f"/notify/campaigns/{number}/html")
    assert "<b>Name1</b>" in mail.text
    assert "sandbox" in mail.headers["content-security-policy"]
    viewer = logged_in("viewer")
    told = viewer.get(f"/notify/campaigns/{number}").text
    assert "Name1" not in told
    assert "first_name }}&lt;/b&gt;" not in told
    assert viewer.get(f"/notify/campaigns/{number}/html").status_code == 403
    other = mailing.write(csv=csv_of(1), message="{{ city }}")
    assert "row 2: " in words(client.get(f"/notify/campaigns/{other}").text)
    assert client.get(f"/notify/campaigns/{other}/html").status_code == 422


def test_who_may_not_read_texts(client: TestClient, mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auth manager may let somebody steer campaigns who may read no texts: neither page nor form tells them any."""
    number = mailing.write(csv=csv_of(1), message="Secret {{ city }}", subject="Secret too", note="secret")
    mailing.generate(number)
    grants = SimpleAuthManager.is_authorized_custom_view

    def without_bodies(manager: SimpleAuthManager, *, resource_name: str, **about: Any) -> bool:
        return resource_name != "Notify Bodies" and grants(manager, resource_name=resource_name, **about)

    assert client.get(f"/notify/campaigns/{number}/edit").status_code == 200
    assert "no field 'city'" in client.get(f"/notify/campaigns/{number}").text.replace("&#39;", "'")
    monkeypatch.setattr(SimpleAuthManager, "is_authorized_custom_view", without_bodies)
    page = client.get(f"/notify/campaigns/{number}").text
    assert "Who may read texts sees here why." in page
    assert not re.search(r"secret|city", page, re.IGNORECASE)
    assert f"/notify/campaigns/{number}/edit" not in page
    assert buttons(page) >= {"generate", "copy"}
    form = client.get(f"/notify/campaigns/{number}/edit")
    assert form.status_code == 403
    assert "ecret" not in form.text
    copied = number_of(press(client, number, "copy"))
    assert client.get(f"/notify/campaigns/{copied}").status_code == 200


@pytest.mark.parametrize("path", ["campaigns/4711", "campaigns/4711/edit", "campaigns/4711/html"])
def test_no_such_campaign(client: TestClient, path: str) -> None:
    """A number that no campaign has is a 404, in words."""
    answer = client.get(f"/notify/{path}")
    assert answer.status_code == 404
    assert "There is no campaign 4711" in answer.text


def test_hostile_data(client: TestClient, mailing: Mailing, connection: Connection) -> None:
    """Whatever an author writes is text here, never markup."""
    evil = "<script>alert('x')</script>\"'"
    attached = [{"filename": "<script>alert.txt", "content": b"a"}]
    number = mailing.write(
        description=evil, note=evil, classification=evil, subject=evil, message=evil, attachments=attached,
        csv=f"email,first_name\n{evil.replace(chr(34), '')},X\na@example.com,Y",
    )  # fmt: skip
    mailing.do("update notify.campaigns set fault = :evil", evil=evil)
    for path in ("campaigns", f"campaigns/{number}", f"campaigns/{number}/edit"):
        page = client.get(f"/notify/{path}").text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
