"""``notify.set_preference``: what a person wants to hear of, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy.engine import Connection

from notify import settings as notify_settings
from notify.domain.faults import faults_of
from notify.domain.kind import Kind
from notify.domain.person import fault_of_choice
from notify.domain.preference import Frequency, Preference
from notify.exceptions import Fault, InvalidPreference
from notify.joining import Connectable, joined
from notify.settings import HandOverSettings
from notify.storage import people, preferences, schema


def set_preference(
    login: str,
    kind: str,
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    **fields: Any,
) -> Preference:
    """Put down how often, and through which channel, a person wants to hear of a kind of event.

    It stands instead of what they said of it before.

    >>> set_preference("anna", "case_changed", frequency="daily", hour="17:30")  # doctest: +SKIP
    >>> set_preference("anna", "*", quiet_from="22:00", quiet_until="07:00")  # doctest: +SKIP
    >>> set_preference("anna", "deadline_exceeded", channel="sms")  # doctest: +SKIP

    :param kind: its name, or ``*`` for all of which the person says nothing else
    :param connection: of the outbox database, to do it inside its open transaction; without it, one of its own
    :param settings: where the known kinds are; without them, those that the Variables name
    :param fields: those of :class:`notify.domain.preference.Preference`, at least one
    :returns: what applies to events from now on
    :raises notify.exceptions.InvalidPreference: something is wrong; the error names every fault, nothing is changed
    :raises notify.exceptions.ConfigurationError: the database or a setting is not in order
    """
    return set_preference_fields(login, kind, fields, connection=connection, settings=settings)


def set_preference_fields(
    login: str,
    kind: str,
    fields: Mapping[str, Any],
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
) -> Preference:
    """Put down a preference whose fields come from outside: whatever they are called, they are taken for fields.

    :param fields: by name; the other parameters and errors are those of :func:`set_preference`
    """
    kinds = settings.kinds if settings else notify_settings.kinds()
    said, faults = _read(fields)
    with joined(connection) as open_one:
        schema.require(open_one)
        faults = [
            *_faults_of_login(open_one, login),
            *_faults_of_choice(kind, fields, kinds),
            *faults,
        ]
        if faults or said is None:
            raise InvalidPreference(faults)
        preferences.save(open_one, login, kind, said)
    return said


def clear_preference(
    login: str,
    kind: str,
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
) -> bool:
    """Forget what a person said of a kind of event: what they said of all kinds applies again, else its default.

    The parameters are those of :func:`set_preference`. A kind that is no longer known can be cleared, too.

    :returns: whether they had said anything
    :raises notify.exceptions.InvalidPreference: there is no such person or kind
    """
    kinds = settings.kinds if settings else notify_settings.kinds()
    with joined(connection) as open_one:
        schema.require(open_one)
        if _storable(login) and _storable(kind) and preferences.clear(open_one, login, kind):
            return True
        faults = [*_faults_of_login(open_one, login), *_faults_of_choice(kind, {}, kinds)]
        if faults:
            raise InvalidPreference(faults)
        return False


def _read(fields: Mapping[str, Any]) -> tuple[Preference | None, list[Fault]]:
    """What the fields say, None where they say nothing that can be put down, and what is wrong with them."""
    try:
        said = Preference.model_validate(fields)
    except ValidationError as error:
        if any(item["loc"] for item in error.errors()):
            return None, faults_of(error, Preference)
        # All fields are right, but not together; that can only be the quiet hours.
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        return None, [Fault("quiet_from" if fields.get("quiet_from") is None else "quiet_until", problem)]
    if said == Preference():
        return None, [Fault("frequency", "is missing; say how often, or one of hour, weekday, quiet hours and channel")]
    return said, []


def _frequency(given: object) -> Frequency | None:
    """The frequency given, None where it is none; that fault is told elsewhere."""
    return next((one for one in Frequency if one == given), None)


def _faults_of_choice(kind: object, fields: Mapping[str, Any], kinds: Mapping[str, Kind]) -> list[Fault]:
    if not isinstance(kind, str):
        return [Fault("kind", "must be a text: the name of a kind, or * for all of them")]
    only_channel = not any(value is not None for name, value in fields.items() if name != "channel")
    fault = fault_of_choice(kind, _frequency(fields.get("frequency")), kinds, only_channel=only_channel)
    return [fault] if fault else []


def _faults_of_login(connection: Connection, login: object) -> list[Fault]:
    if not isinstance(login, str):
        return [Fault("login", "must be a text: the login of a person")]
    if _storable(login) and people.find(connection, [login]):
        return []
    return [Fault("login", f"there is no person {login!r}; import them first (python -m notify people import)")]


def _storable(name: object) -> bool:
    """Whether the database can be asked for a name: it knows neither NUL nor halves of characters."""
    return isinstance(name, str) and not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in name)
