"""What Airflow's API server mounts: the app, made when the first request comes.

Airflow imports plugins in every process, the scheduler among them; those need no web framework because of us.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


log = logging.getLogger(__name__)


class MountedApp:
    """An ASGI app that is made at its first request.

    :param looks_around: whether it then looks at what may keep mail from flowing, and writes that into the log
    """

    def __init__(self, *, looks_around: bool = True) -> None:
        self._app: ASGIApp | None = None
        self._making = threading.Lock()
        self._looks_around = looks_around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._made()(scope, receive, send)

    def _made(self) -> ASGIApp:
        with self._making:
            if self._app is None:
                from notify.web.app import create_app

                self._app = create_app()
                if self._looks_around:  # nobody waits for it
                    threading.Thread(target=_tell_what_is_found, name="notify checks", daemon=True).start()
            return self._app


def _tell_what_is_found() -> None:
    from notify.checks.running import LOOKOUT

    try:
        LOOKOUT.tell()
    except Exception:  # a request must not suffer from it
        log.exception("The checks at the start could not be made")
