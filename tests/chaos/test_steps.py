"""A sender is killed at every step: nothing is lost, and little repeated."""

from __future__ import annotations

import pytest

from tests.chaos.catalogue import STEPS, VERBS, Scenario
from tests.chaos.conftest import Theatre
from tests.chaos.sink import Mode

#: The modes take turns here; ``make chaos`` plays every verb in every one.
TURNS = [(scenario, list(Mode)[number % 3]) for number, scenario in enumerate(VERBS)]


@pytest.mark.parametrize("scenario", STEPS, ids=lambda scenario: scenario.name)
def test_killed_at_a_step(theatre: Theatre, scenario: Scenario) -> None:
    """Two workers killed at this step of theirs: the promise is kept."""
    assert not theatre.play(scenario.with_settings(blows=2)).faults


@pytest.mark.parametrize(("scenario", "mode"), TURNS, ids=lambda one: getattr(one, "name", one))
def test_killed_at_a_verb(theatre: Theatre, scenario: Scenario, mode: Mode) -> None:
    """Two workers killed when the server is at this verb: the promise is kept."""
    assert not theatre.play(scenario.with_settings(mode=mode, blows=2)).faults
