"""A run of DeliveryReports that kills itself: ``python -m tests.bounce_worker --url … --port … --at finish``.

``finish``: when the database has what the mails say, and they are about to be put away. ``take``: in the middle of a
mail, its transaction not committed. ``tell``: with the senders' notices handed over, and not committed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Never

import sqlalchemy as sa

from notify import bouncing
from notify.bouncing import Bouncing
from notify.mailboxes.imap import ImapMailbox, ImapSource
from notify.mailboxes.imap_settings import ImapSettings
from notify.settings import BounceSettings, HandOverSettings, SenderIdentity
from notify.storage import withholding
from tests.returns import imap_connection

TEMPLATES = Path(__file__).resolve().parents[1] / "include" / "templates"


def die(*_given: object, **_named: object) -> Never:
    """End at once, with nothing put in order."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main() -> int:
    """Run, and die at the given place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of the outbox database")
    parser.add_argument("--port", type=int, required=True, help="of the IMAP server")
    parser.add_argument("--at", choices=["finish", "take", "tell"], required=True)
    options = parser.parse_args()
    match options.at:
        case "finish":
            ImapMailbox.finish = die  # type: ignore[method-assign]
        case "take":
            withholding.from_address = die
        case "tell":
            told = bouncing.tell_senders
            bouncing.tell_senders = lambda *given, **named: die(told(*given, **named))
    settings = HandOverSettings(
        senders=("smtp_default",), templates=TEMPLATES, identity=lambda _sender: SenderIdentity("example.com")
    )
    source = ImapSource(ImapSettings.of("imap_bounces", imap_connection(options.port)))
    Bouncing(sa.create_engine(options.url), settings, BounceSettings(), source).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
