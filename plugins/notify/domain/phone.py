"""Phone numbers as people write them, and as gateways want them: E.164.

Which numbers there are is known to phonenumbers, whose data follow the plans of all countries. A range that came into
use later than its release is refused: bring the package up to date then.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from notify.exceptions import InvalidNumber, InvalidRegion

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

#: The longest that is looked at: a person's record holds no longer one, and digits with all their blanks are fewer.
LONGEST = 40

#: ITU-T E.164, 6.2.1: digits of a number, with those of its country. Germany has numbers that are longer.
MOST_DIGITS = 15

_WRITTEN = re.compile(r"\(?[ ]*\+?[0-9 ()\[\]./-]+")
_SEPARATORS = dict.fromkeys(map(ord, "‐‑‒–—−－"), "-") | {ord("＋"): "+", ord("／"): "/", ord("．"): "."}
_EXTENSION = re.compile(r"\d\W*(?:ext\w*|x|wew\w*|kl\w*|linka|[#,;~])\W*\d{1,7}\W*\Z", re.IGNORECASE)

_ANY_EXAMPLE = "+421 912 123 456"


class Flaw(StrEnum):
    """What is wrong with a number."""

    EMPTY = "empty"
    LETTERS = "letters"
    EXTENSION = "extension"
    SIGNS = "signs"
    NO_COUNTRY = "no_country"
    UNKNOWN_COUNTRY = "unknown_country"
    SHORT_CODE = "short_code"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    NOT_IN_USE = "not_in_use"


_PROBLEMS = {
    Flaw.EMPTY: "there is nothing in it; write one",
    Flaw.LETTERS: "it has letters; write digits only",
    Flaw.EXTENSION: "an SMS cannot reach an extension; write a number without one",
    Flaw.SIGNS: "it has signs that are in no number; write one number, of digits, with a plus in front of its country",
    Flaw.NO_COUNTRY: "it does not say of which country it is, and no country is set for such; write it with a plus and "
    "the code of its country",
    Flaw.UNKNOWN_COUNTRY: "no country has the code behind its plus; write one that there is",
    Flaw.SHORT_CODE: "it is a short code, which only phones of its own country reach; write a whole number",
    Flaw.TOO_SHORT: "digits are missing; write it whole",
    Flaw.TOO_LONG: "it has too many digits; write one number, with nothing behind it",
    Flaw.NOT_IN_USE: "its country has no such number; look for a slip, and write one that there is",
}


@dataclass(frozen=True, slots=True)
class Number:
    """A checked number.

    :param e164: with a plus, the code of its country, and no blanks: ``+421903622237``
    """

    e164: str

    @property
    def digits(self) -> str:
        """Without the plus, as gateways take it."""
        return self.e164.removeprefix("+")

    def __str__(self) -> str:
        return self.e164


def parse_number(text: str, region: str | None = None) -> Number:
    """Check a number, with or without the code of its country.

    :param text: ``+421 903 622 237``, or ``0903 622 237`` where a region is given
    :param region: whose numbers need no code (ISO 3166, e.g. ``SK``); None: each must have its plus and its code
    :raises InvalidNumber: no SMS can go to it; the message says why and what to write
    :raises InvalidRegion: there is no such region
    """
    region = parse_region(region)
    found = _found(_plain(text), region)
    if isinstance(found, Flaw):
        where = f" of {region}" if region and "+" not in text else ""
        raise InvalidNumber(
            found, f"{_shown(text)} is no phone number{where}: {_PROBLEMS[found]}, such as {_example(region)}"
        )
    return Number(found)


def national(e164: str) -> str:
    """The digits of a checked number without those of its country, nor what stands for them within it."""
    import phonenumbers

    return phonenumbers.national_significant_number(phonenumbers.parse(e164))


def spelled(e164: str) -> list[str]:
    """The usual spellings of a checked number, with and without the code of its country, the longest first."""
    import phonenumbers
    from phonenumbers import PhoneNumberFormat

    number = phonenumbers.parse(e164)
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    within = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    written = [international, within, e164, e164.replace("+", "00"), international.replace("+", "00"), e164[1:]]
    written += [international.replace(" ", "-"), within.replace(" ", "-"), "".join(filter(str.isdigit, within))]
    return sorted(set(written), key=lambda one: (-len(one), one))


def digits_within(e164: str) -> str:
    """The digits of a checked number as they are dialled in its country."""
    import phonenumbers

    number = phonenumbers.parse(e164)
    within = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    return "".join(filter(str.isdigit, within))


def parse_region(text: str | None) -> str | None:
    """Check a region.

    :param text: in either case; None, or nothing but blanks, is none
    :raises InvalidRegion: there is none of that code; the message says what to write
    """
    from phonenumbers import SUPPORTED_REGIONS

    region = (text or "").strip().upper()
    if region and region not in SUPPORTED_REGIONS:
        raise InvalidRegion(
            f"{_shown(text or '')} is no country that has phone numbers. Write its two letters of ISO 3166, such as "
            "SK, PL or GB, or nothing: then each number needs a plus and the code of its country."
        )
    return region or None


def _plain(text: str) -> str:
    """Without what nobody sees, which comes along when one copies from elsewhere; digits and dashes in ASCII."""
    if text.isascii():
        return text.strip()
    seen = (sign for sign in text.translate(_SEPARATORS) if unicodedata.category(sign) != "Cf")
    return "".join(_in_ascii(sign) for sign in seen).strip()


def _in_ascii(sign: str) -> str:
    if sign.isdecimal():
        return str(unicodedata.decimal(sign))
    return " " if unicodedata.category(sign) == "Zs" else sign


def _found(text: str, region: str | None) -> str | Flaw:
    """The number in E.164, or what is wrong with it."""
    import phonenumbers

    if flaw := _flaw_of_writing(text, region):
        return flaw
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        return _flaw_of_parsing(error.error_type)
    return _flaw_of(number) or phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _flaw_of_writing(text: str, region: str | None) -> Flaw | None:
    if not text:
        return Flaw.EMPTY
    if len(text) > LONGEST:
        return Flaw.TOO_LONG
    if not _WRITTEN.fullmatch(text):
        if _EXTENSION.search(text):
            return Flaw.EXTENSION
        return Flaw.LETTERS if any(map(str.isalpha, text)) else Flaw.SIGNS
    return None if region or "+" in text else Flaw.NO_COUNTRY


def _flaw_of_parsing(error: int) -> Flaw:
    from phonenumbers import NumberParseException

    flaws = {
        NumberParseException.INVALID_COUNTRY_CODE: Flaw.UNKNOWN_COUNTRY,
        NumberParseException.TOO_LONG: Flaw.TOO_LONG,
    }
    return flaws.get(
        error, Flaw.TOO_SHORT
    )  # how it is written was looked at before, so digits are all that it can lack


def _flaw_of(number: PhoneNumber) -> Flaw | None:
    import phonenumbers
    from phonenumbers import ValidationResult

    if phonenumbers.is_valid_number(number):
        digits = len(str(number.country_code)) + len(phonenumbers.national_significant_number(number))
        return Flaw.TOO_LONG if digits > MOST_DIGITS else None
    if phonenumbers.is_valid_short_number(number):
        return Flaw.SHORT_CODE
    flaws = {
        ValidationResult.TOO_SHORT: Flaw.TOO_SHORT,
        ValidationResult.IS_POSSIBLE_LOCAL_ONLY: Flaw.TOO_SHORT,
        ValidationResult.TOO_LONG: Flaw.TOO_LONG,
    }
    return flaws.get(phonenumbers.is_possible_number_with_reason(number), Flaw.NOT_IN_USE)


def _example(region: str | None) -> str:
    """A mobile number of the region, as one may write it."""
    import phonenumbers

    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE) if region else None
    if number is None:
        return _ANY_EXAMPLE
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
