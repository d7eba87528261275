"""The main job in a real Airflow: SendMessage → outbox → Notifications → SMTP, under the hourly limit.

The tests share one Airflow. Each uses subjects of its own; the pool has no limit but where a test sets one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from dev.settings import CHECKOUT
from dev.stack import SMS_SENDER, Stack
from tests.acceptance.observing import clear, dag, wait_until
from tests.connections import postgres_connection

SENDER = "smtp_default"
SECOND = "smtp_second"


@pytest.fixture(autouse=True)
def unlimited(stack: Stack) -> None:
    """No limit, and an empty queue, but where the test makes them."""
    stack.set_pool(SENDER, -1)
    with psycopg.connect(stack.outbox_conninfo) as connection:
        connection.execute("update notify.messages set status = 'cancelled' where status = 'queued'")


def subjects(stack: Stack, start: str) -> Counter[str]:
    """The subjects in the mailbox that begin so, and how often each arrived."""
    return Counter(mail.subject for mail in stack.mail() if mail.subject.startswith(start))


def notifications(stack: Stack, sender: str = SENDER) -> dict[str, Any]:
    """Run Notifications to its end and return what a sender's task says it did."""
    run_id = stack.run("Notifications")
    result: dict[str, Any] = stack.xcom("Notifications", run_id, sender)
    return result


def test_nothing_runs_before_its_time(stack: Stack) -> None:
    """An Airflow that has just met the DAG makes up for no time that has passed: a run would send unasked."""
    runs = stack.api("GET", "/dags/Notifications/dagRuns?run_type=scheduled")
    assert runs["total_entries"] == 0
    assert dag(stack, "Notifications")["next_dagrun_run_after"] > datetime.now(UTC).isoformat()


def test_the_pool_is_the_limit(stack: Stack) -> None:
    """With a pool of 5, of twelve mails 5 arrive and 7 wait; with a pool of 100 the rest arrives, once."""
    recipients = [f"limit{number}@example.com" for number in range(12)]
    with psycopg.connect(stack.outbox_conninfo) as connection:
        connection.execute("update notify.attempts set ended_at = ended_at - interval '2 hours'")
    stack.set_pool(SENDER, 5)
    handed_over = stack.xcom(
        "SendMessage",
        stack.run("SendMessage", {"recipient": recipients, "subject": "limit", "message": "One each."}),
    )
    assert len({message["message_id"] for message in handed_over["messages"]}) == 12

    first = notifications(stack)
    assert (first["limit"], first["accepted"], first["held_back"], first["waiting"]) == (5, 5, 7, 7)
    assert first["stopped"] == "the limit is reached"
    assert first["next_slot_at"]
    assert subjects(stack, "limit") == {"limit": 5}

    stack.set_pool(SENDER, 100)
    second = notifications(stack)
    assert (second["limit"], second["accepted"], second["waiting"]) == (100, 7, 0)
    arrived = [mail for mail in stack.mail() if mail.subject == "limit"]
    assert {mail.message_id for mail in arrived} == {message["message_id"] for message in handed_over["messages"]}
    assert len(arrived) == 12


def test_the_limit_stands_in_the_run_history(stack: Stack) -> None:
    """The limits that applied to a run can be read in its conf afterwards, and a forged one is overwritten."""
    stack.set_pool(SENDER, 7)
    stack.set_pool(SMS_SENDER, 9)
    run_id = stack.run("Notifications", {"hourly_limits": {SENDER: 9999}, "why": "a test"})
    conf = stack.api("GET", f"/dags/Notifications/dagRuns/{run_id}")["conf"]
    assert conf == {"hourly_limits": {SENDER: 7, SMS_SENDER: 9}, "why": "a test"}


