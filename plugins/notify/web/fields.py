"""What addresses and forms hold: texts that the database can be asked for, and forms whose fields nobody foresaw."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator
from starlette.datastructures import FormData


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character is not allowed")
    return value.strip()


#: A text without blanks around it.
Line = Annotated[str, AfterValidator(_storable)]


async def _given(request: Request) -> FormData:
    return await request.form()


#: All fields of a form.
Form = Annotated[FormData, Depends(_given)]
