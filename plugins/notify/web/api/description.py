"""What the API tells of itself: OpenAPI, made of the routes and of the fields that the other doors take as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse

from notify.deadlines import set_deadline, set_reminder
from notify.domain.campaign import CampaignDraft
from notify.domain.deadline import Advance, Escalation, ReminderDraft, TermDraft
from notify.domain.event import Case, EventDraft
from notify.domain.message import Attachment, Draft
from notify.domain.preference import Preference
from notify.publishing import publish
from notify.web.api import PREFIX
from notify.web.api.answer import Problem, describe
from notify.web.api.request import reads
from notify.web.problems import MEDIA_TYPE
from notify.web.rights import Right

#: Where it stands, below the app.
PATH = "/openapi.json"

_ABOUT = """
The notification outbox: hand messages over, tell people what happened, ask what became of it.

Log in with a token of Airflow's: `POST /auth/token` with `{"username": …, "password": …}` answers with `access_token`,
which goes into the header `Authorization: Bearer …`. What you may do is what Airflow lets you do.

Everything that changes something takes the header `Idempotency-Key`: the same request with the same key gives the first
answer again, for at least 24 hours. What goes wrong is told as problem details (RFC 9457).
"""

_TAGS = {
    "messages": "The outbox and the register: hand over, look for, resend, hold, release, cancel",
    "campaigns": "What is mailed to many: write, generate, send, pause, and ask how far it is",
    "events": "What happened to cases; each person concerned hears of it at the time they chose",
    "deadlines": "Terms of cases and their stages, and personal reminders",
    "people": "People, and how often they want to hear of what",
    "suppressions": "Addresses that get nothing",
    "unsubscriptions": "Addresses that get no more of something, because their readers want it so",
    "senders": "What waits for each sender, its limit and what is used of it",
    "operations": "Why somebody did, or did not, get a mail, and whether all is well",
}

_REASONS = {
    400: "The body is no JSON object",
    401: "Nobody is logged in; get a token",
    403: "The role does not allow it, or the cookie came without a token of the page",
    404: "There is no such thing",
    409: "It is not in the state for that; or a request with the same Idempotency-Key is under way",
    413: "The body is too large",
    415: "The body does not say that it is JSON",
    422: "Something is wrong with a field; nothing was changed",
    500: "Something went wrong; the API server's log has it",
    503: "The outbox database does not answer, or is not set up",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What may go wrong, for FastAPI's ``responses``."""
    content = {MEDIA_TYPE: {"schema": schema_of(Problem)}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model that the description has, by reference."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


#: What may go wrong with the body of a request, beside its fields.
OF_BODY = (400, 413, 415)


def routes(path: str, tag: str) -> APIRouter:
    """A router of the API.

    :param path: below the API's own, of all its routes
    :param tag: by which they are told together
    """
    return APIRouter(
        prefix=path,
        tags=[tag],
        responses=problems(401, 403, 422, 500, 503),
        generate_unique_id_function=lambda route: route.name,
    )


def takes(
    schema: Mapping[str, Any] | type[BaseModel],
    example: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    required: bool = True,
) -> dict[str, Any]:
    """The body of a request, for FastAPI's ``openapi_extra``.

    :param schema: of its JSON, or the model that reads it, one of :data:`_READ`
    :param example: as it may look
    :param required: whether there must be a body at all
    """
    told = dict(schema) if isinstance(schema, Mapping) else schema_of(schema)
    content = {"application/json": {"schema": told, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


#: What reads the fields that are handed over, and where these are explained.
_READ: Mapping[type[BaseModel], type | Callable[..., Any]] = {
    Draft: Draft,
    Attachment: Attachment,
    CampaignDraft: CampaignDraft,
    EventDraft: publish,
    Case: Case,
    TermDraft: set_deadline,
    Advance: Advance,
    Escalation: Escalation,
    ReminderDraft: set_reminder,
    Preference: Preference,
}

router = APIRouter()


@router.get(PATH, include_in_schema=False, dependencies=[reads(Right.READ_REGISTER)])
def openapi(request: Request) -> JSONResponse:
    """The API's description."""
    return JSONResponse(document(request.app, request.scope["root_path"]))


def document(app: FastAPI, root: str) -> dict[str, Any]:
    """The description of an app's API.

    :param root: where the app is mounted
    """
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema | {"servers": [{"url": root or "/", "description": "This Airflow"}]}


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title="Notify",
        version=app.version,
        summary="The notification outbox of this Airflow",
        description=_ABOUT.strip(),
        routes=[route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith(PREFIX)],
        tags=[{"name": name, "description": words} for name, words in _TAGS.items()],
    )
    schemas = found["components"]["schemas"]
    schemas |= _read_schemas() | {"Problem": Problem.model_json_schema(ref_template="#/components/schemas/{model}")}
    schemas |= schemas["Problem"].pop("$defs")
    return found


def _read_schemas() -> dict[str, Any]:
    _, told = models_json_schema(
        [(model, "validation") for model in _READ], ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, Any] = told["$defs"]
    for model, explained in _READ.items():
        describe(schemas[model.__name__], explained)
    return schemas
