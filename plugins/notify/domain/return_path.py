"""Where a mail that cannot be delivered comes back to: an address that says which message it was (VERP).

``bounces@example.com`` becomes ``bounces+42-1f0e9a7b3c@example.com`` for message 42. What follows the dash is made of
the Message-ID and a secret of the outbox, so nobody can make it up. A Message-ID alone is no secret: answers, archives
and lists show it to others. The address is seen by the servers on the way and by whoever gets the mail (its header
Return-Path).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

#: Octets of a local part (RFC 5321, 4.5.3.1.1).
LONGEST_LOCAL = 64

#: What the register's numbers (a bigint) and the check need, with the signs between them.
_LARGEST = 2**63 - 1
_CHECKED = 10
_ADDED = len(f"+{_LARGEST}-") + _CHECKED

# At the end, for servers put things in front (BATV's prvs=…); in either case, for servers change it.
_ADDRESS = re.compile(rf".*\+([1-9][0-9]{{0,18}})-([0-9a-f]{{{_CHECKED}}})@[^@]+", re.ASCII | re.IGNORECASE | re.DOTALL)

#: The longest address that is looked at (RFC 5321, 4.5.3.1.3, and room for what servers put in front).
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Bounced:
    """What the address says that a mail came back to.

    :param number: of the message in the register
    :param check: what must fit its Message-ID, see :func:`fits`
    """

    number: int
    check: str


def return_path(mailbox: str, number: int, message_id: str, secret: bytes) -> str:
    """The address that a message comes back to.

    :param mailbox: the mailbox that is read for bounces, ``local@domain``; its server must take ``local+anything``
    :param number: of the message in the register
    :param message_id: its Message-ID
    :param secret: the outbox's
    :raises ValueError: the mailbox is no address, or has no room for what is added
    """
    local, at, domain = mailbox.rpartition("@")
    if not (local and at and domain):
        raise ValueError(f"{mailbox!r} is no mailbox: write it as bounces@example.com")
    if len(local.encode()) > LONGEST_LOCAL - _ADDED:
        raise ValueError(
            f"{mailbox!r} is too long to be a return path: "
            f"what stands before the at sign may have {LONGEST_LOCAL - _ADDED} octets"
        )
    return f"{local}+{number}-{_check(message_id, secret)}@{domain}"


def read_return_path(address: str) -> Bounced | None:
    """Read the address that a mail came back to; None if it is none of ours."""
    if len(address) > _LONGEST:
        return None
    found = _ADDRESS.fullmatch(address.strip().removeprefix("<").removesuffix(">"))
    if found is None or int(found[1]) > _LARGEST:
        return None
    return Bounced(int(found[1]), found[2].lower())


def fits(bounced: Bounced, message_id: str, secret: bytes) -> bool:
    """Whether the address was made for the message with this Message-ID, by the outbox with this secret."""
    return hmac.compare_digest(bounced.check, _check(message_id, secret))


def _check(message_id: str, secret: bytes) -> str:
    # Keyed BLAKE2 (RFC 7693, 2.5) does what HMAC does at a fifth of its time, and each message that leaves pays it.
    return hashlib.blake2b(message_id.encode(), digest_size=_CHECKED // 2, key=secret).hexdigest()
