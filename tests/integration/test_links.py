"""Links in mails, from the event to the server that receives them: one text in storage, a token for each reader."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import settings as notify_settings
from notify.cli import main
from notify.domain import link
from notify.domain.link import LIFE, MARK, PLACEHOLDER, Purpose
from notify.domain.status import Status
from notify.drain import Drainer
from notify.erasing import erase
from notify.exceptions import ConfigurationError, TransitionError
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import links, outbox, register, unsubscriptions
from notify.storage.engine import transaction
from notify.storage.unsubscriptions import BULK, UNSUBSCRIBED
from tests.newsroom import Newsroom, settings_of
from tests.smtp_client import channel
from tests.smtp_sink import Received, SmtpSink

SENDER = "smtp_default"
SHIPPED = Path(__file__).resolve().parents[2] / "include" / "templates"
BASE = "https://air.example.com/base"

#: What the mails of an event say, whichever it is.
CASE = {"id": "INV-7", "title": "Faktura nr 7 – zażółć", "owner": "anna"}


@pytest.fixture
def room(engine: Engine) -> Newsroom:
    """Anna, Bob and Carl, told by the shipped templates."""
    found = Newsroom(engine, settings_of(SHIPPED, base_url=BASE))
    found.hire("anna", "bob", "carl")
    return found


def send(engine: Engine, **server: Any) -> list[Received]:
    """Send what is queued to a real server; what it received, by number."""
    with SmtpSink(**server) as sink:
        Drainer(engine, channel(sink.port), SENDER, limit=-1).run()
        return sorted(sink.received, key=lambda one: number_of(engine, one))


def number_of(engine: Engine, mail: Received) -> int:
    query = sa.text("select id from notify.messages where message_id = :id")
    with engine.connect() as connection:
        number: int = connection.execute(query, {"id": str(mail.parsed["Message-ID"])}).scalar_one()
    return number


def texts(mail: Received) -> list[str]:
    """Its text and its HTML, decoded."""
    parts = [mail.parsed.get_body((one,)) for one in ("plain", "html")]
    return [part.get_content() for part in parts if part is not None]


def token_in(text: str, page: str = "my") -> str:
    """The token of the one link to a page."""
    (found,) = re.findall(rf"{re.escape(BASE)}/notify/{page}/([A-Za-z0-9_-]{{40}})(?![A-Za-z0-9_-])", text)
    return str(found)


def tokens(mail: Received) -> tuple[str, str | None]:
    """The tokens of a mail: that of its settings, the same in each part, and that to unsubscribe by."""
    (mine,) = {token_in(text) for text in texts(mail)}
    header = mail.parsed["List-Unsubscribe"]
    return mine, token_in(str(header), "unsubscribe") if header else None


def found(engine: Engine, token: str, purpose: Purpose) -> links.LinkedMessage | None:
    read = link.read(token)
    with engine.connect() as connection:
        return links.find(connection, read, purpose) if read else None


def contents(engine: Engine) -> list[bytes]:
    with engine.connect() as connection:
        return [bytes(body) for body in connection.scalars(sa.text("select body from notify.contents order by id"))]


# --- Sharing ---------------------------------------------------------------------------------------------------------

#: A server that takes chunks, one that takes commands in groups, one that takes neither.
SERVERS: dict[str, dict[str, Any]] = {
    "chunks": {},
    "groups": {"hide": ["CHUNKING"]},
    "one by one": {"hide": ["CHUNKING", "PIPELINING", "SIZE"]},
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_readers_share_a_text(room: Newsroom, server: dict[str, Any]) -> None:
    """Three readers of an event share one text in storage, and each receives their own tokens, which lead to them."""
    room.publish("anna; bob; carl", kind="case_received", case=CASE)
    (stored,) = contents(room.engine)
    assert stored.count(MARK) == 2
    mails = send(room.engine, **server)
    assert len(mails) == 3
    seen = set()
    for mail in mails:
        number = number_of(room.engine, mail)
        mine, unsubscribe = tokens(mail)
        assert unsubscribe is not None
        assert mail.parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        for token, purpose in ((mine, Purpose.SETTINGS), (unsubscribe, Purpose.UNSUBSCRIBE)):
            known = found(room.engine, token, purpose)
            assert known is not None
            assert (known.id, known.address, known.kind) == (number, mail.rcpts[0], "case_received")
        assert PLACEHOLDER not in mail.content.decode()
        seen |= {mine, unsubscribe}
    assert len(seen) == 6
    assert contents(room.engine) == [stored]


def test_sizes_stay_true(room: Newsroom) -> None:
    """The server is told the size that it gets, and the register knew it but for what belongs to the sending."""
    room.publish("anna", kind="case_received", case=CASE)
    (mail,) = send(room.engine)
    assert f"SIZE={len(mail.content)}" in mail.options


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_attachments(engine: Engine, server: dict[str, Any]) -> None:
    """A mail with files has its own token in text and HTML; a file that holds the placeholder arrives as it is."""
    settings = settings_of(SHIPPED, base_url=BASE)
    file = f"{PLACEHOLDER}\n".encode() * 3
    fields = {
        "recipient": ["anna@example.com", "bob@example.com"],
        "subject": "Zażółć",
        "message": "See the files.",
        "attachments": [{"filename": "a.txt", "content": file}],
    }
    with transaction(engine) as connection:
        hand_over(connection, fields, settings)
    assert len(contents(engine)) == 1
    mails = send(engine, **server)
    assert len({tokens(mail)[0] for mail in mails}) == 2
    for mail in mails:
        assert mail.parsed.defects == []
        assert [one.get_payload(decode=True) for one in mail.parsed.iter_attachments()] == [file]


def test_retried(room: Newsroom) -> None:
    """A message that is sent again has links that work, too."""
    room.publish("anna", kind="case_received", case=CASE)
    with SmtpSink() as sink:
        sink.answer("END", "451 4.3.0 later", times=1)
        Drainer(room.engine, channel(sink.port), SENDER, limit=-1).run()
        room.do("update notify.messages set not_before = now()")
        Drainer(room.engine, channel(sink.port), SENDER, limit=-1).run()
        mails = [mail for mail in sink.received if mail.taken]
    assert len(mails) == 1
    assert found(room.engine, tokens(mails[0])[0], Purpose.SETTINGS) is not None


def test_digests(room: Newsroom) -> None:
    """A digest has both links; so has a single notification that was put aside with its text."""
    room.choose("anna", "hourly")
    room.choose("bob", "hourly")
    for recipients in ("anna; bob", "anna"):
        room.publish(recipients, kind="case_received", case=CASE)
    room.pass_time(timedelta(hours=2))
    room.merge()
    digest, single = sorted(send(room.engine), key=lambda mail: mail.rcpts)
    for mail in (digest, single):
        mine, unsubscribe = tokens(mail)
        assert unsubscribe is not None
        assert found(room.engine, mine, Purpose.SETTINGS) is not None
    known = found(room.engine, tokens(digest)[0], Purpose.SETTINGS)
    assert known is not None
    assert known.kind == "digest"
    with room.engine.connect() as connection:
        assert links.kinds(connection, known.id) == ["case_received"]


# --- Which mails have which link -------------------------------------------------------------------------------------


def test_mandatory_kinds(room: Newsroom) -> None:
    """What nobody may refuse leads to the settings, and cannot be unsubscribed from."""
    room.publish("anna", kind="deadline_exceeded", case=CASE, data={"due_at": datetime.now(UTC), "stage": "Approval"})
    (mail,) = send(room.engine)
    mine, unsubscribe = tokens(mail)
    assert found(room.engine, mine, Purpose.SETTINGS) is not None
    assert unsubscribe is None
    assert mail.parsed["List-Unsubscribe-Post"] is None


@pytest.mark.parametrize(
    ("fields", "settings_link", "unsubscribe"),
    [
        ({}, True, False),
        ({"priority": "bulk"}, True, True),
        ({"one_mail": True}, True, False),
        ({"one_mail": True, "priority": "bulk"}, True, True),
        ({"add_template": False}, False, False),
        ({"add_template": False, "priority": "bulk"}, False, True),
        ({"bcc": "carl@example.com", "priority": "bulk"}, False, False),
        ({"recipient": ["anna@example.com", "bob@example.com"], "one_mail": True}, False, False),
        ({"html": True, "message": "<p>Hello</p>"}, True, False),
    ],
)
def test_messages(engine: Engine, fields: dict[str, Any], settings_link: bool, unsubscribe: bool) -> None:
    """A message to one reader leads to their settings, and bulk can be unsubscribed from; not so one to several."""
    given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello"} | fields
    with transaction(engine) as connection:
        hand_over(connection, given, settings_of(SHIPPED, base_url=BASE))
    (mail,) = send(engine)
    assert [f"{BASE}/notify/my/" in text for text in texts(mail)] == [settings_link] * 2
    header = str(mail.parsed["List-Unsubscribe"] or "")
    assert (f"{BASE}/notify/unsubscribe/" in header) == unsubscribe
    assert len(mail.parsed.get_all("List-Unsubscribe", [])) == int(given.get("priority") == "bulk")
    assert MARK not in mail.content


def test_without_an_address_of_airflow(engine: Engine, hand_over_settings: HandOverSettings) -> None:
    """Where nobody has said where this Airflow is, mails have no links to it."""
    given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello", "priority": "bulk"}
    with transaction(engine) as connection:
        hand_over(connection, given, hand_over_settings)
    (mail,) = send(engine)
    assert "/notify/" not in "".join(texts(mail))
    assert str(mail.parsed["List-Unsubscribe"]).startswith("<mailto:")


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("", ""),
        ("https://air.example.com", "https://air.example.com"),
        ("https://air.example.com/", "https://air.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://xn--lska-5qa.example/airflow/", "https://xn--lska-5qa.example/airflow"),
        ("air.example.com", None),
        ("https://", None),
        ("https://air.example.com/?a=b", None),
        ("https://łąka.example", None),
        ("https://air.example.com/a b", None),
        ('https://air.example.com/">', None),
        ("https://me:secret@air.example.com", None),
        ("ftp://air.example.com", None),
        (f"https://{'a' * 300}.example", None),
    ],
)
def test_where_airflow_is(monkeypatch: pytest.MonkeyPatch, text: str, base: str | None) -> None:
    """An address that no mail can link to is refused where it is read, and the error says what to write."""
    values = {"notify_base_url": text}
    monkeypatch.setattr(notify_settings, "variable", lambda name, default="": values.get(name) or default)
    if base is None:
        with pytest.raises(ConfigurationError, match=r"notify_base_url.*for example https://"):
            notify_settings.hand_over_settings()
        return
    settings = notify_settings.hand_over_settings()
    assert settings.base_url == base
    assert settings.settings_link == (f"{base}/notify/my/{PLACEHOLDER}" if base else None)


# --- What a token leads to -------------------------------------------------------------------------------------------


def made(connection: Connection, number: int, purpose: Purpose, sent: datetime) -> str:
    """The token that a message had if it left on that day."""
    message = register.read(connection, number)
    return link.make(purpose, number, message.message_id, sent.date(), links.secret(connection))


@pytest.mark.parametrize("purpose", Purpose)
def test_expiry(room: Newsroom, purpose: Purpose) -> None:
    """A link works on its last day, by the database's clock, and not after it; and for its own purpose alone."""
    room.publish("anna", kind="case_received", case=CASE)
    other = next(one for one in Purpose if one is not purpose)
    with room.engine.connect() as connection:
        today = connection.execute(sa.text("select now() at time zone 'UTC'")).scalar_one()
        number = room.mails()[0].id
        last, late = (made(connection, number, purpose, today - LIFE[purpose] - more) for more in
                      (timedelta(0), timedelta(days=1)))  # fmt: skip
    assert found(room.engine, last, purpose) is not None
    assert found(room.engine, late, purpose) is None
    assert found(room.engine, last, other) is None


