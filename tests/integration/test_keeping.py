"""Housekeeping: what goes, what stays, and that nobody waits for it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import cli, set_deadline, set_reminder
from notify.channels.memory import MemoryChannel, SentMail
from notify.domain.identity import Mark
from notify.domain.keeping import Keep
from notify.drain import Drainer
from notify.exceptions import ConfigurationError, RestoredCopy, TransitionError
from notify.handover import hand_over
from notify.housekeeping import Housekeeper, HousekeepingResult
from notify.operators import HousekeepingOperator
from notify.settings import HandOverSettings
from notify.storage import attachments, identity, keeping, outbox, suppressions
from notify.storage.engine import set_actor
from tests.integration.test_plans import EVENTS, FILL, Plans
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates

SENDER = "smtp_default"
KEEP = Keep(bodies=timedelta(days=90), rows=timedelta(days=730))
DAY = timedelta(days=1)

#: Every moment of every table; all of them are moved into the past together.
MOMENTS = sa.text("""
    select table_name, array_agg(column_name::text) as columns from information_schema.columns
    where table_schema = 'notify' and data_type = 'timestamp with time zone' group by table_name
""")


def age(engine: Engine, days: int) -> None:
    """Let all that is known be older, as if nothing had happened since."""
    with engine.begin() as connection:
        connection.execute(sa.text("set local session_replication_role = replica"))
        for table, columns in connection.execute(MOMENTS).all():
            changes = ", ".join(f"{column} = {column} - make_interval(days => {days})" for column in columns)
            connection.execute(sa.text(f"update notify.{table} set {changes}"))


def clean(engine: Engine, **plan: Any) -> HousekeepingResult:
    """One run."""
    return Housekeeper(engine, **{"keep": KEEP} | plan).run()


def drain(engine: Engine) -> list[SentMail]:
    """Send what is due, and tell what arrives."""
    channel = MemoryChannel()
    Drainer(engine, channel, SENDER, limit=-1).run()
    return channel.outbox


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Newsroom:
    """Anna hears at once, Bob daily, Carl never."""
    found = Newsroom(engine, settings_of(write_templates(tmp_path / "templates")))
    found.hire("anna", "bob", "carl")
    found.choose("bob", "daily")
    found.choose("carl", "never")
    return found


@pytest.fixture
def give(engine: Engine, hand_over_settings: HandOverSettings) -> Callable[..., int]:
    """Hand a message over; its number."""

    def call(recipient: str = "anna@example.com", **fields: Any) -> int:
        using = fields.pop("using", hand_over_settings)
        given = {"recipient": recipient, "subject": "Hi", "message": "Text"} | fields
        with engine.begin() as connection:
            return hand_over(connection, given, using).messages[0].id

    return call


def bodies(room: Newsroom) -> list[int]:
    """The messages that have one."""
    return room.rows("select id from notify.messages where content_id is not null order by id")


def size(room: Newsroom, *tables: str) -> dict[str, int]:
    """How many rows tables have."""
    return {table: room.rows(f"select count(*) from notify.{table}")[0] for table in tables}


# --- Bodies ----------------------------------------------------------------------------------------------------------


def test_bodies_go_and_the_register_stays(room: Newsroom, give: Callable[..., int]) -> None:
    """After its time a message has no text, headers and attachment any more; what the register tells, it still does."""
    old = give(attachments=[{"filename": "a.txt", "content": b"secret"}])
    drain(room.engine)
    age(room.engine, 91)
    young = give()
    drain(room.engine)
    result = clean(room.engine)
    assert (result.bodies, result.files, result.messages) == (1, 1, 0)
    assert bodies(room) == [young]
    assert size(room, "contents", "attachments") == {"contents": 1, "attachments": 0}
    [(headers, subject, address, file)] = room.rows(
        """
        select m.headers, m.subject, r.address, a.filename from notify.messages m
        join notify.recipients r on r.message_id = m.id join notify.message_attachments a on a.message_id = m.id
        where m.id = :id
        """,
        id=old,
    )
    assert (bytes(headers), subject, address, file) == (b"", "Hi", "anna@example.com", "a.txt")
    assert clean(room.engine).counts == "nothing"


def test_a_message_without_a_body_is_not_sent_again(room: Newsroom, give: Callable[..., int]) -> None:
    """To send again what has no body any more is refused with the reason, and nothing is changed."""
    number = give()
    drain(room.engine)
    age(room.engine, 91)
    clean(room.engine)
    with room.engine.begin() as connection, pytest.raises(TransitionError, match="notify_keep_bodies"):
        outbox.resend(connection, number)
    assert room.rows("select status from notify.messages") == ["sent"]


@pytest.mark.usefixtures("notify")
def test_a_message_without_a_body_is_shown_as_such(
    room: Newsroom, give: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """`messages show` says that a body is gone, and only then."""
    number = give()
    drain(room.engine)
    gone = "No body any more (removed by Housekeeping, or erased)"
    assert cli.main(["messages", "show", str(number)]) == 0
    assert gone not in capsys.readouterr().out
    age(room.engine, 91)
    clean(room.engine)
    assert cli.main(["messages", "show", str(number)]) == 0
    assert gone in capsys.readouterr().out


def test_what_is_not_over_keeps_its_body(room: Newsroom, give: Callable[..., int]) -> None:
    """However old it is: what is queued, being sent, held or uncertain keeps body and row; what is final loses both."""
    states = dict.fromkeys(("queued", "sending", "held", "uncertain", "sent", "failed", "cancelled", "expired"), 0)
    for state in states:
        states[state] = give(guarantee="at_most_once")
        _force(room, states[state], state)
    age(room.engine, 4000)
    result = clean(room.engine)
    assert result.messages == 4
    assert bodies(room) == [states[name] for name in ("queued", "sending", "held", "uncertain")]


def _force(room: Newsroom, number: int, state: str) -> None:
    with room.engine.begin() as connection:
        connection.execute(sa.text("set local session_replication_role = replica"))
        connection.execute(
            sa.text("update notify.messages set status = :state, sent_at = now() where id = :id"),
            {"state": state, "id": number},
        )


def test_the_last_thing_that_happened_counts(room: Newsroom, give: Callable[..., int]) -> None:
    """A message that was released and sent yesterday is kept, though it was handed over years ago."""
    number = give()
    with room.engine.begin() as connection:
        outbox.hold(connection, number)
    age(room.engine, 4000)
    with room.engine.begin() as connection:
        outbox.release(connection, number)
    drain(room.engine)
    age(room.engine, 1)
    assert clean(room.engine).counts == "nothing"
    assert bodies(room) == [number]
    age(room.engine, 90)
    assert clean(room.engine).bodies == 1
    age(room.engine, 640)
    assert clean(room.engine).messages == 1


def test_a_shared_body_stays_until_the_last_one_is_done(room: Newsroom, give: Callable[..., int]) -> None:
    """Of messages that share a body, each lets go of it when it is over; it is gone with the last one."""
    first = give("anna@example.com; bob@example.com")
    with room.engine.begin() as connection:
        outbox.hold(connection, first)
    drain(room.engine)
    age(room.engine, 91)
    assert clean(room.engine).bodies == 1
    assert (bodies(room), size(room, "contents")) == ([first], {"contents": 1})
    with room.engine.begin() as connection:
        outbox.release(connection, first)
    drain(room.engine)
    age(room.engine, 91)
    assert clean(room.engine).bodies == 1
    assert (bodies(room), size(room, "contents")) == ([], {"contents": 0})


def test_what_is_put_aside_keeps_its_text(room: Newsroom) -> None:
    """A notification that waits, for however long, becomes the mail that it was."""
    room.publish("bob", word="remember", occurred_at=LONG_AGO)
    age(room.engine, 4000)
    assert clean(room.engine).put_off == 0
    room.merge()
    assert "remember" in room.mails("bob")[0].text
    assert room.balance().even


def test_texts_of_notifications_go_as_well(room: Newsroom) -> None:
    """What was put aside and became a digest leaves neither its text nor its line behind."""
    for word in ("one", "two"):
        room.publish("bob", word=word, occurred_at=LONG_AGO)
    room.merge()
    drain(room.engine)
    age(room.engine, 91)
    assert clean(room.engine).bodies == 1
    assert size(room, "contents") == {"contents": 0}
    assert room.rows("select summary, content_fields, home from notify.notifications") == [(None, None, "digest")] * 2
    assert room.balance().even


# --- Files -----------------------------------------------------------------------------------------------------------


def test_a_file_stays_while_a_message_needs_it(room: Newsroom, give: Callable[..., int]) -> None:
    """A file attached to an old message and to a new one is kept, and still arrives."""
    file = {"filename": "a.txt", "content": b"both"}
    give(attachments=[file])
    drain(room.engine)
    age(room.engine, 91)
    give(attachments=[file])
    assert clean(room.engine).files == 0
    assert [one.content for one in drain(room.engine)[0].attachments] == [b"both"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Object storage."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def stored(store: Path, hand_over_settings: HandOverSettings) -> HandOverSettings:
    """Settings with it."""
    return replace(hand_over_settings, attachment_store=f"file://{store}")


def test_a_file_in_object_storage(
    room: Newsroom, give: Callable[..., int], store: Path, stored: HandOverSettings
) -> None:
    """A file that no message needs is deleted from object storage, one that is needed is not."""
    give(attachments=[{"filename": "a.txt", "content": b"old"}], using=stored)
    drain(room.engine)
    age(room.engine, 91)
    give(attachments=[{"filename": "b.txt", "content": b"new"}], using=stored)
    assert clean(room.engine).files == 1
    assert [path.read_bytes() for path in store.iterdir()] == [b"new"]
    assert size(room, "attachments") == {"attachments": 1}


def test_a_doomed_file_that_is_attached_again(
    room: Newsroom, give: Callable[..., int], store: Path, stored: HandOverSettings
) -> None:
    """Who attaches a file while it is being removed uploads it anew: the message has it, and the next run leaves it."""
    file = {"filename": "a.txt", "content": b"again"}
    give(attachments=[file], using=stored)
    drain(room.engine)
    age(room.engine, 91)
    step = keeping.STEPS["bodies"]
    with room.engine.begin() as connection:  # the run is killed after this much
        step.sweep(connection, step.window(connection, 0, KEEP).keys, KEEP)
        attachments.drop_unused(connection, room.rows("select sha256 from notify.attachments"))
    for path in store.iterdir():
        path.unlink()
    give(attachments=[file], using=stored)
    assert clean(room.engine).files == 0
    assert [one.content for one in drain(room.engine)[0].attachments] == [b"again"]


def test_a_file_that_cannot_be_deleted(
    room: Newsroom, give: Callable[..., int], store: Path, stored: HandOverSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that storage does not delete stays known, with a warning; the next run tries again and ends well."""
    give(attachments=[{"filename": "a.txt", "content": b"old"}], using=stored)
    drain(room.engine)
    age(room.engine, 91)
    [path] = store.iterdir()
    path.unlink()
    path.mkdir()  # no file can be deleted there
    (path / "x").touch()
    result = clean(room.engine)
    assert (result.files, result.files_failed) == (0, 1)
    assert "could not be deleted" in caplog.text
    (path / "x").unlink()
    path.rmdir()
    path.write_bytes(b"old")
    result = clean(room.engine)
    assert (result.files, result.files_failed) == (1, 0)
    assert size(room, "attachments") == {"attachments": 0}


