"""`python -m notify permissions`: what FAB's auth manager can grant, and who needs none of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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


def test_the_documented_grants_are_the_table() -> None:
    """What docs/page.md has granted to FAB's roles is what its table says of SimpleAuthManager's."""
    page = (Path(__file__).parents[2] / "docs" / "page.md").read_text()
    granted = {
        (role, action, resource)
        for command in re.findall(r"^\$ airflow roles add-perms (.*)$", page, flags=re.MULTILINE)
        for roles, resources, actions in [_parts(shlex.split(command))]
        for role in roles
        for resource in resources
        for action in actions
    }
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if "| `Notify " in line]
    table = {
        (role, ACTIONS[row[1].split("` ")[1]], row[1].split("` ")[0])
        for row in rows
        for role, cell in zip(("Viewer", "User", "Op"), row[3:], strict=False)
        if cell == "yes"
    }
    assert granted == table


def _parts(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Roles, resources and actions of a command."""
    resources, actions = words.index("-r"), words.index("-a")
    return words[:resources], words[resources + 1 : actions], words[actions + 1 :]
