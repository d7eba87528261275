"""Says of each input what became of it: stored whole, refused with a named error, or a finding."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from notify.exceptions import Invalid, NotifyError
from tests.fuzz.stage import STRIDE, Stage, TooSlow, patient
from tests.fuzz.values import PRIVATE, SECRET

#: An error's text is read by people: a hundred faults, each some lines.
LONGEST_TEXT = 60_000
LONGEST_FAULT = 2_000

#: In front of a field, where several things were handed over.
_ONE_OF_MANY = re.compile(r"campaigns\[\d+\]\.")


@dataclass(frozen=True, slots=True)
class Door:
    """A way in.

    :param inputs: what is tried
    :param enter: hand an input over; what it returns is for ``whole``
    :param whole: what is wrong with what was stored
    :param fields: refusals must name one of these fields; empty: the door has none
    :param refuse: errors that are refusals, beside ours, or that name no field
    :param secretive: whether a refusal must not quote what was handed over
    :param checks_first: whether nothing is written before all is checked; else who enters takes back what was
    """

    name: str
    inputs: SearchStrategy[Any]
    enter: Callable[[Stage, Any], Any]
    whole: Callable[[Stage, Any, Any], Iterable[str]]
    fields: frozenset[str] = frozenset()
    refuse: tuple[type[Exception], ...] = ()
    secretive: bool = True
    checks_first: bool = True


@dataclass(slots=True)
class Tally:
    """What became of a door's inputs.

    :param findings: what must not be, each with the first input that showed it
    """

    inputs: int = 0
    stored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: dict[str, tuple[int, Any]] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)

    def find(self, finding: str, example: Any) -> None:
        """Count a finding."""
        times, first = self.findings.get(finding, (0, example))
        self.findings[finding] = (times + 1, first)


def run(
    door: Door,
    stage: Stage,
    count: int,
    *,
    chance: int = 0,
    keep: int = 0,
    tell: Callable[[Tally], None] = lambda _tally: None,
) -> Tally:
    """Try inputs at a door; the same ones for the same seed.

    :param chance: the seed
    :param keep: of what is stored, each so many-th input is kept, to be sent; 0: none
    :param tell: is told now and then
    """
    tally = Tally()

    @seed(chance)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(door.inputs)
    def each(example: Any) -> None:
        if tally.inputs >= count:
            return
        _try(door, stage, example, tally, keep)
        if tally.inputs % STRIDE == 0:
            stage.anew()
            tell(tally)

    each()
    stage.anew()
    return tally


def try_one(door: Door, stage: Stage, example: Any) -> Tally:
    """Try a single input."""
    tally = Tally()
    _try(door, stage, example, tally, 0)
    stage.anew()
    return tally


def _try(door: Door, stage: Stage, example: Any, tally: Tally, keep: int) -> None:
    tally.inputs += 1
    said = ""
    before = stage.written()
    stage.ear.take()
    savepoint = stage.connection.begin_nested()
    try:
        with patient():
            answer = door.enter(stage, example)
    except (Exception, TooSlow, RecursionError) as error:  # noqa: BLE001 - all of them are judged
        refusal = _refusal(door, error)
        if refusal is None:
            tally.find(f"{type(error).__name__}: {where(error)}", example)
        else:
            tally.refused[type(refusal).__name__] += 1
            for finding in (*_unfit(door, refusal, error), *_left(door, stage, before)):
                tally.find(f"refused, but {finding}", example)
            said = _text(refusal) if isinstance(error, AirflowFailException) else ""
    else:
        tally.stored += 1
        wrong = list(_wrong(door, stage, example, answer))
        for finding in wrong:
            tally.find(f"stored, but {finding}", example)
        if keep and not wrong and tally.stored % keep == 0:
            tally.kept.append(example)
    finally:
        if savepoint.is_active:
            savepoint.rollback()
    for finding in _leaked(door, stage.ear.take(), said):
        tally.find(finding, example)


def _wrong(door: Door, stage: Stage, example: Any, answer: Any) -> Iterable[str]:
    try:
        yield from door.whole(stage, example, answer)
    except Exception as error:  # noqa: BLE001 - what cannot be read back was not stored whole
        yield f"cannot be read back ({type(error).__name__}: {where(error)})"


def _refusal(door: Door, error: BaseException) -> Exception | None:
    """The refusal in an error, None where it is none."""
    if isinstance(error, AirflowFailException):
        cause = error.__cause__
        return cause if isinstance(cause, NotifyError) else error if AirflowFailException in door.refuse else None
    if isinstance(error, (NotifyError, ParamValidationError, *door.refuse)):
        return error
    return None


def _unfit(door: Door, refusal: Exception, error: BaseException) -> Iterable[str]:
    """What a refusal's text must not be."""
    if isinstance(refusal, ParamValidationError):
        return  # Airflow's own words, to whoever asked for the run
    text = _text(refusal)
    if not text.strip():
        yield "without a word"
    if len(text) > LONGEST_TEXT:
        yield f"in a text of more than {LONGEST_TEXT:,} characters"
    if not text.replace("\n", " ").isprintable():
        yield "in a text that a terminal would obey"
    if not door.secretive:
        return
    if SECRET in text:
        yield "the error tells a secret"
    elif SECRET in _traceback(error):
        yield "the traceback tells a secret"
    if door.fields and isinstance(refusal, NotifyError) and not isinstance(refusal, door.refuse):
        yield from _unnamed(door, refusal)


def _unnamed(door: Door, refusal: NotifyError) -> Iterable[str]:
    if not isinstance(refusal, Invalid):
        yield f"{type(refusal).__name__} names no field"
        return
    if not refusal.faults:
        yield "no fault is named"
    for fault in refusal.faults:
        root = _ONE_OF_MANY.sub("", fault.field).partition(".")[0].partition("[")[0]
        if root not in door.fields and "there is no such field" not in fault.problem:
            yield f"{fault.field[:60]!r} is no field"
        if len(str(fault)) > LONGEST_FAULT:
            yield f"a fault of {fault.field[:30]!r} has more than {LONGEST_FAULT:,} characters"


def _left(door: Door, stage: Stage, before: int) -> Iterable[str]:
    try:
        if stage.written() != before and door.checks_first:
            yield "something was written"
    except sa.exc.DBAPIError:
        yield "the transaction is of no use any more"


def _leaked(door: Door, heard: str, told: str) -> Iterable[str]:
    """What a log must not hold. A refusal names the address that is no good, and its task's log tells the refusal."""
    if SECRET in heard and door.secretive:
        yield "a secret is in the log"
    if PRIVATE in heard.replace(told, "") and PRIVATE not in told:
        yield "an address is in the log"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - then it says nothing, which is told
        return ""


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error, limit=0))
    except Exception:  # noqa: BLE001 - as above
        return ""


def where(error: BaseException) -> str:
    """The innermost place of ours; with it, the same bug is one finding however many inputs show it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/notify/" in frame.filename or "/dags/" in frame.filename] or list(frames)
    return f"{ours[-1].filename.rpartition('/notify/')[2]}:{ours[-1].lineno}" if ours else "nowhere"
