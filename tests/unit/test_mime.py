"""Composed messages, taken apart again by the standard library."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses, parseaddr
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.channels.wire import Letterhead, assemble, on_wire
from notify.domain.address import CONTROL, Address, parse_address
from notify.domain.parcel import Addressee, Enclosure, Parcel
from notify.rendering import mime

#: Text as people and templates write it: anything but half a surrogate pair, and lines of any length.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=300) | st.builds(
    lambda word, count: word * count,
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8),
    st.integers(1, 400),
)
#: What may become a header: no control characters; and bits that mean something there.
LINE = (
    st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20)
        | st.sampled_from(
            ["=?utf-8?q?x?=", "=?", "?=", " ", "  ", ",", ";", ":", "<", ">", '"', "\\", "(", ")", "@", "x" * 100]
        ),
        max_size=12,
    )
    .map("".join)
    .map(str.strip)
    .filter(lambda text: not CONTROL.search(text))
)
MAILBOXES = st.sampled_from(
    [
        "anna@example.com",
        "o'neil+tag@example.com",
        "x@localhost",
        f"{'x' * 60}@{'d' * 60}.example",
        "a@xn--bcher-kva.example",
    ]
)
ADDRESSES = st.builds(Address, MAILBOXES, LINE.map(lambda name: name[:200].strip()))


def compose(
    subject: str = "Hello",
    text: str = "Hi",
    *,
    html: str | None = None,
    to: list[Address] | None = None,
    cc: list[Address] | None = None,
    enclosures: tuple[Enclosure, ...] = (),
) -> bytes:
    """A whole message as it travels, put together as hand-over and channel do."""
    body = mime.compose_body(text, html)
    boundary = mime.new_boundary() if enclosures else None
    message_id = mime.new_message_id("example.com")
    headers = mime.compose_headers(
        message_id=message_id,
        subject=subject,
        to=[Address("anna@example.com")] if to is None else to,
        cc=cc or [],
        body=body,
        boundary=boundary,
    )
    content = mime.as_first_part(body) if enclosures else body.content
    parcel = Parcel(
        1,
        message_id,
        (Addressee(0, "anna@example.com"),),
        headers,
        content,
        enclosures=enclosures,
        boundary=boundary,
    )
    return assemble(parcel, b"From: sender@example.com\r\n")


def read(raw: bytes) -> EmailMessage:
    """The message, parsed; it must be sound."""
    check_lines(raw)
    message = message_from_bytes(raw, policy=policy.default)
    for part in message.walk():
        assert part.defects == []
        for name, value in part.items():
            assert value.defects == (), name
    return message


def check_lines(raw: bytes) -> None:
    """Lines end in CRLF, have at most 998 bytes, and are 7-bit; a header has no blank continuation line."""
    lines = raw.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)
    assert raw.isascii()
    assert b"\0" not in raw
    assert all(line.strip() for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n"))
    assert on_wire(raw).endswith(b"\r\n.\r\n")


def names(message: EmailMessage) -> list[str]:
    """The names of the headers, in order."""
    return list(message.keys())


def people(raw: bytes, header: str) -> list[tuple[str, str]]:
    """Names and mailboxes in a header.

    Not by the modern policy: Python 3.11 puts a blank between two encoded words of a name, which RFC 2047 (6.2) says to
    drop (2026-11).
    """
    value = message_from_bytes(raw).get(header, "").replace("\r\n", "")
    return [(str(make_header(decode_header(name))), mailbox) for name, mailbox in getaddresses([value]) if mailbox]


HEADERS = ["From", "To", "Subject", "Message-ID", "MIME-Version", "Auto-Submitted"]


def same_text(part: EmailMessage | None, text: str) -> bool:
    """Whether a part says the text; how its lines end is the transport's business."""
    assert part is not None
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.splitlines() == (text.encode().splitlines() or [b""])


# --- Every shape -----------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(LINE, TEXT)
@example("", "")
@example("x" * 1100, "x" * 1100)
@example("é" * 900, ".\r\n..\rFrom x\n\n")
def test_plain_text(subject: str, text: str) -> None:
    """A plain message is read back with its subject and its text, whatever they hold."""
    message = read(compose(subject, text))
    assert names(message) == [*HEADERS, "Content-Type", "Content-Transfer-Encoding"]
    assert message["Subject"] == subject
    assert message.get_content_type() == "text/plain"
    assert same_text(message, text)


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT)
def test_alternatives(text: str, html: str) -> None:
    """Text and HTML are alternatives, the better one last, each read back as it was."""
    message = read(compose(text=text, html=html))
    assert names(message) == [*HEADERS, "Content-Type"]
    plain, rich = message.iter_parts()
    assert message.get_content_type() == "multipart/alternative"
    assert (plain.get_content_type(), rich.get_content_type()) == ("text/plain", "text/html")
    assert same_text(plain, text)
    assert same_text(rich, html)