def test_a_file_that_is_being_attached(engine: Engine) -> None:
    """A file that is just being attached is not removed; who attaches one that is just removed stores it anew."""
    with engine.begin() as connection:
        digest = attachments.put(connection, b"file")
    with engine.begin() as producer, engine.begin() as cleaner:
        assert attachments.put(producer, b"file") == digest
        assert attachments.drop_unused(cleaner, [digest]) == 0
    waited = threading.Event()
    with engine.connect() as cleaner:
        assert attachments.drop_unused(cleaner, [digest]) == 1

        def attach() -> None:
            with engine.begin() as producer:
                attachments.put(producer, b"file")
            waited.set()

        thread = threading.Thread(target=attach)
        thread.start()
        _somebody_waits(engine)
        assert not waited.is_set()
        cleaner.commit()
        thread.join(30)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select content from notify.attachments")) == b"file"


def _somebody_waits(engine: Engine) -> None:
    with engine.connect() as connection:
        query = sa.text("""
            select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
        """)
        while not connection.scalar(query):
            connection.rollback()


# --- Rows ------------------------------------------------------------------------------------------------------------


def everything(room: Newsroom, give: Callable[..., int], chance: random.Random) -> None:
    """Things of every kind, done and open."""
    words = [f"w{number}" for number in range(12)]
    for word in words:
        at = datetime.now(UTC) - timedelta(hours=chance.randint(0, 90))
        told = chance.sample(["anna", "bob", "carl", "x@example.org"], chance.randint(1, 4))
        room.publish(told, word=word, case=chance.choice(["c1", "c2", "c3"]), occurred_at=at)
        if chance.random() < 0.3:
            room.merge()
        if chance.random() < 0.3:
            drain(room.engine)
    with room.engine.begin() as connection:
        case = {"id": chance.choice(["c1", "c4"]), "stage": "s", "owner": "anna"}
        set_deadline(case, "P1D", connection=connection, settings=room.settings)
        set_reminder("anna", case["id"], "P2D", connection=connection)
        suppressions.add(connection, f"{words[0]}@example.com", "full", timedelta(days=1))
        suppressions.add(connection, "gone@example.com", "asked", None)
    held = give("anna@example.com; bob@example.com", attachments=[{"filename": "a", "content": b"a"}])
    if chance.random() < 0.5:
        with room.engine.begin() as connection:
            outbox.hold(connection, held)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance, the same each time."""
    return random.Random(request.param)


@pytest.mark.parametrize("chance", range(8), indirect=True)
def test_the_balance_is_even_after_each_batch(
    room: Newsroom, give: Callable[..., int], chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small the batches, wherever a run is stopped: no sum is wrong, and nothing young or open is touched."""
    monkeypatch.setattr(keeping, "SIZE", 2)
    for _ in range(3):
        everything(room, give, chance)
        age(room.engine, chance.choice([100, 400, 731]))
    everything(room, give, chance)
    young = "created_at > now() - interval '95 days'"
    young_ones = " union all ".join(f"select id from notify.{table} where {young}" for table in ("messages", "events"))
    before = room.rows(young_ones)
    open_ = "select id from notify.messages where status in ('queued', 'held') order by id"
    waiting = room.rows(open_)
    batches = 0

    class Once(threading.Event):
        """Stops a run after its first batch."""

        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return True

    while (result := clean(room.engine, stop=Once())).stopped != "nothing more is due":
        batches += 1
        found = room.balance()
        assert found.even, found.wrong
        assert batches < 3_000, result
        if result.counts == "nothing" and clean(room.engine).counts == "nothing":
            break
    assert batches > 5
    assert room.balance().even
    assert room.rows(open_) == waiting
    assert room.rows(young_ones) == before


