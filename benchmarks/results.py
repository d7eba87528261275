"""What was measured: raw figures by suite, the ratios between them, the goals, and the machine they hold for."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

MB = 1024 * 1024

#: Fields of one figure; the unit is the end of the name: ``seconds``, ``events_per_second``, ``growth_mb``.
Figure = Mapping[str, Any]


@dataclass(slots=True)
class Results:
    """What a run of the benchmarks found.

    :param quick: whether a tenth of the work was done
    :param repeat: how often each was measured; the best counts
    :param profiles: of a suite, the shares of the whole time, 0 to 1: by part, and of the hottest functions themselves
    :param missing: suites that could not be measured, with the reason
    :param run_before: the ratios of the run before
    :param took: how long each suite took, in seconds
    :param server: facts of the database, see :meth:`benchmarks.server.Server.facts`
    """

    quick: bool
    repeat: int
    server: Mapping[str, str]
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    profiles: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    goals: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    run_before: Mapping[str, Any] | None = None
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, suite: str, name: str, figure: Figure) -> None:
        """Put down a figure."""
        self.figures.setdefault(suite, {})[name] = figure

    def ratio(self, name: str, value: float) -> None:
        """Put down how two figures compare."""
        self.ratios[name] = round(value, 3)

    def goal(self, name: str, measured: float, *, least: float | None = None, most: float | None = None) -> None:
        """Put down whether a figure is what it ought to be: at least so much, or at most."""
        met = (least is None or measured >= least) and (most is None or measured <= most)
        wanted = {key: value for key, value in (("least", least), ("most", most)) if value is not None}
        self.goals[name] = {"measured": round(measured, 2), **wanted, "met": met}

    def follow(self, document: Mapping[str, Any]) -> None:
        """Keep the ratios of the run before, if it measured the same: how far two runs differ is worth knowing."""
        if set(document["figures"]) == set(self.figures):
            self.run_before = {name: document[name] for name in ("taken_at", "ratios")}

    @property
    def summary(self) -> str:
        """The figures that matter, for people."""
        lines = [
            f"{suite}: {name.replace('_', ' ')}: {_told(figure)}"
            for suite, figures in self.figures.items()
            for name, figure in figures.items()
        ]
        for suite, profile in self.profiles.items():
            lines += [f"{suite}: time: {part} {share:.1%}" for part, share in profile.get("parts", {}).items()]
        lines += [f"{name}: {value}" for name, value in self.ratios.items()]
        lines += [
            f"goal {name}: {'met' if goal['met'] else 'MISSED'} {_told(goal)}" for name, goal in self.goals.items()
        ]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._document(), indent=2, ensure_ascii=False) + "\n")

    def _document(self) -> dict[str, Any]:
        return {
            "taken_at": self.taken_at.isoformat(timespec="seconds"),
            "quick": self.quick,
            "repeat": self.repeat,
            "machine": self._machine(),
            "suites_took_seconds": self.took,
            "missing": self.missing,
            "goals": self.goals,
            "ratios": self.ratios,
            "run_before": self.run_before,
            "figures": self.figures,
            "profiles": self.profiles,
        }

    def _machine(self) -> dict[str, Any]:
        return {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "cpu": _cpu(),
            "memory_mb": psutil.virtual_memory().total // MB,
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "load_before": round(self.load, 2),
            **self.server,
        }


def _told(figure: Figure) -> str:
    """A figure's numbers in one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:,}"
        for name, value in figure.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )


def _cpu() -> str:
    """The processor's model, where the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
