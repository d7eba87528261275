"""A sender process: it drains again and again, until it is told to stop, or struck.

What strikes it here is wrapped around the functions it uses, in this process only: production code knows nothing of it.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from airflow.sdk import Connection

from notify.channels.base import Session
from notify.channels.smtp import SmtpChannel
from notify.drain import Drainer
from notify.exceptions import LeaseLost, SenderFault
from notify.storage import attempts, drains
from notify.storage.engine import engine_for
from tests.chaos import mutants
from tests.chaos.proxy import MARK
from tests.chaos.strikes import Action, Strike, When

SENDER = "smtp_default"

#: Between two runs, in seconds.
PAUSE = 0.1

#: What a run may end with when the world around it breaks.
EXPECTED = (LeaseLost, SenderFault, sa.exc.DBAPIError, psycopg.OperationalError)

_SIGNALS = {Action.KILL: signal.SIGKILL, Action.FREEZE: signal.SIGSTOP}


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is to do; travels as JSON.

    :param url: of the outbox database, by the proxy
    :param smtp_port: of the sink
    :param journal: a file to append what happens to
    :param strike: the blow that this process deals itself, or announces to the proxy
    :param mutant: a fault to build in, see :mod:`tests.chaos.mutants`
    """

    number: int
    url: str
    smtp_port: int
    journal: str
    sessions: int = 4
    limit: int = -1
    window: float = 3600.0
    lease: float = 120.0
    timeout: int = 10
    strike: Strike | None = None
    mutant: str | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> Orders:
        """Read them."""
        strike = document.pop("strike")
        if strike:
            strike = Strike(**strike | {"when": When(strike["when"]), "action": Action(strike["action"])})
        return cls(**document, strike=strike)


class Journal:
    """A file that survives its writer: a line is there as soon as it is written."""

    def __init__(self, path: str, number: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._number = number

    def write(self, event: str, **facts: Any) -> None:
        """Append a line."""
        line = {"event": event, "worker": self._number, "at": time.monotonic(), **facts}
        os.write(self._file, (json.dumps(line, default=str) + "\n").encode())


class Assault:
    """Wraps the points, and deals the blow at the right moment.

    :param strike: the blow; None only watches
    """

    def __init__(self, strike: Strike | None, journal: Journal) -> None:
        self._strike = strike
        self._journal = journal
        self._lock = threading.Lock()
        self._seen = 0
        self._taking_over = threading.local()

    def install(self) -> None:
        """Wrap everything."""
        if self._strike is None:
            return
        self._wrap(attempts, "claim", {"claim": lambda given, result: _size(result, given["wanted"])})
        self._wrap(
            attempts,
            "turn",
            {
                "settle": lambda given, _result: len(given["settlements"]),
                "begin": lambda given, _result: len(given.get("claimed", ())),
            },
        )
        self._wrap(attempts, "release", {"release": lambda _given, result: 1 if result is None else result})
        self._wrap(drains, "renew", {"renew": lambda _given, _result: 1})
        self._wrap_recover()

    def _wrap(self, owner: Any, name: str, points: Mapping[str, Callable[[dict[str, Any], Any], int]]) -> None:
        original = getattr(owner, name)
        signature = inspect.signature(original)

        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            given = signature.bind(*arguments, **named).arguments
            for point, size in points.items():
                self.at(self._point(point), When.BEFORE, size(given, None), given["connection"])
            result = original(*arguments, **named)
            for point, size in points.items():
                self.at(self._point(point), When.AFTER, size(given, result), given["connection"])
            return result

        setattr(owner, name, wrapped)

    def _point(self, name: str) -> str:
        if not getattr(self._taking_over, "on", False):
            return name
        return "takeover" if name == "release" else f"takeover {name}"

    def _wrap_recover(self) -> None:
        original = drains.recover

        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self._taking_over.on = True
            try:
                return original(*arguments, **named)
            finally:
                self._taking_over.on = False

        drains.recover = wrapped

    def at(self, point: str, side: When, size: int, connection: Any = None) -> None:
        """Be at a side of a point; the blow falls if it is its moment."""
        strike = self._strike
        if strike is None or strike.point != point or side is not _side(strike) or size < strike.least:
            return
        with self._lock:
            self._seen += 1
            if self._seen != strike.nth:
                return
        if strike.by_proxy:
            connection.execute(sa.text(f"select '{MARK}'"))
        else:
            self._journal.write("struck")
            signal.pthread_kill(threading.get_ident(), _SIGNALS[strike.action])  # it hits here, and so everywhere


def _side(strike: Strike) -> When:
    """Where the worker itself does its part: the proxy is told before the function whose commit is meant."""
    return When.BEFORE if strike.when in {When.COMMIT, When.COMMITTED} else strike.when


def _size(result: Any, wanted: int) -> int:
    return wanted if result is None else len(result)


class Channel(SmtpChannel):
    """The real channel; around its sessions' ``send_all`` is a point as well."""

    assault: Assault

    def open(self) -> Any:
        session = super().open()
        send_all = session.send_all

        def sending(parcels: Any) -> Any:
            self.assault.at("send", When.BEFORE, len(parcels))
            outcomes = send_all(parcels)
            self.assault.at("send", When.AFTER, len(parcels))
            return outcomes

        return _Watched(session, sending)


class _Watched:
    """A session whose ``send_all`` is another; everything else is its own."""

    def __init__(self, session: Session, send_all: Callable[[Any], Any]) -> None:
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "send_all", send_all)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._session, name, value)


def work(orders: Orders) -> int:
    """Drain until SIGTERM, or until the parent is gone.

    :returns: exit status; 1 is an error that nothing around explains
    """
    logging.disable(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signum, _frame: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    journal = Journal(orders.journal, orders.number)
    if orders.mutant:
        mutants.install(orders.mutant)
    assault = Assault(orders.strike, journal)
    assault.install()
    engine = engine_for(orders.url)
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        try:
            result = _drainer(engine, orders, assault, stop).run()
            if result.accepted or result.released or result.recovered or result.doubted:
                journal.write("run", summary=result.summary)
        except EXPECTED as error:
            journal.write("ended", error=type(error).__name__, text=str(error)[:500])
        except Exception:  # noqa: BLE001 - the judge reads of it
            journal.write("failed", text=traceback.format_exc())
            return 1
        stop.wait(PAUSE)
    return 0


def _drainer(engine: sa.Engine, orders: Orders, assault: Assault, stop: threading.Event) -> Drainer:
    return Drainer(
        engine,
        _channel(orders, assault),
        SENDER,
        limit=orders.limit,
        window=timedelta(seconds=orders.window),
        lease=timedelta(seconds=orders.lease),
        stop=stop,
        dag_id="chaos",
        run_id=str(orders.number),
    )


def _channel(orders: Orders, assault: Assault) -> Channel:
    extra = {
        "disable_ssl": True,
        "disable_tls": True,
        "from_email": "notify@example.com",
        "timeout": orders.timeout,
        "max_connections": orders.sessions,
    }
    described = Connection(
        conn_id=SENDER, conn_type="smtp", host="127.0.0.1", port=orders.smtp_port, extra=json.dumps(extra)
    )
    channel = Channel(SENDER, described)
    channel.assault = assault
    return channel
