"""What a producer hands over: the fields of SendMessage, checked."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from notify.domain.address import CONTROL, split_names
from notify.domain.channel import ChannelName
from notify.domain.faults import faults_of
from notify.exceptions import Fault

#: RFC 5321, 4.5.3.1.10 asks servers for at least 100 recipients; many allow no more.
MOST_RECIPIENTS_OF_ONE_MAIL = 100

#: The longest idempotency key; an index of PostgreSQL takes four bytes a character of it.
LONGEST_KEY = 500

#: How the idempotency keys begin that tasks have by default: nobody else can take them, and so swallow a task's mail.
TASK_KEY = "task:"

#: Beyond it, a delay is a slip of the pen.
LONGEST_DELAY = timedelta(days=3660)

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Priority(StrEnum):
    """Who goes first; the values stand in the database."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"  #: may use at most 80 % of an hour's slots


class Guarantee(StrEnum):
    """What happens when an answer is lost; the values stand in the database."""

    AT_LEAST_ONCE = "at_least_once"  #: sent again, with the same Message-ID
    AT_MOST_ONCE = "at_most_once"  #: never sent again: it becomes ``uncertain`` and a person decides


class RecipientRole(StrEnum):
    """Where a recipient stands in the mail; the values stand in the database."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


def _names(value: object) -> object:
    """Accept a list, or one string separated by semicolons or commas; None is nobody."""
    if value is None:
        return []
    if isinstance(value, str):
        return split_names(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [name for item in value for name in (split_names(item) if isinstance(item, str) else [item])]
    return value


def blank_is_none(value: object) -> object:
    """A field that was left empty in a form or a file is one that was not given."""
    return None if isinstance(value, str) and not value.strip() else value


def a_word(value: object) -> object:
    """One of a few words. An enumeration tells what is none by its repr, which may be of any length, or fail."""
    if not isinstance(value, str):
        raise ValueError("must be a word")  # noqa: TRY004 - pydantic takes ValueErrors for faults
    return value


def one_line(value: str) -> str:
    """A text that may become part of a header, without blanks around it.

    :raises ValueError: it has a line break or another control character, or what no encoding can carry
    """
    if CONTROL.search(value):
        raise ValueError("a line break or control character is not allowed in a header")
    return encodable(value).strip()


def encodable(value: str) -> str:
    """A text that has bytes, so that a mail and the database can hold it.

    :raises ValueError: it has none
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair, which no encoding can carry") from None
    return value


def _moment(value: object) -> object:
    """``send_after`` and ``expires_after`` are a moment or a delay from now; a number could be taken for either."""
    if isinstance(value, str):
        text = value.strip().upper()
        if text.startswith("P") or _DATE.match(text):
            return text
    elif value is None or isinstance(value, datetime | timedelta):
        return value
    raise ValueError("must be a time with its zone, such as 2027-01-31T08:00+01:00, or a delay such as PT2H")


def _in_our_lives(value: datetime | timedelta | None) -> datetime | timedelta | None:
    if isinstance(value, timedelta) and not timedelta(0) <= value <= LONGEST_DELAY:
        raise ValueError(f"must be a delay from nothing to {LONGEST_DELAY.days} days")
    if isinstance(value, datetime) and not 1970 <= value.year <= 9000:
        raise ValueError("must be a time between the years 1970 and 9000")
    return value


