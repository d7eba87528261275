"""What stands for a token in a mail stays whole in every encoding, and each message gets its own in its place."""

from __future__ import annotations

import quopri
from datetime import UTC, date, datetime
from email import message_from_bytes, policy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.channels import wire
from notify.domain import link
from notify.domain.address import Address
from notify.domain.link import MARK, PLACEHOLDER, Purpose
from notify.domain.parcel import Addressee, Parcel
from notify.rendering import mime
from notify.rendering.rewriting import rewrite_body, rewrite_headers

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=200) | st.builds(
    lambda word, count: word * count,
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=4)
    | st.sampled_from(["x", "=", " ", ".", "ż"]),
    st.integers(1, 160),
)
TODAY = date(2026, 11, 10)
SECRET = b"of this outbox".ljust(32, b"!")
BASE = "https://air.example.com/notify"


def lines_of(text: str) -> list[bytes]:
    return text.encode().splitlines()


def check(text: str) -> mime.Body:
    """The text composed; each placeholder in it is whole, and it is read back as it was."""
    body = mime.compose_body(text)
    assert body.content.count(MARK) == text.count(PLACEHOLDER)
    assert body.content.isascii()
    quoted = b"quoted-printable" in body.fields
    assert quoted or b"7bit" in body.fields
    assert all(len(line) <= (76 if quoted else 78) for line in body.content.split(b"\r\n"))
    read = quopri.decodestring(body.content) if quoted else body.content
    assert read.splitlines() == (lines_of(text) or [b""])
    return body


@settings(max_examples=400)
@given(st.lists(TEXT, min_size=2, max_size=4))
@example(["", ""])
@example(["", "", ""])
@example(["x ", " x"])
@example(["日本語のとても長い文章" * 10, ""])
@example(["\r\n", "\n"])
@example([".", "."])
def test_in_any_text(pieces: list[str]) -> None:
    """Wherever it stands, however often, whatever is around it: it is whole, and nothing else has changed."""
    check(PLACEHOLDER.join(pieces))


@pytest.mark.parametrize("sign", ["x", "ż", "=", " "])
def test_at_every_column(sign: str) -> None:
    """It is whole behind lines of any length, and no line becomes too long."""
    for column in range(160):
        check(f"{sign * column}{PLACEHOLDER}{sign * (column % 83)}\nżółć")


@settings(max_examples=100)
@given(TEXT, TEXT)
def test_no_size_changes(before: str, after: str) -> None:
    """With a token in its place, text and HTML say the same as with the placeholder, and have the same size."""
    link_text = f"{before}{BASE}/my/{PLACEHOLDER}{after}"
    body = mime.compose_body(link_text, f"<a href='{BASE}/my/{PLACEHOLDER}'>{before}</a>{after}")
    parcel = Parcel(7, "<7@example.com>", (Addressee(0, "anna@example.com"),), body.fields, body.content)
    mine = wire.personal(parcel, SECRET, TODAY)
    token = link.make(Purpose.SETTINGS, 7, "<7@example.com>", TODAY, SECRET)
    assert len(mine.body) == len(parcel.body)
    assert MARK not in mine.body
    message = message_from_bytes(b"MIME-Version: 1.0\r\n" + mine.headers + b"\r\n" + mine.body, policy=policy.default)
    assert message.defects == []
    plain, rich = (part.get_payload(decode=True) for part in message.iter_parts())
    assert isinstance(plain, bytes)
    assert isinstance(rich, bytes)
    assert plain.splitlines() == lines_of(link_text.replace(PLACEHOLDER, token))
    assert f"{BASE}/my/{token}'".encode() in rich


@given(TEXT.filter(lambda text: PLACEHOLDER not in text))
def test_texts_without(text: str) -> None:
    """A text without a link is composed as ever, base64 where that is the smallest, and its message is left alone."""
    body = mime.compose_body(text)
    assert MARK not in body.content
    parcel = Parcel(7, "<7@example.com>", (Addressee(0, "anna@example.com"),), b"Subject: x\r\n", body.content)
    assert wire.personal(parcel, SECRET, TODAY) is parcel


