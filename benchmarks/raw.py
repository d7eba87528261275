"""Raw smtplib: prepared bytes over kept sessions, no database, nothing remembered: the limit of this library.

Each session has a thread of its own, all in one process, as our drain has them; MAIL, RCPT and DATA are a round trip
each, as :mod:`smtplib` has them.
"""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import sqlalchemy as sa

from benchmarks.bench import Bench
from benchmarks.drain import DELAYS, figure_name, observed, queued
from benchmarks.processes import Team, run
from benchmarks.receiver import Receiver, receiver
from benchmarks.sink import HOST
from notify.storage.engine import engine_for

SUITE = "raw_smtplib"

#: As many different messages as are sent in turn.
_DIFFERENT = 64

_BYTES = sa.text("""
    select m.headers, c.body, r.address from notify.messages m
    join notify.contents c on c.id = m.content_id join notify.recipients r on r.message_id = m.id
    order by m.id limit :count
""")

#: What a drain puts in front.
_PREFACE = b"From: Example Ltd <notify@example.com>\r\nDate: Mon, 02 Mar 2026 06:00:00 +0000\r\n"


#: Sessions, and how many messages are sent over so many where there is no delay.
MESSAGES = {1: 20_000, 4: 20_000, 16: 20_000}

#: Messages for each session where there is a delay.
DELAYED = 100


def measure(bench: Bench) -> None:
    """Measure all of it."""
    with queued(bench, _DIFFERENT) as url:
        for delay in DELAYS:
            with receiver(delay) as server:
                for sessions in MESSAGES:
                    _send(bench, server, url, sessions)


def _send(bench: Bench, server: Receiver, url: str, sessions: int) -> None:
    delay = int(server.delay_ms)
    count = bench.scaled(sessions * DELAYED if delay else MESSAGES[sessions])
    arguments: dict[str, Any] = {"url": url, "port": server.port, "sessions": sessions, "messages": count}
    facts: dict[float, dict[str, Any]] = {}

    def once() -> Team:
        with observed(bench, server) as fact:
            team = run("benchmarks.raw:sending", **arguments)
        facts[team.seconds] = fact
        return team

    what = f"raw smtplib, {count:,} messages, sessions: {sessions}, {delay} ms"
    team, seconds = bench.fastest(what, once, 1 if delay else None)
    figure = {
        "mail_server": server.name,
        "delay_ms": server.delay_ms,
        "sessions": sessions,
        "messages": count,
        "seconds": round(team.seconds, 3),
        "messages_per_second": round(count / team.seconds, 1),
        "python_cpu_seconds": team.reports[0]["python_cpu_seconds"],
        **facts[team.seconds],
        "all_seconds": seconds,
    }
    bench.results.add(SUITE, figure_name(sessions, delay), figure)


def sending(url: str, port: int, sessions: int, messages: int) -> Callable[[], dict[str, int]]:
    """A job: send so many messages over so many sessions, which are opened first.

    :param url: a database with queued messages, whose bytes are sent
    """
    with engine_for(url).connect() as connection:
        rows = connection.execute(_BYTES, {"count": _DIFFERENT}).all()
    prepared = [(row.address, _PREFACE + row.headers + b"\r\n" + row.body) for row in rows]
    clients = [smtplib.SMTP(HOST, port) for _ in range(sessions)]
    for client in clients:
        client.ehlo()
    counts = [messages // sessions + (number < messages % sessions) for number in range(sessions)]

    def send(client: smtplib.SMTP, count: int) -> None:
        endless = (one for _ in iter(int, 1) for one in prepared)
        for address, content in islice(endless, count):
            client.sendmail("notify@example.com", [address], content)

    def send_all() -> dict[str, int]:
        threads = [threading.Thread(target=send, args=pair) for pair in zip(clients, counts, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"accepted": messages}

    return send_all
