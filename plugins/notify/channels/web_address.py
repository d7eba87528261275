"""Where a connection of type ``http`` leads."""

from __future__ import annotations

import re

from airflow.sdk import Connection

from notify.channels.extras import Extras

_PLACE = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def web_address(extras: Extras, connection: Connection, default: str = "") -> str:
    """Scheme, host and port of a connection, without a path.

    :param default: where it leads if it names no host
    :raises notify.exceptions.SenderFault: it names none that could be
    """
    host = (connection.host or default).strip().rstrip("/")
    scheme, there, place = host.partition("://")
    if not there:
        scheme, place = connection.schema or "https", host
    if scheme not in {"http", "https"} or not _PLACE.fullmatch(place):
        example = default or "https://gateway.example.com"
        raise extras.fault("host", f"is no address of a web server; write, for example, {example}")
    port = f":{connection.port}" if connection.port and ":" not in place else ""
    return f"{scheme}://{place}{port}"
