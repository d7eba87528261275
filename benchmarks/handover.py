"""Hand-over: a message singly, with a commit each, and one message to 10,000 recipients in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.processes import run
from benchmarks.queueing import TOGETHER, hand_over
from notify.storage.engine import engine_for, transaction

SUITE = "handover"

#: Messages that are handed over singly.
SINGLY = 1_000

#: Calls with many recipients.
CALLS = 3

#: The goal: messages in a second, of calls with many recipients.
GOAL = 20_000

#: Before them: an Airflow worker's first message compiles the templates, all others find them compiled.
_WARM_UP = 4


@dataclass(frozen=True, slots=True)
class _Load:
    """Calls, one after the other.

    :param name: of the figure
    :param calls: how many, each with a commit of its own
    :param recipients: of each, who get a message each
    """

    name: str
    calls: int
    recipients: int


def measure(bench: Bench) -> None:
    """Measure all of it."""
    single = _measure(bench, _Load("single", bench.scaled(SINGLY), 1))
    batch = _measure(bench, _Load("batch_of_10000", 1 if bench.quick else CALLS, TOGETHER))
    bench.results.ratio("handover_batch_vs_single", batch / single)
    bench.results.goal("handover_batch_per_second", batch, least=GOAL)


def handing_over(url: str, calls: int, recipients: int) -> Callable[[], dict[str, int]]:
    """A job: hand messages over, each call in a transaction of its own."""
    engine = engine_for(url)

    def hand_all_over(first: int, count: int, together: int) -> dict[str, int]:
        for number in range(first, first + count):
            with transaction(engine) as connection:
                hand_over(connection, range(number * together, (number + 1) * together))
        return {"messages": count * together}

    hand_all_over(0, _WARM_UP, 1)
    return lambda: hand_all_over(_WARM_UP, calls, recipients)


def _measure(bench: Bench, load: _Load) -> float:
    """Measure.

    :returns: messages per second
    """
    with bench.server.database("handover") as url:
        what = f"hand over, {load.calls:,} calls with {load.recipients:,} recipients"
        arguments: dict[str, Any] = {"url": url, "calls": load.calls, "recipients": load.recipients}
        team, seconds = bench.fastest(what, lambda: run("benchmarks.handover:handing_over", **arguments))
    messages = load.calls * load.recipients
    figure = {
        "calls": load.calls,
        "recipients_of_each": load.recipients,
        "seconds": round(team.seconds, 3),
        "messages_per_second": round(messages / team.seconds, 1),
        **team.times(),
        "statements": team.reports[0]["statements"],
        "all_seconds": seconds,
    }
    bench.results.add(SUITE, load.name, figure)
    return messages / team.seconds
