"""The text of an SMS: what may stand in it, and how many parts it takes.

A part is what a network carries and a gateway charges for. Who splits is the gateway; the rules are those of 3GPP TS
23.040, 9.2.3.24.1, with the six octets of header that nearly all use.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from notify.domain.gsm import EXTENSION, outside, shown
from notify.domain.transliteration import Replacement, transliterate
from notify.exceptions import InvalidText

#: Beyond it, phones and networks lose parts, and the price is one that should be meant: to be warned of.
ADVISED_PARTS = 4

#: Beyond it, it is no SMS: refused.
MOST_PARTS = 10

#: Characters that are named of those that make a text too long.
_NAMED = 10


class Encoding(StrEnum):
    """How the characters travel."""

    GSM = "gsm"  #: the default alphabet of GSM 03.38, seven bits a character
    UCS2 = "ucs2"  #: all of Unicode, in units of 16 bits; beyond U+FFFF a character takes two of them


@dataclass(frozen=True, slots=True)
class Room:
    """How many units fit.

    :param alone: into an SMS of one part
    :param shared: into a part of several, for each has a header that tells which it is
    """

    alone: int
    shared: int


ROOM = {Encoding.GSM: Room(160, 153), Encoding.UCS2: Room(70, 67)}


@dataclass(frozen=True, slots=True)
class Size:
    """What a text takes.

    :param encoding: one character that GSM does not have makes it UCS-2
    :param units: of the encoding; a character takes one or two
    :param parts: how many are charged
    :param left: units that the last part has room for
    """

    encoding: Encoding
    units: int
    parts: int
    left: int


@dataclass(frozen=True, slots=True)
class Content:
    """A checked text, as it is stored, signed and sent.

    :param text: what is sent
    :param size: what it takes
    :param replaced: what is not as it was handed over, where it was transliterated
    """

    text: str
    size: Size
    replaced: tuple[Replacement, ...] = ()


def encoding_of(text: str) -> Encoding:
    """How a text travels; which characters make it UCS-2, :func:`notify.domain.gsm.outside` tells."""
    return Encoding.UCS2 if outside(text) else Encoding.GSM


def count(text: str) -> Size:
    """What a text takes as it stands; :func:`tidied` makes it stand as it is sent."""
    encoding = encoding_of(text)
    parts = split(text)
    room = ROOM[encoding].alone if len(parts) == 1 else ROOM[encoding].shared
    return Size(encoding, _units(text, encoding), len(parts), room - _units(parts[-1], encoding))


def split(text: str) -> list[str]:
    """A text in its parts, each as full as it can be. A character of two units stays whole."""
    encoding = encoding_of(text)
    room = ROOM[encoding]
    if _units(text, encoding) <= room.alone:
        return [text]
    parts, start = [], 0
    while start < len(text):
        part = text[start : start + room.shared]
        while (over := _units(part, encoding) - room.shared) > 0:
            part = part[: -((over + 1) // 2)]  # no fewer would do, were each of them two units
        parts.append(part)
        start += len(part)
    return parts


def _units(text: str, encoding: Encoding) -> int:
    if encoding is Encoding.GSM:
        return len(text) + sum(map(EXTENSION.__contains__, text))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


# --- What may stand in it --------------------------------------------------------------------------------------------

_LINE_END = re.compile(r"\r\n?|[\x85\u2028\u2029]")

#: Control characters that end no line, and halves of characters, which no encoding has.
_UNFIT = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def parse_text(text: str, *, transliterated: bool = False) -> Content:
    """Check a text, and write it as it is sent.

    :param transliterated: write it in the GSM alphabet, see :mod:`notify.domain.transliteration`
    :raises InvalidText: it is empty or too long, or has characters that no SMS can carry; the message says which
    """
    if unfit := _UNFIT.search(text):
        raise InvalidText(_why_unfit(unfit[0], unfit.start() + 1))
    written = tidied(text)
    replaced: tuple[Replacement, ...] = ()
    if transliterated:
        done = transliterate(written)
        written, replaced = tidied(done.text), done.replaced
    if not any(_visible(sign) for sign in written):
        raise InvalidText("there is nothing to read in it; an SMS needs a text")
    size = count(written)
    if size.parts > MOST_PARTS:
        raise InvalidText(_why_too_long(size, outside(written)))
    return Content(written, size, replaced)


def tidied(text: str) -> str:
    """A text without blanks around it, whose lines end alike and whose letters are made of as few characters as can be.

    A letter and its mark, as some systems write them, would make UCS-2 of é, which GSM has.
    """
    return unicodedata.normalize("NFC", _LINE_END.sub("\n", text)).strip()


def _visible(sign: str) -> bool:
    return not sign.isspace() and unicodedata.category(sign) != "Cf"


def _why_unfit(sign: str, position: int) -> str:
    what = "half of a character" if "\ud800" <= sign <= "\udfff" else "a control character"
    return f"{what} (U+{ord(sign):04X}), at position {position}, cannot be sent; leave it out, or write a blank instead"


def _why_too_long(size: Size, foreign: tuple[str, ...]) -> str:
    problem = f"it takes {size.parts} parts, and {MOST_PARTS} are the most that is sent; shorten it"
    if not foreign:
        return problem
    signs = " ".join(shown(sign) for sign in foreign[:_NAMED])
    few, many = ROOM[Encoding.UCS2].shared, ROOM[Encoding.GSM].shared
    return f"{problem}, or have it transliterated: a part holds {few} characters with {signs}, and {many} without"
