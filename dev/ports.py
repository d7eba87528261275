"""Ports of this machine: free ones, and clear words about taken ones."""

from __future__ import annotations

import itertools
import random
import socket
from contextlib import suppress

from dev.errors import StackError

HOST = "127.0.0.1"

#: Where free ports are looked for: below those that the system gives to clients, and to whoever asks for any port.
#: One of theirs could be gone before it is used.
RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses at the moment, each another one."""
    candidates = random.sample(RANGE, len(RANGE))
    free = (port for port in candidates if not _somebody_listens(port) and _can_listen(port))
    return list(itertools.islice(free, count))


def require_free(port: int, variable: str, purpose: str) -> None:
    """Raise unless the port can be listened on.

    :param variable: the environment variable that moves it
    :param purpose: what needs the port, e.g. ``Airflow``
    """
    if not 0 < port < 65536:
        raise StackError(f"{variable}={port} is no port.", f"Set {variable} to a number from 1 to 65535.")
    if _somebody_listens(port) or not _can_listen(port):
        raise StackError(
            f"{purpose} needs port {port}, and something on this machine uses it already.",
            f"Stop that program, or choose another port: make up {variable}={_suggestion(port)}",
        )


def _somebody_listens(port: int) -> bool:
    for address in (HOST, "::1"):
        with suppress(OSError), socket.create_connection((address, port), timeout=1):
            return True
    return False


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _suggestion(port: int) -> int:
    """A free port near the wanted one; people remember those."""
    near = range(port + 1, min(port + 100, 65536))
    return next((p for p in near if not _somebody_listens(p) and _can_listen(p)), free_ports(1)[0])
