"""The drain: what one run of Notifications sends in a second, with one commit a message and fsync on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import Connection

from benchmarks.bench import Bench
from benchmarks.processes import Report, Team, run
from benchmarks.profiles import hottest
from benchmarks.queueing import SENDER, fill, keep
from benchmarks.receiver import Receiver, receiver
from benchmarks.results import Figure
from benchmarks.sink import HOST
from notify.channels.smtp import SmtpChannel
from notify.drain import Drainer
from notify.storage.engine import engine_for

SUITE = "drain"
JOB = "benchmarks.drain:draining"

#: Milliseconds before each answer.
DELAYS = (0, 20)

#: Sessions, and how many messages are sent over so many where there is no delay.
MESSAGES = {1: 10_000, 4: 20_000, 16: 20_000}

#: Messages for each session where there is a delay.
DELAYED = 500

#: A limit that counts and never holds back.
LARGE = 1_000_000

#: How often what waits for the delay most of the time is measured: it hardly depends on what else the machine does.
DELAYED_REPEAT = 2

#: A budget that no machine exceeds; a run's own is ten minutes.
ENOUGH = timedelta(hours=2)

#: The database of queued messages, and its copy that a drain works on.
QUEUED, WORKED_ON = "queued", "draining"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to drain.

    :param sessions: SMTP sessions
    :param limit: messages an hour, -1 for none
    :param pipelining: whether commands may be sent together, where the server offers it
    """

    sessions: int
    limit: int = -1
    pipelining: bool = True

    def name(self, delay: int) -> str:
        """Of its figure."""
        more = "_limited" * (self.limit >= 0) + "_verb_by_verb" * (not self.pipelining)
        return figure_name(self.sessions, delay) + more


#: What is measured at each delay.
WAYS = {
    0: (Way(1), Way(4), Way(16), Way(16, limit=LARGE), Way(16, pipelining=False)),
    20: (Way(1), Way(4), Way(16), Way(16, pipelining=False)),
}


def figure_name(sessions: int, delay: int) -> str:
    """What a figure is called that has so many sessions and milliseconds."""
    return f"{sessions}_session{'s' * (sessions > 1)}_{delay}ms"


class NotAllSent(Exception):
    """A drain left something, or the server did not take all that it sent: its figures are worth nothing."""


def measure(bench: Bench) -> None:
    """Measure all of it."""
    with queued(bench, bench.scaled(max(MESSAGES.values()))):
        for delay in DELAYS:
            with receiver(delay) as server:
                for way in WAYS[delay]:
                    _drain(bench, server, way)
        _profile(bench)


@contextmanager
def queued(bench: Bench, count: int) -> Iterator[str]:
    """A database in which so many messages are due, to be copied."""
    bench.tell(f"hand over {count:,} messages")
    url = bench.server.create(QUEUED)
    fill(url, count)
    engine_for(url).dispose()
    yield url
    bench.server.drop(QUEUED)


def draining(url: str, port: int, sessions: int, limit: int = -1, pipelining: bool = True) -> Callable[[], Any]:
    """A job: one run over the queue.

    :param port: of the server on this machine
    """
    channel = _channel(port, sessions, pipelining=pipelining)
    drainer = Drainer(engine_for(url), channel, SENDER, limit=limit, budget=ENOUGH)
    return lambda: asdict(drainer.run())


def _channel(port: int, sessions: int, *, pipelining: bool) -> SmtpChannel:
    extra = {
        "disable_ssl": True,
        "disable_tls": True,
        "from_email": "notify@example.com",
        "from_name": "Example Ltd",
        "max_connections": sessions,
        **({} if pipelining else {"pipelining": False}),
    }
    described = Connection(conn_id=SENDER, conn_type="smtp", host=HOST, port=port, extra=json.dumps(extra))
    return SmtpChannel(SENDER, described)


