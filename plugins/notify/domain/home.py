"""Where a notification is: each has one home, and the reasons why one has no mail."""

from __future__ import annotations

from enum import StrEnum


class Home(StrEnum):
    """Where a notification is; the values stand in the database."""

    MAIL = "mail"  #: a mail, or an SMS, of its own
    DIGEST = "digest"  #: one digest, with others
    WAITING = "waiting"  #: put aside until its person's time; the only one that it may leave
    REFUSED = "refused"  #: no mail, for a reason that is recorded


class Reason(StrEnum):
    """Why a notification makes no mail; the values stand in the database."""

    NEVER = "never"  #: the person wants to hear nothing of this kind, or whoever reads the mail of an outside address
    BLOCKED = "blocked"  #: the process sends no mail of this kind
    OWN_ACTION = "own_action"  #: whoever does a thing is not told of it
    SUPPRESSED = "suppressed"  #: the address is on the suppression list
    INACTIVE = "inactive"  #: the person is no longer active
    NO_ADDRESS = "no_address"  #: the person has no e-mail address
    DUPLICATE = "duplicate"  #: somebody with the same address gets it already
    NO_SMS = "no_sms"  #: it could not go by SMS any more, and there is a mail beside it


#: Each reason in a sentence, for people who ask why.
BECAUSE = {
    Reason.NEVER: "the person chose never to hear of this kind",
    Reason.BLOCKED: "the process sends no mail of this kind (Variable notify_blocked)",
    Reason.OWN_ACTION: "the person did it themselves",
    Reason.SUPPRESSED: "the address is on the suppression list",
    Reason.INACTIVE: "the person is no longer active",
    Reason.NO_ADDRESS: "the person has no e-mail address",
    Reason.DUPLICATE: "somebody else with the same address was told of it",
    Reason.NO_SMS: "it could not go by SMS any more, and there is an e-mail beside it",
}


class NotBySms(StrEnum):
    """Why somebody who chose SMS is told by mail; the values stand in the database."""

    NO_NUMBER = "no_number"
    SUPPRESSED = "suppressed"
    NO_SENDER = "no_sender"
    NO_TEMPLATE = "no_template"
    UNFIT = "unfit"


#: Each of them in words.
WHY_NOT_BY_SMS = {
    NotBySms.NO_NUMBER: "the person has no telephone number that an SMS could go to",
    NotBySms.SUPPRESSED: "the telephone number is on the suppression list",
    NotBySms.NO_SENDER: "no sender is there for SMS",
    NotBySms.NO_TEMPLATE: "the template has no text for an SMS",
    NotBySms.UNFIT: "the text is none that an SMS can carry",
}
