"""Python's garbage collector, held off where there is much to make and nothing to collect.

It looks for objects that hold each other alive, and begins again and again while many are made, with all that were made
before (CPython 3.11, 2026-11). What we make in bulk holds nothing of the kind, and goes when its references go.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing meanwhile: a third of what it takes to make ten thousand messages."""
    if not gc.isenabled():  # somebody else's decision, which is not ours to undo
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def unwatched() -> Iterator[None]:
    """Leave alone what is there already: Airflow's objects are hundreds of thousands.

    Otherwise all of them would be looked through again and again, and every session waits meanwhile: a seventh of the
    messages in a second.
    """
    if gc.get_freeze_count():  # somebody else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
