"""What people said of events, and the addresses that get nothing, in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, time, timedelta
from time import monotonic
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from notify.domain.kind import BUILT_IN, Kind
from notify.domain.person import Person
from notify.domain.preference import Frequency, Preference
from notify.exceptions import InvalidPreference
from notify.preferences import clear_preference, set_preference
from notify.settings import HandOverSettings
from notify.storage import people, preferences, suppressions

LOGINS = ("anna", "bob", "carl")

DAILY = Preference(frequency=Frequency.DAILY, hour=time(17))
QUIET = Preference(quiet_from=time(22), quiet_until=time(7))
LATER = "now() + interval '3 hours'"

AN_EVENT = sa.text("""
    with event as (
        insert into notify.events (kind, recipients, occurred_at) values ('case_changed', 1, now()) returning id
    ), content as (
        insert into notify.contents (body) values ('') returning id
    )
    insert into notify.notifications
        (event_id, position, login, home, subject, summary, content_id, content_fields)
    select event.id, 0, :login, 'waiting', '', '', content.id, '' from event, content returning id
""")


@pytest.fixture
def connection(connection: Connection) -> Connection:
    """A connection to a database in which a few people are known."""
    people.save(connection, [Person(login=login) for login in LOGINS])
    connection.commit()
    return connection


def put_aside(connection: Connection, login: str) -> int:
    """Put a notification aside for three hours."""
    number = connection.scalar(AN_EVENT, {"login": login})
    row = "insert into notify.deferred (notification_id, login, kind, due_at, look_at)"
    connection.execute(
        sa.text(f"{row} values (:n, :login, 'case_changed', {LATER}, {LATER})"), {"n": number, "login": login}
    )
    connection.commit()
    return number or 0


def looked_at(connection: Connection) -> set[str]:
    """Whose notifications the next run looks at, although they are not due."""
    rows = connection.scalars(sa.text("select login from notify.deferred where look_at <= now() and due_at > now()"))
    return set(rows)


# --- Preferences -----------------------------------------------------------------------------------------------------


def test_what_was_said_is_found(connection: Connection) -> None:
    """A preference is found as it was saved, by login and kind, and nothing is found of who said nothing."""
    assert preferences.save(connection, "anna", "case_changed", DAILY)
    assert preferences.save(connection, "anna", "*", QUIET)
    assert preferences.save(connection, "bob", "*", Preference(frequency="weekly", weekday="friday"))
    assert preferences.find(connection, [*LOGINS, "nobody"]) == {
        "anna": {"case_changed": DAILY, "*": QUIET},
        "bob": {"*": Preference(frequency=Frequency.WEEKLY, weekday=5)},
    }
    assert preferences.find(connection, []) == {}


def test_saving_the_same_writes_nothing(connection: Connection) -> None:
    """What is said again is not written, and so nothing that waits is looked at before its time."""
    assert preferences.save(connection, "anna", "case_changed", DAILY)
    assert preferences.replace(connection, {"bob": {"*": QUIET}}) == 1
    put_aside(connection, "anna")
    put_aside(connection, "bob")
    assert not preferences.save(connection, "anna", "case_changed", DAILY)
    assert preferences.replace(connection, {"anna": {"case_changed": DAILY}, "bob": {"*": QUIET}}) == 0
    assert looked_at(connection) == set()


def test_a_change_is_looked_at(connection: Connection) -> None:
    """Who changes what they said is looked at by the next run, and nobody else is."""
    for login in LOGINS:
        put_aside(connection, login)
    preferences.save(connection, "anna", "case_changed", DAILY)
    preferences.replace(connection, {"bob": {}, "carl": {"*": QUIET}})
    connection.commit()
    assert looked_at(connection) == {"anna", "carl"}


def test_saving_replaces_all_of_it(connection: Connection) -> None:
    """What was said of a kind before is gone, also the part of it that is not said again."""
    preferences.save(connection, "anna", "case_changed", DAILY)
    assert preferences.save(connection, "anna", "case_changed", QUIET)
    assert preferences.find(connection, ["anna"])["anna"]["case_changed"] == QUIET


def test_clearing(connection: Connection) -> None:
    """What is cleared is gone, the rest stays, and clearing it again does nothing."""
    preferences.save(connection, "anna", "case_changed", DAILY)
    preferences.save(connection, "anna", "*", QUIET)
    assert preferences.clear(connection, "anna", "case_changed")
    assert not preferences.clear(connection, "anna", "case_changed")
    assert preferences.find(connection, ["anna"]) == {"anna": {"*": QUIET}}


def wait_for_a_lock(connection: Connection) -> None:
    """Wait until somebody waits for a lock in this database."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    give_up = monotonic() + 10
    while not connection.scalar(sa.text(query)):
        connection.rollback()  # the view is read once in a transaction
        assert monotonic() < give_up


