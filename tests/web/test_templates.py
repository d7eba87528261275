"""Templates in the browser: which are broken, what they look like, and a test message."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import Connection

from notify.domain.kind import BUILT_IN
from notify.domain.person import Person
from notify.publishing import publish_event
from notify.settings import HandOverSettings
from notify.storage import balance, people, register
from notify.storage.engine import engine_for
from notify.web.mail import Mail
from tests.web.test_people import fields, words
from tests.web_client import As

SHIPPED = Path(__file__).parents[2] / "include" / "templates"
TEMPLATES = sorted({*BUILT_IN, "digest", "send_message", "undelivered", "welcome"})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped templates as those of the server, to be changed."""
    copied = tmp_path / "templates"
    shutil.copytree(SHIPPED, copied)
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(copied))
    return copied


def write(root: Path, place: str, text: str) -> None:
    file = root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def named(client: TestClient) -> list[str]:
    return re.findall(r'data-label="Template"><a href="[^"]*/templates/(\w+)"', client.get("/notify/templates").text)


# --- The list --------------------------------------------------------------------------------------------------------


def test_the_list(logged_in: As, outbox: object, root: Path) -> None:
    """All templates are listed with their languages, all of them fine."""
    client = logged_in("viewer")
    page = client.get("/notify/templates").text
    assert named(client) == TEMPLATES
    assert page.count(">fine<") == 3 * len(TEMPLATES)
    assert str(root) in page
    assert 'role="alert"' not in page


def test_broken(logged_in: As, outbox: object, root: Path) -> None:
    """A broken template stands first, with the error, the file and the line; a missing language is named."""
    write(root, "welcome/sk/body.html.j2", "fine\n{{ nonsense }")
    shutil.rmtree(root / "reminder" / "pl")
    client = logged_in("viewer")
    page = unescape(client.get("/notify/templates").text)
    assert named(client)[0] == "welcome"
    assert "welcome/sk/body.html.j2, line 2" in page
    assert re.search(r"reminder event reminder fine – fine pl \(readers get en\)", words(page))


def test_own_kind(logged_in: As, outbox: object, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind made by an admin appears by itself; without sample data it is told which field is missing, and where."""
    write(root, "invoice_paid/en/subject.txt.j2", "Invoice {{ number }} is paid")
    write(root, "invoice_paid/en/body.txt.j2", "Paid: {{ number }}.")
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", '{"paid": {"template": "invoice_paid"}, "gone": {}}')
    client = logged_in("viewer")
    told = words(client.get("/notify/templates").text)
    assert "invoice_paid event paid no sample data – – pl, sk" in told
    assert "There is no template 'gone'" in told
    told = words(client.get("/notify/templates/invoice_paid").text)
    assert "there is no field 'number' in the data" in told
    assert "invoice_paid/sample.json" in told
    assert "There is no template 'gone'" in words(client.get("/notify/templates/gone").text)
    write(root, "invoice_paid/sample.json", '{"number": 4711}')
    assert "Subject Invoice 4711 is paid" in words(client.get("/notify/templates/invoice_paid").text)


def test_a_variable_that_cannot_be_read(
    logged_in: As, outbox: object, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the Variable of kinds cannot be read, the page says so and shows the others."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", "{")
    client = logged_in("viewer")
    assert "notify_kinds cannot be used" in client.get("/notify/templates").text
    assert named(client) == TEMPLATES


def test_no_folder(logged_in: As, outbox: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no folder of templates, the page says which, and what to do."""
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(tmp_path / "gone"))
    answer = logged_in("viewer").get("/notify/templates")
    assert answer.status_code == 503
    assert str(tmp_path / "gone") in answer.text
    assert "NOTIFY_TEMPLATES" in answer.text


