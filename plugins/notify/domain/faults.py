"""From pydantic's errors to ours: the field's name, and what is wrong with it."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from notify.exceptions import Fault


def first_of(error: ValidationError) -> str:
    """The first thing that is wrong with what an admin wrote in JSON, and where."""
    item = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in item["loc"] if part != "[key]")
    return f"{where or 'the whole'}: {item['msg'].removeprefix('Value error, ')}"


def faults_of(error: ValidationError, model: type[BaseModel], *, nested: bool = False) -> list[Fault]:
    """What is wrong with the fields of a model, one fault for each place.

    :param model: whose fields they are; others are told to be none
    :param nested: name the inner field too, as in ``case.id``; without it only its position, as in ``attachments[0]``
    """
    faults: dict[str, Fault] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field, *path = (str(part) for part in item["loc"] or ("",))  # the fault of no single field has no place
        known = not item["loc"] or field in model.model_fields
        where = field + "".join(f"[{part}]" if part.isdigit() else f".{part}" if nested else "" for part in path)
        problem = item["msg"].removeprefix("Value error, ") if known else "there is no such field"
        if known and item["type"] == "extra_forbidden":
            problem = f"has no field {path[-1]!r}"
        faults.setdefault(where, Fault(where, problem))
    return list(faults.values())
