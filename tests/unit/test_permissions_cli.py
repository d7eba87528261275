"""`python -m notify permissions`: what FAB's auth manager can grant, and who needs none of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

from notify.cli import main
from notify.cli.permissions import ACTIONS
from notify.web.rights import Right


def test_another_auth_manager(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the auth manager has no permissions to create, the command says so, and what to read instead."""
    assert main(["permissions", "create"]) == 1
    told = capsys.readouterr().err
    assert "SimpleAuthManager, not FabAuthManager" in told
    assert "docs/page.md" in told


def test_create(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each right becomes a permission on its resource. (FAB is not installed for tests, so its part is played.)"""
    made: list[tuple[str, str]] = []
    manager = SimpleNamespace(create_permission=lambda action, resource: made.append((action, resource)))

    @contextmanager
    def get_application_builder() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(sm=manager)

    fab = ModuleType("airflow.providers.fab.auth_manager.cli_commands.utils")
    fab.get_application_builder = get_application_builder  # type: ignore[attr-defined]
    monkeypatch.setattr("notify.cli.permissions.import_module", lambda _name: fab)
    name = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", name)
    assert main(["permissions", "create"]) == 0
    assert made == [(ACTIONS[right.method], right.resource) for right in Right]
    told = capsys.readouterr().out
    assert all(f"{action:11} {resource}" in told for action, resource in made)
