"""Files of recipients: whatever a spreadsheet writes is read back, and what is no such file is told, never taken."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain import recipient_list
from notify.domain.campaign import Row
from notify.domain.channel import ChannelName
from notify.domain.recipient_list import MOST_FAULTS, field_names, read_csv, rows_of

EMAIL, SMS = ChannelName.EMAIL, ChannelName.SMS

#: What a cell may hold: line breaks, quotes, delimiters and all; but no CR, which csv writes without quotes.
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=20)
tables = st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=8))


def written(header: list[str], rows: list[list[str]], delimiter: str, end: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([header, *rows])
    return file.getvalue()


@given(tables, st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_written_is_read(table: list[list[str]], delimiter: str, end: str, marked: bool) -> None:
    """Any cells, whatever parts them and ends the lines, with and without a byte order mark, come back as they were."""
    width = len(table[0]) if table else 1
    header = ["Email", *(f"Field {number}" for number in range(1, width))]
    parting = delimiter if width > 1 else ","  # of one column nothing tells what would part it from others
    text = ("\ufeff" if marked else "") + written(header, table, parting, end)
    kept = [(number, row) for number, row in enumerate(table, start=2) if any(cell.strip() for cell in row)]
    assert read_csv(text, EMAIL) == [
        Row(f"row {number}", row[0].strip(), {f"field_{at}": cell for at, cell in enumerate(row[1:], start=1)})
        for number, row in kept
    ]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.sampled_from(ChannelName))
def test_anything_else_is_told(text: str, channel: ChannelName) -> None:
    """Of any text at all there are recipients, or an error that says what is wrong; nothing else."""
    try:
        rows = read_csv(text, channel)
    except ValueError as error:
        told = str(error)
    else:
        told = "recipients"
        assert [row.place for row in rows] == sorted((row.place for row in rows), key=lambda place: int(place[4:]))
    assert told


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column says whom"),
        ("\n\n \n", "no column says whom"),
        ("\ufeff", "no column says whom"),
        ("name,city\nAnna,Nitra", "recipient, email, address"),
        ("email,name,Name\na@b.c,x,y", "two columns are called name"),
        ("email,first name,first-name\na@b.c,x,y", "two columns are called first_name"),
        ("email,,\na@b.c,x,y", "column 2, 3 has no name"),
        ("email,1st\na@b.c,x", "column 2 has no name"),
        ('email,name\na@b.c,"open', "line 2 is no CSV"),
        ('email,name\na@b.c,"x"y', "line 2 is no CSV"),
        (f"email,name\na@b.c,{'x' * 200_000}", "line 2 is no CSV"),
        ("email,name\na@b.c", "not in every row: 2"),
        ("email,name\na@b.c,x,y\n\nb@b.c,x\nc@b.c", "not in every row: 2, 5"),
    ],
)
def test_no_list(text: str, problem: str) -> None:
    """What is wrong with a file is told with the line or column where it is."""
    with pytest.raises(ValueError, match=problem):
        read_csv(text, EMAIL)


def test_many_wrong_rows() -> None:
    """Of many wrong rows the first are named, and the others counted."""
    text = "email,name\n" + "a@b.c\n" * (MOST_FAULTS + 1_500)
    with pytest.raises(ValueError, match=r"2, 3, .* and 1,500 more"):
        read_csv(text, EMAIL)


@pytest.mark.parametrize("text", ["email", "email\n", "email,name\r\n", "\ufeffemail;name\n;\n ; \n"])
def test_a_header_alone(text: str) -> None:
    """A file of a header and blank lines has no recipients."""
    assert read_csv(text, EMAIL) == []


def test_the_column_of_recipients() -> None:
    """It may be anywhere, in any case; ``recipient`` comes first, and of an SMS it is the number."""
    assert read_csv("Name;E-Mail;EMAIL\nAnna;x;a@b.c", EMAIL) == [
        Row("row 2", "a@b.c", {"name": "Anna", "e_mail": "x"})
    ]
    assert read_csv("email\trecipient\nx@b.c\tanna", EMAIL) == [Row("row 2", "anna", {"email": "x@b.c"})]
    assert read_csv("phone\n0903 1", SMS) == [Row("row 2", "0903 1", {})]


def test_rows_are_where_a_spreadsheet_shows_them() -> None:
    """Blank lines count, also those above the header."""
    rows = read_csv('\n ;\nemail;name\na@b.c;\n\nb@b.c;"x\ny"\nc@b.c;', EMAIL)
    assert [row.place for row in rows] == ["row 4", "row 6", "row 7"]


def test_what_is_there_for_all_is_no_field() -> None:
    """A column that is called as what every template has does not take its place."""
    [row] = read_csv("email,case,site_name,Locale,city\na@b.c,1,2,3,Nitra", EMAIL)
    assert row.fields == {"city": "Nitra"}


def test_of_a_query() -> None:
    """Numbers stay numbers, a number in the column of telephones is one, NULL is a missing field."""
    rows = rows_of(
        ["phone", "amount", "due", "city"],
        [(Decimal(421903622237), Decimal("1.50"), date(2027, 1, 31), None), (None, Decimal(3), None, b"x")],
        SMS,
    )
    assert list(rows) == [
        Row("query row 1", "421903622237", {"amount": 1.5, "due": date(2027, 1, 31)}),
        Row("query row 2", "", {"amount": 3, "city": "b'x'"}),
    ]


def test_a_query_with_what_is_no_recipient() -> None:
    """A column of numbers may hold what is none; that row is nobody's, and keeps no other from being read."""
    odd = ["NaN", "-Infinity", "1e5000", "421903622237.00", "7.5"]
    rows = list(rows_of(["phone"], [*([Decimal(one)] for one in odd), ["a\ud800"]], SMS))
    assert [row.recipient for row in rows] == ["NaN", "-Infinity", "1" + "0" * 5_000, "421903622237", "7.5", "a?"]


@given(st.lists(st.text(max_size=12), max_size=6))
def test_names_that_templates_can_ask_for(header: list[str]) -> None:
    """Every name that a column is given is one that a template can use."""
    try:
        names = field_names(header)
    except ValueError:
        return
    assert all(name.isidentifier() for name in names)
    assert len(set(names)) == len(header)


def test_too_many_columns() -> None:
    """A header of a quarter of a million columns is refused at once; comparing each with each would take minutes."""
    header = ",".join(["email", *(f"c{number}" for number in range(250_000))])
    with pytest.raises(ValueError, match="has 250,001 columns, more than 1,000"):
        read_csv(f"{header}\n", EMAIL)


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with more rows than a request may hold in memory is refused where that is passed; so many are read."""
    monkeypatch.setattr(recipient_list, "MOST_ROWS", 4)
    assert len(read_csv("email\na\nb\nc\n", EMAIL)) == 3
    with pytest.raises(ValueError, match="has more than 4 rows; split it"):
        read_csv("email\na\nb\nc\nd\n", EMAIL)
