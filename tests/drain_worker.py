"""Processes that drain one sender until they are told to stop, or killed.

``python -m tests.drain_worker --url … --port …`` imports everything once, prints ``ready``, and forks a worker for
each line ``start``: so a worker that was killed has a successor within milliseconds. The lines ``kill PID``,
``freeze PID`` and ``thaw PID`` do that to a worker; this process is the parent, so no PID ever means another program.
At the end of input all workers end politely.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from datetime import timedelta

import sqlalchemy as sa
from airflow.sdk import Connection
from psycopg.errors import IdleInTransactionSessionTimeout

from notify.channels.smtp import SmtpChannel
from notify.drain import Drainer
from notify.exceptions import LeaseLost, SenderFault

SENDER = "smtp_default"

#: Between two runs, in seconds.
PAUSE = 0.02

#: How long workers have for their end, in seconds.
FAREWELL = 15.0

_SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "thaw": signal.SIGCONT}


def work(options: argparse.Namespace) -> None:
    """Drain again and again, until SIGTERM, or until the parent is gone."""
    os.dup2(2, 1)  # what is printed must not be taken for the parent's answers
    logging.disable(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signum, _frame: stop.set())
    engine = sa.create_engine(options.url, pool_pre_ping=True)
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        try:
            Drainer(
                engine,
                _channel(options),
                SENDER,
                limit=options.limit,
                window=timedelta(seconds=options.window),
                lease=timedelta(seconds=options.lease),
                stop=stop,
            ).run()
        except (LeaseLost, SenderFault) as error:
            print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        except (sa.exc.OperationalError, sa.exc.InternalError) as error:
            # PostgreSQL's last word may be read before it hangs up, and then it is an InternalError.
            if not (error.connection_invalidated or isinstance(error.orig, IdleInTransactionSessionTimeout)):
                raise
            # It was frozen in a transaction, and PostgreSQL has ended its session: the next run takes over.
            print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        stop.wait(PAUSE)


def _channel(options: argparse.Namespace) -> SmtpChannel:
    extra = {
        "disable_ssl": True,
        "disable_tls": True,
        "from_email": "notify@example.com",
        "timeout": 10,
        "max_connections": options.connections,
    }
    described = Connection(
        conn_id=SENDER, conn_type="smtp", host="127.0.0.1", port=options.port, extra=json.dumps(extra)
    )
    return SmtpChannel(SENDER, described)


def _start(options: argparse.Namespace) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work(options)
        status = 0
    except BaseException as error:  # noqa: BLE001 - a fork must not go on as its parent would
        print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def _obey(line: str, workers: set[int], options: argparse.Namespace) -> None:
    verb, _, argument = line.strip().partition(" ")
    if verb == "start":
        pid = _start(options)
        workers.add(pid)
    else:
        pid = int(argument)
        os.kill(pid, _SIGNALS[verb])
        if verb == "kill":
            os.waitpid(pid, 0)
            workers.remove(pid)
    print(f"{verb} {pid}", flush=True)


def _end(workers: set[int]) -> int:
    """Let all workers end; returns how many did not end well."""
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + FAREWELL
    bad = 0
    for pid in workers:
        ended, status = os.waitpid(pid, os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
            ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        bad += status != 0
    return bad


def main(arguments: list[str] | None = None) -> int:
    """Obey until the end of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the outbox database")
    parser.add_argument("--port", type=int, required=True, help="of the SMTP server")
    parser.add_argument("--limit", type=int, default=-1)
    parser.add_argument("--window", type=float, default=3600.0, help="seconds")
    parser.add_argument("--lease", type=float, default=120.0, help="seconds")
    parser.add_argument("--connections", type=int, default=4, help="sessions of one worker")
    options = parser.parse_args(arguments)
    workers: set[int] = set()
    print("ready", flush=True)
    for line in sys.stdin:
        _obey(line, workers, options)
    return _end(workers)


if __name__ == "__main__":
    sys.exit(main())
