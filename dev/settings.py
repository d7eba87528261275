"""Airflow's settings for the local stack: most as environment variables, the keys in ``airflow.cfg``."""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.errors import StackError
from dev.ports import HOST, free_ports

CHECKOUT = Path(__file__).resolve().parent.parent

# What a person's shell may carry for another Airflow, and what would change this one behind its back.
FOREIGN = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW_CONFIG")

# Where Airflow's simple auth manager keeps the passwords that it generates.
PASSWORDS = "simple_auth_manager_passwords.json.generated"

KEYS = (("core", "fernet_key"), ("api", "secret_key"), ("api_auth", "jwt_secret"))

KEYS_COMMENT = """\
# The keys of this Airflow, made once by the local stack. Its other settings come as environment variables
# (dev/settings.py). What you add here holds unless the stack sets it too.
"""

SHELL_COMMENT = """\
# For a shell that is to reach this Airflow and its outbox. Made anew by each start of the local stack.\
"""


def environment(
    home: Path, *, port: int, database: str, dags_folder: Path, more_dags: Mapping[str, Path] | None = None
) -> dict[str, str]:
    """Everything Airflow is told by environment. Nothing in it is secret: tasks inherit it.

    :param database: the metadata database, as SQLAlchemy's URL
    :param more_dags: further folders of DAGs, each by the name that Airflow shows as its bundle
    """
    worker_log_port, trigger_log_port = free_ports(2)
    url = f"http://localhost:{port}"
    settings: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags_folder,
            "plugins_folder": CHECKOUT / "plugins",
            "executor": "LocalExecutor",
            "parallelism": 4,
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "execution_api_server_url": f"http://{HOST}:{port}/execution/",
            "hostname_callable": "socket.gethostname",  # the default asks DNS, which laptops answer slowly
            "simple_auth_manager_users": "admin:admin",
        },
        "api": {"host": HOST, "port": port, "base_url": url, "workers": 1},
        "dag_processor": {
            "refresh_interval": 10,
            "min_file_process_interval": 10,
            "parsing_processes": 1,
        },
        "logging": {"worker_log_server_port": worker_log_port, "trigger_log_server_port": trigger_log_port},
        "scheduler": {"enable_health_check": False},  # a third server; /api/v2/monitor/health knows as much
        "database": {"sql_alchemy_conn": database, "sql_alchemy_conn_async": database},
    }
    if more_dags:
        settings["dag_processor"]["dag_bundle_config_list"] = json.dumps(_bundles(more_dags))
    return {
        **_inherited(os.environ),
        "AIRFLOW_HOME": str(home),
        **{
            f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
            for section, options in settings.items()
            for option, value in options.items()
        },
    }


def _bundles(more_dags: Mapping[str, Path]) -> list[dict[str, object]]:
    """The folders of DAGs as Airflow wants to be told of them; its own, under its usual name, is the first."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    folders = {name: {"path": str(folder)} for name, folder in more_dags.items()}
    return [
        {"name": name, "classpath": local, "kwargs": kwargs} for name, kwargs in {"dags-folder": {}, **folders}.items()
    ]


def shell_lines(env: Mapping[str, str]) -> str:
    """The same for a person's shell, which then has ``airflow`` and ``python -m notify`` at hand: ``. .airflow/env``.

    :param env: what :func:`environment` returned
    """
    ours = {name: value for name, value in env.items() if name.startswith("AIRFLOW")}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in ours.items()]
    commands = shlex.quote(str(Path(sys.executable).parent))
    return "\n".join([SHELL_COMMENT, *exports, f'export PATH={commands}:"$PATH"', ""])


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, fit for an Airflow that talks to itself over this machine's ports."""
    inherited = {name: value for name, value in environ.items() if not name.startswith(FOREIGN)}
    local = ",".join(filter(None, [environ.get("no_proxy") or environ.get("NO_PROXY"), "localhost", HOST]))
    commands = str(Path(sys.executable).parent)  # standalone starts its parts as "airflow", found on the PATH
    return {
        **inherited,
        "PATH": os.pathsep.join([commands, environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "NO_PROXY": local,
        "no_proxy": local,
    }


#: Airflow 3.3.2 knows a lock that is taken by ``pgcode``, which psycopg 3 calls ``sqlstate``: its scheduler dies where
#: somebody edits a pool at the moment in which it reads them (airflow/utils/sqlalchemy.py, is_lock_not_available_error,
#: 2026-11). With psycopg2 it tries again.
LOCAL_SETTINGS = '''\
"""Lets Airflow's scheduler survive that somebody edits a pool: it asks errors of PostgreSQL for psycopg2's pgcode."""

import psycopg

__all__ = ()  # nothing of it is a setting of Airflow's

psycopg.Error.pgcode = property(lambda error: error.sqlstate)
'''


def ensure_keys(home: Path) -> None:
    """Make the keys that Airflow's parts share, once. An ``airflow.cfg`` that exists is not touched.

    The file of the passwords, which Airflow fills, is made too: so it is its owner's only.
    """
    (home / PASSWORDS).touch(mode=0o600)
    path = home / "airflow.cfg"
    if path.exists():
        _require_keys(path)
        return
    config = configparser.RawConfigParser()
    for section, option in KEYS:
        config.add_section(section)
        config.set(section, option, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    config.set("api_auth", "jwt_secret", secrets.token_urlsafe(64))  # HS512 wants 64 bytes or more
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(KEYS_COMMENT)
        config.write(file)


def ensure_local_settings(home: Path) -> None:
    """Write what Airflow reads as its local settings in each of its processes; what a person wrote there stays."""
    path = home / "config" / "airflow_local_settings.py"
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(LOCAL_SETTINGS)


def _require_keys(path: Path) -> None:
    config = configparser.RawConfigParser(strict=False)
    config.read(path)
    missing = [f"[{section}] {option}" for section, option in KEYS if not config.get(section, option, fallback="")]
    if missing:
        raise StackError(
            f"{path} has no {', '.join(missing)}.", "Add it, or move the file away and have a new one made."
        )
