"""Several workers at once, as `make test` starts them: which tests stay together, and what is begun first."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Folders in the order in which they are begun: what takes longest first, or the others would wait for it at the end.
ORDER = ("tests/acceptance", "tests/chaos", "tests/integration", "tests/acceptance/test_stack.py", "tests/fuzz")

#: Of these, one worker takes all: there is one Airflow, and scenarios that are played at the same time already.
WHOLE = ("tests/acceptance", "tests/chaos")

#: What needs nothing of what its folder shares.
APART = ("tests/acceptance/test_stack.py",)


class Scheduling(LoadScopeScheduling):
    """Gives each worker a file at a time, or a folder."""

    def _split_scope(self, nodeid: str) -> str:
        folder = folder_of(nodeid)
        return folder if folder in WHOLE else _file_of(nodeid)


def folder_of(nodeid: str) -> str:
    """The folder that a test belongs to, e.g. ``tests/unit``; or the file, if it is one apart."""
    file = _file_of(nodeid)
    return file if file in APART else "/".join(nodeid.split("/")[:2])


def _file_of(nodeid: str) -> str:
    return nodeid.split("::", maxsplit=1)[0]


def begin_with_the_longest(items: list[pytest.Item]) -> None:
    """Put tests into the order in which workers begin them."""
    rank = {folder: place for place, folder in enumerate(ORDER)}
    items.sort(key=lambda item: rank.get(folder_of(item.nodeid), len(ORDER)))
