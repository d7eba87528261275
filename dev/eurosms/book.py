"""What was taken, what it cost, and what becomes of it: accounts, messages, their parts and receipts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

from dev.eurosms.rules import ENQUEUED, Flag, Message, Recipient

#: In which the vendor tells times, without saying so.
ZONE = ZoneInfo("Europe/Bratislava")
TIMES = "%Y-%m-%d %H:%M:%S"

#: A network's country and number.
OPERATOR = "231.1"

KEPT = timedelta(days=7)

#: How long a receipt that nobody confirms is pushed.
PUSHED = timedelta(hours=24)

MOST_MONEY = 10**9

Value = TypeVar("Value")

DELIVERED = "DELIVRD"
ON_ITS_WAY = "ENROUTE"


@dataclass
class Account:
    """Whom the gateway works for.

    :param iid: the integration ID
    :param key: the integration key
    :param balance: in EUR
    :param price: of a part, in EUR
    :param senders: the senders that it may use; any, if None
    """

    iid: str
    key: str
    balance: Decimal = Decimal(100)
    price: Decimal = Decimal("0.05")
    senders: Collection[str] | None = None


@dataclass(frozen=True)
class Fate:
    """What becomes of messages to a number.

    :param states: the states that a part goes through, in the order in which they are told. DELIVRD, UNDELIV, EXPIRED,
        REJECTD and DELETED are final; ENROUTE, ACCEPTD, UNKNOWN and SEEN are not. None at all: no receipt ever
    :param after: how many queries tell nothing yet. Then each query tells one state more
    :param together: the first query that tells anything tells all states
    :param only: the parts that go through these states; all of them, if None
    :param others: the states of the parts that are not named in ``only``
    """

    states: tuple[str, ...] = (DELIVERED,)
    after: int = 0
    together: bool = False
    only: frozenset[int] | None = None
    others: tuple[str, ...] = ()

    def of(self, segment: int) -> tuple[str, ...]:
        """The states of a part, the first of which is 1."""
        return self.states if self.only is None or segment in self.only else self.others


#: What the last digit of a number decides, for people who try things out.
BY_LAST_DIGIT: Mapping[str, Fate] = {
    "": Fate(),
    "4": Fate((DELIVERED,), only=frozenset({1})),
    "5": Fate((ON_ITS_WAY, "ACCEPTD", DELIVERED)),
    "6": Fate(("UNDELIV",)),
    "7": Fate(("EXPIRED",)),
    "8": Fate(("UNKNOWN",)),
    "9": Fate(()),
}


@dataclass
class Part:
    """One SMS of a message.

    :param segment: its number, from 1
    :param states: what it will go through
    :param since: how many queries there had been about everything when it was taken, and how many it is to wait
    :param asked: how many queries there were about it in particular
    :param told: how many of its states were among those that changed
    :param told_to_group: the same, where a group is asked for
    :param pushed: how many of its states were pushed, and confirmed
    :param times: when it reached its states
    """

    uuid: str
    segment: int
    states: tuple[str, ...]
    since: int
    together: bool = False
    asked: int = 0
    told: int = 0
    told_to_group: int = 0
    pushed: int = 0
    times: list[datetime] = field(default_factory=list)

    def reached(self, queries: int) -> int:
        """How many of its states can be told after so many queries about everything."""
        steps = max(0, queries + self.asked - self.since)
        return len(self.states) if steps and self.together else min(steps, len(self.states))

    @property
    def state(self) -> str:
        """What it came to so far."""
        return self.states[len(self.times) - 1] if self.times else ON_ITS_WAY


@dataclass
class Sms:
    """A message to one number that the gateway took and charged.

    :param number: digits, without ``+``
    :param text: as the phone shows it
    :param written: as the request had it
    :param key: the client's own key, ``f``
    :param price: of all parts
    :param group: the group of the request, if it was one for several
    """

    account: str
    number: int
    sender: str
    text: str
    written: str
    key: str | None
    flags: Flag
    price: Decimal
    group: int | None
    at: datetime
    parts: tuple[Part, ...]

    @property
    def uuids(self) -> list[str]:
        """One a part."""
        return [part.uuid for part in self.parts]

    @property
    def states(self) -> list[str]:
        """One a part: what it came to so far."""
        return [part.state for part in self.parts]

    def as_json(self) -> dict[str, Any]:
        """For a record, and for programs that look at it from outside."""
        return {
            "at": self.at.isoformat(),
            "account": self.account,
            "number": self.number,
            "sender": self.sender,
            "text": self.text,
            "written": self.written,
            "key": self.key,
            "flags": int(self.flags),
            "parts": len(self.parts),
            "price": str(self.price),
            "group": self.group,
            "uuids": self.uuids,
            "states": self.states,
        }


@dataclass(frozen=True)
class Result:
    """What became of a message to one number when it was handed in."""

    recipient: Recipient
    code: str
    uuids: tuple[str, ...] = ()


@dataclass
class Book:
    """Accounts, and what was taken for them. Not safe for threads: the server has one lock for all of it.

    :param fates: what becomes of messages, by how the number ends; the longest ending counts
    :param codes: what is answered for a number instead of taking a message, by how it ends
    :param clock: the present moment
    """

    accounts: dict[str, Account]
    fates: dict[str, Fate] = field(default_factory=lambda: {"": Fate()})
    codes: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    taken: list[Sms] = field(default_factory=list)
    _queries: Counter[str] = field(default_factory=Counter)
    _by_uuid: dict[str, tuple[Sms, Part]] = field(default_factory=dict)
    _by_group: dict[int, list[Sms]] = field(default_factory=dict)
    _untold: dict[str, dict[str, tuple[Sms, Part]]] = field(default_factory=dict)
    _unpushed: dict[str, tuple[Sms, Part]] = field(default_factory=dict)
    _transactions: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    _groups: Iterator[int] = field(default_factory=lambda: count(1001))

    # --- Taking -------------------------------------------------------------------------------------------------------

    def new_group(self) -> int:
        """A number for a request with several messages."""
        return next(self._groups)

    def hand_in(self, account: Account, message: Message, group: int | None, *, dry: bool) -> list[Result]:
        """Take a message to its recipients, as far as there is money.

        :param group: the request's group, None if it is for one
        :param dry: take nothing; then the account is a copy
        """
        price = account.price * message.parts
        return [self._hand_in(account, message, each, price, group, dry=dry) for each in message.recipients]

    def refused(self, recipient: Recipient) -> str | None:
        """The code for a number that nothing is sent to."""
        if not recipient.is_number:
            return "WRONG_NUMBER"
        return _longest(self.codes, str(recipient.number))

    def _hand_in(
        self, account: Account, message: Message, recipient: Recipient, price: Decimal, group: int | None, *, dry: bool
    ) -> Result:
        if code := self.refused(recipient):
            return Result(recipient, code)
        if account.balance < price:
            return Result(recipient, "NO_BALANCE")
        account.balance -= price
        if dry:
            return Result(recipient, ENQUEUED, tuple(str(uuid4()) for _ in range(message.parts)))
        sms = self._sms(account, message, recipient, price, group)
        self._enter(sms)
        return Result(recipient, ENQUEUED, tuple(sms.uuids))

    def _sms(self, account: Account, message: Message, recipient: Recipient, price: Decimal, group: int | None) -> Sms:
        uuids = [str(uuid4()) for _ in range(message.parts)]
        return Sms(
            account.iid,
            recipient.number,
            message.sender,
            message.text,
            message.written,
            recipient.key,
            message.flags,
            price,
            group,
            self.clock(),
            self._new_parts(account.iid, recipient.number, message.flags, uuids),
        )

    def _new_parts(self, account: str, number: int, flags: Flag, uuids: Iterable[str]) -> tuple[Part, ...]:
        """Parts of which nothing was told yet."""
        fate = _longest(self.fates, str(number)) or Fate()
        since = self._queries[account] + fate.after
        reported = Flag.RECEIPT in flags
        return tuple(
            Part(uuid, segment, fate.of(segment) if reported else (), since, fate.together)
            for segment, uuid in enumerate(uuids, start=1)
        )

    def recall(self, told: Mapping[str, Any]) -> None:
        """Take in what was taken before this book was opened, and charge for it; its receipts are told from the first.

        :param told: as :meth:`Sms.as_json` has it
        """
        iid, flags, price = told["account"], Flag(told["flags"]), Decimal(told["price"])
        if iid not in self.accounts:
            return
        self.accounts[iid].balance -= price
        parts = self._new_parts(iid, told["number"], flags, told["uuids"])
        names = {name: told[name] for name in ("account", "number", "sender", "text", "written", "key", "group")}
        self._enter(Sms(**names, flags=flags, price=price, at=datetime.fromisoformat(told["at"]), parts=parts))
        if told["group"] is not None:
            self._groups = count(max(told["group"] + 1, next(self._groups)))

    def _enter(self, sms: Sms) -> None:
        self.taken.append(sms)
        if sms.group is not None:
            self._by_group.setdefault(sms.group, []).append(sms)
        untold = self._untold.setdefault(sms.account, {})
        for part in sms.parts:
            self._by_uuid[part.uuid] = (sms, part)
            if part.states:
                untold[part.uuid] = self._unpushed[part.uuid] = (sms, part)

    def doubles(self) -> list[Any]:
        """The own keys that were taken more than once; for messages without one, number and text."""
        seen = Counter((sms.number, sms.text) if sms.key is None else sms.key for sms in self.taken)
        return [each for each, times in seen.items() if times > 1]

    # --- Receipts -----------------------------------------------------------------------------------------------------

    def status_one(self, uuid: str) -> dict[str, Any] | None:
        """How it stands with a part, None if nobody knows it (any more)."""
        found = self._by_uuid.get(uuid.lower())
        if found is None or self._is_forgotten(found[0]):
            return None
        sms, part = found
        part.asked += 1
        return _report(sms, part, self._advance(sms, part))

    def status_group(self, account: Account, group: int, *, once: bool) -> list[dict[str, Any]]:
        """How it stands with the messages of a group.

        :param once: only what has changed since the last such query
        """
        reports = []
        for sms, part in self._parts(account, group):
            part.asked += 1
            reached = self._advance(sms, part)
            told = part.told_to_group if once else max(0, reached - 1)
            reports += [_report(sms, part, each) for each in range(told + 1, reached + 1)]
            part.told_to_group = reached
        return reports

    def status_any(self, account: Account, transaction: str, most: int | None) -> list[dict[str, Any]]:
        """What has changed since the last such query; the same transaction has the same answer again.

        :param most: how many changes to tell at once
        """
        key = (account.iid, transaction)
        if key not in self._transactions:
            self._queries[account.iid] += 1
            self._transactions[key] = list(self._changes(account, most))
        return self._transactions[key]

    def _changes(self, account: Account, most: int | None) -> Iterator[dict[str, Any]]:
        """What was not told yet. A part whose last state is told is left out of the next queries."""
        untold = self._untold.get(account.iid, {})
        left = sys.maxsize if most is None else most
        for uuid, (sms, part) in list(untold.items()):
            if self._is_forgotten(sms):
                del untold[uuid]
                continue
            until = min(self._advance(sms, part), part.told + left)
            yield from (_report(sms, part, each) for each in range(part.told + 1, until + 1))
            left -= until - part.told
            part.told = until
            if until == len(part.states):
                del untold[uuid]

    def _advance(self, sms: Sms, part: Part) -> int:
        """How many states a part has reached; notes when."""
        reached = part.reached(self._queries[sms.account])
        part.times += [self.clock()] * (reached - len(part.times))
        return len(part.times)

    def _parts(self, account: Account, group: int) -> Iterable[tuple[Sms, Part]]:
        messages = self._by_group.get(group, [])
        return [
            (sms, part)
            for sms in messages
            if sms.account == account.iid and not self._is_forgotten(sms)
            for part in sms.parts
        ]

    def _is_forgotten(self, sms: Sms) -> bool:
        return self.clock() - sms.at > KEPT

    # --- Pushing ------------------------------------------------------------------------------------------------------

    def to_push(self) -> list[dict[str, Any]]:
        """Of each part the next state that a query would tell and that was not pushed."""
        return [
            _pushed(sms, part, self.clock())
            for sms, part in self._unpushed.values()
            if part.pushed < part.reached(self._queries[sms.account] + 1) and self.clock() - sms.at <= PUSHED
        ]

    def confirm(self, uuid: str) -> None:
        """The last state that was pushed has arrived."""
        part = self._unpushed[uuid][1]
        part.pushed += 1
        if part.pushed == len(part.states):
            del self._unpushed[uuid]


def amount(text: str) -> Decimal:
    """Read an amount of money.

    :raises ValueError: it is none
    """
    try:
        value = Decimal(text.replace(",", "."))
    except InvalidOperation:
        raise ValueError(text) from None
    if not value.is_finite() or abs(value) > MOST_MONEY:
        raise ValueError(text)
    return value


def local(moment: datetime) -> str:
    """A moment as the vendor writes it: in a zone that is not told."""
    return moment.astimezone(ZONE).strftime(TIMES)


def _report(sms: Sms, part: Part, reached: int) -> dict[str, Any]:
    """A receipt.

    :param reached: which of its states to tell, from 1; 0 if it has none yet
    """
    return {
        "rcpt": sms.number,
        "carrier": OPERATOR,
        "price": float(sms.price / len(sms.parts)),
        "dlr_time": local(part.times[reached - 1]) if reached else None,
        "sgmnt": part.segment,
        "dlr": part.states[reached - 1] if reached else ON_ITS_WAY,
        "i": part.uuid,
        "snd": local(sms.at),
        "err_code": "OK",
        "f": sms.key,
    }


def _pushed(sms: Sms, part: Part, now: datetime) -> dict[str, Any]:
    """A receipt as it is pushed."""
    return {
        "sms_uuid": part.uuid,
        "delivery_result": part.states[part.pushed],
        "delivery_time": local(part.times[part.pushed] if part.pushed < len(part.times) else now),
        "sent_time": local(sms.at),
        "sent_result": "OK",
        "operator": OPERATOR,
        "price": float(sms.price / len(sms.parts)),
        "segment": part.segment,
    }


def _longest(table: Mapping[str, Value], number: str) -> Value | None:
    """What a table has for the longest ending of a number."""
    endings = (number[start:] for start in range(len(number) + 1))
    return next((table[ending] for ending in endings if ending in table), None)
