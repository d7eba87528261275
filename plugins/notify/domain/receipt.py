"""What becomes of an SMS after the gateway took it: receipts, one for each part."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256

#: A message's number, the recipient's position, and a check: a gateway's account may be shared with others.
_KEY = re.compile(r"([0-9]{1,18})-([0-9]{1,9})-([0-9a-f]{12})")


class Arrival(StrEnum):
    """How it stands with a part; the values stand in the database."""

    UNDERWAY = "underway"  #: nobody knows yet
    DELIVERED = "delivered"  #: it is on the telephone
    UNDELIVERED = "undelivered"  #: it never will be


@dataclass(frozen=True, slots=True)
class OwnKey:
    """What a receipt calls a message by which we know it.

    :param number: the message's in the register
    :param position: the recipient's
    :param check: see :func:`own_key`
    """

    number: int
    position: int
    check: str

    def __str__(self) -> str:
        return f"{self.number}-{self.position}-{self.check}"


def own_key(number: int, position: int, message_id: str) -> OwnKey:
    """The key that travels with a message; nobody else's has the same check.

    :param message_id: its Message-ID, which is random
    """
    return OwnKey(number, position, sha256(f"{message_id} {position}".encode()).hexdigest()[:12])


def read_key(text: object) -> OwnKey | None:
    """Read a key from a receipt, None where it is none of ours."""
    found = _KEY.fullmatch(text) if isinstance(text, str) else None
    return OwnKey(int(found[1]), int(found[2]), found[3]) if found else None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a gateway says of a part.

    :param reference: what it calls the part
    :param key: what we call the message, where the receipt has it
    :param part: which part of the message, from 1
    :param words: how the gateway says it
    :param at: when that happened; None where it does not say
    :param price: what was charged for the part, in the account's currency
    """

    reference: str
    key: OwnKey | None
    part: int
    arrival: Arrival
    words: str
    at: datetime | None = None
    price: Decimal | None = None
    carrier: str = ""


def arrival_of(parts: Collection[Arrival], needed: int) -> Arrival:
    """How it stands with a message.

    :param parts: those that are known of
    :param needed: how many there are
    """
    if Arrival.UNDELIVERED in parts:
        return Arrival.UNDELIVERED
    delivered = len(parts) >= needed and all(one is Arrival.DELIVERED for one in parts)
    return Arrival.DELIVERED if delivered else Arrival.UNDERWAY
