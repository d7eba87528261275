"""Tokens in mails: what they say is read back, and nobody but the outbox can make one."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notify.domain import link
from notify.domain.link import LIFE, MARK, PLACEHOLDER, Purpose

NUMBERS = st.integers(1, 2**63 - 1)
DAYS = st.dates(date(2020, 1, 1), date(2200, 1, 1))
SECRETS = st.binary(min_size=32, max_size=32)
IDS = st.text(max_size=80).map(lambda text: f"<{text}@example.com>".encode("utf-8", "replace").decode())
PURPOSES = st.sampled_from(Purpose)
SECRET = b"s" * 32
TODAY = date(2026, 11, 10)


def token(purpose: Purpose = Purpose.SETTINGS, number: int = 42, message_id: str = "<a@b>") -> str:
    return link.make(purpose, number, message_id, TODAY, SECRET)


@given(PURPOSES, NUMBERS, IDS, DAYS, SECRETS)
@example(Purpose.SETTINGS, 1, "", date(2020, 1, 1), b"\0" * 32)
def test_there_and_back(purpose: Purpose, number: int, message_id: str, sent: date, secret: bytes) -> None:
    """A token is as long as what stands for it, needs no encoding in an address, and says what was put into it."""
    made = link.make(purpose, number, message_id, sent, secret)
    assert len(made) == len(PLACEHOLDER) == 40
    assert all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in made)
    read = link.read(made)
    assert read is not None
    assert (read.number, read.until) == (number, sent + LIFE[purpose])
    assert link.fits(read, purpose, message_id, sent, secret)


@given(PURPOSES, NUMBERS, st.integers(0, 39), st.sampled_from("ABCxyz019-_"))
def test_nobody_makes_one_up(purpose: Purpose, number: int, place: int, other: str) -> None:
    """A token of which one sign was changed fits nothing, whichever it was."""
    made = token(purpose, number)
    changed = made[:place] + other + made[place + 1 :]
    read = link.read(changed)
    assert changed == made or read is None or not link.fits(read, purpose, "<a@b>", TODAY, SECRET)


def test_what_it_is_bound_to() -> None:
    """A token fits for its own purpose, message and secret alone."""
    read = link.read(token())
    assert read is not None
    assert link.fits(read, Purpose.SETTINGS, "<a@b>", TODAY, SECRET)
    assert not link.fits(read, Purpose.UNSUBSCRIBE, "<a@b>", TODAY, SECRET)
    assert not link.fits(read, Purpose.SETTINGS, "<other@b>", TODAY, SECRET)
    assert not link.fits(read, Purpose.SETTINGS, "<a@b>", TODAY, b"t" * 32)


@pytest.mark.parametrize("purpose", Purpose)
def test_expiry(purpose: Purpose) -> None:
    """A token is good until the end of its last day, and not on the next."""
    read = link.read(token(purpose))
    assert read is not None
    last = TODAY + LIFE[purpose]
    assert link.fits(read, purpose, "<a@b>", last, SECRET)
    assert not link.fits(read, purpose, "<a@b>", last + timedelta(days=1), SECRET)


def test_to_unsubscribe_is_possible_for_long() -> None:
    """Whoever gets a mail can unsubscribe for at least the 60 days that the strictest law asks for."""
    assert LIFE[Purpose.UNSUBSCRIBE] >= timedelta(days=60)
    assert LIFE[Purpose.SETTINGS] == timedelta(days=90)


@given(st.text(max_size=60))
@example("")
@example("A" * 40)
@example("_" * 40)
@example("A" * 39 + "=")
@example("A" * 40 + "\n")
@example("Ä" * 40)
@example("٠" * 40)
def test_any_text(text: str) -> None:
    """Whatever stands in an address is read, or is none, without an error."""
    read = link.read(text)
    assert read is None or not link.fits(read, Purpose.SETTINGS, "<a@b>", TODAY, SECRET)


def test_the_placeholder() -> None:
    """What stands for a token has a sign that base64 has not, so no attachment and no encoded text holds it."""
    assert PLACEHOLDER.encode() == MARK
    assert set(PLACEHOLDER) & set("-_")
    read = link.read(PLACEHOLDER)
    assert read is None or not link.fits(read, Purpose.SETTINGS, "<a@b>", TODAY, SECRET)