@pytest.mark.parametrize("one_saves", [True, False])
def test_list_and_person_at_once(engine: Engine, connection: Connection, *, one_saves: bool) -> None:
    """A list and a person who say something at once take turns, whoever is first, and the last one's word stands."""
    preferences.save(connection, "anna", "*", QUIET)
    connection.commit()

    def write(join: Connection, *, one: bool, said: Preference) -> None:
        if one:
            preferences.save(join, "anna", "*", said)
        else:
            preferences.replace(join, {"anna": {"*": said}})

    with ThreadPoolExecutor() as pool:
        with engine.begin() as first:
            write(first, one=one_saves, said=DAILY)

            def later() -> None:
                with engine.begin() as second:
                    write(second, one=not one_saves, said=Preference(frequency=Frequency.HOURLY))

            waiting = pool.submit(later)
            wait_for_a_lock(connection)
        waiting.result()
    assert preferences.find(connection, ["anna"])["anna"]["*"] == Preference(frequency=Frequency.HOURLY)


_CLOCK = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
_SAID = st.one_of(
    st.builds(
        Preference,
        frequency=st.sampled_from(Frequency),
        hour=st.none() | _CLOCK,
        weekday=st.none() | st.integers(1, 7),
    ),
    st.tuples(_CLOCK, _CLOCK)
    .filter(lambda both: both[0] != both[1])
    .map(lambda both: Preference(quiet_from=both[0], quiet_until=both[1])),
)
_ALL = st.dictionaries(st.sampled_from(LOGINS), st.dictionaries(st.sampled_from(["*", *BUILT_IN]), _SAID, max_size=3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_ALL, after=_ALL)
def test_replacing(connection: Connection, before: Any, after: Any) -> None:
    """Whatever was said before: of everybody named there is then exactly what is said now, of others what there was."""
    connection.rollback()  # what the example before did
    preferences.replace(connection, before)
    changed = preferences.replace(connection, after)
    expected = {login: said for login, said in (before | after).items() if said}
    assert preferences.find(connection, LOGINS) == expected
    assert changed == sum(said != before.get(login, {}) for login, said in after.items())


# --- What people may say ----------------------------------------------------------------------------------------------

KINDS = {**BUILT_IN, "invoice_paid": Kind("invoice_paid", (Frequency.DAILY, Frequency.NEVER), Frequency.DAILY, "x")}


@pytest.fixture
def own_kinds(hand_over_settings: HandOverSettings) -> HandOverSettings:
    """Settings with a kind of the admin's own."""
    return replace(hand_over_settings, kinds=KINDS)


def faults(call: Callable[[], object]) -> dict[str, str]:
    """What is refused, by field."""
    with pytest.raises(InvalidPreference) as refused:
        call()
    return {fault.field: fault.problem for fault in refused.value.faults}


def test_a_person_says(connection: Connection, own_kinds: HandOverSettings) -> None:
    """What a person says is put down inside the caller's transaction, for all kinds, a built-in one and an own one."""
    join: Any = {"connection": connection, "settings": own_kinds}
    set_preference("anna", "*", frequency="weekly", weekday="friday", **join)
    set_preference("anna", "case_changed", frequency=Frequency.DAILY, hour="17:00", **join)
    said = set_preference("anna", "invoice_paid", quiet_from="22:00", quiet_until=time(7), **join)
    assert said == QUIET
    expected = {"*": Preference(frequency=Frequency.WEEKLY, weekday=5), "case_changed": DAILY, "invoice_paid": QUIET}
    assert preferences.find(connection, ["anna"]) == {"anna": expected}
    connection.rollback()
    assert preferences.find(connection, ["anna"]) == {}


def test_a_person_says_in_a_transaction_of_its_own(
    connection: Connection, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the caller's transaction it is committed; kinds are those of the Variable notify_kinds."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", '{"invoice_paid": {}}')
    set_preference("anna", "invoice_paid", frequency="hourly", connection=engine)
    assert set(preferences.find(connection, ["anna"])["anna"]) == {"invoice_paid"}
    assert clear_preference("anna", "invoice_paid", connection=engine)
    connection.commit()
    assert preferences.find(connection, ["anna"]) == {}


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("case_lost", {"frequency": "daily"}, {"kind": "'case_lost' is unknown; there are case_changed, "}),
        ("deadline_exceeded", {"frequency": "never"}, {"kind": "'deadline_exceeded' is mandatory"}),
        ("case_received", {"frequency": "weekly"}, {"frequency": "immediately, hourly, daily, never can"}),
        ("invoice_paid", {"frequency": "hourly"}, {"frequency": "'hourly' cannot be chosen for invoice_paid"}),
        ("*", {"frequency": "often"}, {"frequency": "Input should be 'immediately'"}),
        ("*", {"frequency": ["daily"]}, {"frequency": "must be one of immediately"}),
        ("*", {}, {"frequency": "is missing"}),
        ("*", {"frequency": None}, {"frequency": "is missing"}),
        ("*", {"hour": "5 pm"}, {"hour": "time"}),
        ("*", {"hour": "17:30:05"}, {"hour": "such as 17:30"}),
        ("*", {"weekday": "someday"}, {"weekday": "write monday to sunday"}),
        ("*", {"weekday": 8}, {"weekday": "1 to 7"}),
        ("*", {"quiet_from": "22:00"}, {"quiet_until": "both"}),
        ("*", {"quiet_until": "07:00", "hour": "12:00"}, {"quiet_from": "both"}),
        ("*", {"quiet_from": "07:00", "quiet_until": "07:00"}, {"quiet_until": "never"}),
        ("*", {"when": "later"}, {"when": "there is no such field"}),
        (
            "case_received",
            {"frequency": "weekly", "hour": "noon", "weekday": 0},
            {"frequency": "weekly", "hour": "", "weekday": ""},
        ),
    ],
)
def test_faults_of_what_is_said(
    connection: Connection, own_kinds: HandOverSettings, kind: str, fields: dict[str, Any], told: dict[str, str]
) -> None:
    """What a person may not say is refused, every fault under the name of its field, and what was said before stays."""
    preferences.save(connection, "anna", "*", DAILY)
    found = faults(lambda: set_preference("anna", kind, connection=connection, settings=own_kinds, **fields))
    assert set(found) == set(told)
    for field, part in told.items():
        assert part in found[field]
    assert preferences.find(connection, ["anna"]) == {"anna": {"*": DAILY}}


