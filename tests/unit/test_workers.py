"""How tests are shared out to workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tests.workers import APART, ORDER, WHOLE, Scheduling, begin_with_the_longest

CHECKOUT = Path(__file__).resolve().parents[2]


def scope(nodeid: str) -> str:
    return Scheduling.__new__(Scheduling)._split_scope(nodeid)


def test_a_file_stays_whole() -> None:
    """Tests of one file share a worker, whatever their parameters; those of two files need not."""
    first = scope("tests/unit/test_x.py::test_one[tests/unit::y]")
    assert first == scope("tests/unit/test_x.py::test_two")
    assert first != scope("tests/unit/test_y.py::test_one")


def test_a_folder_stays_whole() -> None:
    """All acceptance tests share a worker, and so an Airflow; those of chaos another."""
    assert scope("tests/acceptance/test_x.py::test_one") == scope("tests/acceptance/test_y.py::test_one")
    assert scope("tests/chaos/test_x.py::test_one") == scope("tests/chaos/test_y.py::test_one")
    assert scope("tests/acceptance/test_x.py::test_one") != scope("tests/chaos/test_x.py::test_one")


def test_a_file_apart_does_not_wait_for_its_folder() -> None:
    """What needs nothing of what its folder shares goes to any worker."""
    [file] = APART
    assert scope(f"{file}::test_one[a]") == scope(f"{file}::test_two") == file
    assert scope(f"{file}::test_one") != scope("tests/acceptance/test_x.py::test_one")


def test_the_longest_are_begun_first() -> None:
    """Folders are begun in the order that is set, and tests of one folder stay in theirs; all these exist."""
    names = ["unit/a", "integration/b", "integration/a", "chaos/a", "acceptance/b", "acceptance/a"]
    items = [SimpleNamespace(nodeid=f"tests/{name}.py::test") for name in names]
    begin_with_the_longest(items)
    assert [item.nodeid.removeprefix("tests/").removesuffix(".py::test") for item in items] == [
        "acceptance/b", "acceptance/a", "chaos/a", "integration/b", "integration/a", "unit/a",
    ]  # fmt: skip
    assert all((CHECKOUT / path).exists() for path in {*ORDER, *WHOLE, *APART})
