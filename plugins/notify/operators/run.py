"""What tasks have in common that run until nothing is left: they can be stopped politely."""

from __future__ import annotations

import threading
from functools import cached_property

from airflow.sdk import BaseOperator


class RunOperator(BaseOperator):
    """A run that, when it is stopped, finishes what it is at and begins nothing new."""

    @cached_property
    def _stop(self) -> threading.Event:
        """Raised when nothing new is to be begun; made at use, for Airflow copies DAGs deeply and a lock cannot be."""
        return threading.Event()

    def on_kill(self) -> None:
        """Finish what has begun; what is left is the next run's."""
        self._stop.set()
