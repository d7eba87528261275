"""Changing what was composed: texts and headers that tell of somebody who is erased.

Only what :mod:`notify.rendering.mime` has written is understood; the structure stays, so that headers which name its
boundary stay true.
"""

from __future__ import annotations

import quopri
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from email.errors import HeaderParseError
from email.header import decode_header, make_header

from notify.domain.address import Address
from notify.rendering import mime
from notify.rendering.mime import CRLF

Change = Callable[[str], str]

_BOUNDARY = re.compile(rb"--(=_[0-9a-f]{32})\r\n")
_ENCODING = re.compile(rb"^Content-Transfer-Encoding: (\S+)\r$", re.MULTILINE | re.IGNORECASE)
_FIELD = re.compile(rb"([!-9;-~]+):[ ]?((?:.|\r\n[ \t])*)\r\n")


def rewrite_body(fields: bytes, body: bytes, change: Change) -> bytes:
    """A body whose texts are changed.

    :param fields: the header lines that belong to it; where it is the first part of a multipart/mixed, it has its own
    :param body: as the outbox keeps it
    :param change: what to make of each text
    """
    if body.lower().startswith(b"content-type:"):
        own, _, content = body.partition(CRLF + CRLF)
        return own + CRLF + CRLF + rewrite_body(own + CRLF, content, change)
    if found := _BOUNDARY.match(body):
        mark = b"--" + found[1]
        head, *parts, tail = body.split(mark)
        return mark.join([head, *(_rewrite_part(part, change) for part in parts), tail])
    return _rewrite_text(fields, body, change)


def _rewrite_part(part: bytes, change: Change) -> bytes:
    """A part with the line ends around it."""
    fields, _, content = part.partition(CRLF + CRLF)
    text = _rewrite_text(fields + CRLF, content.removesuffix(CRLF), change)
    return fields + CRLF + CRLF + text + CRLF


def _rewrite_text(fields: bytes, content: bytes, change: Change) -> bytes:
    found = _ENCODING.search(fields)
    encoding = found[1].lower() if found else b"7bit"
    if encoding == b"base64":
        before = b64decode(content)
    elif encoding == b"quoted-printable":
        before = quopri.decodestring(content)
    else:
        before = content
    text = before.decode("utf-8", "surrogateescape")
    changed = change(text)
    if changed == text:
        return content
    data = changed.encode("utf-8", "surrogateescape")
    if encoding == b"base64":
        return mime.base64_lines(data)
    return mime.quoted_printable(data) if encoding == b"quoted-printable" else data


def rewrite_headers(headers: bytes, to: Iterable[Address], cc: Iterable[Address], change: Change) -> bytes:
    """The headers of a message for other recipients than before.

    :param to: those that remain
    :param cc: likewise
    :param change: what to make of the subject, and of all else that is text
    """
    to, cc = list(to), list(cc)
    lines = []
    for found in _FIELD.finditer(headers):
        name = found[1].decode().lower()
        if name == "to":
            lines.append(mime.address_header("To", to) if to or cc else b"To: undisclosed-recipients:;\r\n")
        elif name == "cc":
            lines.append(mime.address_header("Cc", cc))
        elif name == "subject":
            lines.append(_rewrite_subject(found[0], found[2], change))
        else:
            lines.append(change(found[0].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
    return b"".join(lines)


def _rewrite_subject(line: bytes, value: bytes, change: Change) -> bytes:
    folded = value.decode("ascii", "replace")
    try:
        before = str(make_header(decode_header(folded.replace("\r\n", ""))))
    except (HeaderParseError, UnicodeError, LookupError):  # not of our making
        before = folded
    changed = change(before)
    return line if changed == before else mime.text_header("Subject", changed)
