"""Publishing into a real PostgreSQL: a home for everybody concerned, or one error with every fault."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lxml import html
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

import notify
from dev.postgres import Postgres
from notify.domain.due import due_at
from notify.domain.preference import Frequency, Wish
from notify.exceptions import ConfigurationError, InvalidEvent, SchemaError, UnusableRecord
from notify.publishing import Published, publish_event
from notify.settings import HandOverSettings
from notify.storage import cases, suppressions
from notify.storage.engine import normal_url
from notify.storage.outbox import Origin
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates

TABLES = ("events", "notifications", "deferred", "messages", "recipients", "contents", "cases")

#: Fields in; the faults out, by field.
Refuse = Callable[..., dict[str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> HandOverSettings:
    """Settings with kinds and templates of our own."""
    return settings_of(write_templates(tmp_path / "templates"), blocked={"Silent": frozenset({"news"})})


@pytest.fixture
def room(engine: Engine, settings: HandOverSettings) -> Newsroom:
    """Anna, Bob and Carl, who are the team, and Eve, who has left."""
    found = Newsroom(engine, settings)
    found.hire("anna", "bob", "carl", groups=["team"])
    found.hire("eve", active=False, groups=["team", "leavers"])
    return found


def count(room: Newsroom, table: str = "events") -> int:
    found: int = room.rows(f"select count(*) from notify.{table}")[0]
    return found


# --- Transactions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_one", [lambda engine: engine.connect(), Session], ids=["connection", "session"])
@pytest.mark.parametrize("commit", [True, False])
def test_joins_a_transaction(
    room: Newsroom, open_one: Callable[[Engine], AbstractContextManager[Any]], *, commit: bool
) -> None:
    """publish joins the transaction of a connection or a session: all of it is there if and when that commits."""
    room.choose("bob", "daily")
    with open_one(room.engine) as mine:
        mine.execute(sa.text("create table public.orders (n integer)"))
        published = notify.publish(
            "news", recipients="anna; bob", case="7", data={"word": "x"}, connection=mine, settings=room.settings
        )
        assert (published.mails, published.waiting) == (1, 1)
        assert [count(room, table) for table in TABLES] == [0] * len(TABLES)
        if commit:
            mine.commit()
        else:
            mine.rollback()
    assert [count(room, table) for table in TABLES] == ([1, 2, 1, 1, 1, 1, 1] if commit else [0] * len(TABLES))
    assert room.balance().even


def test_refusal_spares_the_transaction(room: Newsroom) -> None:
    """An event that is refused leaves the caller's transaction usable, and nothing of itself in it."""
    with room.engine.begin() as mine:
        for fields in ({"recipients": "nobody"}, {"recipients": "anna", "data": {}}, {"recipients": "anna; eve; x@"}):
            with pytest.raises(InvalidEvent):
                notify.publish("news", connection=mine, settings=room.settings, **fields)
        notify.publish("news", recipients="anna", data={"word": "x"}, connection=mine, settings=room.settings)
    assert [count(room, table) for table in TABLES] == [1, 1, 0, 1, 1, 1, 0]


