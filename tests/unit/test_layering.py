"""Imports point one way, and importing what every Airflow process imports stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import notify

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

#: What no part may import at all, by its first folder or file; the parts that are not named here are skins.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "domain": ("airflow", "sqlalchemy", "psycopg", "alembic", "jinja2", "notify"),
    "exceptions": ("airflow", "sqlalchemy", "psycopg", "alembic", "jinja2", "notify"),
    "channels": (
        "sqlalchemy",
        "psycopg",
        "jinja2",
        "notify.storage",
        "notify.rendering",
        "notify.operators",
        "notify.drain",
    ),
    "mailboxes": (
        "sqlalchemy",
        "psycopg",
        "jinja2",
        "notify.storage",
        "notify.rendering",
        "notify.operators",
        "notify.bouncing",
    ),
    "rendering": ("airflow", "sqlalchemy", "psycopg", "notify.storage", "notify.channels", "notify.operators"),
    "storage": (
        "notify.channels",
        "notify.rendering",
        "notify.operators",
        "notify.listeners",
        "notify.web",
        "notify.checks",
        "notify.handover",
        "notify.publishing",
        "notify.merge",
        "notify.moving",
        "notify.remind",
        "notify.mailboxes",
        "notify.bouncing",
        "notify.undelivered",
    ),
    "settings": ("notify.storage", "notify.channels", "notify.rendering", "notify.operators"),
}

#: The exceptions to the above: a part may always import these.
ALLOWED: dict[str, tuple[str, ...]] = {
    "domain": ("notify.domain", "notify.exceptions"),
    # What a gateway is asked, and what its answer means, may be described by templates in its connection.
    "channels": ("jinja2",),
}

#: What must not be imported when the module is: it would load in every scheduler and DAG processor.
LATE: dict[str, tuple[str, ...]] = {
    "domain": ("phonenumbers", "anyascii"),
    "storage": ("airflow",),
    "listeners": ("sqlalchemy", "psycopg", "jinja2", "notify.storage", "notify.rendering"),
    "operators": ("sqlalchemy", "psycopg", "jinja2", "notify.storage", "notify.rendering", "notify.channels"),
    "plugin": ("sqlalchemy", "psycopg", "jinja2", "notify.storage", "notify.rendering"),
    "schedules": ("sqlalchemy", "psycopg", "jinja2", "notify.storage", "notify.rendering"),
    "settings": ("airflow", "sqlalchemy", "psycopg"),
    "__init__": ("airflow", "sqlalchemy", "psycopg", "jinja2", "notify.storage", "notify.rendering"),
}


@dataclass(frozen=True)
class Import:
    """One import statement.

    :param late: inside a function, or for the type checker only
    """

    where: str
    name: str
    late: bool

    def of(self, *packages: str) -> bool:
        """Whether it imports one of these, or something inside."""
        return any(self.name == package or self.name.startswith(f"{package}.") for package in packages)


class _Collector(ast.NodeVisitor):
    def __init__(self, where: str) -> None:
        self.where = where
        self.found: list[Import] = []
        self._late = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._within(node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._within(node.body)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            self._within(node.body)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [Import(self.where, alias.name, bool(self._late)) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.found += [Import(self.where, f"{node.module}.{alias.name}", bool(self._late)) for alias in node.names]

    def _within(self, body: list[ast.stmt]) -> None:
        self._late += 1
        for statement in body:
            self.visit(statement)
        self._late -= 1


def imports(part: str) -> Iterator[Import]:
    """All imports of a folder or a file."""
    root = PLUGINS / "notify"
    files = sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / f"{part}.py"]
    assert files
    for file in files:
        collector = _Collector(str(file.relative_to(PLUGINS)))
        collector.visit(ast.parse(file.read_text(encoding="utf-8")))
        yield from collector.found


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_point_one_way(part: str) -> None:
    """A part imports nothing that stands above it, not even inside a function or for the type checker."""
    wrong = [one for one in imports(part) if one.of(*FORBIDDEN[part]) and not one.of(*ALLOWED.get(part, ()))]
    assert wrong == []


@pytest.mark.parametrize("part", LATE)
def test_heavy_imports_come_late(part: str) -> None:
    """What costs time or loads a driver is imported where it is used."""
    assert [one for one in imports(part) if one.of(*LATE[part]) and not one.late] == []


def test_imports_are_absolute() -> None:
    """No module uses a relative import, which Airflow's plugin loader cannot run."""
    for file in PLUGINS.rglob("*.py"):
        found = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        assert all(node.level == 0 for node in found if isinstance(node, ast.ImportFrom)), file


# --- The public face -------------------------------------------------------------------------------------------------


def test_public_names() -> None:
    """The public face is this list: who changes it, changes a promise."""
    assert notify.__all__ == [
        "HandedOver",
        "InvalidDeadline",
        "InvalidEvent",
        "InvalidMessage",
        "InvalidPreference",
        "NotifyError",
        "Published",
        "__version__",
        "clear_deadline",
        "clear_preference",
        "clear_reminder",
        "enqueue",
        "publish",
        "set_deadline",
        "set_preference",
        "set_reminder",
    ]


@pytest.mark.parametrize("name", notify.__all__)
def test_public_names_are_there(name: str) -> None:
    """Every public name can be imported."""
    assert getattr(notify, name) is not None


def test_other_names_are_not_there() -> None:
    """A name that is none is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = notify.nonsense


def test_public_operators() -> None:
    """The operators that DAGs import by their documented path are there."""
    from notify import operators

    assert operators.__all__ == [
        "CampaignActionOperator",
        "CampaignOperator",
        "ClearDeadlineOperator",
        "ClearReminderOperator",
        "DeliveryReportsOperator",
        "HousekeepingOperator",
        "MassMailingOperator",
        "NotificationsOperator",
        "NotifyOperator",
        "RemindersOperator",
        "SendMessageOperator",
        "SetDeadlineOperator",
        "SetReminderOperator",
        "SmsReceiptsOperator",
        "SyncPeopleOperator",
        "UserNotificationsOperator",
    ]
    assert all(hasattr(operators, name) for name in operators.__all__)


# --- What an import loads --------------------------------------------------------------------------------------------

HEAVY = ("psycopg", "notify.storage", "notify.rendering", "notify.handover", "notify.publishing", "notify.drain")


def loaded_by(module: str, home: Path) -> set[str]:
    """The modules that a fresh interpreter has after an import."""
    code = f"import {module}, sys; print(*sys.modules, sep='\\n')"
    environment = {"PYTHONPATH": str(PLUGINS), "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["notify.operators", "notify_plugin", "notify.schedules"])
def test_import_is_cheap(module: str, tmp_path: Path) -> None:
    """What every Airflow process imports loads neither a database driver nor a template of ours."""
    loaded = loaded_by(module, tmp_path)
    assert module in loaded
    assert loaded.isdisjoint(HEAVY)


def test_import_of_the_package_is_cheaper_still(tmp_path: Path) -> None:
    """The package alone loads no Airflow, no SQLAlchemy, no pydantic and no Jinja either."""
    loaded = loaded_by("notify", tmp_path)
    assert loaded.isdisjoint({*HEAVY, "airflow", "sqlalchemy", "pydantic", "jinja2"})
    assert {name for name in loaded if name.startswith("notify")} == {"notify", "notify.exceptions"}
