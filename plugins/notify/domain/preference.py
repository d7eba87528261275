"""What a person chose: how often they want to hear of a kind of event, when, and through which channel."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import time
from enum import StrEnum
from typing import Annotated, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

#: Stands for every kind that a person has said nothing else about.
ANY_KIND = "*"

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Frequency(StrEnum):
    """How often; the values stand in the database."""

    IMMEDIATELY = "immediately"  #: with the next run of Notifications
    HOURLY = "hourly"  #: at the next full hour
    DAILY = "daily"  #: at the end of the person's day
    WEEKLY = "weekly"  #: at the beginning of the person's week
    NEVER = "never"


class Through(StrEnum):
    """Through which channel; the values stand in the database."""

    EMAIL = "email"
    SMS = "sms"
    BOTH = "both"  #: a mail, and an SMS beside it

    @property
    def by_mail(self) -> bool:
        """Whether there is to be a mail."""
        return self is not Through.SMS

    @property
    def by_sms(self) -> bool:
        """Whether there is to be an SMS."""
        return self is not Through.EMAIL


#: When a frequency is due unless the person says otherwise, by the clock on their wall.
DAY_ENDS = time(18)
WEEK_BEGINS = time(8)
FIRST_WEEKDAY = 1


def _word_of(words: type[StrEnum]) -> BeforeValidator:
    """An enumeration tells what is none by its repr, which may be of any length, or fail."""

    def read(value: object) -> object:
        if value is not None and not isinstance(value, str):
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return BeforeValidator(read)


def _by_name(value: object) -> object:
    """``monday`` or ``mon`` as well as 1 or ``"1"``."""
    if not isinstance(value, str):
        return value
    said = value.strip().lower()
    if len(said) == 1 and said in "1234567":
        return int(said)
    found = [number for number, name in enumerate(WEEKDAYS, start=1) if len(said) > 1 and name.startswith(said)]
    if len(found) != 1:
        raise ValueError(f"{value!r} is no day of the week; write monday to sunday, or 1 to 7")
    return found[0]


def _of_a_week(value: int) -> int:
    if not 1 <= value <= 7:
        raise ValueError("must be a day of the week, monday to sunday, or 1 to 7")
    return value


#: A day of the week, 1 (Monday) to 7 (ISO 8601); its name is taken as well. Strict: true is no Monday.
Weekday = Annotated[
    int, Field(strict=True), BeforeValidator(_by_name, json_schema_input_type=int | str), AfterValidator(_of_a_week)
]


def _of_a_clock(value: object, read: ValidatorFunctionWrapHandler) -> time:
    """Pydantic's reading, but not its words, which name no way to write it."""
    try:
        return cast("time", read(value))
    except ValidationError:
        given = f"{value!r}" if isinstance(value, str | int | float) else f"a {type(value).__name__}"
        raise ValueError(f"{given} is no time of the day; write it as 17:30") from None


#: A time on the clock of the person's zone.
Clock = Annotated[time, WrapValidator(_of_a_clock, json_schema_input_type=str)]


class Preference(BaseModel):
    """What a person said about one kind of event, or about all of them; None is "nothing said".

    :param frequency: how often
    :param hour: when a day's or week's mail is due, on the clock of the person's zone
    :param weekday: day of a week's mail, 1 (Monday) to 7 (ISO 8601); its name is taken as well
    :param quiet_from: from then on nothing but what is mandatory, until
    :param quiet_until: this hour; quiet hours may run across midnight
    :param channel: through which it comes; of a mandatory kind nothing else can be said
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frequency: Annotated[Frequency | None, _word_of(Frequency)] = None
    hour: Clock | None = None
    weekday: Weekday | None = None
    quiet_from: Clock | None = None
    quiet_until: Clock | None = None
    channel: Annotated[Through | None, _word_of(Through)] = None

    @field_validator("hour", "quiet_from", "quiet_until")
    @classmethod
    def _of_a_wall(cls, value: time | None) -> time | None:
        if value is not None and (value.tzinfo is not None or value.second or value.microsecond):
            raise ValueError("must be hours and minutes on the person's own clock, such as 17:30")
        return value

    @model_validator(mode="after")
    def _both_ends(self) -> Preference:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValueError("quiet hours need both quiet_from and quiet_until")
        if self.quiet_from is not None and self.quiet_from == self.quiet_until:
            raise ValueError("quiet_from and quiet_until are the same; for no mail at all choose the frequency never")
        return self

    @property
    def only_channel(self) -> bool:
        """Whether it says through which channel, and nothing else."""
        return self == Preference(channel=self.channel)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours without mail, on the clock of the person's zone; across midnight where ``until`` is the earlier one."""

    start: time
    until: time

    def covers(self, wall: time) -> bool:
        """Whether it is quiet at this time of the day; the end no longer is."""
        if self.start < self.until:
            return self.start <= wall < self.until
        return wall >= self.start or wall < self.until


