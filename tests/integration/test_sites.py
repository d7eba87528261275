"""Branches: what is for a site leaves through the site's sender, with its name, its reply address and its limit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import Connection as AirflowConnection
from sqlalchemy.engine import Connection, Engine

from notify import settings as reading
from notify.channels.smtp import SmtpChannel
from notify.deadlines import set_deadline
from notify.domain.person import Person
from notify.domain.preference import Frequency, Preference, Through
from notify.drain import Drainer
from notify.exceptions import InvalidDeadline, InvalidEvent, InvalidMessage
from notify.handover import hand_over
from notify.merge import Merger
from notify.publishing import publish_event
from notify.remind import Reminding
from notify.settings import HandOverSettings
from notify.storage import people, preferences, register
from notify.storage.models import messages
from notify.storage.search import Search, search
from tests.conftest import Command
from tests.smtp_sink import HOST, SmtpSink

#: Senders in their order, each with its connection: mails of two branches and a third place, SMS of one branch.
SENDERS: dict[str, dict[str, Any]] = {
    "smtp_default": {"conn_type": "smtp", "extra": {"from_email": "firm@example.com", "from_name": "Firm"}},
    "smtp_brno": {
        "conn_type": "smtp",
        "extra": {
            "from_email": "brno@example.com",
            "from_name": "Firm Brno",
            "reply_to": "front@brno.example",
            "site": " Brno ",
        },
    },
    "smtp_brno_2": {"conn_type": "smtp", "extra": {"from_email": "brno2@example.com", "site": "Brno"}},
    "smtp_kosice": {"conn_type": "smtp", "extra": {"from_email": "kosice@example.com", "site": "Košice"}},
    "sms_first": {"conn_type": "http", "extra": {"sender": "Firm"}},
    "sms_kosice": {"conn_type": "http", "extra": {"sender": "Kosice", "site": "Košice"}},
}


def connect(monkeypatch: pytest.MonkeyPatch, senders: Mapping[str, Mapping[str, Any]]) -> None:
    for name, described in senders.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"host": HOST} | dict(described)))


@pytest.fixture
def settings(hand_over_settings: HandOverSettings, monkeypatch: pytest.MonkeyPatch) -> HandOverSettings:
    """Settings that know these senders by their connections."""
    connect(monkeypatch, SENDERS)
    monkeypatch.setattr(reading, "variable", lambda _name, default="": default)
    return replace(hand_over_settings, senders=tuple(SENDERS), identity=reading.sender_identity, region="SK")


def sender_of(connection: Connection, settings: HandOverSettings, **fields: Any) -> str:
    """The sender of a message that is handed over, of whatever site."""
    sms = fields.get("channel") == "sms"
    given = {"recipient": "+421903622237"} if sms else {"recipient": "anna@example.com", "subject": "Hi"}
    [stored] = hand_over(connection, given | {"message": "Hello"} | fields, settings).messages
    found = register.read(connection, stored.id)
    assert found.site == fields.get("site")
    return found.sender


@pytest.mark.parametrize(
    ("fields", "sender"),
    [
        ({}, "smtp_default"),
        ({"site": "Brno"}, "smtp_brno"),
        ({"site": "Košice"}, "smtp_kosice"),
        ({"site": "Košice", "channel": "sms"}, "sms_kosice"),
        ({"site": "Brno", "channel": "sms"}, "sms_first"),
        ({"site": "Brno", "sender": "smtp_kosice"}, "smtp_kosice"),
        ({"site": "Brno", "sender": "smtp_brno_2"}, "smtp_brno_2"),
    ],
    ids=str,
)
def test_which_sender(connection: Connection, settings: HandOverSettings, fields: dict[str, Any], sender: str) -> None:
    """The sender named, else the site's first of the channel, else the channel's first; the message keeps its site."""
    assert sender_of(connection, settings, **fields) == sender


@pytest.mark.parametrize("fields", [{"site": "Brn"}, {"site": "brno"}, {"site": "Brn", "sender": "smtp_default"}])
def test_a_site_that_nobody_has(connection: Connection, settings: HandOverSettings, fields: dict[str, Any]) -> None:
    """A site of no sender is refused by its field, with those there are, also where a sender is named."""
    with pytest.raises(InvalidMessage) as caught:
        sender_of(connection, settings, **fields)
    [fault] = caught.value.faults
    assert fault.field == "site"
    assert f"{fields['site']!r} is the site of no sender (Brno, Košice)" in fault.problem


def test_where_no_sender_has_a_site(connection: Connection, hand_over_settings: HandOverSettings) -> None:
    """Where no sender belongs to any site, the error says where a site is written."""
    with pytest.raises(InvalidMessage, match="nor has any sender one; it stands in a connection's extra site"):
        sender_of(connection, hand_over_settings, site="Brno")


@pytest.mark.parametrize("site", ["x" * 201, "Br\r\nno", "Br\0no"])
def test_what_is_no_site(connection: Connection, settings: HandOverSettings, site: str) -> None:
    """A site is one line of at most 200 characters."""
    with pytest.raises(InvalidMessage) as caught:
        sender_of(connection, settings, site=site)
    assert [fault.field for fault in caught.value.faults] == ["site"]


def test_a_site_that_is_left_empty(connection: Connection, settings: HandOverSettings) -> None:
    """A site that is left empty in a form is none."""
    given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello", "site": "  "}
    [stored] = hand_over(connection, given, settings).messages
    found = register.read(connection, stored.id)
    assert (found.site, found.sender) == (None, "smtp_default")


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as running:
        yield running


def drained(engine: Engine, sink: SmtpSink, sender: str, limit: int) -> int:
    extras = SENDERS[sender]["extra"] | {"disable_ssl": True, "disable_tls": True}
    described = AirflowConnection(conn_id=sender, conn_type="smtp", host=HOST, port=sink.port, extra=json.dumps(extras))
    return Drainer(engine, SmtpChannel(sender, described), sender, limit=limit).run().accepted


def test_each_site_has_its_own_face_and_limit(
    engine: Engine, connection: Connection, settings: HandOverSettings, sink: SmtpSink
) -> None:
    """Two sites with limits of their own: the other still sends, and readers see whose mail it is."""
    for site in ("Brno", None):
        for number in range(3):
            given = {"recipient": f"r{number}@example.com", "subject": "Hi", "message": "Hello", "site": site}
            hand_over(connection, given, settings)
    connection.commit()
    assert drained(engine, sink, "smtp_brno", limit=2) == 2
    assert drained(engine, sink, "smtp_brno", limit=2) == 0
    assert drained(engine, sink, "smtp_default", limit=5) == 3
    seen = [(mail.parsed["From"], mail.parsed["Reply-To"]) for mail in sink.received]
    brno, firm = ("Firm Brno <brno@example.com>", "front@brno.example"), ("Firm <firm@example.com>", None)
    assert seen == [brno, brno, firm, firm, firm]
    # The head of the house template, too, is that of whoever sends it.
    texts = [str(mail.parsed.get_body(("plain",)).get_content()) for mail in sink.received]
    assert ["Firm Brno" in text for text in texts] == [True, True, False, False, False]


def test_found_by_site(connection: Connection, settings: HandOverSettings, notify: Command) -> None:
    """The register finds messages by their site, whichever sender they have; the command line shows it."""
    for fields in ({"site": "Brno"}, {"site": "Brno", "channel": "sms"}, {"site": "Košice"}, {}):
        sender_of(connection, settings, **fields)
    connection.commit()
    found = search(connection, Search(site="Brno")).found
    assert [(one.sender, one.site) for one in found] == [("sms_first", "Brno"), ("smtp_brno", "Brno")]
    status, out, _ = notify("messages", "list", "--site", "Brno")
    assert (status, [line.split()[0] for line in out.splitlines()]) == (0, [str(one.id) for one in found])
    assert "  Site         Brno\n" in notify("messages", "show", found[0].id)[1]
    assert "Site" not in notify("messages", "show", found[1].id + 3)[1]


def test_a_long_batch_keeps_sites(connection: Connection, settings: HandOverSettings) -> None:
    """Many messages of a site, which go into the outbox by COPY, keep it as one does."""
    readers = [f"r{number}@example.com" for number in range(30)]
    given = {"recipient": readers, "subject": "Hi", "message": "Hello", "site": "Košice"}
    stored = hand_over(connection, given, settings).messages
    assert {register.read(connection, one.id).site for one in stored} == {"Košice"}


# --- Events ----------------------------------------------------------------------------------------------------------

PEOPLE = (
    Person(login="anna", name="Anna", email="anna@example.com"),
    Person(login="brian", name="Brian", email="brian@example.com"),
)


@pytest.fixture
def staff(connection: Connection) -> Connection:
    """People who get news at once, but for Anna: she gets hers hourly."""
    people.save(connection, PEOPLE)
    preferences.save(connection, "anna", "case_changed", Preference(frequency=Frequency.HOURLY))
    connection.commit()
    return connection


def publish(connection: Connection, settings: HandOverSettings, case: Any, **more: Any) -> None:
    changes = {"changes": [{"what": "comment_added", "text": "Look"}]}
    fields = {"kind": "case_changed", "case": case, "recipients": ["anna", "brian"], "data": changes} | more
    publish_event(connection, fields, settings)
    connection.commit()


def leaving(connection: Connection) -> list[tuple[str, str | None, str, str | None]]:
    """Of each message in the outbox: its kind, its case, its sender and its site."""
    connection.rollback()
    return [
        (row.kind, row.case_id, row.sender, row.site)
        for row in connection.execute(sa.select(messages).order_by(messages.c.id))
    ]


def merge(connection: Connection, engine: Engine, settings: HandOverSettings) -> None:
    """Move all that is put aside, as if its time had come."""
    connection.execute(sa.text("update notify.deferred set due_at = now(), look_at = now()"))
    connection.commit()
    Merger(engine, settings).run()


def test_an_event_leaves_through_the_sender_of_its_case(
    staff: Connection, engine: Engine, settings: HandOverSettings
) -> None:
    """What is told of a case of a site leaves through the site's sender, at once or when its time has come."""
    publish(staff, settings, {"id": "C-1", "site": "Brno"})
    assert leaving(staff) == [("case_changed", "C-1", "smtp_brno", "Brno")]
    merge(staff, engine, settings)
    assert leaving(staff) == [("case_changed", "C-1", "smtp_brno", "Brno")] * 2
    text = str(register.text(staff, register.newest(staff)[0].id))
    assert "Firm Brno" in text


