"""Processes that merge what is put aside until they are told to stop, or killed; see ``tests/forked.py``.

``python -m tests.merge_worker --url … --templates …``
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from notify.merge import Merger
from tests.forked import obey
from tests.newsroom import settings_of

#: Between two runs, in seconds.
PAUSE = 0.01


def work(options: argparse.Namespace, stop: threading.Event, begin: Callable[[], None]) -> None:
    """Merge again and again, until it is to stop, or until the parent is gone."""
    logging.disable(logging.WARNING)
    engine = sa.create_engine(options.url, connect_args={"application_name": f"merge {os.getpid()}"})
    merger = Merger(
        engine, settings_of(options.templates), people=options.people, notifications=options.notifications, stop=stop
    )
    with engine.connect():
        begin()
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        merger.run()
        stop.wait(PAUSE)


def main(arguments: list[str] | None = None) -> int:
    """Obey until the end of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the outbox database")
    parser.add_argument("--templates", required=True, type=Path)
    parser.add_argument("--people", type=int, default=2, help="of one transaction")
    parser.add_argument("--notifications", type=int, default=20, help="of one transaction")
    options = parser.parse_args(arguments)
    return obey(partial(work, options))


if __name__ == "__main__":
    sys.exit(main())