def test_of_another_message(room: Newsroom) -> None:
    """A token of one message leads to no other, and one to no message nowhere."""
    room.publish("anna; bob", kind="case_received", case=CASE)
    first, second = room.mails()
    with room.engine.connect() as connection:
        secret = links.secret(connection)
        message_id = register.read(connection, first.id).message_id
        today = datetime.now(UTC).date()
        assert links.find(connection, _read(first.id, message_id, today, secret), Purpose.SETTINGS) is not None
        assert links.find(connection, _read(second.id, message_id, today, secret), Purpose.SETTINGS) is None
        assert links.find(connection, _read(4711, message_id, today, secret), Purpose.SETTINGS) is None
        assert links.find(connection, _read(2**63 - 1, message_id, today, secret), Purpose.SETTINGS) is None
        assert links.find(connection, _read(first.id, message_id, today, b"x" * 32), Purpose.SETTINGS) is None


def _read(number: int, message_id: str, today: Any, secret: bytes) -> link.Link:
    found = link.read(link.make(Purpose.SETTINGS, number, message_id, today, secret))
    assert found is not None
    return found


def test_secrets_are_two(connection: Connection) -> None:
    """What links are made with is not what return paths are made with, and is of this outbox alone."""
    row = connection.execute(sa.text("select bounce_secret, link_secret from notify.identity")).one()
    assert row.bounce_secret != row.link_secret
    assert len(row.link_secret) == 32