def test_a_case_keeps_its_site(staff: Connection, engine: Engine, settings: HandOverSettings) -> None:
    """A site that was told once holds for the case's later events, until another is told."""
    for case in ({"id": "C-1", "site": "Brno"}, "C-1", {"id": "C-1", "site": "Košice"}, "C-1", "C-2"):
        publish(staff, settings, case, recipients=["brian"])
    assert [sender for _, _, sender, _ in leaving(staff)] == [
        "smtp_brno", "smtp_brno", "smtp_kosice", "smtp_kosice", "smtp_default",
    ]  # fmt: skip
    assert staff.scalars(sa.text("select site from notify.events order by id")).all() == [
        "Brno", "Brno", "Košice", "Košice", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sites", "sender", "site"),
    [
        (("Brno", "Brno"), "smtp_brno", "Brno"),
        (("Brno", "Košice"), "smtp_default", None),
        (("Brno", None), "smtp_default", None),
        ((None, None), "smtp_default", None),
    ],
)
def test_a_digest_of_one_site(  # noqa: PLR0917 - a case has as many
    staff: Connection, engine: Engine, settings: HandOverSettings, sites: list[str | None], sender: str, site: str
) -> None:
    """A digest of one site alone leaves through its sender and bears its name; one of several through the first."""
    for number, of_case in enumerate(sites):
        publish(staff, settings, {"id": f"C-{number}", "site": of_case}, recipients=["anna"])
    merge(staff, engine, settings)
    assert leaving(staff) == [("digest", None, sender, site)]
    text = str(register.text(staff, register.newest(staff)[0].id))
    assert ("Firm Brno" in text) == (sender == "smtp_brno")


