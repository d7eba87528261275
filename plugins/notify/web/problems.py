"""Errors as answers: problem details for programs (RFC 9457), a page for people.

The same errors as at every other door, told by the same words; here each gets a status and a name of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from notify.exceptions import ConfigurationError, Invalid, NotifyError, RestoredCopy, TemplateError, TransitionError

MEDIA_TYPE = "application/problem+json"


class Forbidden(NotifyError):
    """You may not do that.

    :param means: what it takes the right to do
    """

    def __init__(self, means: str) -> None:
        super().__init__(f"Your role in Airflow does not let you {means}. Ask whoever administers this Airflow for it.")


class NotFound(NotifyError):
    """There is no such thing."""


class Forged(NotifyError):
    """This did not come from a page of ours, or that page is too old. Load it again, and repeat what you did."""


class UnusableQuery(NotifyError):
    """What was asked for cannot be understood."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is told of an error.

    :param status: of HTTP
    :param kind: its name, for programs: the end of ``type``
    :param title: the same for people, whatever the occasion
    :param detail: what happened and what to do
    :param faults: what is wrong with which field
    """

    status: int
    kind: str
    title: str
    detail: str
    faults: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """As RFC 9457, 3 has it."""
        told: dict[str, Any] = {
            "type": f"urn:notify:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            told["errors"] = [{"field": field, "problem": problem} for field, problem in self.faults]
        return told


#: The first class that fits counts.
_KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Forbidden, 403, "forbidden", "Not allowed"),
    (Forged, 403, "forged", "Not from this page"),
    (NotFound, 404, "not-found", "Not found"),
    (UnusableQuery, 422, "unusable-query", "Cannot be understood"),
    (Invalid, 422, "invalid", "Not taken"),
    (TemplateError, 422, "template", "Not taken"),
    (TransitionError, 409, "state", "Not in that state"),
    (RestoredCopy, 503, "restored-copy", "This outbox may be a copy"),
    (ConfigurationError, 503, "configuration", "Not set up"),
    (NotifyError, 500, "error", "Something went wrong"),
)


def problem_of(error: Exception) -> Problem:
    """What to tell of an error; nothing of one that is not ours but that it happened."""
    if isinstance(error, RequestValidationError):
        faults = tuple((_field(one["loc"]), one["msg"]) for one in error.errors())
        return Problem(422, "unusable-query", "Cannot be understood", "A field cannot be used.", faults)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, "http", _STATUS.get(error.status_code, "Not done"), str(error.detail))
    for kind, status, name, title in _KINDS:
        if isinstance(error, kind):
            faults = tuple((fault.field, fault.problem) for fault in getattr(error, "faults", ()))
            return Problem(status, name, title, str(error), faults)
    raise TypeError(f"not an error of ours: {type(error).__name__}") from error


def _field(place: tuple[Any, ...]) -> str:
    """The field of a request's fault: where it stands does not matter to who wrote it."""
    return ".".join(str(step) for step in place if step not in {"body", "query", "path"}) or "body"


_STATUS = {401: "Not logged in", 403: "Not allowed", 404: "Not found", 405: "Not possible here", 413: "Too large"}
