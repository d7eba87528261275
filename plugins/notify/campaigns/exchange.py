"""Exchange: campaigns as they leave for a file, and come back out of one, here or in another installation.

In JSON a campaign is whole: what its author wrote, its recipients and its files, and beside it how far it is. In CSV it
is a line for people to calculate with; what its author wrote can be read back from there as well, but for recipients
and files, for which a cell has no room.
"""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from sqlalchemy.engine import Connection

from notify.campaigns import authoring
from notify.domain.campaign import Campaign, CampaignDraft, Progress, Row
from notify.exceptions import Fault, InvalidCampaign
from notify.settings import HandOverSettings
from notify.storage import attachments, campaign_messages, campaigns
from notify.table import Column, Format

#: Opens the outbox for one campaign.
Opening = Callable[[], AbstractContextManager[Connection]]

#: Campaigns that are looked for at once.
STRETCH = 100

#: Recipients, each with the fields of their own; only JSON has room for them, and for files.
ROWS = "rows"
FILES = "attachments"

#: What its author wrote, as it stands in a file.
WRITTEN = tuple(name for name in CampaignDraft.model_fields if name not in {FILES, "recipients", "csv"})

#: How far it is; read back by nobody.
FIGURES = (
    *("id", "status", "created", "sent", "waiting", "left_out", "states", "last_sent_at", "send_after"),
    *("created_at", "created_by", "generated_at", "started_at", "ended_at", "fault"),
)

#: What an export puts in front of a cell that a spreadsheet would take for a formula.
_HARMLESS = re.compile(r"\A'(?=[=+\-@])")


# --- Out -------------------------------------------------------------------------------------------------------------


def columns(format_: Format) -> list[Column]:
    """The columns of campaigns."""
    flat = [Column(name, _flat) for name in (*FIGURES, *WRITTEN)]
    return flat if format_ is Format.CSV else [*flat, Column(ROWS), Column(FILES)]


def _flat(value: object) -> object:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def entries(opening: Opening, numbers: Iterable[int], *, whole: bool) -> Iterator[dict[str, object]]:
    """Campaigns for a file, one after another.

    :param opening: the outbox for one of them
    :param whole: with recipients and files
    """
    for number in numbers:
        with opening() as connection:
            campaign = campaigns.read(connection, number)
            progress = campaign_messages.progress(connection, campaign)
            apart = {ROWS: _rows(connection, number), FILES: _files(connection, number)} if whole else {}
        yield {**authoring.written(campaign), **_figures(campaign, progress), **apart}


def numbers(opening: Opening) -> Iterator[int]:
    """All campaigns, newest first."""
    before: int | None = None
    while True:
        with opening() as connection:
            page = campaigns.page(connection, before=before, limit=STRETCH)
        yield from (one.id for one in page.found)
        before = page.next_before
        if before is None:
            return


def _figures(campaign: Campaign, progress: Progress) -> dict[str, object]:
    theirs = {
        "created": progress.created,
        "sent": progress.sent,
        "waiting": progress.waiting,
        "left_out": dict(progress.left_out),
        "states": dict(progress.states),
        "last_sent_at": progress.last_sent_at,
        "status": campaign.status.value,
    }
    return {**{name: getattr(campaign, name) for name in FIGURES if name not in theirs}, **theirs}


def _rows(connection: Connection, number: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    after = 0
    while some := campaigns.rows_after(connection, number, after):
        found += ({"recipient": row.recipient, "fields": dict(row.fields)} for _, row in some)
        after = some[-1][0]
    return found


def _files(connection: Connection, number: int) -> list[dict[str, object]]:
    return [
        {"filename": file.kept.filename, "content_type": file.kept.content_type, **_place(file)}
        for file in attachments.of_campaign(connection, number)
    ]


def _place(file: attachments.CarriedFile) -> dict[str, object]:
    """Where a file that was fetched can be had again; of another one, itself."""
    if file.origin is not None:
        return {"uri": file.origin}
    return {"content_base64": b64encode(file.kept.read()).decode()}


# --- And in again ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A campaign that was read from a file.

    :param number: of the draft that it is now
    :param new: False: the same was read before
    """

    number: int
    new: bool


def take_in(connection: Connection, records: Sequence[object], settings: HandOverSettings) -> list[TakenIn]:
    """Store campaigns from a file as drafts: all of them, or none.

    The same campaign once more is not stored again.

    :param records: see :func:`read_file`
    :raises InvalidCampaign: something is wrong with one; each fault says which, as in ``campaigns[2].subject``
    """
    faults: list[Fault] = []
    taken = []
    for position, record in enumerate(records):
        try:
            fields, rows = _fields(record)
            key = f"import:{_digest(fields, rows)}"
            taken.append(TakenIn(*authoring.create(connection, fields, settings, rows=rows, idempotency_key=key)))
        except InvalidCampaign as error:
            faults += [Fault(f"campaigns[{position}].{fault.field}", fault.problem) for fault in error.faults]
    if faults:
        raise InvalidCampaign(faults)
    return taken


def _digest(fields: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """What two files have in common that hold the same campaign, however far it was."""
    recipients = [(row.recipient, row.fields) for row in rows]
    return sha256(json.dumps([fields, recipients], sort_keys=True, default=str).encode()).hexdigest()


def _fields(record: object) -> tuple[dict[str, Any], list[Row]]:
    """What the author of a campaign wrote, and its recipients; of the rest nothing is read."""
    if not isinstance(record, Mapping):
        raise InvalidCampaign([Fault("campaign", "must be an object with the fields of a campaign")])
    given = {str(name): value for name, value in record.items() if name not in {ROWS, *FIGURES}}
    return given, _read_rows(record.get(ROWS))


def _read_rows(given: object) -> list[Row]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(map(_is_row, given)):
        told = 'must be a list of {"recipient": …, "fields": {…}}'
        raise InvalidCampaign([Fault(ROWS, told)])
    return [Row(f"row {number}", one["recipient"], one.get("fields") or {}) for number, one in enumerate(given, 1)]


def _is_row(given: object) -> bool:
    if not isinstance(given, dict) or not isinstance(given.get("recipient"), str):
        return False
    fields = given.get("fields") or {}
    known = set(given) <= {"recipient", "fields"} and isinstance(fields, dict)
    return known and "\x00" not in json.dumps(given, ensure_ascii=False) and "\\u0000" not in json.dumps(given)


def read_file(text: str, format_: Format) -> list[object]:
    """The campaigns in a file, as it has them.

    :raises InvalidCampaign: it is none
    """
    try:
        if format_ is Format.CSV:
            return [_read_line(line) for line in csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))]
        if format_ is Format.JSONL:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        found = json.loads(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise InvalidCampaign([Fault("file", f"is no {format_}: {error}")]) from error
    return cast("list[object]", found) if isinstance(found, list) else [found]


def _read_line(line: Mapping[str | None, Any]) -> dict[str, object]:
    """A line of CSV; an empty cell says nothing."""
    given = {str(name): _HARMLESS.sub("", str(cell)) for name, cell in line.items() if cell not in {None, ""}}
    read: dict[str, object] = dict(given)
    if "data" in given:
        read["data"] = json.loads(given["data"])
    return read
