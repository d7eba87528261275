"""Messages as they are stored: read back by the standard library, and whole or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any

from tests.fuzz.stage import Stage

#: The headers that a stored message has: no other can be brought in.
HEADERS = frozenset(
    {"to", "cc", "subject", "message-id", "mime-version", "auto-submitted", "content-type", "content-transfer-encoding"}
)

STORED = """
    select m.id, m.kind, m.subject, m.case_id, m.headers, m.boundary, m.size, c.body, m.status
    from notify.messages m join notify.contents c on c.id = m.content_id where m.id = any(:ids) order by m.id
"""
REACHED = (
    "select message_id, role, address from notify.recipients where message_id = any(:ids) order by message_id, position"
)


def parsed(headers: bytes, body: bytes) -> EmailMessage:
    """As a mail program that knows SMTPUTF8 reads it."""
    found = message_from_string((headers + b"\r\n" + body).decode("utf-8"), policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def _closed(part: bytes, boundary: bytes) -> bytes:
    """The first part of a multipart as it travels when nothing is attached to it."""
    return b"--" + boundary + b"\r\n" + part + b"\r\n--" + boundary + b"--\r\n"


def mails_whole(stage: Stage, ids: Iterable[int], *, headers: frozenset[str] = HEADERS) -> Iterator[str]:
    """What is wrong with stored messages, whoever stored them.

    :param headers: that they may have
    """
    numbers = list(ids)
    reached: dict[int, list[Any]] = {number: [] for number in numbers}
    for row in stage.rows(REACHED, ids=numbers):
        reached[row.message_id].append(row)
    found = stage.rows(STORED, ids=numbers)
    if len(found) != len(set(numbers)):
        yield "not every message is there"
    for row in found:
        mail = _read(row)
        names = [name.lower() for name in mail.keys()]  # noqa: SIM118 - a name may stand there twice
        if len(names) != len(set(names)) or not set(names) <= headers:
            yield "it has a header of its own"
        lines = row.headers.split(b"\r\n")
        if not all(len(line) <= 998 and (line.isascii() or b"@" in line) for line in lines):
            yield "its headers have a line that no server has to take"
        if mail.defects or any(part.defects for part in mail.walk() if row.boundary is None):
            yield f"its MIME has defects: {mail.defects!r:.80}"
        if str(mail["Subject"]) != row.subject:
            yield "its subject reads differently"
        yield from _addressed(mail, reached[row.id])


def _addressed(mail: EmailMessage, rows: Iterable[Any]) -> Iterator[str]:
    for role in ("to", "cc"):
        header = mail[role]
        written = {str(one.addr_spec) for one in header.addresses} if header is not None else set()
        if written != {row.address for row in rows if row.role == role}:
            yield f"its {role} names others than it is for"


def _read(row: Any) -> EmailMessage:
    return parsed(row.headers, row.body if row.boundary is None else _closed(row.body, row.boundary.encode()))


def bodies(row: Any) -> tuple[str, str]:
    """Plain text and HTML of a stored message."""
    mail = _read(row)
    found = [mail.get_body((kind,)) for kind in ("plain", "html")]
    text, page = (str(part.get_content()) if part is not None else "" for part in found)
    return text, page
