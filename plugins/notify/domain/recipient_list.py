"""Recipients of a campaign in rows and columns: what a file or a query has of each.

The first row names the columns. One of them says whom the row is for: ``recipient``, or by the channel ``email`` or
``address``, ``phone`` or ``number``. The others are personal fields; of these ``name`` and ``language`` are also the
reader's own.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from notify.domain.campaign import RECIPIENT_COLUMNS, Row
from notify.domain.channel import ChannelName

#: Of faulty rows, so many are told.
MOST_FAULTS = 20

#: What parts the cells of a line; the one that the header has most of is the file's.
_DELIMITERS = ",;\t"

#: More columns than these are no list of recipients; and more rows take more memory than one request may.
MOST_COLUMNS = 1_000
MOST_ROWS = 1_000_000

_NO_WORD = re.compile(r"\W+")

#: What no field may be called: it is there for every reader.
_TAKEN = frozenset({"recipient", "case", "site_name", "timezone", "locale", "range", "layout", "settings_link"})


def read_csv(text: str, channel: ChannelName) -> list[Row]:
    """The recipients in a CSV (RFC 4180); commas, semicolons or tabs part its cells.

    :raises ValueError: it has no usable header, or rows that are longer or shorter; the message names them
    """
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter_of(text), strict=True)
    try:
        numbered = enumerate(lines, start=1)
        header = next((cells for _, cells in numbered if any(cell.strip() for cell in cells)), [])
        at = recipient_column(header, channel)
        names = field_names(header)
        return list(_rows(numbered, names, at))
    except csv.Error as error:
        raise ValueError(f"line {lines.line_num} is no CSV: {error}; quotes within a cell are doubled") from None


def delimiter_of(text: str) -> str:
    """What parts the cells of a CSV."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _rows(numbered: Iterable[tuple[int, list[str]]], names: Sequence[str], at: int) -> Iterator[Row]:
    wrong: list[int] = []
    for number, cells in numbered:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            wrong.append(number)
        elif number > MOST_ROWS:
            raise ValueError(f"has more than {MOST_ROWS:,} rows; split it, or put them into a table and write a query")
        elif not wrong:
            yield Row(f"row {number}", cells[at].strip(), _fields(names, cells, at))
    if wrong:
        some = ", ".join(map(str, wrong[:MOST_FAULTS]))
        more = f" and {len(wrong) - MOST_FAULTS:,} more" if len(wrong) > MOST_FAULTS else ""
        raise ValueError(f"has {len(names)} columns, but not in every row: {some}{more}; quote cells that hold commas")


def recipient_column(header: Sequence[str], channel: ChannelName) -> int:
    """Where the recipient stands.

    :raises ValueError: nowhere
    """
    lower = [name.strip().lower() for name in header]
    for name in RECIPIENT_COLUMNS[channel]:
        if name in lower:
            return lower.index(name)
    wanted = ", ".join(RECIPIENT_COLUMNS[channel])
    raise ValueError(f"no column says whom a row is for; call one of them {wanted}, in the first row")


def field_names(header: Sequence[str]) -> list[str]:
    """How templates call the columns: in lower case, with underscores for what is neither letter nor digit.

    :raises ValueError: two are called alike, one cannot be called at all, or there are far too many
    """
    if len(header) > MOST_COLUMNS:
        raise ValueError(f"has {len(header):,} columns, more than {MOST_COLUMNS:,}; leave out those that no text uses")
    names = [_NO_WORD.sub("_", name.strip().lower()).strip("_") for name in header]
    if empty := [str(position) for position, name in enumerate(names, start=1) if not name.isidentifier()]:
        raise ValueError(f"column {', '.join(empty)} has no name that a template could use; begin it with a letter")
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"two columns are called {', '.join(twice)}")
    return names


def rows_of(columns: Sequence[str], values: Iterable[Sequence[Any]], channel: ChannelName) -> Iterator[Row]:
    """The recipients that a query has found.

    :raises ValueError: its columns do not say whom a row is for
    """
    at, names = recipient_column(columns, channel), field_names(columns)
    for number, cells in enumerate(values, start=1):
        written = "" if cells[at] is None else _text(cells[at])
        yield Row(f"query row {number}", written.strip(), _fields(names, cells, at))


def _fields(names: Sequence[str], cells: Sequence[Any], at: int) -> Mapping[str, Any]:
    """A row's own fields; a cell that is empty in a file is an empty text, and NULL is a field that is missing."""
    return {
        name: _value(cell)
        for position, (name, cell) in enumerate(zip(names, cells, strict=True))
        if position != at and cell is not None and name not in _TAKEN
    }


def _text(value: object) -> str:
    """A number in a column of telephone numbers, as it is written; what is no recipient, as a text that can be kept."""
    is_whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    return f"{value:.0f}" if is_whole else str(value).encode(errors="replace").decode()


def _value(value: object) -> object:
    """What templates can work with."""
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == int(value) else float(value)
    return value if isinstance(value, str | int | float | datetime | date | time) else str(value)
