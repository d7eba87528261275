"""What a producer publishes: something that happened to a case, and whom it concerns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from notify.domain.change import Change, What
from notify.domain.faults import faults_of
from notify.domain.kind import CASE_CHANGED
from notify.domain.message import LONGEST_KEY, Names, Text, blank_is_none, one_line
from notify.exceptions import Fault

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _title(value: object) -> object:
    """None is "not told", also where a mapping spells it out."""
    return "" if value is None else value


class Case(BaseModel):
    """What an event is about, as its producer knows it at that moment; None is "not told".

    :param id: how the producer's system names it
    :param title: one line
    :param url: where it can be looked at
    :param process: what sort of case it is, e.g. ``Invoices``; a process may block kinds of event
    :param stage: where it stands; a deadline belongs to a stage
    :param owner: login of the person who has it
    :param site: the branch that it belongs to, whose sender sends what is told of it
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(min_length=1, max_length=200)]
    title: Annotated[str, BeforeValidator(_title), Field(max_length=500)] = ""
    url: Text = Field(default=None, max_length=2000, pattern=r"^https?://\S+$")
    process: Text = Field(default=None, max_length=200)
    stage: Text = Field(default=None, max_length=200)
    owner: Text = Field(default=None, max_length=200)
    site: Text = Field(default=None, max_length=200)

    @field_validator("id", "title", "url", "process", "stage", "owner", "site")
    @classmethod
    def _line(cls, value: str | None) -> str | None:
        return None if value is None else one_line(value)

    @field_validator("id")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value:
            raise ValueError("is empty")
        return value


def _case(value: object) -> object:
    """A bare id will do; a number is one."""
    if _is_number(value):
        return {"id": str(value)}
    if isinstance(value, str):
        return {"id": value} if value.strip() else None
    if isinstance(value, Mapping) and _is_number(value.get("id")):
        return {**value, "id": str(value["id"])}
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment(value: object) -> object:
    """A number could be taken for seconds since 1970, and so could a date without dashes."""
    value = blank_is_none(value)
    if value is None or isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value.strip())):
        return value
    raise ValueError("must be a time with its zone, such as 2027-01-31T08:00+01:00")


CaseField = Annotated[Case | None, BeforeValidator(_case, json_schema_input_type=Case | str | int | None)]


class EventDraft(BaseModel):
    """An event as its producer hands it over.

    Only what a field can tell by itself is checked here; whether kind, logins and template exist is found out when it
    is published, and told in the same error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=10_000_000)

    kind: str = Field(default="", description="A registered kind")
    case: CaseField = Field(
        default=None, description="What it is about: an id, or id, title, url, process, stage, owner, site"
    )
    actor: Text = Field(default=None, max_length=254, description="Login or address of who did it; is not told of it")
    recipients: Names = Field(default_factory=list, description="Logins, groups or addresses of whom it concerns")
    data: dict[str, Any] = Field(default_factory=dict, description="Fields of the kind's template", repr=False)
    occurred_at: Annotated[AwareDatetime | None, BeforeValidator(_moment)] = Field(
        default=None, description="When it happened; else now"
    )
    idempotency_key: Text = Field(
        default=None, max_length=LONGEST_KEY, description="Publishing under the same key again adds nothing"
    )

    @field_validator("actor", "idempotency_key")
    @classmethod
    def _line(cls, value: str | None) -> str | None:
        return None if value is None else one_line(value)

    @field_validator("data", mode="before")
    @classmethod
    def _no_data(cls, value: object) -> object:
        return {} if value is None else value

    @field_validator("occurred_at")
    @classmethod
    def _in_our_lives(cls, value: AwareDatetime | None) -> AwareDatetime | None:
        if value is not None and not 1970 <= value.year <= 9000:
            raise ValueError("must be a time between the years 1970 and 9000")
        return value

    @property
    def closes_case(self) -> bool:
        """Whether it says that its case has ended."""
        changes = self.data.get("changes") if self.kind == CASE_CHANGED else None
        return any(_what(one) == What.CLOSED for one in changes or ())


def _what(change: object) -> object:
    """What a change says, in either form that is taken for one."""
    return change.get("what") if isinstance(change, Mapping) else getattr(change, "what", None)


def read_event(fields: Mapping[str, Any]) -> tuple[EventDraft, list[Fault]]:
    """Check the fields of an event.

    :param fields: by name, as published; None stands for "not given"
    :returns: the event without the faulty fields, so that the rest can be checked too, and the faults
    """
    given = {name: value for name, value in fields.items() if value is not None}
    faults: list[Fault] = []
    try:
        draft = EventDraft.model_validate(given)
    except ValidationError as error:
        faults = faults_of(error, EventDraft, nested=True)
        wrong = {str(item["loc"][0]) for item in error.errors(include_input=False)}
        draft = EventDraft.model_validate({name: value for name, value in given.items() if str(name) not in wrong})
    told = {fault.field.partition(".")[0].partition("[")[0] for fault in faults}
    if not draft.kind and "kind" not in told:
        faults.append(Fault("kind", "is missing; name a registered kind, such as case_changed"))
    if not draft.recipients and "recipients" not in told:
        faults.append(Fault("recipients", "is empty; name at least one login, group or address"))
    if draft.kind == CASE_CHANGED and "data" not in told:
        faults += _faults_of_changes(draft.data)
    return draft, faults


class _Changes(BaseModel):
    changes: Annotated[list[Change], Field(min_length=1)]


def _faults_of_changes(data: Mapping[str, Any]) -> list[Fault]:
    try:
        _Changes.model_validate({"changes": data.get("changes")})
    except ValidationError as error:
        return [Fault(f"data.{one.field}", one.problem) for one in faults_of(error, _Changes, nested=True)]
    return []