def test_own_transaction(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a transaction to join, publish commits one of its own; an engine serves too; its task is told."""
    fields: dict[str, Any] = {"recipients": "anna", "data": {"word": "x"}, "settings": room.settings}
    notify.publish("news", connection=room.engine, **fields)
    monkeypatch.setattr("notify.settings.database_url", lambda: room.engine.url)
    origin = Origin("reports", "run_1", "tell", 3)
    notify.publish("news", origin=origin, **fields)
    assert room.rows("select origin_dag_id, origin_map_index from notify.events order by id") == [
        (None, None),
        ("reports", 3),
    ]
    assert room.rows("select origin_run_id from notify.messages order by id") == [None, "run_1"]


def test_foreign_database(settings: HandOverSettings) -> None:
    """A transaction on another kind of database is refused with what to do."""
    with sa.create_engine("sqlite://").connect() as mine, pytest.raises(ConfigurationError, match="sqlite"):
        notify.publish("news", recipients="anna", connection=mine, settings=settings)


def test_database_without_tables(empty_database: sa.URL, settings: HandOverSettings) -> None:
    """A database that is not ready is refused with the command that makes it so."""
    engine = sa.create_engine(empty_database)
    with pytest.raises(SchemaError, match="python -m notify db upgrade"):
        notify.publish("news", recipients="anna", connection=engine, settings=settings)
    engine.dispose()


def test_no_secret_in_an_error(room: Newsroom) -> None:
    """When the database fails, the error tells no address and no text, even where the caller's engine would."""
    with room.engine.begin() as mine:
        mine.execute(sa.text("alter table notify.notifications drop column summary"))
        with pytest.raises(sa.exc.ProgrammingError, match="summary") as caught:
            notify.publish("news", recipients="anna", data={"word": "s3cret"}, connection=mine, settings=room.settings)
        mine.rollback()
    assert "s3cret" not in str(caught.value)
    assert "anna@example.com" not in str(caught.value)


# --- The idempotency key ---------------------------------------------------------------------------------------------


def test_same_key(room: Newsroom) -> None:
    """The same key again gives the first event's answer, whatever else the fields say, and adds nothing."""
    room.choose("bob", "daily")
    room.choose("carl", "never")
    first = room.publish("team", idempotency_key="k")
    again = room.publish("anna", word="other", kind="gone", idempotency_key="k")
    assert first == Published(first.event_id, False, 1, 1, {"never": 1, "inactive": 1})
    assert again == replace(first, duplicate=True)
    assert count(room) == 1
    assert room.publish("anna", idempotency_key="l").event_id != first.event_id


def test_same_key_later(room: Newsroom) -> None:
    """The answer to the same key tells where the notifications are by then."""
    room.choose("bob", "daily")
    room.publish("bob", idempotency_key="k", occurred_at=LONG_AGO)
    room.publish("bob", occurred_at=LONG_AGO)
    room.merge()
    again = room.publish("bob", idempotency_key="k")
    assert (again.mails, again.waiting, again.duplicate) == (1, 0, True)


def test_key_of_something_refused(room: Newsroom) -> None:
    """A key is free again when the event that had it was refused, or its transaction rolled back."""
    with pytest.raises(InvalidEvent):
        room.publish("nobody", idempotency_key="k")
    with room.engine.connect() as mine:
        fields = {"kind": "news", "recipients": "anna", "data": {"word": "x"}, "idempotency_key": "k"}
        publish_event(mine, fields, room.settings)
        mine.rollback()
    assert not room.publish("anna", idempotency_key="k").duplicate


def test_messages_have_keys_of_their_own(room: Newsroom) -> None:
    """A message's idempotency key and an event's do not get into each other's way."""
    notify.enqueue(
        recipient="anna", subject="s", message="m", idempotency_key="k", connection=room.engine,
        settings=replace(room.settings, templates=Path("include/templates").resolve()),
    )  # fmt: skip
    assert not room.publish("anna", idempotency_key="k").duplicate


def test_same_key_from_many(room: Newsroom) -> None:
    """Published under one key from many connections at once, there is one event, and all get its answer."""
    start = threading.Barrier(8)

    def publish() -> Published:
        start.wait()
        return room.publish("team", idempotency_key="k")

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for future in [pool.submit(publish) for _ in range(8)]]
    assert len({answer.event_id for answer in answers}) == 1
    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 7
    assert count(room) == 1
    assert len(room.mails()) == 3


def test_key_waits_for_the_first(room: Newsroom) -> None:
    """The second of the same key waits until the first commits or rolls back, and only then answers."""
    fields = {"kind": "news", "recipients": "anna", "data": {"word": "x"}, "idempotency_key": "k"}
    with room.engine.connect() as mine, ThreadPoolExecutor(1) as pool:
        publish_event(mine, fields, room.settings)
        second = pool.submit(room.publish, "anna", idempotency_key="k")
        waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        deadline = time.monotonic() + 30
        while not room.rows(waits)[0]:
            assert time.monotonic() < deadline, "the second did not wait"
        mine.rollback()
        assert not second.result().duplicate
    assert count(room) == 1


# --- Faults ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(postgres: Postgres, admin: Connection, template: str) -> Iterator[Engine]:
    """An engine on a database for all tests in which nothing is stored."""
    name = "test_events_refused"
    admin.execute(sa.text(f"create database {name} template {template}"))
    engine = sa.create_engine(normal_url(postgres.uri(name)))
    Newsroom(engine, settings_of(Path())).hire("anna", "both", groups=["team", "both"])
    with engine.begin() as connection:
        connection.execute(sa.text("insert into notify.groups (name) values ('empty')"))
    yield engine
    engine.dispose()
    admin.execute(sa.text(f"drop database {name} with (force)"))


