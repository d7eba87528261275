"""``people import | list | show``: people and groups."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from notify import settings
from notify.cli import arguments, audit, preferences
from notify.cli.database import changing, connect
from notify.cli.suppressions import lasting
from notify.domain.destination import is_number
from notify.domain.person import Person, check_people, told
from notify.exceptions import ConfigurationError
from notify.storage import people, schema, suppressions
from notify.storage.people import ImportCounts, Record
from notify.storage.suppressions import Suppression

#: Where people come from who were imported by this command; ``--complete`` speaks of them alone.
SOURCE = "import"

#: Rows after which a long import tells how far it is.
STRIDE = 5000

EPILOG = """
The columns of the CSV (UTF-8, with a header line), or the keys of the JSON (a list of objects):
  login      how producers name the person (required)
  name, email, phone, language (pl), timezone (Europe/Warsaw), supervisor (a login)
  active     true or false (default: true)
  groups     names, separated by semicolons; empty: in none; without the column, groups stay as they are
  preferences
             a frequency for all kinds of event (daily), or JSON: {"case_changed": "daily",
             "*": {"quiet_from": "22:00", "quiet_until": "07:00"}}; empty: they stay as they are, {}: none

People who are not in the file stay as they are; with --complete, those of an earlier import become inactive.
The file is taken whole, or not at all.
"""


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("people", help="people and groups")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    importing = actions.add_parser(
        "import",
        help="add people and groups from a file, or bring them up to date",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    importing.add_argument("file", type=Path, metavar="FILE.csv|json")
    importing.add_argument(
        "--complete", action="store_true", help="who came with an earlier import and is missing now becomes inactive"
    )
    importing.add_argument(
        "--most-missing",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="refuse a complete file that would make more of them inactive (default: %(default)s; 1: never)",
    )
    importing.set_defaults(run=_import)

    listing = actions.add_parser("list", help="people by login")
    listing.add_argument("--inactive", action="store_true", help="those who are not active any more, instead")
    listing.add_argument("--group", type=arguments.text, metavar="GROUP", help="only its members")
    listing.set_defaults(run=_list)

    show = actions.add_parser("show", help="a person's record, groups and preferences, and how much is put aside")
    show.add_argument("login", type=arguments.text, metavar="LOGIN")
    show.set_defaults(run=_show)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write a number from 0 to 1, such as 0.5")
    return share


# --- Import ----------------------------------------------------------------------------------------------------------


def _import(options: argparse.Namespace) -> None:
    imported = read_people(options.file)
    if len(imported) >= STRIDE:
        _progress(f"all {len(imported)} are in order; storing them")
    with changing() as connection:
        if strange := people.unknown_supervisors(connection, imported, whole="the file"):
            raise _refused(options.file, strange)
        if options.complete:
            counts = people.keep_in_step(connection, imported, source=SOURCE, most_missing=options.most_missing)
        else:
            counts = people.save(connection, imported, source=SOURCE)
        audit.record("import_people", file=options.file.name, **asdict(counts))
    print(_summary(len(imported), counts))


def _summary(number: int, counts: ImportCounts) -> str:
    parts = [
        f"{counts.groups} groups",
        f"preferences of {counts.preferences} changed" if counts.preferences else "",
        f"{counts.deactivated} missing, and inactive now" if counts.deactivated else "",
    ]
    return (
        f"{number} people imported: {counts.added} added, {counts.changed} changed, {counts.unchanged} unchanged; "
        + "; ".join(part for part in parts if part)
        + "."
    )


def read_people(path: Path) -> list[Person]:
    """Read and check a file.

    :raises ConfigurationError: it cannot be read, or something in it is wrong; the message names row and field
    """
    found, faults = check_people(_counted(_records(path)), cache(settings.kinds), whole="the file")
    if faults:
        raise _refused(path, faults)
    return found


def _refused(path: Path, faults: list[str]) -> ConfigurationError:
    return ConfigurationError(f"{path.name}: nothing was imported.{told(faults)}")


def _counted(records: Iterable[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """The same records, telling now and then how many there were."""
    for number, record in enumerate(records, start=1):
        yield record
        if number % STRIDE == 0:
            _progress(f"{number} people read")


def _progress(text: str) -> None:
    print(f"notify: {text}", file=sys.stderr)


def _records(path: Path) -> Iterator[tuple[str, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}. Name a file that can.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error
    if path.suffix.lower() == ".json":
        yield from _json_records(path, text)
    elif path.suffix.lower() == ".csv":
        yield from _csv_records(path, text)
    else:
        raise ConfigurationError(f"{path.name} is neither .csv nor .json; name the file as what it is.")


def _csv_records(path: Path, text: str) -> Iterator[tuple[str, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in _rows(path, reader):
        # An empty cell is "not given"; but where there is a column for groups, it is "in none".
        given: dict[str, object] = {key: value for key, value in row.items() if value or key == "groups"}
        if row.get("groups", "") is None:
            given["groups"] = ""
        if None in row:
            given["more cells than columns"] = given.pop(None, None)  # type: ignore[call-overload]  # csv's own key
        yield f"line {reader.line_num}", given


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ConfigurationError(f"{path.name} is no CSV: line {reader.line_num}: {error}.") from error


def _json_records(path: Path, text: str) -> Iterator[tuple[str, object]]:
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path.name} is no JSON: {error}.") from error
    if not isinstance(records, list):
        raise ConfigurationError(f"{path.name} must hold a list of people.")
    yield from ((f"entry {number}", record) for number, record in enumerate(records, start=1))


# --- What is known ---------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        found = people.listed(connection, active=not options.inactive, group=options.group)
    for one in found:
        print(f"{one.login:<20}  {one.name:<24}  {one.email or 'no address'}")
    if not found:
        print("There are no such people.")


def _show(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        record = people.read(connection, options.login)
        suppressed = suppressions.find(connection, _addresses(record.person)) if record else {}
    if record is None:
        raise ConfigurationError(f"There is no person {options.login!r}; see python -m notify people list.")
    said = preferences.lines(settings.kinds(), record.person.preferences or {})
    print("\n".join([*_lines(record, suppressed.values()), *said]))


def _addresses(person: Person) -> list[str]:
    """Where somebody is reached: the mailbox, and the telephone number in E.164."""
    number = people.number_of(person, settings.phone_region)
    return [one for one in (person.email, number) if one]


def _lines(record: Record, suppressed: Iterable[Suppression]) -> list[str]:
    person = record.person
    first = f", the first due {record.next_due:%Y-%m-%d %H:%MZ}" if record.next_due else ""
    fields = {
        "Name": person.name,
        "E-mail": person.email,
        "Phone": person.phone,
        "Language": person.language or "that of the message, else en",
        "Time zone": person.timezone or f"{settings.timezone()}, the default",
        "Supervisor": person.supervisor,
        "Groups": ", ".join(person.groups or ()),
        "Came from": record.source,
        "Changed": f"{record.updated_at:%Y-%m-%d %H:%MZ}",
        "Put aside": f"{record.put_aside or 'nothing'}{first}",
        "Suppressed": "; ".join(_suppressed(one) for one in suppressed),
    }
    title = f"{person.login}: {'active' if person.active else 'not active any more'}"
    return [title, *(f"  {name:<10}  {value or '-'}" for name, value in fields.items())]


def _suppressed(one: Suppression) -> str:
    return f"{f'{one.address} ' if is_number(one.address) else ''}{lasting(one)}: {one.reason}"
