"""The states of a message and the ways between them."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The state of a message; the values stand in the database."""

    QUEUED = "queued"  #: waits for its time, for the limit, or for the next run
    SENDING = "sending"  #: claimed by a drain; at most one such message per session has begun
    SENT = "sent"  #: the server took it for at least one recipient
    DELIVERED = "delivered"  #: a receipt says it arrived
    UNDELIVERED = "undelivered"  #: a receipt or a bounce says it did not arrive
    FAILED = "failed"  #: refused for good, or given up after 72 hours
    UNCERTAIN = "uncertain"  #: handed over as at_most_once, and the answer was lost: a person decides
    HELD = "held"  #: a person said "do not send"
    CANCELLED = "cancelled"  #: a person or a producer took it back
    SUPPRESSED = "suppressed"  #: its addresses are on the suppression list
    EXPIRED = "expired"  #: its expires_after passed before it could be sent


def _ways(*pairs: tuple[set[Status], set[Status]]) -> frozenset[tuple[Status, Status]]:
    return frozenset((before, after) for befores, afters in pairs for before in befores for after in afters)


#: What a person may put back in the queue as a new attempt of the same message.
RESENDABLE = frozenset(
    {
        Status.FAILED,
        Status.UNCERTAIN,
        Status.CANCELLED,
        Status.HELD,
        Status.EXPIRED,
        Status.SUPPRESSED,
        Status.SENT,
        Status.UNDELIVERED,
    }
)

#: Nothing more happens to these by themselves, receipts aside.
FINAL = frozenset(
    {
        Status.SENT,
        Status.DELIVERED,
        Status.UNDELIVERED,
        Status.FAILED,
        Status.CANCELLED,
        Status.SUPPRESSED,
        Status.EXPIRED,
    }
)

#: Every legal transition; the database holds the same list as a constraint.
TRANSITIONS = _ways(
    ({Status.QUEUED}, {Status.SENDING, Status.HELD, Status.CANCELLED, Status.SUPPRESSED, Status.EXPIRED}),
    ({Status.HELD}, {Status.CANCELLED}),
    ({Status.SENDING}, {Status.SENT, Status.QUEUED, Status.FAILED, Status.UNCERTAIN}),
    # A receipt settles the doubt as well: nothing comes back that was not sent. And a mail may come back late, from
    # behind the server that said it was delivered.
    ({Status.SENT, Status.UNCERTAIN}, {Status.DELIVERED, Status.UNDELIVERED}),
    ({Status.DELIVERED}, {Status.UNDELIVERED}),
    (set(RESENDABLE), {Status.QUEUED}),
)


def may_become(before: Status, after: Status) -> bool:
    """Whether a message in state ``before`` may be put into state ``after``."""
    return (before, after) in TRANSITIONS
