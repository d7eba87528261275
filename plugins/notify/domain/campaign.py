"""Campaigns: what an author mails to many, the states of it, and what becomes of each recipient.

A campaign is generated first: each recipient gets a message of their own, which is held. Then it is sent, at once or
from a moment on, always as ``bulk``; it can be paused, go on, and be cancelled. The rules are those of behaviour.md,
Mass mailing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from itertools import chain
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from notify.domain.channel import ChannelName
from notify.domain.faults import faults_of
from notify.domain.message import (
    Attachment,
    Guarantee,
    Names,
    Text,
    a_word,
    blank_is_none,
    encodable,
    one_line,
)
from notify.exceptions import Fault

#: What an author may type by hand; whoever has more has a file.
MOST_TYPED = 10_000

#: The columns that say whom a row is for, the first that is there; the last ones by the channel.
RECIPIENT = "recipient"
RECIPIENT_COLUMNS: Mapping[ChannelName, tuple[str, ...]] = {
    ChannelName.EMAIL: (RECIPIENT, "email", "address"),
    ChannelName.SMS: (RECIPIENT, "phone", "number"),
}

#: What templates can ask for by a plain name.
_FIELD = re.compile(r"[^\W\d]\w{0,99}")


class CampaignStatus(StrEnum):
    """The state of a campaign; the values stand in the database."""

    DRAFT = "draft"  #: is being written; nothing has been made of it
    GENERATING = "generating"  #: its messages are being made, or will be by the next run of MassMailing
    GENERATED = "generated"  #: its messages are made, and held
    SENDING = "sending"  #: they are in the queue, or will be at its time
    PAUSED = "paused"  #: what has not left is held
    DONE = "done"  #: nothing is left that waits
    CANCELLED = "cancelled"  #: what had not left was taken back


class CampaignAction(StrEnum):
    """What a person or a task may do to a campaign."""

    EDIT = "edit"  #: change it; what was made of it before is thrown away
    GENERATE = "generate"  #: make its messages; once more, and who is new among its recipients gets one
    SEND = "send"  #: put its messages in the queue, at once or for a time to come
    PAUSE = "pause"  #: hold what has not left
    RESUME = "resume"  #: go on
    CANCEL = "cancel"  #: take back what has not left
    REFRESH = "refresh"  #: put other files into what has not left
    DELETE = "delete"  #: forget it; possible only while nothing was sent


#: Nothing of it has left.
NOT_SENT = frozenset({CampaignStatus.DRAFT, CampaignStatus.GENERATING, CampaignStatus.GENERATED})
_UNDER_WAY = frozenset({CampaignStatus.SENDING, CampaignStatus.PAUSED})

#: In which states each can be done.
STARTS: Mapping[CampaignAction, frozenset[CampaignStatus]] = {
    CampaignAction.EDIT: frozenset({CampaignStatus.DRAFT, CampaignStatus.GENERATED}),
    CampaignAction.GENERATE: frozenset({CampaignStatus.DRAFT, CampaignStatus.GENERATED}),
    CampaignAction.SEND: frozenset({CampaignStatus.GENERATED}),
    CampaignAction.PAUSE: frozenset({CampaignStatus.SENDING}),
    CampaignAction.RESUME: frozenset({CampaignStatus.PAUSED}),
    CampaignAction.CANCEL: NOT_SENT | _UNDER_WAY,
    CampaignAction.REFRESH: _UNDER_WAY | {CampaignStatus.DRAFT, CampaignStatus.GENERATED},
    CampaignAction.DELETE: NOT_SENT - {CampaignStatus.GENERATING} | {CampaignStatus.CANCELLED},
}

#: What a person wanted something else for can do instead.
INSTEAD: Mapping[CampaignStatus, str] = {
    CampaignStatus.DRAFT: "Generate its messages first",
    CampaignStatus.GENERATING: "Wait until its messages are made, or cancel it",
    CampaignStatus.GENERATED: "Send it, or generate it again",
    CampaignStatus.SENDING: "Pause it first",
    CampaignStatus.PAUSED: "Let it go on, or cancel it",
    CampaignStatus.DONE: "Copy it to send it once more",
    CampaignStatus.CANCELLED: "Copy it to begin anew",
}


class Fate(StrEnum):
    """What became of a recipient when the messages were made; the values stand in the database."""

    CREATED = "created"  #: has a message
    SUPPRESSED = "suppressed"  #: is on the suppression list
    UNSUBSCRIBED = "unsubscribed"  #: wants no bulk mail
    INVALID = "invalid"  #: no address or number, and no login or group that is known
    UNREACHABLE = "unreachable"  #: a person who is no longer active, or has no address or number
    INCOMPLETE = "incomplete"  #: their text cannot be made: a field is missing, or no SMS holds it
    LEFT = "left"  #: had a message, and is among the recipients no more; it was taken back


@dataclass(frozen=True, slots=True)
class Row:
    """A recipient as a source names them.

    :param place: where it stands, for people who look for it, e.g. ``row 17``
    :param recipient: an address or a number, a login or a group
    :param fields: what belongs to them, for the template
    :param is_login: whether it can be nothing but a login: they are named as a member of a group
    """

    place: str
    recipient: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    is_login: bool = False


def key_of(address: str) -> bytes:
    """What is kept of a recipient, to know them again: nobody can read it, and it need not be erased.

    :param address: mailbox in lower case, or number in E.164
    """
    return sha256(address.encode()).digest()


# --- What an author writes -------------------------------------------------------------------------------------------


class CampaignDraft(BaseModel):
    """A campaign as its author writes it.

    ``subject`` and ``message`` may hold personal fields: ``{{ recipient.name }}``, and the columns of the file or the
    query by their names, ``{{ first_name }}``; they are templates, in the same sandbox as those that admins edit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=10_000_000)

    description: Annotated[str, Field(max_length=200, description="What it is, one line")]
    channel: Annotated[ChannelName, BeforeValidator(a_word)] = Field(
        default=ChannelName.EMAIL, description="How it travels: email or sms"
    )
    subject: Annotated[str | None, Field(max_length=900)] = Field(
        default=None, description="Subject, one line; may hold personal fields"
    )
    message: str | None = Field(
        default=None, description="The text, plain or HTML; may hold personal fields", repr=False
    )
    html: bool = Field(default=False, description="Whether message is HTML")
    template: Text = Field(default=None, description="Template kind, instead of subject and message")
    data: dict[str, Any] = Field(default_factory=dict, description="Fields that are the same for all", repr=False)
    add_template: bool = Field(default=True, description="Wrap in the house template")
    language: Text = Field(
        default=None,
        pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$",
        description="Of the template; else the recipient's, else en",
    )
    transliterate: bool = Field(
        default=False, description="SMS: write in the basic alphabet what it lacks, so that more fits into a part"
    )
    guarantee: Annotated[Guarantee, BeforeValidator(a_word)] | None = Field(
        default=None,
        description="Whether a message is sent again when nobody knows if it was: at_least_once, of an SMS "
        "at_most_once, unless given",
    )
    sender: Text = Field(default=None, description="Sender; empty: that of the site, or the first of the channel")
    site: Text = Field(default=None, max_length=100, description="Branch: its sender sends, in its name")
    reply_to: Text = Field(default=None, description="Address for answers")
    attachments: list[Attachment] = Field(default_factory=list, description="Files; a URI alone will do for one")
    groups: Names = Field(default_factory=list, description="Groups of people who get it")
    recipients: Names = Field(
        default_factory=list, description="Further recipients: addresses, of an SMS numbers, or logins"
    )
    csv: Annotated[str | None, BeforeValidator(blank_is_none)] = Field(
        default=None, description="Further recipients with their fields: CSV with a header", repr=False
    )
    query_connection: Text = Field(default=None, max_length=250, description="An Airflow connection to an SQL database")
    query: Text = Field(default=None, max_length=100_000, description="A SELECT there, with a row for each recipient")
    note: Text = Field(default=None, max_length=10_000, description="For those who work with it")
    classification: Text = Field(default=None, max_length=100, description="A word to find it by")

    @field_validator("description", "subject", "reply_to", "classification", "site")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return None if value is None else one_line(value)

    @field_validator("message", "csv", "note", "query")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        if value is not None and "\x00" in value:
            raise ValueError("a NUL character is not allowed")
        return None if value is None else encodable(value)

    @field_validator("recipients", "groups")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        return [one_line(name) for name in value]

    @field_validator("data")
    @classmethod
    def _json(cls, value: dict[str, Any]) -> dict[str, Any]:
        """What the database can keep as JSON."""
        try:
            json.dumps(value, allow_nan=False)
            for text in _texts(value):
                cls._storable(text)
        except TypeError as error:
            raise ValueError(f"must be what JSON can hold; {error}") from None
        except RecursionError:
            raise ValueError("is nested too deeply") from None
        return value

    @field_validator("description")
    @classmethod
    def _described(cls, value: str) -> str:
        if not value:
            raise ValueError("is empty; say in a line what it is")
        return value

    @field_validator("attachments", mode="before", json_schema_input_type=list[Attachment | str])
    @classmethod
    def _no_attachments(cls, value: object) -> object:
        return [] if value is None else value

    @property
    def promise(self) -> Guarantee:
        """The guarantee that was given, or that of the channel."""
        return self.guarantee or promise_of(self.channel)


