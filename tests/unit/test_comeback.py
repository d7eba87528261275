"""What follows from a report for recipient, address and message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.bounce import Action, RecipientReport
from notify.domain.comeback import Evidence, Match, match, reached_no_more, status_after_failure
from notify.domain.status import Status, may_become

ANNA, BOB = "anna@example.com", "bob@example.com"

#: Whatever can speak for a report does.
SURE = Evidence(recent=True, proven=True, alone=True)
STATUSES = ["5.1.1", "5.2.2", "5.7.1", "4.1.1", ""]

OUTCOMES = st.sampled_from(["pending", "accepted", "temporary", "permanent", "in_doubt"])


def report(address: str, original: str | None = None, status: str = "5.1.1", action: Action = Action.FAILED):
    return RecipientReport(address, original, action, status, "")


@pytest.mark.parametrize(
    ("address", "original", "addresses", "found"),
    [
        (ANNA, None, {0: ANNA}, Match(0, direct=True)),
        (ANNA, None, {0: BOB, 1: "Anna@Example.com"}, Match(1, direct=True)),
        (ANNA, BOB, {0: BOB, 1: ANNA}, Match(1, direct=True)),
        ("x@y.example", BOB, {0: ANNA, 1: BOB}, Match(1)),
        ("x@y.example", None, {4: ANNA}, Match(4)),
        ("x@y.example", "z@y.example", {0: ANNA, 1: BOB}, Match(None)),
        ("x@y.example", None, {}, Match(None)),
    ],
)
def test_match(address: str, original: str | None, addresses: dict[int, str], found: Match) -> None:
    """The final recipient counts before the original one, and both before the only one."""
    assert match(report(address, original), addresses) == found


@pytest.mark.parametrize(
    ("one", "direct", "counts"),
    [
        (report(ANNA), True, True),
        (report(ANNA), False, False),
        (report(ANNA, status="5.7.1"), True, False),
        (report(ANNA, status="4.2.2"), True, True),
        (report(ANNA, status="4.2.2", action=Action.DELAYED), True, False),
        (report(ANNA, status="2.0.0", action=Action.DELIVERED), True, False),
    ],
)
def test_what_counts(one: RecipientReport, direct: bool, counts: bool) -> None:
    """Only a failure of the address itself, and not of a place behind it, is held against it."""
    assert Match(0, direct).counts(one, SURE) is counts
    assert not Match(0, direct).counts(one, replace(SURE, recent=False))


@given(st.builds(Evidence, st.booleans(), st.booleans(), st.booleans()), st.booleans(), st.sampled_from(STATUSES))
def test_what_condemns(evidence: Evidence, direct: bool, status: str) -> None:
    """One report condemns an address only if it is hard, and nobody but its reader could have made it up."""
    condemned = Match(0, direct).condemns(report(ANNA, status=status), evidence)
    assert condemned is (evidence == SURE and direct and status == "5.1.1")


@given(st.sampled_from(Status), st.lists(OUTCOMES, max_size=5))
def test_the_way_exists(status: Status, outcomes: list[str]) -> None:
    """Whatever is concluded is a way that the diagram of states has."""
    after = status_after_failure(status, outcomes)
    assert after is None or may_become(status, after)


@given(st.sampled_from(Status), st.lists(OUTCOMES, max_size=5))
def test_whom_it_reached(status: Status, outcomes: list[str]) -> None:
    """A message that reached anybody does not become undelivered, nor does one of which nothing is known."""
    if "accepted" in outcomes or not outcomes:
        assert status_after_failure(status, outcomes) is None


@given(st.sampled_from(Status), st.booleans())
def test_what_was_never_reached(status: Status, hard: bool) -> None:
    """What was refused already is not refused anew, and whom nothing has left for is touched in the queue only."""
    assert not reached_no_more(status, "permanent", hard=hard)
    if status is not Status.QUEUED:
        assert not reached_no_more(status, "pending", hard=hard)
