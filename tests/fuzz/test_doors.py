"""Bad input at every door: stored whole, or refused with a named error and nothing stored; no secret in the log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dev.postgres import Postgres
from notify.storage.engine import normal_url
from tests.fuzz import stage as staging
from tests.fuzz.doors import DOORS
from tests.fuzz.judge import run
from tests.fuzz.sending import send_all
from tests.fuzz.stage import Stage

INPUTS = 40


@pytest.fixture(scope="module")
def stage(postgres: Postgres, admin: Connection, template: str) -> Iterator[Stage]:
    """One database for all doors; nothing stays in it."""
    name = "test_fuzz"
    admin.execute(sa.text(f"create database {name} template {template}"))
    with staging.stage(normal_url(postgres.uri(name))) as found:
        yield found
    admin.execute(sa.text(f"drop database {name} with (force)"))


@pytest.fixture
def recursion(recursion_limit: None) -> None:
    """Operators raise the limit of recursion; see there."""


@pytest.mark.parametrize("name", DOORS)
def test_every_input_is_stored_whole_or_refused(stage: Stage, recursion: None, name: str) -> None:
    """Of some inputs, always the same, none is half stored, none ends in an error without a name, and none is told to
    the log; some are taken and some are not, so that both are tried."""
    tally = run(DOORS[name], stage, INPUTS, chance=1)
    assert not {finding: times for finding, (times, _example) in tally.findings.items()}
    assert tally.inputs == INPUTS
    assert tally.stored
    assert sum(tally.refused.values()) or name == "delivery report"


def test_what_is_stored_can_be_sent(postgres: Postgres, admin: Connection, template: str) -> None:
    """Messages made of odd input drain, and each recipient gets the one mail."""
    name = "test_fuzz_sending"
    admin.execute(sa.text(f"create database {name} template {template}"))
    with staging.stage(normal_url(postgres.uri(name))) as found:
        kept = {door: run(DOORS[door], found, 40, chance=2, keep=1).kept for door in ("enqueue", "publish")}
        sent = send_all(found, kept)
    admin.execute(sa.text(f"drop database {name} with (force)"))
    assert not sent.faults
    assert sent.arrived >= 10