def test_of_several(engine: Engine) -> None:
    """Whoever makes a token for a message to several gets nowhere: it is nobody's own."""
    given = {"recipient": "anna@example.com", "cc": "bob@example.com", "subject": "Hi", "message": "Hello"}
    with transaction(engine) as connection:
        (message,) = hand_over(connection, given, settings_of(SHIPPED, base_url=BASE)).messages
        token = made(connection, message.id, Purpose.SETTINGS, datetime.now(UTC))
    assert found(engine, token, Purpose.SETTINGS) is None


def test_of_somebody_who_was_erased(room: Newsroom) -> None:
    """The links of somebody who was erased lead nowhere."""
    room.publish("anna", kind="case_received", case=CASE)
    (mail,) = send(room.engine)
    mine, unsubscribe = tokens(mail)
    erase(room.engine, "anna")
    assert found(room.engine, mine, Purpose.SETTINGS) is None
    assert found(room.engine, str(unsubscribe), Purpose.UNSUBSCRIBE) is None


# --- Unsubscribed ----------------------------------------------------------------------------------------------------

ANNA, BOB = "anna@outside.example", "bob@outside.example"


def queue(engine: Engine, *recipients: str, **fields: Any) -> list[int]:
    given = {"recipient": list(recipients), "subject": "Hi", "message": "Hello", "priority": "bulk"} | fields
    with transaction(engine) as connection:
        return [one.id for one in hand_over(connection, given, settings_of(SHIPPED, base_url=BASE)).messages]


