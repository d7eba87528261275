"""Access tokens of OAuth2: one for all sessions of a channel, and a fresh one where it has run out."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Tokens:
    """The token that a channel's sessions log in with. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._token: str | None = None

    def get(self, fetch: Callable[[], str]) -> str:
        """The token; the first session fetches it, the others wait for that.

        :param fetch: how a fresh one is had
        """
        with self._lock:
            if self._token is None:
                self._token = fetch()
            return self._token

    def drop(self, token: str | None) -> None:
        """The server does not take it any more; the next session fetches a fresh one, unless that has been done."""
        with self._lock:
            if self._token == token:
                self._token = None
