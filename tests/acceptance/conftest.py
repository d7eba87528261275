"""One real Airflow for all acceptance tests, started the way `make up` starts it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser

from dev.ports import free_ports
from dev.stack import MAIL_SENDER, SMS_SENDER, Stack
from tests.acceptance import browser as windows

# Tests start the jobs themselves; by the clock these would run once a year.
NEVER = "0 0 1 1 *"
SCHEDULES = ("notifications", "user_notifications", "reminders", "mass_mailing", "delivery_reports", "housekeeping")

# DAGs of a user, beside ours.
PRODUCERS = {"producers": Path(__file__).parent / "dags"}


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """A running stack: PostgreSQL, mail catcher, SMS gateway, Airflow; it ends with the last test of this folder."""
    port, mail_port, sms_port = free_ports(3)
    variables = {f"notify_schedule_{job}": NEVER for job in SCHEDULES}
    # pytest's own temporary folders are closed to others each time it starts, and the database's user is another
    # one where root runs the tests.
    with (
        tempfile.TemporaryDirectory(prefix="airflow-notify-test-") as home,
        Stack(
            Path(home),
            port=port,
            mail_port=mail_port,
            sms_port=sms_port,
            more_dags=PRODUCERS,
            variables=variables,
            report=_report,
        ) as running,
    ):
        yield running


@pytest.fixture
def empty(stack: Stack) -> None:
    """No limit, and an outbox that knows nobody and nothing: what a run says it did is what the test has made it do."""
    for sender in (MAIL_SENDER, SMS_SENDER):
        stack.set_pool(sender, -1)
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        outbox.execute(
            "truncate notify.messages, notify.contents, notify.events, notify.deadlines, notify.cases, "
            "notify.people, notify.groups, notify.suppressions, notify.unsubscriptions, notify.campaigns cascade"
        )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; for a module only, as it keeps an event loop running in this thread."""
    with windows.started() as running:
        yield running


@pytest.fixture
def home() -> Iterator[Path]:
    """A home for a stack of the test's own."""
    with tempfile.TemporaryDirectory(prefix="airflow-notify-test-") as name:
        yield Path(name)


def _report(line: str) -> None:
    sys.stderr.write(f"stack: {line}\n")
