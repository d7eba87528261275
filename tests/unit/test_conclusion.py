"""What an attempt's outcome makes of its message."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.conclusion import ZERO, Tried, conclude
from notify.domain.message import Guarantee
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.retry import GIVE_UP_AFTER
from notify.domain.status import Status, may_become

AT_LEAST, AT_MOST = Guarantee.AT_LEAST_ONCE, Guarantee.AT_MOST_ONCE

OUTCOMES = st.lists(st.sampled_from(Verdict), max_size=5).map(
    lambda verdicts: Outcome(
        tuple(RecipientOutcome(position, verdict, None, "words") for position, verdict in enumerate(verdicts))
    )
)
TRIED = st.builds(
    Tried,
    st.sampled_from(Guarantee),
    st.integers(min_value=0, max_value=100),
    st.timedeltas(min_value=ZERO, max_value=timedelta(days=5)),
    st.booleans(),
)


def told(*verdicts: Verdict) -> Outcome:
    """An outcome with one recipient for each verdict."""
    return Outcome(
        tuple(
            RecipientOutcome(position, verdict, 450, f"words {position}") for position, verdict in enumerate(verdicts)
        )
    )


@given(OUTCOMES, TRIED)
def test_conclusion_is_a_legal_way(outcome: Outcome, tried: Tried) -> None:
    """Whatever comes of an attempt, the message leaves sending by a legal way, with a reason."""
    conclusion = conclude(outcome, tried)
    assert may_become(Status.SENDING, conclusion.status)
    assert conclusion.reason


@given(OUTCOMES, TRIED)
def test_only_the_queue_waits(outcome: Outcome, tried: Tried) -> None:
    """A message waits exactly if it is queued again, and never beyond 72 hours from its first try."""
    conclusion = conclude(outcome, tried)
    if conclusion.status is Status.QUEUED:
        assert conclusion.wait > ZERO
        assert tried.age + conclusion.wait <= GIVE_UP_AFTER
    else:
        assert conclusion.wait == ZERO


@given(OUTCOMES, TRIED)
def test_doubt_is_never_repeated_at_most_once(outcome: Outcome, tried: Tried) -> None:
    """A message handed over as at_most_once becomes uncertain in doubt, and only then; no other ever does."""
    uncertain = conclude(outcome, tried).status is Status.UNCERTAIN
    assert uncertain == (tried.guarantee is AT_MOST and outcome.verdict is Verdict.IN_DOUBT)


@given(OUTCOMES, TRIED)
def test_what_reached_somebody_never_fails(outcome: Outcome, tried: Tried) -> None:
    """A message that reached a recipient, now or before, is never called failed."""
    if tried.reached or outcome.of(Verdict.ACCEPTED):
        assert conclude(outcome, tried).status is not Status.FAILED


@given(OUTCOMES, TRIED)
def test_nothing_reached_is_never_sent(outcome: Outcome, tried: Tried) -> None:
    """A message that reached nobody is never called sent."""
    if not tried.reached and not outcome.of(Verdict.ACCEPTED):
        assert conclude(outcome, tried).status is not Status.SENT


@pytest.mark.parametrize(
    ("verdicts", "tried", "status", "reason"),
    [
        ([Verdict.ACCEPTED], Tried(AT_LEAST), Status.SENT, "450 words 0"),
        ([Verdict.PERMANENT], Tried(AT_LEAST), Status.FAILED, "refused: 450 words 0"),
        ([Verdict.TEMPORARY], Tried(AT_MOST), Status.QUEUED, "refused for now: 450 words 0"),
        ([Verdict.IN_DOUBT], Tried(AT_LEAST), Status.QUEUED, "in doubt: 450 words 0"),
        ([Verdict.IN_DOUBT], Tried(AT_MOST), Status.UNCERTAIN, "never sent twice: 450 words 0"),
        ([Verdict.ACCEPTED, Verdict.PERMANENT], Tried(AT_LEAST), Status.SENT, "1 of 2 recipients refused"),
        ([Verdict.ACCEPTED, Verdict.TEMPORARY], Tried(AT_LEAST), Status.QUEUED, "450 words 1"),
        ([Verdict.PERMANENT], Tried(AT_LEAST, reached=True), Status.SENT, "sent before"),
    ],
)
def test_arrows(verdicts: list[Verdict], tried: Tried, status: Status, reason: str) -> None:
    """Each arrow that leaves sending, with the server's words in the reason."""
    conclusion = conclude(told(*verdicts), tried)
    assert conclusion.status is status
    assert reason in conclusion.reason


@pytest.mark.parametrize(
    ("verdicts", "reached", "status"),
    [
        ([Verdict.TEMPORARY], False, Status.FAILED),
        ([Verdict.TEMPORARY], True, Status.SENT),
        ([Verdict.TEMPORARY, Verdict.ACCEPTED], False, Status.SENT),
        ([Verdict.IN_DOUBT], False, Status.FAILED),
    ],
)
def test_given_up_after_three_days(verdicts: list[Verdict], reached: bool, status: Status) -> None:
    """After 72 hours a message is given up; whom it reached by then decides what it is called."""
    conclusion = conclude(told(*verdicts), Tried(AT_LEAST, 20, GIVE_UP_AFTER, reached))
    assert conclusion.status is status
    assert conclusion.reason.startswith("given up after 72 hours")