# --- Headers ---------------------------------------------------------------------------------------------------------


def headers(subject: str = "Hello", base: str = BASE, unsubscribe: bool = True) -> bytes:
    return mime.compose_headers(
        message_id="<7@example.com>",
        subject=subject,
        to=[Address("anna@example.com")],
        body=mime.Body(b"Content-Type: text/plain\r\n", b""),
        unsubscribe=f"{base}/unsubscribe/{PLACEHOLDER}" if unsubscribe else None,
    )


def sent(head: bytes, *, bulk: bool = False, secret: bytes = SECRET) -> bytes:
    """The headers as they leave."""
    parcel = Parcel(7, "<7@example.com>", (Addressee(0, "anna@example.com"),), head, b"Hi\r\n", bulk=bulk)
    preface = wire.Letterhead(Address("sender@example.com")).preface(parcel, datetime.now(UTC))
    return wire.assemble(wire.personal(parcel, secret, TODAY), preface)


@pytest.mark.parametrize("length", [20, 40, 61, 62, 63, 200, 300])
def test_one_click(length: int) -> None:
    """The two headers of RFC 8058 stand once each in the message, with its own token, whole on one line."""
    base = f"https://{'a' * (length - 16)}.example"
    raw = sent(headers(base=base), bulk=True)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    message = message_from_bytes(raw, policy=policy.default)
    token = link.make(Purpose.UNSUBSCRIBE, 7, "<7@example.com>", TODAY, SECRET)
    assert [value.strip() for value in message.get_all("List-Unsubscribe", [])] == [f"<{base}/unsubscribe/{token}>"]
    assert message.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
    assert token.encode() in raw


def test_no_one_click_without_tls() -> None:
    """Where the token could be read on its way no mail program is told to send it; on this machine it may."""
    assert b"List-Unsubscribe-Post" not in headers(base="http://air.example.com")
    assert b"List-Unsubscribe:" in headers(base="http://air.example.com")
    assert b"List-Unsubscribe-Post" in headers(base="http://localhost:8080")


def test_bulk_to_many() -> None:
    """Where there is no link, bulk is unsubscribed from as before: by a mail."""
    message = message_from_bytes(sent(headers(unsubscribe=False), bulk=True), policy=policy.default)
    assert message.get_all("List-Unsubscribe") == ["<mailto:sender@example.com?subject=unsubscribe>"]
    assert message["List-Unsubscribe-Post"] is None


def test_a_subject_gets_no_token() -> None:
    """A producer who writes the placeholder into a subject gets no token there, whether or not there is a link."""
    for unsubscribe in (True, False):
        raw = sent(headers(subject=f"See {PLACEHOLDER}", unsubscribe=unsubscribe))
        assert message_from_bytes(raw, policy=policy.default)["Subject"] == f"See {PLACEHOLDER}"


def test_no_tokens_without_a_secret() -> None:
    """A channel that was given no secret makes no tokens that anybody could make."""
    assert MARK in sent(headers(), secret=b"")


# --- Texts that are changed afterwards -------------------------------------------------------------------------------


def test_rewritten() -> None:
    """Where somebody is erased from a text that others got, their links stay whole."""
    text = f"{'Zażółć gęślą jaźń ' * 5}anna@example.com {BASE}/my/{PLACEHOLDER} " + "and more " * 9
    for length in range(60):
        body = mime.compose_body("x" * length + text, f"<p>{'y' * length}{text}</p>")
        changed = rewrite_body(body.fields, body.content, lambda one: one.replace("anna@example.com", "gone@x.invalid"))
        assert changed.count(MARK) == 2
        assert all(len(line) <= 78 for line in changed.split(b"\r\n"))
    head = rewrite_headers(headers(), [Address("gone@x.invalid")], [], lambda one: one)
    assert head.startswith(wire.UNSUBSCRIBE)
    assert head.count(MARK) == 1
