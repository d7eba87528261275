"""The address that a mail comes back to says which message it was, and cannot be made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.address import parse_address
from notify.domain.return_path import LONGEST_LOCAL, Bounced, fits, read_return_path, return_path

MAILBOX = "bounces@example.com"
MESSAGE_ID = "<8f14e45f@mail.example.com>"
SECRET = b"of the outbox"


def test_the_address_is_stable() -> None:
    """The form is a promise: mails that are under way come back to it after an upgrade."""
    assert return_path(MAILBOX, 42, MESSAGE_ID, SECRET) == "bounces+42-f8438aa77f@example.com"


@given(number=st.integers(1, 2**63 - 1), message_id=st.text(min_size=1))
def test_what_was_written_is_read(number: int, message_id: str) -> None:
    """The address tells its number, and fits its Message-ID."""
    address = return_path(MAILBOX, number, message_id.encode("utf-8", "replace").decode(), SECRET)
    bounced = read_return_path(address)
    assert bounced is not None
    assert bounced.number == number
    assert fits(bounced, message_id.encode("utf-8", "replace").decode(), SECRET)
    assert parse_address(address).mailbox == address


def test_another_message_id_does_not_fit() -> None:
    """Who knows a number alone cannot forge a bounce."""
    bounced = read_return_path(return_path(MAILBOX, 42, MESSAGE_ID, SECRET))
    assert bounced is not None
    assert not fits(bounced, "<other@mail.example.com>", SECRET)


def test_another_secret_does_not_fit() -> None:
    """Who knows number and Message-ID cannot forge a bounce either: the secret is missing."""
    bounced = read_return_path(return_path(MAILBOX, 42, MESSAGE_ID, SECRET))
    assert bounced is not None
    assert not fits(bounced, MESSAGE_ID, b"")
    assert not fits(bounced, MESSAGE_ID, b"another")


@pytest.mark.parametrize(
    "address",
    [
        "bounces+42-d67b48f9de@example.com",
        "<bounces+42-d67b48f9de@example.com>",
        " BOUNCES+42-D67B48F9DE@EXAMPLE.COM ",
        "prvs=0123456789=bounces+42-d67b48f9de@example.com",
        "bounces+prod+42-d67b48f9de@example.com",
    ],
)
def test_servers_change_addresses(address: str) -> None:
    """Brackets, capitals, and what servers put in front, make no difference."""
    assert read_return_path(address) == Bounced(42, "d67b48f9de")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bounces@example.com",
        "bounces+42@example.com",
        "bounces+42-d67b48f9d@example.com",
        "bounces+42-d67b48f9def@example.com",
        "bounces+0-d67b48f9de@example.com",
        "bounces+-1-d67b48f9de@example.com",
        "bounces+9223372036854775808-d67b48f9de@example.com",
        "bounces+42-d67b48f9dg@example.com",
        "bounces+٤٢-d67b48f9de@example.com",
        "bounces+42-d67b48f9de@a@b",
        "x" * 2000 + "+42-d67b48f9de@example.com",
    ],
)
def test_what_is_none_of_ours(address: str) -> None:
    """Any other address is none of ours, and no error."""
    assert read_return_path(address) is None


@pytest.mark.parametrize("mailbox", ["", "bounces", "@example.com", "bounces@", f"{'b' * 34}@example.com"])
def test_a_mailbox_without_room(mailbox: str) -> None:
    """A mailbox that cannot be a return path is refused at the first message, and not at the millionth."""
    with pytest.raises(ValueError, match=r"mailbox|return path"):
        return_path(mailbox, 1, MESSAGE_ID, SECRET)


def test_the_longest_mailbox_has_room() -> None:
    """The largest number fits behind the longest mailbox."""
    address = return_path(f"{'b' * 33}@example.com", 2**63 - 1, MESSAGE_ID, SECRET)
    assert len(address.partition("@")[0]) == LONGEST_LOCAL
