"""Faults built into a worker on purpose: the harness proves itself by finding them."""

from __future__ import annotations

from collections.abc import Callable

MUTANTS: dict[str, Callable[[], None]] = {}


def install(name: str) -> None:
    """Build one in, into this process."""
    MUTANTS[name]()