def test_in_the_end_nothing_is_left(room: Newsroom, give: Callable[..., int]) -> None:
    """What is over, and older than both times, leaves no row behind in any table; what people chose stays."""
    everything(room, give, random.Random(1))
    room.pass_time(2 * DAY)
    room.merge()
    room.do("update notify.messages set status = 'queued' where status = 'held'")
    drain(room.engine)
    with room.engine.begin() as connection:
        connection.execute(sa.text("update notify.deadline_steps set outcome = 'closed', settled_at = now()"))
        connection.execute(sa.text("update notify.deadlines set closed_at = now(), closed_reason = 'cleared'"))
    age(room.engine, 731)
    result = clean(room.engine)
    gone = (
        "events", "notifications", "deferred", "messages", "recipients", "attempts", "message_events", "contents",
        "attachments", "message_attachments", "deadlines", "deadline_steps", "cases", "drains",
    )  # fmt: skip
    assert size(room, *gone) == dict.fromkeys(gone, 0)
    assert min(result.events, result.messages, result.deadlines, result.cases, result.drains, result.suppressions) > 0
    assert room.rows("select address from notify.suppressions") == ["gone@example.com"]
    assert size(room, "people", "preferences") == {"people": 3, "preferences": 2}
    assert room.balance().even


def test_an_attempt_of_the_last_hour_is_kept(room: Newsroom, give: Callable[..., int]) -> None:
    """A message stays while one of its attempts may count against the hourly limit, however old all else is."""
    give()
    drain(room.engine)
    age(room.engine, 4000)
    room.do("update notify.attempts set ended_at = now() - interval '59 minutes'")
    assert clean(room.engine).messages == 0
    room.do("update notify.attempts set ended_at = now() - interval '3 hours'")
    assert clean(room.engine).messages == 1


