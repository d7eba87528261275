"""From a parcel to the bytes that travel: pure functions, shared by every channel that carries mail."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote

from notify.domain import link
from notify.domain.address import CONTROL, Address, parse_address
from notify.domain.link import MARK, Purpose
from notify.domain.parcel import Enclosure, Parcel

CRLF = b"\r\n"

#: How the headers of a message begin that has a link to unsubscribe by.
UNSUBSCRIBE = b"List-Unsubscribe:"

#: What a header line should not exceed (RFC 5322, 2.1.1).
_LINE = 78

#: The longest name that is written as it is; encoded words can be folded, a quoted string cannot.
_PIECE = 60

#: Characters of an escaped file name in one line of a continued parameter (RFC 2231, 3).
_ESCAPED_LINE = 54

#: Base64 characters in a line (RFC 2045, 6.8).
_BASE64_LINE = 76

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\Z")
_PLAIN_FILENAME = re.compile(rf"[A-Za-z0-9 _.,()@+=-]{{1,{_PIECE}}}\Z")
_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, eq=False)
class Letterhead:
    """What a sender writes on every message.

    :param sender: the From address and its display name
    :param reply_to: where answers go unless the message says otherwise
    """

    sender: Address
    reply_to: Address | None = None

    def preface(self, parcel: Parcel, when: datetime) -> bytes:
        """Write the headers that belong to the sending.

        :param parcel: the message
        :param when: the moment of sending, aware
        :raises ValueError: the message's own Reply-To is no address
        """
        answers_unsubscribe = parcel.bulk and not parcel.headers.startswith(UNSUBSCRIBE)
        return _date_line(when.replace(microsecond=0)) + _standing_lines(self, parcel.reply_to, answers_unsubscribe)


@lru_cache(maxsize=4)
def _date_line(second: datetime) -> bytes:
    """The same for all messages of a second."""
    return f"Date: {format_datetime(second)}\r\n".encode()


@lru_cache(maxsize=256)
def _standing_lines(letterhead: Letterhead, reply_to: str | None, bulk: bool) -> bytes:
    """The same for all messages that answer to the same; a letterhead is its own key, for comparing it takes longer."""
    answers = read_address(reply_to) if reply_to else letterhead.reply_to
    lines = [mailbox_line("From", letterhead.sender)]
    if answers:
        lines.append(mailbox_line("Reply-To", answers))
    if bulk:
        lines.append(_unsubscribe_line(answers or letterhead.sender))
    return "".join(f"{line}\r\n" for line in lines).encode()


@lru_cache(maxsize=256)
def read_address(text: str) -> Address:
    """Check an address, remembering the last ones: most messages of a run answer to the same.

    :raises ValueError: it is no address
    """
    return parse_address(text)


@lru_cache(maxsize=256)
def mailbox_line(field: str, address: Address) -> str:
    """Write one mailbox as a header line, folded, without the line end.

    :param field: the header's name
    :param address: the mailbox; its name may be in any alphabet
    :raises ValueError: a line break or control character
    """
    if CONTROL.search(address.name + address.mailbox):
        raise ValueError(f"a line break or control character is not allowed in {field}")
    if not address.name:
        return f"{field}: {address.mailbox}"
    start = f"{field}: {_phrase(address.name, field)}"
    fits = len(start.rpartition("\n")[2]) + len(address.mailbox) + 3 <= _LINE
    return f"{start}{' ' if fits else _FOLD}<{address.mailbox}>"


_FOLD = "\r\n "


def _phrase(name: str, field: str) -> str:
    if name.isascii() and len(name) <= _PIECE and "=?" not in name:
        return '"' + name.replace("\\", r"\\").replace('"', r"\"") + '"'
    encoded = Header(name, "utf-8", header_name=field, maxlinelen=_LINE - 2)
    return encoded.encode(linesep="\r\n")


def _unsubscribe_line(address: Address) -> str:
    target = f"<mailto:{quote(address.mailbox, safe='@')}?subject=unsubscribe>"
    fits = len("List-Unsubscribe: ") + len(target) <= _LINE
    return f"List-Unsubscribe:{' ' if fits else _FOLD}{target}"


def personal(parcel: Parcel, secret: bytes, today: date) -> Parcel:
    """A message with its own tokens in its links; one without links as it is.

    A token is as long as the placeholder in whose place it comes, so all sizes stay true.

    :param secret: the outbox's; without it links stay without tokens, for anybody could make them up
    """
    in_headers, in_body = parcel.headers.startswith(UNSUBSCRIBE), MARK in parcel.body
    if not secret or not (in_headers or in_body):
        return parcel
    headers, body = parcel.headers, parcel.body
    if in_headers:  # once: what follows the first line was written by others
        token = link.make(Purpose.UNSUBSCRIBE, parcel.id, parcel.message_id, today, secret)
        headers = headers.replace(MARK, token.encode(), 1)
    if in_body:
        token = link.make(Purpose.SETTINGS, parcel.id, parcel.message_id, today, secret)
        body = body.replace(MARK, token.encode())
    return replace(parcel, headers=headers, body=body)


def assemble(parcel: Parcel, preface: bytes) -> bytes:
    """Put a whole message together; its line ends are those of its parts, see :func:`normal`.

    :param parcel: the message
    :param preface: header lines to put in front, each with its CRLF
    """
    if parcel.boundary is None:
        return b"".join((preface, _ended(parcel.headers), CRLF, parcel.body))
    head = b"".join((preface, _ended(parcel.headers), CRLF))
    dash = CRLF + b"--" + parcel.boundary.encode("ascii")
    parts = (parcel.body, *map(enclosure_part, parcel.enclosures))
    between = dash + CRLF
    return b"".join((head, between.removeprefix(CRLF), between.join(parts), dash, b"--", CRLF))


def _ended(lines: bytes) -> bytes:
    return lines if not lines or lines.endswith(CRLF) else lines + CRLF


def enclosure_part(enclosure: Enclosure) -> bytes:
    """Write one attachment as a MIME part: its headers, an empty line, base64."""
    head = (
        f"Content-Type: {_media_type(enclosure.content_type)}\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment;{_filename(enclosure.filename)}\r\n\r\n"
    )
    return head.encode("ascii") + _base64_lines(enclosure.content)


def _media_type(text: str) -> str:
    # message/* and multipart/* may not travel in base64 (RFC 2045, 6.4); readers then show a broken mail.
    composite = text.lower().startswith(("message/", "multipart/"))
    return "application/octet-stream" if composite or not _MEDIA_TYPE.match(text) else text


def _filename(name: str) -> str:
    if _PLAIN_FILENAME.match(name):
        return f'{_FOLD}filename="{name}"'
    pieces = [""]
    for letter in name:
        escaped = quote(letter, safe="", errors="replace")
        # A letter of several bytes stays in one piece: readers decode each by itself, the standard library among them.
        if len(pieces[-1] + escaped) > _ESCAPED_LINE:
            pieces.append("")
        pieces[-1] += escaped
    if len(pieces) == 1:
        return f"{_FOLD}filename*=utf-8''{pieces[0]}"
    pieces[0] = f"utf-8''{pieces[0]}"
    return ";".join(f"{_FOLD}filename*{number}*={piece}" for number, piece in enumerate(pieces))


def _base64_lines(content: bytes) -> bytes:
    text = base64.b64encode(content)
    return CRLF.join(text[start : start + _BASE64_LINE] for start in range(0, len(text), _BASE64_LINE))


def normal(content: bytes) -> bytes:
    """Make every line end a CRLF, the last one's too.

    A bare CR or LF becomes CRLF: servers disagree about what it means, and that disagreement can be used to smuggle a
    second message behind the first.
    """
    ends = content.count(CRLF)
    if not ends == content.count(b"\r") == content.count(b"\n"):
        content = _ANY_LINE_END.sub(CRLF, content)
    return _ended(content)


def stuffed(content: bytes) -> bytes:
    """Make a message what follows the 354 reply: leading dots doubled, and the final dot (RFC 5321, 4.5.2).

    :param content: as :func:`normal` makes it
    """
    content = content.replace(b"\r\n.", b"\r\n..")
    return b"".join((b"." if content.startswith(b".") else b"", content, b".\r\n"))


def on_wire(content: bytes) -> bytes:
    """Make any content what follows the 354 reply."""
    return stuffed(normal(content))