@pytest.fixture
def refuse(shared: Engine, settings: HandOverSettings) -> Iterator[Refuse]:
    """Publish what is refused: fields in, faults out. Nothing may be stored, and the transaction stays usable."""
    with shared.connect() as connection:

        def call(recipients: Any = "anna", *, using: HandOverSettings = settings, **fields: Any) -> dict[str, str]:
            given = {"kind": "news", "recipients": recipients, "data": {"word": "x"}, "case": "7"} | fields
            with pytest.raises(InvalidEvent) as caught:
                publish_event(connection, given, using)
            assert "nothing was stored" in str(caught.value)
            assert len(set(caught.value.faults)) == len(caught.value.faults)
            return {fault.field: fault.problem for fault in caught.value.faults}

        yield call
        connection.commit()
        assert not any(connection.scalar(sa.text(f"select count(*) from notify.{table}")) for table in TABLES)


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"kind": "gossip"}, "kind", "'gossip' is not registered"),
        ({"kind": None}, "kind", "is missing"),
        ({"kind": "digest"}, "kind", "not registered"),
        ({"kind": "news\n"}, "kind", "not registered"),
        ({"recipients": "nobody"}, "recipients", "'nobody' is no address"),
        ({"recipients": "anna; nobody"}, "recipients", "'nobody' is no address"),
        ({"recipients": "empty"}, "recipients", "has no members"),
        ({"recipients": "both"}, "recipients", "both a login and a group"),
        ({"recipients": "x@"}, "recipients", "is no e-mail address"),
        ({"recipients": ["x\x00y"]}, "recipients", "'x\\x00y'"),
        ({"recipients": ["x\x1b@example.com"]}, "recipients", "control character"),
        ({"recipients": []}, "recipients", "is empty"),
        ({"case": {"id": "7", "title": "x\r\nBcc: eve@example.com"}}, "case.title", "line break"),
        ({"case": "7\n8"}, "case.id", "line break"),
        ({"case": {"id": "7", "url": "javascript:alert(1)"}}, "case.url", "pattern"),
        ({"actor": "anna\r\nX: y"}, "actor", "line break"),
        ({"actor": "\x00"}, "actor", "control character"),
        ({"idempotency_key": "k" * 501}, "idempotency_key", "at most 500"),
        ({"data": {}}, "data", "there is no field 'word'"),
        ({"data": "word"}, "data", "valid dictionary"),
        ({"data": {"word": object()}}, "data", "JSON cannot have"),
        ({"data": {"word": "x", "more": float("nan")}}, "data", "JSON cannot have"),
        ({"data": {"word": "x", "more": [float("-inf")]}}, "data", "JSON cannot have"),
        ({"data": {"word": "x", "more": b"\xff"}}, "data", "JSON cannot have"),
        ({"data": {"word": "x", "more": "\ud800"}}, "data", "JSON cannot have"),
        ({"data": {"word": "x", 7: 1}}, "data[7].[key]", "valid string"),
        ({"data": {"word": "x", "more": "a\x00b"}}, "data", "NUL"),
        ({"data": {"word": "x", "more\x00": 1}}, "data", "NUL"),
        ({"data": {"word": "x", "more": 10**5000}}, "data", "JSON cannot have"),
        ({"data": {"word": "\x00"}}, "data", "control character into the subject"),
        ({"data": {"word": "\x1b[0m"}}, "data", "control character into the subject"),
        ({"data": {"word": "\ud800"}}, "data", "character"),
        ({"occurred_at": datetime(2026, 1, 1)}, "occurred_at", "timezone"),  # noqa: DTZ001 - that is the fault
        ({"colour": "red"}, "colour", "no such field"),
    ],
)  # fmt: skip
def test_faults(refuse: Refuse, fields: dict[str, Any], field: str, problem: str) -> None:
    """Whatever is wrong is refused with its field and what is wrong with it, before anything is stored."""
    found = refuse(**fields)
    assert field in found
    assert problem in found[field]


def test_deep_data(refuse: Refuse) -> None:
    """Data that contains itself, or is nested too deeply to be stored, is refused and not a crash."""
    ring: list[Any] = []
    ring.append(ring)
    assert "JSON cannot have" in refuse(data={"word": "x", "ring": ring})["data"]
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert list(refuse(data={"word": "x", "deep": deep})) == ["data"]


def test_all_faults_at_once(refuse: Refuse) -> None:
    """Whatever is wrong is told in one error: of the fields, of people that are not there, and of the template."""
    found = refuse(
        "nobody; x@; anna",
        kind="news",
        case={"id": "", "url": "x"},
        actor="a\nb",
        data={"more": float("inf")},
        occurred_at="noon",
        colour="red",
    )
    assert set(found) == {"case.id", "case.url", "actor", "occurred_at", "colour", "recipients", "data"}


