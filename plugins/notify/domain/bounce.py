"""Reports of mail servers about what became of a mail (delivery status notifications, RFC 3464), read from their bytes.

Anybody can write to the mailbox that these come to. So nothing here trusts a type, a length or an encoding: a mail is
cut off at a size, taken apart in one pass without recursion (the standard library's parser goes into nested parts by
recursion, in a time that grows with their depth), and every text that leaves is short, whole and printable.
"""

from __future__ import annotations

import binascii
import hashlib
import itertools
import quopri
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from enum import StrEnum

from notify.domain.address import LONGEST_MAILBOX, parse_address
from notify.domain.blame import Blame, blame_for
from notify.domain.return_path import Bounced, read_return_path
from notify.exceptions import UnreadableMail

#: The bytes of a mail that are looked at. A report says what it has to say at its beginning; what follows is the mail
#: that came back.
LARGEST = 512 * 1024

#: Of whatever is longer, the rest is left out.
LONGEST_VALUE = 4000
LONGEST_WORDS = 500
MOST_RECIPIENTS = 200
MOST_IDS = 20
MOST_RETURN_PATHS = 10
_MOST_PARTS = 100
_MOST_LINES = 2000
_DEEPEST = 3
_LONGEST_HEADERS = 64 * 1024


class Action(StrEnum):
    """What a server says it did (RFC 3464, 2.3.3); the values stand in the database."""

    FAILED = "failed"
    DELAYED = "delayed"  #: it still tries
    DELIVERED = "delivered"
    RELAYED = "relayed"  #: handed on to a server that sends no reports
    EXPANDED = "expanded"  #: went to the members of a list


class Sort(StrEnum):
    """What a mail is that is no report of ours to read."""

    READ_RECEIPT = "read_receipt"  #: RFC 8098: says that somebody opened it
    COMPLAINT = "complaint"  #: RFC 5965: somebody pressed "this is spam"
    AUTO_REPLY = "auto_reply"  #: RFC 3834: on holiday
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What a report says of one recipient.

    :param address: the final recipient, in lower case where it is an address
    :param original: whom the mail was written to, where the server knows it
    :param status: ``5.1.1`` (RFC 3463), empty where the server gave none
    :param words: the server's, in one line
    :param code: the SMTP reply code among them
    """

    address: str
    original: str | None
    action: Action
    status: str
    words: str
    code: int | None = None

    @property
    def blame(self) -> Blame:
        """What a failure says about the address."""
        return blame_for(self.status)

    @property
    def said(self) -> str:
        """The server's words; where it had none, its status."""
        return self.words or self.status or "without a word"


@dataclass(frozen=True, slots=True)
class Report:
    """A delivery report.

    :param key: the same for the same report, however often and by whatever way it comes
    :param recipients: at least one
    :param reporter: the server that says so
    :param bounced: what the address says that it came back to, where that is one of ours; several if it bears several
    :param message_ids: of the mail it is about, the likeliest first
    """

    key: bytes
    recipients: tuple[RecipientReport, ...]
    reporter: str
    bounced: tuple[Bounced, ...]
    message_ids: tuple[str, ...]


def read_report(raw: bytes) -> Report | Sort:
    """Read a mail.

    :param raw: all of it, or its beginning
    :returns: a report, or what the mail is instead
    :raises UnreadableMail: it says that it is a report, and is none that can be read
    """
    try:
        return _read(raw[:LARGEST])
    except UnreadableMail:
        raise
    except Exception as error:  # whatever a mail can do to the standard library, it must not stop a mailbox
        raise UnreadableMail(f"The mail cannot be read ({type(error).__name__}).") from error


