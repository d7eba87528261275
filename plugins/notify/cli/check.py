"""``check``: whether every event has exactly one home for each of its recipients."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from notify.cli.database import changing, connect
from notify.exceptions import Uneven
from notify.storage import balance, schema
from notify.storage.balance import Balance


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    check = commands.add_parser(
        "check",
        help="the balance: events × recipients = mails + in digests + waiting + refused; exit status 1 if not",
    )
    check.add_argument("--json", action="store_true", help="for programs")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> None:
    engine = connect()
    with engine.connect() as connection:
        schema.require(connection)
    found = balance.check(engine)
    with changing() as connection:
        balance.keep(connection, found)
    if options.json:
        print(json.dumps(asdict(found) | {"even": found.even}, default=datetime.isoformat))
    else:
        print("\n".join(_lines(found)))
    if not found.even:
        raise Uneven


def _lines(found: Balance) -> Iterator[str]:
    yield f"{found.events:>12,}  events, which make"
    yield f"{found.expected:>12,}  notifications (events × recipients)"
    yield f"{found.mails:>12,}  mails of their own"
    yield f"{found.in_digests:>12,}  in {found.digests:,} digests"
    yield f"{found.waiting:>12,}  waiting, put aside"
    yield f"{sum(found.refused.values()):>12,}  refused{_counts(found.refused)}"
    if found.statuses:
        yield f"Those in messages{_counts(found.statuses)}"
    for wrong in found.wrong:
        yield f"WRONG: {wrong.count} {wrong.what}, such as {', '.join(map(str, wrong.examples))}"
    yield "The balance is even." if found.even else "The balance is NOT even."


def _counts(numbers: Mapping[str, int]) -> str:
    return f": {', '.join(f'{count:,} {name}' for name, count in sorted(numbers.items()))}" if numbers else ""
