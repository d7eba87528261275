"""The merge on a real PostgreSQL: what is put aside finds its one home, whatever changes meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL, Connection, Engine

from dev.postgres import Postgres
from notify.domain.kind import read_kinds
from notify.domain.preference import Preference
from notify.exceptions import MergeFailed, SchemaMissing
from notify.merge import Merger, MergeResult
from notify.settings import HandOverSettings
from notify.storage import deferred, preferences, suppressions
from notify.storage.engine import normal_url
from notify.storage.outbox import Origin
from tests.newsroom import LONG_AGO, Newsroom, settings_of, with_sms, write_templates

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

#: Nobody's digest can be made of this.
BROKEN = "{{ digest.nothing_of_that_name }}"


@pytest.fixture
def settings(tmp_path: Path) -> HandOverSettings:
    """Settings with kinds and templates of our own."""
    return settings_of(write_templates(tmp_path / "templates"))


@pytest.fixture
def room(engine: Engine, settings: HandOverSettings) -> Newsroom:
    """Anna, Bob and Carl, who hear of everything once a day."""
    found = Newsroom(engine, settings)
    found.hire("anna", "bob", "carl", groups=["team"])
    for login in ("anna", "bob", "carl"):
        found.choose(login, "daily")
    return found


def numbers(result: MergeResult) -> dict[str, int]:
    """What a run says of itself, but for zeros, words and times."""
    return {
        name: value for name in MergeResult.__slots__ if (value := getattr(result, name)) and isinstance(value, int)
    }


# --- What is due moves -----------------------------------------------------------------------------------------------


def test_due_ones_move(room: Newsroom) -> None:
    """What is due moves and the rest waits; a second run moves nothing more."""
    room.publish("anna", word="old", occurred_at=LONG_AGO)
    room.publish("anna", word="new")
    room.publish("bob", word="newer")
    result = room.merge()
    assert numbers(result) == {"people": 1, "moved": 1, "waiting": 2}
    assert room.homes_of("anna") == ["mail", "waiting"]
    assert room.homes_of("bob") == ["waiting"]
    [due] = set(room.rows("select due_at from notify.deferred"))
    assert result.next_at == due.isoformat(timespec="seconds")
    assert numbers(room.merge()) == {"waiting": 2}
    room.pass_time(DAY)
    assert numbers(room.merge()) == {"people": 2, "moved": 2}
    assert len(room.mails()) == 3
    assert room.balance().even


def test_nothing_due(room: Newsroom) -> None:
    """A run without anything to do does nothing and says so."""
    result = room.merge()
    assert numbers(result) == {}
    assert result.summary.startswith("0 people, 0 moved as they are, 0 in 0 digests, 0 waiting; nothing more is due; 0")


def test_only_one_is_moved_as_it_is(room: Newsroom) -> None:
    """A person's only notification leaves as the mail made at the event, whatever became of template and case since."""
    room.hire("anna", language="pl")
    case = {"id": "7", "title": "Seven"}
    room.publish("anna", word="first", case=case, occurred_at=LONG_AGO)
    before = room.rows("select n.subject, n.content_fields, c.body from notify.notifications n "
                       "join notify.contents c on c.id = n.content_id")  # fmt: skip
    for file in ("subject.txt.j2", "body.txt.j2", "summary.txt.j2"):
        (room.settings.templates / "news/pl" / file).write_text("something else")
    room.publish("bob", "alarm", case={"id": "7", "title": "Eight", "stage": "Closed"})
    room.hire("anna", language="en", name="Anna Nowak")
    room.merge()
    [mail] = room.mails("anna")
    assert (mail.kind, mail.language, mail.subject) == ("news", "pl", "[7] Wieści: first")
    [(subject, fields, body)] = before
    assert (mail.subject, mail.body) == (subject, body)
    assert fields in mail.headers
    assert mail.text.strip() == "Mówi first."
    assert mail.parsed["To"] == "Anna Nowak <anna@example.com>"
    assert room.rows("select m.case_id, m.size from notify.messages m join notify.contents c on c.id = m.content_id "
                     "where m.kind = 'news'") == [("7", len(mail.headers) + len(body))]  # fmt: skip


