"""The parent of all workers: it has imported everything, so that a killed worker has a successor within milliseconds.

``python -m tests.chaos.forge`` prints ``ready``; each line it reads is a worker's orders as JSON, answered by its PID;
or ``reap PID``, answered by how it ended. A dead worker's PID means nobody else until it is reaped, so whoever strikes
by PID strikes the right one. At the end of input no worker is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

CHECKOUT = Path(__file__).resolve().parents[2]


class Forge:
    """The other side: starts the parent, and has it start workers.

    :param log: a file for what workers print
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.forge"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=CHECKOUT,
                start_new_session=True,  # Ctrl-C is for us: we end it
                env=os.environ | {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'plugins'}"},
            )
        assert self._line() == "ready", self._log.read_text()
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def start(self, orders: dict[str, Any]) -> int:
        """Start a worker.

        :returns: its PID
        """
        return int(self._tell(json.dumps(orders)))

    def reap(self, pid: int) -> int:
        """Wait for a worker's end.

        :returns: its exit status, or the signal that ended it, negative
        """
        return int(self._tell(f"reap {pid}"))

    def _tell(self, line: str) -> str:
        assert self._process.stdin
        with self._lock:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            return self._line()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


# --- In the parent ---------------------------------------------------------------------------------------------------


def _start(document: dict[str, Any]) -> int:
    from tests.chaos.worker import Orders, work

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the worker lets it in once it listens
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    status = 1
    try:
        os.dup2(2, 1)  # what is printed must not be taken for the parent's answers
        status = work(Orders.of(document))
    except BaseException as error:  # noqa: BLE001 - a fork must not go on as its parent would
        print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def _reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Obey until the end of input."""
    import tests.chaos.worker  # noqa: F401 - before the first fork

    workers: set[int] = set()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("reap "):
            pid = int(line.split()[1])
            workers.discard(pid)
            print(_reap(pid), flush=True)
        else:
            pid = _start(json.loads(line))
            workers.add(pid)
            print(pid, flush=True)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for pid in workers:
        _reap(pid)


if __name__ == "__main__":
    main()