def test_every_fault_of_the_recipients(shared: Engine, settings: HandOverSettings) -> None:
    """Each name that stands for nobody is told, each once."""
    given = {"kind": "news", "recipients": "n1; n2; empty; n1; n3@", "data": {"word": "x"}}
    with shared.connect() as connection, pytest.raises(InvalidEvent) as caught:
        publish_event(connection, given, settings)
    assert [fault.field for fault in caught.value.faults] == ["recipients"] * 4
    assert len(set(caught.value.faults)) == 4


def test_faults_of_templates(refuse: Refuse, settings: HandOverSettings) -> None:
    """A template that is missing or broken is the kind's fault; a value that it cannot use is the data's."""
    (settings.templates / "news/en/body.txt.j2").write_text("{% if %}")
    assert "news/en/body.txt.j2, line 1" in refuse()["kind"]
    (settings.templates / "news/en/body.txt.j2").write_text("{{ word | datetime }}")
    assert "news/en/body.txt.j2, line 1" in refuse()["data"]
    (settings.templates / "news/en/body.txt.j2").unlink()
    assert "no template 'news'" in refuse()["kind"] or "not written" in refuse()["kind"]
    (settings.templates / "news/en/body.txt.j2").write_text("x")
    (settings.templates / "news/en/subject.txt.j2").unlink()
    assert "news/en/subject.txt.j2 is missing" in refuse()["kind"]


def test_faulty_summary(room: Newsroom) -> None:
    """A summary that cannot be made is found when the event is published, not when the digest is."""
    room.choose("anna", "daily")
    (room.settings.templates / "news/en/summary.txt.j2").write_text("{{ recipient.name }}")
    with pytest.raises(InvalidEvent, match=r"summary.txt.j2.*recipient"):
        room.publish("anna")
    assert [count(room, table) for table in TABLES] == [0] * len(TABLES)


def test_fault_of_one_language(room: Newsroom) -> None:
    """A template that is broken in one reader's language refuses the event for all: nobody is left out silently."""
    room.hire("bob", language="pl")
    (room.settings.templates / "news/pl/body.txt.j2").write_text("{{ words }}")
    with pytest.raises(InvalidEvent, match=r"news/pl/body.txt.j2"):
        room.publish("team")
    assert [count(room, table) for table in TABLES] == [0] * len(TABLES)


def test_too_large(room: Newsroom) -> None:
    """A mail that most servers would refuse is refused, with its size; so is data that no mail could have."""
    small = Newsroom(room.engine, replace(room.settings, largest=1000))
    (room.settings.templates / "news/en/body.txt.j2").write_text("{{ word }}{{ word }}")
    with pytest.raises(InvalidEvent, match=r"data: makes a mail of [\d,]+ bytes"):
        small.publish("anna", word="x" * 900)
    with pytest.raises(InvalidEvent, match=r"data: has 2,0\d\d characters"):
        small.publish("anna", data={"word": "x", "more": "y" * 2000})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=_JSON)
def test_any_data(shared: Engine, settings: HandOverSettings, data: Any) -> None:
    """Whatever the data holds, it is stored, or refused as data are: the database never is the one to refuse it."""
    with shared.connect() as connection:
        given_one = {"kind": "news", "recipients": "anna", "data": {"word": "x", "more": data}}
        with suppress(InvalidEvent):
            published = publish_event(connection, given_one, settings)
            query = sa.text("select data from notify.events where id = :id")
            stored = connection.scalar(query, {"id": published.event_id})
            json.dumps(stored, allow_nan=False)
        connection.rollback()


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        ("update notify.people set email = 'no address' where login = 'bob'", r"stored of 'bob' .*[(]email[)]"),
        (
            "update notify.preferences set hour = '18:00:30'",
            r"'bob' said of [*] .*[(]hour[)].*preferences clear bob [*]",
        ),
    ],
)
def test_damaged_storage(room: Newsroom, harm: str, error: str) -> None:
    """A record that cannot be used is told by its login and fields, without what stands there."""
    room.choose("bob", "daily", hour="18:00")
    room.do(harm)
    with pytest.raises(UnusableRecord, match=error) as caught:
        room.publish("anna; bob")
    assert "no address" not in str(caught.value)
    assert room.homes() == {}