def test_a_pool_of_zero_holds_and_says_so(stack: Stack) -> None:
    """With 0 slots the run is green, sends nothing, and says how much it holds; then the mail arrives all the same."""
    stack.run("SendMessage", {"recipient": "held@example.com", "subject": "held", "message": "Not yet."})
    stack.set_pool(SENDER, 0)
    result = notifications(stack)
    assert (result["limit"], result["accepted"], result["held_back"]) == (0, 0, 1)
    assert not subjects(stack, "held")

    stack.set_pool(SENDER, -1)
    assert notifications(stack)["accepted"] == 1
    assert subjects(stack, "held") == {"held": 1}


def test_somebody_edits_a_pool(stack: Stack) -> None:
    """Whoever has a pool locked, to edit it, keeps tasks from being started meanwhile, and the scheduler alive."""
    message = {"recipient": "edited@example.com", "subject": "edited", "message": "After all."}
    beat = "select max(latest_heartbeat) from job where job_type = 'SchedulerJob'"
    waiting = "select count(*) from task_instance where run_id = %s and state = 'scheduled'"
    with (
        psycopg.connect(stack.postgres.conninfo("airflow")) as editing,
        psycopg.connect(stack.postgres.conninfo("airflow"), autocommit=True) as metadata,
    ):
        editing.execute("select from slot_pool for update")
        run_id = stack.trigger("SendMessage", message)
        wait_until(lambda: metadata.execute(waiting, [run_id]).fetchone() == (1,), "the task's turn")
        before = metadata.execute(beat).fetchone()
        wait_until(lambda: metadata.execute(beat).fetchone() != before, "a beat of the scheduler")
        assert metadata.execute(waiting, [run_id]).fetchone() == (1,)
        editing.rollback()
    stack.require_success("SendMessage", run_id)