def _read(raw: bytes) -> Report | Sort:
    mail = _part(_with_line_feeds(raw))
    parts = list(_parts(mail))
    kinds = {part.kind for part in parts}
    if kinds & _STATUS:
        return _standard_report(mail, parts)
    if kinds & _DISPOSITION or mail.report_type == "disposition-notification":
        return Sort.READ_RECEIPT
    if "message/feedback-report" in kinds:
        return Sort.COMPLAINT
    if mail.one("X-Failed-Recipients"):
        return _old_report(mail)
    if mail.report_type == "delivery-status":
        raise UnreadableMail("The mail says that it is a delivery report, and has no part with the status.")
    by_hand = mail.one("Auto-Submitted").partition(";")[0].strip().lower() in {"", "no"}
    return Sort.OTHER if by_hand and not mail.one("X-Autoreply") else Sort.AUTO_REPLY


_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_DISPOSITION = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_RETURNED = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})

#: Where servers write down whom a mail came to.
_ENVELOPE = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "X-RCPT-TO", "To")


def _standard_report(mail: _Part, parts: Sequence[_Part]) -> Report:
    status = b"\n\n".join(part.content for part in parts if part.kind in _STATUS)
    groups = [_part(block) for block in _blocks(status)]
    found = [report for group in groups if (report := _recipient(group)) is not None]
    if not found:
        raise UnreadableMail("The delivery report names no recipient.")
    returned = [_part(part.content.lstrip(b"\n")) for part in parts if part.kind in _RETURNED]
    reporter = next((name for group in groups if (name := _typed(group.one("Reporting-MTA")))), "")
    return _report(mail, status, found, reporter, [*returned, *groups])


def _report(
    mail: _Part, status: bytes, found: Iterable[RecipientReport], reporter: str, told: Sequence[_Part]
) -> Report:
    """A report.

    :param told: where the mail that it is about, or its Message-ID, is told of
    """
    ids = [found for one in told for found in _message_ids(one.all("Message-ID", "X-Original-Message-ID"))]
    # A report may leave the mail out that it is about: then what it answers to.
    ids += _message_ids(mail.all("In-Reply-To", "References"))
    came_to = [*mail.all(*_ENVELOPE), *(path for one in told for path in one.all("Return-Path"))]
    own = "\n".join([mail.one("Message-ID"), mail.one("Date"), *ids])
    return Report(
        key=hashlib.sha256(own.encode() + b"\n" + status).digest(),
        recipients=tuple(_worst_of_each(found)),
        reporter=reporter[:LONGEST_WORDS],
        bounced=tuple(itertools.islice(dict.fromkeys(_return_paths(came_to)), MOST_RETURN_PATHS)),
        message_ids=tuple(dict.fromkeys(ids))[:MOST_IDS],
    )


# --- One recipient ---------------------------------------------------------------------------------------------------

_STATUS_CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.])", re.ASCII)
#: A reply as servers give it: ``550 5.1.1 no such user``, ``550-5.1.1 …``, or without the second code.
_REPLY = re.compile(r"(?<![\d.])([245]\d\d)(?:[ -]+#?([245]\.\d{1,3}\.\d{1,3}))?(?![\d.])", re.ASCII)

_BY_CLASS = {"2": Action.DELIVERED, "4": Action.DELAYED, "5": Action.FAILED}


def _recipient(group: _Part) -> RecipientReport | None:
    """What a group of fields says, None if it speaks of no recipient."""
    final, original = (_typed(group.one(name)) for name in ("Final-Recipient", "Original-Recipient"))
    if not (final or original):
        return None
    written = _STATUS_CODE.search(group.one("Status"))
    status = written.group() if written else ""
    words = _typed(group.one("Diagnostic-Code"))
    code, better = _reply(words)
    # "Other" is what a server says for want of a better word; then the one that refused it knows more.
    if better and (not status or status.endswith(".0.0")):
        status = better
    return RecipientReport(
        address=_mailbox(final or original),
        original=_mailbox(original) if original else None,
        action=_action(group.one("Action"), status),
        status=status,
        words=words[:LONGEST_WORDS],
        code=code,
    )


def _reply(words: str) -> tuple[int | None, str]:
    """The SMTP reply code in a server's words, and the enhanced one beside it."""
    found = _REPLY.search(words)
    if found:
        return int(found[1]), found[2] or ""
    return None, other.group() if (other := _STATUS_CODE.search(words)) else ""