def test_more_become_one_digest(room: Newsroom) -> None:
    """Two or more of a person become one digest in their language, with all of them, by case, oldest first."""
    room.hire("anna", language="pl")
    for hours, word, case in ((3, "c", "7"), (1, "a", "7"), (2, "b", None), (4, "d", {"id": "8", "title": "Eight"})):
        room.publish("anna; bob", word=word, case=case, occurred_at=LONG_AGO + hours * HOUR)
    result = room.merge()
    assert numbers(result) == {"people": 2, "digests": 2, "in_digests": 8}
    anna, bob = room.mails()
    assert (anna.kind, anna.language, anna.subject, anna.to) == ("digest", "pl", "Zestawienie: 4", "anna@example.com")
    assert (bob.language, bob.subject) == ("en", "Digest of 4")
    assert anna.text.splitlines()[:7] == ["# Eight", "* d", "# 7", "* a", "* c", "# -", "* b"]
    assert anna.text == bob.text
    assert room.homes_of("anna") == ["digest"] * 4
    assert set(room.rows("select message_id from notify.notifications where login = 'anna'")) == {anna.id}
    assert room.balance().even


def test_kinds_together(room: Newsroom) -> None:
    """Notifications of several kinds are one digest; a digest about one case has its id, another none."""
    room.publish("anna; bob", "news", word="n", case="7", occurred_at=LONG_AGO)
    room.publish("anna; bob", "chores", word="c", case="7", occurred_at=LONG_AGO)
    room.publish("bob", "letter", word="l", case="8", occurred_at=LONG_AGO)
    room.merge()
    assert [mail.entries for mail in room.mails()] == [["n", "Chore: c"], ["n", "Chore: c", "For Bob"]]
    assert room.rows("select case_id from notify.messages order by id") == ["7", None]


def test_large_digest(room: Newsroom) -> None:
    """A digest of 500 is one mail: it shows some of each case and counts the rest; none is lost."""
    for number in range(500):
        room.publish("anna", word=f"w{number}", case=str(number % 5), occurred_at=LONG_AGO)
    assert numbers(room.merge()) == {"people": 1, "digests": 1, "in_digests": 500}
    [mail] = room.mails()
    assert (len(mail.entries), mail.text.count("+ 90")) == (50, 5)
    assert room.balance().even


@pytest.mark.parametrize("zone", [None, "Pacific/Auckland", "America/New_York"])
def test_zone_of_the_reader(room: Newsroom, zone: str | None) -> None:
    """A digest tells moments by the clock on the reader's wall."""
    room.hire("anna", timezone=zone)
    body = "{% for s in digest.sections %}{% for e in s.entries %}{{ e.occurred_at | time }} {% endfor %}{% endfor %}"
    (room.settings.templates / "digest/en/body.txt.j2").write_text(body)
    for hour in (10, 11):
        room.publish("anna", occurred_at=datetime(2026, 7, 1, hour, tzinfo=UTC))
    room.merge()
    shown = {None: "10:00 AM 11:00 AM", "Pacific/Auckland": "10:00 PM 11:00 PM", "America/New_York": "6:00 AM 7:00 AM"}
    assert " ".join(room.mails()[0].text.split()) == shown[zone]


def test_the_register_knows_the_task(room: Newsroom) -> None:
    """A message that a merge made is ascribed to its task."""
    room.publish("anna", occurred_at=LONG_AGO)
    room.merge(origin=Origin("UserNotifications", "run_1", "merge", -1))
    assert room.rows("select origin_dag_id, origin_run_id, origin_task_id from notify.messages") == [
        ("UserNotifications", "run_1", "merge")
    ]


def test_database_without_tables(empty_database: URL, settings: HandOverSettings) -> None:
    """A database that is not ready is refused with the command that makes it so."""
    engine = sa.create_engine(empty_database)
    with pytest.raises(SchemaMissing):
        Merger(engine, settings).run()
    engine.dispose()


# --- What changes while it waits -------------------------------------------------------------------------------------


def test_new_address(room: Newsroom) -> None:
    """An address that changed while something waits is the one that it goes to, as a mail and as a digest."""
    room.publish("anna", occurred_at=LONG_AGO)
    room.publish("bob", occurred_at=LONG_AGO)
    room.publish("bob", occurred_at=LONG_AGO)
    room.hire("anna", email="Anna@new.example.com")
    room.hire("bob", email="bob@new.example.com")
    room.merge()
    assert [(mail.login, mail.to) for mail in room.mails()] == [
        ("anna", "Anna@new.example.com"),
        ("bob", "bob@new.example.com"),
    ]
    assert set(room.rows("select address from notify.notifications")) == {"Anna@new.example.com", "bob@new.example.com"}
    assert room.balance().even


