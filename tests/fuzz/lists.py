"""Recipients of campaigns: in files, in records, and as databases answer; each with fields of their own."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.fuzz.given import of_json, rarely, secret
from tests.fuzz.values import ATOMS, GONE, JSON, LANGUAGES, LINKS, MOMENTS, NOBODY, PRIVATE, SECRET, TEXT, WORDS

#: Telephone numbers as they are written, and which are meant; those without a code are Slovak.
PHONES = {
    "+421 903 622 237": "+421903622237",
    "0903/622 237": "+421903622237",
    "+421903622238": "+421903622238",
    "＋48 512 345 678": "+48512345678",
    "00421 903 622 239": "+421903622239",
}

#: A column that tells rows apart: it holds the number of the row.
MARK = "mark"

#: What columns are called in files, and in texts; None: nowhere, for every reader has one of the kind.
COLUMNS: Mapping[str, str | None] = {
    "First name": "first_name",
    " order no. ": "order_no",
    "JĘZYK": "język",
    "name": "name",
    "Language": "language",
    "word": "word",
    "things": "things",
    "when": "when",
    "COUNT": "count",
    "link": "link",
    "message": "message",
    "Subject": "subject",
    "Case": None,
    "range": None,
}
_HEADINGS = (*("recipient",) * 6, "Email", "address ", "phone", "NUMBER")

_WHO = rarely(
    TEXT | st.sampled_from(NOBODY),
    st.sampled_from((*ATOMS, *PHONES, *GONE, f"{PRIVATE}@example.net", "team", "leavers", "nobody", "")),
)
_CELLS = {
    "word": secret(WORDS | TEXT),
    "Language": st.sampled_from(LANGUAGES),
    "when": st.sampled_from([one for one in MOMENTS if isinstance(one, str)]),
    "link": st.sampled_from(LINKS),
    "COUNT": st.sampled_from(("1", "7", "-1", "x", "")),
}
_OTHERS = rarely(TEXT, WORDS)

#: Python's reader of CSV takes no longer cell.
_LONGEST_CELL = 131_072


@dataclass(frozen=True, slots=True)
class Listing:
    """A file of recipients.

    :param rows: place, recipient and fields of each; None: it must be refused
    """

    text: str
    rows: tuple[tuple[str, str, Mapping[str, str]], ...] | None


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    """Files of recipients, as people and spreadsheets write them."""
    heading = draw(st.sampled_from(_HEADINGS))
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True, max_size=8))
    header = draw(st.permutations([heading, *names, MARK]))
    rows, lines = [], []
    for number in range(2, 2 + draw(st.integers(0, 4) | st.integers(1, 4))):
        cells = {name: draw(_CELLS.get(name, _OTHERS)) for name in names} | {MARK: f"{MARK}{number}"}
        fields = {COLUMNS.get(name, name): cell for name, cell in cells.items()}
        cells[heading] = draw(_WHO)
        lines.append([cells[name] for name in header])
        rows.append((f"row {number}", cells[heading].strip(), {name: cell for name, cell in fields.items() if name}))
    text = io.StringIO(newline="")
    text.write(draw(st.sampled_from(("", "", "\ufeff"))))
    delimiter, quoting = draw(st.sampled_from(",;\t")), draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([header, *lines])
    return Listing(text.getvalue(), tuple(rows) if all(_sound(cell) for line in lines for cell in line) else None)


def _sound(text: str) -> bool:
    whole = text.encode("utf-8", "ignore").decode() == text
    return whole and "\0" not in text and len(text) <= _LONGEST_CELL


# --- In a record -----------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(sorted(name for name in COLUMNS.values() if name))
_VALUES = rarely(JSON, WORDS | st.sampled_from(of_json(MOMENTS)) | st.sampled_from((0, 7, -1.5, True, None, [], ["x"])))
_FIELDS = st.dictionaries(rarely(TEXT, _NAMES), _VALUES, max_size=6)


@st.composite
def records(draw: st.DrawFn) -> Any:
    """Recipients in a campaign that was exported."""
    if draw(st.integers(0, 19)) == 19:
        return draw(JSON)
    rows = []
    for number in range(1, 1 + draw(st.integers(0, 4) | st.integers(1, 4))):
        row: dict[str, Any] = {"recipient": draw(_WHO)}
        if draw(st.integers(0, 9)) != 9:
            row["fields"] = draw(_FIELDS) | {MARK: f"{MARK}{number}"}
        rows.append(row)
    return rows


# --- What a database answers -----------------------------------------------------------------------------------------

#: What drivers make of a column.
_DRIVEN = st.sampled_from(
    (None, 0, 1, -1.5, math.nan, math.inf, True, Decimal(7), Decimal("7.50"), Decimal("NaN"),
     Decimal("-Infinity"), Decimal("1e5000"), Decimal("-0"), Decimal(421903622237), 421903622237,
     datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC), date(2027, 1, 31), time(8), timedelta.min,
     b"\xff\0", UUID(int=7), [1, [2]], {"a": SECRET}, SECRET)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a database answers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """What databases answer; drivers give the columns' names in lower case."""
    heading = draw(rarely(TEXT, st.sampled_from(_HEADINGS))).lower()
    names = [name.lower() for name in draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True, max_size=8))]
    rows = []
    for number in range(1, 1 + draw(st.integers(0, 4) | st.integers(1, 4))):
        who = draw(rarely(_DRIVEN, _WHO))
        rows.append((who, *(draw(_DRIVEN | _OTHERS) for _ in names), f"{MARK}{number}"))
    return Answer([heading, *names, MARK], rows)
