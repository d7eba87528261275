"""What came of one try to send, seen as a whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notify.domain.outcome import Outcome, RecipientOutcome, Verdict

VERDICTS = st.sampled_from(Verdict)
OUTCOMES = st.lists(VERDICTS, max_size=6).map(
    lambda verdicts: Outcome(
        tuple(
            RecipientOutcome(position, verdict, 250 + position, f"words {position}")
            for position, verdict in enumerate(verdicts)
        )
    )
)


@given(OUTCOMES)
def test_doubt_outweighs_all(outcome: Outcome) -> None:
    """Doubt decides before what may still change, that before success, and refusal comes last."""
    verdicts = {one.verdict for one in outcome.recipients}
    for verdict in (Verdict.IN_DOUBT, Verdict.TEMPORARY, Verdict.ACCEPTED):
        if verdict in verdicts:
            assert outcome.verdict is verdict
            return
    assert outcome.verdict is Verdict.PERMANENT


@given(OUTCOMES)
def test_decisive_recipient_has_the_verdict(outcome: Outcome) -> None:
    """The attempt's code and words are those of the first recipient that the verdict comes from."""
    with_verdict = outcome.of(outcome.verdict)
    if with_verdict:
        assert outcome.decisive is with_verdict[0]
    else:
        assert outcome.recipients == ()


@given(OUTCOMES)
def test_every_recipient_is_counted_once(outcome: Outcome) -> None:
    """Sorting recipients by verdict loses none and doubles none."""
    sorted_out = [one for verdict in Verdict for one in outcome.of(verdict)]
    assert sorted(one.position for one in sorted_out) == [one.position for one in outcome.recipients]


def test_nobody_left_is_permanent() -> None:
    """An attempt whose recipients were erased meanwhile ends for good, and says why."""
    outcome = Outcome(())
    assert outcome.verdict is Verdict.PERMANENT
    assert "erased" in outcome.decisive.text
    assert outcome.decisive.code is None


@given(st.lists(st.integers(min_value=0, max_value=99), unique=True, max_size=5), VERDICTS)
def test_same_for_all(positions: list[int], verdict: Verdict) -> None:
    """One answer for all reaches every recipient, in order."""
    outcome = Outcome.same(positions, verdict, 421, "bye")
    assert [one.position for one in outcome.recipients] == positions
    assert {(one.verdict, one.code, one.text) for one in outcome.recipients} <= {(verdict, 421, "bye")}