def _base64(value: object) -> object:
    """Base64 as it is written, line breaks allowed; anything else is damage, and must not become another file."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return b64decode("".join((value.decode("ascii") if isinstance(value, bytes) else value).split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("content_base64 is no base64 (RFC 4648, 4)") from None


Names = Annotated[list[str], BeforeValidator(_names, json_schema_input_type=list[str] | str)]
Text = Annotated[str | None, BeforeValidator(blank_is_none)]
Moment = Annotated[
    AwareDatetime | timedelta | None,
    AfterValidator(_in_our_lives),
    BeforeValidator(_moment),
    BeforeValidator(blank_is_none),
]


#: What bytes are where they come in JSON, for its schema.
_TEXT = {"type": ["string", "null"]}


class Attachment(BaseModel):
    """A file that travels with a message; its content, or where to fetch it at hand-over.

    :param filename: name shown to the reader; a plain name, no path
    :param content: the bytes, in Python; in JSON a text, which becomes UTF-8
    :param content_base64: instead, the bytes as base64
    :param uri: instead, an object storage URI below one of the prefixes in the Variable ``notify_attachment_sources``
    :param content_type: e.g. ``application/pdf``; by default guessed from the filename
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    filename: str | None = Field(default=None, max_length=255)
    content: Annotated[bytes | None, WithJsonSchema(_TEXT)] = Field(default=None, repr=False)
    content_base64: Annotated[
        bytes | None, BeforeValidator(_base64), WithJsonSchema(_TEXT | {"contentEncoding": "base64"})
    ] = Field(default=None, repr=False)
    uri: str | None = None
    content_type: str | None = Field(default=None, pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"uri": value} if isinstance(value, str) else value

    @field_validator("filename")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is None:
            return None
        name = one_line(value)
        if not name or name in {".", ".."} or "/" in name or "\\" in name:
            raise ValueError("must be a plain file name, without a path")
        return name

    @model_validator(mode="after")
    def _one_source(self) -> Attachment:
        given = [source for source in (self.content, self.content_base64, self.uri) if source is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of content, content_base64, uri")
        if self.uri is None and self.filename is None:
            raise ValueError("needs a filename")
        return self

    @property
    def name(self) -> str:
        """The name shown to the reader."""
        return self.filename or PurePosixPath(self.uri or "").name or "attachment"

    @property
    def inline(self) -> bytes | None:
        """The content, where it was handed over with the message."""
        return self.content if self.content is not None else self.content_base64


class Draft(BaseModel):
    """A message as its producer hands it over: every field of SendMessage, with its default.

    Only what a field can tell by itself is checked here. Whether a login, a sender or a template exists is found out
    at hand-over, and told in the same error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=10_000_000)

    channel: Annotated[ChannelName, BeforeValidator(a_word)] = Field(
        default=ChannelName.EMAIL, description="How it travels; an SMS has a message, or a template and data"
    )
    recipient: Names = Field(
        default_factory=list, description="Addresses, of an SMS telephone numbers; logins or groups"
    )
    cc: Names = Field(default_factory=list, description="Copy to; makes it one mail to all")
    bcc: Names = Field(default_factory=list, description="Blind copy to; makes it one mail to all")
    one_mail: bool = Field(default=False, description="One mail to all, instead of one per recipient")
    subject: Annotated[str | None, Field(max_length=900)] = Field(default=None, description="Subject, one line")
    message: str | None = Field(default=None, description="The text, plain or HTML", repr=False)
    html: bool = Field(default=False, description="Whether message is HTML")
    template: Text = Field(default=None, description="Template kind, instead of subject and message")
    data: dict[str, Any] = Field(default_factory=dict, description="Fields of the template", repr=False)
    add_template: bool = Field(default=True, description="Wrap in the house template")
    language: Text = Field(
        default=None,
        pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$",
        description="Of the template; else the person's, else en",
    )
    sender: Text = Field(default=None, description="Sender; empty: that of the site, else the first of notify_senders")
    site: Text = Field(
        default=None, max_length=200, description="The branch whose sender sends it, where no sender is named"
    )
    reply_to: Text = Field(default=None, description="Address for answers")
    attachments: list[Attachment] = Field(default_factory=list, description="Files; a URI alone will do for one")
    case_id: Text = Field(default=None, max_length=200, description="What the message is about")
    case_url: Text = Field(
        default=None,
        max_length=2000,
        pattern=r"^https?://\S+$",
        description="Where the case can be looked at; else by the Variable notify_case_url",
    )
    add_case_id_to_subject: bool = Field(default=True, description="Put [case_id] in front of the subject")
    add_url: bool = Field(default=True, description="Link the case")
    priority: Annotated[Priority, BeforeValidator(a_word)] = Field(
        default=Priority.NORMAL, description="Who goes first; bulk may use at most 80 % of an hour's slots"
    )
    guarantee: Annotated[Guarantee, BeforeValidator(a_word)] | None = Field(
        default=None,
        description="Whether it is sent again when nobody knows if it was: at_least_once, of an SMS at_most_once, "
        "unless given",
    )
    transliterate: bool = Field(
        default=False, description="SMS: write in the basic alphabet what it lacks, so that more fits into a part"
    )
    send_after: Moment = Field(default=None, description="Not before: a time with its zone, or a delay such as PT2H")
    expires_after: Moment = Field(default=None, description="Not after: a time with its zone, or a delay")
    idempotency_key: Text = Field(
        default=None,
        max_length=LONGEST_KEY,
        description="The same key again returns the first messages and adds none",
    )

    @field_validator("subject", "site", "reply_to", "case_id", "case_url", "idempotency_key")
    @classmethod
    def _header_text(cls, value: str | None) -> str | None:
        return None if value is None else one_line(value)

    @field_validator("message", "subject")
    @classmethod
    def _encodable(cls, value: str | None) -> str | None:
        if value is not None:
            if "\x00" in value:
                raise ValueError("a NUL character is not allowed")
            encodable(value)
        return value

    @field_validator("attachments", mode="before", json_schema_input_type=list[Attachment | str])
    @classmethod
    def _no_attachments(cls, value: object) -> object:
        return [] if value is None else value

    @field_validator("data", mode="before")
    @classmethod
    def _no_data(cls, value: object) -> object:
        return {} if value is None else value

    @property
    def promise(self) -> Guarantee:
        """The guarantee that was given, or that of the channel: an SMS that is sent twice is paid for twice."""
        by_channel = Guarantee.AT_MOST_ONCE if self.channel is ChannelName.SMS else Guarantee.AT_LEAST_ONCE
        return self.guarantee or by_channel

    @property
    def to_all(self) -> bool:
        """Whether all recipients share one mail: asked for, or because there are copies."""
        return self.one_mail or bool(self.cc) or bool(self.bcc)


def read_draft(fields: Mapping[str, Any]) -> tuple[Draft, list[Fault]]:
    """Check the fields one by one, and together.

    :param fields: by name, as handed over; None stands for "not given"
    :returns: a draft without the faulty fields, so that the rest of the message can be checked too, and the faults
    """
    given = {name: value for name, value in fields.items() if value is not None}
    faults: list[Fault] = []
    try:
        draft = Draft.model_validate(given)
    except ValidationError as error:
        faults += faults_of(error, Draft)
        wrong = {str(item["loc"][0]) for item in error.errors(include_input=False)}
        draft = Draft.model_validate({name: value for name, value in given.items() if str(name) not in wrong})
        return draft, faults + _faults_between(draft, wrong)
    return draft, faults + _faults_between(draft, set())


def _faults_between(draft: Draft, wrong: set[str]) -> list[Fault]:
    """Faults that only several fields together show; fields already found wrong are not held against others."""
    faults = _faults_of_channel(draft, wrong)
    if not (draft.recipient or draft.cc or draft.bcc) and not wrong & {"recipient", "cc", "bcc"}:
        faults.append(Fault("recipient", "is empty; name at least one address, login or group"))
    if draft.template is None and "template" not in wrong:
        needed = ("message",) if draft.channel is ChannelName.SMS else ("subject", "message")
        faults += [
            Fault(field, f"is missing; give {' and '.join(needed)}, or template and data")
            for field in needed
            if not getattr(draft, field) and field not in wrong
        ]
        if draft.data and "data" not in wrong:
            faults.append(Fault("data", "is only for a template; name the template, or leave data out"))
    if draft.template is not None and draft.message:
        faults.append(Fault("message", "cannot be given together with template; use one of the two"))
    return faults


#: What only a mail has.
_OF_MAILS = ("cc", "bcc", "one_mail", "subject", "html", "reply_to", "attachments")


def _faults_of_channel(draft: Draft, wrong: set[str]) -> list[Fault]:
    if "channel" in wrong:
        return []
    if draft.channel is ChannelName.SMS:
        given = [field for field in _OF_MAILS if getattr(draft, field) and field not in wrong]
        return [Fault(field, "is only for mails; an SMS has recipients and a text, nothing else") for field in given]
    if draft.transliterate:
        return [Fault("transliterate", "is only for SMS; a mail takes every letter as it is")]
    return []


def faults_of_own_key(key: str | None) -> list[Fault]:
    """What is wrong with the idempotency key of whoever is no task."""
    if not (key or "").startswith(TASK_KEY):
        return []
    problem = f"begins with {TASK_KEY!r}, which marks the keys that tasks have by default; choose another"
    return [Fault("idempotency_key", problem)]


def moment_after(moment: datetime | timedelta | None, now: datetime) -> datetime | None:
    """The moment that ``send_after`` or ``expires_after`` means, seen from ``now``."""
    return now + moment if isinstance(moment, timedelta) else moment
