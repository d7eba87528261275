"""django-post_office as a peer: the same mails from the same PostgreSQL to the same mail server.

It is measured as it comes, and with settings that suit it better: large batches (its commits, and its connections, are
one a batch), no log of what succeeded, more threads; with one process and with two. None has more SMTP sessions than
our largest drain.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.bench import Bench
from benchmarks.drain import DELAYS, NotAllSent, observed, queued
from benchmarks.environments import python_of
from benchmarks.processes import CHECKOUT, Team, launch
from benchmarks.queueing import SUBJECT
from benchmarks.receiver import Receiver, receiver
from benchmarks.server import vacuum
from notify.storage.engine import engine_for

SUITE = "post_office"

_SCRIPT = CHECKOUT / "benchmarks" / "peers" / "django_sender.py"

#: Mails that are sent where there is no delay, and for each of its threads where there is one.
MAILS = 4_000
DELAYED = 100

#: The database of queued mails, and its copy that it works on.
_QUEUED, _WORKED_ON = "post_office", "post_office_sending"


@dataclass(frozen=True, slots=True)
class Settings:
    """How it is set.

    :param batch: mails of a batch; its default is 100
    :param log_level: 2, its default, logs every mail in the database; 1 only what failed
    """

    processes: int
    threads: int = 5
    batch: int = 5_000
    log_level: int = 1

    @property
    def name(self) -> str:
        """Of its figure."""
        size = f"{self.processes}_process{'es' * (self.processes > 1)}_{self.threads}_threads"
        return f"{size}_as_it_comes" if self.batch == 100 else size


SETTINGS = (
    Settings(1, batch=100, log_level=2),
    Settings(1),
    Settings(1, threads=16),
    Settings(2, batch=100, log_level=2),
    Settings(2),
    Settings(2, threads=8),
)


def measure(bench: Bench) -> None:
    """Measure all of it."""
    python = python_of("django_sender")
    with _filled(bench, python):
        for delay in DELAYS:
            with receiver(delay) as server:
                for settings in SETTINGS:
                    _send(bench, python, server, settings)


@contextmanager
def _filled(bench: Bench, python: Path) -> Iterator[None]:
    """A database of queued mails that say the same as our messages, to be copied."""
    with queued(bench, 1) as url:
        text, html = _parts(url)
        engine_for(url).dispose()
    bench.tell(f"post_office queues {bench.scaled(MAILS):,} mails")
    bench.server.create_empty(_QUEUED)
    wanted = {
        "database": bench.server.for_django(_QUEUED),
        "count": bench.scaled(MAILS),
        "subject": SUBJECT,
        "text": text,
        "html": html,
    }
    subprocess.run([str(python), str(_SCRIPT), "fill", json.dumps(wanted)], check=True)  # noqa: S603 - ours
    vacuum(bench.server.url(_QUEUED))
    engine_for(bench.server.url(_QUEUED)).dispose()
    yield
    bench.server.drop(_QUEUED)


def _parts(url: str) -> tuple[str, str]:
    """The text and the HTML of our messages."""
    with engine_for(url).connect() as connection:
        row = connection.execute(
            sa.text("select m.headers, c.body from notify.messages m join notify.contents c on c.id = m.content_id")
        ).one()
    mail = message_from_bytes(bytes(row.headers) + b"\r\n" + bytes(row.body), policy=policy.default)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def _send(bench: Bench, python: Path, server: Receiver, settings: Settings) -> None:
    delay = int(server.delay_ms)
    sessions = settings.processes * settings.threads
    count = min(bench.scaled(sessions * DELAYED if delay else MAILS), bench.scaled(MAILS))
    facts: dict[float, dict[str, Any]] = {}

    def once() -> Team:
        bench.server.copy(_QUEUED, _WORKED_ON)
        bench.server.execute(_WORKED_ON, "delete from post_office_email where id > %s", [count])
        wanted = {"database": bench.server.for_django(_WORKED_ON), "port": server.port, **asdict(settings)}
        with observed(bench, server) as fact:
            team = launch([str(python), str(_SCRIPT), "send", json.dumps(wanted)])
        facts[team.seconds] = fact
        bench.server.drop(_WORKED_ON)
        if team.done("accepted") != count or fact.get("taken", count) != count:
            raise NotAllSent(f"post_office sent {team.done('accepted')} of {count}, the server took {fact}")
        return team

    what = f"post_office, {count:,} mails, {settings.name.replace('_', ' ')}, {delay} ms"
    team, seconds = bench.fastest(what, once, 1 if delay else 2)
    figure = {
        "mail_server": server.name,
        "delay_ms": server.delay_ms,
        **asdict(settings),
        "sessions": sessions,
        "messages": count,
        "seconds": round(team.seconds, 3),
        "messages_per_second": round(count / team.seconds, 1),
        "python_cpu_seconds": team.reports[0]["python_cpu_seconds"],
        **facts[team.seconds],
        "all_seconds": seconds,
    }
    bench.results.add(SUITE, f"{settings.name}_{delay}ms", figure)
