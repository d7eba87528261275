"""What Airflow's API server mounts: the app, made when the first request comes.

Airflow imports plugins in every process, the scheduler among them; those need no web framework because of us.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class MountedApp:
    """An ASGI app that is made at its first request."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._making = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._made()(scope, receive, send)

    def _made(self) -> ASGIApp:
        with self._making:
            if self._app is None:
                from notify.web.app import create_app

                self._app = create_app()
            return self._app