def _drain(bench: Bench, server: Receiver, way: Way) -> None:
    delay = int(server.delay_ms)
    count = bench.scaled(way.sessions * DELAYED if delay else MESSAGES[way.sessions])
    if not way.pipelining and delay:
        count //= 3
    figures: dict[float, Figure] = {}

    def once() -> Team:
        with bench.server.database(WORKED_ON, QUEUED) as url:
            keep(url, count)
            engine_for(url).dispose()
            team, figure = drain(bench, server, url, way, count)
        figures[team.seconds] = figure
        return team

    what = f"drain {count:,} messages, {way.name(delay).replace('_', ' ')}"
    team, seconds = bench.fastest(what, once, DELAYED_REPEAT if delay else None)
    figure = {**figures[team.seconds], "all_seconds": seconds}
    bench.results.add(SUITE, way.name(delay), figure)


def drain(bench: Bench, server: Receiver, url: str, way: Way, count: int) -> tuple[Team, Figure]:
    """Drain a queue to its end.

    :param count: how many messages are in it
    :returns: the process that did it, and what there is to say
    :raises NotAllSent: some were left
    """
    with observed(bench, server) as fact:
        team = run(JOB, url=url, port=server.port, **asdict(way))
    _check(team, count, fact)
    return team, _figure(server, way, team, fact)


@contextmanager
def observed(bench: Bench, server: Receiver) -> Iterator[dict[str, Any]]:
    """See what the two servers do meanwhile.

    :returns: filled at the end: round trips of a message, where the mail server counts them, and what both computed
    """
    before, database, sink = server.counts(), bench.server.cpu_seconds(), server.cpu_seconds()
    fact: dict[str, Any] = {}
    yield fact
    fact["database_cpu_seconds"] = round(bench.server.cpu_seconds() - database, 3)
    fact["mail_server_cpu_seconds"] = round(server.cpu_seconds() - sink, 3)
    after = server.counts()
    if before and after:
        messages = after["messages"] - before["messages"]
        fact["taken"] = messages
        fact["round_trips_per_message"] = round((after["round_trips"] - before["round_trips"]) / max(messages, 1), 2)
        fact["sessions_opened"] = after["sessions"] - before["sessions"]


def _check(team: Team, count: int, fact: dict[str, Any]) -> None:
    accepted = team.done("accepted")
    if accepted != count or fact.get("taken", count) != count:
        raise NotAllSent(f"{accepted} of {count} were accepted, the server took {fact.get('taken')}: {team.reports}")


def _figure(server: Receiver, way: Way, team: Team, fact: dict[str, Any]) -> Figure:
    messages = team.done("accepted")
    report = team.reports[0]
    figure = {
        "mail_server": server.name,
        "delay_ms": server.delay_ms,
        "sessions": way.sessions,
        "limit": way.limit,
        "pipelining": way.pipelining,
        "messages": messages,
        "seconds": round(team.seconds, 3),
        "messages_per_second": round(messages / team.seconds, 1),
        "python_cpu_seconds": report["python_cpu_seconds"],
        **fact,
        **{name: value for name, value in report.items() if name.startswith("rss_")},
    }
    if server.delay_ms and (trips := fact.get("round_trips_per_message")):
        bound = way.sessions / (trips * server.delay_ms / 1000)
        figure["bound_messages_per_second"] = round(bound, 1)
        figure["share_of_the_bound"] = round(messages / team.seconds / bound, 3)
    return figure


# --- Where the time goes ---------------------------------------------------------------------------------------------


def _profile(bench: Bench) -> None:
    """Where the time goes, with 16 sessions and no delay: of the threads, of the statements, of the functions."""
    with receiver() as server:
        waits = _profiled(bench, server, "waits")["waits"]
        with bench.server.database(WORKED_ON, QUEUED) as url, bench.server.telling(WORKED_ON) as statements:
            run(JOB, url=url, port=server.port, sessions=16)
        functions = _profiled(bench, server, "functions")
    bench.results.profiles[SUITE] = {"parts": waits, "hottest": hottest(functions), "statements": statements}


def _profiled(bench: Bench, server: Receiver, profile: str) -> Report:
    with bench.server.database(WORKED_ON, QUEUED) as url:
        return run(JOB, profile=profile, url=url, port=server.port, sessions=16).reports[0]