# --- Who is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipients", "homes"),
    [
        ("anna", {"anna": "mail"}),
        ("anna; anna; team", {"anna": "mail", "bob": "mail", "carl": "mail", "eve": "inactive"}),
        ("carl, team", {"carl": "mail", "anna": "mail", "bob": "mail", "eve": "inactive"}),
        ("Anna@Example.com; anna", {"anna": "mail"}),
        ("anna; Anna <anna@example.com>", {"anna": "mail"}),
        ("x@example.org; X@EXAMPLE.ORG", {"x@example.org": "mail"}),
        ("eve", {"eve": "inactive"}),
        ("leavers", {"eve": "inactive"}),
        ("Eve@example.com", {"eve": "inactive"}),
        ("eve; eve@example.com", {"eve": "inactive"}),
    ],
)
def test_recipients(room: Newsroom, recipients: str, homes: dict[str, str]) -> None:
    """Logins, groups and addresses are told, each person once, however they are named; nobody who has left is."""
    published = room.publish(recipients)
    assert room.homes() == homes
    tally = list(homes.values())
    assert (published.mails, published.refused.get("inactive", 0)) == (tally.count("mail"), tally.count("inactive"))
    assert [mail.login or mail.to for mail in room.mails()] == [who for who, home in homes.items() if home == "mail"]
    assert room.balance().even


@pytest.mark.parametrize(
    ("recipients", "actor", "homes"),
    [
        ("anna", "anna", {"anna": "own_action"}),
        ("team", "anna", {"anna": "own_action", "bob": "mail", "carl": "mail", "eve": "inactive"}),
        ("team; anna", "anna@example.com", {"anna": "own_action", "bob": "mail", "carl": "mail", "eve": "inactive"}),
        ("team", " ANNA@example.com ", {"anna": "own_action", "bob": "mail", "carl": "mail", "eve": "inactive"}),
        ("anna@example.com", "anna", {"anna": "own_action"}),
        ("x@example.org; anna", "X@example.org", {"x@example.org": "own_action", "anna": "mail"}),
        ("eve; anna", "eve", {"eve": "own_action", "anna": "mail"}),
        ("eve@example.com; anna", "eve", {"eve": "own_action", "anna": "mail"}),
        ("eve; anna", "eve@example.com", {"eve": "own_action", "anna": "mail"}),
        ("anna", "the robot", {"anna": "mail"}),
        ("anna", None, {"anna": "mail"}),
        ("anna", "", {"anna": "mail"}),
    ],
)
def test_own_action(room: Newsroom, recipients: str, actor: str | None, homes: dict[str, str]) -> None:
    """Whoever did it is not told, however they and the recipients are named; the others of their group are."""
    room.publish(recipients, actor=actor)
    assert room.homes() == homes


@pytest.mark.parametrize("kind", ["news", "alarm"])
@pytest.mark.parametrize(("actor", "told"), [("anna", "zoe"), ("zoe", "anna")])
def test_own_action_at_a_shared_address(room: Newsroom, kind: str, actor: str, told: str) -> None:
    """Of two people with one address, the one who did it is not told, and the other is; for mandatory kinds too."""
    room.hire("anna", "zoe", email="desk@example.com")
    room.publish("anna; zoe", kind, actor=actor)
    assert room.homes() == {actor: "own_action", told: "mail"}
    room.publish("anna; zoe", kind, actor="Desk@example.com")
    assert room.homes(room.published[-1]) == {"anna": "own_action", "zoe": "own_action"}


def test_address_of_somebody_new(room: Newsroom) -> None:
    """Who has the address of somebody who has left is told, named by it."""
    room.hire("zoe", email="Eve@example.com")
    room.publish("eve@example.com")
    assert room.homes() == {"zoe": "mail"}


def test_shared_address(room: Newsroom) -> None:
    """Of several people with one address, the first who is to get a mail gets it; the others' reason is told."""
    room.hire("dora", "emil", "fred", email="desk@example.com")
    room.choose("dora", "never")
    room.choose("fred", "daily")
    room.publish("dora; emil; fred; desk@example.com")
    assert room.homes() == {"dora": "never", "emil": "mail", "fred": "duplicate"}
    room.publish("fred; emil")
    assert room.homes(room.published[-1]) == {"fred": "waiting", "emil": "duplicate"}
    assert room.balance().even


@pytest.mark.parametrize("suppressed", [["STRASSE@example.com"], ["straße@example.com"]])
def test_addresses_in_other_letters(room: Newsroom, suppressed: list[str]) -> None:
    """Mailboxes that differ in more than the case of letters are two: of two people, on the list one by one."""
    room.hire("gerd", email="straße@example.com")
    room.hire("hans", email="strasse@example.com")
    with room.engine.begin() as connection:
        suppressions.add(connection, suppressed[0], "bounced", None)
    room.publish("gerd; hans; Straße@example.com; STRASSE@example.com")
    refused, told = ("hans", "gerd") if "SS" in suppressed[0] else ("gerd", "hans")
    assert room.homes() == {refused: "suppressed", told: "mail"}
    assert room.balance().even


