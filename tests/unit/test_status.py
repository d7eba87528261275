"""The states of a message and the ways between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.status import FINAL, RESENDABLE, TRANSITIONS, Status, may_become

STATES = st.sampled_from(Status)

#: As the design draws it, written down a second time on purpose: a new way must be drawn as well.
DRAWN = {
    "queued": {"sending", "held", "cancelled", "suppressed", "expired"},
    "sending": {"sent", "queued", "failed", "uncertain"},
    "sent": {"delivered", "undelivered", "queued"},
    "failed": {"queued"},
    "uncertain": {"queued", "delivered", "undelivered"},
    "cancelled": {"queued"},
    "held": {"queued", "cancelled"},
    "expired": {"queued"},
    "suppressed": {"queued"},
    "delivered": {"undelivered"},
    "undelivered": {"queued"},
}


@given(STATES, STATES)
def test_ways_are_those_drawn(before: Status, after: Status) -> None:
    """A transition is legal exactly where the documented picture has an arrow."""
    assert may_become(before, after) == (after.value in DRAWN[before.value])


def test_every_state_is_reached() -> None:
    """No state is out of reach from the queue."""
    reached = {Status.QUEUED}
    while further := {after for before, after in TRANSITIONS if before in reached} - reached:
        reached |= further
    assert reached == set(Status)


@given(STATES)
def test_nothing_becomes_itself(status: Status) -> None:
    """A transition changes the state."""
    assert not may_become(status, status)


@given(STATES)
def test_only_a_claim_leads_into_sending(status: Status) -> None:
    """Nothing but a queued message may be claimed: what may be under way is never sent by a second hand."""
    assert may_become(status, Status.SENDING) == (status is Status.QUEUED)


@pytest.mark.parametrize("status", sorted(RESENDABLE))
def test_resend_goes_through_the_queue(status: Status) -> None:
    """What may be resent goes back to the queue."""
    assert may_become(status, Status.QUEUED)


def test_final_states_move_only_by_people_and_receipts() -> None:
    """A final state is left by a resend or a receipt only; what is queued, under way, held or doubtful is not final."""
    for before, after in TRANSITIONS:
        if before in FINAL:
            assert after in {Status.QUEUED, Status.DELIVERED, Status.UNDELIVERED}
    assert set(Status) - FINAL == {Status.QUEUED, Status.SENDING, Status.HELD, Status.UNCERTAIN}


def test_values_are_words_of_the_database() -> None:
    """Values stand in the database and in the API: a renamed one needs a migration."""
    assert {status.value for status in Status} == set(DRAWN)
