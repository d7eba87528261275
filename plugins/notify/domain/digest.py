"""A digest: put-aside notifications of one person, arranged so that one mail of them stays readable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Entry:
    """A put-aside notification.

    :param kind: of the event
    :param occurred_at: when it happened, aware
    :param summary: one line, as it was rendered at the event
    :param subject: of the mail that the event would have been on its own
    :param case_id: None for an event without a case
    :param case_title: may be empty
    """

    kind: str
    occurred_at: datetime
    summary: str
    subject: str
    case_id: str | None
    case_title: str
    case_url: str | None
    process: str | None


@dataclass(frozen=True, slots=True)
class Section:
    """What happened to one case; or, with ``case_id`` None, what happened without a case.

    :param title: of the case as its latest entry tells it, else its id; empty without a case
    :param count: its entries in all
    :param entries: those shown: its newest ones, oldest first
    :param more: how many older ones are not shown
    """

    case_id: str | None
    title: str
    url: str | None
    process: str | None
    count: int
    entries: tuple[Entry, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Digest:
    """Everything that a digest tells.

    :param count: the entries in all
    :param cases: the cases in all
    :param since: the moment of the oldest entry
    :param until: the moment of the newest entry
    :param sections: those shown: the cases whose latest entry is newest, then what has no case
    :param more_cases: how many cases are not shown
    :param more: how many entries are not shown, in the sections and beyond them
    """

    count: int
    cases: int
    since: datetime
    until: datetime
    sections: tuple[Section, ...]
    more_cases: int
    more: int

    @property
    def shown(self) -> int:
        """How many entries are shown."""
        return self.count - self.more

    @property
    def more_beyond(self) -> int:
        """How many entries belong to the cases that are not shown."""
        return self.count - sum(section.count for section in self.sections)


def arrange(entries: Iterable[Entry], *, most: int = 100, most_of_case: int = 10, most_cases: int = 30) -> Digest:
    """Arrange put-aside notifications by case; whatever does not fit is counted.

    Entries of the same moment stay in the order given. Where ``most`` is too little for all sections, the places go
    round, so that no busy case hides a quiet one.

    :param entries: at least one, in any order
    :param most: entries shown in all
    :param most_of_case: entries shown of one case
    :param most_cases: cases shown; what has no case comes on top of them
    :raises ValueError: there are no entries
    """
    everything = sorted(entries, key=attrgetter("occurred_at"))
    if not everything:
        raise ValueError("a digest needs at least one entry")
    cases, loose = _by_case(everything)
    groups = [*cases[:most_cases], *loose]
    places = _places([min(len(group), most_of_case) for group in groups], most)
    sections = tuple(
        _section(group, shown)
        for group, shown in zip(groups, places, strict=True)
        if shown or group[0].case_id is None  # what has no case has no other place to be counted
    )
    return Digest(
        count=len(everything),
        cases=len(cases),
        since=everything[0].occurred_at,
        until=everything[-1].occurred_at,
        sections=sections,
        more_cases=len(cases) - sum(section.case_id is not None for section in sections),
        more=len(everything) - sum(len(section.entries) for section in sections),
    )


def _by_case(entries: Iterable[Entry]) -> tuple[list[list[Entry]], list[list[Entry]]]:
    """Each case's entries, the case with the newest first; and apart, in a list of none or one, those without a case.

    :param entries: oldest first
    """
    groups: dict[str | None, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.case_id, []).append(entry)
    loose = groups.pop(None, None)
    cases = sorted(groups.values(), key=lambda group: group[-1].occurred_at, reverse=True)
    return cases, [loose] if loose else []


def _places(wanted: Sequence[int], most: int) -> list[int]:
    """Deal places round by round, one to each that still wants one, until none are left."""
    places = [0] * len(wanted)
    left = min(most, sum(wanted))
    while left > 0:
        for position in range(len(wanted)):
            if places[position] < wanted[position] and left > 0:
                places[position] += 1
                left -= 1
    return places


def _section(entries: Sequence[Entry], shown: int) -> Section:
    latest = entries[-1]
    newest_first = entries[::-1]
    return Section(
        case_id=latest.case_id,
        title=next((entry.case_title for entry in newest_first if entry.case_title), latest.case_id or ""),
        url=next((entry.case_url for entry in newest_first if entry.case_url), None),
        process=next((entry.process for entry in newest_first if entry.process), None),
        count=len(entries),
        entries=tuple(entries[len(entries) - shown :]),
        more=len(entries) - shown,
    )
