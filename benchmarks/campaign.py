"""Mass mailing: a campaign to 100,000 is written and generated, then sent, paused, let go on, and cancelled."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy.engine import Engine

from benchmarks.bench import Bench
from benchmarks.filling import settings
from benchmarks.processes import JobFailed, Team, run
from benchmarks.profiles import hottest, shares
from benchmarks.queueing import MESSAGE, SUBJECT
from benchmarks.server import vacuum
from notify.campaigns import authoring, following, steering
from notify.campaigns.generating import Generating
from notify.databases import connect
from notify.domain.channel import ChannelName
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage.engine import engine_for, normal_url

SUITE = "campaign"

#: Recipients of a campaign.
RECIPIENTS = 100_000

#: How often each is measured: one takes a minute.
REPEAT = 2

#: The goal: no more MB added to the memory after a tenth of the way.
GOAL_MB = 50.0

_GREETING = "Dear {{ name }}, your number is {{ number }}."
_TEXT = "our shop in Nitra has moved: you find us at Štefánikova 12 from Monday on.\n\n" * 5

#: What is mailed, by the figure's name.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "shared": {"subject": SUBJECT, "message": MESSAGE, "html": True},
    "plain": {"subject": "For {{ name }}", "message": f"{_GREETING}\n\n{_TEXT}", "add_template": False},
    "house": {"subject": "For {{ name }}", "message": f"<p>{_GREETING}</p>{MESSAGE}", "html": True},
    "sms": {"channel": "sms", "message": f"{_GREETING} Come and see our new shop in Nitra!"},
    "query": {"subject": SUBJECT, "message": MESSAGE, "html": True},
}

_CONNECTION = "bench_source"
_QUERY = """
    select 'person' || lpad(n::text, 7, '0') || '@example.com' as email, 'Person ' || n as name, n as number
    from generate_series(1, {}) n