def test_a_change_is_looked_at_by_the_next_run(room: Newsroom) -> None:
    """Daily, then immediately or never in the middle of the window: one home each, at the run after the change."""
    room.publish("team", word="a")
    assert numbers(room.merge()) == {"waiting": 3}
    room.choose("anna", "immediately")
    room.choose("bob", "never")
    room.choose("carl", "hourly")
    result = room.merge()
    assert numbers(result) == {"people": 3, "moved": 1, "closed": 1, "kept": 1, "waiting": 1}
    assert result.reasons == {"never": 1}
    assert room.homes() == {"anna": "mail", "bob": "never", "carl": "waiting"}
    room.choose("carl", "never")
    room.choose("carl", "daily")
    assert numbers(room.merge()) == {"people": 1, "kept": 1, "waiting": 1}
    room.pass_time(DAY)
    room.choose("anna", "daily")
    assert numbers(room.merge()) == {"people": 1, "moved": 1}
    assert room.homes() == {"anna": "mail", "bob": "never", "carl": "mail"}
    assert room.balance().even


@pytest.mark.parametrize("frequency", ["hourly", "daily", "weekly"])
def test_what_waits_keeps_its_time(room: Newsroom, frequency: str) -> None:
    """Another hour, day or frequency counts from then on: what waits is due when it was."""
    room.publish("anna")
    before = room.rows("select due_at, look_at from notify.deferred")
    room.choose("anna", frequency, hour="03:00", weekday="friday")
    room.merge()
    assert room.rows("select due_at, look_at from notify.deferred") == before


def test_preference_taken_back(room: Newsroom) -> None:
    """Who takes back what they said hears as everybody does: what waits moves."""
    room.publish("anna")
    with room.engine.begin() as connection:
        preferences.clear(connection, "anna", "*")
    assert numbers(room.merge()) == {"people": 1, "moved": 1}


def test_immediately_in_quiet_hours(room: Newsroom) -> None:
    """Who chooses immediately in quiet hours gets what waits when they are over, if it was not due before."""
    wall = datetime.now(UTC).replace(second=0, microsecond=0)
    over = wall + HOUR + timedelta(minutes=1)
    room.choose("anna", "weekly", hour=(wall - 2 * HOUR).time(), weekday=wall.isoweekday())
    room.publish("anna")
    room.choose("anna", "immediately", quiet_from=(wall - HOUR).time(), quiet_until=over.time())
    assert numbers(room.merge()) == {"people": 1, "kept": 1, "waiting": 1}
    assert room.rows("select due_at, look_at from notify.deferred") == [(over, over)]
    room.pass_time(2 * HOUR)
    assert numbers(room.merge()) == {"people": 1, "moved": 1}


@pytest.mark.parametrize("kinds", [["news"], ["news", "chores"]], ids=["as it is", "digest"])
def test_late_run_in_quiet_hours(room: Newsroom, kinds: list[str]) -> None:
    """What a late run moves within quiet hours leaves when they are over; what others have, at once."""
    wall = datetime.now(UTC).replace(second=0, microsecond=0)
    over = wall + HOUR + timedelta(minutes=1)
    room.choose("anna", "daily", "news", quiet_from=(wall - HOUR).time(), quiet_until=over.time())
    for kind in kinds:
        room.publish("anna; bob", kind, occurred_at=LONG_AGO)
    assert (room.merge().waiting, room.merge().people) == (0, 0)
    leaves = """select case when m.not_before > now() then m.not_before end
                from notify.messages m join notify.recipients r on r.message_id = m.id where r.login = :l"""
    assert (room.rows(leaves, l="anna"), room.rows(leaves, l="bob")) == ([over], [None])
    assert room.balance().even


@pytest.mark.parametrize("due", [True, False])
def test_deactivated(room: Newsroom, *, due: bool) -> None:
    """What waits for somebody no longer active is closed with that reason, due or not; coming back undoes nothing."""
    room.publish("anna", occurred_at=LONG_AGO if due else None)
    room.hire("anna", active=False)
    assert room.merge().reasons == {"inactive": 1}
    room.hire("anna", active=True)
    assert numbers(room.merge()) == {}
    assert room.homes() == {"anna": "inactive"}
    assert room.mails() == []
    assert room.balance().even


def test_address_lost(room: Newsroom) -> None:
    """Without an address by now, or with one that is suppressed by now, what waits is closed with that reason."""
    room.publish("team; anna", occurred_at=LONG_AGO)
    room.hire("anna", email=None)
    with room.engine.begin() as connection:
        suppressions.add(connection, "bob@example.com", "bounced", None)
        suppressions.add(connection, "carl@example.com", "full", DAY)
    room.do("update notify.suppressions set expires_at = now() where address = 'carl@example.com'")
    result = room.merge()
    assert result.reasons == {"no_address": 1, "suppressed": 1}
    assert room.homes() == {"anna": "no_address", "bob": "suppressed", "carl": "mail"}
    assert room.balance().even


