"""The fields of the forms by which DAGs are triggered."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from airflow.sdk import Param


def names(title: str, description: str, **schema: Any) -> Param:
    """A list, one a line in the form; or one string."""
    return Param(None, title=title, description=description, type=["null", "string", "array"], **schema)


def text(title: str, description: str, **schema: Any) -> Param:
    """A text that may stay empty."""
    return Param(None, title=title, description=description, type=["null", "string"], **schema)


def flag(title: str, description: str, *, default: bool, **schema: Any) -> Param:
    """Yes or no."""
    return Param(default, title=title, description=description, type="boolean", **schema)


def choice(title: str, description: str, values: type[StrEnum], default: StrEnum, **schema: Any) -> Param:
    """One of a few."""
    words = [value.value for value in values]
    return Param(default.value, title=title, description=description, type="string", enum=words, **schema)


def choice_or_none(title: str, description: str, values: type[StrEnum], **schema: Any) -> Param:
    """One of a few, or none of them."""
    words = [None, *(value.value for value in values)]
    return Param(None, title=title, description=description, type=["null", "string"], enum=words, **schema)
