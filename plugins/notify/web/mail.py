"""A stored message as people look at it: its headers, its text, its HTML, its source."""

from __future__ import annotations

from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from notify.storage.register import StoredText

#: Of a source that is longer, the rest is left out.
LONGEST_SOURCE = 200_000

_PARSER = BytesParser(policy=policy.default)


@dataclass(frozen=True, slots=True)
class Mail:
    """What a message says.

    :param headers: those that were written when it was handed over; From, Date and Reply-To are written when it leaves
    :param source: as it is stored, without attachments
    :param cut: whether the source is longer
    """

    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    source: str
    cut: bool

    @classmethod
    def of(cls, stored: StoredText) -> Mail:
        """Read it."""
        head = _PARSER.parsebytes(stored.headers + b"\r\n", headersonly=True)
        body = _PARSER.parsebytes(stored.body if stored.mixed else stored.headers + b"\r\n" + stored.body)
        assert isinstance(head, EmailMessage)
        assert isinstance(body, EmailMessage)
        source = stored.headers + b"\r\n" + stored.body
        return cls(
            tuple((name, str(value)) for name, value in head.items()),
            _part(body, "plain"),
            _part(body, "html"),
            source[:LONGEST_SOURCE].decode("utf-8", "replace"),
            len(source) > LONGEST_SOURCE,
        )


def _part(message: EmailMessage, subtype: str) -> str | None:
    part = message.get_body((subtype,))
    return None if part is None else str(part.get_content())
