"""Where a message can go, as people write it: a mailbox, or a telephone number."""

from __future__ import annotations

import re
from collections.abc import Callable

from notify.domain.address import parse_address
from notify.domain.phone import national, parse_number
from notify.exceptions import InvalidNumber, InvalidRegion

#: Which numbers need no code of their country; asked for only where one lacks it.
Region = Callable[[], str]

#: What a number, or a part of one, may be written with.
_OF_A_NUMBER = re.compile(r"[0-9+ ()/.\u00a0-]+")
_SEPARATORS = re.compile(r"[^0-9+]")

#: Whatever has one of these is a part of no mailbox.
_NO_MAILBOX = re.compile(r"^\+|[ ()/\u00a0]")

#: With fewer digits than these, a part of a number is in nearly all of them.
_FEWEST = 3

_FORMS = "write a mailbox, such as anna@example.com, or a telephone number, such as +421 903 622 237"


def parse_destination(text: str, region: Region) -> str:
    """Check where something is to go, and write it as all lists keep it.

    :param text: a mailbox, with or without a display name, or a telephone number
    :returns: ``local@domain``, or the number in E.164, with its plus
    :raises ValueError: it is neither; the message says why and what to write
    """
    try:
        if "@" in text:
            return parse_address(text).mailbox
        return number_in(text, region)
    except (ValueError, InvalidNumber, InvalidRegion) as error:
        why = (
            str(error).rstrip(".")
            if _looks_like_one(text)
            else f"{text[:100]!r} is neither an e-mail address nor a telephone number"
        )
        raise ValueError(f"{why}; {_FORMS}") from None


def number_in(text: str, region: Region) -> str:
    """A telephone number in E.164.

    :raises InvalidNumber: it is none; the message says why and what to write
    """
    return parse_number(text, None if "+" in text else region() or None).e164


def _looks_like_one(text: str) -> bool:
    return "@" in text or any(map(str.isdigit, text))


def sought(text: str, region: Region) -> str:
    """What to look for where people have written an address or a part of it; what is none stays what it is.

    A plus in a link becomes a blank on its way, so a number that has all its digits is found without it.

    :param text: as it was typed
    """
    text = text.strip()
    if "@" in text or not _OF_A_NUMBER.fullmatch(text):
        return text
    for written in (text, f"+{text}"):
        try:
            return number_in(written, region)
        except (InvalidNumber, InvalidRegion):
            continue
    return _SEPARATORS.sub("", text) if _NO_MAILBOX.search(text) else text


def digits_sought(text: str) -> str:
    """The digits by which people of a telephone number are found, however it is stored; empty where it is none.

    Those of its country, and the zeros that stand for them, are left out.

    :param text: as it was typed; a part will do, of no fewer than three digits
    """
    text = text.strip()
    if not _OF_A_NUMBER.fullmatch(text):
        return ""
    digits = _SEPARATORS.sub("", text)
    for written in (digits, f"+{digits}"):
        try:
            return national(parse_number(written).e164)
        except InvalidNumber:
            continue
    shorter = digits.lstrip("+0")
    return shorter if len(shorter) >= _FEWEST else ""


def is_number(address: str) -> bool:
    """Whether an address, as lists keep it, is a telephone number."""
    return address.startswith("+") and "@" not in address