@settings(max_examples=100, deadline=None)
@given(TEXT, st.none() | TEXT, st.lists(st.tuples(LINE, st.binary(max_size=300)), min_size=1, max_size=3))
def test_attachments(text: str, html: str | None, files: list[tuple[str, bytes]]) -> None:
    """Attachments follow the text, in order, with their names and their bytes."""
    enclosures = tuple(Enclosure(name or "x", "application/pdf", content) for name, content in files)
    message = read(compose(text=text, html=html, enclosures=enclosures))
    assert message.get_content_type() == "multipart/mixed"
    body, *parts = message.iter_parts()
    first = body if html is None else next(body.iter_parts())
    assert same_text(first, text)
    assert [part.get_payload(decode=True) for part in parts] == [content for _, content in files]
    # Not get_filename(): it takes away quotes that belong to the name (Python 3.11, 2026-11).
    named = [part["Content-Disposition"].params["filename"] for part in parts]
    assert named == [one.filename for one in enclosures]


@settings(max_examples=100, deadline=None)
@given(st.lists(ADDRESSES, min_size=1, max_size=5), st.lists(ADDRESSES, max_size=3))
def test_recipients(to: list[Address], cc: list[Address]) -> None:
    """To and Cc name exactly those that they should, with any display names, in order."""
    raw = compose(to=to, cc=cc)
    message = read(raw)
    for header, addresses in (("To", to), ("Cc", cc)):
        found = [] if message[header] is None else message[header].addresses
        assert [one.addr_spec for one in found] == [address.mailbox for address in addresses]
        assert people(raw, header) == [(address.name, address.mailbox) for address in addresses]


def test_nobody_to_show() -> None:
    """A message with blind copies only shows no recipient and is still whole; Cc alone needs no stand-in."""
    assert read(compose(to=[]))["To"] == "undisclosed-recipients:;"
    alone = read(compose(to=[], cc=[Address("bob@example.com")]))
    assert alone["Cc"] == "bob@example.com"


@given(st.lists(ADDRESSES, max_size=4))
def test_headers_are_folded(to: list[Address]) -> None:
    """A line of To is no longer than 78 characters unless a single mailbox is."""
    for line in mime.address_header("To", to).split(b"\r\n"):
        assert len(line) <= 78 or len(line.split()) <= 2


@given(LINE)
def test_subject_lines_are_short(subject: str) -> None:
    """A subject is folded into lines of at most 78 characters."""
    assert all(len(line) <= 78 for line in mime.text_header("Subject", subject).split(b"\r\n"))


# --- Nothing is smuggled in ------------------------------------------------------------------------------------------

EVIL = [
    "a\r\nBcc: eve@example.com",
    "a\nBcc: eve@example.com",
    "a\rBcc: eve@example.com",
    "a\x0bBcc : eve",
    "a\x0c\x0cbody",
    "a\x1cBcc : eve",
    "a\x85Bcc: eve",
    "a\u2028Bcc: eve",
    "a\x00b",
]


@pytest.mark.parametrize("evil", EVIL)
def test_no_subject_smuggles(evil: str) -> None:
    """A subject with anything that somebody might take for a line's end is refused."""
    with pytest.raises(ValueError, match="line break or control character"):
        mime.text_header("Subject", evil)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("field", ["name", "mailbox"])
def test_no_address_smuggles(evil: str, field: str) -> None:
    """An address that got past the door with a line's end is refused still."""
    address = Address("anna@example.com", evil) if field == "name" else Address(f"{evil}@example.com")
    with pytest.raises(ValueError, match="line break or control character"):
        mime.address_header("To", [address])


@given(st.text(max_size=40), st.text(max_size=40))
def test_headers_are_ours_alone(subject: str, name: str) -> None:
    """Any subject and any name are refused, or leave the list of headers as it is."""
    try:
        raw = compose(subject, to=[Address("anna@example.com", name)])
    except ValueError:
        return
    assert names(message_from_bytes(raw)) == [*HEADERS, "Content-Type", "Content-Transfer-Encoding"]