def _action(text: str, status: str) -> Action:
    name = text.partition(" ")[0].rstrip(";,.").lower()
    with suppress(ValueError):
        return Action(name)
    return _BY_CLASS.get(status[:1], Action.FAILED)


_GRAVITY = (Action.FAILED, Action.DELAYED, Action.RELAYED, Action.EXPANDED, Action.DELIVERED)


def _worst_of_each(found: Iterable[RecipientReport]) -> Iterator[RecipientReport]:
    """One for each address: whoever is named twice has failed if either says so."""
    worst: dict[str, RecipientReport] = {}
    for one in found:
        known = worst.get(one.address)
        if known is None or _GRAVITY.index(one.action) < _GRAVITY.index(known.action):
            worst[one.address] = one
    return itertools.islice(worst.values(), MOST_RECIPIENTS)


# --- Reports of old, which Exim wrote before 4.89 (2017) -------------------------------------------------------------

_COPY = re.compile(rb"^-+ This is a copy of .*$", re.MULTILINE)


def _old_report(mail: _Part) -> Report:
    """A text for people, whose recipients stand in a header; what was said of each stands below its address."""
    text, _, copy = _divided(mail.content, _COPY)
    lines = text.decode("utf-8", "replace").split("\n")[:_MOST_LINES]
    addresses = [_mailbox(part.strip()) for part in mail.one("X-Failed-Recipients").split(",") if "@" in part]
    if not addresses:
        raise UnreadableMail("The delivery report names no recipient.")
    found = [_old_recipient(address, lines) for address in addresses[:MOST_RECIPIENTS]]
    return _report(mail, text, found, "", [_part(copy.lstrip(b"\n"))])


def _old_recipient(address: str, lines: Sequence[str]) -> RecipientReport:
    at = next((number for number, line in enumerate(lines) if line.strip().lower() == address), len(lines))
    told = itertools.takewhile(str.strip, lines[at + 1 : at + 12])
    words = _shown(" ".join(told))
    code, status = _reply(words.rpartition(">: ")[2])  # the address may look like a code
    return RecipientReport(address, None, Action.FAILED, status, words[:LONGEST_WORDS], code)


def _divided(content: bytes, line: re.Pattern[bytes]) -> tuple[bytes, bytes, bytes]:
    found = line.search(content)
    return (content[: found.start()], found.group(), content[found.end() :]) if found else (content, b"", b"")


# --- Values ----------------------------------------------------------------------------------------------------------

_ID = re.compile(r"<[^<>\s]{1,990}>")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


def _decoded(text: str) -> str:
    """A header with its encoded words decoded, as far as they can be."""
    if "=?" in text:
        with suppress(MessageError, LookupError, ValueError):
            return str(make_header(decode_header(text)))
    return text


def _shown(text: str) -> str:
    """One line that a database and a terminal can take: no control characters, no half characters, no tricks."""
    return " ".join("".join(one if one.isprintable() else " " for one in text[:LONGEST_VALUE]).split())


def _typed(value: str) -> str:
    """What stands behind its type: ``rfc822; anna@example.com``."""
    kind, semicolon, rest = value.partition(";")
    return rest.strip() if semicolon else kind.strip()


def _mailbox(text: str) -> str:
    """An address as we write it; what is none is kept as it is, for people to read."""
    plain = _ESCAPED.sub(_unescaped, text.strip().removeprefix("<").removesuffix(">"))[:LONGEST_MAILBOX].lower()
    with suppress(ValueError):
        return parse_address(plain).key
    return _shown(plain)


