"""Links in mails that work without a login: by a token that only the outbox can make, and only for a time.

A token says which message it came with, what it is for, and until when it is good. It has the same length for every
message, so mails whose text is the same share one in storage: there a :data:`PLACEHOLDER` stands, and each gets its
token as it leaves. Who it came to is not in it: the outbox knows the message's recipient.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

#: Where a token will stand. Base64 has neither sign of punctuation in it, so what is encoded cannot look like it.
PLACEHOLDER = "this-mails-own-token-goes-here_Kq7Zt3vXb"
MARK = PLACEHOLDER.encode()

#: Bytes of a token: the message's number (a bigint), the day, the check. Thirty make forty signs without padding.
_NUMBER, _DAY, _CHECK = 8, 3, 19
_LARGEST = 2**63 - 1
_TOKEN = re.compile(r"[A-Za-z0-9_-]{40}")


class Purpose(StrEnum):
    """What a link is for; a token for one of them is none for the other."""

    SETTINGS = "settings"  #: change what one gets, and when
    UNSUBSCRIBE = "unsubscribe"  #: get no more of what the mail is


#: For how long a link is good, from the day on which its mail leaves. To unsubscribe must be possible for long: laws
#: ask for up to 60 days, and whoever was away for half a year still wants it. It can only stop mails, and be undone.
LIFE = {Purpose.SETTINGS: timedelta(days=90), Purpose.UNSUBSCRIBE: timedelta(days=180)}


@dataclass(frozen=True, slots=True)
class Link:
    """What a token says.

    :param number: of its message in the register
    :param until: the last day on which it is good
    :param check: what must fit, see :func:`fits`
    """

    number: int
    until: date
    check: bytes


def make(purpose: Purpose, number: int, message_id: str, sent: date, secret: bytes) -> str:
    """The token of a message.

    :param number: of the message in the register
    :param message_id: its Message-ID
    :param sent: the day on which it leaves
    :param secret: the outbox's
    """
    until = sent + LIFE[purpose]
    data = number.to_bytes(_NUMBER, "big") + until.toordinal().to_bytes(_DAY, "big")
    return urlsafe_b64encode(data + _check(purpose, data, message_id, secret)).decode()


def read(token: str) -> Link | None:
    """Read a token; None if it can be none of ours. Whether it is one, :func:`fits` says."""
    if not _TOKEN.fullmatch(token):
        return None
    data = urlsafe_b64decode(token)
    number = int.from_bytes(data[:_NUMBER], "big")
    day = int.from_bytes(data[_NUMBER : _NUMBER + _DAY], "big")
    if not (0 < number <= _LARGEST and 0 < day <= date.max.toordinal()):
        return None
    return Link(number, date.fromordinal(day), data[_NUMBER + _DAY :])


def fits(link: Link, purpose: Purpose, message_id: str, today: date, secret: bytes) -> bool:
    """Whether a token was made for this and for the message with this Message-ID, and is still good."""
    data = link.number.to_bytes(_NUMBER, "big") + link.until.toordinal().to_bytes(_DAY, "big")
    genuine = hmac.compare_digest(link.check, _check(purpose, data, message_id, secret))
    return genuine and today <= link.until


def _check(purpose: Purpose, data: bytes, message_id: str, secret: bytes) -> bytes:
    # As in a return path: keyed BLAKE2 (RFC 7693, 2.5), for each message that leaves pays it.
    text = data + message_id.encode()
    return hashlib.blake2b(text, digest_size=_CHECK, key=secret, person=purpose.encode()).digest()
