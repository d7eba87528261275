"""A text as the GSM alphabet can write it, so that an SMS holds 160 characters instead of 70.

What GSM has stays as it is, letters with marks among them (ä, é, ñ); ł becomes l, Київ becomes Kiiv, „ becomes ".
Nothing is lost in silence: it is told what was replaced, and by what.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from notify.domain.gsm import ALPHABET, outside

#: Stands for what nothing is like, such as a picture; gateways write the same. Left out, it would be missed by nobody.
UNKNOWN = "?"

#: Where GSM has something nearer than ASCII. Hungarian's long vowels are told by its short ones, not by o and u.
_NEARER = {"Ő": "Ö", "ő": "ö", "Ű": "Ü", "ű": "ü"}

#: Unicode's categories of what changes the character before it, or is not to be seen: nobody misses it.
_INVISIBLE = frozenset({"Cf", "Mn", "Me", "Sk"})


@dataclass(frozen=True, slots=True)
class Replacement:
    """A character that GSM does not have.

    :param sign: the character
    :param by: what stands in its place: :data:`UNKNOWN` if nothing is like it, nothing if it was not to be seen
    """

    sign: str
    by: str


@dataclass(frozen=True, slots=True)
class Transliteration:
    """A text that GSM has all characters of.

    :param text: the text
    :param replaced: what is not as it was, in the order of the text, each character once
    """

    text: str
    replaced: tuple[Replacement, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """The characters that nothing is like: a reader cannot tell what stood there."""
        return tuple(one.sign for one in self.replaced if one.by == UNKNOWN)


def transliterate(text: str) -> Transliteration:
    """Write a text in the GSM alphabet. A text that is written in it already comes back as it is."""
    composed = unicodedata.normalize("NFC", text)  # GSM has é, and neither e with a mark behind it nor the mark
    replaced = tuple(Replacement(sign, _by(sign)) for sign in outside(composed))
    return Transliteration(composed.translate({ord(one.sign): one.by for one in replaced}), replaced)


def _by(sign: str) -> str:
    from anyascii import anyascii

    if sign in _NEARER:
        return _NEARER[sign]
    found = anyascii(sign).replace("`", "'")  # GSM has no grave accent
    if not found and unicodedata.category(sign) in _INVISIBLE:
        return ""
    named = len(found) > 2 and found[0] == found[-1] == ":"  # 😀 is :grinning:, at ten times the price
    return found if found and not named and ALPHABET.issuperset(found) else UNKNOWN
