"""Whose fault it is that a mail did not arrive: what a status code (RFC 3463) says about the address."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

#: So many different messages that came back softly within this time, and an address gets nothing for as long.
SOFT_BOUNCES = 3
SOFT_WINDOW = timedelta(days=7)
SOFT_EXPIRY = timedelta(days=7)

#: How long an address gets nothing after a hard bounce. Not for good: a server that is set up wrongly for an hour says
#: of all its mailboxes that there are none.
HARD_EXPIRY = timedelta(days=90)

#: A report that comes so long after its mail was sent is held against nobody. Servers try for some five days (RFC 5321,
#: 4.5.4.1), few for a week or two; who makes reports up may find old mails in an archive.
LATEST = timedelta(days=14)


class Blame(StrEnum):
    """What a failure says about the address; the values stand in the database."""

    HARD = "hard"  #: the address does not work: it gets nothing more
    SOFT = "soft"  #: it did not work this time: three of these in a week, and it gets nothing for a week
    NONE = "none"  #: the address is not to blame, but the mail, its sender or a policy: nothing follows for others


#: By subject and detail of the status, with the reason. What is not here: :data:`BY_SUBJECT`.
BY_DETAIL: dict[str, tuple[Blame, str]] = {
    "1.0": (Blame.SOFT, "something about an address, and servers say it of the sender's as well"),
    "1.1": (Blame.HARD, "no such mailbox"),
    "1.2": (Blame.HARD, "no such domain"),
    "1.3": (Blame.HARD, "no valid address"),
    "1.4": (Blame.HARD, "the address is ambiguous"),
    "1.6": (Blame.HARD, "the mailbox has moved, nobody knows where"),
    "1.7": (Blame.NONE, "the sender's address is not valid"),
    "1.8": (Blame.NONE, "the sender's domain is not known, or not allowed"),
    "1.10": (Blame.HARD, "the domain takes no mail (RFC 7505); Exchange says it of an unknown mailbox"),
    "1.90": (Blame.NONE, "the sender has sent too much (Exchange Online)"),
    "2.1": (Blame.HARD, "the mailbox is disabled"),
    "2.2": (Blame.SOFT, "the mailbox is full: its reader will make room, or never looks at it"),
    "2.3": (Blame.NONE, "the mail is too big for this mailbox"),
    "3.3": (Blame.NONE, "the server lacks a feature that the mail needs"),
    "3.4": (Blame.NONE, "the mail is too big"),
    "4.4": (Blame.HARD, "no server for this domain can be found"),
    "5.3": (Blame.NONE, "too many recipients in one mail"),
}

#: By subject alone.
BY_SUBJECT: dict[str, tuple[Blame, str]] = {
    "0": (Blame.SOFT, "no reason given"),
    "1": (Blame.SOFT, "something about an address"),
    "2": (Blame.SOFT, "something about the mailbox"),
    "3": (Blame.SOFT, "the server is not in order"),
    "4": (Blame.SOFT, "the network, or a server that does not answer"),
    "5": (Blame.SOFT, "the servers did not understand each other"),
    "6": (Blame.NONE, "the mail's content or encoding"),
    "7": (Blame.NONE, "a policy: taken for spam, the sender is not allowed, encryption is missing"),
}


def blame_for(status: str) -> Blame:
    """What a failure says about the address.

    A code that begins with 4 is never hard: the server says itself that it may work another time.

    :param status: ``5.1.1``, or empty where the server gave none: a reply code alone (550) may mean anything
    """
    group, _, detail = status.partition(".")
    subject = detail.partition(".")[0]
    blame, _ = BY_DETAIL.get(detail) or BY_SUBJECT.get(subject, (Blame.SOFT, ""))
    return Blame.SOFT if blame is Blame.HARD and group != "5" else blame
