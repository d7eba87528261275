"""The harness finds what is built in on purpose, and counts rightly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.judge import Verdict, most_in_any_window
from tests.chaos.mutants import MUTANTS
from tests.chaos.selftest import FOUND_BY, scenario_of
from tests.chaos.theatre import Theatre

#: Those that are found soon; ``make chaos`` tries all.
SOON = [
    "begin-after-send",
    "release-begun",
    "new-message-id",
    "no-fence",
    "settle-anyway",
    "doubt-is-success",
    "token-back-early",
]


@pytest.fixture(scope="module")
def verdicts(theatre: Theatre, seed: int) -> dict[str, Verdict]:
    """On each mutant: they are played at the same time."""
    return theatre.play_all([scenario_of(mutant)[0] for mutant in SOON], seed)


@pytest.mark.parametrize("mutant", SOON)
def test_judge_sees_the_mutant(verdicts: dict[str, Verdict], mutant: str, seed: int) -> None:
    """A sender with this fault built in is found, and for what it does."""
    scenario, begins = scenario_of(mutant)
    faults = verdicts[scenario.name].faults
    assert any(fault.startswith(begins) for fault in faults), f"NOTIFY_SEED={seed}: {faults}"


def test_every_mutant_is_tried() -> None:
    """No mutant is forgotten by the long run."""
    assert set(FOUND_BY) == set(MUTANTS)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 15), st.integers(-5, 45))
def test_most_in_any_window(moments: list[int], window: int, start: int) -> None:
    """The count is reached by a window that begins at a moment, and exceeded by no window, wherever it begins."""
    most = most_in_any_window(moments, window)

    def within(begin: int) -> int:
        return sum(begin <= moment < begin + window for moment in moments)

    assert within(start) <= most
    assert most == max(map(within, moments), default=0)
