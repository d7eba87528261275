"""What the acceptance tests ask of a running stack, the way its users would."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg

from dev.catcher import Mail
from dev.stack import Stack

#: How soon an edit must show, as the documentation promises.
A_MINUTE = 60


def wait_until(condition: Callable[[], object], what: str, seconds: float = A_MINUTE) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} seconds"
        time.sleep(0.5)


def dag(stack: Stack, dag_id: str) -> dict[str, Any]:
    """What Airflow knows of a DAG."""
    known: dict[str, Any] = stack.api("GET", f"/dags/{dag_id}/details")
    return known


def run(stack: Stack, dag_id: str, task_id: str | None = None) -> dict[str, Any]:
    """Run a job to its end and return what its task says it did."""
    result: dict[str, Any] = stack.xcom(dag_id, stack.run(dag_id), task_id)
    return result


def hand_over(stack: Stack, subject: str, recipient: str = "anna@example.com", **fields: object) -> int:
    """Hand a message over, as a program does; its number in the register."""
    letter = {"recipient": recipient, "subject": subject, "message": "Hello.", **fields}
    answer = stack.client.request("POST", "/notify/api/v1/messages", letter)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    (stored,) = answer.json()["messages"]
    return int(stored["id"])


def clear(stack: Stack, dag_id: str, run_id: str) -> None:
    """Clear all tasks of a run, as a person does in the UI, and wait until they have run again."""
    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": False, "reset_dag_runs": True}
    stack.api("POST", f"/dags/{dag_id}/clearTaskInstances", body)
    stack.require_success(dag_id, run_id)


def in_a_shell(home: Path, commands: str) -> str:
    """What commands print in a person's shell that has read the stack's file, and nothing else of it."""
    env = {"PATH": os.defpath, "HOME": str(home)}
    script = f". {shlex.quote(str(home / 'env'))} && {commands}"
    return subprocess.run(["sh", "-c", script], cwd="/", env=env, capture_output=True, text=True, check=True).stdout


def query(stack: Stack, sql: str) -> list[tuple[Any, ...]]:
    """Ask the outbox database."""
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        cursor = outbox.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


class Mailbox:
    """The mails that arrive from now on."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = {mail.path for mail in stack.mail()}

    def mails(self) -> list[Mail]:
        """Those that arrived, oldest first."""
        return [mail for mail in self._stack.mail() if mail.path not in self._before]

    def letters(self) -> list[tuple[str, str]]:
        """Recipient and subject of each, sorted; a mail to several recipients names them all."""
        return sorted((", ".join(mail.recipients), mail.subject) for mail in self.mails())

    def throw_away(self) -> None:
        """Remove them: a thousand would slow down whoever looks later."""
        for mail in self.mails():
            mail.path.unlink()

    def texts(self, address: str) -> list[str]:
        """What stands in the mails to somebody, without markup."""
        return [text_of(mail) for mail in self.mails() if address in mail.recipients]


def text_of(mail: Mail) -> str:
    """A mail's words, without markup."""
    body = mail.message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())
