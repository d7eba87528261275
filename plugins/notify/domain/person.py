"""People whom a message may be for."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from notify.domain.address import CONTROL, parse_address, split_names


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _groups(value: object) -> object:
    """None means "as they are"; a string is separated by semicolons or commas."""
    return split_names(value) if isinstance(value, str) else value


Optional = Annotated[str | None, BeforeValidator(_blank_is_none)]


class Person(BaseModel):
    """A person, as imported and as stored.

    :param login: how producers name them; no at sign, comma or semicolon
    :param name: as it stands in a mail's To
    :param language: e.g. ``pl``; None: the message's, else ``en``
    :param timezone: IANA name, e.g. ``Europe/Warsaw``; None: ``notify_timezone``
    :param supervisor: login of the person who is told when a deadline is missed
    :param groups: names of all their groups; None leaves them as they are
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    login: str = Field(min_length=1, max_length=200, pattern=r"^[^@;,\s<>\"][^@;,<>\"]*$")
    name: str = Field(default="", max_length=200)
    email: Optional = None
    phone: Optional = Field(default=None, max_length=40)
    language: Optional = Field(default=None, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")
    timezone: Optional = None
    active: bool = True
    supervisor: Optional = None
    groups: Annotated[list[str] | None, BeforeValidator(_groups)] = None

    @field_validator("login", "name")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if CONTROL.search(value):
            raise ValueError("a line break or control character is not allowed")
        return value

    @field_validator("email")
    @classmethod
    def _mailbox(cls, value: str | None) -> str | None:
        return None if value is None else parse_address(value).mailbox

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError(f"{value!r} is no time zone; write an IANA name such as Europe/Warsaw")
        return value

    @field_validator("groups")
    @classmethod
    def _group_names(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if not name or "@" in name or CONTROL.search(name):
                raise ValueError(f"{name!r} is no group name: no at sign, no line break, not empty")
        return value
