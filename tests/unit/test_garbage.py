"""The garbage collector is held off, and is afterwards as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from notify import garbage


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Whatever a test does, the collector goes on."""
    yield
    gc.unfreeze()
    gc.enable()


def test_paused_also_where_something_is_raised() -> None:
    """Nothing is collected meanwhile; afterwards it goes on, whatever happened."""

    @garbage.paused()
    def fails() -> None:
        assert not gc.isenabled()
        raise LookupError

    with pytest.raises(LookupError):
        fails()
    assert gc.isenabled()


def test_paused_leaves_what_others_have_switched_off() -> None:
    """Where somebody else has switched the collector off, it stays off."""
    gc.disable()
    with garbage.paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_unwatched_leaves_what_others_have_frozen() -> None:
    """What was there is left alone meanwhile; what somebody else has frozen stays frozen."""
    with garbage.unwatched():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    gc.freeze()
    with garbage.unwatched():
        pass
    assert gc.get_freeze_count() > 0
