"""What addresses and forms hold: texts that the database can be asked for, and forms whose fields nobody foresaw."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator, BeforeValidator
from starlette.datastructures import FormData

from notify import settings
from notify.domain.destination import parse_destination, sought
from notify.storage.deadlines import Due
from notify.web.problems import UnusableQuery


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character is not allowed")
    return value.strip()


#: A text without blanks around it.
Line = Annotated[str, AfterValidator(_storable)]


async def _given(request: Request) -> FormData:
    return await request.form()


def _said(value: object) -> object:
    if isinstance(value, list):
        return [one for one in value if one != ""] or None
    return None if value == "" else value


#: Beside the type of a filter: one that is left empty in its form says nothing.
OPTIONAL = BeforeValidator(_said)


#: All fields of a form.
Form = Annotated[FormData, Depends(_given)]


def destination_of(text: str) -> str:
    """A mailbox in lower case, or a telephone number in E.164.

    :raises UnusableQuery: it is neither
    """
    try:
        return parse_destination(text, settings.phone_region).lower()
    except ValueError as error:
        raise UnusableQuery(f"address: {error}") from None


def sought_address(text: str) -> str:
    """An address that is looked for, or a part of one; a telephone number in whatever spelling."""
    return sought(text, settings.phone_region)


def written(place: Due) -> str:
    """A place in a list of deadlines, as an address has it."""
    return f"{place.fires_at.isoformat()}_{place.deadline_id}"


def due_of(text: str) -> Due | None:
    """What :func:`written` wrote; None where nothing stands there.

    :raises UnusableQuery: it did not write this
    """
    if not text:
        return None
    moment, _, number = text.partition("_")
    with suppress(ValueError):
        place = Due(datetime.fromisoformat(moment), int(number))
        if place.fires_at.tzinfo is not None and 0 < place.deadline_id < 2**63:
            return place
    raise UnusableQuery(f"after: {text!r} is no place in the list; begin at its first page.")
