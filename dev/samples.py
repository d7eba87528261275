"""The samples of `make up`: people, cases, events, deadlines and a reminder, brought once, where there is no data yet.

What happened lies so far back that most of it is due: three runs later the mailbox has one of each sort of mail.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
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

_WHAT = b"""
    select m.message_id, m.kind || case when count(*) > 1 then ' of ' || count(*) else '' end
    from notify.messages m join notify.notifications n on n.message_id = m.id group by m.id
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
    stack.produce(json.loads(EVENTS.read_text(encoding="utf-8")), PEOPLE)
    runs = run_jobs(stack)
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        # A run by the clock may have been at the queue, and ours left it to that one.
        arrived = [(stack.wait_for_mail(message_id), what) for message_id, what in outbox.execute(_WHAT)]
        steps(f"{len(arrived)} mails arrived, {time.monotonic() - begin:.1f} seconds after their hand-over began:")
        say(_who_got_what(arrived, stack.catcher.maildir.path))
        say(_where_next(stack, outbox, runs))


def run_jobs(stack: Stack) -> dict[str, str]:
    """Run the jobs, what fills the outbox before what empties it.

    :return: the number of each job's run
    """
    *first, last = JOBS
    runs = {job: stack.trigger(job) for job in first}
    for job, run_id in runs.items():
        stack.require_success(job, run_id)
    return {**runs, last: stack.run(last)}


def _who_got_what(arrived: Sequence[tuple[Mail, str]], folder: Path) -> str:
    rows = [
        (", ".join(mail.recipients), what, short(mail.subject, 60), str(mail.path.relative_to(folder)))
        for mail, what in arrived
    ]
    return table(HEAD, sorted(rows))


def _where_next(stack: Stack, outbox: psycopg.Connection[Any], runs: Mapping[str, str]) -> str:
    waiting, due_at = _row(outbox, _WAITING)
    waits = f"{waiting} notifications, the first of them until {due_at:%Y-%m-%d %H:%M}Z" if waiting else "nothing"
    return f"""
  Waiting   {waits}
  Why       python -m notify explain --person {SOMEBODY}      (in a shell, as above)
  Numbers   {stack.url}/dags/UserNotifications/runs/{runs["UserNotifications"]}: the task's XCom
"""


def _row(outbox: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = outbox.execute(query.encode()).fetchone()
    assert row is not None
    return row
