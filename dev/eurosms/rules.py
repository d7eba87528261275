"""What the interface asks of a request: signatures, senders, numbers, flags, and the codes of what is wrong.

Nothing here knows who has sent what; see :mod:`dev.eurosms.book`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from math import ceil
from typing import Any

from notify.domain.gsm import ALPHABET, outside
from notify.domain.sms import ROOM, Encoding, split

MOST_MESSAGES = 1000

#: More parts than the header of a part can count are no SMS.
MOST_PARTS = 255

ENQUEUED = "ENQUEUED"

#: The codes that this server answers with, each with its words.
CODES: Mapping[str, str] = {
    ENQUEUED: "Message accepted and enqueued to send",
    "NO_IID": "Integration ID is missing",
    "WRONG_IID": "Integration ID is not known",
    "NO_SGN": "Signature is missing",
    "WRONG_SIGNATURE": "Signature does not match",
    "WRONG_KEY": "Integration key is not valid",
    "NO_BALANCE": "Not enough credit",
    "NO_MSG": "Messages are missing",
    "NO_TXT": "Text is missing",
    "EMPTY_MESSAGE": "Text is empty",
    "MSG_TOO_LONG": "Text is too long",
    "TOO_MANY_MESSAGES": "Too many messages in one request",
    "NO_RCPT": "Recipient is missing",
    "WRONG_NUMBER": "Recipient is no number to send to",
    "NO_SNDR": "Sender is missing",
    "WRONG_SENDER": "Sender is not allowed",
    "IM_NOT_ALLOWED": "Instant messages are not allowed",
    "WRONG_SCH": "Time to send at is not valid",
    "FAIL": "Failed",
    "FAILED": "Failed",
    "ERR_OTHER": "Request is not understood",
    "ERR_NO_SUCH_UUID": "No message has this uuid",
    "SYSTEM_ERROR": "Internal error",
}

#: A length of the digest in hex tells the algorithm.
ALGORITHMS: Mapping[int, str] = {40: "sha1", 64: "sha256"}

_WORD = re.compile(r"[A-Za-z0-9 .-]{1,11}")
_NUMBER = re.compile(r"[1-9][0-9]{7,14}")


class Flag(IntFlag):
    """The bits of ``flgs``."""

    RECEIPT = 1
    LONG = 2
    DIACRITICS = 4
    HIGH = 8
    LOW = 32
    INSTANT = 128 | 256 | 512


class Refused(Exception):
    """A request, or one message of it, is not taken.

    :param code: one of :data:`CODES`, or any other that a test wants
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a message goes to.

    :param number: what stood in the request; a number of a phone is an ``int``
    :param key: the client's own key, given back with each receipt
    """

    number: Any
    key: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether an SMS can be sent there: a full international number, as an integer."""
        return type(self.number) is int and _NUMBER.fullmatch(str(self.number)) is not None


@dataclass(frozen=True, slots=True)
class Message:
    """A message that nothing is wrong with, its numbers aside.

    :param written: the text of the request
    :param text: the text that the phone shows
    :param parts: how many SMS it takes
    """

    sender: str
    recipients: tuple[Recipient, ...]
    written: str
    text: str
    parts: int
    flags: Flag


def signature(key: str, *values: object, algorithm: str = "sha1") -> str:
    """Sign values, joined without a separator.

    :param algorithm: ``sha1`` or ``sha256``
    """
    return hmac.digest(key.encode(), _bytes("".join(map(str, values))), algorithm).hex()


def require_signature(key: str, given: object, *values: object) -> None:
    """Check a signature.

    :param given: what stood in the request; hex in any case
    :raises Refused: it is missing or another
    """
    if not given:
        raise Refused("NO_SGN")
    algorithm = ALGORITHMS.get(len(given)) if isinstance(given, str) else None
    if algorithm is None:
        raise Refused("WRONG_SIGNATURE")
    if not hmac.compare_digest(signature(key, *values, algorithm=algorithm).encode(), _bytes(str(given).lower())):
        raise Refused("WRONG_SIGNATURE")


def recipients(body: Mapping[str, Any], field: str) -> tuple[Recipient, ...]:
    """Whom a message is for.

    :param field: ``rcpt``, one, or ``rcpts``, a list
    :raises Refused: there is nobody
    """
    given = body.get(field)
    if not given or (field == "rcpts" and not isinstance(given, list)):
        raise Refused("NO_RCPT")
    return tuple(_recipient(each) for each in (given if isinstance(given, list) else [given]))


def read_message(body: Mapping[str, Any], key: str, to: tuple[Recipient, ...]) -> Message:
    """Read and check a message.

    :param key: what it is signed with
    :param to: its recipients, from :func:`recipients`
    :raises Refused: something is wrong with it as a whole
    """
    sender, text, flags = body.get("sndr"), body.get("txt"), body.get("flgs", 0)
    if not sender:
        raise Refused("NO_SNDR")
    if not isinstance(text, str):
        raise Refused("NO_TXT")
    require_signature(key, body.get("sgn"), sender, *(each.number for each in to), text)
    if not text.strip():
        raise Refused("EMPTY_MESSAGE")
    _require_sender(sender)
    _require_schedule(body)
    flags = _flags(flags)
    shown, parts = arriving(text, flags)
    if parts > (MOST_PARTS if Flag.LONG in flags else 1):
        raise Refused("MSG_TOO_LONG")
    return Message(sender, to, text, shown, parts, flags)


def arriving(text: str, flags: Flag) -> tuple[str, int]:
    """What the phone shows, and how many parts it takes.

    Without the flag for diacritics, what GSM does not have arrives as a question mark. With it all is UCS-2, even where
    GSM would do.
    """
    if Flag.DIACRITICS not in flags:
        shown = "".join(sign if sign in ALPHABET else "?" for sign in text)
        return shown, len(split(shown))
    if outside(text):
        return text, len(split(text))
    room = ROOM[Encoding.UCS2]
    return text, 1 if len(text) <= room.alone else ceil(len(text) / room.shared)


def require_object(body: object) -> Mapping[str, Any]:
    """What must be an object of JSON.

    :raises Refused: it is something else
    """
    if not isinstance(body, Mapping):
        raise Refused("ERR_OTHER")
    return body


def _recipient(given: Any) -> Recipient:
    if not isinstance(given, Mapping):
        return Recipient(given)
    key = given.get("f")
    if key is not None and not isinstance(key, str):
        raise Refused("ERR_OTHER")
    return Recipient(given.get("r"), key)


def _require_sender(sender: object) -> None:
    is_word = isinstance(sender, str) and sender.strip() and _WORD.fullmatch(sender)
    if not is_word and not (isinstance(sender, str) and _NUMBER.fullmatch(sender)):
        raise Refused("WRONG_SENDER")


def _require_schedule(body: Mapping[str, Any]) -> None:
    """Only messages for now are known here."""
    if body.get("sch") is not None:
        raise Refused("WRONG_SCH")
    ttl = body.get("ttl")
    if ttl is not None and (type(ttl) is not int or ttl <= 0):
        raise Refused("ERR_OTHER")


def _flags(given: object) -> Flag:
    if type(given) is not int or given < 0:
        raise Refused("ERR_OTHER")
    flags = Flag(given)
    if flags & Flag.INSTANT:
        raise Refused("IM_NOT_ALLOWED")
    return flags


def _bytes(text: str) -> bytes:
    """UTF-8; JSON may hold halves of a character, which are no reason to fall over."""
    return text.encode("utf-8", "surrogatepass")
