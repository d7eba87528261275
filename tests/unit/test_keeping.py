"""Housekeeping's rules: how long it rests."""

from __future__ import annotations

import pytest

from notify.domain.keeping import pause


@pytest.mark.parametrize("took", [0.01, 0.5, 3.0])
def test_it_leaves_the_disk_to_others(took: float) -> None:
    """While somebody sends, it works for a fifth of the time; otherwise for four fifths."""
    assert took / (took + pause(took, busy=True)) == pytest.approx(0.2)
    assert took / (took + pause(took, busy=False)) == pytest.approx(0.8)
