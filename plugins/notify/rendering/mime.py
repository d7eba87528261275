"""Composing: text and headers become the bytes that travel.

Bodies are written by hand, not by :mod:`email.message`: composing is the slow part of sending (about 450 messages a
second with ``EmailMessage``), and a body shared by many recipients is composed once. The tests parse every shape back
with the standard library.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.header import Header
from functools import lru_cache
from secrets import token_hex
from urllib.parse import urlsplit
from uuid import uuid4

from notify.domain.address import CONTROL, Address
from notify.domain.link import MARK

CRLF = b"\r\n"

#: RFC 5322, 2.1.1: a line should have no more than 78 characters.
LINE = 78


@dataclass(frozen=True, slots=True)
class Body:
    """What a message says, composed.

    :param fields: its Content-Type and Content-Transfer-Encoding lines, each ended by CRLF
    :param content: the bytes below them, CRLF line ends, 7-bit
    """

    fields: bytes
    content: bytes


def new_message_id(domain: str) -> str:
    """A Message-ID that nobody has had before, and that nobody can foretell from others (RFC 5322, 3.6.4)."""
    return f"<{token_hex(16)}@{domain}>"


def new_boundary() -> str:
    """A boundary that cannot occur in a part: neither base64 nor quoted-printable ever holds ``=_``."""
    return f"=_{uuid4().hex}"


def compose_body(text: str, html: str | None = None) -> Body:
    """Compose a plain text, or text and HTML as alternatives (RFC 2046, 5.1.4).

    :raises UnicodeEncodeError: it holds half a surrogate pair
    """
    plain = _text_part("plain", text)
    if html is None:
        return plain
    boundary = new_boundary()
    mark = b"--" + boundary.encode()
    parts = [mark + CRLF + part.fields + CRLF + part.content + CRLF for part in (plain, _text_part("html", html))]
    return Body(
        f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'.encode(),
        b"".join(parts) + mark + b"--" + CRLF,
    )


def as_first_part(body: Body) -> bytes:
    """A body as the first part of a multipart/mixed, for messages with attachments."""
    return body.fields + CRLF + body.content


def _text_part(subtype: str, text: str) -> Body:
    data = CRLF.join(text.encode("utf-8").splitlines()) + CRLF
    encoding, content = _encode(data)
    return Body(
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n".encode(),
        content,
    )


def _encode(data: bytes) -> tuple[str, bytes]:
    """The smallest of the encodings that keep lines short and 7-bit; base64 would hide where a token is to stand."""
    if data.isascii() and b"\x00" not in data and max(map(len, data.split(CRLF))) <= LINE:
        return "7bit", data
    quoted = quoted_printable(data)
    if MARK in data or len(quoted) <= len(data) * 1.4:
        return "quoted-printable", quoted
    return "base64", base64_lines(data)


#: RFC 2045, 6.7: no line is longer than 76 characters, its soft line break included.
_QUOTED_LINE = 76
_SOFT_BREAK = b"=\r\n"

#: What the standard library makes of a blank at the end of a line that is full (Python 3.11, 2026-12).
_TOO_LONG = re.compile(rb"^([^\r\n]{74,})(=[0-9A-F]{2})\r$", re.MULTILINE)


def quoted_printable(data: bytes) -> bytes:
    """Quoted-printable (RFC 2045, 6.7) in which each placeholder of a token is whole, on a line of its own.

    :param data: lines, each ended by CRLF
    """
    if MARK not in data:
        return _encoded(data)
    first, *rest = map(_quoted, data.split(MARK))
    written = [_left_open(first)]
    for place, piece in enumerate(rest, start=1):
        last = place == len(rest)
        ends_its_line = piece.startswith(CRLF) or (last and not piece)
        written += [MARK, b"" if ends_its_line else _SOFT_BREAK, piece if last else _left_open(piece)]
    return b"".join(written)


def _quoted(piece: bytes) -> bytes:
    """A piece of a text; what is encoded without any CRLF would get other line ends, and may end in a blank."""
    return _encoded(piece + CRLF).removesuffix(CRLF)


def _encoded(data: bytes) -> bytes:
    quoted = binascii.b2a_qp(data, istext=True)
    fits = max(map(len, quoted.split(CRLF))) <= _QUOTED_LINE
    return quoted if fits else _TOO_LONG.sub(rb"\1=\r\n\2\r", quoted)


def _left_open(quoted: bytes) -> bytes:
    """A piece with a soft line break behind it, so that what follows begins a line; none where it does anyway."""
    last = quoted.rpartition(CRLF)[2]
    if not last:
        return quoted
    if len(last) < _QUOTED_LINE:
        return quoted + _SOFT_BREAK
    size = 3 if last[-3:-2] == b"=" else 1  # of its last character
    return quoted[:-size] + _SOFT_BREAK + quoted[-size:] + _SOFT_BREAK


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters (RFC 2045, 6.8), each ended by CRLF."""
    step = 57
    return b"".join(
        binascii.b2a_base64(data[start : start + step], newline=False) + CRLF for start in range(0, len(data), step)
    )


