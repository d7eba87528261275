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
from notify.web import problems
from notify.web.headers import SecurityHeaders
from notify.web.pages import messages, overview
from notify.web.pages.layout import page

STATIC = Path(__file__).parent / "static"

#: Below it answers are for programs.
API = "/api/v1"


def create_app() -> FastAPI:
    """Make the app; every route of it asks for a right."""
    app = FastAPI(title="Notify", version=notify.__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SecurityHeaders)
    app.include_router(overview.router)
    app.include_router(messages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for kind in (NotifyError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _tell)
    return app


def _tell(request: Request, error: Exception) -> Response:
    """Answer with an error: to programs as a document, to people as a page."""
    problem = problems.problem_of(error)
    if request.scope["path"].removeprefix(request.scope["root_path"]).startswith(API):
        return JSONResponse(problem.document(), problem.status, media_type=problems.MEDIA_TYPE)
    return page(request, "problem.html", status=problem.status, title=problem.title, problem=problem)
