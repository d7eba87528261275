"""Moments and numbers as the reader writes them: filters for templates."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, dates, numbers
from jinja2 import pass_context
from jinja2.runtime import Context, Undefined


class UnusableValueError(ValueError):
    """A value of the data is not what the template's filter needs."""


@lru_cache(maxsize=256)
def locale_of(tag: str) -> Locale:
    """Find the conventions of a language, of its region where the tag names a known one.

    :param tag: e.g. ``pl`` or ``en_GB``; what nobody knows is written as in English
    """
    for candidate in (tag, tag.partition("_")[0]):
        try:
            return Locale.parse(candidate)
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


def zone_of(name: str) -> ZoneInfo:
    """Find the time zone of this IANA name.

    :param name: e.g. ``Europe/Warsaw``
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise UnusableValueError(
            f"timezone {name!r} is not known. Give an IANA name such as Europe/Warsaw or UTC"
        ) from error


def check_defined(value: object) -> None:
    """Raise the error of a missing field, where it is one, before a filter complains about its type.

    :param value: what a filter was given
    """
    if isinstance(value, Undefined):
        str(value)


def kind_of(value: object) -> str:
    """A value of the data as an error may name it: by its type alone, for the error ends up in a log.

    :param value: what a filter was given
    """
    return f"a value of type {type(value).__name__}"


@pass_context
def format_datetime(context: Context, value: object, style: str = "medium") -> str:
    """Write the day and the hour of a moment, in the reader's zone.

    :param value: an aware datetime, or ISO 8601 text with an offset
    :param style: ``short``, ``medium``, ``long``, ``full``, or a pattern of Unicode's date fields
    """
    moment, locale = _local(context, value), _locale(context)
    if style != "medium":
        return dates.format_datetime(moment, style, locale=locale)
    # Seconds, which Unicode's medium style shows, tell the reader of a mail nothing.
    pattern = str(dates.get_datetime_format("medium", locale=locale)).replace("'", "")
    day = dates.format_date(moment, "medium", locale=locale)
    return pattern.replace("{0}", dates.format_time(moment, "short", locale=locale)).replace("{1}", day)


@pass_context
def format_date(context: Context, value: object, style: str = "medium") -> str:
    """Write the day of a moment in the reader's zone, or a calendar day as it is.

    :param value: an aware datetime, a date, or either as ISO 8601 text
    :param style: ``short``, ``medium``, ``long``, ``full``, or a pattern of Unicode's date fields
    """
    day = _calendar_day(value) or _local(context, value)
    return dates.format_date(day, style, locale=_locale(context))


@pass_context
def format_time(context: Context, value: object, style: str = "short") -> str:
    """Write the hour of a moment, in the reader's zone.

    :param value: an aware datetime, or ISO 8601 text with an offset
    :param style: ``short``, ``medium``, ``long``, ``full``, or a pattern of Unicode's date fields
    """
    return dates.format_time(_local(context, value), style, locale=_locale(context))


@pass_context
def format_number(context: Context, value: object, pattern: str | None = None) -> str:
    """Write a number with the reader's decimal and grouping signs.

    :param value: a number, or its digits as text
    :param pattern: a pattern of Unicode's number fields, e.g. ``#,##0.00``
    """
    return numbers.format_decimal(_number(value), format=pattern, locale=_locale(context))


def _locale(context: Context) -> Locale:
    return locale_of(str(context.resolve("locale")))


def _local(context: Context, value: object) -> datetime:
    return _moment(value).astimezone(zone_of(str(context.resolve("timezone"))))


def _moment(value: object) -> datetime:
    moment = _parsed(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        check_defined(value)
        raise UnusableValueError(
            f"{kind_of(value)} is no moment. Hand over an aware datetime, or ISO 8601 with an offset"
        )
    if moment.utcoffset() is None:
        raise UnusableValueError(
            f"{kind_of(value)} does not say in which time zone it is. Hand over an aware datetime, "
            "or ISO 8601 with an offset such as 2026-03-01T09:00:00+01:00"
        )
    return moment


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _calendar_day(value: object) -> date | None:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _number(value: object) -> Decimal:
    if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite():
            return number
    check_defined(value)
    raise UnusableValueError(f"{kind_of(value)} is no number. Hand over a number, or its digits with a point")