def _texts(value: object) -> Iterator[str]:
    """All texts in what JSON can hold."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from chain.from_iterable(map(_texts, (*value.keys(), *value.values())))
    elif isinstance(value, list | tuple):
        yield from chain.from_iterable(map(_texts, value))


#: What only a mail has.
_OF_MAILS = ("subject", "html", "reply_to", "attachments")


def read_campaign(fields: Mapping[str, Any]) -> tuple[CampaignDraft | None, list[Fault]]:
    """Check the fields one by one, and together.

    :param fields: by name; None stands for "not given"
    :returns: the campaign, None where it cannot be read, and the faults
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        draft = CampaignDraft.model_validate(given)
    except ValidationError as error:
        return None, faults_of(error, CampaignDraft)
    return draft, _faults_between(draft)


def _faults_between(draft: CampaignDraft) -> list[Fault]:
    faults = _faults_of_content(draft)
    if draft.channel is ChannelName.SMS:
        given = [name for name in _OF_MAILS if getattr(draft, name)]
        faults += [Fault(name, "is only for mails; an SMS has recipients and a text, nothing else") for name in given]
    elif draft.transliterate:
        faults.append(Fault("transliterate", "is only for SMS; a mail carries every sign"))
    if (draft.query is None) != (draft.query_connection is None):
        missing = "query" if draft.query is None else "query_connection"
        faults.append(Fault(missing, "is missing; a query needs a connection, and a connection a query"))
    if len(draft.recipients) > MOST_TYPED:
        faults.append(
            Fault("recipients", f"{len(draft.recipients):,} are more than {MOST_TYPED:,}; hand over a CSV instead")
        )
    return faults


