"""What the threads of this process do: compute, wait for the database, for the mail server, or for each other.

Where a thread may wait for another program it is timed: where psycopg and our turns ask the database, and in sockets. A
thread that has its answer may still have to wait for its turn to run Python; that is part of the wait.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from notify.storage.prepared import Prepared


@dataclass(slots=True)
class _Book:
    """A thread's seconds.

    :param wall: by what it was waiting for
    :param cpu: what it computed meanwhile
    """

    wall: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class _Life:
    """A thread's whole life: how long, and what it computed."""

    book: _Book
    seconds: float
    cpu: float


class Waits:
    """Times the waits of all threads from now on."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._lives: list[_Life] = []
        self._watch(psycopg.Connection, "wait", "the database")
        self._watch(Prepared, "ask", "the database")  # waits within libpq, past psycopg
        for name in ("recv", "recv_into"):
            self._watch(socket.socket, name, "answers")
        for name in ("send", "sendall"):
            self._watch(socket.socket, name, "sending")
        self._watch_lives()

    def run(self, work: Callable[[], Any]) -> dict[str, float]:
        """Do it, and tell what the threads did meanwhile, as shares of the whole time of one thread."""
        self._lives.clear()
        life = self._live(work)
        main = self._shares([life], "waiting for the sessions")
        sessions = self._shares(self._lives, "waiting for work")
        return {
            **{f"main thread: {what}": share for what, share in main.items()},
            **{f"a session: {what}": share for what, share in sessions.items()},
        }

    def _live(self, work: Callable[[], Any]) -> _Life:
        book = self._local.book = _Book()
        began, cpu = time.perf_counter(), time.thread_time()
        work()
        return _Life(book, time.perf_counter() - began, time.thread_time() - cpu)

    def _watch(self, owner: type, name: str, what: str) -> None:
        original = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            book = getattr(self._local, "book", None)
            if book is None:
                return original(*args, **kwargs)
            began, cpu = time.perf_counter(), time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                book.cpu += time.thread_time() - cpu
                book.wall[what] += time.perf_counter() - began

        setattr(owner, name, timed)

    def _watch_lives(self) -> None:
        original = threading.Thread.run

        def timed(thread: threading.Thread) -> None:
            self._lives.append(self._live(lambda: original(thread)))

        threading.Thread.run = timed  # type: ignore[method-assign,assignment]  # for the time of this process

    @staticmethod
    def _shares(lives: list[_Life], rest: str) -> dict[str, float]:
        whole = sum(life.seconds for life in lives)
        if not whole:
            return {}
        found = {"Python": sum(life.cpu - life.book.cpu for life in lives)}
        for life in lives:
            for what, seconds in life.book.wall.items():
                found[what] = found.get(what, 0.0) + seconds
        found[rest] = whole - sum(found.values())
        return {what: round(seconds / whole, 3) for what, seconds in found.items()}