# --- The preview -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_preview(logged_in: As, outbox: object, root: Path, name: str) -> None:
    """Each template is shown in each language: its subject, its text, and its page in a frame that may do nothing."""
    client = logged_in("viewer")
    for language in ("en", "pl", "sk"):
        page = client.get(f"/notify/templates/{name}", params={"language": language}).text
        assert re.search(rf'<iframe class="sized" sandbox=""[^>]* src="/notify/templates/{name}/{language}/html"', page)
        assert re.search(r"Subject \S", words(page))
        assert ("In a digest" in words(page)) == (name in BUILT_IN)
        answer = client.get(f"/notify/templates/{name}/{language}/html")
        assert f'lang="{language}"' in answer.text
        assert "sandbox" in answer.headers["content-security-policy"].split("; ")
        assert "script-src" not in answer.headers["content-security-policy"]


def test_as_an_sms(logged_in: As, outbox: object, root: Path) -> None:
    """A template with a text for an SMS shows it, its parts, and what transliterating would save; others do not."""
    client = logged_in("viewer")
    text = "Dobrý deň, {{ recipient.name }}! <Vitajte> v našej firme, kde začína Váš nový život. Tešíme sa."
    (root / "welcome" / "sk" / "sms.txt.j2").write_text(text)
    page = words(client.get("/notify/templates/welcome", params={"language": "sk"}).text)
    assert re.search(r"As an SMS Dobrý deň, \S.*! <Vitajte> v našej firme", page)
    found = re.search(r"characters, (2 parts *; GSM's alphabet lacks .*), and without them it would be 1", page)
    assert found, page
    assert {"ý", "ň", "š"} <= set(found[1])
    assert "As an SMS" not in client.get("/notify/templates/welcome", params={"language": "en"}).text


@pytest.mark.parametrize(
    ("text", "said"), [("{{ nonsense", "sms.txt.j2"), ("x" * 2000, "it takes 14 parts"), (" ", "")]
)
def test_as_no_sms(logged_in: As, outbox: object, root: Path, text: str, said: str) -> None:
    """One whose text for an SMS cannot be sent is broken, with the file, and why."""
    (root / "welcome" / "sk" / "sms.txt.j2").write_text(text)
    page = words(logged_in("viewer").get("/notify/templates").text)
    assert "welcome/sk/sms.txt.j2" in page
    assert said in page


@pytest.mark.parametrize(("width", "attribute"), [("320", "320"), ("600", "600"), ("full", "100%"), (None, "600")])
def test_widths(logged_in: As, outbox: object, root: Path, width: str | None, attribute: str) -> None:
    """A preview is as wide as was chosen, without a style."""
    query = {"width": width} if width else {}
    page = logged_in("viewer").get("/notify/templates/welcome", params=query).text
    assert f'width="{attribute}"' in page
    assert "style=" not in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing", 404),
        ("house", 404),
        ("Welcome", 422),
        ("welcome?language=de", 404),
        ("welcome?language=..", 404),
        ("welcome?width=1", 422),
        ("welcome/de/html", 422),
        ("nothing/en/html", 422),
        ("house/en/html", 422),
        ("welcome/..%2f..%2fx/html", 404),
    ],
)
def test_no_such_template(logged_in: As, outbox: object, root: Path, path: str, status: int) -> None:
    """What is no template, a path among it, is told, and no other file is read."""
    assert logged_in("admin").get(f"/notify/templates/{path}").status_code == status


def test_hostile_sample(logged_in: As, outbox: object, root: Path) -> None:
    """What sample data holds is text on our page, and the mail is shut in its frame."""
    write(root, "reminder/sample.json", '{"due_at": "2026-11-13T15:00Z", "note": "<script>alert(1)</script>"}')
    write(root, "reminder/en/subject.txt.j2", "{{ note }}")
    page = logged_in("viewer").get("/notify/templates/reminder").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


# --- A test message --------------------------------------------------------------------------------------------------


def send(client: TestClient, name: str, language: str = "en", **changes: str) -> httpx.Response:
    page = client.get(f"/notify/templates/{name}", params={"language": language}).text
    given = fields(page, f"/templates/{name}/{language}/test")
    return client.post(f"/notify/templates/{name}/{language}/test", data=given | {k: [v] for k, v in changes.items()})


