"""The page, over HTTP, with Airflow's own auth manager; programs log in by token, browsers by cookie."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from airflow.api_fastapi.app import create_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from notify.checks.running import LOOKOUT
from notify.web.mount import MountedApp
from tests.metadata import clear
from tests.web_client import As


@pytest.fixture(scope="session")
def airflow() -> Iterator[FastAPI]:
    """What Airflow's API server is to us: something that mounts our app and has an auth manager."""
    initdb()  # where it looks whether a token was revoked
    manager = create_auth_manager()
    manager.init()
    app = FastAPI()
    app.state.auth_manager = manager
    app.mount("/notify", MountedApp(looks_around=False))  # beside the tests it would only be in their way
    yield app
    purge_cached_app()


@pytest.fixture
def outbox(notify_db: URL, monkeypatch: pytest.MonkeyPatch) -> URL:
    """The outbox database, as the server knows it, with one sender."""
    monkeypatch.setattr("notify.settings.senders", lambda: ("smtp_default",))
    monkeypatch.setattr(LOOKOUT, "_until", math.inf)  # or pages would look around by the way
    return notify_db


@pytest.fixture
def metadata(airflow: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Airflow's own database; what a test puts there is taken away again."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as Airflow's API server says of itself
    with create_session(scoped=False) as session:
        clear(session)
        yield session
        clear(session)


@pytest.fixture
def logged_in(airflow: FastAPI, outbox: URL) -> As:
    """A browser in which somebody with this role has logged in; None: nobody has."""

    def browser(role: str | None) -> TestClient:
        client = TestClient(airflow, follow_redirects=False, raise_server_exceptions=True)
        if role is not None:
            user = SimpleAuthManagerUser(username=f"the_{role}", role=role)
            client.cookies.set("_token", create_auth_manager().generate_jwt(user))
        return client

    return browser


@pytest.fixture
def program(logged_in: As, metadata: Session) -> As:
    """A program that logs in with a token of somebody with this role."""

    def client(role: str | None) -> TestClient:
        found = logged_in(role)
        if role is not None:
            token = found.cookies["_token"]
            found.cookies.clear()
            found.headers["Authorization"] = f"Bearer {token}"
        return found

    return client
