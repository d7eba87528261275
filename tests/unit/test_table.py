"""Rows as a file: CSV that spreadsheets and programs read alike, and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notify import table
from notify.table import Column, Format, Style, as_it_was, harmless, written

TWO = [Column("id"), Column("text")]

#: What no cell may begin with, beside blanks and quotes.
FORMULA = tuple("=+-@＝＋－＠")

NOON = datetime(2026, 3, 2, 13, 30, tzinfo=timezone(timedelta(hours=1)))

TEXTS = st.text(alphabet=st.sampled_from("ab=+-@;,\t\r\n \"'0＝") | st.characters(exclude_categories=["Cs"]))


def made(rows: list[Mapping[str, object]], columns: list[Column] = TWO, **style: Any) -> bytes:
    return b"".join(written(columns, rows, Style(**style)))


def cells(file: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(file.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def rows_of(*texts: str) -> list[Mapping[str, object]]:
    return [{"id": number, "text": text} for number, text in enumerate(texts, 1)]


def test_csv() -> None:
    """CSV has a header, ends each line with CRLF, and quotes what needs it (RFC 4180)."""
    rows = rows_of("plain", 'a "b", c', "two\r\nlines", "ľščťžý")
    assert made(rows).decode() == ('id,text\r\n1,plain\r\n2,"a ""b"", c"\r\n3,"two\r\nlines"\r\n4,ľščťžý\r\n')


def test_values() -> None:
    """Each value is written as a spreadsheet and a program read it; moments in UTC, with their zone."""
    columns = [Column(name) for name in ("none", "yes", "count", "price", "at", "format")]
    row = {"none": None, "yes": True, "count": -3, "price": Decimal("0.0500"), "at": NOON, "format": Format.JSON}
    assert cells(made([row], columns))[1] == ["", "true", "-3", "0.0500", "2026-03-02T12:30:00Z", "json"]
    [told] = json.loads(made([row], columns, format=Format.JSON))
    assert told == {
        "none": None, "yes": True, "count": -3, "price": "0.0500", "at": "2026-03-02T12:30:00Z", "format": "json",
    }  # fmt: skip


def test_what_is_more_than_a_cell() -> None:
    """What a cell cannot hold is flat in CSV, and whole in JSON."""
    column = Column("names", "; ".join)  # type: ignore[arg-type]
    row: Mapping[str, object] = {"names": ["anna", "+421"]}
    assert cells(made([row], [column])) == [["names"], ["anna; '+421"]]
    assert json.loads(made([row], [column], format=Format.JSON)) == [{"names": ["anna", "+421"]}]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+421903622237", "'+421903622237"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\rx", "'\rx"),
        ("＝1", "'＝1"),
        (' "=1', " \"'=1"),
        ("a;=1", "a;'=1"),
        ("a\n-b", "a\n'-b"),
        ("a=b+c@d-e", "a=b+c@d-e"),
        ("anna@example.com; bob@example.com", "anna@example.com; bob@example.com"),
        ("it's", "it's"),
        ("", ""),
    ],
)
def test_formulas(text: str, cell: str) -> None:
    """A text that a spreadsheet would take for a formula has an apostrophe before it; others are left alone."""
    assert cells(made(rows_of(text)))[1] == ["1", cell]
    assert cells(made(rows_of(text), raw=True))[1] == ["1", text]
    assert json.loads(made(rows_of(text), format=Format.JSON))[0]["text"] == text


@given(st.lists(TEXTS, max_size=5), st.sampled_from(",;\t"))
@example(["a;=cmd()"], ";")
@example(['a;"=cmd()'], ";")
@example(["a\n=cmd()"], ";")
def test_no_cell_is_a_formula(texts: list[str], delimiter: str) -> None:
    """However a spreadsheet parts the cells, by commas, semicolons or tabs, none of them begins as a formula."""
    for line in cells(made(rows_of(*texts)), delimiter):
        for cell in line:
            assert not cell.lstrip(' "').startswith(FORMULA), cell


@given(st.lists(TEXTS, max_size=5))
def test_nothing_is_lost(texts: list[str]) -> None:
    """What was put in comes out: of JSON and raw CSV as it was, else but for the apostrophes."""
    rows = rows_of(*texts)
    assert [row[1] for row in cells(made(rows, raw=True))[1:]] == texts
    assert [row[1] for row in cells(made(rows))[1:]] == [harmless(text) for text in texts]
    assert [row["text"] for row in json.loads(made(rows, format=Format.JSON))] == texts
    lines = made(rows, format=Format.JSONL).decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["text"] for line in lines] == texts
    assert [harmless(text).replace("'", "") for text in texts] == [text.replace("'", "") for text in texts]


def test_a_long_run_of_blanks_takes_no_time() -> None:
    """Making a text harmless takes time by its length alone, whatever it holds."""
    text = ";" + " " * 200_000 + "x"
    assert harmless(text * 5) == text * 5


@given(TEXTS)
@example("'\t'")
@example("''\n=x")
@example("; '+1;'-2")
def test_what_is_harmless_can_be_undone(text: str) -> None:
    """Of a harmless cell it is known what was written, whatever that was."""
    assert as_it_was(harmless(text)) == text


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_that_nobody_holds(form: Format, count: int) -> None:
    """In JSON an iterator is a list, of which an item is asked for when it is written."""
    rows = [{"id": number, "text": ({"n": one} for one in range(count))} for number in (1, 2)]
    told = made(rows, format=form).decode()
    found = json.loads(told) if form is Format.JSON else [json.loads(line) for line in told.splitlines()]
    assert found == [{"id": number, "text": [{"n": one} for one in range(count)]} for number in (1, 2)]
    endless = iter(lambda: {"text": "x" * 100}, None)
    assert next(written(TWO, [{"id": 1, "text": endless}], Style(form)))


def test_bom() -> None:
    """A byte order mark stands before CSV, where it is asked for, and never before JSON, which must have none."""
    assert made([], bom=True) == b"\xef\xbb\xbfid,text\r\n"
    assert made([], format=Format.JSON, bom=True) == b"[]\n"


def test_nothing() -> None:
    """Without a row, CSV is its header, and JSON is an empty array."""
    assert (made([]), made([], format=Format.JSON)) == (b"id,text\r\n", b"[]\n")
    assert made([], format=Format.JSONL) == b""


@pytest.mark.parametrize("form", list(Format))
def test_a_piece_at_a_time(form: Format) -> None:
    """A row is asked for when its piece is: the first piece is there long before the last row is made."""
    asked = []

    def rows() -> Iterator[Mapping[str, object]]:
        for number in range(10_000):
            asked.append(number)
            yield {"id": number, "text": "x" * 100}

    pieces = written(TWO, rows(), Style(form))
    first = next(pieces)
    assert len(asked) < 1_500
    assert len(first) < 2 * table.PIECE
    whole = first + b"".join(pieces)
    assert len(asked) == 10_000
    assert whole.count(b"x" * 100) == 10_000
