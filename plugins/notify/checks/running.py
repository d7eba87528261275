"""Looking at all checks, one after the other; no fault of one keeps another from being made."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from notify.checks import clocks, configuration, ids, jobs, outbox, senders, templates
from notify.checks.check import Check, Found, Need, Outcome, Result
from notify.checks.surroundings import Surroundings

log = logging.getLogger(__name__)


def _not_made(_around: Surroundings) -> Iterator[Found]:
    yield from ()


#: What is told where a check itself fails.
NOT_MADE = Check(
    id=ids.NOT_MADE,
    title="Every check could be made",
    meaning="A check failed or took too long, so nobody knows what it would have found.",
    remedy="The log of the process that made it has the cause. If it stays so, report it with that.",
    look=_not_made,
)

#: All there are, in the order in which they are made: what others need comes first.
CHECKS: tuple[Check, ...] = (
    *outbox.CHECKS,
    *jobs.CHECKS,
    *senders.CHECKS,
    *configuration.CHECKS,
    *templates.CHECKS,
    *clocks.CHECKS,
    NOT_MADE,
)

#: Which checks must find nothing for a need to be met.
_PROVES = {
    Need.DATABASE: frozenset({ids.NO_DATABASE}),
    Need.OUTBOX: frozenset({ids.NO_DATABASE, ids.SCHEMA}),
    Need.METADATA: frozenset({ids.METADATA}),
}

_ORDER = (Outcome.ERROR, Outcome.WARNING, Outcome.UNKNOWN, Outcome.FINE)


def run(around: Surroundings | None = None, checks: Sequence[Check] = CHECKS) -> list[Result]:
    """Look at everything; never raises, and takes a bounded time.

    :returns: errors first, then warnings, then what could not be told, then what is fine
    """
    around = around or Surroundings()
    made: dict[str, list[Result]] = {}
    for check in checks:
        made[check.id] = _results(check, around, made)
    results = [result for found in made.values() for result in found]
    if any(result.id == ids.NOT_MADE and result.found for result in results):
        results = [result for result in results if result.id != ids.NOT_MADE or result.found]
    return sorted(results, key=lambda result: (_ORDER.index(result.outcome), result.id))


def _results(check: Check, around: Surroundings, made: Mapping[str, Sequence[Result]]) -> list[Result]:
    if missing := _missing(check, made):
        told = f"Cannot be told: {', '.join(missing)} comes first."
        return [Result(check.id, Outcome.UNKNOWN, check.title, told, place=check.place)]
    try:
        found = _bounded(check, around)
    except Exception as error:  # whatever it is, it is told, and the next check is made
        log.exception("The check %s failed", check.id)
        return [_failed(check, f"it failed ({type(error).__name__})")]
    if found is None:
        return [_failed(check, f"it took longer than {check.patience:g} s")]
    return [_told(check, one) for one in found] or [Result(check.id, Outcome.FINE, check.title)]


def _missing(check: Check, made: Mapping[str, Sequence[Result]]) -> list[str]:
    """The ids of those checks that tell why this one cannot be made."""
    proofs = {proof for need in check.needs for proof in _PROVES[need]}
    return sorted(proof for proof in proofs if any(one.outcome is not Outcome.FINE for one in made.get(proof, ())))


def _bounded(check: Check, around: Surroundings) -> list[Found] | None:
    """What a check finds; None where it does not come to an end in time."""
    found: list[Found] = []
    failed: list[Exception] = []
    thread = threading.Thread(target=partial(_look, check, around, found, failed), name=check.id, daemon=True)
    thread.start()
    thread.join(check.patience)
    if thread.is_alive():
        return None
    if failed:
        raise failed[0]
    return found


def _look(check: Check, around: Surroundings, found: list[Found], failed: list[Exception]) -> None:
    try:
        found += check.look(around)
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        failed.append(error)


def _told(check: Check, found: Found) -> Result:
    remedy = check.remedy if found.remedy is None else found.remedy
    return Result(check.id, check.severity, check.title, found.told, remedy, found.place or check.place)


def _failed(check: Check, how: str) -> Result:
    told = f"The check {check.id} ({check.title}) could not be made: {how}."
    return Result(NOT_MADE.id, NOT_MADE.severity, NOT_MADE.title, told, NOT_MADE.remedy)


# --- What was found last ---------------------------------------------------------------------------------------------

#: For how long what was found counts as news, in seconds.
_FRESH = 60.0

#: How long a page waits for news, in seconds.
_WAIT = 1.0


class Lookout:
    """What the checks found last, for pages that tell of it by the way: they must not wait for it."""

    def __init__(self) -> None:
        self._results: tuple[Result, ...] = ()
        self._until = 0.0
        self._looking = threading.Lock()

    def look(self) -> tuple[Result, ...]:
        """Look now, and remember it."""
        self._results = tuple(run())
        self._until = time.monotonic() + _FRESH
        return self._results

    def latest(self) -> tuple[Result, ...]:
        """What was found last; where that is no news, somebody looks again, and is waited for a moment."""
        if time.monotonic() >= self._until and self._looking.acquire(blocking=False):
            thread = threading.Thread(target=self._refresh, name="notify checks", daemon=True)
            thread.start()
            thread.join(_WAIT)
        return self._results

    def counts(self) -> tuple[int, int]:
        """How many errors and how many warnings were found last."""
        outcomes = [result.outcome for result in self.latest()]
        return outcomes.count(Outcome.ERROR), outcomes.count(Outcome.WARNING)

    def tell(self) -> None:
        """Look, and write what was found into the log; never raises."""
        for result in self.look():
            if result.found:
                log.warning("%s", result.line)

    def _refresh(self) -> None:
        try:
            self.look()
        finally:
            self._looking.release()


#: Of this process.
LOOKOUT = Lookout()
