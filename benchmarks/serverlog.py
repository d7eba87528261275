"""How long the statements of a database take, as its server tells: also of those that were sent together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.statements import MOST, name_of

_DURATION = re.compile(r"duration: ([0-9.]+) ms  (?:(parse|bind|execute) [^:]*|statement): (.*)")


class ServerLog:
    """The log of a PostgreSQL server.

    :param path: the file
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def read(self) -> Iterator[dict[str, Any]]:
        """Read what is logged meanwhile.

        :returns: filled at the end: of the longest statements, how often and how many seconds
        """
        found: dict[str, Any] = {}
        begin = self._path.stat().st_size
        yield found
        with self._path.open(errors="replace") as file:
            file.seek(begin)
            found.update(_added(_entries(file)))


def _entries(lines: Iterator[str]) -> Iterator[str]:
    """Entries in a line each: those of several lines go on after a tab."""
    entry = ""
    for line in lines:
        if line.startswith("\t"):
            entry += f" {line.strip()}"
        else:
            yield entry
            entry = line.strip()
    yield entry


def _added(entries: Iterator[str]) -> dict[str, dict[str, float]]:
    seconds: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    for entry in entries:
        if match := _DURATION.search(entry):
            name = name_of(match[3])
            seconds[name] += float(match[1]) / 1000
            calls[name] += match[2] in {None, "execute"}
    longest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:MOST]
    return {name: {"calls": calls[name], "seconds": round(seconds[name], 3)} for name in longest}
