"""What the API answers: the shape of documents, and what is told of their fields.

The names here are a promise to programs; what they are made from may change.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

#: A field in a docstring, up to the next one.
_FIELD = re.compile(r":param (\w+): (.+?)(?=\n\s*(?:\n|:\w)|\Z)", re.DOTALL)


def _text_of(told: type | Callable[..., Any]) -> str:
    return (inspect.getdoc(told) or "").replace("``", "`")


def describe(schema: dict[str, Any], told: type | Callable[..., Any]) -> None:
    """Write into a JSON Schema what a docstring tells of the whole and of its fields.

    :param told: whose docstring it is
    """
    schema["description"] = " ".join(_text_of(told).split("\n\n", maxsplit=1)[0].split())
    describe_fields(schema, told)


def describe_fields(schema: dict[str, Any], told: type | Callable[..., Any]) -> None:
    """Write into a JSON Schema what a docstring tells of those fields that are not told of yet."""
    for name, words in _FIELD.findall(_text_of(told)):
        if name in schema.get("properties", {}):
            schema["properties"][name].setdefault("description", " ".join(words.split()))


def _describe_answer(schema: dict[str, Any], model: type[Answer]) -> None:
    describe(schema, model)
    for base in model.__mro__[1 : model.__mro__.index(Answer)]:
        describe_fields(schema, base)
    if model.EXAMPLE:
        schema["examples"] = [model.EXAMPLE]


Model = TypeVar("Model", bound="type[Answer]")


def shown(**fields: Any) -> Callable[[Model], Model]:
    """Say how a document may look, for the documentation.

    :param fields: of it; where an answer's class stands, as that one is shown
    """

    def decorate(model: Model) -> Model:
        model.EXAMPLE = {name: _example(value) for name, value in fields.items()}
        return model

    return decorate


def _example(value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, Answer):
        return value.EXAMPLE
    if isinstance(value, list):
        return [_example(one) for one in value]
    return {name: _example(one) for name, one in value.items()} if isinstance(value, dict) else value


class Answer(BaseModel):
    """A document; made from whatever has attributes of these names."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True, json_schema_extra=_describe_answer)

    #: As it may look, for the documentation.
    EXAMPLE: ClassVar[dict[str, Any]] = {}


class FieldError(Answer):
    """What is wrong with a field.

    :param field: its name, as in `messages[17].recipient`
    :param problem: what is wrong, and what would be right
    """

    field: str
    problem: str


@shown(
    type="urn:notify:invalid",
    title="Not taken",
    status=422,
    detail="The message was refused, nothing was stored: 1 fault.\n  * recipient: is empty; name at least one "
    "address, login or group",
    errors=[{"field": "recipient", "problem": "is empty; name at least one address, login or group"}],
)
class Problem(Answer):
    """Why something was not done (problem details, RFC 9457).

    :param type: a name of its kind, for programs
    :param title: the same for people
    :param status: of HTTP
    :param detail: what happened, and what to do
    :param errors: what is wrong with which field; the first thousand
    """

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list)
