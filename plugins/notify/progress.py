"""How far a long run is, told now and then."""

from __future__ import annotations

import logging
import time

#: Seconds between two lines.
EVERY = 10.0


class Progress:
    """Puts a line into the log of a run, but not more often than anybody wants to read."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told = time.monotonic()

    def tell(self, text: str, *values: object) -> None:
        """Tell it, unless something was told just now.

        :param text: as for logging, with the values that belong there
        """
        if time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            self._log.info(text, *values)
