"""Campaigns while several are at them at the same time, and what is left of one state in the next."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify.campaigns import attaching, following, generating, steering
from notify.campaigns.generating import Generating
from notify.channels.memory import MemoryChannel
from notify.domain.campaign import CampaignStatus, Row
from notify.domain.message import Attachment
from notify.domain.outcome import Outcome
from notify.domain.parcel import Parcel
from notify.domain.person import Person
from notify.exceptions import InvalidCampaign, UnusableSource
from notify.settings import HandOverSettings
from notify.storage import campaigns, identity, people
from tests.mailing import Mailing, csv_of


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns."""
    return Mailing(engine, hand_over_settings)


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_for_a_lock(mailing: Mailing) -> None:
    """Until somebody waits for what another one has locked."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while mailing.rows(query) == [(0,)]:
        pass


def test_made_anew_while_a_person_has_one_in_hand(mailing: Mailing) -> None:
    """A message that a person has locked when a changed campaign is made anew is not left behind beside the new one."""
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    mailing.edit(number, subject="Other")
    with mailing.engine.begin() as connection:
        steering.generate(connection, number)
    with mailing.engine.begin() as person:
        person.execute(sa.text("select from notify.messages order by id limit 1 for update"))
        making = in_a_thread(Generating(mailing.engine, mailing.settings).run)
        wait_for_a_lock(mailing)
    making.join()
    mailing.tell("send", number)
    channel = MemoryChannel()
    mailing.drain(channel)
    assert sorted((mail.to[0], mail.subject) for mail in channel.outbox) == [
        (f"r{one}@example.com", "Other") for one in (1, 2, 3)
    ]


def test_taken_for_dead(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another one has taken for dead stops at its next stretch, whether or not that one is at the end."""
    number = mailing.write(csv=csv_of(4))
    other = Generating(mailing.engine, mailing.settings, stretch=2, silence=timedelta(0))
    taken, rows_of = threading.Event(), generating.rows_of

    def slow_rows(*arguments: Any) -> Iterator[Row]:
        for position, row in enumerate(rows_of(*arguments)):
            if position == 2 and not taken.is_set():
                taken.set()
                other.run()
            elif position == 2 and arguments[1].number_of_pass == 2:
                other.stop.set()  # after its first stretch
            yield row

    monkeypatch.setattr(generating, "rows_of", slow_rows)
    with mailing.engine.begin() as connection:
        steering.generate(connection, number)
    lost, last = Generating(mailing.engine, mailing.settings, stretch=1).run()
    assert (lost.status, lost.created) == ("taken over or cancelled", 2)
    assert (last.created, last.kept, mailing.read(number).rows_read) == (2, 2, 4)


