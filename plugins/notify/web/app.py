"""The app: its routes, its errors, its files."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

import notify
from notify.exceptions import NotifyError
from notify.web import problems, receipts
from notify.web.api import PREFIX, description
from notify.web.api.router import LARGER
from notify.web.api.router import router as api_router
from notify.web.body import BodyLimit
from notify.web.headers import SecurityHeaders, secure
from notify.web.pages import (
    balance,
    campaign_exchange,
    campaign_form,
    campaigns,
    deadlines,
    explain,
    health,
    messages,
    overview,
    people,
    public,
    put_aside,
    settings,
    suppressions,
    templates,
)
from notify.web.pages.layout import page

STATIC = Path(__file__).parent / "static"

#: Below these answers are for programs.
_FOR_PROGRAMS = (PREFIX, description.PATH)


def create_app() -> FastAPI:
    """Make the app; every route asks for a right, but for the public ones.

    These are in :mod:`notify.web.pages.public` and :mod:`notify.web.receipts`.
    """
    app = FastAPI(
        title="Notify",
        version=notify.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # it would lead to the host and the scheme that a request names, tokens and all
    )
    app.add_middleware(BodyLimit, tell=_tell, larger=LARGER | campaign_form.PLACES | campaign_exchange.PLACES)
    app.add_middleware(SecurityHeaders)
    app.include_router(description.router)
    app.include_router(api_router)
    app.include_router(overview.router)
    app.include_router(messages.router)
    app.include_router(campaign_form.router)  # /campaigns/new is no number
    app.include_router(campaign_exchange.router)  # nor is /campaigns/export
    app.include_router(campaigns.router)
    app.include_router(put_aside.router)
    app.include_router(people.router)
    app.include_router(suppressions.router)
    app.include_router(explain.router)
    app.include_router(deadlines.router)
    app.include_router(templates.router)
    app.include_router(balance.router)
    app.include_router(public.router)
    app.include_router(receipts.router)
    app.include_router(settings.router)
    app.include_router(health.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind in (NotifyError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _tell)
    app.add_exception_handler(Exception, _tell_unexpected)
    return app


def _tell(request: Request, error: Exception) -> Response:
    """Answer with an error: to programs as a document, to people as a page, to readers of mails as one of theirs."""
    if public.is_public(request):
        return public.trouble(request, error)
    problem = problems.problem_of(error)
    headers = getattr(error, "headers", None)  # of HTTP errors, as WWW-Authenticate and Allow
    if request.scope["path"].removeprefix(request.scope["root_path"]).startswith(_FOR_PROGRAMS):
        return JSONResponse(problem.document(), problem.status, headers, media_type=problems.MEDIA_TYPE)
    found = page(request, "problem.html", status=problem.status, title=problem.title, problem=problem)
    found.headers.update(headers or {})
    return found


def _tell_unexpected(request: Request, error: Exception) -> Response:
    """Answer where nothing else does: outside of all that writes headers. The server's log gets the error."""
    response = _tell(request, error)
    secure(response.headers)
    return response
