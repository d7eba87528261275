"""The samples of `make up`: people, cases, events, deadlines, a reminder, SMS; brought once, where there is no data.

What happened lies so far back that most of it is due: three runs later the mailbox has one of each sort of mail. A
fourth tells what became of the SMS.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from dev.catcher import Mail
from dev.errors import StackError
from dev.eurosms import EuroSms
from dev.eurosms.book import ON_ITS_WAY
from dev.settings import CHECKOUT
from dev.stack import Stack
from dev.steps import Steps, say
from dev.table import short, table

FOLDER = CHECKOUT / "include" / "sample"
PEOPLE = FOLDER / "people.csv"
EVENTS = FOLDER / "events.json"
SMS = FOLDER / "sms.json"

#: Whose story is worth asking for: a digest, a deadline, and something that waits.
SOMEBODY = "anna"

#: What fills the outbox, and, last, what empties it.
JOBS = ("UserNotifications", "Reminders", "Notifications")

#: What learns what became of SMS, and how often it is run for the samples: runs by the clock may be in between.
REPORTS = "DeliveryReports"
MOST_RUNS = 5

HEAD = ("to", "what", "subject", "file")
SMS_HEAD = ("to", "text", "parts", "what became of it")

_NEW = "select not exists (select from notify.events) and not exists (select from notify.people)"

_WHAT = b"""
    select m.message_id, m.kind || case when count(*) > 1 then ' of ' || count(*) else '' end
    from notify.messages m join notify.notifications n on n.message_id = m.id
    where m.not_before <= now() group by m.id
"""

_SMS = b"""
    select r.address, convert_from(c.body, 'UTF8') as text, m.parts, m.status
    from notify.messages m join notify.recipients r on r.message_id = m.id
    join notify.contents c on c.id = m.content_id
    where m.channel = 'sms' order by m.id
"""

_WAITING = "select count(*), min(due_at) from notify.deferred"

# Somebody's quiet hours: these depend on when make up is started.
_QUIET = "select count(*), min(not_before) from notify.messages where status = 'queued' and not_before > now()"


def are_wanted(stack: Stack) -> bool:
    """Whether nothing has been put into this outbox yet that samples could get into the way of."""
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        return bool(_row(outbox, _NEW)[0])


def bring(stack: Stack, steps: Steps, *, sms: bool = False) -> None:
    """Hand the samples over and run the three jobs; then tell who got what, and where to look next.

    :param sms: bring SMS as well; the stack has a gateway for them
    :raises StackError: something keeps them from arriving
    """
    begin = time.monotonic()
    steps("Bringing sample people, cases and events; then runs of UserNotifications, Reminders and Notifications")
    stack.produce([call for file in ((EVENTS, SMS) if sms else (EVENTS,)) for call in _calls(file)], PEOPLE)
    runs = run_jobs(stack)
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        # A run by the clock may have been at the queue, and ours left it to that one.
        arrived = [(stack.wait_for_mail(message_id), what) for message_id, what in outbox.execute(_WHAT)]
        steps(f"{len(arrived)} mails arrived, {time.monotonic() - begin:.1f} seconds after their hand-over began:")
        say(_who_got_what(arrived, stack.catcher.maildir.path))
    if sms:
        _follow_sms(stack, steps)
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        say(_where_next(stack, outbox, runs))


def _calls(file: Path) -> list[Any]:
    calls: list[Any] = json.loads(file.read_text(encoding="utf-8"))
    return calls


def _follow_sms(stack: Stack, steps: Steps) -> None:
    """Learn what became of the SMS, and tell."""
    wanted = len(_calls(SMS))
    for _ in range(MOST_RUNS):
        stack.run(REPORTS)
        with psycopg.connect(stack.outbox_conninfo) as outbox:
            rows = outbox.execute(_SMS).fetchall()
        if stack.sms and _is_known(stack.sms, [status for *_, status in rows], wanted):
            steps(f"{wanted} SMS left; {REPORTS} asked the gateway what became of them:")
            say(
                table(
                    SMS_HEAD, [(address, short(text, 60), str(parts), status) for address, text, parts, status in rows]
                )
            )
            return
    raise StackError("Nobody knows what became of the sample SMS.", f"Look at {stack.url}/dags/{REPORTS}")


def _is_known(gateway: EuroSms, statuses: Sequence[str], wanted: int) -> bool:
    """Whether the register has what the gateway told; a run by the clock may still be at it."""
    told = [sms for sms in gateway.taken if ON_ITS_WAY not in sms.states]
    known = [status for status in statuses if status in {"delivered", "undelivered"}]
    return len(gateway.taken) >= wanted and len(known) == len(told) > 0


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
    quiet, until = _row(outbox, _QUIET)
    if quiet:
        waits += f"; {quiet} mail for the end of quiet hours, {until:%Y-%m-%d %H:%M}Z"
    return f"""
  Waiting   {waits}
  Why       python -m notify explain --person {SOMEBODY}      (in a shell, as above)
  Numbers   {stack.url}/dags/UserNotifications/runs/{runs["UserNotifications"]}: the task's XCom
"""


def _row(outbox: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = outbox.execute(query.encode()).fetchone()
    assert row is not None
    return row
