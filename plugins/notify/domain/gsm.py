"""The alphabet that every phone has: GSM 03.38, now 3GPP TS 23.038, 6.2.1.

What it has goes with 160 characters into an SMS; one character that it has not leaves room for 70. The alphabets of
single languages (6.2.1.2.4) would help Turkish, Spanish and Portuguese, and are not used: gateways do not offer them.
"""

from __future__ import annotations

import unicodedata
from itertools import chain

#: Tells that the next code is one of the extension table; no character itself.
_ESCAPE = "\x1b"

#: The default alphabet, in the order of its codes from 0x00 to 0x7F. Ç is a capital letter there, and there is no ç.
DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)

#: The ten of the extension table, form feed among them: each takes an escape and a code of its own, so it counts two.
EXTENSION = frozenset("\f^{}\\[~]|€")

ALPHABET = frozenset(chain(DEFAULT, EXTENSION)) - {_ESCAPE}

#: Unicode's categories of what is printed, and yet not to be seen alone.
_UNSEEN = frozenset({"Mn", "Me", "Zs"})


def outside(text: str) -> tuple[str, ...]:
    """The characters that GSM does not have, each once, in the order in which the text has them."""
    return tuple(sign for sign in dict.fromkeys(text) if sign not in ALPHABET)


def shown(sign: str) -> str:
    """A character as a reader can tell it from others: itself, or its name where nothing is to be seen."""
    if sign.isprintable() and unicodedata.category(sign) not in _UNSEEN:
        return sign
    return f"{unicodedata.name(sign, 'character').lower()} (U+{ord(sign):04X})"