def status(engine: Engine, number: int) -> tuple[Status, str | None]:
    with engine.connect() as connection:
        message = register.read(connection, number)
    return message.status, message.status_reason


def unsubscribed(engine: Engine, address: str, scope: str = BULK) -> None:
    with transaction(engine) as connection:
        unsubscriptions.add(connection, address, scope, "the reader")
        unsubscriptions.withhold(connection, address)


def test_bulk(engine: Engine) -> None:
    """Whoever unsubscribed gets no bulk mail, queued or handed over; others do, and so does everything else."""
    before_anna, before_bob = queue(engine, ANNA.title(), BOB)
    (normal,) = queue(engine, ANNA, priority="normal")
    unsubscribed(engine, ANNA.upper())
    later_anna, later_bob = queue(engine, ANNA, BOB)
    for number in (before_anna, later_anna):
        assert status(engine, number)[0] is Status.SUPPRESSED
        assert UNSUBSCRIBED in str(status(engine, number)[1])
    assert [status(engine, number)[0] for number in (before_bob, later_bob, normal)] == [Status.QUEUED] * 3
    assert sorted(mail.rcpts[0] for mail in send(engine)) == [ANNA, BOB, BOB]


def test_one_bulk_mail_to_several(engine: Engine) -> None:
    """Of one bulk mail to several, those get it who have not unsubscribed; to nobody it is suppressed."""
    (before,) = queue(engine, ANNA, BOB, one_mail=True)
    unsubscribed(engine, ANNA)
    (later,) = queue(engine, ANNA, BOB, one_mail=True)
    assert [mail.rcpts for mail in send(engine)] == [(BOB,), (BOB,)]
    (alone,) = queue(engine, ANNA, ANNA, one_mail=True)
    assert status(engine, alone)[0] is Status.SUPPRESSED
    assert {status(engine, number)[0] for number in (before, later)} == {Status.SENT}