@pytest.mark.parametrize("login", ["nobody", "", "a\0", "\ud800"])
def test_faults_of_a_stranger(connection: Connection, own_kinds: HandOverSettings, login: str) -> None:
    """Who is unknown can neither say nor clear anything, and hears of all that is wrong at once."""
    join: Any = {"connection": connection, "settings": own_kinds}
    assert set(faults(lambda: set_preference(login, "case_lost", hour="x", **join))) == {"login", "kind", "hour"}
    assert set(faults(lambda: clear_preference(login, login, **join))) == {"login", "kind"}


def test_clearing_what_was_said(connection: Connection, own_kinds: HandOverSettings) -> None:
    """What was said of a kind can be cleared, also when the kind is known no more; nothing said is no fault."""
    join: Any = {"connection": connection, "settings": own_kinds}
    preferences.save(connection, "anna", "case_lost", DAILY)
    assert clear_preference("anna", "case_lost", **join)
    assert not clear_preference("anna", "case_changed", **join)
    assert set(faults(lambda: clear_preference("anna", "case_lost", **join))) == {"kind"}


# --- The suppression list --------------------------------------------------------------------------------------------


def test_suppressed_whatever_the_case(connection: Connection) -> None:
    """An address is on the list however it is written, and its reason is found by its lower-case form."""
    assert suppressions.add(connection, "Anna@Example.COM", "moved away", None)
    assert suppressions.among(connection, ["ANNA@example.com", "bob@example.com"]) == {"anna@example.com": "moved away"}
    assert suppressions.among(connection, []) == {}


def test_suppression_expires(connection: Connection) -> None:
    """What has expired by the database's clock no longer counts, but is still shown."""
    suppressions.add(connection, "anna@example.com", "full", timedelta(days=7))
    suppressions.add(connection, "bob@example.com", "full", timedelta(seconds=-1))
    assert set(suppressions.among(connection, ["anna@example.com", "bob@example.com"])) == {"anna@example.com"}
    assert {one.address: one.expired for one in suppressions.newest(connection, 10)} == {
        "anna@example.com": False,
        "bob@example.com": True,
    }


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (timedelta(days=1), timedelta(days=2), "second"),
        (timedelta(days=1), None, "second"),
        (timedelta(days=-1), timedelta(days=1), "second"),
        (timedelta(days=2), timedelta(days=1), "first"),
        (None, timedelta(days=1), "first"),
        (None, None, "first"),
    ],
)
def test_the_longer_suppression_wins(
    connection: Connection, first: timedelta | None, second: timedelta | None, reason: str
) -> None:
    """An address that is added again stays for the longer of both times, with the reason of that one."""
    suppressions.add(connection, "anna@example.com", "first", first)
    assert suppressions.add(connection, "anna@example.com", "second", second) == (reason == "second")
    assert suppressions.among(connection, ["anna@example.com"]) == {"anna@example.com": reason}


def test_lifting(connection: Connection) -> None:
    """A lifted address gets mail again; lifting it once more does nothing."""
    suppressions.add(connection, "anna@example.com", "moved away", None)
    assert suppressions.lift(connection, "Anna@example.com")
    assert not suppressions.lift(connection, "anna@example.com")
    assert suppressions.among(connection, ["anna@example.com"]) == {}


def test_the_newest_suppressions(connection: Connection) -> None:
    """The list begins with what was added last, and ends where it is told to."""
    for number in range(3):
        suppressions.add(connection, f"p{number}@example.com", "r", None)
        connection.commit()
    found = suppressions.newest(connection, 2)
    assert [one.address for one in found] == ["p2@example.com", "p1@example.com"]
    assert all(isinstance(one.created_at, datetime) and one.expires_at is None for one in found)
