"""Processes that work until they are told to stop, or killed: forked from a parent that has imported everything.

The parent prints ``ready``, and forks a worker for each line ``start``, answered once it has begun; the line
``kill PID`` kills one. At the end of input all workers end politely. So a worker that was killed has a successor within
milliseconds, and no PID ever means another program.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

#: How long workers have for their end, in seconds.
FAREWELL = 15.0

#: What a worker does until the event is set; it calls the function when it begins.
Work = Callable[[threading.Event, Callable[[], None]], None]


def obey(work: Work) -> int:
    """Obey until the end of input.

    :returns: how many workers ended in any other way than being killed or told to
    """
    workers: set[int] = set()
    bad = 0
    print("ready", flush=True)
    for line in sys.stdin:
        verb, _, argument = line.strip().partition(" ")
        pid = _start(work) if verb == "start" else int(argument)
        if verb == "start":
            workers.add(pid)
        else:
            bad += not _kill(pid)
            workers.remove(pid)
        print(f"{verb} {pid}", flush=True)
    return bad + _end(workers)


def _start(work: Work) -> int:
    """Fork a worker, and wait until it has begun."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        os.read(reader, 1)
        os.close(reader)
        return pid
    status = 1
    try:
        os.dup2(2, 1)  # what is printed must not be taken for the parent's answers
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda _signum, _frame: stop.set())
        work(stop, lambda: _tell_begun(writer))
        status = 0
    except BaseException as error:  # noqa: BLE001 - a fork must not go on as its parent would
        print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def _tell_begun(writer: int) -> None:
    os.write(writer, b"x")


def _kill(pid: int) -> bool:
    """Kill a worker; returns whether it was still at work."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _end(workers: set[int]) -> int:
    """Let all workers end; returns how many did not end well."""
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + FAREWELL
    bad = 0
    for pid in workers:
        ended, status = os.waitpid(pid, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
            ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            _kill(pid)
        bad += not ended or status != 0
    return bad


# --- In a test -------------------------------------------------------------------------------------------------------


@contextmanager
def parent_of(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The parent of workers, in a process of its own; its exit status tells whether one failed."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'plugins'}"},
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tell(process: subprocess.Popen[str], order: str) -> int:
    """Give an order; returns the process it was about."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(order + "\n")
    process.stdin.flush()
    verb, _, pid = process.stdout.readline().strip().partition(" ")
    assert verb == order.split(maxsplit=1)[0]
    return int(pid)
