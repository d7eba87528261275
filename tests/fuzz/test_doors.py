"""Bad input at every door: stored whole, or refused with a named error and nothing stored; no secret in the log."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dev.postgres import Postgres
from notify.storage.engine import normal_url
from notify.table import Format
from tests.fuzz import stage as staging
from tests.fuzz.campaigns import SHOP, Exported, Mailshot, Order, as_csv
from tests.fuzz.doors import DOORS, Call
from tests.fuzz.given import Given
from tests.fuzz.judge import run, try_one
from tests.fuzz.lists import Answer
from tests.fuzz.sending import send_all
from tests.fuzz.stage import Stage
from tests.fuzz.values import SECRET, Spiteful, nested
from tests.mailing import PLAIN

INPUTS = 40

#: Of these doors, what was stored is sent.
SENT = ("enqueue", "publish", "CampaignOperator", "campaigns", "generating")


@pytest.fixture(scope="module")
def stage(postgres: Postgres, admin: Connection, template: str) -> Iterator[Stage]:
    """One database for all doors; nothing stays in it."""
    name = "test_fuzz"
    admin.execute(sa.text(f"create database {name} template {template}"))
    with staging.stage(normal_url(postgres.uri(name))) as found:
        yield found
    admin.execute(sa.text(f"drop database {name} with (force)"))


#: What inputs of long runs once got out of the doors, each as small as it can be.
FOUND = [
    (
        "enqueue",
        Given({"recipient": "anna", "subject": "x", "message": "y", "priority": Spiteful()}, None, frozenset()),
    ),
    ("enqueue", Given({"recipient": "anna", "subject": "x", "message": "y", 7: "z"}, None, frozenset())),
    ("enqueue", Given({"recipient": "anna", "subject": "x", "message": "y", "a\x1b[2J\nb": 1}, None, frozenset())),
    ("enqueue", Given({"recipient": "x" * 100_000, "subject": "x", "message": "y"}, None, frozenset())),
    ("enqueue", Given({"recipient": "anna", "template": "fuzz", "data": {"word": Spiteful()}}, None, frozenset())),
    (
        "enqueue",
        Given({"recipient": "anna", "template": "fuzz", "data": {"word": "", "when": SECRET}}, None, frozenset()),
    ),
    ("publish", Given({"recipients": "anna", "kind": "fuzz", "data": {"word": "x"}, None: 1}, None, frozenset())),
    ("set_reminder", Given({"login": "anna", "case": "x", "at": "P1D", 7: "z"}, None, frozenset())),
    ("set_preference", Call("set_preference", (None, "*"), {"frequency": "daily"})),
    ("set_preference", Call("set_preference", ("anna", []), {"frequency": "daily"})),
    ("set_preference", Call("set_preference", ("anna", "*"), {"frequency": Spiteful()})),
    ("set_preference", Call("set_preference", ("anna", "*"), {"hour": Spiteful()})),
    ("clear", Call("clear_preference", (7, "*"), {})),
    ("clear", Call("clear_deadline", ("x",), {"stage": "\0"})),
    ("clear", Call("clear_reminder", ("anna", "x"), {"name": object()})),
    ("people.json", b"[" * 100_000),
    ("people.json", b'[{"login": "x", "phone": "\\u0000"}]'),
    ("people.json", b'[{"login": "x", "supervisor": "\\u0000"}]'),
    ("people.json", ('[{"login": "x", "groups": "' + "".join(map(chr, range(200, 3_200))) + '"}]').encode()),
    ("SyncPeople", (["login", "active"], [("x", Decimal("NaN"))])),
    ("SyncPeople", (["login", "phone"], [("x", Decimal("1e5000"))])),
    ("SyncPeople", (["login", "phone"], [("x", 10**5_000)])),
    ("SyncPeople", (["login", "\x1b[2J"], [("x", "y")])),
    ("Variables", {"notify_blocked": '{"x": [[]]}'}),
    ("database URL", f"postgresql://u:{SECRET}@h:{SECRET}/d"),
    ("CampaignOperator", Order({**PLAIN, "data": {"a": nested(20_000)}}, None, frozenset())),
    ("CampaignOperator", Order({**PLAIN, "send_after": "PT2H"}, None, frozenset())),
]


@pytest.mark.parametrize(("name", "example"), FOUND, ids=range(len(FOUND)))
def test_what_was_found_is_refused(stage: Stage, name: str, example: object) -> None:
    """What once got out of a door is refused now, as it should be."""
    tally = try_one(DOORS[name], stage, example)
    assert not list(tally.findings)
    assert sum(tally.refused.values()) == 1


def _exported(record: dict[str, Any]) -> Exported:
    """A file of a campaign."""
    return Exported(Format.CSV, as_csv([record]).encode(), [record])


def _queried(who: object) -> Mailshot:
    """A campaign whose database names somebody so, and somebody else."""
    record = {**PLAIN, "message": f"{SECRET} {{{{ first_name }}}}", "query": "select 1", "query_connection": SHOP}
    rows = [(who, "A"), ("b@example.com", "B")]
    return Mailshot(record, Answer(["recipient", "first_name"], rows), 1)


#: What was refused once or stored as something else, and should be stored.
MENDED = [
    ("campaigns", _exported({**PLAIN, "message": "a\r\nb\rc\nd"})),
    ("generating", _queried(Decimal("Infinity"))),
    ("generating", _queried("a\ud800")),
]


@pytest.mark.parametrize(("name", "example"), MENDED, ids=range(len(MENDED)))
def test_what_was_found_is_stored(stage: Stage, name: str, example: object) -> None:
    """What once got out of a door, or was stored as something else, is stored as it was meant."""
    tally = try_one(DOORS[name], stage, example)
    assert not list(tally.findings)
    assert tally.stored == 1


@pytest.mark.parametrize("name", DOORS)
def test_every_input_is_stored_whole_or_refused(stage: Stage, name: str) -> None:
    """Of some inputs, always the same, none is half stored, none ends in an error without a name, and none is told to
    the log; some are taken and some are not, so that both are tried."""
    tally = run(DOORS[name], stage, INPUTS, chance=1)
    assert not {finding: times for finding, (times, _example) in tally.findings.items()}
    assert tally.inputs == INPUTS
    assert tally.stored
    assert sum(tally.refused.values()) or name == "delivery report"


def test_what_is_stored_can_be_sent(postgres: Postgres, admin: Connection, template: str) -> None:
    """Messages made of odd input drain, and each recipient gets the one mail; so do those of odd campaigns."""
    name = "test_fuzz_sending"
    admin.execute(sa.text(f"create database {name} template {template}"))
    with staging.stage(normal_url(postgres.uri(name))) as found:
        kept = {door: run(DOORS[door], found, 40, chance=2, keep=1).kept for door in SENT}
        sent = send_all(found, kept)
    admin.execute(sa.text(f"drop database {name} with (force)"))
    assert not sent.faults
    assert sent.arrived >= 10  # hypothesis takes values from what else is imported, so inputs differ a little
    assert sent.campaigns
