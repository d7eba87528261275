"""What an attempt's outcome makes of its message: the arrows that leave ``sending``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from notify.domain.message import Guarantee
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.retry import GIVE_UP_AFTER, next_wait
from notify.domain.status import Status

ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Tried:
    """What is known of a message when its attempt ends.

    :param guarantee: what its producer asked for
    :param refusals: temporary refusals and doubts before this attempt
    :param age: time since its first try began
    :param reached: whether an earlier attempt reached one of its recipients
    """

    guarantee: Guarantee
    refusals: int = 0
    age: timedelta = ZERO
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Where the message goes.

    :param status: its next state
    :param reason: why, in words for the history; the server's where it spoke
    :param wait: how long it waits when it is queued again
    """

    status: Status
    reason: str
    wait: timedelta = ZERO


def conclude(outcome: Outcome, tried: Tried) -> Conclusion:
    """Decide where a message goes after an attempt.

    :param outcome: what came of the attempt
    :param tried: what is known of the message
    """
    words = _words(outcome.decisive)
    match outcome.verdict:
        case Verdict.IN_DOUBT if tried.guarantee is Guarantee.AT_MOST_ONCE:
            return Conclusion(Status.UNCERTAIN, f"in doubt, and never sent twice: {words}")
        case Verdict.IN_DOUBT:
            return _again(outcome, tried, f"in doubt: {words}")
        case Verdict.TEMPORARY:
            return _again(outcome, tried, f"refused for now: {words}")
        case Verdict.ACCEPTED:
            return Conclusion(Status.SENT, _with_refused(outcome, words))
        case Verdict.PERMANENT if tried.reached:
            return Conclusion(Status.SENT, f"sent before; the remaining recipients were refused: {words}")
        case Verdict.PERMANENT:
            return Conclusion(Status.FAILED, f"refused: {words}")


def _again(outcome: Outcome, tried: Tried, reason: str) -> Conclusion:
    wait = next_wait(tried.refusals + 1, tried.age)
    if wait is not None:
        return Conclusion(Status.QUEUED, reason, wait)
    given_up = f"given up after {GIVE_UP_AFTER.total_seconds() / 3600:.0f} hours; {reason}"
    reached = tried.reached or bool(outcome.of(Verdict.ACCEPTED))
    return Conclusion(Status.SENT if reached else Status.FAILED, given_up)


def _words(outcome: RecipientOutcome) -> str:
    return outcome.text if outcome.code is None else f"{outcome.code} {outcome.text}"


def _with_refused(outcome: Outcome, words: str) -> str:
    refused = len(outcome.of(Verdict.PERMANENT))
    return f"{words} ({refused} of {len(outcome.recipients)} recipients refused)" if refused else words
