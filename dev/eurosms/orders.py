"""Faults to order: what happens to the next requests instead of, or beside, their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Ending(Enum):
    """How a request ends."""

    ANSWER = "answer"
    SILENCE = "silence"  #: no answer, and the connection stays
    CUT = "cut"  #: no answer, and the connection breaks (RST)


@dataclass(frozen=True)
class Fault:
    """One way to go wrong.

    :param taken: whether what the request asks for is done all the same: then a repeat would double it
    :param ending: whether there is an answer
    :param delay: seconds before it
    :param status: the answer's HTTP status
    :param code: the answer's ``err_code``
    :param body: the answer as it is, whatever it means
    :param alter: makes another answer of the right one
    """

    taken: bool = True
    ending: Ending = Ending.ANSWER
    delay: float = 0.0
    status: int | None = None
    code: str | None = None
    body: bytes | None = None
    alter: Callable[[Any], Any] | None = None


def late(seconds: float) -> Fault:
    """The right answer, later."""
    return Fault(delay=seconds)


def never(*, taken: bool = False) -> Fault:
    """No answer, for as long as the client waits."""
    return Fault(taken, Ending.SILENCE)


def cut(*, taken: bool = False) -> Fault:
    """No answer: the connection breaks."""
    return Fault(taken, Ending.CUT)


def error(status: int = 503, *, code: str = "SYSTEM_ERROR", taken: bool = False) -> Fault:
    """An HTTP error, with a code in JSON."""
    return Fault(taken, status=status, code=code)


def refusal(code: str, *, taken: bool = False) -> Fault:
    """A code, known or not, for the whole request. With ``taken``, a lie."""
    return Fault(taken, code=code)


def garbage(body: bytes = b"<html>Gateway</html>", *, status: int = 200, taken: bool = False) -> Fault:
    """An answer that is not the interface's: of a proxy, say, or of nothing at all."""
    return Fault(taken, status=status, body=body)


def truncated() -> Fault:
    """Taken, and of the answer the first half."""
    return Fault(alter=_half)


def altered(change: Callable[[Any], Any]) -> Fault:
    """The right answer, changed.

    :param change: gets the answer (lists and dictionaries as in JSON, or text) and returns another
    """
    return Fault(alter=change)


def twice() -> Fault:
    """Each report, or result, two times in the answer."""
    return Fault(alter=lambda body: _lists(body, lambda items: [each for item in items for each in (item, item)]))


def backwards() -> Fault:
    """The reports, or results, from the last to the first."""
    return Fault(alter=lambda body: _lists(body, lambda items: items[::-1]))


def fewer() -> Fault:
    """Without the last report, or result."""
    return Fault(alter=lambda body: _lists(body, lambda items: items[:-1]))


@dataclass
class Order:
    """A fault, for which requests, and how often; as :meth:`~dev.eurosms.server.EuroSms.order` has it."""

    fault: Fault
    on: str = "send"
    times: int | None = 1
    skip: int = 0

    def fires(self, kind: str) -> bool:
        """Whether this is the request; counts."""
        if self.times == 0 or not f"{kind}/".startswith(f"{self.on}/" if self.on else ""):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times:
            self.times -= 1
        return True


@dataclass
class Orders:
    """The orders that wait, the first one first."""

    waiting: list[Order] = field(default_factory=list)

    def add(self, order: Order) -> None:
        """Put one behind the others."""
        self.waiting.append(order)

    def next(self, kind: str) -> Fault | None:
        """The fault for this request, if one is ordered."""
        fault = next((order.fault for order in self.waiting if order.fires(kind)), None)
        self.waiting = [order for order in self.waiting if order.times != 0]
        return fault


def _lists(body: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Change the list of an answer: ``status/one`` is one, the others have one or several."""
    if isinstance(body, list):
        return change(body)
    if not isinstance(body, dict):
        return body
    changed = {name: change(each) if isinstance(each, list) else each for name, each in body.items()}
    return {**changed, "count": len(changed["dlrs"])} if "dlrs" in changed else changed


def _half(body: Any) -> bytes:
    whole = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return whole[: len(whole) // 2]


#: Those that the page offers, by what they are called there.
NAMED: Mapping[str, Fault] = {
    "answer 5 s late": late(5),
    "never answer, nothing taken": never(),
    "never answer, but taken": never(taken=True),
    "cut the connection, nothing taken": cut(),
    "cut the connection, but taken": cut(taken=True),
    "500, nothing taken": error(500),
    "503, nothing taken": error(503),
    "503, but taken": error(503, taken=True),
    "no balance": refusal("NO_BALANCE"),
    "wrong signature": refusal("WRONG_SIGNATURE"),
    "an unknown code": refusal("QUOTA_OF_THE_MOON"),
    "an unknown code, but taken": refusal("QUOTA_OF_THE_MOON", taken=True),
    "a page of a proxy": garbage(),
    "a page of a proxy, but taken": garbage(taken=True),
    "half an answer": truncated(),
    "all reports twice": twice(),
    "all reports backwards": backwards(),
    "one report or result less": fewer(),
}
