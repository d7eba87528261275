"""What becomes of mails later, in a real Airflow: one comes back to an IMAP server, another gets too old to keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from dev.stack import Stack
from tests.acceptance.observing import Mailbox, in_a_shell, query, run
from tests.imap_server import HOST, LOGIN, PASSWORD, ImapServer
from tests.returns import MAILBOX, dsn

pytestmark = pytest.mark.usefixtures("empty")

OLD, YOUNG, GONE = "old@example.com", "young@example.com", "gone@example.com"


@pytest.fixture
def returns(stack: Stack) -> Iterator[ImapServer]:
    """The mailbox that undeliverable mails come back to, as Airflow and the sender know it."""
    sender = stack.api("GET", "/connections/smtp_default")
    before = {name: sender[name] for name in ("connection_id", "conn_type", "host", "port", "extra")}
    extra = json.dumps(json.loads(before["extra"]) | {"return_path": MAILBOX})
    stack.api("PATCH", "/connections/smtp_default", {**before, "extra": extra})
    with ImapServer() as server:
        connection = {
            "connection_id": "imap_bounces",
            "conn_type": "imap",
            "host": HOST,
            "port": server.port,
            "login": LOGIN,
            "password": PASSWORD,
            "extra": json.dumps({"use_ssl": False}),
        }
        stack.api("POST", "/connections", connection)
        yield server
        stack.api("DELETE", "/connections/imap_bounces")
    stack.api("PATCH", "/connections/smtp_default", before)


def hand_over(stack: Stack, *recipients: str, **fields: str) -> dict[str, Any]:
    """Start SendMessage; what its task says it did."""
    letter = {"recipient": list(recipients), "subject": "afterwards", "message": "Hello."}
    answer: dict[str, Any] = stack.xcom("SendMessage", stack.run("SendMessage", letter | fields))
    return answer


def send(stack: Stack) -> int:
    """Run Notifications; how many mails it sent."""
    return int(run(stack, "Notifications", "smtp_default")["accepted"])


def made(result: dict[str, Any]) -> dict[str, Any]:
    """What a run says it did; what is zero is left out, and how long it took."""
    return {name: value for name, value in result.items() if value and name != "seconds"}


def test_an_address_that_does_not_work_gets_nothing_more(stack: Stack, returns: ImapServer) -> None:
    """A report in the mailbox makes its message `undelivered` and suppresses the address; the next mail to it is
    refused, and SendMessage says so."""
    mailbox = Mailbox(stack)
    [message] = hand_over(stack, GONE, reply_to="boss@example.com")["messages"]
    assert send(stack) == 1
    [mail] = mailbox.mails()
    report = [(GONE, "5.1.1", "smtp; 550 5.1.1 no such mailbox")]
    returns.deliver(dsn(mail.message_id, report, to=str(mail.message["Return-Path"]).strip("<>")))

    done = ("looked_at", "reports", "hard", "undelivered", "suppressed", "notices", "told")
    result = made(run(stack, "DeliveryReports", "imap_bounces"))
    assert {name: result.pop(name) for name in done} == dict.fromkeys(done, 1)
    assert set(result) == {"stopped"}
    assert returns.contents() == []
    assert query(stack, f"select status from notify.messages where id = {message['id']}") == [("undelivered",)]
    assert GONE in in_a_shell(stack.home, "python -m notify suppressions list")

    again = hand_over(stack, GONE)
    assert again["suppressed"] == 1
    [refused] = again["messages"]
    [told] = query(stack, f"select status, status_reason from notify.messages where id = {refused['id']}")
    assert told[0] == "suppressed"
    assert "no such mailbox" in told[1]
    assert send(stack) == 1  # the one to the sender of the first
    assert mailbox.letters() == [("boss@example.com", "Not delivered: afterwards"), (GONE, "afterwards")]


def test_housekeeping_removes_what_is_too_old(stack: Stack) -> None:
    """Of two mails that were sent, the one that is older than bodies are kept loses its text; XCom and log say so."""
    old, young = (one["id"] for one in hand_over(stack, OLD, YOUNG)["messages"])
    assert send(stack) == 2
    ninety_one_days_pass(stack, old)
    run_id = stack.run("Housekeeping")
    assert made(stack.xcom("Housekeeping", run_id)) == {"bodies": 1, "stopped": "nothing more is due"}
    assert "removed 1 bodies; nothing more is due" in stack.client.task_log("Housekeeping", run_id, "Housekeeping")
    kept = "select id, status, subject, length(headers) > 0, content_id is not null from notify.messages order by id"
    assert query(stack, kept) == [(old, "sent", "afterwards", False, False), (young, "sent", "afterwards", True, True)]


def ninety_one_days_pass(stack: Stack, message: int) -> None:
    """All that happened to a message happened that much earlier."""
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        outbox.execute("set session_replication_role = replica")  # else nobody may change the history
        content = "select content_id from notify.messages where id = %s"
        for change in (
            f"update notify.contents set created_at = created_at - interval '91 days' where id = ({content})",
            "update notify.messages set created_at = created_at - interval '91 days' where id = %s",
            "update notify.message_events set at = at - interval '91 days' where message_id = %s",
        ):
            outbox.execute(change, [message])
