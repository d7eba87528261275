"""What a run of the harness found: one row for each scenario, for people and for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.catalogue import Scenario
from tests.chaos.judge import Verdict

#: What is added up.
_NUMBERS = ("kills", "blows", "messages", "copies", "extra", "bound", "doubts", "uncertain", "stalls", "lost")
_ALL = "all"

HEADINGS = (
    "scenario",
    "played",
    "kills",
    "other blows",
    "messages",
    "extra copies",
    "allowed",
    "uncertain",
    "lost",
    "most in a window / limit",
    "balance",
)


@dataclass(slots=True)
class Row:
    """All that was found in one scenario, however often it was played.

    :param blows: all of them, the kills among them
    :param extra: copies beyond the first of each message
    :param bound: how many of them the blows explain
    :param stalls: leases lost though nobody struck
    """

    scenario: str
    proves: str
    played: int = 0
    kills: int = 0
    blows: int = 0
    messages: int = 0
    copies: int = 0
    extra: int = 0
    bound: int = 0
    doubts: int = 0
    uncertain: int = 0
    stalls: int = 0
    lost: int = 0
    limit: int = -1
    most: int = 0
    even: bool = True
    faults: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Add what was found in one play."""
        self.played += 1
        for number in _NUMBERS:
            setattr(self, number, getattr(self, number) + getattr(verdict, number))
        self.limit = verdict.limit
        self.most = max(self.most, verdict.most)
        self.even = self.even and verdict.even
        self.faults += verdict.faults

    @property
    def passed(self) -> bool:
        """Whether the promise was kept, every time."""
        return bool(self.played) and not self.faults

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        limit = f"{self.most} / {self.limit}" if self.limit >= 0 else "–"
        others = self.blows - self.kills
        numbers = (self.played, self.kills, others, self.messages, self.extra, self.bound, self.uncertain, self.lost)
        return (self.scenario, *(f"{number:,}" for number in numbers), limit, "even" if self.even else "NOT EVEN")


@dataclass(slots=True)
class Table:
    """All rows of a run.

    :param mutants: the faults built in, and whether each was seen
    """

    seed: int
    rows: dict[str, Row] = field(default_factory=dict)
    mutants: dict[str, bool] = field(default_factory=dict)
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0

    def expect(self, scenarios: Iterable[Scenario]) -> None:
        """Make the rows, in order."""
        for scenario in scenarios:
            self.rows[scenario.name] = Row(scenario.name, scenario.proves)

    def add(self, scenario: Scenario, verdict: Verdict) -> None:
        """Put down what was found."""
        self.rows[scenario.name].add(verdict)

    @property
    def failed(self) -> list[Row]:
        """Where the promise was not kept."""
        return [row for row in self.rows.values() if not row.passed]

    @property
    def kept(self) -> bool:
        """Whether the promise was kept, and every mutant seen."""
        return not self.failed and all(self.mutants.values())

    @property
    def summary(self) -> str:
        """In a few lines."""
        total = self.total([row for row in self.rows.values() if row.passed])
        text = (
            f"{total.played} plays, {total.kills:,} kills, {total.blows - total.kills:,} other blows, "
            f"{total.messages:,} messages: {total.lost} lost, {total.extra:,} extra copies ({total.bound:,} allowed), "
            f"{total.uncertain:,} uncertain, {total.stalls} leases lost to a busy machine."
        )
        seen = f"{sum(self.mutants.values())} of {len(self.mutants)} mutants seen."
        failed = [f"FAILED: {row.scenario}: {'; '.join(row.faults[:3])}" for row in self.failed]
        return "\n".join([text, seen, *failed])

    @staticmethod
    def total(rows: Iterable[Row], name: str = _ALL) -> Row:
        """The sum of rows."""
        total = Row(name, "")
        for row in rows:
            total.played += row.played
            for number in _NUMBERS:
                setattr(total, number, getattr(total, number) + getattr(row, number))
            if name != _ALL:  # a sum of limits means nothing
                total.limit, total.most = row.limit, max(total.most, row.most)
            total.even = total.even and row.even
        return total

    def markdown(self) -> str:
        """The table, for a page: what was played in several modes is one row."""
        passed = [row for row in self.rows.values() if row.passed]
        rows = [self.total(group, name) for name, group in _by_name(passed).items()]
        lines = [_line(HEADINGS), _line(["---", *["---:"] * (len(HEADINGS) - 2), "---"])]
        lines += [_line(row.cells()) for row in (*rows, self.total(passed))]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._document(), indent=1, ensure_ascii=False) + "\n")

    def _document(self) -> Mapping[str, Any]:
        return {
            "taken_at": self.taken_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds),
            "seed": self.seed,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
            "kept": self.kept,
            "mutants": self.mutants,
            "rows": [asdict(row) for row in self.rows.values()],
        }


def _by_name(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.scenario.partition(" (")[0], []).append(row)
    return found


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