def _faults_of_content(draft: CampaignDraft) -> list[Fault]:
    if draft.template is not None:
        return [
            Fault(name, "cannot be given together with template; use one of the two")
            for name in ("message", "subject")
            if getattr(draft, name)
        ]
    needed = ("message",) if draft.channel is ChannelName.SMS else ("subject", "message")
    return [
        Fault(name, f"is missing; give {' and '.join(needed)}, or template and data")
        for name in needed
        if not getattr(draft, name)
    ]


# --- What is stored --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign, as it is stored.

    :param sender: the one that was named; once its messages are made, theirs
    :param data: template fields that are the same for all
    :param groups: names of groups of people
    :param stale: it was changed since its messages were made: generating throws them away first
    :param number_of_pass: of the pass over its recipients that is under way, or the last one
    :param rows_read: how many recipients that pass has read
    :param doubled: how many of these it had read before
    :param generating_at: when that pass was last heard of; None while it waits for somebody to begin it
    :param fault: why its messages could not be made
    :param send_when_generated: to be sent as soon as they are made
    :param send_after: not before
    :param unsettled: its messages are not yet in the state that its own asks for
    """

    id: int
    description: str
    status: CampaignStatus
    channel: ChannelName
    sender: str | None
    site: str | None
    subject: str | None
    message: str | None
    html: bool
    template: str | None
    data: Mapping[str, Any]
    add_template: bool
    language: str | None
    transliterate: bool
    guarantee: Guarantee | None
    reply_to: str | None
    groups: tuple[str, ...]
    query_connection: str | None
    query: str | None
    note: str | None
    classification: str | None
    stale: bool
    number_of_pass: int
    rows_read: int
    doubled: int
    generating_at: datetime | None
    fault: str | None
    send_when_generated: bool
    send_after: datetime | None
    unsettled: bool
    generated_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    changed_at: datetime
    created_by: str | None

    @property
    def promise(self) -> Guarantee:
        """The guarantee that was given, or that of the channel."""
        return self.guarantee or promise_of(self.channel)

    def may(self, action: CampaignAction) -> bool:
        """Whether its state allows this."""
        return self.status in STARTS[action]


def promise_of(channel: ChannelName) -> Guarantee:
    """What is promised where nobody says it: an SMS that is sent twice is paid for twice."""
    return Guarantee.AT_MOST_ONCE if channel is ChannelName.SMS else Guarantee.AT_LEAST_ONCE


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign is.

    :param created: messages that were made of it
    :param left_out: recipients who got none, by the reason; a :class:`Fate`, or ``doubled``
    :param states: messages by their state
    :param parts: what those that have not left count against the limit
    :param last_sent_at: when the last of them left
    """

    created: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    parts: int = 0
    last_sent_at: datetime | None = None

    @property
    def waiting(self) -> int:
        """Messages that have not left."""
        return sum(self.states.get(state, 0) for state in ("held", "queued", "sending"))

    @property
    def sent(self) -> int:
        """Messages that left; whatever became of them then."""
        return sum(self.states.get(state, 0) for state in ("sent", "delivered", "undelivered"))

    @property
    def share(self) -> float:
        """How much of it is over, 0 to 1."""
        total = sum(self.states.values())
        return (total - self.waiting) / total if total else 0.0
