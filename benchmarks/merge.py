"""The merge: what is put aside becomes digests, as a run of UserNotifications does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from benchmarks.bench import Bench
from benchmarks.copying import Copied, copy
from benchmarks.filling import Waiting, put_aside, settings, verify
from benchmarks.processes import Team, run
from benchmarks.profiles import hottest, shares
from benchmarks.server import vacuum
from notify.merge import Merger
from notify.storage import balance
from notify.storage.engine import engine_for

SUITE = "merge"
JOB = "benchmarks.merge:merging"

#: How many people, with how many notifications each; so many people are the recipients of the same events.
PEOPLE = 20_000
EACH = 10
TOGETHER = 10

#: The goal: merged in so many seconds, with no more MB added to the memory after a tenth of the way.
GOAL_SECONDS = 60.0
GOAL_MB = 50.0

#: What else is measured: a person with a great many, and people with one each, which is moved as it is.
MANY = 10_000
SINGLES = 500

#: How often each is measured: one takes a minute.
REPEAT = 2

#: A database that is filled, and its copy that a merge works on.
_FILLED, _WORKED_ON = "filled", "merging"

#: What a digest takes, and the functions that do it; none of them calls another.
_PARTS = {
    "reading from the database": (
        "deferred.py:take",
        "deferred.py:read",
        "people.py:find",
        "preferences.py:find",
        "events.py:told",
    ),
    "arranging by case": ("digest.py:arrange",),
    "subject": ("library.py:_subject",),
    "HTML": ("library.py:_html",),
    "text": ("library.py:_text",),
    "composing the body": ("mime.py:compose_body",),
    "composing the headers": ("composing.py:compose",),
    "storing in the database": ("outbox.py:add_contents", "outbox.py:add", "events.py:arrive"),
    "committing": ("statements.py:_do_commit",),
}


class Unbalanced(Exception):
    """After a merge the balance was not even, or something was left: its figures are worth nothing."""


def measure(bench: Bench) -> None:
    """Measure all of it."""
    waiting = Waiting(bench.scaled(PEOPLE), EACH, TOGETHER)
    with _filled(bench, waiting):
        one = _merge(bench, "one_process", waiting)
        two = _merge(bench, "two_processes", waiting, processes=2)
        copying = _copy(bench)
    bench.results.ratio("merge_two_processes_vs_one", one.seconds / two.seconds)
    bench.results.ratio("merge_one_process_vs_copy", copying / one.seconds)
    goal = GOAL_SECONDS * waiting.total / (PEOPLE * EACH)
    for name, team in (("one_process", one), ("two_processes", two)):
        bench.results.goal(f"merge_{name}_seconds", team.seconds, most=goal)
        bench.results.goal(f"merge_{name}_growth_mb", team.most("rss_growth_mb"), most=GOAL_MB)
    for name, less in (("one_person", Waiting(1, bench.scaled(MANY))), ("singles", Waiting(bench.scaled(SINGLES), 1))):
        with _filled(bench, less):
            _merge(bench, name, less)
    with _filled(bench, Waiting(bench.scaled(PEOPLE // 10), EACH, TOGETHER)):
        _profile(bench)


def merging(url: str) -> Callable[[], dict[str, Any]]:
    """A job: one run of UserNotifications."""
    merger = Merger(engine_for(url), settings())
    return lambda: asdict(merger.run())


@contextmanager
def _filled(bench: Bench, waiting: Waiting) -> Iterator[None]:
    """A database in which so much is due, to be copied."""
    bench.tell(f"put aside {waiting.total:,} notifications of {waiting.people:,} people")
    url = bench.server.create(_FILLED)
    put_aside(url, waiting)
    verify(url, waiting)
    vacuum(url)
    engine_for(url).dispose()
    yield
    bench.server.drop(_FILLED)


def _merge(bench: Bench, name: str, waiting: Waiting, *, processes: int = 1) -> Team:
    """Merge everything, and see that it is all there."""
    checks = []

    def once() -> Team:
        with bench.server.database(_WORKED_ON, _FILLED) as url:
            team = run(JOB, processes=processes, url=url)
            checks.append(_checked(url, waiting))
        return team

    team, seconds = bench.fastest(f"merge, {name.replace('_', ' ')}", once, REPEAT)
    bench.results.add(SUITE, name, _figure(team, waiting) | {"check_seconds": min(checks), "all_seconds": seconds})
    return team


def _checked(url: str, waiting: Waiting) -> float:
    """Draw up the balance, as ``python -m notify check`` does.

    :returns: how many seconds that took
    :raises Unbalanced: it is not even, or not everything found its home
    """
    began = time.perf_counter()
    found = balance.check(engine_for(url))
    seconds = time.perf_counter() - began
    if not found.even or found.mails + found.in_digests != waiting.total:
        raise Unbalanced(str(found))
    return round(seconds, 3)


def _figure(team: Team, waiting: Waiting) -> dict[str, Any]:
    digests = team.done("digests")
    return {
        "people": waiting.people,
        "notifications": waiting.total,
        "digests": digests,
        "moved_as_they_are": team.done("moved"),
        "seconds": round(team.seconds, 3),
        "notifications_per_second": round(waiting.total / team.seconds),
        "digests_per_second": round(digests / team.seconds, 1),
        **team.times(),
        "statements": team.reports[0]["statements"],
        **{f"rss_{when}_mb": team.most(f"rss_{when}_mb") for when in ("start", "tenth", "end", "peak", "growth")},
    }


def _copy(bench: Bench) -> float:
    """Merge once more, and let PostgreSQL copy the rows that came of it into empty tables.

    :returns: the seconds of the copying
    """
    with bench.server.database(_WORKED_ON, _FILLED) as url:
        before = _newest_content(url)
        run(JOB, url=url)
        copies = [_copied(bench, url, before) for _ in range(bench.repeat)]
    best = min(copies)
    bench.results.add(
        SUITE,
        "copy_of_the_same_rows",
        {"seconds": best.seconds, "mb": best.mb, "all_seconds": [one.seconds for one in copies]},
    )
    return best.seconds


def _copied(bench: Bench, url: str, newest: int) -> Copied:
    with bench.server.database("copied") as empty:
        copied = copy(url, empty, newest)
    bench.tell(f"copy the same rows: {copied.seconds:.2f} s")
    return copied


def _newest_content(url: str) -> int:
    with engine_for(url).connect() as connection:
        return connection.scalar(sa.text("select max(id) from notify.contents")) or 0


def _profile(bench: Bench) -> None:
    """Where the time goes; the profiler makes Python slower, so these are shares and no seconds."""
    with bench.server.database(_WORKED_ON, _FILLED) as url:
        report = run(JOB, url=url, profile="functions").reports[0]
    bench.results.profiles[SUITE] = {"parts": shares(report, _PARTS), "hottest": hottest(report)}
