"""The mail server of a measurement: Debian's ``smtp-sink`` where it can serve, else our own (:mod:`benchmarks.sink`).

Debian's counts for nobody else to read and knows no delay below a second: so it serves where there is no delay.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from benchmarks.processes import CHECKOUT
from benchmarks.sink import HOST
from dev.ports import free_ports

#: How long Debian's may take to listen, in seconds.
_PATIENCE = 10.0


class NoMailServer(Exception):
    """Debian's program is there and does not serve; take it from the PATH, and ours serves."""


@dataclass(slots=True)
class Receiver:
    """A server that takes everything.

    :param name: which program it is
    :param delay_ms: milliseconds before each group of answers
    """

    name: str
    port: int
    delay_ms: float
    process: subprocess.Popen[str]

    def counts(self) -> dict[str, float] | None:
        """What it has taken so far, see :class:`benchmarks.sink.Counts`; None where the program does not tell."""
        if self.process.stdin is None or self.process.stdout is None:
            return None
        self.process.stdin.write("counts\n")
        self.process.stdin.flush()
        counts: dict[str, float] = json.loads(self.process.stdout.readline())
        return counts

    def cpu_seconds(self) -> float:
        """What it has computed."""
        return float(sum(psutil.Process(self.process.pid).cpu_times()[:2]))


def debians() -> str | None:
    """Where Debian's ``smtp-sink`` is, if it is."""
    return shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin")


@contextmanager
def receiver(delay_ms: float = 0.0) -> Iterator[Receiver]:
    """Have a server for as long as it is needed."""
    program = debians()
    found = _debians(program) if program and not delay_ms else _ours(delay_ms)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def _ours(delay_ms: float) -> Receiver:
    command = [sys.executable, "-m", "benchmarks.sink", "--delay", str(delay_ms)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    assert process.stdout is not None
    port = int(process.stdout.readline().split()[1])
    return Receiver("our own", port, delay_ms, process)


def _debians(program: str) -> Receiver:
    (port,) = free_ports(1)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    # -m: as many sessions as one likes; the number at the end is the backlog.
    command = [program, *user, "-m", "512", f"{HOST}:{port}", "128"]
    process = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - the system's
    deadline = time.monotonic() + _PATIENCE
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise NoMailServer(f"{program} does not serve")
        time.sleep(0.05)
    return Receiver("smtp-sink of Debian's Postfix", port, 0.0, process)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
