"""Hand-over into a real PostgreSQL: every field of SendMessage, every fault, and idempotency."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

import notify
from dev.postgres import Postgres
from notify.channels.memory import MemoryChannel, SentMail
from notify.channels.smtp import SmtpChannel
from notify.domain.person import Person
from notify.drain import Drainer, DrainResult
from notify.enqueuing import enqueue
from notify.exceptions import ConfigurationError, Fault, InvalidMessage
from notify.handover import HandedOver, hand_over, hand_over_all
from notify.settings import HandOverSettings
from notify.storage import bulk, models, outbox, people, register, suppressions
from notify.storage.engine import normal_url, transaction
from notify.storage.outbox import Origin
from tests.smtp_sink import SmtpSink

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = {"subject": "Invoice 7", "message": "Please look at it."}
SENDER = "smtp_default"

#: Fields in; what was handed over out.
HandOver = Callable[..., HandedOver]

#: Fields in; the faults out, by field.
Refuse = Callable[..., dict[str, str]]

TEAM = ["team"]
PEOPLE = (
    Person(login="anna", name="Anna Nowak", email="anna@example.com", language="pl", timezone="Europe/Warsaw",
           groups=TEAM),
    Person(login="bob", name="Bob", email="bob@example.com", language="sk", groups=TEAM),
    Person(login="carl", name="Carl, the Third", email="carl@example.com", groups=TEAM),
    Person(login="dora", name="Dora", groups=TEAM),
    Person(login="eve", name="Eve", email="eve@example.com", active=False, groups=[*TEAM, "leavers"]),
    Person(login="both", name="Both", email="both@example.com", groups=["both"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def shared(postgres: Postgres, admin: Connection, template: str) -> Iterator[Engine]:
    """An engine on a database for all tests in which nothing is stored; making one takes longer than such a test."""
    name = "test_refusals"
    admin.execute(sa.text(f"create database {name} template {template}"))
    engine = sa.create_engine(normal_url(postgres.uri(name)))
    with engine.begin() as connection:
        people.save(connection, PEOPLE)
    yield engine
    engine.dispose()
    admin.execute(sa.text(f"drop database {name} with (force)"))


@pytest.fixture
def refuse(shared: Engine, settings: HandOverSettings) -> Iterator[Callable[..., dict[str, str]]]:
    """Hand over what is refused: fields in, faults out. Nothing may be stored, and the transaction stays usable."""
    with shared.connect() as connection:

        def call(
            recipient: Any = "anna@example.com", *, using: HandOverSettings = settings, **fields: Any
        ) -> dict[str, str]:
            text = {} if "template" in fields else TEXT
            with pytest.raises(InvalidMessage) as caught:
                hand_over(connection, {"recipient": recipient} | text | fields, using)
            for fault in caught.value.faults:
                assert str(fault) in str(caught.value)
            return {fault.field: fault.problem for fault in caught.value.faults}

        yield call
        connection.commit()
        assert not any(count(connection, table) for table in ("messages", "recipients", "contents", "attachments"))


@pytest.fixture
def settings(hand_over_settings: HandOverSettings) -> HandOverSettings:
    """Settings with a pattern for the URL of a case."""
    return replace(hand_over_settings, case_url="https://cases.example.com/{case_id}")


@pytest.fixture
def give(connection: Connection, settings: HandOverSettings) -> HandOver:
    """Hand over with text of no interest, and commit."""

    def call(recipient: Any = "anna@example.com", *, using: HandOverSettings = settings, **fields: Any) -> HandedOver:
        text = {} if "template" in fields else TEXT
        handed_over = hand_over(connection, {"recipient": recipient} | text | fields, using)
        connection.commit()
        return handed_over

    return call


@pytest.fixture
def known(connection: Connection) -> None:
    """Some people and groups."""
    people.save(connection, PEOPLE)
    connection.commit()


def drain(engine: Engine, channel: MemoryChannel | SmtpChannel) -> DrainResult:
    return Drainer(engine, channel, SENDER, limit=-1).run()


def delivered(engine: Engine) -> list[SentMail]:
    """What arrives of all that waits, by its first recipient."""
    channel = MemoryChannel()
    drain(engine, channel)
    return sorted(channel.outbox, key=lambda mail: mail.recipients)


def count(connection: Connection, table: str = "messages") -> int:
    return int(connection.scalar(sa.text(f"select count(*) from notify.{table}")) or 0)


# --- Recipients ------------------------------------------------------------------------------------------------------


def test_more_names_than_parameters(known: None, connection: Connection) -> None:
    """More names than PostgreSQL takes parameters are looked up all the same."""
    many = [f"{number}@example.com" for number in range(70_000)]
    assert set(people.find_by_email(connection, [*many, "Anna@example.com"])) == {"anna@example.com"}
    assert set(people.find(connection, [*many, "anna"])) == {"anna"}
    assert set(people.members(connection, [*many, "team"])) == {"team"}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("x@example.com", ["x@example.com"]),
        (["x@example.com", "Ypsilon <y@Example.COM>"], ["x@example.com", "y@example.com"]),
        ("x@example.com; y@example.com,z@example.com;", ["x@example.com", "y@example.com", "z@example.com"]),
        ('"Doe, John" <john@example.com>; x@example.com', ["john@example.com", "x@example.com"]),
        ("anna", ["anna@example.com"]),
        ("anna; bob", ["anna@example.com", "bob@example.com"]),
        ("team", ["anna@example.com", "bob@example.com", "carl@example.com"]),
        (["anna", "team; x@example.com"], ["anna@example.com", "bob@example.com", "carl@example.com", "x@example.com"]),
        (["ANNA@example.com", "anna", "team", "Anna <anna@example.com>"],
         ["ANNA@example.com", "bob@example.com", "carl@example.com"]),
    ],
)  # fmt: skip
def test_recipients(known: None, engine: Engine, give: HandOver, named: Any, expected: list[str]) -> None:
    """Addresses, logins and groups, mixed and however separated, get one mail each; who is named twice gets one."""
    handed_over = give(named)
    mails = delivered(engine)
    assert [mail.recipients for mail in mails] == [(address,) for address in expected]
    assert {mail.message_id for mail in mails} == {message.message_id for message in handed_over.messages}
    assert all(mail.to == [mail.recipients[0]] for mail in mails)


def test_names_in_the_header(known: None, engine: Engine, give: HandOver) -> None:
    """A person's name stands in To, quoted where it has to be; so does the name that came with an address."""
    give(["carl", "Żaneta <z@example.com>"])
    shown = [str(mail.parsed["To"]) for mail in delivered(engine)]
    assert shown == ['"Carl, the Third" <carl@example.com>', "Żaneta <z@example.com>"]