@pytest.mark.parametrize("frequency", list(Frequency))
@pytest.mark.parametrize("kind", ["news", "alarm"])
def test_frequencies(room: Newsroom, frequency: Frequency, kind: str) -> None:
    """What a person chose applies, however they are named; a mandatory kind and outside addresses are at once."""
    room.choose("anna", frequency)
    homes = {"immediately": "mail", "never": "never"}
    expected = "mail" if kind == "alarm" else homes.get(frequency, "waiting")
    for name in ("anna", "team", "Anna@example.com"):
        room.publish([name, "x@example.org"], kind, word=name, occurred_at=LONG_AGO)
        found = room.homes(room.published[-1])
        assert (found["anna"], found["x@example.org"]) == (expected, "mail")
    if expected == "waiting":
        due = due_at(Wish(frequency), ZoneInfo("UTC"), LONG_AGO) if frequency != "weekly" else None
        waits = room.rows("select due_at from notify.deferred")
        assert len(set(waits)) == 1
        assert due in {None, waits[0]}
    assert room.balance().even


def test_obstacles(room: Newsroom) -> None:
    """Each reason why there is no mail is recorded as such, and comes back in the answer."""
    room.hire("none", email=None)
    room.hire("loud", "late")
    with room.engine.begin() as connection:
        suppressions.add(connection, "LOUD@example.com", "bounced", None)
        suppressions.add(connection, "late@example.com", "full", timedelta(days=1))
        suppressions.add(connection, "out@example.org", "asked for it", None)
    room.do("update notify.suppressions set expires_at = now() - interval '1 s' where address = 'late@example.com'")
    room.choose("bob", "never")
    everybody = "anna; bob; eve; none; loud; late; Out@example.org; in@example.org"
    published = room.publish(everybody, actor="anna")
    assert room.homes() == {
        "anna": "own_action",
        "bob": "never",
        "eve": "inactive",
        "none": "no_address",
        "loud": "suppressed",
        "late": "mail",
        "Out@example.org": "suppressed",
        "in@example.org": "mail",
    }
    assert published.refused == {"own_action": 1, "never": 1, "inactive": 1, "no_address": 1, "suppressed": 2}
    alarm = room.publish(everybody, "alarm", actor="anna")
    assert alarm.refused == {"own_action": 1, "inactive": 1, "no_address": 1, "suppressed": 2}
    assert room.balance().even


def test_blocked_process(room: Newsroom) -> None:
    """A process that blocks a kind blocks that one, for everybody, also where it is known from earlier only."""
    room.choose("bob", "daily")
    room.publish("anna; bob; x@example.org", case={"id": "7", "process": "Silent"})
    assert set(room.homes().values()) == {"blocked"}
    assert room.publish("anna", case="7").refused == {"blocked": 1}
    assert room.publish("anna", "letter", case="7").mails == 1
    assert room.publish("anna", "alarm", case="7").mails == 1
    assert room.publish("anna", case={"id": "7", "process": "Loud"}).mails == 1
    assert room.publish("anna").mails == 1


def test_quiet_hours(room: Newsroom) -> None:
    """Quiet hours put what is immediate aside until they are over, on the person's clock; not what is mandatory."""
    for login, zone in (("anna", "Pacific/Honolulu"), ("bob", "Asia/Tokyo")):  # whose clocks are never changed
        room.hire(login, timezone=zone)
        wall = datetime.now(ZoneInfo(zone))
        quiet = [
            (wall + by).time().replace(second=0, microsecond=0) for by in (timedelta(hours=-1), timedelta(hours=2))
        ]
        room.choose(login, None, quiet_from=quiet[0], quiet_until=quiet[1])
        room.publish(login, occurred_at=LONG_AGO)
        [due] = room.rows("select due_at from notify.deferred where login = :l", l=login)
        assert due.astimezone(ZoneInfo(zone)).time() == quiet[1]
        assert timedelta(0) < due - datetime.now(UTC) <= timedelta(hours=2)
        assert room.publish(login, "alarm").mails == 1


@pytest.mark.parametrize("frequency", ["immediately", "hourly", "daily", "weekly"])
def test_what_has_not_happened_yet(room: Newsroom, frequency: str) -> None:
    """What a producer's clock puts into the future is due as if it happened now, and not when that time comes."""
    room.choose("anna", frequency)
    room.publish("anna", occurred_at=datetime.now(UTC) + timedelta(days=400))
    waits = room.rows("select due_at - now() from notify.deferred")
    assert all(timedelta(0) < left <= timedelta(days=7) for left in waits)
    assert len(waits) == (frequency != "immediately")