@dataclass(frozen=True, slots=True)
class Wish:
    """What applies to one kind of event for one person, nothing left open.

    :param frequency: how often
    :param hour: when a day's or week's mail is due
    :param weekday: day of a week's mail, 1 (Monday) to 7
    :param quiet: hours that postpone, None where there are none
    :param channel: through which it comes
    """

    frequency: Frequency
    hour: time = DAY_ENDS
    weekday: int = FIRST_WEEKDAY
    quiet: Quiet | None = None
    channel: Through = Through.EMAIL


#: What is mandatory asks nobody when.
AT_ONCE = Wish(Frequency.IMMEDIATELY)


def wish(
    choices: Collection[Frequency], default: Frequency, own: Preference | None, general: Preference | None
) -> Wish:
    """What applies: what the person said of the kind, else of all kinds, else the kind's default; field by field.

    :param choices: what the kind leaves to people; empty for a mandatory kind. A frequency that is not among them (a
        general *weekly* for a kind that has none) counts as nothing said
    :param default: the kind's own frequency
    :param own: what the person said of this kind
    :param general: what the person said of all kinds
    """
    said = [one for one in (own, general) if one is not None]
    channel = next((one.channel for one in said if one.channel is not None), Through.EMAIL)
    if not choices:
        return AT_ONCE if channel is Through.EMAIL else replace(AT_ONCE, channel=channel)
    frequency = next((one.frequency for one in said if one.frequency in choices), None) or default
    usual = WEEK_BEGINS if frequency is Frequency.WEEKLY else DAY_ENDS
    hours = (one.hour for one in said)
    weekdays = (one.weekday for one in said)
    quiets = (Quiet(one.quiet_from, one.quiet_until) for one in said if one.quiet_from and one.quiet_until)
    return Wish(
        frequency,
        next((hour for hour in hours if hour is not None), usual),
        next((weekday for weekday in weekdays if weekday is not None), FIRST_WEEKDAY),
        next(quiets, None),
        channel,
    )


# --- In words --------------------------------------------------------------------------------------------------------


#: Through which channel, in words.
IN_WORDS = {Through.EMAIL: "by e-mail", Through.SMS: "by SMS", Through.BOTH: "by e-mail and SMS"}


def in_words(said: Preference) -> str:
    """What a person said, and only that."""
    parts = [
        said.frequency.value if said.frequency else "",
        WEEKDAYS[said.weekday - 1] if said.weekday else "",
        f"at {said.hour:%H:%M}" if said.hour else "",
        f"quiet {said.quiet_from:%H:%M}-{said.quiet_until:%H:%M}" if said.quiet_from is not None else "",
        IN_WORDS[said.channel] if said.channel else "",
    ]
    return ", ".join(part for part in parts if part)


def applying(found: Wish) -> str:
    """What applies."""
    hour = f"at {found.hour:%H:%M}"
    text = {
        Frequency.DAILY: f"daily {hour}",
        Frequency.WEEKLY: f"weekly, {WEEKDAYS[found.weekday - 1]} {hour}",
    }.get(found.frequency, found.frequency.value)
    if found.quiet and found.frequency is not Frequency.NEVER:
        text += f", quiet {found.quiet.start:%H:%M}-{found.quiet.until:%H:%M}"
    if found.channel is not Through.EMAIL and found.frequency is not Frequency.NEVER:
        text += f", {IN_WORDS[found.channel]}"
    return text