def test_by_sms(connection: Connection, engine: Engine, settings: HandOverSettings) -> None:
    """Who gets the news by SMS gets it through the site's sender of SMS, at once, later, and where several are due."""
    people.save(connection, [Person(login="cyril", name="Cyril", email="cyril@example.com", phone="+421903622237")])
    by_sms = Preference(frequency=Frequency.IMMEDIATELY, channel=Through.SMS)
    preferences.save(connection, "cyril", "case_changed", by_sms)
    publish(connection, settings, {"id": "C-1", "site": "Košice"}, recipients=["cyril"])
    publish(connection, settings, {"id": "C-2", "site": "Brno"}, recipients=["cyril"])
    preferences.save(connection, "cyril", "case_changed", Preference(frequency=Frequency.HOURLY, channel=Through.SMS))
    publish(connection, settings, "C-1", recipients=["cyril"])
    merge(connection, engine, settings)
    for _ in range(2):
        publish(connection, settings, "C-1", recipients=["cyril"])
    merge(connection, engine, settings)
    publish(connection, settings, "C-1", recipients=["cyril"])
    publish(connection, settings, "C-2", recipients=["cyril"])
    merge(connection, engine, settings)
    assert leaving(connection) == [
        ("case_changed", "C-1", "sms_kosice", "Košice"),
        ("case_changed", "C-2", "sms_first", "Brno"),
        ("case_changed", "C-1", "sms_kosice", "Košice"),
        ("digest", "C-1", "sms_kosice", "Košice"),
        ("digest", None, "sms_first", None),
    ]