def test_language_of_the_reader(known: None, engine: Engine, give: HandOver) -> None:
    """Everybody reads the house template in their own language, else in English; a language given wins."""
    give("anna; bob; carl; bob@example.com")
    languages = [re.search(r'<html lang="(\w+)"', mail.html).group(1) for mail in delivered(engine)]  # type: ignore[union-attr]
    assert languages == ["pl", "sk", "en"]
    give("anna; bob; carl", language="sk")
    assert all('<html lang="sk"' in mail.html for mail in delivered(engine))


def test_known_by_address(known: None, connection: Connection, engine: Engine, give: HandOver) -> None:
    """Somebody named by address is the person with that address: their language, and their login on record."""
    number = give("Anna@Example.com").messages[0].id
    assert register.read(connection, number).recipients[0].login == "anna"
    [mail] = delivered(engine)
    assert '<html lang="pl"' in mail.html


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """Templates of our own beside the house's."""
    root = tmp_path / "templates"
    (root / "house").parent.mkdir()
    (root / "house").symlink_to(CHECKOUT / "include" / "templates" / "house")
    return root


def write(root: Path, kind: str, subject: str, body: str, language: str = "en") -> None:
    folder = root / kind / language
    folder.mkdir(parents=True)
    (folder / "subject.txt.j2").write_text(subject)
    (folder / "body.txt.j2").write_text(f"{{% extends layout %}}{{% block content %}}{body}{{% endblock %}}")


def test_time_zone_of_the_reader(
    known: None, engine: Engine, give: HandOver, settings: HandOverSettings, templates: Path
) -> None:
    """A moment is told in the reader's time zone, else in the one of the settings."""
    write(templates, "term", "Term", "{{ due | time }}")
    own = replace(settings, templates=templates, timezone="America/New_York")
    due = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    give("anna; x@example.com", template="term", data={"due": due}, language="en", using=own)
    anna, stranger = delivered(engine)
    assert re.search(r"1:00\sPM", anna.text)
    assert re.search(r"7:00\sAM", stranger.text)


def test_one_mail(known: None, connection: Connection, engine: Engine, give: HandOver) -> None:
    """One mail to all shows everybody in To, once."""
    assert len(give("anna; x@example.com; team", one_mail=True).messages) == 1
    [mail] = delivered(engine)
    expected = ["anna@example.com", "x@example.com", "bob@example.com", "carl@example.com"]
    assert mail.to == expected
    assert mail.recipients == tuple(expected)


def test_copies(known: None, connection: Connection, engine: Engine, give: HandOver) -> None:
    """cc and bcc make it one mail; who gets a blind copy stands in no header; To goes before Cc before Bcc."""
    number = give("x@example.com", cc=["y@example.com", "x@example.com"], bcc="unseen@example.com; y@example.com; anna")
    assert [(one.role, one.address) for one in register.read(connection, number.messages[0].id).recipients] == [
        ("to", "x@example.com"),
        ("cc", "y@example.com"),
        ("bcc", "unseen@example.com"),
        ("bcc", "anna@example.com"),
    ]
    [mail] = delivered(engine)
    assert (str(mail.parsed["To"]), str(mail.parsed["Cc"])) == ("x@example.com", "y@example.com")
    assert mail.parsed["Bcc"] is None
    assert b"unseen" not in mail.raw
    assert b"anna" not in mail.raw
    assert set(mail.recipients) == {"x@example.com", "y@example.com", "unseen@example.com", "anna@example.com"}


