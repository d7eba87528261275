"""``permissions create``: what FAB's auth manager can grant of the page and the API, so that roles can be given it."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from notify.exceptions import ConfigurationError

#: FAB's words for what is done with a resource.
ACTIONS = {"GET": "can_read", "POST": "can_create", "PUT": "can_edit", "DELETE": "can_delete"}


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    permissions = commands.add_parser("permissions", help="permissions of the page and the API, for FAB's auth manager")
    actions = permissions.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser(
        "create",
        help="make them known to FAB, which grants only what it knows",
        description="Makes the permissions known to FAB. Then grant them with: airflow roles add-perms. Harmless if "
        "they are there.",
    )
    create.set_defaults(run=_create)


def _create(_options: argparse.Namespace) -> None:
    from notify.web.rights import Right

    with _appbuilder() as appbuilder:
        for right in Right:
            appbuilder.sm.create_permission(ACTIONS[right.method], right.resource)
    for right in Right:
        print(f"{ACTIONS[right.method]:11} {right.resource:17} {right.means}")
    print("FAB knows these. Grant them with: airflow roles add-perms")


def _appbuilder() -> Any:
    """FAB's application builder, as a context.

    :raises ConfigurationError: the auth manager is another one
    """
    from airflow.configuration import conf

    name = conf.get("core", "auth_manager")
    if not name.endswith(".FabAuthManager"):
        raise ConfigurationError(
            f"The auth manager of this Airflow is {name.rpartition('.')[2]}, not FabAuthManager: it has no permissions "
            "to create. What its roles may do stands in docs/page.md."
        )
    # By name, for only who uses it has it installed.
    return import_module("airflow.providers.fab.auth_manager.cli_commands.utils").get_application_builder()
