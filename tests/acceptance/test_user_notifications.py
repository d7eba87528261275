"""Events in a real Airflow: tasks of users publish, UserNotifications moves what is due, Notifications sends.

Time is moved by the data: events lie back, and what waits is made to have waited longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dev.demo_events import calm_zone
from dev.stack import Stack
from tests.acceptance.observing import Mailbox, clear, dag, in_a_shell, query, run, wait_until

pytestmark = pytest.mark.usefixtures("empty")

NOW = datetime.now(UTC)
ZONE = calm_zone(NOW)

#: By the clock of the zone, half a day away from now.
HOUR = f"{NOW.astimezone(ZoneInfo(ZONE)) + timedelta(hours=12):%H}:00"

STAFF = [
    ("nora", {"*": "immediately"}),
    ("hana", {"*": "hourly"}),
    ("dan", {"*": {"frequency": "daily", "hour": HOUR}}),
]


@pytest.fixture
def staff(stack: Stack) -> Iterator[psycopg.Connection[Any]]:
    """Another system's table of people, and the connection by which Airflow knows it."""
    stack.postgres.create_database("hr")
    connection = {
        "connection_id": "hr",
        "conn_type": "generic",
        "host": str(stack.postgres.socket_dir),
        "login": "postgres",
        "schema": "hr",
    }
    stack.api("POST", "/connections", connection)
    with psycopg.connect(stack.postgres.conninfo("hr"), autocommit=True) as hr:
        hr.execute("create table staff (login text, name text, email text, timezone text, preferences text)")
        for login, preferences in STAFF:
            row = [login, login.title(), f"{login}@example.com", ZONE, json.dumps(preferences)]
            hr.execute("insert into staff values (%s, %s, %s, %s, %s)", row)
        yield hr
        hr.execute("drop table staff")
    stack.api("DELETE", "/connections/hr")


def changed(
    text: str, to: str = "nora; hana; dan", *, ago: timedelta = timedelta(0), case: str = "C-1"
) -> dict[str, Any]:
    """Somebody wrote a comment on a case."""
    return {
        "kind": "case_changed",
        "case": {"id": case, "title": f"Title of {case}"},
        "recipients": to,
        "data": {"changes": [{"what": "comment_added", "text": text}]},
        "occurred_at": (datetime.now(UTC) - ago).isoformat(),
    }


def publish(stack: Stack, *events: dict[str, Any]) -> list[dict[str, Any]]:
    """Publish each event by a task of its own.

    :returns: what each task answered
    """
    run_id = stack.run("Publish", {"calls": list(events)})
    tasks = [one for one in stack.client.tasks("Publish", run_id) if one["task_id"] == "call"]
    return [_answer(stack, run_id, one["map_index"]) for one in sorted(tasks, key=lambda one: one["map_index"])]


def _answer(stack: Stack, run_id: str, map_index: int) -> dict[str, Any]:
    path = f"/dags/Publish/dagRuns/{run_id}/taskInstances/call/xcomEntries/return_value?map_index={map_index}"
    answer: dict[str, Any] = stack.api("GET", path)["value"]
    return answer


def numbers(result: dict[str, Any], *names: str) -> dict[str, Any]:
    """Some of what a run says it did; what is zero is left out."""
    return {name: result[name] for name in names if result[name]}


MERGED = ("people", "moved", "digests", "in_digests", "closed", "reasons", "kept", "failed", "waiting")


def merge(stack: Stack) -> dict[str, Any]:
    """Run UserNotifications; what is zero is left out of its answer."""
    return numbers(run(stack, "UserNotifications"), *MERGED)


def send(stack: Stack) -> int:
    """Run Notifications; how many mails it sent."""
    return int(run(stack, "Notifications", "smtp_default")["accepted"])


def homes(stack: Stack, login: str) -> list[tuple[str, str | None]]:
    """A person's notifications in the order of their events: home, and the reason why there is no mail."""
    return query(
        stack,
        f"select home, reason from notify.notifications where login = '{login}' order by event_id",
    )


