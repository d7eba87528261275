"""Campaigns that leave for a file, and come back."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

import pytest
from sqlalchemy.engine import Engine

from notify.campaigns import exchange
from notify.exceptions import CampaignError, InvalidCampaign
from notify.settings import HandOverSettings
from notify.storage import campaigns
from notify.table import Format, Style, written
from tests.mailing import Mailing, csv_of

WHOLE = {
    "description": "=Spring; sale",
    "message": "Dear {{ first_name }}",
    "data": {"shop": {"name": "Kiosk"}},
    "note": "+ with care",
    "classification": "sale",
    "reply_to": "shop@example.com",
    "attachments": [{"filename": "a.bin", "content": b"\x00\xff"}],
}


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns."""
    return Mailing(engine, hand_over_settings)


def file_of(mailing: Mailing, format_: Format) -> str:
    apart = () if format_ is Format.CSV else exchange.APART
    rows = exchange.entries(mailing.engine.connect, exchange.numbers(mailing.engine.connect), apart)
    return b"".join(written(exchange.columns(format_), rows, Style(format_))).decode()


def take_in(mailing: Mailing, text: str, format_: Format) -> list[exchange.TakenIn]:
    with mailing.engine.begin() as connection:
        return exchange.take_in(connection, exchange.read_file(text, format_), mailing.settings)


def what_is_written(mailing: Mailing, number: int, apart: Collection[str] = exchange.APART) -> dict[str, Any]:
    """All that makes a campaign, without its number and how far it is."""
    [written_] = [
        {**entry, exchange.ROWS: list(entry.get(exchange.ROWS, ()))}
        for entry in exchange.entries(mailing.engine.connect, [number], apart)
    ]
    return {name: value for name, value in written_.items() if name not in exchange.FIGURES}


@pytest.mark.parametrize("format_", [Format.JSON, Format.JSONL])
def test_there_and_back(mailing: Mailing, format_: Format) -> None:
    """A campaign comes back as it left, with its recipients, their fields and its files; once more it is known."""
    first = mailing.write(**WHOLE, csv=csv_of(3), recipients="typed@example.com")
    text = file_of(mailing, format_)
    [taken] = take_in(mailing, text, format_)
    assert taken.new
    assert what_is_written(mailing, taken.number) == what_is_written(mailing, first)
    mailing.generate(first)
    again = take_in(mailing, file_of(mailing, format_), format_)
    assert again == [exchange.TakenIn(taken.number, "=Spring; sale", new=False)] * 2
    assert mailing.generate(taken.number).created == 3  # of the fourth the name is not known


def test_as_csv(mailing: Mailing) -> None:
    """A line has what the author wrote and how far it is; no spreadsheet takes a cell for a formula."""
    first = mailing.write(**WHOLE, csv=csv_of(2))
    mailing.generate(first)
    text = file_of(mailing, Format.CSV)
    header, line = text.split("\r\n")[:2]
    cells = dict(zip(header.split(","), line.split(","), strict=False))
    assert (cells["status"], cells["created"], cells["waiting"]) == ("generated", "2", "2")
    assert "'=Spring" in line
    [taken] = take_in(mailing, text, Format.CSV)
    assert what_is_written(mailing, taken.number, ()) == what_is_written(mailing, first, ())


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("message", ["Buy:\n- bread\n- milk;\t=1", "'- quoted", "a\u2028b\x85c", "\\u0000, spelt"])
def test_no_sign_is_lost(mailing: Mailing, format_: Format, message: str) -> None:
    """What the author wrote comes back to the letter, also where a spreadsheet would have taken it for something."""
    mailing.write(message=message)
    [taken] = take_in(mailing, file_of(mailing, format_), format_)
    assert mailing.read(taken.number).message == message


def test_csv_of_a_spreadsheet(mailing: Mailing) -> None:
    """A spreadsheet may have parted the cells by semicolons, and put a byte order mark before them."""
    text = '\ufeffdescription;subject;message;html;data\r\nSale;Hi;"a; b";TRUE;"{""x"": 1}"\r\n;;;;\r\n'
    [taken] = take_in(mailing, text, Format.CSV)
    campaign = mailing.read(taken.number)
    assert (campaign.message, campaign.html, campaign.data) == ("a; b", True, {"x": 1})


