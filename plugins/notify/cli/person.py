"""``person erase``: everything of one person, in every table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sized
from typing import Any

from notify import erasing
from notify.cli import arguments, audit
from notify.cli.database import actor, connect
from notify.erasing import ErasureResult
from notify.exceptions import PartlyErased

#: What is counted, in words.
_WORDS = {
    "people": "people, with groups, preferences and reminders",
    "cancelled": "messages to nobody else cancelled: queued, held, or uncertain, which may have been sent",
    "messages": "messages to nobody else, without subject, text and files now",
    "shared": "messages to others as well, without the person now",
    "notifications": "notifications, without name, address and text now",
    "files": "attachments removed",
    "suppressions": "suppressions kept as a hash",
    "bodies": "texts of others in which an address was replaced",
    "headers": "headers of others written anew",
    "texts": "other rows in which an address or login was replaced",
}

#: Messages that are named; of more, the others are counted.
_NAMED = 20


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    group = commands.add_parser("person", help="erase a person")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    erasing_ = actions.add_parser(
        "erase",
        help="remove a person, and all that tells of them, from every table",
        description="There is no way back, but from a backup, which holds the person too. Look with --dry-run first.",
    )
    erasing_.add_argument("who", type=arguments.text, metavar="ADDRESS|NUMBER|LOGIN")
    erasing_.add_argument("--dry-run", action="store_true", help="only tell what it would do")
    erasing_.set_defaults(run=_erase)


def _erase(options: argparse.Namespace) -> None:
    result = erasing.erase(connect(), options.who, dry_run=options.dry_run, actor=actor())
    if not options.dry_run:
        audit.record("erase_person", **{name: getattr(result, name) for name in _WORDS})  # of whom, nobody shall know
    print("\n".join(_lines(result, dry_run=options.dry_run)))
    if result.left:
        raise PartlyErased(_left(result))


def _lines(result: ErasureResult, *, dry_run: bool) -> Iterator[str]:
    if dry_run:  # what is done is told without the names: such lines are kept
        yield f"Logins: {', '.join(result.logins) or 'none'}. Addresses: {', '.join(result.addresses) or 'none'}."
    else:
        yield f"Known by {_many(result.logins, 'login')} and {_many(result.addresses, 'address', 'es')}."
    for name, words in _WORDS.items():
        if count := getattr(result, name):
            yield f"  {count:>8,}  {words}"
    if dry_run:
        yield "Nothing was changed; this is what would be."
        return
    if result.copy:
        yield (
            f"{_many(range(result.undeleted), 'file')} in object storage not deleted, for the original may need them: "
            f"this outbox may be a restored copy ({result.copy}). Once it is confirmed, Housekeeping deletes them."
        )
    elif result.undeleted:
        count = _many(range(result.undeleted), "file")
        yield f"{count} could not be deleted yet; the next run of Housekeeping tries again."
    if not result.left:
        yield "Erased: no table has an address of theirs any more."


def _left(result: ErasureResult) -> str:
    places = ", ".join(f"{count} in {place}" for place, count in result.left.items())
    numbers = ", ".join(str(number) for number in result.left_in[:_NAMED])
    more = f" and {len(result.left_in) - _NAMED:,} more" if len(result.left_in) > _NAMED else ""
    messages = f" Of messages: {numbers}{more} (python -m notify messages show ID)." if numbers else ""
    return (
        f"All the rest is erased, but an address still stands here: {places}.{messages} What came in meanwhile goes if "
        "you erase once more. Files that others got too stay until Housekeeping removes them, after notify_keep_bodies."
    )


def _many(names: Sized, noun: str, plural: str = "s") -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else plural}"
