"""One process that is measured: it gets ready, waits for the word, does its job once, and reports.

``python -m benchmarks.worker MODULE:JOB ARGUMENTS`` calls the job with the arguments (JSON, the database's ``url``
among them). The job prepares itself and returns what is to be measured: a function that returns what it did. What is
printed: the line ``ready``, and after a line on standard input the report as JSON.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import os
import pstats
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Self, TextIO

import psutil  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from benchmarks.results import MB
from benchmarks.statements import StatementClock
from benchmarks.waits import Waits
from notify.storage.engine import engine_for

#: Between two looks at the memory, in seconds.
EVERY = 0.1


class Memory:
    """The resident memory of this process while something runs."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._samples: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self._look()

    def _look(self) -> None:
        self._samples.append(self._process.memory_info().rss / MB)

    def report(self) -> dict[str, float]:
        """At the start, when a tenth of the time was over, at the end, and the most; in MB."""
        start, tenth, end = self._samples[0], self._samples[len(self._samples) // 10], self._samples[-1]
        found = {"start": start, "tenth": tenth, "end": end, "peak": max(self._samples), "growth": end - tenth}
        return {f"rss_{name}_mb": round(value, 1) for name, value in found.items()}


def main() -> None:
    """Get ready, wait, work, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", help="module:function")
    parser.add_argument("arguments", help="JSON")
    parser.add_argument("--profile", choices=("functions", "waits"), help="report where the time goes, too")
    options = parser.parse_args()
    answers = _answers()
    arguments = json.loads(options.arguments)
    module, _, name = options.job.partition(":")
    work = getattr(import_module(module), name)(**arguments)
    engine = engine_for(arguments["url"])
    backend = _backend(engine)
    statements = StatementClock(engine)
    waits = Waits() if options.profile == "waits" else None
    answers.write("ready\n")
    answers.flush()
    sys.stdin.readline()
    report = {"waits": waits.run(work)} if waits else _profiled(work) if options.profile else _measured(work, backend)
    answers.write(json.dumps(report | statements.report()) + "\n")
    answers.flush()


def _answers() -> TextIO:
    """Our standard output. What logs there writes its lines as ever, and nobody reads them."""
    answers = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return answers


def _backend(engine: Engine) -> psutil.Process:
    """The database's process that serves our connection; the pool hands out the same one from now on."""
    with engine.connect() as connection:
        return psutil.Process(connection.scalar(sa.text("select pg_backend_pid()")))


def _measured(work: Callable[[], Any], backend: psutil.Process) -> dict[str, Any]:
    with Memory() as memory:
        began, cpu, database = time.perf_counter(), time.process_time(), _spent(backend)
        done = work()
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        database_seconds = _spent(backend) - database
    return {
        "done": done,
        "seconds": round(seconds, 3),
        "python_cpu_seconds": round(cpu_seconds, 3),
        "database_cpu_seconds": round(database_seconds, 3),
        **memory.report(),
    }


def _spent(backend: psutil.Process) -> float:
    """What it has computed; not a number, if the job has closed its connection."""
    try:
        return float(sum(backend.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return math.nan


def _profiled(work: Callable[[], Any]) -> dict[str, Any]:
    profile = cProfile.Profile()
    done = profile.runcall(work)
    found = pstats.Stats(profile)
    functions = {
        f"{path}:{name}": {"calls": calls, "own_seconds": own, "seconds": total}
        for (path, _, name), (_, calls, own, total, _) in found.stats.items()  # type: ignore[attr-defined]  # unknown to its types
    }
    return {"done": done, "seconds": round(found.total_tt, 3), "functions": functions}  # type: ignore[attr-defined]  # as above


if __name__ == "__main__":
    main()
