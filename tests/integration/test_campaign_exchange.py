"""Campaigns that leave for a file, and come back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from notify.campaigns import exchange
from notify.exceptions import InvalidCampaign
from notify.settings import HandOverSettings
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
    whole = format_ is not Format.CSV
    rows = exchange.entries(mailing.engine.connect, exchange.numbers(mailing.engine.connect), whole=whole)
    return b"".join(written(exchange.columns(format_), rows, Style(format_))).decode()


def take_in(mailing: Mailing, text: str, format_: Format) -> list[exchange.TakenIn]:
    with mailing.engine.begin() as connection:
        return exchange.take_in(connection, exchange.read_file(text, format_), mailing.settings)


def what_is_written(mailing: Mailing, number: int, *, whole: bool = True) -> dict[str, Any]:
    """All that makes a campaign, without its number and how far it is."""
    [entry] = exchange.entries(mailing.engine.connect, [number], whole=whole)
    return {name: value for name, value in entry.items() if name not in exchange.FIGURES}


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
    assert again == [exchange.TakenIn(taken.number, new=False)] * 2
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
    assert what_is_written(mailing, taken.number, whole=False) == what_is_written(mailing, first, whole=False)


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
        ("description,colour\nx,red", Format.CSV, "campaigns[0].colour"),
    ],
)  # fmt: skip
def test_refused(mailing: Mailing, text: str, format_: Format, field: str) -> None:
    """What is wrong is told by campaign and field; nothing is stored, also not of the others in the file."""
    if format_ is Format.JSON and text.startswith("[{"):
        text = json.dumps([*json.loads(text), {"description": "y", "subject": "s", "message": "m"}])
    with pytest.raises(InvalidCampaign) as error:
        take_in(mailing, text, format_)
    assert error.value.faults[0].field == field
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]
