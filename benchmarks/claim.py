"""The claim beside a history: 100 messages at a time, where nothing, one and five million rows tell of sent ones.

And a drain of 100,000 messages beside the largest of them, with the memory of its process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

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
HISTORIES = (0, 1_000_000, 5_000_000)

#: What waits beside it.
QUEUED = 100_000

#: Claims that are measured, and how many messages each reserves.
CLAIMS = 300
TOGETHER = 100

#: The goals: what the largest history may cost, and how much the memory of a long drain may grow.
GOAL_RATIO = 1.2
GOAL_MB = 50.0


def measure(bench: Bench) -> None:
    """Measure all of it."""
    bench.tell(f"hand over {bench.scaled(QUEUED):,} messages, and send {history.SAMPLES:,} before them")
    url = bench.server.create(SUITE)
    history.prepare(url, bench.scaled(QUEUED))
    sizes = [bench.scaled(rows) if rows else 0 for rows in HISTORIES]
    before = 0
    for name, rows in zip(("none", "1m_rows", "5m_rows"), sizes, strict=True):
        if rows:
            bench.tell(f"make it {rows:,} rows of history")
            copied = [size // history.ROWS_OF_A_MESSAGE for size in (before, rows, sizes[-1])]
            history.add(url, *copied)
        for limit in (-1, LARGE):
            _claim(bench, url, f"{name}{'_limited' * (limit >= 0)}", rows, limit)
        before = rows
    _compare(bench)
    _drain(bench, url)
    bench.server.drop(SUITE)


def claiming(url: str, claims: int, together: int, limit: int) -> Callable[[], dict[str, Any]]:
    """A job: claim again and again, each in a transaction of its own, and put everything back."""
    engine = engine_for(url)
    with transaction(engine) as connection:
        drain = drains.start(connection, SENDER, limit, worker="benchmark")

    def claim_all() -> dict[str, Any]:
        seconds = []
        for _ in range(claims):
            with transaction(engine) as connection:
                began = time.perf_counter()
                found = attempts.claim(connection, drain, together)
                seconds.append(time.perf_counter() - began)
            assert len(found) == together
        with transaction(engine) as connection:
            attempts.release(connection, drain.id, "released: it was only measured")
            drains.end(connection, drain, "it was only measured")
        return {"seconds": seconds}

    return claim_all


def _claim(bench: Bench, url: str, name: str, rows: int, limit: int) -> None:
    count = min(CLAIMS, bench.scaled(QUEUED) // TOGETHER // 2)
    engine_for(url).dispose()
    arguments: dict[str, Any] = {"url": url, "claims": count, "together": TOGETHER, "limit": limit}
    rounds = []
    for _ in range(bench.repeat):
        (report,) = run("benchmarks.claim:claiming", **arguments).reports
        rounds.append([one * 1000 for one in report["done"]["seconds"]])
        vacuum(url)
    medians = [statistics.median(one) for one in rounds]
    best = min(rounds, key=statistics.median)
    bench.tell(f"claim {TOGETHER} of {bench.scaled(QUEUED):,}, {name.replace('_', ' ')}: {min(medians):.2f} ms")
    figure = {
        "rows": rows,
        "limit": limit,
        "claims": count,
        "messages_of_each": TOGETHER,
        "median_ms": round(min(medians), 3),
        "p95_ms": round(statistics.quantiles(best, n=20)[-1], 3),
        "all_medians_ms": [round(one, 3) for one in medians],
    }
    bench.results.add(SUITE, name, figure)


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
