"""What happens when Airflow loads its plugins folder, seen from a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys
import email as standard
from airflow import plugins_manager
from airflow.listeners.listener import get_listener_manager

plugins_manager.ensure_plugins_loaded()
hooks = [module.__name__ for module in get_listener_manager().pm.get_plugins()]
report = {
    "errors": plugins_manager.get_import_errors(),
    "plugins": [one["name"] for one in plugins_manager.get_plugin_info()],
    "email": [standard is sys.modules["email"], sys.modules["email"].__file__],
    "listeners": hooks,
    "ours": {name: module.__file__ for name, module in list(sys.modules.items()) if getattr(module, "__file__", None)},
}
print("REPORT" + json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process found that loaded the plugins."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    environment |= {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("REPORT")[2])
    return found


def test_no_import_errors(report: dict[str, Any]) -> None:
    """Airflow loads the folder without an error."""
    assert report["errors"] == {}


def test_one_plugin(report: dict[str, Any]) -> None:
    """Exactly one plugin is there, and it is called notify."""
    assert report["plugins"].count("notify") == 1
    # Airflow and its providers bring plugins of their own; none of them lies in our folder.
    assert [name for name in report["plugins"] if "notify" in name.lower()] == ["notify"]


def test_email_is_the_standard_library(report: dict[str, Any]) -> None:
    """The standard library's email is still itself: no file of ours took its place."""
    same, file = report["email"]
    assert same
    assert not Path(file).is_relative_to(CHECKOUT / "plugins")


def test_no_module_under_a_bare_name(report: dict[str, Any]) -> None:
    """No module of ours is loaded without the prefix notify., the shim aside."""
    ours = [name for name, file in report["ours"].items() if Path(file).is_relative_to(CHECKOUT / "plugins")]
    bare = [name for name in ours if name != "notify" and not name.startswith("notify.")]
    # Airflow loads a plugin's file under its own name or its bare stem; in both cases it is the shim.
    assert {Path(report["ours"][name]).name for name in bare} == {"notify_plugin.py"}
    assert len(bare) == 1


def test_every_module_once(report: dict[str, Any]) -> None:
    """No file of ours is loaded twice under two names: two copies of an enum compare unequal."""
    files = [file for file in report["ours"].values() if Path(file).is_relative_to(CHECKOUT / "plugins")]
    assert len(files) == len(set(files))


def test_listener_is_registered(report: dict[str, Any]) -> None:
    """The scheduler will call the listener that carries the pools' slots, once."""
    assert report["listeners"].count("notify.listeners.hourly_limits") == 1


def test_no_database_driver(report: dict[str, Any]) -> None:
    """Loading the plugin loads no part of ours that talks to the outbox."""
    assert not {"notify.storage", "notify.handover", "notify.drain", "notify.rendering"} & set(report["ours"])
