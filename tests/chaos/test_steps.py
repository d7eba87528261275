"""A sender is killed at every step: nothing is lost, and little repeated."""

from __future__ import annotations

import pytest

from tests.chaos.catalogue import STEPS, VERBS
from tests.chaos.judge import Verdict
from tests.chaos.sink import Mode
from tests.chaos.theatre import Theatre

#: The modes take turns here; ``make chaos`` plays every verb in every one, and more blows.
SHORT = [
    *(step.with_settings(blows=2) for step in STEPS),
    *(verb.with_settings(blows=2, mode=list(Mode)[number % 3]) for number, verb in enumerate(VERBS)),
]


@pytest.fixture(scope="module")
def verdicts(theatre: Theatre, seed: int) -> dict[str, Verdict]:
    """Of all of them: they are played at the same time."""
    return theatre.play_all(SHORT, seed)


@pytest.mark.parametrize("name", [scenario.name for scenario in SHORT])
def test_killed_at_a_step(verdicts: dict[str, Verdict], name: str, seed: int) -> None:
    """Two workers are killed at this step: nothing is lost, and no more is repeated than the promise allows."""
    assert not verdicts[name].faults, f"NOTIFY_SEED={seed}"
