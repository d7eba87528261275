"""Senders, databases and servers are killed, frozen, cut and stalled at every step: the promise is kept.

The scenarios are those of ``tests/chaos/catalogue.py``; ``make chaos`` plays all of them, in every mode and more often.
"""

from __future__ import annotations

import pytest

from tests.chaos.catalogue import short
from tests.chaos.judge import Verdict
from tests.chaos.theatre import Theatre

SHORT = [one.name for one in short()]


@pytest.fixture(scope="module")
def verdicts(theatre: Theatre, seed: int) -> dict[str, Verdict]:
    """Of all of them: they are played at the same time."""
    return theatre.play_all(short(), seed)


@pytest.mark.parametrize("name", SHORT)
def test_promise(verdicts: dict[str, Verdict], name: str, seed: int) -> None:
    """In this scenario nothing is lost, no more is repeated than is allowed, and the limit holds."""
    assert not verdicts[name].faults, f"NOTIFY_SEED={seed}"
