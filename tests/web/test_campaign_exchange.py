"""Campaigns as files, on the page and by API: what is in them, who may have them, and what comes back."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from fastapi.testclient import TestClient
from httpx import Response
from lxml import html
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from notify.settings import HandOverSettings
from notify.web.body import MOST
from notify.web.campaigns import CONTENT
from tests.mailing import PLAIN, Mailing, csv_of
from tests.web_client import API, As

PATHS = {"page": "/notify/campaigns/export", "API": f"{API}/campaigns/export"}
IMPORT = f"{API}/campaigns/import"

pytestmark = pytest.mark.usefixtures("metadata")


@pytest.fixture
def mailing(engine: Engine, outbox: object, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns elsewhere."""
    return Mailing(engine, hand_over_settings)


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """Where campaigns can be had as a file."""
    return PATHS[request.param]


def upload(client: TestClient, content: bytes, name: str = "campaigns.json", **more: str) -> Response:
    """Choose a file on the page, and send it."""
    [form] = html.fromstring(client.get("/notify/campaigns").text).xpath("//form[@action='/notify/campaigns/import']")
    return client.post(form.get("action"), data=dict(form.form_values()) | more, files={"file": (name, content)})


def logged(metadata: Session) -> list[tuple[str, str, dict[str, Any]]]:
    metadata.rollback()
    lines = metadata.scalars(sa.select(Log).where(Log.event.startswith("notify.")).order_by(Log.id)).all()
    return [(one.event.removeprefix("notify."), one.owner, json.loads(one.extra)) for one in lines]


# --- Out -------------------------------------------------------------------------------------------------------------


def test_whole(logged_in: As, mailing: Mailing, path: str) -> None:
    """Whoever may read texts gets campaigns whole: how far they are, what they say, their files and recipients."""
    number = mailing.write(csv=csv_of(2), note="By Tuesday", attachments=[{"filename": "a.txt", "content": b"a"}])
    mailing.generate(number)
    answer = logged_in("user").get(path, params={"format": "json"})
    assert answer.status_code == 200
    assert re.fullmatch(r'attachment; filename="campaigns-\d{8}T\d{6}Z\.json"', answer.headers["content-disposition"])
    [one] = answer.json()
    assert (one["id"], one["status"], one["created"], one["subject"]) == (number, "generated", 2, PLAIN["subject"])
    assert one["attachments"] == [{"filename": "a.txt", "content_type": "text/plain", "content_base64": "YQ=="}]
    assert one["rows"][1] == {"recipient": "r2@example.com", "fields": {"first_name": "Name2"}}
    lines = logged_in("user").get(path, params={"format": "jsonl"}).text.splitlines()
    assert [json.loads(line) for line in lines] == [one]
    less = logged_in("user").get(path, params={"format": "json", "recipients": "false"}).json()
    assert less == [{name: value for name, value in one.items() if name != "rows"}]


def test_who_may_not_read_texts(logged_in: As, mailing: Mailing, path: str) -> None:
    """Others see how far they are; what they say, and to whom, is not there, in whatever format."""
    fields = {"note": "secret note", "message": "secret words", "data": {"a": "secret data"}}
    files = [{"filename": "a.txt", "content": b"secret file"}]
    number = mailing.write(csv=csv_of(2), recipients="typed@example.com", attachments=files, **fields)
    for form in ("json", "jsonl", "csv"):
        answer = logged_in("viewer").get(path, params={"format": form})
        assert "Spring sale" in answer.text
        for secret in ("secret", "example.com", "c2VjcmV0", "first_name"):
            assert secret not in answer.text
    [one] = logged_in("viewer").get(path, params={"format": "json"}).json()
    assert (one["id"], one["status"], [one[name] for name in CONTENT]) == (number, "draft", [None] * len(CONTENT))
    assert not {"rows", "attachments"} & set(one)
    refused = logged_in("viewer").get(path, params={"format": "json", "recipients": "true"})
    assert refused.status_code == 403
    assert "read the texts of messages" in unescape(refused.text)