def a_day_passes(stack: Stack) -> None:
    """What waits has waited a day longer."""
    query(stack, "update notify.deferred set due_at = due_at - interval '1 day', look_at = look_at - interval '1 day'")


# --- The right mails and digests, no other ---------------------------------------------------------------------------


@pytest.mark.usefixtures("staff")
def test_each_person_hears_at_the_time_they_chose(stack: Stack) -> None:
    """Of four events: at once, four mails; hourly, a digest of three; daily, one of two. The rest follows when due."""
    assert run(stack, "SyncPeople")["added"] == 3
    mailbox = Mailbox(stack)
    published = publish(
        stack,
        changed("Three days ago.", ago=timedelta(days=3), case="C-1"),
        changed("Yesterday.", ago=timedelta(hours=26), case="C-2"),
        changed("This morning.", ago=timedelta(hours=2), case="C-1"),
        changed("Just now.", case="C-3"),
    )
    assert [(one["mails"], one["waiting"], one["refused"]) for one in published] == [(1, 2, {})] * 4

    # Hana's next hour and Dan's next evening are still to come.
    assert merge(stack) == {"people": 2, "digests": 2, "in_digests": 5, "waiting": 3}
    assert send(stack) == 6
    assert mailbox.letters() == [
        ("dan@example.com", "2 notifications about 2 cases"),
        ("hana@example.com", "3 notifications about 2 cases"),
        ("nora@example.com", "[C-1] New comment: Title of C-1"),
        ("nora@example.com", "[C-1] New comment: Title of C-1"),
        ("nora@example.com", "[C-2] New comment: Title of C-2"),
        ("nora@example.com", "[C-3] New comment: Title of C-3"),
    ]
    (digest,) = mailbox.texts("hana@example.com")
    assert [text in digest for text in ("Three days ago.", "Yesterday.", "This morning.", "Just now.")] == [
        True, True, True, False,
    ]  # fmt: skip
    (digest,) = mailbox.texts("dan@example.com")
    assert "Three days ago." in digest
    assert "Yesterday." in digest
    assert "This morning." not in digest

    later = Mailbox(stack)
    a_day_passes(stack)
    assert merge(stack) == {"people": 2, "moved": 1, "digests": 1, "in_digests": 2}
    assert send(stack) == 2
    assert later.letters() == [
        ("dan@example.com", "2 notifications about 2 cases"),
        ("hana@example.com", "[C-3] New comment: Title of C-3"),  # the only one: as it is, no digest of one
    ]
    assert merge(stack) == {}


# --- Told once -------------------------------------------------------------------------------------------------------


def test_a_task_that_runs_again_tells_nobody_twice(stack: Stack) -> None:
    """A NotifyOperator that dies with its event stored, is retried, and then cleared: one event, one mail."""
    mailbox = Mailbox(stack)
    run_id = stack.run("PublishTwice", {"recipients": "once@example.com", "text": "Only once."})
    (task,) = stack.client.tasks("PublishTwice", run_id)
    assert task["try_number"] == 2
    first = stack.xcom("PublishTwice", run_id)
    assert first["duplicate"]

    clear(stack, "PublishTwice", run_id)
    assert stack.xcom("PublishTwice", run_id) == first
    assert query(stack, "select count(*) from notify.events") == [(1,)]
    assert send(stack) == 1
    assert [to for to, _ in mailbox.letters()] == ["once@example.com"]


# --- A preference that changes ---------------------------------------------------------------------------------------


def test_a_preference_that_changes_leaves_one_home_each(stack: Stack) -> None:
    """From daily to immediately to never, while things wait: each is told once, or has its reason, never both."""
    mailbox = Mailbox(stack)
    stack.produce(published(changed("One.", "dan"), changed("Two.", "dan")), people_file(stack, "dan"))
    assert merge(stack) == {"waiting": 2}
    stack.produce([dan_prefers("immediately"), *published(changed("Three.", "dan"))])
    assert merge(stack) == {"people": 1, "digests": 1, "in_digests": 2}

    stack.produce([dan_prefers("daily", hour=HOUR), *published(changed("Four.", "dan"))])
    stack.produce([dan_prefers("never"), *published(changed("Five.", "dan"))])
    assert merge(stack) == {"people": 1, "closed": 1, "reasons": {"never": 1}}

    never = ("refused", "never")
    assert homes(stack, "dan") == [("digest", None), ("digest", None), ("mail", None), never, never]
    assert send(stack) == 2
    told = " ".join(mailbox.texts("dan@example.com"))
    assert [told.count(word) for word in ("One.", "Two.", "Three.", "Four.", "Five.")] == [1, 1, 1, 0, 0]
    assert "The balance is even." in in_a_shell(stack.home, "python -m notify check")