def test_blind_copies_alone(engine: Engine, give: HandOver) -> None:
    """A mail with nothing but blind copies shows nobody."""
    give(None, bcc="x@example.com; y@example.com")
    [mail] = delivered(engine)
    assert mail.parsed["To"].groups[0].display_name == "undisclosed-recipients"
    assert b"example.com>" not in mail.raw.partition(b"\r\nTo:")[2].partition(b"Subject:")[0]


@pytest.mark.parametrize(
    ("field", "named", "problem"),
    [
        ("recipient", "nobody", "no login or group"),
        ("recipient", "dora", "has no e-mail address"),
        ("recipient", "eve", "no longer active"),
        ("recipient", "leavers", "no active member"),
        ("recipient", "a@b@c", "no e-mail address"),
        ("recipient", "x@example.com\r\nBcc: victim@example.com", "no e-mail address"),
        ("recipient", "", "is empty"),
        ("recipient", [], "is empty"),
        ("recipient", "an\x00na", ""),
        ("recipient", "anna\ud800", ""),
        ("cc", "nobody", "no login or group"),
        ("bcc", "@", "no e-mail address"),
    ],
)
def test_nobody(refuse: Refuse, field: str, named: Any, problem: str) -> None:
    """Who cannot be reached is told under the field that names them, with the reason; nothing is stored."""
    fields = {"recipient": "x@example.com"} | {field: named}
    faults = refuse(**fields)
    [(where, said)] = faults.items()
    assert where.partition("[")[0] == field
    assert problem in said


def test_login_and_group(refuse: Refuse) -> None:
    """A name that is both a login and a group is refused, not guessed."""
    assert "both a login and a group" in refuse("both")["recipient"]


# --- Faults ----------------------------------------------------------------------------------------------------------


def test_all_faults_at_once(refuse: Refuse) -> None:
    """One error tells every fault of a message, whatever finds it: fields, people, sender, files and times."""
    faults = refuse(
        ["anna", "nobody"],
        cc="eve",
        subject="x\r\nBcc: victim@example.com",
        message="half \ud800 a pair",
        sender="smtp_third",
        reply_to="nobody",
        language="klingon!",
        priority="high",
        guarantee="twice",
        attachments=[{"filename": "../x", "content": b"x"}, {"uri": "file:///etc/passwd"}],
        send_after="tomorrow",
        case_url="javascript:alert(1)",
        colour="red",
    )
    assert set(faults) == {
        "recipient", "cc", "subject", "message", "sender", "reply_to", "language", "priority", "guarantee",
        "attachments[0]", "send_after", "case_url", "colour",
    }  # fmt: skip
    assert "line break" in faults["subject"]
    assert "notify_senders" in faults["sender"]


def test_faults_of_a_template_come_along(refuse: Refuse) -> None:
    """A missing field of the template is told together with a recipient that nobody knows."""
    faults = refuse("nobody", template="welcome", data={})
    assert set(faults) == {"recipient", "data"}
    assert "catcher" in faults["data"] or "ui_url" in faults["data"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"template": "no_such"}, "template"),
        ({"template": "../secrets"}, "template"),
        ({"template": "welcome", "message": "and a text"}, "message"),
        ({"subject": None}, "subject"),
        ({"message": None}, "message"),
        ({"message": ""}, "message"),
        ({"data": {"a": 1}}, "data"),
        ({"language": "de"}, "language"),
        ({"case_id": "7\n8"}, "case_id"),
        ({"idempotency_key": "a\nb"}, "idempotency_key"),
        ({"idempotency_key": "task:load/manual__1/tell/-1"}, "idempotency_key"),
        ({"expires_after": "PT0S"}, "expires_after"),
        ({"send_after": "PT2H", "expires_after": "PT1H"}, "expires_after"),
        ({"expires_after": "2020-01-01T00:00:00Z"}, "expires_after"),
        ({"send_after": "2030-01-01T00:00:00"}, "send_after"),
    ],
)
def test_faults(refuse: Refuse, fields: dict[str, Any], field: str) -> None:
    """Each fault is told under its field, and nothing is stored."""
    faults = refuse(**fields)
    assert field in faults


@pytest.mark.parametrize("letter", ["\x00", "\ud800"])
@pytest.mark.parametrize(
    "fields",
    [
        {"case_id": "7{}"},
        {"idempotency_key": "k{}"},
        {"reply_to": "A{} <a@example.com>"},
        {"recipient": "A{} <a@example.com>"},
        {"recipient": "a{}@example.com"},
        {"attachments": [{"filename": "a{}.txt", "content": b"x"}]},
        {"attachments": [{"uri": "s3://a/{}.txt"}]},
        {"template": "mine", "data": {"word": "w{}"}},
        {"subject": "s{}"},
        {"message": "m{}"},
        {"sender": "smtp{}"},
        {"case_id": "7", "case_url": "https://example.com/{}"},
    ],
)
def test_unstorable_letters(  # noqa: PLR0917 - pytest passes them by name
    connection: Connection,
    refuse: Refuse,
    settings: HandOverSettings,
    templates: Path,
    fields: dict[str, Any],
    letter: str,
) -> None:
    """A NUL or half a surrogate pair, wherever it stands, is a fault of the message, not an error of the database."""
    write(templates, "mine", "Word {{ word }}", "{{ word }}")
    own = replace(settings, templates=templates) if "template" in fields else settings
    poisoned = _filled(fields, letter)
    assert refuse(using=own, **poisoned)