def test_csv(logged_in: As, mailing: Mailing, path: str) -> None:
    """As CSV, a campaign is a line, in which no cell is a formula; it has no room for recipients."""
    mailing.write(description="=1+1", csv=csv_of(1))
    client = logged_in("user")
    [row] = csv.DictReader(io.StringIO(client.get(path, params={"format": "csv"}).text, newline=""))
    assert (row["description"], row["status"]) == ("'=1+1", "draft")
    assert "'" not in client.get(path, params={"format": "csv", "raw": "true"}).text
    assert client.get(path, params={"format": "csv", "bom": "true"}).content.startswith(b"\xef\xbb\xbfid,")
    refused = client.get(path, params={"format": "csv", "recipients": "true"})
    assert refused.status_code == 422
    assert "CSV has no room for recipients" in refused.text


def test_which(logged_in: As, mailing: Mailing, path: str) -> None:
    """The filters are those of the list; campaigns can be named as well, and one that is not there is none."""
    first, second = mailing.write(), mailing.write(classification="north")
    mailing.tell("cancel", first)

    def found(**query: Any) -> list[int]:
        return [one["id"] for one in logged_in("viewer").get(path, params={"format": "json", **query}).json()]

    assert found() == [second, first]
    assert found(id=[first]) == [first]
    assert found(status=["cancelled", "done"]) == [first]
    assert found(text="NORTH") == [second]
    assert found(text="south") == []
    for query, status in (({"id": [first, 99]}, 404), ({"id": [first], "text": "x"}, 422), ({"status": "gone"}, 422)):
        assert logged_in("viewer").get(path, params=query).status_code == status


def test_who_has_taken_them(logged_in: As, mailing: Mailing, metadata: Session) -> None:
    """The audit log says who took what along, with which parts; of what was refused, nothing."""
    number = mailing.write()
    logged_in("user").get(PATHS["API"], params={"id": number})
    logged_in("viewer").get(PATHS["page"], params={"status": "draft", "text": "sale"})
    logged_in("viewer").get(PATHS["page"], params={"recipients": "true"})
    assert logged(metadata) == [
        (
            "export_campaigns",
            "the_user",
            {"door": "API", "format": "json", "bodies": True, "recipients": True, "filters": {"ids": [number]}},
        ),
        (
            "export_campaigns",
            "the_viewer",
            {
                "door": "page",
                "format": "csv",
                "bodies": False,
                "recipients": False,
                "filters": {"statuses": ["draft"], "text": "sale"},
            },
        ),
    ]


# --- And in again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "media"),
    [("json", "application/json"), ("jsonl", "application/x-ndjson"), ("csv", "text/csv; charset=utf-8")],
)
def test_back_by_api(program: As, mailing: Mailing, metadata: Session, form: str, media: str) -> None:
    """What was exported comes back as a draft, and is known when it comes again; the audit log says who brought it."""
    mailing.write(csv=csv_of(2), note="- by Tuesday")
    client = program("user")
    file = client.get(PATHS["API"], params={"format": form, "bom": "true"}).content
    answer = client.post(IMPORT, content=file, headers={"Content-Type": media})
    assert answer.status_code == 200, answer.text
    [one] = answer.json()["campaigns"]
    assert one["new"]
    campaign = mailing.read(one["id"])
    assert (campaign.status, campaign.note, campaign.created_by) == ("draft", "- by Tuesday", "the_user (API)")
    again = client.post(IMPORT, content=file, headers={"Content-Type": media})
    assert again.json() == {"campaigns": [{"id": one["id"], "new": False}]}
    created = [about for event, _, about in logged(metadata) if event == "create_campaign"]
    assert created == [{"campaign": one["id"], "imported": True}]


