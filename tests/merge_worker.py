"""Processes that merge what is put aside until they are told to stop, or killed.

``python -m tests.merge_worker --url … --templates …`` imports everything once, prints ``ready``, and forks a worker for
each line ``start``, answered once it has begun; the line ``kill PID`` kills one. At the end of input all workers end
politely. Exit status: how many ended in any other way than being killed or told to.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from notify.merge import Merger
from tests.newsroom import settings_of

#: Between two runs, in seconds.
PAUSE = 0.01

#: How long workers have for their end, in seconds.
FAREWELL = 15.0


def work(options: argparse.Namespace, begun: int) -> None:
    """Merge again and again, until SIGTERM, or until the parent is gone.

    :param begun: a file descriptor to write to when the first run begins
    """
    os.dup2(2, 1)  # what is printed must not be taken for the parent's answers
    logging.disable(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signum, _frame: stop.set())
    engine = sa.create_engine(options.url, connect_args={"application_name": f"merge {os.getpid()}"})
    merger = Merger(
        engine, settings_of(options.templates), people=options.people, notifications=options.notifications, stop=stop
    )
    with engine.connect():
        os.write(begun, b"x")
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        merger.run()
        stop.wait(PAUSE)


def _start(options: argparse.Namespace) -> int:
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
        work(options, writer)
        status = 0
    except BaseException as error:  # noqa: BLE001 - a fork must not go on as its parent would
        print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


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


def main(arguments: list[str] | None = None) -> int:
    """Obey until the end of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the outbox database")
    parser.add_argument("--templates", required=True, type=Path)
    parser.add_argument("--people", type=int, default=2, help="of one transaction")
    parser.add_argument("--notifications", type=int, default=20, help="of one transaction")
    options = parser.parse_args(arguments)
    workers: set[int] = set()
    bad = 0
    print("ready", flush=True)
    for line in sys.stdin:
        verb, _, argument = line.strip().partition(" ")
        pid = _start(options) if verb == "start" else int(argument)
        if verb == "start":
            workers.add(pid)
        else:
            bad += not _kill(pid)
            workers.remove(pid)
        print(f"{verb} {pid}", flush=True)
    return bad + _end(workers)


if __name__ == "__main__":
    sys.exit(main())