def dan_prefers(frequency: str, **fields: str) -> dict[str, Any]:
    """Dan chooses how often, for all kinds of event."""
    return {"set_preference": {"login": "dan", "kind": "*", "frequency": frequency, **fields}}


def published(*events: dict[str, Any]) -> list[dict[str, Any]]:
    """Events as a program of a user publishes them, with no task."""
    return [{"publish": event} for event in events]


def people_file(stack: Stack, *logins: str) -> Any:
    """A file with some of the people, for an import."""
    file = stack.home / "people.json"
    people = [
        {"login": login, "email": f"{login}@example.com", "timezone": ZONE, "preferences": preferences}
        for login, preferences in STAFF
        if login in logins
    ]
    file.write_text(json.dumps(people))
    return file


# --- What users ask --------------------------------------------------------------------------------------------------


def test_explain_and_check_in_a_shell(stack: Stack) -> None:
    """A person in a shell learns of each home: mail, digest, until when it waits, and the reason why there is none."""
    event, *_ = stack.produce(
        published(
            {**changed("For both.", "nora; hana", ago=timedelta(hours=2)), "actor": "nora"},
            changed("For Hana.", "hana", ago=timedelta(hours=2)),
            changed("For Nora.", "nora"),
            changed("Later.", "hana"),
        ),
        people_file(stack, "nora", "hana"),
    )
    merge(stack)
    send(stack)

    told = in_a_shell(stack.home, f"python -m notify explain --event {event}")
    assert "nora: no mail, reason own_action: the person did it themselves" in told
    assert "hana: digest of 2, message " in told
    assert ": sent " in told

    told = in_a_shell(stack.home, "python -m notify explain --person hana --since P1D")
    assert told.count("digest of 2") == 2
    assert told.count("waiting until ") == 1

    balance = json.loads(in_a_shell(stack.home, "python -m notify check --json"))
    assert balance["even"]
    counted = numbers(balance, "events", "expected", "mails", "in_digests", "digests", "waiting", "refused")
    assert counted == {
        "events": 4,
        "expected": 5,
        "mails": 1,
        "in_digests": 2,
        "digests": 1,
        "waiting": 1,
        "refused": {"own_action": 1},
    }


# --- The schedule ----------------------------------------------------------------------------------------------------


def test_the_schedules_follow_their_variables(stack: Stack) -> None:
    """An edited schedule shows within a minute, and no run makes up for what has passed."""
    jobs = {"UserNotifications": "notify_schedule_user_notifications", "Reminders": "notify_schedule_reminders"}
    before = {job: str(stack.api("GET", f"/variables/{name}")["value"]) for job, name in jobs.items()}
    try:
        for name in jobs.values():
            stack.set_variable(name, "17 4 * * 3")
        for job in jobs:
            wait_until(lambda job=job: "17 4 * * 3" in timetable(stack, job), f"the new schedule of {job}")
            assert dag(stack, job)["next_dagrun_run_after"] > datetime.now(UTC).isoformat()
    finally:
        for job, name in jobs.items():
            stack.set_variable(name, before[job])
    for job in jobs:
        wait_until(lambda job=job: before[job] in timetable(stack, job), f"the schedule of before of {job}")
        assert stack.api("GET", f"/dags/{job}/dagRuns?run_type=scheduled")["total_entries"] == 0


def timetable(stack: Stack, job: str) -> str:
    """A job's schedule, as the UI shows it."""
    return str(dag(stack, job)["timetable_summary"])