def test_once_by_key(program: As, mailing: Mailing) -> None:
    """A request that is repeated with its key gets the first answer."""
    headers = {"Idempotency-Key": "k"}
    first = program("user").post(IMPORT, json=[PLAIN], headers=headers)
    again = program("user").post(IMPORT, json=[PLAIN], headers=headers)
    assert first.json()["campaigns"][0]["new"]
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")


def test_refused_by_api(program: As, mailing: Mailing) -> None:
    """What is wrong is told by campaign and field, and nothing is stored."""
    client = program("user")
    answer = client.post(IMPORT, json=[PLAIN, {**PLAIN, "reply_to": "nobody", "rows": [{"recipient": 1}]}])
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == ["campaigns[1].rows"]
    for content, media, status in (
        (b"[", "application/json", 422),
        (b"\xff", "text/csv", 400),
        (b"[]", "application/xml", 415),
        (b"[]", "", 415),
    ):
        assert client.post(IMPORT, content=content, headers={"Content-Type": media}).status_code == status
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]
    assert program("viewer").post(IMPORT, json=[PLAIN]).status_code == 403


def test_as_large_as_a_campaign(program: As, logged_in: As, mailing: Mailing) -> None:
    """A file may be as large as a campaign with files, at both doors."""
    body = json.dumps([{**PLAIN, "message": "x" * 2 * MOST}]).encode()
    assert program("user").post(IMPORT, content=body, headers={"Content-Type": "application/json"}).status_code == 200
    assert upload(logged_in("user"), body).status_code == 303


def test_back_on_the_page(logged_in: As, mailing: Mailing, metadata: Session) -> None:
    """A file that is chosen on the list becomes drafts, which are linked there; known ones are told apart."""
    client = logged_in("user")
    mailing.write(csv=csv_of(2))
    file = client.get(PATHS["page"], params={"format": "json"}).content
    answer = upload(client, file)
    assert answer.status_code == 303
    [number] = mailing.rows("select max(id) from notify.campaigns")[0]
    page = client.get(answer.headers["location"]).text
    assert re.search(rf'New drafts: <a href="/notify/campaigns/{number}">{number}</a>\.', page)
    assert "from a file" in client.get(f"/notify/campaigns/{number}").text
    page = client.get(upload(client, file).headers["location"]).text
    assert re.search(rf'Imported before: <a href="/notify/campaigns/{number}">{number}</a>\.', page)
    assert "New drafts" not in page
    assert "There are no campaigns in the file" in client.get(upload(client, b"[]").headers["location"]).text


def test_refused_on_the_page(logged_in: As, mailing: Mailing) -> None:
    """What is wrong with a file is told with its fields; without a token, or a file, nothing is done."""
    client = logged_in("user")
    answer = upload(client, json.dumps([{**PLAIN, "reply_to": "nobody"}]).encode())
    assert answer.status_code == 422
    assert "campaigns[0].reply_to" in answer.text
    assert upload(client, json.dumps([PLAIN]).encode(), csrf_token="").status_code == 403
    for content, name in ((b"", ""), (b"[]", "campaigns.xlsx"), (b"\xff", "campaigns.csv")):
        answer = upload(client, content, name)
        assert answer.status_code == 422, name
        assert "file:" in answer.text
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]


def test_the_forms(logged_in: As, mailing: Mailing) -> None:
    """The list has a form that takes along what its filters show, and, for who may write campaigns, one to import."""
    mailing.write(description="A & B")
    mailing.write()
    client = logged_in("viewer")
    page = html.fromstring(client.get("/notify/campaigns", params={"text": "A & B"}).text)
    [form] = page.xpath("//form[@action='/notify/campaigns/export']")
    found = client.get(form.get("action"), params=dict(form.form_values()) | {"format": "json"}).json()
    assert [one["description"] for one in found] == ["A & B"]
    assert not page.xpath("//form[@action='/notify/campaigns/import']")