def _filled(value: Any, letter: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, letter) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, letter) for item in value]
    return value.replace("{}", letter) if isinstance(value, str) else value


def test_faulty_template(refuse: Refuse, settings: HandOverSettings, templates: Path) -> None:
    """A template with an error of its own is refused at hand-over, with file and line."""
    write(templates, "broken", "Fine", "{{ 1 / 0 }}\n{% if %}")
    own = replace(settings, templates=templates)
    assert "broken/en/body.txt.j2" in refuse(template="broken", data={}, using=own)["template"]


def test_too_large(give: HandOver, refuse: Refuse, settings: HandOverSettings) -> None:
    """What most servers would refuse for its size is refused at the door, counted as it travels."""
    small = replace(settings, largest=10_000)
    faults = refuse(attachments=[{"filename": "a.bin", "content": b"x" * 8_000}], using=small)
    assert list(faults) == ["attachments"]
    assert list(refuse(message="x " * 8_000, using=small)) == ["message"]
    give(attachments=[{"filename": "a.bin", "content": b"x" * 1_000}], using=small)


def test_too_many_in_one_mail(connection: Connection, give: HandOver, refuse: Refuse) -> None:
    """One mail to more people than servers must take is refused; the same people one by one are not."""
    crowd = [f"r{number}@example.com" for number in range(101)]
    assert "101 recipients" in refuse(crowd, one_mail=True)["one_mail"]
    assert len(give(crowd).messages) == 101
    assert count(connection, "contents") == 1


# --- Idempotency -----------------------------------------------------------------------------------------------------


def test_same_key(connection: Connection, give: HandOver) -> None:
    """The same key again returns the first messages and adds none; another key adds."""
    first = give("x@example.com; y@example.com", idempotency_key="k")
    again = give("x@example.com; y@example.com", idempotency_key="k")
    assert not first.duplicate
    assert again.duplicate
    assert again.messages == first.messages
    assert count(connection) == 2
    assert not give(idempotency_key="l").duplicate


def test_key_of_something_refused(give: HandOver) -> None:
    """A key whose message was refused is free."""
    with pytest.raises(InvalidMessage):
        give("nobody", idempotency_key="k")
    assert not give(idempotency_key="k").duplicate


def test_same_key_from_many(engine: Engine, connection: Connection, settings: HandOverSettings) -> None:
    """Eight that hand the same over at once store it exactly once and all get the same answer."""
    together = threading.Barrier(8)

    def one(_: int) -> HandedOver:
        with engine.connect() as own:
            together.wait(20)
            fields = {"recipient": "x@example.com; y@example.com", "idempotency_key": "k"} | TEXT
            handed_over = hand_over(own, fields, settings)
            own.commit()
            return handed_over

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert len({answer.messages for answer in answers}) == 1
    assert [answer.duplicate for answer in answers].count(False) == 1
    assert count(connection) == 2


def test_key_waits_for_the_first(engine: Engine, settings: HandOverSettings) -> None:
    """Who brings the key of a hand-over that is then rolled back hands over themselves."""
    fields = {"recipient": "x@example.com", "idempotency_key": "k"} | TEXT
    with engine.connect() as first, engine.connect() as second, ThreadPoolExecutor(1) as pool:
        hand_over(first, fields, settings)
        waiting = pool.submit(hand_over, second, fields, settings)
        first.rollback()
        assert not waiting.result(20).duplicate
        second.commit()


def test_many_from_many(engine: Engine, connection: Connection, settings: HandOverSettings) -> None:
    """Eight hand the same messages over at once, each in an order of its own: they wait, and none of them for ever."""
    keys = [f"k{number}" for number in range(20)]
    together = threading.Barrier(8)

    def one(turn: int) -> list[HandedOver]:
        order = keys[turn:] + keys[:turn]
        with engine.connect() as own:
            together.wait(20)
            given = [{"recipient": "x@example.com", "idempotency_key": key} | TEXT for key in order]
            handed_over = hand_over_all(own, given, settings)
            own.commit()
            return handed_over

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert sorted([one.duplicate for one in answer].count(True) for answer in answers) == [0] + [20] * 7
    assert count(connection) == 20


def test_who_handed_it_over(engine: Engine, give: HandOver, connection: Connection, settings: HandOverSettings) -> None:
    """Where a door has told the history who acts, the register knows who handed a message over; else it says nobody."""
    with transaction(engine, actor="anna (page)") as own:
        known = hand_over(own, {"recipient": "x@example.com"} | TEXT, settings).messages
    unknown = give().messages
    found = [register.read(connection, one.id).created_by for one in (*known, *unknown)]
    assert found == ["anna (page)", None]


