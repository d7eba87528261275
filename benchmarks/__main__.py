"""`make bench`: measure, print, and write ``benchmarks/results.json``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import claim, drain, handover, merge, publishing, raw
from benchmarks.bench import Bench
from benchmarks.processes import CHECKOUT
from benchmarks.results import Results
from benchmarks.server import embedded
from dev.steps import Steps, say

#: What is measured, in this order.
SUITES: dict[str, Callable[[Bench], None]] = {
    publishing.SUITE: publishing.measure,
    merge.SUITE: merge.measure,
    handover.SUITE: handover.measure,
    raw.SUITE: raw.measure,
    drain.SUITE: drain.measure,
    claim.SUITE: claim.measure,
}

#: Where the figures go: those of a whole run are kept, all others are a trial.
KEPT = CHECKOUT / "benchmarks" / "results.json"
TRIAL = CHECKOUT / "build" / "bench.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure.

    :returns: the exit status; a goal that was missed does not count: the machine may be a slow one, or busy
    """
    options = _options(arguments)
    logging.disable(logging.INFO)
    with embedded() as server:
        results = Results(options.quick, options.repeat, server.facts())
        bench = Bench(server, results, Steps(), options.quick, options.repeat)
        for name in options.only or SUITES:
            SUITES[name](bench)
    whole = not (options.quick or options.only)
    path = options.output or (KEPT if whole else TRIAL)
    results.write(path)
    say(f"\n{results.summary}\n\nAll figures: {path}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measures on an embedded PostgreSQL of its own, fsync on. By make: make bench ARGS='--quick'.",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; does not touch the kept results")
    parser.add_argument("--only", action="append", choices=list(SUITES), help="one suite; may be given several times")
    parser.add_argument("--repeat", type=int, default=3, help="measure each so often, the best counts (default: 3)")
    parser.add_argument("--output", type=Path, help="write the figures there")
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error("--repeat needs a number from 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