def test_cancelled_while_it_fails(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that was cancelled before its recipients proved unreadable is cancelled, and no run tells a fault."""
    number = mailing.write(csv=csv_of(1))

    def unreadable(*_arguments: Any) -> Iterator[Row]:
        with mailing.engine.begin() as person:
            steering.cancel(person, number)
        raise UnusableSource("Nobody can read this.")
        yield

    monkeypatch.setattr(generating, "rows_of", unreadable)
    result = mailing.generate(number)
    assert (result.status, result.fault) == ("taken over or cancelled", None)
    assert mailing.read(number).status is CampaignStatus.CANCELLED


def test_a_slow_source(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that waits long for its first recipient is heard of meanwhile, and is not taken for dead."""
    number = mailing.write(csv=csv_of(2))
    rows_of = generating.rows_of

    def slow_rows(*arguments: Any) -> Iterator[Row]:
        query = "select generating_at > (select max(at) from begun) from notify.campaigns"
        mailing.do("create table begun as select clock_timestamp() as at")
        deadline = time.monotonic() + 60
        while mailing.rows(query) == [(False,)]:
            assert time.monotonic() < deadline, "nothing is heard of it"
            time.sleep(0.05)
        yield from rows_of(*arguments)

    monkeypatch.setattr(generating, "rows_of", slow_rows)
    with mailing.engine.begin() as connection:
        steering.generate(connection, number)
    [result] = Generating(mailing.engine, mailing.settings, silence=timedelta(seconds=5)).run()
    assert result.status == "generated"


def test_resumed_at_once(mailing: Mailing) -> None:
    """What was sent for a time to come, then paused, and goes on at once does not wait for the time before."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    mailing.tell("send", number, send_after=datetime.now(UTC) + timedelta(days=1))
    mailing.tell("pause", number)
    mailing.tell("resume", number)
    channel = MemoryChannel()
    mailing.drain(channel)
    assert len(channel.outbox) == 2


class Interrupting(MemoryChannel):
    """One session; something happens while it sends its first message."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__(max_connections=1)
        self._then: Callable[[], object] | None = then

    def deliver(self, parcel: Parcel) -> tuple[Outcome, bool]:
        then, self._then = self._then, None
        if then:
            then()
        return super().deliver(parcel)


@pytest.mark.parametrize(("word", "states"), [("pause", {"held": 4}), ("cancel", {"cancelled": 4})])
def test_told_while_reserved(mailing: Mailing, word: str, states: dict[str, int]) -> None:
    """What a run has reserved of a campaign and not begun when that is paused or cancelled does not leave."""
    number, other = mailing.write(csv=csv_of(5)), mailing.write(csv=csv_of(1, first=9))
    for one in (number, other):
        mailing.generate(one)
        mailing.tell("send", one)

    def tell() -> None:
        with mailing.engine.begin() as connection:
            getattr(steering, word)(connection, number)

    channel = Interrupting(tell)
    result = mailing.drain(channel)
    assert sorted(mail.to[0] for mail in channel.outbox) == ["r1@example.com", "r9@example.com"]
    assert result.stopped == "nothing more is due"
    assert mailing.rows("select count(*) from notify.attempts") == [(2,)]
    followed = mailing.follow(number)
    assert (followed.settled, mailing.progress(number).states) == (True, {"sent": 1} | states)
    if word == "pause":
        mailing.tell("resume", number)
        mailing.drain(channel)
        assert len({mail.to[0] for mail in channel.outbox}) == len(channel.outbox) == 6


def test_a_back_off_outlives_a_pause(mailing: Mailing) -> None:
    """What a server has refused for now is not tried at once because its campaign goes on."""
    number = mailing.write(csv=csv_of(1))
    mailing.generate(number)
    mailing.tell("send", number)
    mailing.do("update notify.messages set attempts = 1, not_before = now() + interval '1 hour'")
    mailing.tell("pause", number)
    mailing.tell("resume", number)
    assert mailing.rows("select not_before > now() + interval '50 minutes' from notify.messages") == [(True,)]


def test_who_is_no_longer_among_them_counts_no_more(mailing: Mailing) -> None:
    """Who got nothing and is not among the recipients any more is not counted as left out when it is made again."""
    mailing.do("insert into notify.suppressions (address, reason) values ('r1@example.com', 'bounced')")
    number = mailing.write(csv=f"{csv_of(3)}\nnobody,Nobody")
    mailing.generate(number)
    assert mailing.progress(number).left_out == {"suppressed": 1, "invalid": 1}
    mailing.do("delete from notify.suppressions")
    mailing.do("delete from notify.campaign_rows where recipient = 'nobody'")
    mailing.generate(number)
    progress = mailing.progress(number)
    assert (progress.left_out, progress.states) == ({}, {"held": 3})


def test_deleted_while_others_are_followed(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign that is deleted after a run has begun does not keep the run from the others."""
    gone, other = mailing.write(csv=csv_of(1)), mailing.write(csv=csv_of(1))
    with mailing.engine.begin() as connection:
        steering.cancel(connection, gone)
    mailing.generate(other)
    with mailing.engine.begin() as connection:
        steering.send(connection, other)
    found = campaigns.under_way

    def found_and_deleted(connection: sa.Connection) -> list[int]:
        numbers = found(connection)
        with mailing.engine.begin() as person:
            steering.delete(person, gone)
        return numbers

    monkeypatch.setattr(campaigns, "under_way", found_and_deleted)
    assert following.follow_all(mailing.engine)[other].moved == 1


def test_an_unusable_person(mailing: Mailing) -> None:
    """A person of whom nothing usable is stored leaves the campaign a draft that says who it is, and breaks no run."""
    mailing.do("insert into notify.people (login, name, email, timezone) values ('anna', 'Anna', 'a@b.c', 'Nowhere')")
    number = mailing.write(csv=f"{csv_of(1)}\nanna,Anna")
    assert mailing.generate(number).status == "draft"
    assert "anna" in (mailing.read(number).fault or "")


def test_a_member_called_as_a_group(mailing: Mailing) -> None:
    """Who is in a group gets it, also where their login is the name of a group too."""
    sales = Person(login="sales", name="Sales", email="sales@example.com", groups=["crew", "sales"])
    with mailing.engine.begin() as connection:
        people.save(connection, [sales, Person(login="bob", email="bob@example.com", groups=["sales"])])
    number = mailing.write(groups="crew; sales", subject="Hello", message="Come and see.")
    result = mailing.generate(number)
    assert (result.created, result.doubled, result.left_out) == (2, 1, {})


def test_remarks_of_an_old_one(mailing: Mailing) -> None:
    """A note can be written to a campaign whose sender is gone by now."""
    number = mailing.write(csv=csv_of(1), sender="smtp_second")
    mailing.settings = replace(mailing.settings, senders=("smtp_default",))
    assert mailing.edit(number, note="Liked").note == "Liked"
    with pytest.raises(InvalidCampaign, match="sender"):
        mailing.edit(number, subject="Other")


def test_paused_while_its_files_are_fetched(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who pauses a campaign does not wait for the server that its files are fetched from."""
    number = mailing.write(csv=csv_of(1), attachments=[{"filename": "a.txt", "content": "a"}])
    mailing.generate(number)
    mailing.tell("send", number)
    fetch = attaching.fetch

    def fetch_and_pause(*arguments: Any) -> Any:
        with mailing.engine.begin() as person:
            person.execute(sa.text("set local lock_timeout = '5s'"))
            steering.pause(person, number)
        return fetch(*arguments)

    monkeypatch.setattr(attaching, "fetch", fetch_and_pause)
    with mailing.engine.begin() as connection:
        other = [Attachment(filename="b.txt", content="bb")]
        assert attaching.refresh(connection, number, mailing.settings, other).messages == 1
    assert mailing.read(number).status is CampaignStatus.PAUSED


def test_refreshed_while_reserved(mailing: Mailing) -> None:
    """What a run has reserved and not begun when the files of its campaign are refreshed leaves with the new ones."""
    number = mailing.write(csv=csv_of(5), attachments=[{"filename": "a.txt", "content": "a"}])
    mailing.generate(number)
    mailing.tell("send", number)

    def refresh() -> None:
        with mailing.engine.begin() as connection:
            other = [Attachment(filename="b.txt", content="bb")]
            assert attaching.refresh(connection, number, mailing.settings, other).messages == 4

    channel = Interrupting(refresh)
    mailing.drain(channel)
    assert [[file.filename for file in mail.attachments] for mail in channel.outbox] == [["a.txt"], *[["b.txt"]] * 4]
    shown = "select filename, count(*), count(distinct m.size) from notify.message_attachments a "
    shown += "join notify.messages m on m.id = a.message_id group by filename order by filename"
    assert mailing.rows(shown) == [("a.txt", 1, 1), ("b.txt", 4, 1)]


@pytest.mark.parametrize("hold", [True, False], ids=["all", "at_most_once"])
def test_a_restored_copy(mailing: Mailing, hold: bool) -> None:
    """Of a campaign that was being sent nothing leaves a restored copy by itself: the original may have sent it."""
    often, once = (mailing.write(csv=csv_of(3), guarantee=one) for one in ("at_least_once", "at_most_once"))
    for number in (often, once):
        mailing.generate(number)
        with mailing.engine.begin() as connection:
            steering.send(connection, number)
    waiting = mailing.write(csv=csv_of(3))
    with mailing.engine.begin() as connection:
        steering.generate(connection, waiting, send=True)
    with mailing.engine.begin() as connection:
        leaving = identity.pending(connection).leaving
        assert [(one.guarantee, one.size) for one in leaving] == [("at_least_once", 3), ("at_most_once", 3)]
        identity.confirm(connection, None, hold=hold)
    Generating(mailing.engine, mailing.settings).run()
    following.follow_all(mailing.engine)
    channel = MemoryChannel()
    mailing.drain(channel)
    assert len(channel.outbox) == (0 if hold else 3)
    assert mailing.progress(once).states == {"held": 3}
    assert mailing.read(waiting).status is CampaignStatus.GENERATED


# --- What no database takes ------------------------------------------------------------------------------------------


def fields_with(bad: Any) -> dict[str, dict[str, Any]]:
    """A campaign for each field, which has it there."""
    names = ("description", "subject", "message", "language", "sender", "site", "reply_to", "note", "classification")
    query = {"query": "select 1", "query_connection": "source"}
    return {
        **{name: {name: bad} for name in (*names, "recipients", "groups")},
        "template": {"template": bad, "subject": None, "message": None},
        "csv": {"csv": f"email,{bad}\nr1@example.com,x"},
        "query": {**query, "query": bad},
        "query_connection": {**query, "query_connection": bad},
        "data": {"data": {"x": [{"y": bad}]}},
    }


def test_what_cannot_be_stored(mailing: Mailing) -> None:
    """What PostgreSQL cannot store is refused by its field, at any field, and never fails in the database."""
    mailing.settings = replace(mailing.settings, campaign_connections=frozenset({"source"}))
    cases = [case for bad in ("a\x00b", "a\ud800b") for case in fields_with(bad).items()]
    cases += [("data", {"data": {bad: 1}}) for bad in ("a\x00b", "a\ud800b")]
    cases += [("data", {"data": {"x": bad}}) for bad in (float("nan"), float("inf"), object())]
    for name, fields in cases:
        with pytest.raises(InvalidCampaign) as error:
            mailing.write(**fields)
        assert name in {re.split(r"[.\[]", fault.field)[0] for fault in error.value.faults}, fields
