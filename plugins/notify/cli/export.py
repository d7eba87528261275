"""``messages export``: the register as a file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import Connection, Engine

from notify import progress
from notify.cli import arguments, audit
from notify.cli.database import connect
from notify.domain.channel import ChannelName
from notify.domain.destination import sought
from notify.domain.status import Status
from notify.exceptions import NotifyError
from notify.settings import phone_region
from notify.storage import schema
from notify.storage.search import Search, told
from notify.table import Format, Style, written


class NotWritten(NotifyError):
    """The file could not be written."""


def add_command(actions: Any) -> None:
    """Add it to the commands about messages."""
    export = actions.add_parser("export", help="all messages that fit the filters, as CSV or JSON")
    form = [one.value for one in Format]
    export.add_argument("--format", choices=form, default=Format.CSV.value, help="default: %(default)s")
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file (default: standard output)")
    export.add_argument("--bodies", action="store_true", help="with the texts")
    export.add_argument("--bom", action="store_true", help="CSV: begin with a byte order mark, for Excel")
    export.add_argument("--raw", action="store_true", help="CSV: leave texts as they are; not for spreadsheets")
    _add_filters(export)
    export.set_defaults(run=_export)


def _add_filters(export: argparse.ArgumentParser) -> None:
    export.add_argument("--status", choices=[status.value for status in Status], action="append", default=[])
    export.add_argument("--channel", choices=[channel.value for channel in ChannelName], help="by this channel")
    for name, words in (
        ("--sender", "of this sender"),
        ("--site", "handed over for this site"),
        ("--kind", "of this kind: send_message, digest, or that of an event"),
        ("--address", "to this address, or this telephone number"),
        ("--case", "about this case"),
        ("--since", "handed over at this moment or later; ISO 8601, in UTC if no zone"),
        ("--until", "handed over before this moment"),
    ):
        export.add_argument(name, type=arguments.text, default="", help=words)
    export.add_argument("--campaign", type=arguments.number, metavar="ID", help="made for this campaign")


def _wanted(options: argparse.Namespace) -> Search:
    """What is looked for; read as the page and the API do."""
    from notify.web.register import moment_of, text_of

    return Search(
        statuses=frozenset(map(Status, options.status)),
        channel=ChannelName(options.channel) if options.channel else None,
        sender=text_of("sender", options.sender),
        site=text_of("site", options.site),
        kind=text_of("kind", options.kind),
        campaign=options.campaign,
        address=text_of("address", options.address and sought(options.address, phone_region)),
        case_id=text_of("case", options.case),
        since=moment_of("since", options.since),
        until=moment_of("until", options.until),
    )


def _export(options: argparse.Namespace) -> None:
    from notify import exporting

    wanted = _wanted(options)
    engine = connect()
    with reading(engine):  # before there is a file, and before anybody is told of it
        pass
    with opened(options.output) as file:
        audit.record("export_messages", format=options.format, bodies=options.bodies, filters=told(wanted))
        rows = Counted(exporting.messages(lambda: reading(engine), wanted, texts=options.bodies), "messages")
        style = Style(Format(options.format), bom=options.bom, raw=options.raw)
        for piece in written(exporting.columns(texts=options.bodies), rows, style):
            file.write(piece)
    if options.output is not None:
        print(f"{rows.count:,} messages are in {options.output}.")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """The outbox, for a part of a file.

    :raises ConfigurationError: its tables are not those of this version
    """
    with engine.connect() as connection:
        schema.require(connection)
        yield connection


class Counted:
    """Counts rows while they go by, and says on standard error how many there were, now and then.

    :param things: what they are
    """

    def __init__(self, rows: Iterable[dict[str, object]], things: str) -> None:
        self.count = 0
        self._things = things
        self._rows = rows
        self._told = time.monotonic()

    def __iter__(self) -> Iterator[dict[str, object]]:
        for row in self._rows:
            yield row
            self.count += 1
            if time.monotonic() - self._told >= progress.EVERY:
                self._told = time.monotonic()
                print(f"notify: {self.count:,} {self._things} so far", file=sys.stderr)


@contextmanager
def opened(path: Path | None) -> Iterator[IO[bytes]]:
    """Where the file goes. One that is not whole in the end is taken away: nobody shall take a part for all of it.

    :param path: None: standard output
    :raises NotWritten: there is a file, or there can be none
    """
    if path is None:
        with _piped() as pipe:
            yield pipe
        return
    new = not path.exists() or path.is_file()  # a pipe or a device is written to as it is
    try:
        # It holds addresses: for its owner alone, until they say otherwise.
        number = os.open(path, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)
        with os.fdopen(number, "wb") as file:
            try:
                yield file
                file.flush()
            except BaseException:
                if new:
                    path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise NotWritten(f"There is a file {path} already. Name another, or take that one away.") from None
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error.strerror}.") from None


@contextmanager
def _piped() -> Iterator[IO[bytes]]:
    """Standard output; whoever reads it, as head does, may stop before its end."""
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        with suppress(OSError):  # or Python would complain of it once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
