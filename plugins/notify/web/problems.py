"""Errors as answers: problem details for programs (RFC 9457), a page for people.

The same errors as at every other door, told by the same words; here each gets a status and a name of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from notify.exceptions import (
    CampaignError,
    ConfigurationError,
    Invalid,
    Missing,
    NotifyError,
    RestoredCopy,
    TemplateError,
    TransitionError,
)

MEDIA_TYPE = "application/problem+json"

#: Faults that are told one by one; a batch may have more than anybody reads.
MOST_FAULTS = 1000


class Forbidden(NotifyError):
    """You may not do that.

    :param means: what it takes the right to do
    """

    def __init__(self, means: str) -> None:
        super().__init__(f"Your role in Airflow does not let you {means}. Ask whoever administers this Airflow for it.")


class NotFound(Missing):
    """There is no such thing."""


class Forged(NotifyError):
    """This did not come from a page of ours, or that page is too old. Load it again, and repeat what you did."""


class UnusableQuery(NotifyError):
    """What was asked for cannot be understood."""


class Malformed(NotifyError):
    """The body is no JSON."""


class WrongMedia(NotifyError):
    """The body must be JSON, and say so: Content-Type: application/json."""


class TooLarge(NotifyError):
    """The body is too large.

    :param most: bytes that it may have
    """

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The body has more than {most:,} bytes. Hand over fewer messages at once, or a link instead of a file; to "
            "more recipients of a campaign, a query instead of a CSV."
        )


class WrongCharset(NotifyError):
    """The texts of a form must be in UTF-8."""


class InProgress(NotifyError):
    """A request with this Idempotency-Key is under way. Wait for its answer, or repeat the request in a while."""


class KeyReused(NotifyError):
    """This Idempotency-Key came with another request before. Use a new one for each request; repeat it as it was."""


class InvalidRequest(Invalid):
    """The body of a request cannot be used; nothing was changed."""

    thing = "request"


class TooLong(NotifyError):
    """This takes longer than a page may. Ask on the command line: python -m notify check."""


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
            told["errors"] = [{"field": field, "problem": problem} for field, problem in self.faults[:MOST_FAULTS]]
        return told


#: The first class that fits counts.
_KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Forbidden, 403, "forbidden", "Not allowed"),
    (Forged, 403, "forged", "Not from this page"),
    (Missing, 404, "not-found", "Not found"),
    (Malformed, 400, "malformed", "Not JSON"),
    (TooLarge, 413, "too-large", "Too large"),
    (WrongMedia, 415, "wrong-media", "Not JSON"),
    (WrongCharset, 415, "wrong-charset", "Not in UTF-8"),
    (UnusableQuery, 422, "unusable-query", "Cannot be understood"),
    (InProgress, 409, "in-progress", "Under way"),
    (KeyReused, 422, "key-reused", "Not the same request"),
    (Invalid, 422, "invalid", "Not taken"),
    (TemplateError, 422, "template", "Not taken"),
    (TransitionError, 409, "state", "Not in that state"),
    (CampaignError, 409, "state", "Not in that state"),
    (RestoredCopy, 503, "restored-copy", "This outbox may be a copy"),
    (ConfigurationError, 503, "configuration", "Not set up"),
    (TooLong, 503, "too-long", "Takes too long"),
    (NotifyError, 500, "error", "Something went wrong"),
)


def problem_of(error: Exception) -> Problem:
    """What to tell of an error; nothing of one that is not ours but that it happened."""
    if isinstance(error, RequestValidationError):
        faults = tuple((_field(one["loc"]), one["msg"]) for one in error.errors())
        return Problem(422, "unusable-query", "Cannot be understood", "A field cannot be used.", faults)
    if isinstance(error, HTTPException):
        name, title = _STATUS.get(error.status_code, ("http", "Not done"))
        return Problem(error.status_code, name, title, str(error.detail))
    for kind, status, name, title in _KINDS:
        if isinstance(error, kind):
            faults = tuple((fault.field, fault.problem) for fault in getattr(error, "faults", ()))
            return Problem(status, name, title, str(error), faults)
    return Problem(500, "unexpected", "Something went wrong", "That is a fault of ours. The API server's log has it.")


def _field(place: tuple[Any, ...]) -> str:
    """The field of a request's fault: where it stands does not matter to who wrote it."""
    return ".".join(str(step) for step in place if step not in {"body", "query", "path"}) or "body"


#: What others than we answer with: Airflow, who asks for a login, and the framework, where there is no such route.
_STATUS = {
    401: ("not-logged-in", "Not logged in"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("not-possible", "Not possible here"),
}
