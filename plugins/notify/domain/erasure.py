"""A person who is erased: what stands for them from then on, and how to find them in texts."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

#: A domain that never gets any mail (RFC 2606, 2).
NOWHERE = "erased.invalid"

#: In the place of a subject.
ERASED = "(erased)"

#: Bytes before a text shift its base64 by one of these.
_SHIFTS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Erased:
    """Whoever is erased, under all their names.

    Each address and each login has a stand-in of its own: what belonged together still does, and the rest tells
    nothing.

    :param token: what the stand-ins have in common; nothing that is known of the person
    :param logins: of the people
    :param addresses: theirs alone, in lower case
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
        if isinstance(value, list):
            return [self.clean_value(one) for one in value]
        if isinstance(value, dict):
            return {self.clean_value(key): self.clean_value(one) for key, one in value.items()}
        return value


def pattern(address: str) -> str:
    """A regular expression for an address and for no longer one, as Python and PostgreSQL understand it.

    :param address: in whatever case; the pattern is meant to be used without regard to it
    """
    local, _, domain = address.rpartition("@")
    begins = r"(?:(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<![\w.+-]))"
    return rf"{begins}{re.escape(local)}(?:@|%40){re.escape(domain)}(?![\w-]|\.\w)"


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