def test_a_group_reads_in_its_own_languages(stack: Stack) -> None:
    """People are imported by the command line; a mail to their group reaches each in their own language."""
    importing = [sys.executable, "-m", "notify", "people", "import", "include/sample/people.csv"]
    env = {**os.environ, "AIRFLOW_CONN_NOTIFY_DB": postgres_connection(stack.postgres.uri("notify"))}
    done = subprocess.run(importing, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("5 people imported: 5 added")

    stack.run("SendMessage", {"recipient": "everybody; anna", "subject": "group", "message": "m", "case_id": "C-1"})
    notifications(stack)
    read = {
        mail.message["To"]: mail.message.get_body(("plain",)).get_content()
        for mail in stack.mail()
        if mail.subject == "[C-1] group"
    }
    assert set(read) == {
        "Anna Nowak <anna@example.com>",
        "Brian Walsh <brian@example.com>",
        "Kenji Tanaka <kenji@example.com>",
        "Maria Lopez <maria@example.com>",
        "Zuzana Kováčová <zuzana@example.com>",
    }
    assert "Sprawa C-1" in read["Anna Nowak <anna@example.com>"]
    assert "Prípad C-1" in read["Zuzana Kováčová <zuzana@example.com>"]


def test_everything_wrong_is_told_at_once(stack: Stack) -> None:
    """A message with several faults fails its run at once, and the task's log names each of them with its field."""
    run_id = stack.trigger(
        "SendMessage",
        {
            "recipient": "nobody-of-that-name; x@@y",
            "subject": "a\nBcc: b@example.com",
            "message": "m",
            "sender": "none",
            "subjct": "a slip of the pen",
        },
    )
    assert stack.wait_for_run("SendMessage", run_id) == "failed"
    log = stack.client.task_log("SendMessage", run_id, "SendMessage")
    for fault in (
        "recipient: 'nobody-of-that-name'",
        "recipient: 'x@@y'",
        "subject: a line break",
        "sender: 'none'",
        "subjct: there is no",
    ):
        assert fault in log


def test_a_cleared_task_does_not_double_its_mail(stack: Stack) -> None:
    """A SendMessage task that is cleared and runs again finds its message handed over, and adds none."""
    run_id = stack.run("SendMessage", {"recipient": "once@example.com", "subject": "once", "message": "Only once."})
    first = stack.xcom("SendMessage", run_id)
    clear(stack, "SendMessage", run_id)
    second = stack.xcom("SendMessage", run_id)
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert second["messages"] == first["messages"]
    notifications(stack)
    assert subjects(stack, "once") == {"once": 1}


def test_the_schedule_follows_its_variable(stack: Stack) -> None:
    """An edited schedule shows within a minute; nonsense leaves the default in force, with a tag and a note."""
    name = "notify_schedule_notifications"
    before = stack.api("GET", f"/variables/{name}")["value"]
    try:
        stack.set_variable(name, "17 4 * * 3")
        wait_until(lambda: "17 4 * * 3" in str(dag(stack, "Notifications")["timetable_summary"]), "the new schedule")

        stack.set_variable(name, "every now and then")
        wait_until(lambda: "every now and then" in str(dag(stack, "Notifications")["doc_md"]), "the note")
        details = dag(stack, "Notifications")
        assert "invalid-schedule" in {tag["name"] for tag in details["tags"]}
        assert "*/3 * * * *" in details["timetable_summary"]
        assert not details["is_stale"]
    finally:
        stack.set_variable(name, before)
    wait_until(lambda: before in str(dag(stack, "Notifications")["timetable_summary"]), "the schedule of before")


@pytest.fixture
def second_sender(stack: Stack) -> Iterator[None]:
    """A second sender of mails, whose connection and pool are missing."""
    before = stack.api("GET", "/variables/notify_senders")["value"]
    stack.set_variable("notify_senders", json.dumps([SENDER, SECOND]))
    wait_until(lambda: SECOND in task_ids(stack), "the second sender's task")
    yield
    stack.set_variable("notify_senders", before)
    stack.client.request("DELETE", f"/api/v2/connections/{SECOND}")
    wait_until(lambda: SECOND not in task_ids(stack), "the end of the second sender's task")


def task_ids(stack: Stack) -> set[str]:
    """The tasks of Notifications."""
    return {str(task["task_id"]) for task in stack.api("GET", "/dags/Notifications/tasks")["tasks"]}


def states(stack: Stack, run_id: str) -> dict[str, str]:
    """The states of a run's tasks."""
    return {task["task_id"]: task["state"] for task in stack.client.tasks("Notifications", run_id)}


@pytest.mark.usefixtures("second_sender")
def test_a_sender_that_cannot_send_holds_nobody_up(stack: Stack) -> None:
    """A missing pool is made, a missing or dead server fails its own task red with the remedy, and all mail arrives."""
    letter = {"message": "Hello."}
    stack.run("SendMessage", {"recipient": "a@example.com", "subject": "sender one", **letter})
    stack.run("SendMessage", {"recipient": "b@example.com", "subject": "sender two", "sender": SECOND, **letter})

    run_id = stack.trigger("Notifications")
    assert stack.wait_for_run("Notifications", run_id) == "failed"
    assert states(stack, run_id) == {SENDER: "success", SECOND: "failed"}
    assert stack.api("GET", f"/pools/{SECOND}")["slots"] == 100
    assert "There is no connection smtp_second." in stack.client.task_log("Notifications", run_id, SECOND)
    assert subjects(stack, "sender") == {"sender one": 1}

    connection = {
        "connection_id": SECOND,
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": 1,
        "extra": json.dumps({"from_email": "second@example.com", "disable_ssl": True, "disable_tls": True}),
    }
    stack.api("POST", "/connections", connection)
    run_id = stack.trigger("Notifications")
    assert stack.wait_for_run("Notifications", run_id) == "failed"
    assert "refused" in stack.client.task_log("Notifications", run_id, SECOND).lower()
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        row = outbox.execute(
            "select status, attempts, refusals from notify.messages where subject = 'sender two'"
        ).fetchone()
    assert row == ("queued", 0, 0)

    stack.api("PATCH", f"/connections/{SECOND}", {**connection, "port": stack.mail_port})
    assert notifications(stack, SECOND)["accepted"] == 1
    assert subjects(stack, "sender") == {"sender one": 1, "sender two": 1}