def test_sending_it_all_the_same(engine: Engine) -> None:
    """A person who resends or releases bulk mail to somebody who unsubscribed is told so, and how to go on."""
    (number,) = queue(engine, ANNA)
    (held,) = queue(engine, ANNA)
    with transaction(engine) as connection:
        outbox.hold(connection, held)
    unsubscribed(engine, ANNA)
    for act in (lambda one: outbox.resend(one, number), lambda one: outbox.release(one, held)):
        words = rf"{ANNA} has unsubscribed.*lift {ANNA} --scope {BULK}"
        with transaction(engine) as connection, pytest.raises(TransitionError, match=words):
            act(connection)
    with transaction(engine) as connection:
        unsubscriptions.remove(connection, ANNA, BULK)
        outbox.resend(connection, number)
        outbox.release(connection, held)
    assert len(send(engine)) == 2


def test_an_outside_address_and_a_kind(room: Newsroom) -> None:
    """Whoever unsubscribed an outside address from a kind is told of it no more, which is on record; others come."""
    unsubscribed(room.engine, ANNA, "case_received")
    known = room.publish([ANNA, BOB, "anna"], kind="case_received", case=CASE)
    assert room.homes(known.event_id) == {ANNA: "never", BOB: "mail", "anna": "mail"}
    exceeded = room.publish(
        [ANNA], kind="deadline_exceeded", case=CASE, data={"due_at": datetime.now(UTC), "stage": "Approval"}
    )
    assert room.homes(exceeded.event_id) == {ANNA: "mail"}
    room.balance()


def test_erased(engine: Engine) -> None:
    """Whoever is erased stays unsubscribed, by a hash alone."""
    queue(engine, ANNA)
    unsubscribed(engine, ANNA)
    result = erase(engine, ANNA)
    assert result.suppressions == 1
    assert result.left == {}
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select address, actor from notify.unsubscriptions")).all()
        assert unsubscriptions.of(connection, ANNA) == {BULK}
    assert len(rows) == 1
    assert ANNA not in str(rows)
    (number,) = queue(engine, ANNA)
    assert status(engine, number)[0] is Status.SUPPRESSED


def test_by_command(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator sees what somebody has unsubscribed from, and can take it back on their word."""
    monkeypatch.setattr("notify.settings.database_url", lambda: engine.url)
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good
    unsubscribed(engine, ANNA)

    def notify(*words: str) -> tuple[int, str]:
        code = main(["suppressions", *words])
        return code, capsys.readouterr().out

    assert f"{ANNA} has unsubscribed from {BULK}" in notify("list", "--address", ANNA)[1]
    assert notify("lift", ANNA, "--scope", "case_received")[0] == 1
    assert notify("lift", ANNA)[0] == 1
    assert notify("lift", ANNA, "--scope", BULK) == (0, f"{ANNA} gets {BULK} again.\n")
    assert "unsubscribed" not in notify("list", "--address", ANNA)[1]


def test_settings_are_needed_for_nothing_else(room: Newsroom) -> None:
    """Without an address of Airflow the same event makes the same homes, and its mails leave."""
    bare = replace(room.settings, base_url="")
    room.settings = bare
    room.publish("anna", kind="case_received", case=CASE)
    (mail,) = send(room.engine)
    assert mail.parsed["List-Unsubscribe"] is None
    assert "/notify/" not in "".join(texts(mail))
