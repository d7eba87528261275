"""Processes that run over all campaigns as MassMailing does, until they are told to stop, or killed.

``python -m tests.campaign_worker --url …``; see ``tests/forked.py``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from notify.campaigns import following
from notify.campaigns.generating import Generating
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import campaign_messages
from tests.forked import CHECKOUT, obey

#: Between two runs, in seconds.
PAUSE = 0.005


def settings_of(templates: Path = CHECKOUT / "include" / "templates") -> HandOverSettings:
    """What messages of campaigns are made with."""
    return HandOverSettings(
        senders=("smtp_default",), templates=templates, identity=lambda _sender: SenderIdentity("example.com")
    )


def work(options: argparse.Namespace, stop: threading.Event, begin: Callable[[], None]) -> None:
    """Make messages, and have them follow their campaigns, until it is to stop, or until the parent is gone."""
    logging.disable(logging.ERROR)
    campaign_messages.MOST = options.step
    engine = sa.create_engine(options.url, connect_args={"application_name": f"campaign {os.getpid()}"})
    silence = timedelta(seconds=options.silence)
    generating = Generating(engine, settings_of(), stop=stop, stretch=options.stretch, silence=silence)
    with engine.connect():
        begin()
    parent = os.getppid()
    while not stop.is_set() and os.getppid() == parent:
        generating.run()
        following.follow_all(engine, stop=stop)
        stop.wait(PAUSE)


def main(arguments: list[str] | None = None) -> int:
    """Obey until the end of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the outbox database")
    parser.add_argument("--stretch", type=int, default=10, help="recipients of one transaction")
    parser.add_argument("--step", type=int, default=20, help="messages that one transaction moves")
    parser.add_argument("--silence", type=float, default=0.1, help="seconds after which a pass is dead")
    return obey(partial(work, parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