def _unescaped(found: re.Match[str]) -> str:
    """A character of an internationalised address (RFC 6533, 3)."""
    number = int(found[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else found.group()


def _message_ids(values: Iterable[str]) -> Iterator[str]:
    return (found for value in values for found in _ID.findall(value)[:MOST_IDS])


def _return_paths(values: Iterable[str]) -> Iterator[Bounced]:
    for value in values:
        for word in value.replace(",", " ").split()[:MOST_IDS]:
            if bounced := read_return_path(word):
                yield bounced


# --- Taking a mail apart ---------------------------------------------------------------------------------------------


class _Tame(Compat32):
    """Headers as plain, short texts, whatever their bytes; the modern policies parse them, at a cost without bound."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, _, value = sourcelines[0].partition(":")
        text = (value + "".join(sourcelines[1:]))[: 2 * LONGEST_VALUE]
        return name, text.replace("\n", "").strip(" \t\r")

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002 - its name is the policy's
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:LONGEST_VALUE]


_POLICY = _Tame()


def _with_line_feeds(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@dataclass(frozen=True, slots=True)
class _Part:
    """A mail, or a part of one: its headers, and what follows them as it came."""

    headers: Message
    body: bytes

    def all(self, *names: str) -> list[str]:
        """The headers of these names, decoded; in the order of the names."""
        return [_shown(_decoded(str(text))) for name in names for text in self.headers.get_all(name, [])]

    def one(self, name: str) -> str:
        """The first header of this name, empty if there is none."""
        return next(iter(self.all(name)), "")

    @property
    def kind(self) -> str:
        return self.headers.get_content_type()

    @property
    def report_type(self) -> str:
        value = self.headers.get_param("report-type") if self.kind == "multipart/report" else None
        return value.lower() if isinstance(value, str) else ""

    @property
    def content(self) -> bytes:
        """The body, its transfer encoding undone."""
        match self.one("Content-Transfer-Encoding").lower():
            case "base64":
                with suppress(binascii.Error):
                    return _with_line_feeds(binascii.a2b_base64(self.body + b"=="))
            case "quoted-printable":
                return _with_line_feeds(quopri.decodestring(self.body))
        return self.body


def _part(raw: bytes) -> _Part:
    headers, _, body = (b"", b"", raw[1:]) if raw.startswith(b"\n") else raw.partition(b"\n\n")
    parser = BytesParser(policy=_POLICY)
    return _Part(parser.parsebytes(headers[:_LONGEST_HEADERS] + b"\n\n", headersonly=True), body)


def _parts(mail: _Part) -> Iterator[_Part]:
    """The parts that have none themselves, in order; what is nested deeper than any server does it is left whole."""
    found = 0
    open_ones: list[tuple[_Part, int]] = [(mail, 0)]
    while open_ones and found < _MOST_PARTS:
        part, depth = open_ones.pop()
        boundary = part.headers.get_boundary() if part.headers.get_content_maintype() == "multipart" else None
        if not boundary or depth == _DEEPEST:
            found += 1
            yield part
            continue
        inner = itertools.islice(_split(part.body, boundary.encode("utf-8", "surrogateescape")), _MOST_PARTS)
        open_ones += [(_part(one), depth + 1) for one in inner][::-1]


def _split(content: bytes, boundary: bytes) -> Iterator[bytes]:
    """The parts between the lines of a boundary."""
    opening, closing = b"--" + boundary, b"--" + boundary + b"--"
    begin, place = -1, 0
    while place <= len(content):
        end = content.find(b"\n", place)
        end = len(content) if end < 0 else end
        if content.startswith(opening, place):
            line = content[place:end].rstrip()
            if line in (opening, closing):
                if begin >= 0:
                    yield content[begin : max(begin, place - 1)]
                begin = end + 1
                if line == closing:
                    return
        place = end + 1
    if 0 <= begin < len(content):
        yield content[begin:]  # cut off


def _blocks(content: bytes) -> Iterable[bytes]:
    """Groups of fields, with blank lines between them."""
    lines = (line if line.strip() else b"" for line in content.split(b"\n"))
    blocks = b"\n".join(lines).split(b"\n\n")
    return itertools.islice((block.strip(b"\n") for block in blocks if block.strip()), 2 * MOST_RECIPIENTS)
