"""What all views share: the templates, the frame around them, and how moments are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from airflow.api_fastapi.app import get_cookie_path
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from notify.checks.running import LOOKOUT
from notify.web import forgery
from notify.web.rights import Right

#: The views in the order of the menu: where they are, what they are called, who may see them.
MENU = (
    ("", "Overview", Right.READ_SETTINGS),
    ("messages", "Messages", Right.READ_REGISTER),
    ("campaigns", "Campaigns", Right.READ_REGISTER),
    ("put-aside", "Put aside", Right.READ_PEOPLE),
    ("people", "People", Right.READ_PEOPLE),
    ("deadlines", "Deadlines", Right.READ_REGISTER),
    ("templates", "Templates", Right.READ_SETTINGS),
    ("settings", "Settings", Right.READ_SETTINGS),
    ("health", "Health", Right.READ_SETTINGS),
)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("notify.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "brief": brief, "lasting": lasting, "query": urlencode}
    environment.filters["person"] = place_of
    environment.globals |= {"Right": Right, "health": LOOKOUT.counts}
    return environment


def page(
    request: Request,
    template: str,
    *,
    title: str,
    user: BaseUser | None = None,
    status: int = 200,
    under: str | None = None,
    **values: Any,
) -> HTMLResponse:
    """Render a view.

    :param template: its file in ``templates``
    :param title: what it is called
    :param user: who looks at it
    :param under: the view of the menu that it belongs to, where its own path does not say so
    """
    root = request.scope["root_path"]
    here = under or request.scope["path"].removeprefix(root).strip("/")
    text = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            root=root,
            airflow=get_cookie_path().rstrip("/"),
            here=here,
            menu=[(path, name) for path, name, right in MENU if user is not None and right.of(user)],
            user=user,
            may={right.name: user is not None and right.of(user) for right in Right},
            csrf_token=forgery.token_for(user) if user is not None else "",
            **values,
        )
    )
    return HTMLResponse(text, status)


def moment(at: datetime | None) -> Markup | str:
    """A moment as people read it; the page's script puts it into their own zone."""
    if at is None:
        return "–"
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S} UTC")


def brief(at: datetime) -> Markup:
    """The same to the minute; in the browser, without the day where that is today."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" data-brief>{}</time>').format(utc.isoformat(), f"{utc:%Y-%m-%d %H:%M} UTC")


def place_of(login: str) -> str:
    """The view of a person, below our root. A login may hold what a path cannot: browsers and proxies rewrite it."""
    if {"", ".", ".."}.isdisjoint(login.split("/")) and "%" not in login:
        return f"/people/{quote(login)}"
    return f"/people?{urlencode({'login': login})}"


def lasting(time: timedelta) -> str:
    """A span of time in its two largest units."""
    seconds = max(0, round(time.total_seconds()))
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((place for place, (_, size) in enumerate(units) if seconds >= size), len(units) - 1)
    parts: list[str] = []
    for name, size in units[first : first + 2]:
        count, seconds = divmod(seconds, size)
        if count or not parts:
            parts.append(f"{count} {name}")
    return " ".join(parts)
