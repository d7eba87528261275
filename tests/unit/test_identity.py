"""An outbox and its copies: who may send."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from notify.domain.identity import Identity, Judgement, Mark, Place, doubt_from_outside, judge, read_mark

OWN, OTHER = UUID(int=1), UUID(int=2)
HERE = Place(system=7_000_000_000_000_000_000, database=16384, timeline=1)
OUTBOX = Identity(OWN, 10, HERE, witnessed=True)


def test_the_original_goes_on() -> None:
    """Where nothing has changed, and the mark is not ahead, nothing is said at all."""
    for counter in (10, 9, 0):
        assert judge(OUTBOX, HERE, Mark(OWN, counter)) == Judgement()


@pytest.mark.parametrize(
    ("here", "mark", "doubt"),
    [
        (replace(HERE, system=1), Mark(OWN, 10), "another server"),
        (replace(HERE, database=1), Mark(OWN, 10), "another database"),
        (HERE, Mark(OWN, 11), "gone back in time: its counter of runs is at 10, and was at 11"),
        (replace(HERE, timeline=2), Mark(OWN, 11), "gone back in time"),
        (HERE, Mark(OTHER, 10), "another outbox"),
        (HERE, None, "no mark of that"),
    ],
)
def test_a_copy_is_doubted(here: Place, mark: Mark | None, doubt: str) -> None:
    """Another server, database or outbox, fewer runs, or an Airflow that never sent from it: each is told."""
    found = judge(OUTBOX, here, mark)
    assert doubt in str(found.doubt)
    assert found.note is None


def test_from_outside() -> None:
    """Who may not see the mark trusts the last run; another server or database counts all the same."""
    assert doubt_from_outside(OUTBOX, HERE, None) is None
    assert doubt_from_outside(OUTBOX, replace(HERE, timeline=2), None) is None
    assert doubt_from_outside(replace(OUTBOX, refused="it is so"), HERE, None) == "it is so"
    assert "another server" in str(doubt_from_outside(OUTBOX, replace(HERE, system=1), None))
    assert "gone back in time" in str(doubt_from_outside(OUTBOX, HERE, Mark(OWN, 11)))


def test_a_failover_that_lost_nothing() -> None:
    """A replica that has every run is sent from at once, and the log says that it was promoted."""
    found = judge(OUTBOX, replace(HERE, timeline=2), Mark(OWN, 10))
    assert found.doubt is None
    assert "timeline 1 → 2" in str(found.note)


def test_a_failover_without_a_witness() -> None:
    """A promoted server of which nothing stands outside is doubted, unless no run was ever made."""
    unseen = replace(OUTBOX, witnessed=False)
    assert "promoted" in str(judge(unseen, replace(HERE, timeline=2), None).doubt)
    assert judge(replace(unseen, counter=0), replace(HERE, timeline=2), None) == Judgement()


def test_the_first_run() -> None:
    """An outbox that nobody has a mark of, and that does not know where it lies, is accepted."""
    assert judge(Identity(OWN, 0, Place()), HERE, None) == Judgement()


def test_a_new_outbox_after_another() -> None:
    """An outbox made here, from which nothing was ever sent, takes an older one's place, and the log says so."""
    found = judge(Identity(OWN, 0, HERE), HERE, Mark(OTHER, 10))
    assert found.doubt is None
    assert str(OTHER) in str(found.note)


def test_a_confirmed_copy_continues_its_original() -> None:
    """The mark of an outbox that a person confirmed this one to continue is no objection, however far it had come."""
    assert judge(Identity(OWN, 0, HERE, frozenset({OTHER})), HERE, Mark(OTHER, 99)) == Judgement()


@pytest.mark.parametrize("unread", [Place(), replace(HERE, system=None), replace(HERE, timeline=None)])
def test_what_cannot_be_read_is_left_out(unread: Place) -> None:
    """A server that does not tell where it is makes no copy of the original, neither before nor now."""
    assert judge(OUTBOX, unread, Mark(OWN, 10)).doubt is None
    assert judge(replace(OUTBOX, place=unread), HERE, Mark(OWN, 10)).doubt is None


def test_a_mark_is_read_as_it_was_written() -> None:
    """A mark survives as text; what is none is None."""
    assert read_mark(str(Mark(OWN, 10))) == Mark(OWN, 10)
    for text in (
        "",
        "null",
        "[]",
        "7",
        "{}",
        '{"outbox": 1, "counter": 2}',
        '{"outbox": "x", "counter": 2}',
        "[" * 9999,
    ):
        assert read_mark(text) is None


def test_a_late_writer_takes_nothing_back() -> None:
    """Of one outbox the higher counter stays; another outbox's mark is replaced whatever it says."""
    assert Mark(OWN, 3).succeeds(None)
    assert Mark(OWN, 3).succeeds(Mark(OWN, 2))
    assert Mark(OWN, 3).succeeds(Mark(OTHER, 9))
    assert not Mark(OWN, 3).succeeds(Mark(OWN, 3))
    assert not Mark(OWN, 3).succeeds(Mark(OWN, 4))
