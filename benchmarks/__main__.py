"""`make bench`: measure, print, and write ``benchmarks/results.json``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    campaign,
    claim,
    drain,
    email_operator,
    handover,
    merge,
    pages,
    post_office,
    publishing,
    raw,
    register,
)
from benchmarks.bench import Bench
from benchmarks.comparisons import compare
from benchmarks.environments import NotToBeHad
from benchmarks.processes import CHECKOUT
from benchmarks.results import Results
from benchmarks.server import embedded
from dev.steps import Steps, say

#: What is measured, in this order.
SUITES: dict[str, Callable[[Bench], None]] = {
    publishing.SUITE: publishing.measure,
    merge.SUITE: merge.measure,
    handover.SUITE: handover.measure,
    campaign.SUITE: campaign.measure,
    raw.SUITE: raw.measure,
    drain.SUITE: drain.measure,
    post_office.SUITE: post_office.measure,
    claim.SUITE: claim.measure,
    email_operator.SUITE: email_operator.measure,
    register.SUITE: register.measure,
}

#: Where the figures go: those of a whole run are kept, all others are a trial.
KEPT = CHECKOUT / "benchmarks" / "results.json"
TRIAL = CHECKOUT / "build" / "bench.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure.

    :returns: the exit status; a goal that was missed does not count: the machine may be a slow one, or busy
    """
    options = _options(arguments)
    if options.page:
        pages.write(json.loads(KEPT.read_text()))
        return 0
    logging.disable(logging.INFO)
    whole = not (options.quick or options.only)
    path = options.output or (KEPT if whole else TRIAL)
    with embedded() as server:
        results = Results(options.quick, options.repeat, server.facts())
        bench = Bench(server, results, Steps(), options.quick, options.repeat)
        for name in options.only or SUITES:
            _measure(bench, name)
            results.write(TRIAL)  # what is measured is not lost if a later suite fails
    compare(results)
    if path == KEPT:
        results.follow(json.loads(KEPT.read_text()))
    results.write(path)
    if path == KEPT:
        _publish()
    say(f"\n{results.summary}\n\nAll figures: {path}")
    return 0


def _measure(bench: Bench, name: str) -> None:
    began = time.monotonic()
    try:
        SUITES[name](bench)
    except NotToBeHad as why:
        bench.results.missing[name] = str(why)
        bench.tell(f"{name} is left out: {why}")
    bench.results.took[name] = round(time.monotonic() - began, 1)


def _publish() -> None:
    try:
        pages.write(json.loads(KEPT.read_text()))
    except NotToBeHad as why:
        say(f"The picture in docs/images/ is an old one: {why}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measures on an embedded PostgreSQL of its own, fsync on. By make: make bench ARGS='--quick'.",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; does not touch the kept results")
    parser.add_argument("--only", action="append", choices=list(SUITES), help="one suite; may be given several times")
    parser.add_argument("--repeat", type=int, help="measure each so often, the best counts (default: 3, quick: once)")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the kept figures into the docs")
    parser.add_argument("--output", type=Path, help="write the figures there")
    options = parser.parse_args(arguments)
    if options.repeat is None:
        options.repeat = 1 if options.quick else 3
    if options.repeat < 1:
        parser.error("--repeat needs a number from 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