def test_a_digest_may_outlive_one_of_its_events(room: Newsroom) -> None:
    """Of a digest's two events one goes, and the other, which is told to somebody else as well, stays: still even."""
    room.publish("bob", occurred_at=LONG_AGO)
    second = room.publish("bob; x@example.org", occurred_at=LONG_AGO)
    room.merge()
    with room.engine.begin() as connection:
        outbox.hold(connection, room.rows("select min(id) from notify.messages")[0])
    drain(room.engine)
    age(room.engine, 731)
    assert clean(room.engine).events == 1
    assert room.rows("select id from notify.events") == [second.event_id]
    assert room.rows("select home from notify.notifications order by id") == ["digest", "mail"]
    assert room.balance().even, room.balance().wrong


def test_an_event_with_many_recipients_goes_in_parts(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event for more people than a batch may remove loses a batch of them at a time."""
    monkeypatch.setattr(keeping, "SIZE", 3)
    room.publish([f"p{number}@example.org" for number in range(8)])
    drain(room.engine)
    age(room.engine, 731)
    step = keeping.STEPS["events"]
    left = []
    more = True
    while more:
        with room.engine.begin() as connection:
            _, more = step.sweep(connection, [room.published[0]], KEEP)
        left.append(room.rows("select recipients from notify.events"))
        assert room.balance().even
    assert left == [[5], [2], []]


# --- Others ----------------------------------------------------------------------------------------------------------


def test_nobody_waits_for_a_batch(
    room: Newsroom, give: Callable[..., int], hand_over_settings: HandOverSettings
) -> None:
    """While each kind of batch is under way, others hand over, publish, merge and send without waiting for any lock."""
    impatient = sa.create_engine(room.engine.url, connect_args={"options": "-c lock_timeout=1 -c timezone=UTC"})
    theirs = Newsroom(impatient, room.settings)
    everything(room, give, random.Random(2))
    drain(room.engine)
    age(room.engine, 731)
    give(attachments=[{"filename": "b", "content": b"b"}])
    swept = 0
    for step in keeping.STEPS.values():
        with room.engine.connect() as busy:
            counts, _ = step.sweep(busy, step.window(busy, step.first, KEEP).keys, KEEP)
            swept += counts.total()
            with impatient.begin() as connection:
                attached = {"attachments": [{"filename": "n", "content": b"n"}]}
                hand_over(
                    connection, {"recipient": "anna", "subject": "s", "message": "m"} | attached, hand_over_settings
                )
            theirs.publish("anna; bob", case="c9", occurred_at=LONG_AGO)
            theirs.merge()
            assert drain(impatient)
            busy.commit()
    assert swept > 30
    impatient.dispose()
    assert room.balance().even


def test_what_others_use_is_passed_by(room: Newsroom, give: Callable[..., int]) -> None:
    """A message that a person is just sending again, and an event that somebody has locked, are left to them."""
    number = give()
    room.publish("x@example.org")
    drain(room.engine)
    age(room.engine, 731)
    with room.engine.begin() as connection:
        outbox.resend(connection, number)
        connection.execute(sa.text("select from notify.events for update"))
        result = clean(room.engine)
        assert (result.events, result.messages, result.bodies, result.put_off) == (0, 0, 1, 0)
    assert bodies(room) == [number]
    drain(room.engine)


def test_what_would_have_to_be_waited_for_is_put_off(room: Newsroom) -> None:
    """Where a batch would wait for somebody, it gives up after a moment, and removes all but what they have."""
    for _ in range(3):
        room.publish("x@example.org")
    drain(room.engine)
    age(room.engine, 731)
    with room.engine.begin() as connection:
        # As a report of the mailbox has it: a message's recipients are locked, and the message is not.
        connection.execute(sa.text("select from notify.notifications where event_id = 2 for update"))
        result = clean(room.engine)
    assert (result.put_off, result.events, result.messages) == (1, 2, 2)
    assert room.balance().even
    assert clean(room.engine).events == 1


def test_what_refers_to_a_body_unknown_to_us(room: Newsroom, give: Callable[..., int]) -> None:
    """A body that something else refers to is put off; those beside it go."""
    give()
    other = give(message="Other")
    drain(room.engine)
    room.do("create table notify.later (content_id bigint references notify.contents)")
    room.do("insert into notify.later select content_id from notify.messages where id = :id", id=other)
    age(room.engine, 91)
    result = clean(room.engine)
    assert (result.bodies, result.put_off) == (1, 1)
    assert bodies(room) == [other]


def test_stopped(room: Newsroom, give: Callable[..., int]) -> None:
    """A run that is stopped, or whose time is spent, ends between two batches and says so; the next one goes on."""
    give()
    drain(room.engine)
    age(room.engine, 91)
    stop = threading.Event()
    stop.set()
    assert "politely" in clean(room.engine, stop=stop).stopped
    assert "budget" in clean(room.engine, budget=timedelta(0)).stopped
    assert bodies(room)
    assert clean(room.engine).summary.startswith("removed 1 bodies; nothing more is due; ")


@pytest.mark.usefixtures("notify_db")
def test_the_task(
    room: Newsroom, give: Callable[..., int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The task reads the times from the Variables, and its XCom and log tell what it removed."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KEEP_BODIES", "P2D")
    give()
    drain(room.engine)
    age(room.engine, 3)
    task = HousekeepingOperator(task_id="Housekeeping")
    with caplog.at_level("INFO"):
        answer = task.execute({})
    assert (answer["bodies"], answer["messages"], answer["stopped"]) == (1, 0, "nothing more is due")
    assert "removed 1 bodies; nothing more is due" in caplog.text
    task.on_kill()
    assert "politely" in task.execute({})["stopped"]
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KEEP_ROWS", "forever")
    with pytest.raises(ConfigurationError, match="notify_keep_rows"):
        task.execute({})


@pytest.mark.usefixtures("notify_db")
def test_a_copy_removes_nothing(  # noqa: PLR0917 - pytest passes them by name
    room: Newsroom,
    give: Callable[..., int],
    store: Path,
    stored: HandOverSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a restored copy the task is red and removes nothing: its object storage may be the original's."""
    give(attachments=[{"filename": "a.txt", "content": b"theirs"}], using=stored)
    drain(room.engine)
    age(room.engine, 91)
    with room.engine.connect() as connection:
        ahead = Mark(identity.read(connection).id, 7)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(ahead))
    task = HousekeepingOperator(task_id="Housekeeping")
    with pytest.raises(RestoredCopy, match="gone back in time"):
        task.execute({})
    assert "python -m notify db confirm" in caplog.text
    assert [path.read_bytes() for path in store.iterdir()] == [b"theirs"]
    assert bodies(room)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", "")
    assert task.execute({})["files"] == 1


