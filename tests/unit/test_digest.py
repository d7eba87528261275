"""Arranging a digest: nothing lost, newest cases first, and caps that keep it readable."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.digest import Digest, Entry, Section, arrange

START = datetime(2026, 3, 20, 8, tzinfo=UTC)


def entry(minute: int, case: str | None = "C-1", **fields: str | None) -> Entry:
    given = Entry(
        kind="case_changed",
        occurred_at=START + timedelta(minutes=minute),
        summary=f"summary {minute}",
        subject=f"subject {minute}",
        case_id=case,
        case_title=f"Title of {case}" if case else "",
        case_url=f"https://cases.example.com/{case}" if case else None,
        process="Invoices" if case else None,
    )
    return replace(given, **fields)


CASES = st.none() | st.integers(1, 12).map("C-{}".format)
#: Entries of a few cases, many of them at the same moment.
ENTRIES = st.lists(st.builds(entry, st.integers(0, 60), CASES), min_size=1, max_size=80)
#: The same, no two at the same moment.
MOMENTS = st.lists(st.tuples(st.integers(0, 9999), CASES), min_size=1, max_size=80, unique_by=lambda pair: pair[0])
CAPS = st.fixed_dictionaries(
    {"most": st.integers(0, 40), "most_of_case": st.integers(0, 8), "most_cases": st.integers(0, 8)}
)


def shown(digest: Digest) -> list[Entry]:
    return [one for section in digest.sections for one in section.entries]


def cases(digest: Digest) -> list[Section]:
    return [section for section in digest.sections if section.case_id is not None]


@given(ENTRIES, CAPS)
def test_nothing_is_lost(entries: list[Entry], caps: dict[str, int]) -> None:
    """What is shown and what is counted as more make up everything, in each section, beyond them and in all."""
    digest = arrange(entries, **caps)
    given_to = Counter(one.case_id for one in entries)
    assert digest.count == len(entries) == len(shown(digest)) + digest.more
    assert digest.shown == len(shown(digest))
    assert digest.more == sum(section.more for section in digest.sections) + digest.more_beyond
    assert digest.cases == len(given_to.keys() - {None}) == len(cases(digest)) + digest.more_cases
    for section in digest.sections:
        assert section.count == given_to[section.case_id] == len(section.entries) + section.more
    assert not Counter(shown(digest)) - Counter(entries)


@given(ENTRIES, CAPS)
def test_caps_hold(entries: list[Entry], caps: dict[str, int]) -> None:
    """No cap is ever exceeded."""
    digest = arrange(entries, **caps)
    assert digest.shown <= caps["most"]
    assert len(cases(digest)) <= caps["most_cases"]
    assert all(len(section.entries) <= caps["most_of_case"] for section in digest.sections)


@given(ENTRIES, CAPS)
def test_places_are_used(entries: list[Entry], caps: dict[str, int]) -> None:
    """Nothing is left out that a cap does not force out."""
    digest = arrange(entries, **caps)
    if digest.shown < caps["most"] and caps["most_of_case"]:
        assert len(cases(digest)) == min(digest.cases, caps["most_cases"])
        for section in digest.sections:
            assert len(section.entries) == min(section.count, caps["most_of_case"])


@given(ENTRIES, CAPS)
def test_no_case_hides_another(entries: list[Entry], caps: dict[str, int]) -> None:
    """Where places are scarce, two sections that both want more differ by one place at most."""
    digest = arrange(entries, **caps)
    short = [len(s.entries) for s in cases(digest) if len(s.entries) < min(s.count, caps["most_of_case"])]
    assert not short or max(short) - min(short) <= 1


@given(ENTRIES, CAPS)
def test_order(entries: list[Entry], caps: dict[str, int]) -> None:
    """The case with the newest entry comes first, what has no case last; entries run from old to new."""
    digest = arrange(entries, **caps)
    latest = {one.case_id: one.occurred_at for one in sorted(entries, key=lambda one: one.occurred_at)}
    ids = [section.case_id for section in digest.sections]
    assert len(ids) == len(set(ids))
    assert None not in ids[:-1]
    assert all(latest[one.case_id] >= latest[other.case_id] for one, other in pairwise(cases(digest)))
    for section in digest.sections:
        assert list(section.entries) == sorted(section.entries, key=lambda one: one.occurred_at)
    assert (digest.since, digest.until) == (min(e.occurred_at for e in entries), max(e.occurred_at for e in entries))


@given(ENTRIES, CAPS)
def test_the_newest_are_shown(entries: list[Entry], caps: dict[str, int]) -> None:
    """What a case has beyond its cap is older than all that is shown of it."""
    for section in arrange(entries, **caps).sections:
        of_case = sorted((e for e in entries if e.case_id == section.case_id), key=lambda one: one.occurred_at)
        assert list(section.entries) == of_case[section.more :]


@given(MOMENTS, CAPS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    moments: list[tuple[int, str | None]], caps: dict[str, int], shuffler: random.Random
) -> None:
    """The same entries in another order make the same digest."""
    entries = [entry(minute, case) for minute, case in moments]
    shuffled = shuffler.sample(entries, len(entries))
    assert arrange(shuffled, **caps) == arrange(entries, **caps)


def test_the_same_moment_keeps_the_order_given() -> None:
    """Of the same moment, entries and cases stay in the order given."""
    same = [entry(5, case, summary=str(number)) for number, case in enumerate(["B", "A", "B", "A", "C"])]
    digest = arrange(same)
    assert [section.case_id for section in digest.sections] == ["B", "A", "C"]
    assert [[one.summary for one in s.entries] for s in digest.sections] == [["0", "2"], ["1", "3"], ["4"]]


@pytest.mark.parametrize(
    ("entries", "sections", "shown_of_each", "more_cases", "more"),
    [
        ([entry(n) for n in range(500)], 1, {10}, 0, 490),
        ([entry(n, f"C-{n}") for n in range(500)], 30, {1}, 470, 470),
        ([entry(n, f"C-{n % 50}") for n in range(500)], 30, {3, 4}, 20, 400),
        ([entry(n, None) for n in range(500)], 1, {10}, 0, 490),
        ([entry(n, f"C-{n}" if n % 2 else None) for n in range(500)], 31, {1, 10}, 220, 460),
    ],
    ids=["one case", "500 cases", "50 cases", "no case", "half without a case"],
)
def test_500_stay_readable(
    entries: Sequence[Entry], sections: int, shown_of_each: set[int], more_cases: int, more: int
) -> None:
    """Of 500 notifications, however spread, at most a hundred lines are shown and the others counted."""
    digest = arrange(entries)
    assert len(digest.sections) == sections
    assert {len(section.entries) for section in digest.sections} == shown_of_each
    assert (digest.count, digest.more_cases, digest.more) == (500, more_cases, more)


def test_a_quiet_case_beside_a_busy_one() -> None:
    """A case with one entry is shown beside one with hundreds."""
    digest = arrange([entry(0, "quiet"), *(entry(1 + n, "busy") for n in range(400))], most=5)
    assert {section.case_id: len(section.entries) for section in digest.sections} == {"busy": 4, "quiet": 1}


def test_a_section_speaks_of_its_case_as_of_late() -> None:
    """Title, address and process are the latest that were told; without a title the id stands in."""
    told = [
        entry(1, case_title="Old", case_url="https://x.example/1", process="Old"),
        entry(2, case_title="New", case_url=None, process="New"),
        entry(3, case_title="", case_url=None, process=None),
        entry(4, "C-2", case_title="", case_url=None, process=None),
    ]
    untitled, titled = arrange(told).sections
    assert (titled.title, titled.url, titled.process) == ("New", "https://x.example/1", "New")
    assert (untitled.title, untitled.url, untitled.process) == ("C-2", None, None)


def test_without_a_case() -> None:
    """What has no case has a section without a name, and makes no case."""
    (section,) = arrange([entry(1, None)]).sections
    assert (section.case_id, section.title, section.url) == (None, "", None)
    assert arrange([entry(1, None)]).cases == 0


def test_nothing_makes_no_digest() -> None:
    """Nothing to tell is an error: nobody gets an empty mail."""
    with pytest.raises(ValueError, match="at least one"):
        arrange([])