@pytest.mark.parametrize("occurred_at", ["1970-01-01T00:00:00Z", "8999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"])
def test_ends_of_time(room: Newsroom, occurred_at: str, zone: str) -> None:
    """What happened at the beginning or the end of all time is told and put aside like everything else."""
    room.hire("anna", timezone=zone)
    room.choose("anna", "weekly")
    room.publish("anna; bob", "news", occurred_at=occurred_at)
    room.publish("anna; bob", "chores", occurred_at=occurred_at)
    assert list(room.homes(room.published[0]).values()) == ["waiting", "mail"]
    room.merge()
    assert room.homes_of("anna") == (["digest"] * 2 if occurred_at < "2000" else ["waiting"] * 2)
    assert room.balance().even


# --- What is generated -----------------------------------------------------------------------------------------------


def test_language_and_zone_of_each_reader(room: Newsroom) -> None:
    """Each reader has the mail in their language, else in English, and moments by the clock on their wall."""
    room.hire("anna", language="pl", timezone="Europe/Warsaw")
    room.hire("bob", timezone="Asia/Kolkata")
    room.hire("carl", language="de")
    moment = datetime(2026, 7, 1, 10, tzinfo=UTC)
    room.publish("anna; bob; carl; x@example.org", "news", word="x", occurred_at=moment)
    assert [(mail.language, mail.subject) for mail in room.mails()] == [
        ("pl", "Wieści: x"),
        ("en", "News: x"),
        ("en", "News: x"),
        ("en", "News: x"),
    ]
    (room.settings.templates / "alarm/en/body.txt.j2").write_text("{{ occurred_at | time }}")
    room.publish("anna; bob; x@example.org", "alarm", occurred_at=moment)
    assert [mail.text.strip() for mail in room.mails()[4:]] == ["12:00\u202fPM", "3:30\u202fPM", "10:00\u202fAM"]


def test_personal_templates(room: Newsroom) -> None:
    """A template that names its reader is rendered for each; another once for all of a language and zone."""
    room.publish("team; Xaver <x@example.org>", "letter", word="hello")
    assert [mail.text.strip() for mail in room.mails()] == [
        "Dear Anna, hello.",
        "Dear Bob, hello.",
        "Dear Carl, hello.",
        "Dear Xaver, hello.",
    ]
    before = count(room, "contents")
    room.publish("team; Xaver <x@example.org>", "news")
    assert count(room, "contents") == before + 1


def test_context(room: Newsroom) -> None:
    """A template sees the event; what is ours wins over fields of the same name in the data."""
    fields = ("kind", "case.id", "case.owner.name", "actor.name", "actor.login", "recipient.login", "x")
    body = "|".join(f"{{{{ {name} }}}}" for name in fields)
    (room.settings.templates / "alarm/en/body.txt.j2").write_text(body)
    data = {"word": "w", "x": "theirs", "kind": "k", "case": "c", "actor": "a", "recipient": "r", "occurred_at": "o"}
    room.publish("anna", "alarm", case={"id": "7", "owner": "bob"}, actor="Carl@example.com", data=data)
    room.publish("anna", "alarm", case={"id": "8", "owner": "the board"}, actor="a robot", data=data)
    assert [mail.text.strip() for mail in room.mails()] == [
        "alarm|7|Bob|Carl|carl|anna|theirs",
        "alarm|8|the board|a robot|a robot|anna|theirs",
    ]


def test_case_is_remembered(room: Newsroom) -> None:
    """A bare id is completed by what earlier events told of the case; what they did not tell is not made up."""
    room.publish("anna", case={"id": "7", "title": "Seven", "stage": "Review", "owner": "bob"}, occurred_at=LONG_AGO)
    room.publish("anna", case="7", occurred_at=LONG_AGO + timedelta(hours=2))
    assert (
        room.rows("select case_title, stage, owner, process from notify.events")
        == [("Seven", "Review", "bob", None)] * 2
    )
    room.publish("anna", case={"id": "7", "stage": "Approval"}, occurred_at=LONG_AGO + timedelta(hours=1))
    with room.engine.connect() as connection:
        assert cases.find(connection, ["7"])["7"].stage == "Approval"
    assert [mail.subject for mail in room.mails()] == ["[7] News: word"] * 3