@given(TEXT)
def test_text_does_not_end_a_part(text: str) -> None:
    """A text that repeats a boundary it has seen does not end its part: each message has a boundary of its own."""
    seen = compose(text=text, html="x").decode()
    again = read(compose(text=seen, html=seen))
    assert [part.get_content_type() for part in again.iter_parts()] == ["text/plain", "text/html"]
    assert mime.new_boundary() != mime.new_boundary()


def test_half_a_surrogate_pair() -> None:
    """Text that no encoding can carry is an error, not a mail with holes."""
    with pytest.raises(UnicodeEncodeError):
        mime.compose_body("a\ud800")
    with pytest.raises(UnicodeEncodeError):
        mime.compose_body("a", "b\udfff")


# --- Other alphabets -------------------------------------------------------------------------------------------------


def test_international_domain() -> None:
    """A domain in another alphabet travels as ASCII, so that the message needs no SMTPUTF8."""
    raw = compose(to=[parse_address("Jürgen <info@bücher.example>")])
    assert read(raw)["To"].addresses[0].addr_spec == "info@xn--bcher-kva.example"


def test_international_mailbox() -> None:
    """A local part in another alphabet stands in UTF-8, its display name encoded; nothing else is 8-bit."""
    header = mime.address_header("To", [Address("łukasz@example.com", "Łukasz"), Address("x@example.com")])
    assert header.decode().replace("łukasz", "").isascii()
    assert "<łukasz@example.com>" in header.decode()
    found = message_from_bytes(header + b"\r\n", policy=policy.SMTPUTF8)["To"].addresses
    assert [one.display_name for one in found] == ["Łukasz", ""]


@pytest.mark.parametrize("name", ["Zoë", "Nowak, Anna", "=?utf-8?q?x?=", 'A "B" C', "Ł" * 200])
def test_reply_to_is_encoded_once(name: str) -> None:
    """A Reply-To kept with a message is read as its writer meant it when it leaves."""
    kept = str(Address("help@example.com", name))
    parcel = Parcel(1, "<1@example.com>", (Addressee(0, "anna@example.com"),), b"", b"", reply_to=kept)
    preface = Letterhead(Address("sender@example.com")).preface(parcel, datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert people(preface + b"\r\n", "Reply-To") == [(name, "help@example.com")]


# --- Encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("short and plain\n", "7bit"),
        ("x" * 79, "quoted-printable"),
        ("Zażółć, " + "plain words " * 10, "quoted-printable"),
        ("日本語のとても長い文章" * 10, "base64"),
        ("NUL \x00 is carried", "quoted-printable"),
    ],
)
def test_smallest_encoding(text: str, encoding: str) -> None:
    """Plain text travels as it is, mostly plain text readably, the rest in base64."""
    body = mime.compose_body(text)
    assert f"Content-Transfer-Encoding: {encoding}\r\n".encode() in body.fields
    assert all(len(line) <= 78 for line in body.content.split(b"\r\n"))


@given(st.binary(max_size=500))
def test_base64_lines(data: bytes) -> None:
    """Base64 comes in lines of at most 76 characters, each ended, and means the same bytes."""
    import base64

    lines = mime.base64_lines(data)
    assert base64.b64decode(lines) == data
    assert lines == b"" or lines.endswith(b"\r\n")
    assert all(len(line) <= 76 for line in lines.split(b"\r\n"))


def test_message_ids_cannot_be_foretold() -> None:
    """Whoever knows what Python's random numbers will be knows no Message-ID: the generator gives the same twice."""
    random.seed(7)
    first = mime.new_message_id("example.com")
    random.seed(7)
    second = mime.new_message_id("example.com")
    tails = [one.strip("<>").partition("@")[0] for one in (first, second)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", tail) for tail in tails)
    assert not set(tails[0].split(".")) & set(tails[1].split("."))


def test_message_ids_differ() -> None:
    """Message-IDs are well formed, end in the domain asked for, and no two are alike."""
    ids = [mime.new_message_id("example.com") for _ in range(100)]
    assert all(re.fullmatch(r"<[^<>@\s]+@example\.com>", one) for one in ids)
    assert all(one != other for one, other in pairwise(sorted(ids)))
    assert parseaddr(ids[0])[1].endswith("@example.com")
