"""The samples of `make up`: people, cases, events, deadlines and a reminder, brought once, where there is no data yet.

What happened lies so far back that most of it is due: three runs later the mailbox has one of each sort of mail.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from dev.catcher import Mail
from dev.settings import CHECKOUT
from dev.stack import Stack
from dev.steps import Steps, say
from dev.table import short, table

FOLDER = CHECKOUT / "include" / "sample"
PEOPLE = FOLDER / "people.csv"
EVENTS = FOLDER / "events.json"

#: Whose story is worth asking for: a digest, a deadline, and something that waits.
SOMEBODY = "anna"

#: What fills the outbox, and, last, what empties it.
JOBS = ("UserNotifications", "Reminders", "Notifications")

HEAD = ("to", "what", "subject", "file")

_NEW = "select not exists (select from notify.events) and not exists (select from notify.people)"

_WHAT = """
    select m.message_id, m.kind, count(n.id) from notify.messages m
    join notify.notifications n on n.message_id = m.id group by m.id
"""

_WAITING = "select count(*), min(due_at) from notify.deferred"


def are_wanted(stack: Stack) -> bool:
    """Whether nothing has been put into this outbox yet that samples could get into the way of."""
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        return bool(_row(outbox, _NEW)[0])


def bring(stack: Stack, steps: Steps) -> None:
    """Hand the samples over and run the three jobs; then tell who got what, and where to look next.

    :raises StackError: something keeps them from arriving
    """
    begin = time.monotonic()
    steps("Bringing sample people, cases and events; then runs of UserNotifications, Reminders and Notifications")
    before = {mail.path for mail in stack.mail()}
    stack.produce(json.loads(EVENTS.read_text(encoding="utf-8")), PEOPLE)
    run_jobs(stack)
    arrived = [mail for mail in stack.mail() if mail.path not in before]
    steps(f"{len(arrived)} mails arrived, {time.monotonic() - begin:.1f} seconds after the samples' hand-over began:")
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        say(_who_got_what(stack, outbox, arrived))
        say(_where_next(stack, outbox))


def run_jobs(stack: Stack) -> dict[str, str]:
    """Run the jobs, what fills the outbox before what empties it.

    :return: the number of each job's run
    """
    *first, last = JOBS
    runs = {job: stack.trigger(job) for job in first}
    for job, run_id in runs.items():
        stack.require_success(job, run_id)
    return {**runs, last: stack.run(last)}


def _who_got_what(stack: Stack, outbox: psycopg.Connection[Any], arrived: Sequence[Mail]) -> str:
    kinds = {message_id: (kind, count) for message_id, kind, count in outbox.execute(_WHAT)}
    folder = stack.catcher.maildir.path
    rows = [
        (
            ", ".join(mail.recipients),
            _what(*kinds.get(mail.message_id, ("", 1))),
            short(mail.subject, 60),
            str(mail.path.relative_to(folder)),
        )
        for mail in sorted(arrived, key=lambda mail: mail.recipients)
    ]
    return table(HEAD, rows)


def _what(kind: str, count: int) -> str:
    return f"digest of {count}" if count > 1 else kind


def _where_next(stack: Stack, outbox: psycopg.Connection[Any]) -> str:
    waiting, due_at = _row(outbox, _WAITING)
    waits = f"; {waiting} notifications wait, the first until {due_at:%Y-%m-%d %H:%M}Z" if waiting else ""
    return f"""
  Why       python -m notify explain --person {SOMEBODY}      (in a shell that has read the file above)
  Numbers   {stack.url}/dags/UserNotifications: a run's XCom tells what it did{waits}
"""


def _row(outbox: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = outbox.execute(query.encode()).fetchone()
    assert row is not None
    return row