# --- Plans -----------------------------------------------------------------------------------------------------------


#: What the register of these tests lacks: a history, and runs that each sent some.
PAST = """
    update notify.attempts a set drain_id = d.id
    from (select id, row_number() over () as number from notify.drains) d where a.id % 2001 = d.number - 1;
    insert into notify.message_events (message_id, at, from_status, to_status, attempt)
    select id, created_at, 'sending', 'sent', 1 from notify.messages where status = 'sent'
"""


def test_no_batch_reads_a_table_from_its_beginning(connection: Connection, engine: Engine) -> None:
    """No query of a run reads a long table from its beginning, also not one that finds nothing to remove."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
        filling.connection.driver_connection.execute(EVENTS)  # type: ignore[union-attr]
    with engine.begin() as aging:
        aging.execute(sa.text("set local session_replication_role = replica"))
        aging.execute(sa.text("update notify.messages set created_at = created_at - interval '3 years'"))
        aging.connection.driver_connection.execute(PAST)  # type: ignore[union-attr]
    with engine.connect() as once:
        once.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text("vacuum analyze"))
    plans = Plans(engine, connection)
    for step in keeping.STEPS.values():
        with engine.connect() as asked:
            set_actor(asked, "test")
            window = step.window(asked, step.first, KEEP)
            step.sweep(asked, window.keys or [step.first], KEEP)
            asked.rollback()
    assert len(plans.found) > 15
    slow = plans.reads(
        ["messages", "contents", "recipients", "attempts", "events", "notifications", "drains", "message_events"]
    )
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


@pytest.fixture(autouse=True)
def _dispose(engine: Engine) -> Iterator[None]:
    yield
    engine.dispose()
