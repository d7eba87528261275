"""Airflow's EmailOperator as a peer: mapped over its recipients, in a real Airflow, from the run's start to its end."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.drain import NotAllSent
from benchmarks.processes import CHECKOUT
from benchmarks.receiver import Receiver, receiver
from benchmarks.sink import HOST
from dev.ports import free_ports
from dev.stack import Stack

SUITE = "email_operator"

_DAGS = CHECKOUT / "benchmarks" / "peers" / "dags"

#: Mails of a run, and of a quick one.
MAILS = 60
QUICK_MAILS = 10

#: How long a run may take, in seconds.
_PATIENCE = 600


def measure(bench: Bench) -> None:
    """Measure one run: before it, a run of few mails has the workers started."""
    port, mail_port = free_ports(2)
    with (
        receiver() as server,
        tempfile.TemporaryDirectory(prefix="notify-bench-") as home,
        Stack(
            Path(home),
            port=port,
            mail_port=mail_port,
            dags_folder=_DAGS,
            expect_dags=[f"email_operator_{count}" for count in (QUICK_MAILS, MAILS)],
            report=bench.tell,
        ) as stack,
    ):
        _connect(stack, server)
        _run(stack, QUICK_MAILS)
        before = server.counts()
        count = QUICK_MAILS if bench.quick else MAILS
        seconds = _run(stack, count)
        after = server.counts()
        if before and after and after["messages"] - before["messages"] != count:
            raise NotAllSent(f"EmailOperator sent {after['messages'] - before['messages']:.0f} of {count}")
        bench.tell(f"EmailOperator, {count} mails: {seconds:.1f} s")
        bench.results.add(
            SUITE,
            "mapped",
            {
                "mail_server": server.name,
                "delay_ms": server.delay_ms,
                "messages": count,
                "seconds": round(seconds, 3),
                "messages_per_second": round(count / seconds, 2),
            },
        )


def _connect(stack: Stack, server: Receiver) -> None:
    connection = {
        "connection_id": "mail_server",
        "conn_type": "smtp",
        "host": HOST,
        "port": server.port,
        "extra": json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "notify@example.com"}),
    }
    stack.api("POST", "/connections", connection)


def _run(stack: Stack, count: int) -> float:
    """Run the DAG.

    :returns: seconds from the run's start to its end, as Airflow tells them
    """
    dag = f"email_operator_{count}"
    run = stack.run(dag, timeout=_PATIENCE)
    found = stack.api("GET", f"/dags/{dag}/dagRuns/{run}")
    begin, end = (datetime.fromisoformat(found[name]) for name in ("start_date", "end_date"))
    return (end - begin).total_seconds()
