"""A server's words, made fit for a register: one line, printable, not too long."""

from __future__ import annotations

import re
from dataclasses import dataclass

from notify.domain.outcome import Verdict

_LONGEST = 500
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\d)")
_VERDICTS = {2: Verdict.ACCEPTED, 4: Verdict.TEMPORARY, 5: Verdict.PERMANENT}


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer to one command.

    :param code: the reply code (RFC 5321, 4.2)
    :param text: the server's words
    """

    code: int
    text: str

    @property
    def verdict(self) -> Verdict | None:
        """What the first digit says; None where it says nothing final."""
        return _VERDICTS.get(self.code // 100)

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463), or empty."""
        found = _ENHANCED.match(self.text)
        return found.group() if found else ""

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


def words(said: object) -> str:
    """One printable line of at most 500 characters.

    :param said: bytes from a server, a text or an exception
    """
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    text = text[: 4 * _LONGEST]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())[:_LONGEST]


def last_words(error: BaseException) -> str:
    """Find what an error from smtplib means: it hides the network's own behind "Server not connected"."""
    inner = error.__context__
    return words(inner if isinstance(inner, OSError) else error).rstrip(".")