@pytest.mark.parametrize("name", TEMPLATES)
def test_test_message(
    logged_in: As, connection: Connection, hand_over_settings: HandOverSettings, root: Path, name: str
) -> None:
    """A test message of each template is a message like any other, marked in its subject; the balance stays even."""
    publish_event(connection, {"kind": "case_received", "recipients": "x@example.com"}, hand_over_settings)
    connection.commit()
    answer = send(logged_in("user"), name, "sk", to="me@example.com")
    assert answer.status_code == 303, answer.text
    number = int(answer.headers["location"].rpartition("/")[2])
    message = register.read(connection, number)
    assert message.subject.startswith("[Test] ")
    assert [one.address for one in message.recipients] == ["me@example.com"]
    assert (message.kind, message.created_by) == (name, "the_user (page)")
    text = register.text(connection, number)
    assert text
    assert Mail.of(text).text
    assert balance.check(engine_for(connection.engine.url)).even


def test_for_whom(logged_in: As, connection: Connection, root: Path) -> None:
    """The form proposes the address of the person whose login the user has; the mail greets whom it goes to."""
    write(root, "hello/en/subject.txt.j2", "Hello {{ recipient.name }}")
    write(root, "hello/en/body.txt.j2", "Hi {{ recipient.name }}.")
    people.save(connection, [Person(login="the_user", name="Una", email="una@example.com")])
    connection.commit()
    client = logged_in("user")
    page = client.get("/notify/templates/hello").text
    assert fields(page, "/test")["to"] == ["una@example.com"]
    assert "Subject Hello Anna Nowak" in words(page)
    number = int(send(client, "hello").headers["location"].rpartition("/")[2])
    assert register.read(connection, number).subject == "[Test] Hello Una"
    text = register.text(connection, number)
    assert text
    assert (Mail.of(text).text or "").strip() == "Hi Una."


def test_sent_twice(logged_in: As, root: Path, outbox: object) -> None:
    """A form that is sent twice makes one message; loaded anew, another."""
    client = logged_in("user")
    given = fields(client.get("/notify/templates/welcome").text, "/test") | {"to": ["me@example.com"]}
    places = [client.post("/notify/templates/welcome/en/test", data=given).headers["location"] for _ in range(2)]
    assert places[0] == places[1]
    assert send(client, "welcome", to="me@example.com").headers["location"] != places[0]


@pytest.mark.parametrize("to", ["", "me", "a@example.com; b@example.com", "everybody"])
def test_nobody_else(logged_in: As, connection: Connection, root: Path, to: str) -> None:
    """A test goes to one address; what is none, or several, is refused."""
    answer = send(logged_in("user"), "welcome", to=to)
    assert answer.status_code == 422
    assert "<code>to</code>" in answer.text
    assert register.newest(connection, limit=1) == []


def test_broken_templates_are_not_sent(logged_in: As, connection: Connection, root: Path) -> None:
    """What makes no message is told at the test, too."""
    client = logged_in("user")
    given = fields(client.get("/notify/templates/welcome").text, "/test") | {"to": ["me@example.com"]}
    write(root, "welcome/en/subject.txt.j2", "{{ nonsense }}")
    answer = client.post("/notify/templates/welcome/en/test", data=given)
    assert answer.status_code == 422
    assert "nonsense" in answer.text


def test_viewers_send_nothing(logged_in: As, root: Path, outbox: object) -> None:
    """Who may hand nothing over has no form for it."""
    page = logged_in("viewer").get("/notify/templates/welcome").text
    assert "Subject It works" in words(page)
    assert "<form" not in page


def test_forged(logged_in: As, connection: Connection, root: Path) -> None:
    """A form that is not from this person's page sends nothing."""
    assert send(logged_in("user"), "welcome", to="me@example.com", csrf_token="nonsense").status_code == 403
    assert register.newest(connection, limit=1) == []