def test_kind_no_longer_registered(room: Newsroom) -> None:
    """What waits of a kind that is no longer registered goes its way, by what its person says of all kinds."""
    room.publish("team", occurred_at=LONG_AGO)
    room.choose("bob", "never")
    room.choose("carl", None, quiet_from="01:00", quiet_until="02:00")
    without = Newsroom(room.engine, replace(room.settings, kinds=read_kinds("")))
    assert numbers(without.merge()) == {"people": 3, "moved": 2, "closed": 1}
    assert room.homes() == {"anna": "mail", "bob": "never", "carl": "mail"}


def test_kind_has_become_mandatory(room: Newsroom) -> None:
    """What waits of a kind that has become mandatory moves with the next look at it."""
    room.publish("anna", "chores")
    room.do("update notify.deferred set look_at = now()")
    kinds = read_kinds('{"chores": {"choices": "mandatory"}, "news": {}}')
    assert numbers(Newsroom(room.engine, replace(room.settings, kinds=kinds)).merge()) == {"people": 1, "moved": 1}


# --- Nobody is told twice --------------------------------------------------------------------------------------------


def test_address_taken_over(room: Newsroom) -> None:
    """Who has by now an address that was told of an event already is not told of it again; of others they are."""
    room.choose("anna", "immediately")
    room.publish("anna; bob", word="both", occurred_at=LONG_AGO)
    room.publish("bob", word="own", occurred_at=LONG_AGO)
    room.hire("bob", email="ANNA@example.com")
    result = room.merge()
    assert result.reasons == {"duplicate": 1}
    assert room.homes_of("bob") == ["duplicate", "mail"]
    assert [mail.subject for mail in room.mails("bob")] == ["News: own"]
    assert room.balance().even


@pytest.mark.parametrize("plan", [{}, {"people": 1}], ids=["one batch", "two batches"])
def test_one_address_for_two_by_now(room: Newsroom, plan: dict[str, int]) -> None:
    """Of two who have one address by now, one is told of what concerns both, and each of what is their own."""
    for word, who in (("both", "anna; bob"), ("anna's", "anna"), ("bob's", "bob"), ("all", "team")):
        room.publish(who, word=word, occurred_at=LONG_AGO)
    room.hire("anna", "bob", email="desk@example.com")
    result = room.merge(**plan)
    assert result.reasons == {"duplicate": 2}
    assert [(mail.login, mail.entries or mail.subject) for mail in room.mails()] == [
        ("anna", ["both", "anna's", "all"]),
        ("bob", "News: bob's"),
        ("carl", "News: all"),
    ]
    assert room.balance().even


def test_one_address_for_two_in_two_runs(room: Newsroom, other: Newsroom) -> None:
    """Two runs that have, at the same moment, two people with one address tell it of an event once."""
    room.publish("anna; bob", occurred_at=LONG_AGO)
    room.hire("anna", "bob", email="desk@example.com")
    with ThreadPoolExecutor(2) as pool, paused(other.engine, "INSERT INTO notify.messages") as held:
        first = pool.submit(other.merge, people=1)  # has Anna, and is about to tell her
        held.wait()
        second = pool.submit(room.merge, people=1)  # passes over her, and comes to Bob
        wait_until(lambda: second.done() or waiting_for_locks(room))
        held.release()
        results = [first.result(30), second.result(30)]
    assert sum((Counter(result.reasons) for result in results), Counter()) == {"duplicate": 1}
    assert sum(result.moved for result in results) == 1
    assert room.balance().even


# --- What goes wrong -------------------------------------------------------------------------------------------------


def test_broken_digest(room: Newsroom, caplog: pytest.LogCaptureFixture) -> None:
    """Where a digest cannot be made, what is in it waits; everybody else gets theirs; the run fails and says so."""
    room.hire("bob", "carl", language="pl")
    for word in ("a", "b"):
        room.publish("anna; bob", word=word, occurred_at=LONG_AGO)
    room.publish("carl", word="single", occurred_at=LONG_AGO)
    template = room.settings.templates / "digest/pl/body.txt.j2"
    whole = template.read_text()
    template.write_text(BROKEN)
    room.hire("dora", language="pl")
    room.choose("dora", "daily")
    room.publish("dora", word="mine", occurred_at=LONG_AGO)
    room.publish("dora", word="due tomorrow")
    with pytest.raises(
        MergeFailed, match=r"What 1 people have.*bob: digest/pl/body.txt.j2, line 1.*nothing_of_that_name"
    ):
        room.merge()
    assert Counter(room.rows("select login || ' ' || home from notify.notifications")) == {
        "anna digest": 2,
        "bob waiting": 2,
        "carl mail": 1,
        "dora mail": 1,
        "dora waiting": 1,
    }
    assert "could not be moved, and waits, of bob: digest/pl/body.txt.j2" in caplog.text
    assert "4 people, 2 moved as they are, 2 in 1 digests, 1 people failed, 3 waiting" in caplog.text
    assert room.balance().even
    template.write_text(whole)
    assert numbers(room.merge()) == {"people": 1, "digests": 1, "in_digests": 2, "waiting": 1}


