"""The claim beside a history: 100 messages at a time, where nothing, one and five million rows tell of sent ones.

And a drain of 100,000 messages beside the largest of them, with the memory of its process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from benchmarks import history
from benchmarks.bench import Bench
from benchmarks.drain import LARGE, Way, drain
from benchmarks.processes import run
from benchmarks.queueing import SENDER
from benchmarks.receiver import receiver
from benchmarks.server import vacuum
from notify.storage import attempts, drains
from notify.storage.engine import engine_for, transaction

SUITE = "claim"

#: Rows of history; a message that was sent has left five.
HISTORIES = {"none": 0, "1m_rows": 1_000_000, "5m_rows": 5_000_000}

#: What waits beside it.
QUEUED = 100_000

#: Claims that are measured, and how many messages each reserves.
CLAIMS = 200
TOGETHER = 100

#: The goals: what the largest history may cost, and how much the memory of a long drain may grow.
GOAL_RATIO = 1.2
GOAL_MB = 50.0


# As attempts.release does it, which is made for the few messages that a run has reserved, and not for thousands; nor is
# the trigger that writes the history.
_WITHOUT_TRIGGERS = sa.text("set local session_replication_role = replica")
_PUT_BACK = sa.text("""
    with token as (delete from notify.attempts where drain_id = :drain returning message_id)
    update notify.messages m set status = 'queued', attempts = m.attempts - 1 from token where m.id = token.message_id
""")


def measure(bench: Bench) -> None:
    """Measure all of it."""
    bench.tell(f"hand over {bench.scaled(QUEUED):,} messages, and send {history.SAMPLES:,} before them")
    databases = _prepared(bench)
    for limit in (-1, LARGE):
        rounds = [_claim(bench, list(databases), limit) for _ in range(bench.repeat)]
        for name, rows in databases.items():
            figure = _figure(name, rows, rounds)
            bench.results.add(SUITE, f"{name}{'_limited' * (limit >= 0)}", figure)
    _compare(bench)
    _drain(bench, bench.server.url(list(databases)[-1]))
    for name in databases:
        bench.server.drop(name)


def _prepared(bench: Bench) -> dict[str, int]:
    """Databases with the same queue and more and more history.

    :returns: their names, and how many rows of history they have
    """
    sizes = {name: bench.scaled(rows) if rows else 0 for name, rows in HISTORIES.items()}
    before, template = 0, ""
    for name, rows in sizes.items():
        url = bench.server.create(name, template or "template0")
        if template:
            bench.tell(f"make it {rows:,} rows of history")
            copied = [size // history.ROWS_OF_A_MESSAGE for size in (before, rows, max(sizes.values()))]
            history.add(url, *copied)
        else:
            history.prepare(url, bench.scaled(QUEUED))
        engine_for(url).dispose()
        before, template = rows, name
    return sizes


def claiming(url: str, others: list[str], claims: int, together: int, limit: int) -> Callable[[], dict[str, Any]]:
    """A job: claim again and again, in one database after the other, and put everything back.

    In turns, because whatever else the machine does then holds all of them up alike.
    """
    queues = [_Queue(one, limit) for one in (url, *others)]

    def claim_all() -> dict[str, Any]:
        for _ in range(claims):
            for queue in queues:
                queue.claim(together)
        for queue in queues:
            queue.put_back()
        return {"seconds": [queue.seconds for queue in queues]}

    return claim_all


class _Queue:
    """A database whose queue is claimed from."""

    def __init__(self, url: str, limit: int) -> None:
        self._engine = engine_for(url)
        self.seconds: list[float] = []
        with transaction(self._engine) as connection:
            self._drain = drains.start(connection, SENDER, limit, worker="benchmark")

    def claim(self, wanted: int) -> None:
        """Claim, and time it; the commit is not part of it."""
        with transaction(self._engine) as connection:
            began = time.perf_counter()
            found = attempts.claim(connection, self._drain, wanted)
            self.seconds.append(time.perf_counter() - began)
        assert len(found) == wanted

    def put_back(self) -> None:
        """Put back all that was claimed."""
        with transaction(self._engine) as connection:
            connection.execute(_WITHOUT_TRIGGERS)
            connection.execute(_PUT_BACK, {"drain": self._drain.id})
            drains.end(connection, self._drain, "it was only measured")


def _claim(bench: Bench, names: list[str], limit: int) -> dict[str, list[float]]:
    """Claim, put it back, and clean up.

    :returns: of each database, the milliseconds of each claim
    """
    urls = [bench.server.url(name) for name in names]
    count = min(CLAIMS, bench.scaled(QUEUED) // TOGETHER // 2)
    arguments: dict[str, Any] = {"claims": count, "together": TOGETHER, "limit": limit}
    (report,) = run("benchmarks.claim:claiming", url=urls[0], others=urls[1:], **arguments).reports
    found = {
        name: [1000 * one for one in seconds] for name, seconds in zip(names, report["done"]["seconds"], strict=True)
    }
    told = ", ".join(f"history {name} {statistics.median(found[name]):.2f} ms" for name in names)
    bench.tell(f"claim {TOGETHER}, {'no limit' if limit < 0 else 'a limit'}: {told}")
    for url in urls:
        vacuum(url)
        engine_for(url).dispose()
    return found


def _figure(name: str, rows: int, rounds: list[dict[str, list[float]]]) -> dict[str, Any]:
    """What there is to say of a database: of the same round for all of them, or they could not be compared."""
    best = min(rounds, key=lambda found: sum(map(statistics.median, found.values())))[name]
    return {
        "rows": rows,
        "claims": len(best),
        "messages_of_each": TOGETHER,
        "median_ms": round(statistics.median(best), 3),
        "p95_ms": round(statistics.quantiles(best, n=20)[-1], 3),
        "all_medians_ms": [round(statistics.median(found[name]), 3) for found in rounds],
    }


def _compare(bench: Bench) -> None:
    figures = bench.results.figures[SUITE]
    for limited in ("", "_limited"):
        none = figures[f"none{limited}"]["median_ms"]
        for size in ("1m", "5m"):
            ratio = figures[f"{size}_rows{limited}"]["median_ms"] / none
            bench.results.ratio(f"claim_{size}_rows_vs_none{limited}", ratio)
        bench.results.goal(f"claim_5m_rows_vs_none{limited}", ratio, most=GOAL_RATIO)


def _drain(bench: Bench, url: str) -> None:
    """A drain of all that is queued, with a limit to be counted."""
    count = bench.scaled(QUEUED)
    engine_for(url).dispose()
    way = Way(16, limit=LARGE)
    with receiver() as server:
        _, figure = drain(bench, server, url, way, count)
    bench.tell(f"drain {count:,} messages: {figure['seconds']:.1f} s")
    bench.results.add(SUITE, f"drain_of_{QUEUED}", figure)
    bench.results.goal("drain_of_100000_growth_mb", figure["rss_peak_mb"] - figure["rss_start_mb"], most=GOAL_MB)
