"""What the scenarios share."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from tests.chaos.catalogue import Scenario
from tests.chaos.forge import Forge
from tests.chaos.judge import Verdict
from tests.chaos.loop import Loop
from tests.chaos.stage import Stage, world


@pytest.fixture(scope="session")
def shared() -> Iterator[tuple[Forge, Loop]]:
    """The parent of the workers, and the thread of the servers."""
    with world() as made:
        yield made


@pytest.fixture
def chance() -> random.Random:
    """All chance; pytest shows its seed when a test fails. Give it as NOTIFY_SEED to have the same again."""
    seed = int(os.environ.get("NOTIFY_SEED") or random.randrange(2**32))
    print(f"NOTIFY_SEED={seed}")
    return random.Random(seed)


class Theatre:
    """Plays scenarios."""

    def __init__(self, url: URL, shared: tuple[Forge, Loop], chance: random.Random) -> None:
        self._url = url
        self._shared = shared
        self._chance = chance

    def play(self, scenario: Scenario) -> Verdict:
        """Play one, and judge."""
        with Stage(self._url, *self._shared, scenario.settings, self._chance) as stage:
            scenario.play(stage)
            verdict = stage.judge()
        print(verdict)
        return verdict


@pytest.fixture
def theatre(database: URL, shared: tuple[Forge, Loop], chance: random.Random) -> Theatre:
    """Where a scenario is played, on a database of the test's own."""
    return Theatre(database, shared, chance)