"""

#: What a message takes, and the functions that do it; none of them calls another.
_PARTS = {
    "reading recipients": ("campaigns.py:rows_after",),
    "looking them up": ("stretch.py:_book", "stretch.py:_resolved", "stretch.py:_wanted"),
    "who has one": ("campaign_recipients.py:known",),
    "rendering": ("campaign.py:_rendered",),
    "composing the body": ("mime.py:compose_body",),
    "composing the headers": ("mime.py:compose_headers",),
    "storing messages": ("outbox.py:add_contents", "outbox.py:add"),
    "storing who has one": ("campaign_recipients.py:put",),
    "committing": ("statements.py:_do_commit",),
}


def measure(bench: Bench) -> None:
    """Measure all of it."""
    count = bench.scaled(RECIPIENTS)
    _create(bench, count)
    for name in KINDS:
        _generate(bench, name, count)
    _steer(bench, count)
    _profile(bench, count // 5)


# --- Jobs ------------------------------------------------------------------------------------------------------------


def creating(url: str, kind: str, count: int) -> Callable[[], dict[str, int]]:
    """A job: write a campaign with a file of so many rows."""
    engine, fields = engine_for(url), _fields(kind, count)

    def create() -> dict[str, int]:
        with engine.begin() as connection:
            number, _ = authoring.create(connection, fields, _settings())
        return {"campaign": number}

    return create


def generating(url: str, source: str | None = None) -> Callable[[], dict[str, Any]]:
    """A job: one run of MassMailing.

    :param source: the database that queries ask
    """
    if source:
        os.environ[f"AIRFLOW_CONN_{_CONNECTION.upper()}"] = json.dumps(_described(source))
        connect(_CONNECTION).close()  # Airflow's hooks take 50 MB, once
    plan = Generating(engine_for(url), _settings())
    return lambda: asdict(plan.run()[0])


def moving(url: str) -> Callable[[], dict[str, float]]:
    """A job: send a campaign, pause it, let it go on, cancel it; how long until all its messages have followed each."""
    engine = engine_for(url)
    return lambda: {what: _told(engine, what) for what in ("send", "pause", "resume", "cancel")}


def _told(engine: Engine, what: str) -> float:
    began = time.perf_counter()
    with engine.begin() as connection:
        getattr(steering, what)(connection, 1)
    following.follow(engine, 1)
    return round(time.perf_counter() - began, 3)


# --- What is measured ------------------------------------------------------------------------------------------------


def _create(bench: Bench, count: int) -> None:
    def once() -> Team:
        with bench.server.database(SUITE) as url:
            return run("benchmarks.campaign:creating", url=url, kind="plain", count=count)

    team, seconds = bench.fastest(f"write a campaign with a file of {count:,} rows", once, REPEAT)
    bench.results.add(SUITE, "create", _figure(team, count) | {"all_seconds": seconds})


def _generate(bench: Bench, name: str, count: int) -> None:
    def once() -> Team:
        with bench.server.database(SUITE) as url:
            _ask(url, name, count)
            team = run("benchmarks.campaign:generating", url=url, source=url if name == "query" else None)
        return _whole(team, count)

    team, seconds = bench.fastest(f"make {count:,} messages, {name}", once, REPEAT)
    bench.results.add(SUITE, name, _figure(team, count) | {"all_seconds": seconds})
    bench.results.goal(f"campaign_{name}_growth_mb", team.most("rss_growth_mb"), most=GOAL_MB)


def _steer(bench: Bench, count: int) -> None:
    def once() -> Team:
        with bench.server.database(SUITE) as url:
            _ask(url, "shared", count)
            _whole(run("benchmarks.campaign:generating", url=url), count)
            vacuum(url)
            return run("benchmarks.campaign:moving", url=url)

    team, _ = bench.fastest(f"send, pause, resume, cancel {count:,}", once, REPEAT)
    for what, seconds in team.reports[0]["done"].items():
        bench.results.add(
            SUITE, what, {"rows": count, "seconds": seconds, "rows_per_second": round(count / seconds, 1)}
        )


def _profile(bench: Bench, count: int) -> None:
    """Where the time goes for a personal text in the house template."""
    with bench.server.database(SUITE) as url:
        _ask(url, "house", count)
        [report] = run("benchmarks.campaign:generating", profile="functions", url=url).reports
    bench.results.profiles[SUITE] = {"parts": shares(report, _PARTS), "functions": hottest(report)}


def _ask(url: str, kind: str, count: int) -> None:
    """Write a campaign, and have its messages made by the next run."""
    engine = engine_for(url)
    with engine.begin() as connection:
        number, _ = authoring.create(connection, _fields(kind, count), _settings())
        steering.generate(connection, number)
    vacuum(url)
    engine.dispose()


def _fields(kind: str, count: int) -> dict[str, Any]:
    fields = {"description": kind, **KINDS[kind]}
    if kind == "query":
        return {**fields, "query_connection": _CONNECTION, "query": _QUERY.format(count)}
    return {**fields, "csv": "\n".join(["recipient,name,number", *(_row(kind, one) for one in range(count))])}


def _row(kind: str, number: int) -> str:
    recipient = f"+421903{number:06}" if kind == "sms" else f"person{number:07}@example.com"
    return f"{recipient},Person {number},{number}"


def _settings() -> HandOverSettings:
    """Those of all suites, and a sender of SMS."""
    ours = settings()

    def identity(sender: str) -> SenderIdentity:
        return replace(ours.identity(sender), channel=ChannelName.SMS if sender == "sms" else ChannelName.EMAIL)

    senders = (*ours.senders, "sms")
    return replace(ours, senders=senders, identity=identity, region="SK", campaign_connections=frozenset({_CONNECTION}))


def _described(url: str) -> dict[str, Any]:
    """A database, as Airflow has connections to it."""
    database = normal_url(url)
    return {
        "conn_type": "postgres",
        "login": database.username,
        "host": database.query.get("host") or database.host,
        "port": database.port,
        "schema": database.database,
    }


def _whole(team: Team, count: int) -> Team:
    """A run that made all messages: the figures of any other are worth nothing."""
    done = team.reports[0]["done"]
    if done["created"] != count or done["status"] != "generated":
        raise JobFailed(str(done))
    return team


def _figure(team: Team, count: int) -> dict[str, Any]:
    [report] = team.reports
    memory = {name: report[name] for name in report if name.startswith("rss_")}
    rate = round(count / team.seconds, 1)
    return {"rows": count, "seconds": round(team.seconds, 3), "rows_per_second": rate, **team.times(), **memory}
