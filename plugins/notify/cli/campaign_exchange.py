"""``campaigns export`` and ``campaigns import``: campaigns leave for a file, and come back out of one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from notify import settings
from notify.campaigns import exchange
from notify.campaigns.exchange import TakenIn
from notify.cli import arguments, audit
from notify.cli.database import changing, connect
from notify.cli.export import Counted, opened, reading
from notify.domain.campaign import CampaignStatus
from notify.exceptions import ConfigurationError
from notify.storage import campaigns
from notify.table import Format, Style, written

_FORMATS = [one.value for one in Format]


def add_commands(actions: Any) -> None:
    """Add them to the commands about campaigns."""
    export = actions.add_parser("export", help="campaigns as a file: JSON, with recipients and files, or CSV")
    export.add_argument("ids", type=arguments.number, nargs="*", metavar="ID", help="these (default: all)")
    export.add_argument("--status", choices=[one.value for one in CampaignStatus], action="append", default=[])
    export.add_argument("--find", type=arguments.text, default="", help="a part of the description or classification")
    export.add_argument("--format", choices=_FORMATS, help="default: as the file's name ends, else json")
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file (default: standard output)")
    export.add_argument(
        "--recipients", action=argparse.BooleanOptionalAction, help="JSON: with those who were typed or came in a file"
    )
    export.add_argument("--bom", action="store_true", help="CSV: begin with a byte order mark, for Excel")
    export.add_argument("--raw", action="store_true", help="CSV: leave texts as they are; not for spreadsheets")
    export.set_defaults(run=_export)

    import_ = actions.add_parser("import", help="store the campaigns in a file as drafts; those that are known, not")
    import_.add_argument("file", type=Path, metavar="FILE")
    import_.add_argument("--format", choices=_FORMATS, help="default: as the file's name ends")
    import_.add_argument("--dry-run", action="store_true", help="say what would be stored")
    import_.set_defaults(run=_import)


def _export(options: argparse.Namespace) -> None:
    form = _format(options.format, options.output) or Format.JSON
    apart = exchange.parts(form, recipients=options.recipients)
    engine = connect()
    with reading(engine) as connection:  # before there is a file, and before anybody is told of it
        for number in options.ids:
            campaigns.read(connection, number)
    wanted = {"statuses": options.status, "text": options.find}
    filters = {name: value for name, value in {**wanted, "ids": options.ids}.items() if value}
    if options.ids and len(filters) > 1:
        raise ConfigurationError("Name campaigns, or filter them with --status and --find; not both.")
    numbers = options.ids or exchange.numbers(
        lambda: reading(engine), [CampaignStatus(one) for one in options.status], options.find
    )
    with opened(options.output) as file:
        audit.record(
            "export_campaigns", format=form.value, bodies=True, recipients=exchange.ROWS in apart, filters=filters
        )
        rows = Counted(exchange.entries(lambda: reading(engine), numbers, apart), "campaigns")
        style = Style(form, bom=options.bom, raw=options.raw)
        for piece in written(exchange.columns(form, apart), rows, style):
            file.write(piece)
    if options.output is not None:
        print(f"{rows.count:,} campaigns are in {options.output}.")


def _format(named: str | None, path: Path | None) -> Format | None:
    """What a file is; None where neither is said, nor its name says it."""
    if named is not None:
        return Format(named)
    return exchange.format_of(path.name) if path is not None else None


def _import(options: argparse.Namespace) -> None:
    form = _format(options.format, options.file)
    if form is None:
        raise ConfigurationError(f"The name of {options.file} does not end in {', '.join(_FORMATS)}; say --format.")
    records = exchange.read_file(arguments.text_in(options.file), form)
    with changing() as connection:
        work = exchange.try_in if options.dry_run else exchange.take_in
        taken = work(connection, records, settings.hand_over_settings())
        for one in taken:
            if one.new and not options.dry_run:
                audit.record("create_campaign", campaign=one.number, imported=True)
    print("\n".join(_told(one, tried=options.dry_run) for one in taken) or f"{options.file} has no campaigns.")


def _told(one: TakenIn, *, tried: bool) -> str:
    if not one.new:
        return f"Campaign {one.number} is the same already: {one.description}"
    return f"It would be stored: {one.description}" if tried else f"Campaign {one.number} is a draft: {one.description}"
