"""Kinds of event: what may be chosen for them, and the template that speaks of them.

This is the one place where kinds are registered: the built-in ones here, an admin's own through the Variable
``notify_kinds``, which :func:`read_kinds` adds to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from notify.domain.faults import first_of
from notify.domain.preference import Frequency, Preference, Wish, wish
from notify.exceptions import ConfigurationError

_OFTEN = (Frequency.IMMEDIATELY, Frequency.HOURLY, Frequency.DAILY)

CASE_RECEIVED = "case_received"
CASE_CHANGED = "case_changed"
DEADLINE_APPROACHING = "deadline_approaching"
DEADLINE_EXCEEDED = "deadline_exceeded"
DEADLINE_ESCALATED = "deadline_escalated"
REMINDER = "reminder"

#: The kinds of messages that are no events: what SendMessage writes, and what is made of events.
DIGEST = "digest"
UNDELIVERED = "undelivered"
RESERVED = frozenset({"send_message", DIGEST, UNDELIVERED, "house", "welcome"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event.

    :param name: as producers, preferences and the register name it
    :param choices: the frequencies that a person may choose; none: it is mandatory, always immediate, and knows
        neither quiet hours nor a process that blocks it
    :param default: applies to whoever has chosen nothing
    :param template: the template that speaks of it, a folder below the root of the templates
    """

    name: str
    choices: tuple[Frequency, ...]
    default: Frequency
    template: str

    @property
    def mandatory(self) -> bool:
        """Whether nobody may choose to hear of it later, or not at all."""
        return not self.choices

    @property
    def refusable(self) -> bool:
        """Whether a person may choose never to hear of it."""
        return Frequency.NEVER in self.choices

    def wish(self, own: Preference | None, general: Preference | None) -> Wish:
        """What applies to a person who said this of the kind, and that of all kinds."""
        return wish(self.choices, self.default, own, general)


def _built_in(name: str, *choices: Frequency) -> Kind:
    return Kind(name, choices, Frequency.IMMEDIATELY, name)


#: What may be chosen is behaviour's (Kinds of event). A notice in advance may be refused, the deadline itself may not.
BUILT_IN: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _built_in(CASE_RECEIVED, *_OFTEN, Frequency.NEVER),
        _built_in(CASE_CHANGED, *_OFTEN, Frequency.WEEKLY, Frequency.NEVER),
        _built_in(DEADLINE_APPROACHING, Frequency.IMMEDIATELY, Frequency.NEVER),
        _built_in(DEADLINE_EXCEEDED),
        _built_in(DEADLINE_ESCALATED),
        _built_in(REMINDER),
    )
}

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]


def _left_to_people(value: object) -> object:
    """``"mandatory"`` leaves nothing; an empty list would do the same, but may well be an oversight."""
    if value == "mandatory":
        return ()
    if not isinstance(value, list) or not value:
        raise ValueError('must be a list of frequencies, or "mandatory"')
    return value


class _OwnKind(BaseModel):
    """A kind as an admin writes it; ``"mandatory"`` instead of choices leaves nothing to people."""

    model_config = ConfigDict(extra="forbid")

    choices: Annotated[tuple[Frequency, ...], BeforeValidator(_left_to_people)] = tuple(Frequency)
    default: Frequency = Frequency.IMMEDIATELY
    template: _Name | None = None

    @model_validator(mode="after")
    def _default_is_a_choice(self) -> _OwnKind:
        if not self.choices:
            if self.default is not Frequency.IMMEDIATELY:
                raise ValueError("a mandatory kind is always immediate; leave default out")
        elif self.default not in self.choices:
            raise ValueError(f"the default {self.default.value!r} is not among the choices")
        return self


_OWN_KINDS = TypeAdapter(dict[_Name, _OwnKind])


def read_kinds(text: str) -> dict[str, Kind]:
    """All kinds there are: the built-in ones, and those that an admin has registered.

    :param text: JSON, e.g. ``{"invoice_paid": {"choices": ["immediately", "daily", "never"], "default": "daily"}}``;
        the template is the one of the kind's name unless ``template`` names another. Empty: none
    :raises ConfigurationError: it cannot be read; the message names what is wrong
    """
    try:
        own = _OWN_KINDS.validate_json(text) if text.strip() else {}
    except ValidationError as error:
        raise ConfigurationError(
            f"The Variable notify_kinds cannot be used: {first_of(error)}. Write, for example, "
            '{"invoice_paid": {"choices": ["immediately", "daily", "never"], "default": "daily"}} (Admin → Variables).'
        ) from None
    if taken := sorted(own.keys() & (BUILT_IN.keys() | RESERVED)):
        raise ConfigurationError(
            f"The Variable notify_kinds names {', '.join(taken)}, which cannot be registered: the name is taken. "
            "Choose another (Admin → Variables)."
        )
    return {**BUILT_IN, **{name: _kind(name, given) for name, given in own.items()}}


def _kind(name: str, given: _OwnKind) -> Kind:
    return Kind(name, tuple(dict.fromkeys(given.choices)), given.default, given.template or name)
