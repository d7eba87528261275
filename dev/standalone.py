"""Airflow standalone: started, waited for, watched and stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from dev.client import AirflowClient
from dev.errors import StackError
from dev.processes import ProcessTree

PARTS = frozenset({"metadatabase", "scheduler", "dag_processor", "triggerer"})
HEALTHY_SECONDS = 240
DAGS_SECONDS = 120

# Running tasks may end in peace; the other parts lose nothing by being hurried.
ESSENTIAL = ("scheduler", "LocalExecutor")


class Standalone:
    """One ``airflow standalone``.

    :param home: Airflow's home
    :param client: of its API
    :param record: the file that remembers its process
    """

    def __init__(self, home: Path, client: AirflowClient, record: Path) -> None:
        self.home = home
        self.client = client
        self._processes = ProcessTree(record, ESSENTIAL)

    @property
    def log(self) -> Path:
        """What Airflow's parts print."""
        return self.home / "logs" / "standalone.log"

    def start(self, env: Mapping[str, str]) -> None:
        """Start it; it is not of use yet."""
        self.log.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "airflow", "standalone"]
        self._processes.start(command, env=env, cwd=self.home, log=self.log)

    def stop(self) -> None:
        """Stop it and all that it started."""
        self._processes.stop()

    def stop_left_over(self) -> int:
        """Stop what an earlier run left behind because it was killed; return how many processes that were."""
        return self._processes.stop_left_over()

    def require_alive(self) -> None:
        """Raise if it has ended by itself."""
        if (status := self._processes.ended()) is not None:
            raise StackError(f"Airflow ended by itself (exit status {status}).{self._tail()}", f"Read {self.log}")

    def wait_until_healthy(self, report: Callable[[str], None]) -> None:
        """Wait until all parts work, and report each."""
        reported: set[str] = set()
        for _ in self._poll(HEALTHY_SECONDS, lambda: f"Of Airflow, only {sorted(reported)} became healthy"):
            healthy = {part for part, state in self.client.health().items() if state == "healthy"}
            if new := sorted(healthy & PARTS - reported):
                report(f"Airflow is healthy: {', '.join(part.replace('_', ' ') for part in new)}")
                reported.update(new)
            if reported >= PARTS:
                return

    def wait_for_dags(self, names: Iterable[str]) -> None:
        """Wait until Airflow knows these DAGs."""
        wanted = set(names)
        for _ in self._poll(DAGS_SECONDS, lambda: self._missing_dags(wanted)):
            if wanted <= self._dags():
                return

    def _dags(self) -> set[str]:
        return {str(dag["dag_id"]) for dag in self.client.api("GET", "/dags?limit=100")["dags"]}

    def _missing_dags(self, wanted: set[str]) -> str:
        errors = self.client.api("GET", "/importErrors")["import_errors"]
        traces = "".join(f"\n{error['filename']}:\n{error['stack_trace']}" for error in errors)
        return f"Airflow does not know the DAGs {', '.join(sorted(wanted - self._dags()))}{traces}"

    def _poll(self, seconds: float, problem: Callable[[], str]) -> Iterator[None]:
        """Give turns while Airflow runs; complain when it has ended or the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.require_alive()
            yield
            time.sleep(0.5)
        raise StackError(f"{problem()} after {seconds:.0f} seconds.{self._tail()}", f"Read {self.log}")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-30:] if self.log.exists() else []
        return "".join(f"\n    {line}" for line in ["The end of its log:", *lines])
