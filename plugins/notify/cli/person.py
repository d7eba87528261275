"""``person erase``: everything of one person, in every table."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Iterator
from typing import Any

from notify import erasing
from notify.cli import arguments
from notify.cli.database import connect
from notify.erasing import ErasureResult

#: What is counted, in words.
_WORDS = {
    "people": "people, with groups, preferences and reminders",
    "cancelled": "messages cancelled that were still to be sent to nobody else",
    "messages": "messages to nobody else, without subject, text and files now",
    "shared": "messages to others as well, without the person now",
    "notifications": "notifications, without name, address and text now",
    "files": "attachments removed",
    "suppressions": "suppressions kept as a hash",
    "bodies": "texts of others in which an address was replaced",
    "headers": "headers of others written anew",
    "texts": "other rows in which an address or login was replaced",
}


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    group = commands.add_parser("person", help="erase a person")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    erasing_ = actions.add_parser(
        "erase",
        help="remove a person, and all that tells of them, from every table",
        description="There is no way back, but from a backup, which holds the person too. Look with --dry-run first.",
    )
    erasing_.add_argument("who", type=arguments.text, metavar="ADDRESS|LOGIN")
    erasing_.add_argument("--dry-run", action="store_true", help="only tell what it would do")
    erasing_.set_defaults(run=_erase)


def _erase(options: argparse.Namespace) -> None:
    actor = f"{getpass.getuser()} (command line)"
    result = erasing.erase(connect(), options.who, dry_run=options.dry_run, actor=actor)
    print("\n".join(_lines(result, dry_run=options.dry_run)))


def _lines(result: ErasureResult, *, dry_run: bool) -> Iterator[str]:
    yield f"Known by {_many(result.logins, 'login')} and {_many(result.addresses, 'address', 'es')}."
    for name, words in _WORDS.items():
        if count := getattr(result, name):
            yield f"  {count:>8,}  {words}"
    if dry_run:
        yield "Nothing was changed; this is what would be."
    elif result.left:
        places = ", ".join(f"{count} in {place}" for place, count in result.left.items())
        yield f"An address still stands in files that others got too, or came in meanwhile: {places}."
    else:
        yield "Erased: no table has an address of theirs any more."


def _many(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{'' if count == 1 else plural}"
