"""Health: what keeps mail from flowing, or may do so one day, and where it is mended."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from notify.checks.check import Outcome
from notify.checks.running import CHECKS, LOOKOUT
from notify.web.pages.layout import page
from notify.web.rights import Right, requires

router = APIRouter()


@router.get("/health", response_class=HTMLResponse)
def health(request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)]) -> Response:
    """All checks, made now."""
    results = LOOKOUT.look()
    by_outcome = {outcome: [result for result in results if result.outcome is outcome] for outcome in Outcome}
    meanings = {check.id: check.meaning for check in CHECKS}
    return page(request, "health.html", title="Health", user=user, found=by_outcome, meanings=meanings, Outcome=Outcome)
