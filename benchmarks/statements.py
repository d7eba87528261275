"""How long the statements of an engine take, as its user waits for them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

#: Statements named in a report.
MOST = 12

#: A statement's name: so many of its first characters.
_NAME = 70


def name_of(statement: str) -> str:
    """What a report calls a statement."""
    return " ".join(statement.split())[:_NAME]


class StatementClock:
    """Counts and times the statements of an engine, and its commits, from now on."""

    def __init__(self, engine: Engine) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._calls: Counter[str] = Counter()
        self._began = 0.0
        sa.event.listen(engine, "before_cursor_execute", self._before)
        sa.event.listen(engine, "after_cursor_execute", self._after)
        self._commit = engine.dialect.do_commit
        engine.dialect.do_commit = self._do_commit  # type: ignore[assignment,method-assign]  # no event tells of its end

    def report(self) -> dict[str, Any]:
        """Seconds in all, and those of the longest statements."""
        return {
            "statement_seconds": round(sum(self._seconds.values()), 3),
            "statements": {
                name: {"calls": self._calls[name], "seconds": round(seconds, 3)}
                for name, seconds in sorted(self._seconds.items(), key=lambda item: -item[1])[:MOST]
            },
        }

    def _before(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _after(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._add(name_of(statement), self._began)

    def _do_commit(self, connection: Any) -> None:
        began = time.perf_counter()
        self._commit(connection)
        self._add("commit", began)

    def _add(self, name: str, began: float) -> None:
        self._seconds[name] += time.perf_counter() - began
        self._calls[name] += 1
