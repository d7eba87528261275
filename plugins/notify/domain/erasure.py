"""A person who is erased: what stands for them from then on, and how to find them in texts."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase
from typing import Any
from urllib.parse import quote

from notify.domain.destination import is_number
from notify.domain.phone import digits_within, national, spelled

#: A domain that never gets any mail (RFC 2606, 2).
NOWHERE = "erased.invalid"

#: In the place of a subject.
ERASED = "(erased)"

#: What HTML writes instead of a character.
_ENTITIES = {"'": ("&#39;", "&#x27;", "&apos;"), "&": ("&amp;",)}

#: A byte in a mail that is quoted-printable, and in PostgreSQL's format *escape*.
_QUOTED, _OCTAL = "=%02x", "\\%03o"

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)

#: What may stand between two digits of a telephone number, as it is and as URLs, HTML, mails and PostgreSQL write it.
_BETWEEN = r"(?:[ ()\[\]./\u00a0\u2011-]|%20|&nbsp;|&#160;|=20|=C2=A0|\\302\\240){0,3}"

#: What may stand in front of the code of a country.
_PLUS = r"(?:\+|%2B|&#43;|&#x2b;)"

#: Bytes before a text shift its base64 by one of these.
_SHIFTS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Erased:
    """Whoever is erased, under all their names.

    Each address and each login has a stand-in of its own: what belonged together still does, and the rest tells
    nothing.

    :param token: what the stand-ins have in common; nothing that is known of the person
    :param logins: of the people
    :param addresses: theirs alone, in lower case; telephone numbers among them, in E.164
    """

    token: str
    logins: tuple[str, ...]
    addresses: tuple[str, ...]
    _patterns: tuple[tuple[re.Pattern[str], str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = tuple((re.compile(pattern(one), re.IGNORECASE), self.address(one)) for one in self.addresses)
        object.__setattr__(self, "_patterns", found)

    def address(self, address: str) -> str:
        """What stands for an address."""
        return f"erased-{self.token}-{self.addresses.index(address.lower())}@{NOWHERE}"

    def login(self, login: str) -> str:
        """What stands for a login."""
        return f"erased-{self.token}-{self.logins.index(login)}"

    def clean(self, text: str) -> str:
        """A text without the addresses."""
        for wanted, instead in self._patterns:
            text = wanted.sub(instead, text)
        return text

    def clean_value(self, value: Any) -> Any:
        """The same for what JSON holds; a text that is a login, and nothing more, is replaced as well."""
        if isinstance(value, str):
            return self.login(value) if value in self.logins else self.clean(value)
        if isinstance(value, int) and not isinstance(value, bool):
            cleaned = self.clean(str(value))  # gateways take telephone numbers as numbers
            return value if cleaned == str(value) else cleaned
        if isinstance(value, list):
            return [self.clean_value(one) for one in value]
        if isinstance(value, dict):
            return {self.clean_value(key): self.clean_value(one) for key, one in value.items()}
        return value


def is_stand_in(address: str) -> bool:
    """Whether an address is that of somebody who was erased."""
    return address.endswith(f"@{NOWHERE}")


def pattern(address: str) -> str:
    """A regular expression for an address and for no longer one, as Python and PostgreSQL understand it.

    :param address: in whatever case; the pattern is meant to be used without regard to it
    """
    if is_number(address):
        before = rf"(?:{_PLUS}{_BETWEEN}|(?<!\w)(?:00{_BETWEEN})?)"
        return rf"{before}{_abroad(address)}(?!\w)|(?<![\w+]){_within(address)}(?!\w)"
    local, _, domain = address.rpartition("@")
    begins = r"(?:(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<![\w.+-]))"
    return rf"{begins}{_any_spelling(local)}(?:@|%40){_any_spelling(domain)}(?![\w-]|\.\w)"


def number_pattern(number: str) -> str:
    """The same for a telephone number, and for longer ones too."""
    return f"{_abroad(number)}|{_within(number)}"


def _abroad(number: str) -> str:
    """With the code of the country; some write the zero that is dialled within it as well."""
    own = national(number)
    return f"{_digits(number[1 : -len(own)])}{_BETWEEN}(?:0{_BETWEEN})?{_digits(own)}"


def _within(number: str) -> str:
    return _digits(digits_within(number))


def _digits(text: str) -> str:
    return _BETWEEN.join(text)


def _any_spelling(text: str) -> str:
    """Each character as it is, as a URL and HTML write it, and where it is not ASCII as a mail or PostgreSQL does."""
    plain = re.compile(r"[A-Za-z0-9._-]")
    return "".join(re.escape(one) if plain.match(one) else _spelled(one) for one in text)


def _spelled(character: str) -> str:
    # A database may have a locale in which upper and lower case are those of ASCII.
    found = {form for one in (character.lower(), character.upper()) for form in (one, quote(one, safe=""))}
    if character in _ENTITIES:
        found |= set(_ENTITIES[character])
    elif not character.isascii():
        found |= {_escaped(one, mark) for one in list(found) if "%" not in one for mark in (_QUOTED, _OCTAL)}
    return f"(?:{'|'.join(re.escape(one) for one in sorted(found, key=len, reverse=True))})"


def spellings(address: str, *, stored: bool = False) -> list[str]:
    """What to look for in a text in lower case, where an address may stand.

    :param address: in whatever case
    :param stored: as quoted-printable in a mail, and as PostgreSQL tells bytes, too
    """
    if is_number(address):
        return [one.lower() for one in spelled(address)]
    found = set(letter_cases(address))
    found |= {quote(one, safe=safe) for one in list(found) for safe in ("@", "")}
    for character, entities in _ENTITIES.items():
        found |= {one.replace(character, entity) for one in list(found) for entity in entities}
    if stored:
        found |= {_escaped(one.replace("=", "=3d"), mark) for one in list(found) for mark in (_QUOTED, _OCTAL)}
    return sorted({one.translate(_LOWER) for one in found})


def _escaped(text: str, mark: str) -> str:
    """A text whose bytes beyond ASCII are written out."""
    return "".join(one if one.isascii() else "".join(mark % byte for byte in one.encode()) for one in text)


def letter_cases(address: str) -> set[str]:
    """An address as people write it in upper and lower case; a telephone number, in its usual spellings."""
    if is_number(address):
        return set(spelled(address))
    local, _, domain = address.lower().rpartition("@")
    return {f"{one}@{domain}" for one in (local, local.upper(), local.capitalize(), local.title())} | {address.upper()}


def traces(address: str) -> list[str]:
    """What an address leaves in a body that is encoded as base64, wherever it stands in a line.

    :param address: as it is written there; base64 knows no upper and lower case
    """
    data = address.encode()
    found = []
    for shift in _SHIFTS:
        encoded = base64.b64encode(bytes(shift) + data).decode()
        before = (0, 2, 3)[shift]
        behind = (0, 3, 2)[(shift + len(data)) % 3]
        found.append(encoded[before : len(encoded) - behind])
    return found
