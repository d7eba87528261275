"""Every route asks for a right, and the auth manager's answer counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from httpx import Response

from notify.web.app import create_app
from notify.web.rights import Right
from tests.web_client import API, ROLES, As

#: What each of SimpleAuthManager's roles may do, as the documentation has it.
RIGHTS = {
    "viewer": {Right.READ_REGISTER, Right.READ_SETTINGS},
    "user": set(Right) - {Right.CHANGE_PEOPLE, Right.CHANGE_SETTINGS},
    "op": set(Right),
    "admin": set(Right),
}


#: What needs no login, for its address is the credential. Who adds to these lets everybody in.
PUBLIC = {(method, f"/notify/{page}/{{token}}") for method in ("GET", "POST") for page in ("my", "unsubscribe")} | {
    ("GET", "/notify/receipts/{sender}/{token}")
}

#: What stands in the places of a route's path here; "1" in all others.
PLACES = {"action": "hold", "name": "welcome", "language": "en"}


def routes() -> Iterator[tuple[str, str, Right | None]]:
    """Each route: its method, its path with something in each place, and the right that it asks for."""
    for route in create_app().routes:
        if isinstance(route, APIRoute) and not _is_public(route.dependant):
            rights = [right for right in _rights(route.dependant) if right]
            path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda place: PLACES.get(place[1], "1"), route.path)
            for method in route.methods:
                yield method, f"/notify{path}", rights[0] if len(rights) == 1 else None


def _rights(dependant: Dependant) -> Iterator[Right | None]:
    for one in dependant.dependencies:
        yield getattr(one.call, "right", None)
        yield from _rights(one)


def _is_public(dependant: Dependant) -> bool:
    return any(getattr(one.call, "public", False) or _is_public(one) for one in dependant.dependencies)


ROUTES = sorted(routes(), key=str)


def ask(client: TestClient, method: str, path: str) -> Response:
    """Ask a route with a body of the sort that it takes: a form on the page, JSON below the API."""
    if path.startswith(API):
        return client.request(method, path, json={} if method in {"POST", "PUT"} else None)
    return client.request(method, path, data={"id": "1"} if method == "POST" else None)


def test_there_are_routes() -> None:
    """The app tells its routes, so the tests below look at something."""
    assert ("GET", "/notify/messages", Right.READ_REGISTER) in ROUTES


def test_what_is_public() -> None:
    """No route is public but those that readers of mails and SMS gateways need; these ask for no right beside."""
    found = [route for route in create_app().routes if isinstance(route, APIRoute) and _is_public(route.dependant)]
    assert {(method, f"/notify{route.path}") for route in found for method in route.methods} == PUBLIC
    assert not [right for route in found for right in _rights(route.dependant) if right]


@pytest.mark.parametrize(("method", "path", "right"), ROUTES)
def test_every_route_asks_for_one_right(method: str, path: str, right: Right | None) -> None:
    """A route without a right would let everybody in: Airflow adds none."""
    assert right is not None


@pytest.mark.parametrize(("method", "path", "right"), ROUTES)
def test_nobody_without_a_login(logged_in: As, method: str, path: str, right: Right) -> None:
    """Who is not logged in, or not any more, sees nothing and is told where to log in."""
    for cookie in (None, "nonsense"):
        client = logged_in(None)
        if cookie:
            client.cookies.set("_token", cookie)
        answer = ask(client, method, path)
        assert answer.status_code in ({401} if cookie is None else {401, 403})
        assert "No." not in answer.text


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path", "right"), ROUTES)
def test_each_role(logged_in: As, role: str, method: str, path: str, right: Right) -> None:
    """Who lacks the right is refused, and told which; who has it gets past that."""
    answer = ask(logged_in(role), method, path)
    if right in RIGHTS[role]:
        assert answer.status_code != 403 or "did not come from a page of ours" in answer.text
    else:
        assert answer.status_code == 403
        assert right.means in unescape(answer.text)


def test_the_documentation_has_them() -> None:
    """The table in the documentation is what the auth manager says."""
    text = (Path(__file__).parents[2] / "docs" / "page.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "| `Notify " in line]
    told = {
        row[0]: (row[1], {role for role, cell in zip(ROLES, row[3:], strict=True) if cell == "yes"}) for row in rows
    }
    assert told == {
        right.means: (f"`{right.resource}` {right.method}", {role for role in ROLES if right in RIGHTS[role]})
        for right in Right
    }
