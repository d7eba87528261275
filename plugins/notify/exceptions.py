"""Every error this package raises.

One root, :class:`NotifyError`. An error says what happened and what to do; what it was about hangs on the object.
A class's docstring is its default message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

#: An error's text quotes what somebody wrote, which may be of any length.
LONGEST_TEXT = 50_000
LONGEST_FIELD = 200
LONGEST_PROBLEM = 1_000


def legible(text: str, most: int) -> str:
    """A text as a log and a terminal can take it: signs that they would obey or could not write are spelled out.

    :param most: characters; of a longer text the middle is left out, for the end says what to do
    """
    if len(text) > most:
        text = f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"
    if text.replace("\n", " ").isprintable():
        return text
    return "".join(
        sign if sign == "\n" or sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


class NotifyError(Exception):
    """Something went wrong in the notification outbox."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(legible(message or (self.__doc__ or "").strip(), LONGEST_TEXT))


class Missing(NotifyError):
    """There is no such thing."""


# --- Hand-over: the producer's fault ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with what was handed over.

    :param field: the field's name, as the documentation's table has it, e.g. ``recipient``
    :param problem: what is wrong and what would be right, without a full stop
    """

    field: str
    problem: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", legible(self.field, LONGEST_FIELD).replace("\n", r"\n"))
        object.__setattr__(self, "problem", legible(self.problem, LONGEST_PROBLEM))

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


#: Faults in an error's text: a list of recipients in the wrong column has as many as it has lines.
SHOWN = 100


class Invalid(NotifyError):
    """What was handed over was refused; nothing was stored.

    :param faults: all that is wrong, at least one; the text names the first hundred
    """

    #: What was refused, in the error's text.
    thing = "hand-over"

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "".join(f"\n  * {fault}" for fault in self.faults[:SHOWN])
        more = f"\n  … and {len(self.faults) - SHOWN} more" if len(self.faults) > SHOWN else ""
        super().__init__(f"The {self.thing} was refused, nothing was stored: {count}.{lines}{more}")


class InvalidMessage(Invalid):
    """The message was refused at hand-over; nothing was stored."""

    thing = "message"


class InvalidEvent(Invalid):
    """The event was refused when it was published; nothing was stored."""

    thing = "event"


class InvalidDeadline(Invalid):
    """The deadline or reminder was refused when it was set; nothing was changed."""

    thing = "deadline"


class InvalidPreference(Invalid):
    """The preference was refused; the one before still applies."""

    thing = "preference"


class InvalidSuppression(Invalid):
    """The address was not put on the suppression list; nothing was changed."""

    thing = "suppression"


class InvalidUnsubscription(Invalid):
    """It was not put down that an address wants no more of something; nothing was changed."""

    thing = "unsubscription"


class InvalidCampaign(Invalid):
    """The campaign was refused; nothing was stored or changed."""

    thing = "campaign"


class InvalidNumber(NotifyError, ValueError):
    """No SMS can go to this phone number.

    :param flaw: what is wrong with it, in a word, to count by
    :param message: what is wrong with it and what to write instead, without a full stop
    """

    def __init__(self, flaw: str, message: str) -> None:
        self.flaw = flaw
        super().__init__(message)


class InvalidText(NotifyError, ValueError):
    """This text cannot be sent as an SMS."""


class TemplateError(NotifyError):
    """A template cannot be used."""


class TemplateNotFound(TemplateError):
    """There is no such template."""


class TemplateFieldMissing(TemplateError):
    """The template uses a field that the data does not have."""


class TemplateBroken(TemplateError):
    """The template has an error of its own."""


class TemplateTooSlow(TemplateBroken):
    """A template would run for too long, and was stopped. Look for loops within loops."""


class UnusableSample(TemplateError):
    """The sample data of a template cannot be read."""


# --- Configuration: the admin's fault --------------------------------------------------------------------------------


class ConfigurationError(NotifyError):
    """A setting is missing or wrong."""


class NothingKnown(Missing, ConfigurationError):
    """Nothing is known under that name or number."""


class InvalidSchedule(ConfigurationError):
    """A schedule is neither a cron expression, nor an Airflow preset, nor an ISO 8601 duration."""


class InvalidRegion(ConfigurationError):
    """A region is no country that has phone numbers."""


class SchemaError(ConfigurationError):
    """The outbox database does not have the schema that this version needs."""


class SchemaMissing(SchemaError):
    """The outbox database has no tables yet. Create them with: python -m notify db upgrade."""


class SchemaTooOld(SchemaError):
    """The outbox database is older than this version. Upgrade it with: python -m notify db upgrade."""


class SchemaTooNew(SchemaError):
    """The outbox database is newer than this version.

    Install the version that upgraded it, or take the database back with that version's
    ``python -m notify db downgrade``.
    """


# --- Sending ---------------------------------------------------------------------------------------------------------


class ServerFault(NotifyError):
    """A server does not do its work for us.

    :param cause: what happened, in one sentence
    :param remedy: what the admin should do
    """

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause} What to do: {remedy}")


class SenderFault(ServerFault):
    """The sender cannot send at all: no message is at fault and none is charged."""


class SenderRefused(SenderFault):
    """Any message of the sender would meet this: it is not tried with another one."""


class TransitionError(NotifyError):
    """The message is not in the state that this step starts from; somebody else moved it first."""


class NoSuchMessage(Missing, TransitionError):
    """There is no message of that number in the register."""


class RestoredCopy(NotifyError):
    """This outbox is a copy, and nothing is sent from it until a person confirms it.

    :param doubt: what tells that it is a copy, as a part of a sentence
    :param marked: the outbox that was sent from before, as it stands outside; None if nothing does
    """

    def __init__(self, doubt: str, marked: UUID | None = None) -> None:
        self.doubt = doubt
        self.marked = marked
        super().__init__(
            f"This outbox may be a restored copy: {doubt}. Nothing is sent from it. What to do: if the original is "
            "still there, point the connection notify_db at it. If this one shall be sent from, see what waits in it "
            "with `python -m notify db confirm --dry-run`, then say so: `python -m notify db confirm` (with --hold, "
            "and all that waits is held)."
        )


class PartlyErased(NotifyError):
    """A person was erased, and an address of theirs still stands somewhere. The message tells where."""


class LeaseLost(NotifyError):
    """This drain was taken for dead and its messages were taken over; it must not send any more."""


class UnreadableMail(NotifyError):
    """A mail says that it is a delivery report, and cannot be read as one."""


class MailboxFault(ServerFault):
    """The mailbox for delivery reports cannot be read."""


# --- Campaigns -------------------------------------------------------------------------------------------------------


class CampaignError(NotifyError):
    """The campaign is not in a state from which this can be done."""


class NoSuchCampaign(Missing, CampaignError):
    """There is no campaign of that number."""


class PassLost(CampaignError):
    """Somebody else makes the messages of this campaign now, or nobody is to: it was cancelled."""


class UnusableSource(NotifyError):
    """The recipients of a campaign cannot be read where it says. The message tells which source, and why."""


class GeneratingFailed(NotifyError):
    """The messages of some campaigns could not be made; these are drafts again. The text names each with the cause."""


# --- Events and deadlines --------------------------------------------------------------------------------------------


class UnusableRecord(NotifyError):
    """What is stored of a person cannot be used. Bring it up to date: import the person again, or correct the row.

    It stops nobody but this person, so it is no :class:`ConfigurationError`, which ends a run.
    """


class MergeFailed(NotifyError):
    """What some people have due could not be moved, and waits. The log names them, each with the cause."""


class RemindingFailed(NotifyError):
    """Nobody could be told of some deadlines. They stay due; the log names the cause of each."""


class Uneven(NotifyError):
    """The balance is not even: an event has too many homes, or too few.

    Keep a copy of the database (``pg_dump``) and report it with the lines above: it must never happen.
    """