def test_own_url_pattern(room: Newsroom) -> None:
    """Where the producer tells no URL, the admin's pattern makes one, and it is not taken for told."""
    using = Newsroom(room.engine, replace(room.settings, case_url="https://cases.example.com/{case_id}"))
    using.publish("anna", case="a/b c")
    using.publish("anna", case={"id": "7", "url": "https://other.example.com/7"})
    using.publish("anna", case="7")
    assert room.rows("select case_url from notify.events order by id") == [
        "https://cases.example.com/a%2Fb%20c",
        "https://other.example.com/7",
        "https://other.example.com/7",
    ]
    assert room.rows("select url from notify.cases order by id") == ["https://other.example.com/7", None]


STRANGE = "<script>alert(1)</script>\"'&{{ 7 * 7 }} \u202e Żółć 漢字 🎉"


def test_injection(room: Newsroom, hand_over_settings: HandOverSettings) -> None:
    """Names, titles and comments are text: no markup and no template of theirs takes effect in the shipped mails."""
    shipped = Newsroom(room.engine, replace(hand_over_settings, case_url="https://cases.example.com/{case_id}"))
    shipped.hire("anna", name=STRANGE[:100])
    case = {"id": STRANGE[:60], "title": STRANGE, "process": STRANGE, "stage": STRANGE, "owner": STRANGE}
    case["url"] = 'https://cases.example.com/"onmouseover=alert(1)><script>alert(1)</script>'
    changes = [
        {"what": "comment_added", "text": STRANGE},
        {"what": "document_added", "name": STRANGE},
        {"what": "closed"},
    ]
    shipped.choose("bob", "daily")
    for kind, data in (("case_changed", {"changes": changes}), ("case_received", {"comment": STRANGE})):
        shipped.publish("anna; bob", kind, case=case, actor=STRANGE, data=data, occurred_at=LONG_AGO)
    shipped.merge()
    mails = shipped.mails()
    assert len(mails) == 3
    for mail in mails:
        page = mail.parsed.get_body(("html",))
        assert page is not None
        assert not html.fromstring(page.get_content()).xpath("//script | //@onmouseover")
        assert "49" not in mail.subject
        assert "{{ 7 * 7 }}" in mail.text
        assert not mail.parsed.defects
        assert len(mail.parsed.keys()) == len({*mail.parsed.keys()})
    assert "49" not in "".join(mail.text.replace(case["id"], "") for mail in mails).replace("https", "")


def test_long_fields(room: Newsroom) -> None:
    """The longest names that are taken make a mail whose header lines no server refuses."""
    room.hire("anna", name="Ż" * 200, email=f"{'a' * 64}@{'b' * 60}.{'c' * 60}.example.com")
    case = {"id": "漢" * 200, "title": "Ż" * 500, "process": "p" * 200, "stage": "s" * 200, "owner": "o" * 200}
    room.publish("anna", case=case, word="Wort " * 100)
    [mail] = room.mails()
    assert max(len(line) for line in mail.headers.split(b"\r\n")) <= 998
    assert str(mail.parsed["Subject"]) == f"[{case['id']}] News: {('Wort ' * 100).strip()}"


# --- Many ------------------------------------------------------------------------------------------------------------


def test_large_group(room: Newsroom) -> None:
    """An event for 5,000 people finds a home for each of them, rendered for each or not."""
    with room.engine.begin() as connection:
        connection.execute(
            sa.text("""
                insert into notify.people (login, name, email) select 'p' || n, 'P ' || n, 'p' || n || '@example.com'
                from generate_series(1, 5000) n;
            """)
        )
        connection.execute(sa.text("insert into notify.groups (name) values ('all')"))
        connection.execute(
            sa.text("insert into notify.memberships select 'all', login from notify.people where login ~ '^p[0-9]'")
        )
        connection.execute(
            sa.text("""
                insert into notify.preferences (login, kind, frequency)
                select login, '*', 'daily' from notify.people where login ~ '^p[0-9]*[02468]$'
            """)
        )
    for kind in ("news", "letter"):
        published = room.publish("all", kind)
        assert (published.mails, published.waiting) == (2500, 2500)
    assert room.balance().even


# --- At the same time ------------------------------------------------------------------------------------------------


def test_many_at_once(room: Newsroom) -> None:
    """Events about the same cases for the same people from several programs at once do not wait for ever."""
    room.choose("bob", "daily")

    def publish(number: int) -> None:
        for turn in range(10):
            case = {"id": str((number + turn) % 3), "stage": f"{number}-{turn}"}
            room.publish("team", case=case)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(4)))
    assert count(room) == 40
    assert room.balance().even