@pytest.mark.parametrize("plan", [{}, {"people": 2}], ids=["one batch", "several"])
@pytest.mark.parametrize("harm", ["update notify.people set timezone = 'Mars/Olympus' where login = 'bob'",
                                  "update notify.people set name = E'B\\nob' where login = 'bob'",
                                  "update notify.preferences set hour = '18:00:30' where login = 'bob'"])  # fmt: skip
def test_damaged_storage(room: Newsroom, harm: str, plan: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
    """One person whose record nobody can use keeps nobody else from being told; the run fails and names them."""
    room.publish("team", word="a", occurred_at=LONG_AGO)
    room.publish("team", word="b", occurred_at=LONG_AGO)
    room.do(harm)
    with pytest.raises(MergeFailed, match=r"What 1 people have due could not be moved.*bob: "):
        room.merge(**plan)
    assert Counter(room.rows("select login || ' ' || home from notify.notifications")) == {
        "anna digest": 2,
        "bob waiting": 2,
        "carl digest": 2,
    }
    assert "bob" in caplog.text
    room.hire("bob")
    room.choose("bob", "daily")
    assert numbers(room.merge()) == {"people": 1, "digests": 1, "in_digests": 2}
    assert room.balance().even


def test_database_lost(room: Newsroom, other: Newsroom) -> None:
    """A connection that breaks in the middle of a batch undoes that batch only, and the next run goes on."""
    room.publish("team", occurred_at=LONG_AGO)
    with ThreadPoolExecutor(1) as pool, paused(other.engine, "update notify.notifications", skip=1) as held:
        run = pool.submit(other.merge, people=1)
        held.wait()
        room.rows("select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' "
                  "and datname = current_database() and pid <> pg_backend_pid()")  # fmt: skip
        held.release()
        with pytest.raises(sa.exc.OperationalError):
            run.result(30)
    assert room.homes() == {"anna": "mail", "bob": "waiting", "carl": "waiting"}
    assert room.balance().even
    assert numbers(room.merge()) == {"people": 2, "moved": 2}


def test_stop(room: Newsroom, other: Newsroom) -> None:
    """A run that is to stop ends with the batch that it is at, and the next one goes on."""
    room.publish("team", occurred_at=LONG_AGO)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool, paused(other.engine, "INSERT INTO notify.messages") as held:
        run = pool.submit(other.merge, people=1, stop=stop)
        held.wait()
        stop.set()
        held.release()
        result = run.result(30)
    assert numbers(result) == {"people": 1, "moved": 1, "waiting": 2}
    assert result.stopped == "stopped; the next run goes on"
    assert numbers(room.merge(stop=stop)) == {"waiting": 2}
    assert numbers(room.merge()) == {"people": 2, "moved": 2}


# --- Batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [{"people": 2, "notifications": 3}, {"people": 1}, {"notifications": 1}, {}], ids=str)
def test_batches(room: Newsroom, plan: dict[str, int]) -> None:
    """However much a transaction takes, everybody gets the same."""
    names = [f"p{number}" for number in range(7)]
    room.hire(*names)
    for position, name in enumerate(names):
        room.choose(name, "daily")
        for word in range(position):
            room.publish(name, word=f"{name}-{word}", occurred_at=LONG_AGO)
    room.hire("p3", active=False)
    result = room.merge(**plan)
    assert numbers(result) == {"people": 6, "moved": 1, "digests": 4, "in_digests": 17, "closed": 3}
    assert {mail.login: len(mail.entries) for mail in room.mails()} == {"p1": 0, "p2": 2, "p4": 4, "p5": 5, "p6": 6}
    assert room.balance().even


@pytest.mark.parametrize(
    ("people", "most", "sizes"),
    [(500, 5000, [["a", "b", "c", "d"]]), (3, 5000, [["a", "b", "c"], ["d"]]), (500, 5, [["a", "b"], ["c"], ["d"]])],
)
def test_take(room: Newsroom, people: int, most: int, sizes: list[list[str]]) -> None:
    """A batch ends before the person with whom it would be too large; who alone is too large is one by themselves."""
    for login, count in zip("abcd", (2, 3, 9, 1), strict=True):
        room.hire(login)
        room.choose(login, "daily")
        for _ in range(count):
            room.publish(login, occurred_at=LONG_AGO)
    found, last = [], ""
    with room.engine.begin() as connection:
        while batch := deferred.take(connection, after=last, people=people, most=most):
            found.append(list(batch.logins))
            last = batch.last
    assert found == sizes


def test_order_of_logins(room: Newsroom) -> None:
    """Logins that differ in case, accents and blanks are looked at once each, whatever order the database has."""
    names = ["Zoë", "zoe", "Zoe", "żaba", "Ålund", "a b", "A-B", "a.b", "漢字", "0", "o'neil", "ZZ", "ß", "ss"]
    for position, name in enumerate(names):
        room.hire(name, email=f"p{position}@example.com")
        room.choose(name, "daily")
        room.publish([name], occurred_at=LONG_AGO)
    assert numbers(room.merge(people=1)) == {"people": len(names), "moved": len(names)}
    assert room.balance().even


# --- At the same time ------------------------------------------------------------------------------------------------


@pytest.fixture
def other(database: URL, settings: HandOverSettings) -> Any:
    """The same room, on connections of its own."""
    engine = sa.create_engine(database)
    yield Newsroom(engine, settings)
    engine.dispose()


class paused:  # noqa: N801 - reads like a function
    """The first statement with a fragment, on an engine, waits until it is released.

    :param skip: so many of them are let pass
    """

    def __init__(self, engine: Engine, fragment: str, *, skip: int = 0) -> None:
        self._engine = engine
        self._fragment = fragment
        self._left = skip
        self._reached = threading.Event()
        self._go = threading.Event()

    def __enter__(self) -> Self:
        sa.event.listen(self._engine, "before_cursor_execute", self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        sa.event.remove(self._engine, "before_cursor_execute", self._hold)

    def _hold(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if self._fragment not in statement or self._reached.is_set():
            return
        self._left -= 1
        if self._left < 0:
            self._reached.set()
            assert self._go.wait(60)

    def wait(self) -> None:
        """Until it is there."""
        assert self._reached.wait(60)

    def release(self) -> None:
        """Let it go on."""
        self._go.set()


def wait_until(condition: Any) -> None:
    """Until it holds; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def waiting_for_locks(room: Newsroom) -> int:
    found: int = room.rows("select count(*) from pg_stat_activity where wait_event_type = 'Lock' "
                           "and datname = current_database()")[0]  # fmt: skip
    return found


def test_two_runs_share_the_people(room: Newsroom, other: Newsroom) -> None:
    """Two runs at once, again and again: together they do what one would, and nobody is told twice."""
    names = [f"p{number:02}" for number in range(40)]
    room.hire(*names)
    for name in names:
        room.choose(name, "daily")
    for word in range(3):
        room.publish(names, word=f"w{word}", occurred_at=LONG_AGO)
    start = threading.Barrier(2)

    def merge(one: Newsroom) -> MergeResult:
        start.wait()
        return one.merge(people=3)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(merge, [room, other]))
    results.append(room.merge())  # whoever was passed over by both
    assert sum(result.digests for result in results) == len(room.mails()) == 40
    assert all(mail.entries == ["w0", "w1", "w2"] for mail in room.mails())
    assert sum(result.people for result in results) == 40
    assert room.balance().even


def test_people_of_another_run(room: Newsroom, other: Newsroom) -> None:
    """People whom another run has at this moment are passed over, counted, and left for the next run."""
    room.publish("team", occurred_at=LONG_AGO)
    with ThreadPoolExecutor(1) as pool, paused(other.engine, "INSERT INTO notify.messages") as held:
        run = pool.submit(other.merge, people=2)
        held.wait()
        result = room.merge()
        assert numbers(result) == {"people": 1, "moved": 1, "elsewhere": 2, "waiting": 2}
        assert "2 people in another run" in result.summary
        held.release()
        assert numbers(run.result(30)) == {"people": 2, "moved": 2}
    assert len(room.mails()) == 3


def test_people_served_meanwhile(room: Newsroom, other: Newsroom) -> None:
    """People whom another run has served, between finding and taking them, are not counted again."""
    room.publish("team", occurred_at=LONG_AGO)
    with ThreadPoolExecutor(1) as pool, paused(other.engine, "skip locked") as held:
        run = pool.submit(other.merge)
        held.wait()
        assert numbers(room.merge()) == {"people": 3, "moved": 3}
        held.release()
        assert numbers(run.result(30)) == {}


def test_published_during_a_run(room: Newsroom, other: Newsroom) -> None:
    """What is put aside for somebody while a run has them waits for the next one."""
    room.publish("anna", word="a", occurred_at=LONG_AGO)
    room.publish("anna", word="b", occurred_at=LONG_AGO)
    with ThreadPoolExecutor(1) as pool, paused(other.engine, "INSERT INTO notify.messages") as held:
        run = pool.submit(other.merge)
        held.wait()
        room.publish("anna", word="c", occurred_at=LONG_AGO)
        held.release()
        assert numbers(run.result(30)) == {"people": 1, "digests": 1, "in_digests": 2, "waiting": 1}
    assert numbers(room.merge()) == {"people": 1, "moved": 1}
    assert room.balance().even


@pytest.mark.parametrize("by_hand", [False, True], ids=["by a program", "by SQL"])
@pytest.mark.parametrize("change", ["never", "immediately"])
def test_no_change_of_mind_is_lost(room: Newsroom, other: Newsroom, change: str, *, by_hand: bool) -> None:
    """A preference that changes while a run decides that something waits on is looked at by the next run."""
    room.publish("anna")
    room.choose("anna", "weekly")  # so that it is looked at, and kept
    with ThreadPoolExecutor(2) as pool, paused(other.engine, "update notify.deferred d set due_at") as held:
        run = pool.submit(other.merge)
        held.wait()
        if by_hand:
            choice = pool.submit(room.do, "update notify.preferences set frequency = :f where login = 'anna'", f=change)
        else:
            choice = pool.submit(room.choose, "anna", change)  # type: ignore[arg-type]  # its result does not matter
        wait_until(lambda: choice.done() or waiting_for_locks(room))
        held.release()
        assert numbers(run.result(30)) == {"people": 1, "kept": 1, "waiting": 1}
        choice.result(30)
    room.merge()
    assert room.homes() == {"anna": "never" if change == "never" else "mail"}


def test_being_imported(room: Newsroom, other: Newsroom) -> None:
    """Somebody who is being changed by an import is passed over, and told at their new address by the next run."""
    room.publish("anna; bob", occurred_at=LONG_AGO)
    with other.engine.connect() as mine:
        mine.execute(sa.text("update notify.people set email = 'new@example.com' where login = 'anna'"))
        assert numbers(room.merge()) == {"people": 1, "moved": 1, "elsewhere": 1, "waiting": 1}
        mine.commit()
    room.merge()
    assert [mail.to for mail in room.mails()] == ["bob@example.com", "new@example.com"]


def test_everything_at_once(room: Newsroom, other: Newsroom) -> None:
    """Merges, publishers, changes of preferences and imports at once end without a deadlock, the balance even."""
    names = [f"p{number:02}" for number in range(12)]
    room.hire(*names)
    end = time.monotonic() + 5

    def repeat(step: Any) -> None:
        turn = 0
        while time.monotonic() < end:
            step(turn)
            turn += 1

    def choose(turn: int) -> None:
        with other.engine.begin() as connection:
            for name in names:  # who locks several people in one transaction does so in an order
                frequency = ("daily", "weekly", "hourly", "immediately", "never")[(turn + names.index(name)) % 5]
                preferences.save(connection, name, "*", Preference(frequency=frequency))

    steps = [
        lambda turn: room.publish(names[turn % 5 :], word=f"a{turn}", occurred_at=LONG_AGO if turn % 2 else None),
        lambda turn: room.publish(names[: turn % 7 + 1], word=f"b{turn}", case=str(turn % 3)),
        lambda _turn: room.merge(people=3),
        lambda _turn: other.merge(people=4),
        choose,
        lambda turn: room.hire(*names[::2], email=f"desk{turn % 3}@example.com", active=turn % 4 != 0),
    ]
    with ThreadPoolExecutor(len(steps)) as pool:
        for done in [pool.submit(repeat, step) for step in steps]:
            done.result(60)
    room.merge()
    assert room.balance().even


# --- Whatever happens ------------------------------------------------------------------------------------------------


LOGINS = ("anna", "bob", "carl", "dora")

_who = st.sampled_from(LOGINS)
_address = st.sampled_from(["anna@example.com", "Anna@example.com", "desk@example.com", "x@example.org"])
_number = st.sampled_from(["+421903622237", "0903 622 237", "0905 123 456"])
_step = st.one_of(
    st.tuples(
        st.just("publish"),
        st.fixed_dictionaries(
            {
                "recipients": st.lists(_who | _address, min_size=1, max_size=5),
                "kind": st.sampled_from(["news", "news", "chores", "alarm"]),
                "actor": st.none() | _who | _address,
                "old": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("choose"),
        _who,
        st.sampled_from(["immediately", "hourly", "daily", "weekly", "never"]),
        st.sampled_from([None, "email", "sms", "both"]),
    ),
    st.tuples(st.just("move"), _who, st.none() | _address),
    st.tuples(st.just("call"), _who, st.none() | _number),
    st.tuples(st.just("leave"), _who),
    st.tuples(st.just("return"), _who),
    st.tuples(st.just("suppress"), _address | st.just("+421903622237")),
    st.tuples(st.just("pass"), st.sampled_from([1, 20, 200])),
    st.tuples(st.just("merge"), st.integers(1, 3)),
)


@pytest.fixture(scope="module")
def shared(postgres: Postgres, admin: Connection, template: str) -> Any:
    """An engine on a database that is emptied between the examples of a test."""
    name = "test_merge_shared"
    admin.execute(sa.text(f"create database {name} template {template}"))
    engine = sa.create_engine(normal_url(postgres.uri(name)))
    yield engine
    engine.dispose()
    admin.execute(sa.text(f"drop database {name} with (force)"))


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(_step, min_size=4, max_size=24))
def test_whatever_happens(shared: Engine, settings: HandOverSettings, steps: list[tuple[Any, ...]]) -> None:
    """Whatever is published, chosen and changed in whatever order: one home each, for good, and nobody told twice.

    Through whatever channel: by mail, by SMS, or both.
    """
    empty(shared)
    room = Newsroom(shared, with_sms(settings.templates))
    room.hire(*LOGINS)
    room.do("update notify.people set phone = '0903 622 237' where login in ('anna', 'dora')")
    before: dict[int, str] = {}
    for step in [*steps, ("merge", 500), ("pass", 24 * 400), ("merge", 2)]:
        do(room, step)
        found = dict(room.rows("select id, coalesce(reason, home) from notify.notifications"))
        moved = {number for number, home in before.items() if found[number] != home}
        assert {before[number] for number in moved} <= {"waiting"}
        assert step[0] == "merge" or not moved
        before = found
        if step[0] == "merge":
            assert_nothing_is_overdue(room)
    assert "waiting" not in before.values()
    assert room.balance().even
    told = [(word, mail.to.lower()) for mail in room.mails() for word in mail.words]
    assert max(Counter(told).values(), default=1) == 1
    assert len(told) == sum(home in {"mail", "digest"} for home in before.values())


def empty(engine: Engine) -> None:
    """Leave nothing in the database but its tables."""
    with engine.begin() as connection:
        connection.execute(sa.text("truncate notify.people, notify.events, notify.messages, notify.contents, "
                                   "notify.suppressions, notify.cases restart identity cascade"))  # fmt: skip


def do(room: Newsroom, step: tuple[Any, ...]) -> None:
    match step:
        case ("publish", fields):
            when = LONG_AGO if fields["old"] else None
            rest = {name: value for name, value in fields.items() if name != "old"}
            room.publish(word=f"w{len(room.published)}", occurred_at=when, **rest)
        case ("choose", login, frequency, channel):
            room.choose(login, frequency, channel=channel)
        case ("call", login, number):
            room.do("update notify.people set phone = :n where login = :l", n=number, l=login)
        case ("move", login, address):
            room.do("update notify.people set email = :e where login = :l", e=address, l=login)
        case ("leave" | "return" as verb, login):
            room.do("update notify.people set active = :a where login = :l", a=verb == "return", l=login)
        case ("suppress", address):
            room.do("insert into notify.suppressions (address, reason) values (lower(:a), 'r') "
                    "on conflict do nothing", a=address)  # fmt: skip
        case ("pass", hours):
            room.pass_time(hours * HOUR)
        case ("merge", people):
            room.merge(people=people)


def assert_nothing_is_overdue(room: Newsroom) -> None:
    """After a run: who is there, can be reached and wants neither all at once nor nothing has what is not due."""
    waiting = room.rows("""
        select d.login, d.kind from notify.deferred d join notify.people p using (login)
        join notify.notifications n on n.id = d.notification_id
        left join notify.preferences w on w.login = d.login and w.kind = '*'
        where not (d.due_at > now() and d.look_at = d.due_at and p.active
                   and (p.email is not null or n.channel = 'sms'))
           or w.frequency in ('immediately', 'never') and not (d.kind = 'chores' and w.frequency = 'immediately')
    """)
    assert waiting == []