# --- In the caller's transaction -------------------------------------------------------------------------------------


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Airflow Variables and connections, as a task sees them."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SENDERS", '["smtp_default"]')
    described = {"conn_type": "smtp", "host": "mail.example.com", "extra": {"from_email": "office@firm.example"}}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(described))
    for name in ("TIMEZONE", "CASE_URL", "ATTACHMENT_SOURCES", "ATTACHMENT_STORE", "BASE_URL"):
        monkeypatch.setenv(f"AIRFLOW_VAR_NOTIFY_{name}", "")


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("open_one", [Engine.connect, Session])
def test_joins_a_transaction(
    variables: None, engine: Engine, connection: Connection, open_one: Callable[[Engine], Any], *, commit: bool
) -> None:
    """enqueue joins the transaction of a connection or an ORM session: there if and when that commits."""
    connection.execute(sa.text("create table public.orders (n integer)"))
    connection.commit()
    with open_one(engine) as mine:
        mine.execute(sa.text("insert into orders values (1)"))
        notify.enqueue(connection=mine, recipient="x@example.com", **TEXT)
        assert count(connection) == 0
        connection.rollback()
        if commit:
            mine.commit()
        else:
            mine.rollback()
    assert count(connection) == int(commit)
    assert connection.scalar(sa.text("select count(*) from orders")) == int(commit)


def test_refusal_spares_the_transaction(variables: None, engine: Engine, connection: Connection) -> None:
    """A message that is refused leaves the caller's transaction usable."""
    with engine.begin() as mine:
        with pytest.raises(InvalidMessage):
            enqueue(connection=mine, recipient="nobody", **TEXT)
        enqueue(connection=mine, recipient="x@example.com", **TEXT)
    assert count(connection) == 1


def test_no_secret_in_an_error(variables: None, engine: Engine) -> None:
    """When the database fails, the error tells no address and no text, even where the caller's engine would."""
    with engine.begin() as mine:
        mine.execute(sa.text("alter table notify.messages drop column case_id"))
        with pytest.raises(sa.exc.ProgrammingError, match="case_id") as caught:
            enqueue(connection=mine, recipient="x@example.com", **TEXT)
        mine.rollback()
    assert TEXT["subject"] not in str(caught.value)
    assert "x@example.com" not in str(caught.value)


def test_own_transaction(
    variables: None, engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a transaction to join, enqueue commits one of its own; an engine serves as well."""
    enqueue(connection=engine, recipient="x@example.com", **TEXT)
    assert count(connection) == 1
    monkeypatch.setattr("notify.settings.database_url", lambda: engine.url)
    origin = Origin("reports", "run_1", "tell", 3)
    number = enqueue(recipient="x@example.com", origin=origin, **TEXT).messages[0].id
    connection.rollback()
    message = register.read(connection, number)
    assert (message.origin_dag_id, message.origin_run_id) == ("reports", "run_1")
    assert message.message_id.endswith("@firm.example>")


def test_foreign_database(variables: None) -> None:
    """A transaction on another kind of database is refused with what to do, before anything is asked of it."""
    with sa.create_engine("sqlite://").connect() as mine, pytest.raises(ConfigurationError, match="sqlite"):
        enqueue(connection=mine, recipient="x@example.com", **TEXT)


# --- Attachments -----------------------------------------------------------------------------------------------------


def test_inline_attachments(connection: Connection, engine: Engine, give: HandOver) -> None:
    """Bytes and base64 arrive as they were, under their names and types, and are stored once for many mails."""
    pdf = bytes(range(256)) * 50
    give(
        "x@example.com; y@example.com; z@example.com",
        attachments=[
            {"filename": "report.pdf", "content": pdf},
            {"filename": "the same.bin", "content_base64": base64.b64encode(pdf).decode(), "content_type": "x-a/x-b"},
            {"filename": "żółw.txt", "content": b""},
        ],
    )
    assert count(connection, "attachments") == 2
    mails = delivered(engine)
    assert len(mails) == 3
    for mail in mails:
        assert [(one.filename, one.content_type, one.content) for one in mail.attachments] == [
            ("report.pdf", "application/pdf", pdf),
            ("the same.bin", "x-a/x-b", pdf),
            ("żółw.txt", "text/plain", b""),
        ]
        assert "Please look at it." in mail.text


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder that attachments may come from, and files beside it that they may not."""
    folder = tmp_path / "reports"
    (folder / "monthly").mkdir(parents=True)
    (folder / "monthly" / "june.csv").write_text("a;b\n")
    (tmp_path / "reports-secret").mkdir()
    (tmp_path / "reports-secret" / "x.csv").write_text("secret")
    (tmp_path / "secret.csv").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "away").symlink_to(tmp_path / "reports-secret")
    return folder