def test_an_event_of_a_site_that_nobody_has(staff: Connection, settings: HandOverSettings) -> None:
    """A site of no sender is refused at an event, and at a deadline, by its field; nothing is remembered of it."""
    case = {"id": "C-1", "owner": "anna", "site": "Brn"}
    with pytest.raises(InvalidEvent, match=r"case.site: 'Brn' is the site of no sender \(Brno, Košice\)"):
        publish(staff, settings, case)
    with pytest.raises(InvalidDeadline, match=r"case.site: 'Brn' is the site of no sender \(Brno, Košice\)"):
        set_deadline(case, "P1D", connection=staff, settings=settings)
    assert staff.scalar(sa.text("select count(*) from notify.cases")) == 0


def test_a_site_whose_senders_are_gone(staff: Connection, engine: Engine, settings: HandOverSettings) -> None:
    """What waits for a site, and what is told of its cases, leaves through the first sender once it has none."""
    publish(staff, settings, {"id": "C-1", "site": "Košice"}, recipients=["anna"])
    fewer = replace(settings, senders=("smtp_default", "smtp_brno"))
    merge(staff, engine, fewer)
    publish(staff, fewer, "C-1", recipients=["brian"])
    assert leaving(staff) == [("case_changed", "C-1", "smtp_default", "Košice")] * 2


def test_a_deadline_leaves_through_the_sender_of_its_case(
    staff: Connection, engine: Engine, settings: HandOverSettings
) -> None:
    """Reminders tells of a deadline through the sender of its case's site, whoever told of that site."""
    set_deadline({"id": "C-1", "owner": "anna", "site": "Brno"}, "PT1H", connection=staff, settings=settings)
    staff.execute(sa.text("update notify.deadlines set due_at = now() - interval '1 minute'"))
    staff.execute(sa.text("update notify.deadline_steps set fires_at = now() - interval '1 minute'"))
    staff.commit()
    Reminding(engine, settings).run()
    assert leaving(staff) == [("deadline_exceeded", "C-1", "smtp_brno", "Brno")]
