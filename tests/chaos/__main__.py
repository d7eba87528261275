"""`make chaos`: play everything, print what happens, and write the table."""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

# Before anything imports Airflow: its own home is none of our business.
_home = tempfile.TemporaryDirectory(prefix="notify-chaos-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _home.name

from dev.steps import say  # noqa: E402 - after the environment is set
from tests.chaos.catalogue import Scenario, long, short  # noqa: E402
from tests.chaos.forge import CHECKOUT  # noqa: E402
from tests.chaos.judge import Verdict  # noqa: E402
from tests.chaos.selftest import FOUND_BY, scenario_of  # noqa: E402
from tests.chaos.table import Table  # noqa: E402
from tests.chaos.theatre import JOBS, Theatre, server, template_on, theatre  # noqa: E402

#: Where everything is written.
JSON = CHECKOUT / "build" / "chaos.json"

#: Where the table belongs, between two comments.
PAGE = CHECKOUT / "docs" / "chaos.md"
_PLACE = re.compile(r"(<!-- table -->\n).*?(<!-- /table -->)", re.DOTALL)


class Progress:
    """Tells of each scenario as it ends, and puts it into the table."""

    def __init__(self, table: Table, plays: int) -> None:
        self._table = table
        self._plays = plays
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, scenario: Scenario, verdict: Verdict) -> None:
        with self._lock:
            self._done += 1
            self._table.add(scenario, verdict)
            say(f"{self._done:>4}/{self._plays} {time.monotonic() - self._began:6.0f} s  {_told(scenario, verdict)}")
            for fault in verdict.faults[:5]:
                say(f"        {fault}")


def _told(scenario: Scenario, verdict: Verdict) -> str:
    return (
        f"{scenario.name}: {verdict.blows} blows, {verdict.messages} messages, {verdict.extra} extra copies of "
        f"{verdict.bound} allowed, {verdict.uncertain} uncertain, {verdict.lost} lost"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Play.

    :returns: exit status: 1 where the promise was not kept, or a mutant not seen
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _main(_options(arguments))
    except KeyboardInterrupt:
        say("Interrupted; nothing was written.")
        return 130


def _main(options: argparse.Namespace) -> int:
    logging.disable(logging.INFO)
    scenarios = [one for one in _programme(options) if _wanted(one.name, options.only)]
    mutants = [mutant for mutant in FOUND_BY if _wanted(f"mutant-{mutant}", options.only)]
    table = Table(options.seed)
    table.expect(scenarios)
    say(f"{len(scenarios)} scenarios, each {options.repeat} times, and {len(mutants)} mutants; --seed {options.seed}")
    with server() as postgres, theatre(postgres, template_on(postgres)) as stages:
        _play(stages, scenarios, table, options)
        _try_mutants(stages, mutants, table, options)
    table.write(options.json)
    if options.page:
        PAGE.write_text(_PLACE.sub(lambda place: f"{place[1]}{table.markdown()}\n{place[2]}", PAGE.read_text()))
    say(f"\n{table.markdown()}\n\n{table.summary}\nAll of it: {options.json}")
    return 0 if table.kept else 1


def _programme(options: argparse.Namespace) -> list[Scenario]:
    return short() if options.short else long(options.kills)


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(word in name for word in only)


def _play(stages: Theatre, scenarios: Sequence[Scenario], table: Table, options: argparse.Namespace) -> None:
    rounds = [list(scenarios), *[_without_storms(scenarios)] * (options.repeat - 1)]
    progress = Progress(table, sum(map(len, rounds)))
    began = time.monotonic()
    for number, once in enumerate(rounds):
        stages.play_all(once, options.seed + number, jobs=options.jobs, done=progress)
    table.seconds = time.monotonic() - began


def _without_storms(scenarios: Sequence[Scenario]) -> list[Scenario]:
    return [scenario for scenario in scenarios if not scenario.name.startswith("storm")]


def _try_mutants(stages: Theatre, mutants: Sequence[str], table: Table, options: argparse.Namespace) -> None:
    tried = [scenario_of(mutant) for mutant in mutants]
    verdicts = stages.play_all([scenario for scenario, _ in tried], options.seed, jobs=options.jobs)
    for mutant, (scenario, begins) in zip(mutants, tried, strict=True):
        faults = verdicts[scenario.name].faults
        table.mutants[mutant] = any(fault.startswith(begins) for fault in faults)
        seen = "seen" if table.mutants[mutant] else "NOT SEEN"
        say(f"mutant {mutant}: {seen}: {next(iter(faults), 'no fault')[:120]}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Kills, freezes, cuts and stalls senders, PostgreSQL and SMTP servers, and judges what is left. "
        "By make: make chaos ARGS='--only storm'.",
    )
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="scenarios with it in their name")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all chance")
    parser.add_argument("--kills", type=int, default=200, help="at random moments (default: 200)")
    parser.add_argument("--repeat", type=int, default=2, help="play all but the random part so often (default: 2)")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"scenarios at the same time (default: {JOBS})")
    parser.add_argument("--short", action="store_true", help="what make test plays")
    parser.add_argument("--json", type=Path, default=JSON, help="where to write all figures")
    parser.add_argument("--page", action="store_true", help="put the table into docs/chaos.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
