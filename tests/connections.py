"""Databases as connections of Airflow's."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.engine import URL, make_url


def postgres_connection(url: str | URL, conn_type: str = "postgres", **more: Any) -> str:
    """A PostgreSQL database as an admin writes it into the environment, as JSON.

    :param conn_type: or ``generic``, where Airflow does not offer the other
    :param more: further fields of the connection
    """
    address = make_url(url)
    described = {
        "conn_type": conn_type,
        "host": address.query.get("host") or address.host,
        "login": address.username,
        "password": address.password,
        "port": address.port,
        "schema": address.database,
        **more,
    }
    return json.dumps({name: value for name, value in described.items() if value})
