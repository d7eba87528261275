"""Rows as a file: CSV for spreadsheets, JSON for programs. It is written row by row, so it may be of any length."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

#: What belongs together in one piece of a file, roughly, in bytes.
PIECE = 64 * 1024

#: Where a cell begins that a spreadsheet would take for a formula (OWASP, CSV Injection): also one that it makes itself
#: of the middle of a text, where it parts cells by semicolons, tabs or lines, whatever stands in quotes.
_FORMULA = re.compile(r"""((?:\A|[;\t\r\n])[ "']*)(?=[=+\-@＝＋－＠])""")

#: What a spreadsheet may leave out at the beginning of a cell; or, so that it can be told from that, what looks mended.
_LEFT_OUT = re.compile(r"\A(?='*[\t\r\n])")

#: What mended cells have more than was written.
_MENDED = re.compile(r"""((?:\A|[;\t\r\n])[ "']*)'(?=[=+\-@＝＋－＠])""")
_MENDED_FIRST = re.compile(r"\A'(?='*[\t\r\n])")


class Format(StrEnum):
    """What a file is; also how its name ends."""

    CSV = "csv"  #: RFC 4180, with a header
    JSON = "json"  #: an array of objects
    JSONL = "jsonl"  #: an object a line


MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8; header=present",
    Format.JSON: "application/json",
    Format.JSONL: "application/x-ndjson",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    :param name: its header, and the name of the field
    :param flat: what stands in a cell, where the value is more than a cell can hold
    """

    name: str
    flat: Callable[[object], object] | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """How a file is written.

    :param bom: of CSV: begin with a byte order mark, without which Excel does not take it for UTF-8
    :param raw: of CSV: leave texts as they are, also where a spreadsheet would take them for formulas
    """

    format: Format = Format.CSV
    bom: bool = False
    raw: bool = False


def written(columns: Sequence[Column], rows: Iterable[Mapping[str, object]], style: Style) -> Iterator[bytes]:
    """A file, in pieces; a row is asked for when its piece is.

    :param rows: each with a value for each column's name; of JSON, an iterator is a list that nobody need hold whole
    """
    held, size = [], 0
    for text in _texts(columns, rows, style):
        held.append(text.encode())
        size += len(held[-1])
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _texts(columns: Sequence[Column], rows: Iterable[Mapping[str, object]], style: Style) -> Iterator[str]:
    if style.format is Format.CSV:
        return _csv(columns, rows, style)
    return (_json if style.format is Format.JSON else _lines)(columns, rows)


def _csv(columns: Sequence[Column], rows: Iterable[Mapping[str, object]], style: Style) -> Iterator[str]:
    line = io.StringIO(newline="")
    writer = csv.writer(line, lineterminator="\r\n")

    def made(cells: Iterable[str]) -> str:
        line.seek(0)
        line.truncate()
        writer.writerow(cells)
        return line.getvalue()

    yield ("\ufeff" if style.bom else "") + made(column.name for column in columns)
    for row in rows:
        yield made(_cell(column, row[column.name], raw=style.raw) for column in columns)


def _cell(column: Column, value: object, *, raw: bool) -> str:
    found = column.flat(value) if column.flat is not None else value
    if found is None:
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, datetime):
        return moment(found)
    if isinstance(found, int | float | Decimal):
        return str(found)  # ours, and no text: a minus is one
    return str(found) if raw else harmless(str(found))


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with an apostrophe wherever a cell might begin as one.

    A telephone number begins with a plus sign, which a spreadsheet would drop.
    """
    return _LEFT_OUT.sub("'", _FORMULA.sub(r"\1'", text))


def as_it_was(text: str) -> str:
    """What a cell said before it was made :func:`harmless`."""
    return _MENDED.sub(r"\1", _MENDED_FIRST.sub("", text))


def moment(at: datetime) -> str:
    """A moment in UTC, as ISO 8601 has it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(columns: Sequence[Column], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield from _object(columns, row, before=before)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def _lines(columns: Sequence[Column], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    for row in rows:
        yield from _object(columns, row, after="\n")


def _object(
    columns: Sequence[Column], row: Mapping[str, object], *, before: str = "", after: str = ""
) -> Iterator[str]:
    found = {column.name: row[column.name] for column in columns}
    if not any(isinstance(value, Iterator) for value in found.values()):
        yield before + _dumped(found) + after
        return
    before += "{"
    for name, value in found.items():
        yield f"{before}{_dumped(name)}: "
        yield from _list(value) if isinstance(value, Iterator) else (_dumped(value),)
        before = ", "
    yield "}" + after


def _list(values: Iterator[object]) -> Iterator[str]:
    before = "["
    for value in values:
        yield before + _dumped(value)
        before = ", "
    yield "]" if before == ", " else "[]"


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    """What JSON has no word for."""
    return moment(value) if isinstance(value, datetime) else str(value)
