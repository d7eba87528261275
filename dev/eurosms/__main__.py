"""``python -m dev.eurosms``: the server alone, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from decimal import Decimal
from pathlib import Path

from dev.errors import StackError
from dev.eurosms import BY_LAST_DIGIT, Account, EuroSms
from dev.eurosms.book import amount
from dev.eurosms.server import DEMO
from dev.steps import complain, say

ENDINGS = """\
The last digit of a number decides what becomes of its messages: 0 to 3 delivered; 4 only the first part delivered;
5 on its way, accepted, delivered; 6 UNDELIV; 7 EXPIRED; 8 UNKNOWN; 9 never any receipt. Each query tells one state.
"""


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted."""
    options = _parser().parse_args(arguments)
    account = Account(options.iid, options.key, options.balance, options.price)
    server = EuroSms(account, port=options.port, fates=BY_LAST_DIGIT, record=options.record)
    ended = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: ended.set())
    try:
        with server:
            say(f"listening {server.port}")  # a parent process may wait for it
            say(f"What is sent shows at {server.url}/ ; Ctrl-C stops it")
            ended.wait()
    except StackError as error:
        complain(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.eurosms",
        description="A local server of the EuroSMS HTTP interface. It delivers nothing.",
        epilog=ENDINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--iid", default=DEMO[0], help="the integration ID; default: %(default)s")
    parser.add_argument("--key", default=DEMO[1], help="the integration key; default: %(default)s")
    parser.add_argument("--balance", type=amount, default=Decimal(100), help="in EUR; default: %(default)s")
    parser.add_argument("--price", type=amount, default=Decimal("0.05"), help="of a part, in EUR; default: %(default)s")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append a line of JSON to it for each message")
    return parser


if __name__ == "__main__":
    sys.exit(main())