def test_by_uri(engine: Engine, give: HandOver, settings: HandOverSettings, reports: Path) -> None:
    """A file below an allowed prefix is fetched at hand-over: what happens to it later changes nothing."""
    own = replace(settings, attachment_sources=(f"file://{reports}/",))
    uri = f"file://{reports}/monthly/june.csv"
    give(attachments=[uri, {"uri": uri, "filename": "July.csv"}], using=own)
    (reports / "monthly" / "june.csv").write_text("changed")
    [mail] = delivered(engine)
    assert [(one.filename, one.content) for one in mail.attachments] == [("june.csv", b"a;b\n"), ("July.csv", b"a;b\n")]


def test_too_large_to_fetch(refuse: Refuse, settings: HandOverSettings, reports: Path) -> None:
    """Of a file that no message can carry, or of many together, no more is read than a message may have."""
    with (reports / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte with nothing in it
    own = replace(settings, attachment_sources=(f"file://{reports}",), largest=100_000)
    assert "send a link" in refuse(attachments=[f"file://{reports}/huge.bin"], using=own)["attachments[0]"]
    (reports / "half.bin").write_bytes(bytes(60_000))
    assert list(refuse(attachments=[f"file://{reports}/half.bin"] * 3, using=own)) == [
        "attachments[1]",
        "attachments[2]",
    ]


@pytest.mark.parametrize(
    "place",
    [
        "file://{reports}/../secret.csv",
        "file://{reports}/monthly/../../secret.csv",
        "file://{reports}/%2e%2e/secret.csv",
        "file://{reports}/monthly/%2e%2e/%2E%2E/secret.csv",
        "file://{reports}/link.csv",
        "file://{reports}/away/x.csv",
        "file://{reports}-secret/x.csv",
        "file://{reports}",
        "file:///etc/passwd",
        "file://localhost{reports}/monthly/june.csv",
        "file:{reports}/../secret.csv",
        "local://{reports}/monthly/june.csv",
        "{reports}/monthly/june.csv",
        "/etc/passwd",
        "../secret.csv",
        "http://127.0.0.1:9/x.csv",
        "https://example.com/x.csv",
        "file://{reports}/no-such-file.csv",
        "file://{reports}/monthly",
        "",
    ],
)
def test_forbidden_places(refuse: Refuse, settings: HandOverSettings, reports: Path, place: str) -> None:
    """Nothing outside the allowed prefixes is read, however its address is dressed up; the error says which are."""
    own = replace(settings, attachment_sources=(f"file://{reports}",))
    faults = refuse(attachments=[place.replace("{reports}", str(reports))], using=own)
    assert list(faults) == ["attachments[0]"]
    assert "secret\n" not in faults["attachments[0]"]


def test_no_places(refuse: Refuse, reports: Path) -> None:
    """Unless an admin has allowed a place, no file is read; the error names the Variable."""
    faults = refuse(attachments=[f"file://{reports}/monthly/june.csv"])
    assert "notify_attachment_sources" in faults["attachments[0]"]


def test_store(
    connection: Connection, engine: Engine, give: HandOver, settings: HandOverSettings, tmp_path: Path
) -> None:
    """With an object storage, files lie there once, not in the database, and are sent from there."""
    own = replace(settings, attachment_store=f"file://{tmp_path}")
    for _ in range(2):
        give("x@example.com; y@example.com", attachments=[{"filename": "a.bin", "content": b"kept"}], using=own)
    kept = [file for file in tmp_path.iterdir() if file.is_file()]
    assert [file.read_bytes() for file in kept] == [b"kept"]
    assert connection.scalars(sa.text("select content from notify.attachments")).all() == [None]
    connection.rollback()
    assert [mail.attachments[0].content for mail in delivered(engine)] == [b"kept"] * 4


# --- Time, priority, case --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["delay", "timedelta", "moment", "text"])
def test_times(connection: Connection, give: HandOver, form: str) -> None:
    """send_after and expires_after are moments or delays, by the database's clock."""
    start = connection.scalar(sa.text("select now()"))
    connection.rollback()
    after, until = timedelta(hours=2), timedelta(days=1, hours=3)
    values: dict[str, tuple[Any, Any]] = {
        "delay": ("PT2H", "p1dt3h"),
        "timedelta": (after, until),
        "moment": (start + after, start + until),
        "text": ((start + after).isoformat(), (start + until).isoformat()),
    }
    send_after, expires_after = values[form]
    message = register.read(connection, give(send_after=send_after, expires_after=expires_after).messages[0].id)
    assert timedelta(0) <= message.not_before - start - after < timedelta(seconds=30)
    assert message.expires_at is not None
    assert timedelta(0) <= message.expires_at - start - until < timedelta(seconds=30)


def test_past_means_now(connection: Connection, engine: Engine, give: HandOver) -> None:
    """A send_after that has passed means at once, not before everybody else."""
    number = give(send_after="2020-01-01T00:00:00+01:00").messages[0].id
    assert register.read(connection, number).not_before.year > 2020
    connection.rollback()
    assert len(delivered(engine)) == 1


@pytest.mark.parametrize(
    ("fields", "subject", "url"),
    [
        ({}, "Invoice 7", None),
        ({"case_id": "A/7"}, "[A/7] Invoice 7", "https://cases.example.com/A%2F7"),
        ({"case_id": "7", "case_url": "https://other.example.com/7"}, "[7] Invoice 7", "https://other.example.com/7"),
        ({"case_id": "7", "add_case_id_to_subject": False}, "Invoice 7", "https://cases.example.com/7"),
        ({"case_id": "7", "add_url": False}, "[7] Invoice 7", None),
        ({"case_id": "7", "add_url": False, "case_url": "https://other.example.com/7"}, "[7] Invoice 7", None),
    ],
)
def test_case(engine: Engine, give: HandOver, fields: dict[str, Any], subject: str, url: str | None) -> None:
    """The case stands in front of the subject, and its link in both bodies, unless the producer says otherwise."""
    give(**fields)
    [mail] = delivered(engine)
    assert mail.subject == subject
    assert (f'href="{url}"' in mail.html) if url else ("https://" not in mail.html.partition("<body")[2])
    assert (url in mail.text) if url else ("https://" not in mail.text)


def test_sender_and_reply_to(connection: Connection, engine: Engine, give: HandOver) -> None:
    """A message waits for the sender it names, else for the first; answers go where it says."""
    other = give(sender="smtp_second").messages[0].id
    give(reply_to="Klára <klara@example.com>")
    [mail] = delivered(engine)
    assert mail.parsed["Reply-To"].addresses[0].addr_spec == "klara@example.com"
    assert register.read(connection, other).status == "queued"
    assert register.read(connection, other).sender == "smtp_second"


def test_headers(engine: Engine, give: HandOver) -> None:
    """Every mail says that a machine sent it, under a Message-ID of the sender's domain; bulk can be unsubscribed."""
    give(priority="bulk", subject="Żółw " * 30)
    [mail] = delivered(engine)
    assert mail.parsed["Auto-Submitted"] == "auto-generated"
    assert re.fullmatch(r"<[^<>@\s]+@example\.com>", mail.message_id)
    assert mail.subject == ("Żółw " * 30).strip()
    assert "List-Unsubscribe" in mail.parsed
    assert not mail.parsed.defects


def test_html_and_house(engine: Engine, give: HandOver) -> None:
    """HTML stays HTML, plain text is escaped, and add_template decides about the house around it."""
    give("a@example.com", message="<b>bold</b> & more", html=True)
    give("b@example.com", message="<b>not bold</b>")
    give("c@example.com", message="bare", add_template=False)
    formatted, plain, bare = delivered(engine)
    assert re.search(r"<b\b[^>]*>bold</b>", formatted.html)
    assert "bold & more" in " ".join(formatted.text.split())
    assert "&lt;b&gt;not bold" in plain.html
    assert "<b>not bold</b>" in plain.text
    assert "sent automatically" in plain.text
    assert "sent automatically" not in bare.text + bare.html


# --- Templates of one's own ------------------------------------------------------------------------------------------


def test_personal(known: None, engine: Engine, give: HandOver, settings: HandOverSettings, templates: Path) -> None:
    """A kind of one's own greets each reader by name, and knows nobody where one mail goes to all."""
    write(
        templates, "greeting", "For {{ recipient.name if recipient else 'all' }}", "{{ amount | number }} {{ case.id }}"
    )
    own = replace(settings, templates=templates)
    give("anna; bob; Zoë <z@example.com>", template="greeting", data={"amount": 1234.5}, case_id="7", using=own)
    mails = delivered(engine)
    assert [mail.subject for mail in mails] == ["[7] For Anna Nowak", "[7] For Bob", "[7] For Zoë"]
    assert "1,234.5 7" in mails[2].text
    give("anna; bob", one_mail=True, template="greeting", data={"amount": 1}, case_id="7", using=own)
    assert [mail.subject for mail in delivered(engine)] == ["[7] For all"]


def test_subject_over_template(engine: Engine, give: HandOver) -> None:
    """A subject given beside a template wins over the template's."""
    data = {"catcher": "/var/mail", "ui_url": "https://airflow.example.com/"}
    give(template="welcome", data=data, subject="Look here")
    assert [mail.subject for mail in delivered(engine)] == ["Look here"]


# --- Poison ----------------------------------------------------------------------------------------------------------

POISON: Sequence[dict[str, Any]] = (
    {"recipient": "x@example.com\r\nBcc: victim@example.com"},
    {"recipient": "nobody"},
    {"recipient": "x@"},
    {"subject": "a\r\nX-Evil: 1"},
    {"message": "half a pair: \udc80"},
    {"message": "a\x00b"},
    {"subject": None, "message": None, "template": "welcome", "data": {}},
    {"attachments": [{"filename": "a/b", "content": b"x"}]},
    {"attachments": [{"filename": "a", "content_base64": "%%%"}]},
    {"reply_to": "no one"},
)


def test_poison_among_a_thousand(engine: Engine, connection: Connection, settings: HandOverSettings) -> None:
    """Of 1,000 hand-overs, ten are poison, each of another kind: they are refused, and the other 990 arrive."""
    poison = dict(zip(range(50, 1000, 100), POISON, strict=True))
    refused: list[Sequence[Fault]] = []
    for number in range(1000):
        fields = {"recipient": f"r{number}@example.com", "subject": f"No. {number}", "message": "Hello"}
        try:
            hand_over(connection, fields | poison.get(number, {}), settings)
        except InvalidMessage as error:
            refused.append(error.faults)
        if number % 100 == 99:
            connection.commit()
    assert len(refused) == 10
    assert all(refused)
    assert count(connection) == 990
    connection.rollback()
    with SmtpSink() as sink:
        result = drain(engine, smtp(sink))
        arrived = {address for mail in sink.taken for address in mail.rcpts}
    assert result.accepted == len(sink.taken) == 990
    assert arrived == {f"r{number}@example.com" for number in set(range(1000)) - set(poison)}


def smtp(sink: SmtpSink) -> SmtpChannel:
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "notify@example.com", "timeout": 10}
    described = AirflowConnection(
        conn_id=SENDER, conn_type="smtp", host="127.0.0.1", port=sink.port, extra=json.dumps(extra)
    )
    return SmtpChannel(SENDER, described)