def test_recipients_are_read_as_they_are_written(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipients leave stretch by stretch; a campaign that is changed meanwhile is no file, rather than half a one."""
    monkeypatch.setattr(campaigns, "STRETCH", 2)
    number = mailing.write(csv=csv_of(5))
    [entry] = exchange.entries(mailing.engine.connect, [number])
    rows = cast("Iterator[dict[str, Any]]", entry[exchange.ROWS])
    assert next(rows)["recipient"] == "r1@example.com"
    mailing.do("delete from notify.campaign_rows where recipient = 'r4@example.com'")  # as an erasure does
    assert [row["recipient"] for row in rows] == ["r2@example.com", "r3@example.com", "r5@example.com"]
    [entry] = exchange.entries(mailing.engine.connect, [number])
    rows = cast("Iterator[dict[str, Any]]", entry[exchange.ROWS])
    next(rows)
    mailing.edit(number, csv=csv_of(7))
    with pytest.raises(CampaignError, match="was changed while it was exported"):
        list(rows)


def test_too_many_recipients(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign of a file has at most as many recipients as a CSV may."""
    monkeypatch.setattr(exchange, "MOST_ROWS", 2)
    mailing.write(csv=csv_of(2))
    take_in(mailing, file_of(mailing, Format.JSON), Format.JSON)
    mailing.write(csv=csv_of(3))
    with pytest.raises(InvalidCampaign, match=r"campaigns\[0\].rows: has 3 recipients, more than 2; put them into"):
        take_in(mailing, file_of(mailing, Format.JSON), Format.JSON)


def test_one_that_is_forgotten_meanwhile(mailing: Mailing) -> None:
    """A campaign that is forgotten while others are exported is left out."""
    first, second = mailing.write(), mailing.write()
    found = exchange.entries(mailing.engine.connect, iter([first, second]))
    mailing.do("delete from notify.campaigns where id = :id", id=second)
    assert [entry["id"] for entry in found] == [first]


def test_tried(mailing: Mailing) -> None:
    """Before a file is taken in, it can be asked what it would become; nothing is stored."""
    known = mailing.write(**WHOLE)
    text = file_of(mailing, Format.JSON)
    with mailing.engine.begin() as connection:
        [tried] = exchange.try_in(connection, exchange.read_file(text, Format.JSON), mailing.settings)
    assert (tried.description, tried.new) == ("=Spring; sale", True)
    assert mailing.rows("select id from notify.campaigns") == [(known,)]
    [taken] = take_in(mailing, text, Format.JSON)
    assert taken.new


@pytest.mark.parametrize(
    ("text", "format_", "field"),
    [
        ("[", Format.JSON, "file"),
        ("[1]", Format.JSON, "campaigns[0].campaign"),
        ('[{"description": "x"}]', Format.JSON, "campaigns[0].subject"),
        ('[{"description": "x", "subject": "s", "message": "m", "rows": [{"recipient": 1}]}]', Format.JSON,
         "campaigns[0].rows"),
        ('[{"description": "x", "subject": "s", "message": "m", "rows": [{"recipient": "a\\u0000"}]}]', Format.JSON,
         "campaigns[0].rows"),
        ('[{"description": "x", "subject": "s", "message": "m", "data": {"a": "\\u0000"}}]', Format.JSON,
         "campaigns[0].data"),
        ('[{"description": "x", "subject": "s", "message": "m", "rows": [{"recipient": "\\ud800"}]}]', Format.JSON,
         "campaigns[0].rows"),
        ('[{"description": "x", "subject": "s", "message": "m", "data": {"a": 1e400}}]', Format.JSON,
         "campaigns[0].data"),
        ('[{"description": "x", "subject": "s", "message": "m", "data": {"a": NaN}}]', Format.JSON, "file"),
        ('[{"description": "x", "\\u0000": "s"}]', Format.JSON, "campaigns[0].\\x00"),
        ("[" * 100_000, Format.JSON, "file"),
        ('[{"description": "x", "subject": "s", "message": "m", "rows": [{"recipient": "a", "fields": {"b": 1e400}}]}]',
         Format.JSON, "campaigns[0].rows"),
        ("\n".join(["{}"] * 1_001), Format.JSONL, "file"),
        ("description,colour\nx,red", Format.CSV, "campaigns[0].colour"),
        ("description,subject,message,data\nx,s,m,{", Format.CSV, "campaigns[0].data"),
        ("description,subject,message\nx,s,m,more", Format.CSV, "file"),
        ("description,subject,subject\nx,s,m", Format.CSV, "file"),
        ('description,subject\nx,"s', Format.CSV, "file"),
    ],
)  # fmt: skip
def test_refused(mailing: Mailing, text: str, format_: Format, field: str) -> None:
    """What is wrong is told by campaign and field; nothing is stored, also not of the others in the file."""
    if format_ is Format.JSON and text.startswith("[{"):
        text = text.removesuffix("]") + ', {"description": "y", "subject": "s", "message": "m"}]'
    with pytest.raises(InvalidCampaign) as error:
        take_in(mailing, text, format_)
    assert error.value.faults[0].field == field
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]


def test_nested_too_deeply(mailing: Mailing) -> None:
    """What is nested deeper than can be read is told as such, and no failure of ours."""
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    record = {"description": "x", "subject": "s", "message": "m", "rows": [{"recipient": "a", "fields": deep}]}
    with mailing.engine.begin() as connection, pytest.raises(InvalidCampaign, match="nested too deeply"):
        exchange.take_in(connection, [record], mailing.settings)


def test_too_many_columns() -> None:
    """A header of a quarter of a million columns is refused at once; comparing each with each would take minutes."""
    header = ",".join(f"c{number}" for number in range(250_000))
    with pytest.raises(InvalidCampaign, match="has 250,000 columns, more than 1,000"):
        exchange.read_file(f"{header}\n", Format.CSV)
