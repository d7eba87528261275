"""Pages of the register beside five million messages: over HTTP, from a server in a process of its own.

``python -m benchmarks.register`` is that server: what Airflow's API server is to us, with SimpleAuthManager. It prints
its port and a token as a line of JSON, and serves until it is killed. The database is ``AIRFLOW_CONN_NOTIFY_DB``.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlencode

import sqlalchemy as sa

from benchmarks import history
from benchmarks.bench import Bench
from benchmarks.processes import CHECKOUT, JobFailed
from notify.storage.engine import engine_for, normal_url

SUITE = "register"

#: Messages in the register; and how many of them are in front of the deep page.
MESSAGES = 5_000_000
DEEP = 4_000_000

#: How often each page is asked for, and before that without being measured.
REQUESTS = 100
BEFORE = 5

#: The goal, in milliseconds.
GOAL_MS = 200.0

#: What is no copy of a message that was really sent: one in a hundred failed, one in ten has a case, twenty to a case.
_UNLIKE = {
    "status": f"case when {history.PLACE} % 100 = 3 then 'failed' else t.status end",
    "case_id": f"case when {history.PLACE} % 10 = 0 then 'CASE-' || ({history.PLACE} / 10) % ({{samples}} * 25) end",
}

_MOMENT = sa.text("select created_at from notify.messages where id = :id")

#: A page's name and its address.
Pages = dict[str, str]


def measure(bench: Bench) -> None:
    """Measure all of it."""
    size = bench.scaled(MESSAGES)
    with bench.server.database("register") as url:
        bench.tell(f"fill a register with {size:,} messages")
        history.prepare(url, 0)
        history.add(url, 0, size, size, tables=("messages", "recipients"), unlike=_UNLIKE)
        with _serving(url) as browser:
            taken = _ask(browser, _pages(url, size, bench.scaled(DEEP)))
        engine_for(url).dispose()
    for name, milliseconds in taken.items():
        figure = {
            "messages": size,
            "requests": len(milliseconds),
            "median_ms": round(statistics.median(milliseconds), 1),
            "p95_ms": round(statistics.quantiles(milliseconds, n=20)[-1], 1),
        }
        bench.results.add(SUITE, name, figure)
        bench.tell(f"page {name}: {figure['median_ms']} ms, 95 of 100 within {figure['p95_ms']} ms")
        bench.results.goal(f"register_{name}_page_ms", figure["p95_ms"], most=GOAL_MS)


def _pages(url: str, size: int, deep: int) -> Pages:
    """What is asked for."""
    last = history.FIRST + size
    with engine_for(url).connect() as connection:
        since = connection.execute(_MOMENT, {"id": last - deep // 2}).scalar_one()
    filters: dict[str, dict[str, str | int]] = {
        "first": {},
        "deep": {"before": last - deep},
        "address": {"address": "person0000007@example.com"},
        "failed": {"status": "failed"},
        "case": {"case": "CASE-7"},
        "since": {"since": since.isoformat(), "until": (since + timedelta(hours=1)).isoformat()},
    }
    pages = {name: f"/notify/messages?{urlencode(given)}" for name, given in filters.items()}
    return {**pages, "message": f"/notify/messages/{last - 1}"}


# --- The browser -----------------------------------------------------------------------------------------------------


class _Browser:
    """Asks for pages over one connection."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Cookie": f"_token={token}"}

    def get(self, path: str) -> str:
        """A page."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise JobFailed(f"{path}: {answer.status} {text[:2000]}")
        return text


def _ask(browser: _Browser, pages: Pages) -> dict[str, list[float]]:
    """Ask for one page after the other, again and again; the milliseconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in pages}
    for number in range(BEFORE + REQUESTS):
        for name, path in pages.items():
            began = time.perf_counter()
            text = browser.get(path)
            if number >= BEFORE:
                taken[name].append(1000 * (time.perf_counter() - began))
            if name != "message" and "/notify/messages/1" not in text:
                raise JobFailed(f"there is nothing on the page {path}")
    return taken


@contextmanager
def _serving(url: str) -> Iterator[_Browser]:
    """The page's server, in a process of its own, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="notify-bench-airflow-") as home:
        command = [sys.executable, "-m", "benchmarks.register"]
        server = subprocess.Popen(  # noqa: S603 - ours
            command, cwd=CHECKOUT, env=_environment(url, home), stdout=subprocess.PIPE, text=True
        )
        try:
            lines = iter(server.stdout or ())
            told = next((json.loads(line) for line in lines if line.startswith("{")), None)
            if told is None:
                raise JobFailed(command)
            yield _Browser(told["port"], told["token"])
        finally:
            server.kill()
            server.communicate()


def _environment(url: str, home: str) -> dict[str, str]:
    database = normal_url(url)
    described = {
        "conn_type": "postgres",
        "login": database.username,
        "host": database.query.get("host") or database.host,
        "port": database.port,
        "schema": database.database,
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **others,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_NOTIFY_DB": json.dumps(described),
        "AIRFLOW_VAR_NOTIFY_SENDERS": '["smtp_default"]',
        "_AIRFLOW_PROCESS_CONTEXT": "server",
    }


# --- The server ------------------------------------------------------------------------------------------------------


def _serve() -> None:
    import uvicorn
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils.db import initdb
    from fastapi import FastAPI

    from notify.web.mount import MountedApp

    initdb()  # where it is looked up whether a token was revoked
    manager = create_auth_manager()
    manager.init()
    app = FastAPI()
    app.state.auth_manager = manager
    app.mount("/notify", MountedApp())
    ours = socket.create_server(("127.0.0.1", 0))
    token = manager.generate_jwt(SimpleAuthManagerUser(username="reader", role="admin"))
    print(json.dumps({"port": ours.getsockname()[1], "token": token}), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[ours])


if __name__ == "__main__":
    _serve()