# --- Many at once, and the suppression list --------------------------------------------------------------------------


def _register(connection: Connection) -> list[dict[str, Any]]:
    """All that the hand-over wrote, but for what differs each time."""
    query = """
        select m.*, r.position, r.role, r.address, r.name, r.login, r.outcome, r.response
        from notify.messages m join notify.recipients r on r.message_id = m.id order by m.id, r.position
    """
    changing = {"id", "message_id", "created_at", "not_before", "content_id", "headers", "size"}
    rows = connection.execute(sa.text(query)).mappings()
    return [{name: value for name, value in row.items() if name not in changing} for row in rows]


def test_copied_as_inserted(
    known: None, give: HandOver, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that are copied in bulk are those that would have been inserted one by one, in every column."""
    suppressions.add(connection, "x3@example.com", "asked for it", None)
    fields: dict[str, Any] = {
        "recipient": ["anna", *(f"x{number}@example.com" for number in range(30))],
        "priority": "bulk",
        "guarantee": "at_most_once",
        "reply_to": "Zoë <zoe@example.com>",
        "case_id": r"C\1",
        "expires_after": "PT1H",
    }
    monkeypatch.setattr("notify.storage.bulk.COPY_FROM", 20)
    assert len(give(**fields, idempotency_key="copied").messages) == 31
    monkeypatch.setattr("notify.storage.bulk.COPY_FROM", 1000)
    assert len(give(**fields, idempotency_key="inserted").messages) == 31
    rows = _register(connection)
    copied, inserted = rows[:31], rows[31:]
    for row in inserted:
        row["idempotency_key"] = "copied"
    for row in rows:
        del row["expires_at"]
    assert copied == inserted


def test_copy_tells_no_row(connection: Connection) -> None:
    """A COPY that the database refuses raises SQLAlchemy's error, and its text holds nothing of the row."""
    rows = [(1, number, "to", "secret@example.com", "", None, "pending", None) for number in range(30)]
    with pytest.raises(sa.exc.IntegrityError) as caught, connection.begin_nested():
        bulk.insert(connection, models.recipients, outbox._RECIPIENT, rows)
    assert "recipients_message_id_fkey" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_suppressed(give: HandOver, connection: Connection, engine: Engine) -> None:
    """A message to an address on the suppression list is in the register with the reason, and is never sent."""
    suppressions.add(connection, "Gone@example.com", "5.1.1 no such user", None)
    connection.commit()
    handed_over = give("gone@example.com; here@example.com")
    assert handed_over.suppressed == 1
    channel = MemoryChannel()
    Drainer(engine, channel, SENDER, limit=-1).run()
    assert [mail.recipients for mail in channel.outbox] == [("here@example.com",)]
    gone = register.read(connection, handed_over.messages[0].id)
    assert gone is not None
    assert (gone.status, gone.status_reason) == ("suppressed", "on the suppression list: 5.1.1 no such user")


def test_suppressed_among_others(give: HandOver, connection: Connection, engine: Engine) -> None:
    """Of one mail to several, the suppressed ones get nothing; that counts as told, and nobody else misses theirs."""
    suppressions.add(connection, "gone@example.com", "5.1.1 no such user", None)
    connection.commit()
    handed_over = give("gone@example.com; here@example.com", one_mail=True)
    assert (len(handed_over.messages), handed_over.suppressed) == (1, 1)
    channel = MemoryChannel()
    Drainer(engine, channel, SENDER, limit=-1).run()
    assert [mail.recipients for mail in channel.outbox] == [("here@example.com",)]
    assert [(one.address, one.outcome) for one in register.read(connection, 1).recipients] == [  # type: ignore[union-attr]  # it is there
        ("gone@example.com", "permanent"),
        ("here@example.com", "accepted"),
    ]
