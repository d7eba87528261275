"""``people import``: people and groups from a file."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from notify.cli.database import connect
from notify.domain.person import Person
from notify.exceptions import ConfigurationError
from notify.storage import people, schema
from notify.storage.engine import transaction

#: Faults shown of a file; there are never so few as one.
SHOWN = 20

EPILOG = """
The columns of the CSV (UTF-8, with a header line), or the keys of the JSON (a list of objects):
  login      how producers name the person (required)
  name, email, phone, language (pl), timezone (Europe/Warsaw), supervisor (a login)
  active     true or false (default: true)
  groups     names, separated by semicolons; empty: in none; without the column, groups stay as they are

People who are not in the file stay as they are. The file is taken whole, or not at all.
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
    importing.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> None:
    imported = read_people(options.file)
    with transaction(connect(), actor="people import") as connection:
        schema.require(connection)
        missing = _unknown_supervisors(imported, set(people.find(connection, _supervisors(imported))))
        if missing:
            raise ConfigurationError(f"{options.file.name}: nothing was imported.\n  * " + "\n  * ".join(missing))
        counts = people.save(connection, imported)
    print(
        f"{len(imported)} people imported: {counts.added} added, {counts.changed} changed, "
        f"{counts.unchanged} unchanged; {counts.groups} groups."
    )


def read_people(path: Path) -> list[Person]:
    """Read and check a file.

    :raises ConfigurationError: it cannot be read, or something in it is wrong; the message names row and field
    """
    found: dict[str, Person] = {}
    faults = []
    for row, record in _records(path):
        try:
            person = Person.model_validate(record)
        except ValidationError as error:
            faults += [
                f"{row}: {'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
                for item in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            continue
        if person.login in found:
            faults.append(f"{row}: login: {person.login!r} stands in the file twice")
        found[person.login] = person
    if faults:
        shown = "\n  * ".join(faults[:SHOWN])
        more = f"\n  … and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ConfigurationError(f"{path.name}: nothing was imported.\n  * {shown}{more}")
    return list(found.values())


def _records(path: Path) -> Iterator[tuple[str, object]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. It must be a UTF-8 file.") from error
    if path.suffix.lower() == ".json":
        yield from _json_records(path, text)
    elif path.suffix.lower() == ".csv":
        yield from _csv_records(text)
    else:
        raise ConfigurationError(f"{path.name} is neither .csv nor .json; name the file as what it is.")


def _csv_records(text: str) -> Iterator[tuple[str, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for row in reader:
        # An empty cell is "not given"; but where there is a column for groups, it is "in none".
        given: dict[str, object] = {key: value for key, value in row.items() if value or key == "groups"}
        if row.get("groups", "") is None:
            given["groups"] = ""
        if None in row:
            given["more cells than columns"] = given.pop(None, None)  # type: ignore[call-overload]  # csv's own key
        yield f"line {reader.line_num}", given


def _json_records(path: Path, text: str) -> Iterator[tuple[str, object]]:
    try:
        records = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{path.name} is no JSON: {error}.") from error
    if not isinstance(records, list):
        raise ConfigurationError(f"{path.name} must hold a list of people.")
    yield from ((f"entry {number}", record) for number, record in enumerate(records, start=1))


def _supervisors(imported: list[Person]) -> set[str]:
    return {person.supervisor for person in imported if person.supervisor}


def _unknown_supervisors(imported: list[Person], known: set[str]) -> list[str]:
    known = known | {person.login for person in imported}
    return [
        f"{person.login}: supervisor: {person.supervisor!r} is neither in the file nor known"
        for person in imported
        if person.supervisor and person.supervisor not in known
    ]