def compose_headers(
    *,
    message_id: str,
    subject: str,
    to: Sequence[Address],
    cc: Sequence[Address] = (),
    body: Body,
    boundary: str | None = None,
    unsubscribe: str | None = None,
) -> bytes:
    """The headers that no attempt changes; From, Reply-To and Date are put in front when the message leaves.

    :param boundary: of the multipart/mixed around body and attachments, None without attachments
    :param unsubscribe: the address by which readers get no more of it, with a placeholder for their token; its line is
        the first, so that the placeholder in it is the first that there can be
    """
    content = (
        body.fields if boundary is None else f'Content-Type: multipart/mixed;\r\n boundary="{boundary}"\r\n'.encode()
    )
    lines = [
        unsubscribe_header(unsubscribe) if unsubscribe else b"",
        address_header("To", to) if to or cc else b"To: undisclosed-recipients:;\r\n",
        address_header("Cc", cc),
        text_header("Subject", subject),
        f"Message-ID: {message_id}\r\n".encode(),
        b"MIME-Version: 1.0\r\n",
        b"Auto-Submitted: auto-generated\r\n",  # RFC 3834: no vacation notice, please
        content,
    ]
    return b"".join(lines)


@lru_cache(maxsize=8)
def unsubscribe_header(address: str) -> bytes:
    """How a mail program lets its reader unsubscribe (RFC 2369, 3.2), with one click where it may (RFC 8058).

    :param address: ASCII
    """
    name = "List-Unsubscribe:"
    line = f"{name} <{address}>"
    if len(line) > LINE:
        line = f"{name}\r\n <{address}>"
    one_click = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" if _is_secure(address) else ""
    return f"{line}\r\n{one_click}".encode("ascii")


def _is_secure(address: str) -> bool:
    """Whether a token on its way there can be read by nobody: RFC 8058, 3.1 wants that. Or it stays on this machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"}


@lru_cache(maxsize=64)
def text_header(name: str, value: str) -> bytes:
    """An unstructured header, encoded (RFC 2047) and folded; the last ones are remembered: many messages share one.

    :raises ValueError: the value has a line break or another control character
    """
    if CONTROL.search(value):
        raise ValueError(f"{name} has a line break or control character")
    charset = "us-ascii" if _stands_as_it_is(value) else "utf-8"
    folded = Header(value, charset, maxlinelen=76, header_name=name).encode(linesep="\r\n")
    return f"{name}: {folded}\r\n".encode("ascii")


def _stands_as_it_is(value: str) -> bool:
    """Whether a text needs no encoding: ASCII, nothing that looks encoded, and every piece short enough to fold."""
    plain = value.isascii() and "=?" not in value and "  " not in value and value == value.strip()
    return plain and max(map(len, value.split(" "))) <= LINE - len("Subject: ")


def address_header(name: str, addresses: Iterable[Address]) -> bytes:
    """A header of mailboxes, folded between them; empty for nobody.

    A non-ASCII local part stands as it is, in UTF-8 (RFC 6532): such a message needs SMTPUTF8 anyway.
    """
    mailboxes = [mailbox(address) for address in addresses]
    joined = ",\r\n ".join(mailboxes)
    return f"{name}: {joined}\r\n".encode() if mailboxes else b""


def mailbox(address: Address) -> str:
    """A mailbox as it stands in a header, its display name encoded (RFC 2047) and folded.

    :raises ValueError: a line break or another control character
    """
    if CONTROL.search(address.name + address.mailbox):
        raise ValueError("an address has a line break or control character")
    if not address.name:
        return address.mailbox
    if address.name.isascii() and "=?" not in address.name and len(str(address)) <= LINE - 5:
        return str(address)
    name = Header(address.name, "utf-8", maxlinelen=76, header_name="To").encode(linesep="\r\n")
    return f"{name}\r\n <{address.mailbox}>"
