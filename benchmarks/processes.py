"""Jobs in processes of their own, as Airflow's tasks are: prepared, and let go at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Team:
    """What processes that worked at the same time report.

    :param seconds: from the common start to the last one's end
    :param reports: of each, see :mod:`benchmarks.worker`
    """

    seconds: float
    reports: list[Report]

    def times(self) -> dict[str, float]:
        """Where the time went, in seconds of all of them together.

        What Python and the database's processes computed does not depend on what else the machine has to do; how long
        statements and commits were waited for does.
        """
        names = ("python_cpu_seconds", "database_cpu_seconds", "statement_seconds")
        return {name: round(sum(report[name] for report in self.reports), 3) for name in names}

    def most(self, field: str) -> float:
        """The largest value of a field among them."""
        return float(max(report[field] for report in self.reports))

    def done(self, field: str) -> int:
        """The sum of something that their jobs counted."""
        return sum(report["done"][field] for report in self.reports)


class JobFailed(Exception):
    """A measured process ended without a report; what it wrote stands above."""


def run(job: str, *, processes: int = 1, profile: str | None = None, **arguments: Any) -> Team:
    """Run a job, in several processes at once where asked for.

    :param job: ``module:function``, see :mod:`benchmarks.worker`
    :param profile: ``functions`` or ``waits``, to be told where the time goes instead of how much it is
    :param arguments: the function's; what JSON can have
    """
    options = ["--profile", profile] if profile else []
    command = [sys.executable, "-m", "benchmarks.worker", job, json.dumps(arguments), *options]
    return launch(command, processes=processes)


def launch(command: Sequence[str], *, processes: int = 1) -> Team:
    """Run a program that behaves as :mod:`benchmarks.worker`, several times at once where asked for."""
    workers = [_start(command) for _ in range(processes)]
    try:
        for worker in workers:
            if _line(worker) != "ready\n":
                raise JobFailed(command)
        began = time.perf_counter()
        for worker in workers:
            worker.stdin.write("go\n")  # type: ignore[union-attr]  # it is a pipe
            worker.stdin.flush()  # type: ignore[union-attr]  # as above
        reports = [_report(worker, command) for worker in workers]
        return Team(time.perf_counter() - began, reports)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours


def _line(worker: subprocess.Popen[str]) -> str:
    return worker.stdout.readline()  # type: ignore[union-attr]  # it is a pipe


def _report(worker: subprocess.Popen[str], command: Sequence[str]) -> Report:
    line = _line(worker)
    if not line:
        raise JobFailed(command)
    report: Report = json.loads(line)
    return report
