"""``health``: whether mail can flow; what keeps it, or may do so one day."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from notify.checks.check import Outcome, Result
from notify.exceptions import NotifyError


class Unhealthy(NotifyError):
    """Something keeps mail from flowing; the lines above tell what, and what to do."""


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    health = commands.add_parser(
        "health", help="what keeps mail from flowing, or may do so one day; exit status 1 if something does"
    )
    health.add_argument("--json", action="store_true", help="for programs")
    health.set_defaults(run=_health)


def _health(options: argparse.Namespace) -> None:
    from notify.checks.running import run  # with all that it looks at, which no other command needs

    with _silence():
        results = run()
    if options.json:
        print(json.dumps([result.document() for result in results]))
    else:
        print("\n".join(_lines(results)))
    if any(result.outcome is Outcome.ERROR for result in results):
        raise Unhealthy


@contextmanager
def _silence() -> Iterator[None]:
    """What is found is told in order; a log would tell it a second time, in between."""
    log = logging.getLogger("notify")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)


def _lines(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        yield f"{result.outcome.value:8} {result.id}  {result.told or f'{result.title}.'}"
        if result.remedy:
            yield f"{'':22}What to do: {result.remedy}"
    counts = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    yield ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
