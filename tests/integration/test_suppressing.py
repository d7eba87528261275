"""Putting an address on the suppression list: what is refused, and what follows for what is queued."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Connection

from notify.exceptions import InvalidSuppression
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import register, suppressions
from notify.suppressing import suppress

ANNA = "anna@example.com"


@pytest.mark.parametrize(
    ("address", "reason", "days", "fields"),
    [
        ("anna", "r", None, ["address"]),
        ("", "", "0", ["address", "reason", "days"]),
        (ANNA, "  ", None, ["reason"]),
        (ANNA, "two\nlines", None, ["reason"]),
        (ANNA, "r" * 501, None, ["reason"]),
        (ANNA, "r", "a week", ["days"]),
        (ANNA, "r", "36501", ["days"]),
        (ANNA, "r", "-1", ["days"]),
        (ANNA, "r", "²", ["days"]),
        (f"{ANNA}; bob@example.com", "r", None, ["address"]),
    ],
)
def test_refused(connection: Connection, address: str, reason: str, days: str | None, fields: list[str]) -> None:
    """What is wrong is told in one error that names each field, and nothing is changed."""
    with pytest.raises(InvalidSuppression) as caught:
        suppress(connection, address, reason, days)
    assert [fault.field for fault in caught.value.faults] == fields
    assert suppressions.newest(connection, 10) == []


def test_queued_messages(connection: Connection, hand_over_settings: HandOverSettings) -> None:
    """What is queued for the address is suppressed, for the reason that counts; a shorter entry changes nothing."""
    first = hand_over(connection, {"recipient": ANNA, "subject": "s", "message": "m"}, hand_over_settings)
    done = suppress(connection, "Anna@Example.com", " asked for it ", "")
    assert (done.address, done.changed, done.withheld) == ("Anna@example.com", True, 1)
    assert register.read(connection, first.messages[0].id).status_reason == "on the suppression list: asked for it"
    again = suppress(connection, ANNA, "moved", 3)
    assert (again.changed, again.withheld) == (False, 0)
    [entry] = suppressions.newest(connection, 10)
    assert (entry.reason, entry.expires_at) == ("asked for it", None)
