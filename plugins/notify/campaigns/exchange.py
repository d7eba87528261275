"""Exchange: campaigns as they leave for a file, and come back out of one, here or in another installation.

In JSON a campaign is whole: what its author wrote, its recipients and its files, and beside it how far it is. In CSV it
is a line for people to calculate with; what its author wrote can be read back from there as well, but for recipients
and files, for which a cell has no room. Of a campaign nobody holds all recipients at once, out; in, they are held.
"""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from sqlalchemy.engine import Connection

from notify.campaigns import authoring
from notify.domain.campaign import Campaign, CampaignDraft, CampaignStatus, Progress, Row
from notify.domain.recipient_list import MOST_COLUMNS, MOST_FAULTS, MOST_ROWS, delimiter_of
from notify.exceptions import CampaignError, Fault, InvalidCampaign, NoSuchCampaign, NotifyError
from notify.settings import HandOverSettings
from notify.storage import attachments, campaign_messages, campaigns
from notify.table import Column, Format, as_it_was

#: Opens the outbox for a part of a campaign.
Opening = Callable[[], AbstractContextManager[Connection]]

#: Campaigns that are looked for at once.
STRETCH = 100

#: Recipients, each with the fields of their own, and files; only JSON has room for them.
ROWS = "rows"
FILES = "attachments"
APART = (ROWS, FILES)

#: What its author wrote, as it stands in a file.
WRITTEN = tuple(name for name in CampaignDraft.model_fields if name not in {FILES, "recipients", "csv"})

#: How far it is; read back by nobody.
FIGURES = (
    *("id", "status", "created", "sent", "waiting", "left_out", "states", "last_sent_at", "send_after"),
    *("created_at", "created_by", "generated_at", "started_at", "ended_at", "fault"),
)

#: More campaigns than these are not taken in at once: each holds a lock until all are stored.
MOST_CAMPAIGNS = 1_000

#: A NUL in JSON, which no database holds; a backslash before it would be a text about one.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


# --- Out -------------------------------------------------------------------------------------------------------------


def format_of(name: str) -> Format | None:
    """What a file is by its name; None where that does not say it."""
    _, _, end = name.rpartition(".")
    return Format(end.lower()) if end.lower() in set(Format) else None


class NoRoom(NotifyError):
    """CSV has no room for recipients. Take JSON, or leave them out."""


def parts(format_: Format, *, recipients: bool | None = None) -> tuple[str, ...]:
    """What stands apart in a file.

    :param recipients: whether they do; None: where there is room for them
    :raises NoRoom: they do not fit
    """
    if format_ is Format.CSV:
        if recipients:
            raise NoRoom
        return ()
    return APART if recipients is not False else (FILES,)


def columns(format_: Format, apart: Collection[str] = APART) -> list[Column]:
    """The columns of campaigns.

    :param apart: of recipients and files those that are there as well, in JSON
    """
    flat = [Column(name, _flat) for name in (*FIGURES, *WRITTEN)]
    return flat if format_ is Format.CSV else [*flat, *(Column(name) for name in APART if name in apart)]


def _flat(value: object) -> object:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def entries(
    opening: Opening, numbers: Iterable[int], apart: Collection[str] = APART, *, without: Collection[str] = ()
) -> Iterator[dict[str, object]]:
    """Campaigns for a file, one after another; one that is forgotten meanwhile is left out.

    While whoever gets them takes their time, nothing of the outbox is held.

    :param opening: the outbox for a part of one of them
    :param apart: of recipients and files those that are there as well; recipients are an iterator, to be read before
        the next campaign is asked for
    :param without: of these nothing is told but that they are there
    """
    for number in numbers:
        with opening() as connection:
            try:
                campaign = campaigns.read(connection, number)
            except NoSuchCampaign:
                continue
            figures = _figures(campaign, campaign_messages.progress(connection, campaign))
            files = _files(connection, number) if FILES in apart else []
        entry = {**authoring.written(campaign), **figures, **dict.fromkeys(without), FILES: files}
        yield {**entry, ROWS: _rows(opening, campaign)} if ROWS in apart else entry


def numbers(opening: Opening, statuses: Collection[CampaignStatus] = (), text: str = "") -> Iterator[int]:
    """The campaigns that fit, newest first; the filters are those of :func:`notify.storage.campaigns.page`."""
    before: int | None = None
    while True:
        with opening() as connection:
            page = campaigns.page(connection, statuses=statuses, text=text, before=before, limit=STRETCH)
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


def _rows(opening: Opening, campaign: Campaign) -> Iterator[dict[str, object]]:
    """Recipients, stretch by stretch.

    :raises CampaignError: it was changed meanwhile; what was read would be a part of the one, and a part of the other
    """
    after = 0
    while True:
        with opening() as connection:
            if campaigns.read(connection, campaign.id).changed_at != campaign.changed_at:
                raise CampaignError(f"Campaign {campaign.id} was changed while it was exported. Export it once more.")
            some = campaigns.rows_after(connection, campaign.id, after)
        if not some:
            return
        for _, row in some:
            yield {"recipient": row.recipient, "fields": dict(row.fields)}
        after = some[-1][0]


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

    :param number: of the draft that it became
    :param new: False: the same was read before
    """

    number: int
    description: str
    new: bool


def take_in(connection: Connection, records: Sequence[object], settings: HandOverSettings) -> list[TakenIn]:
    """Store campaigns from a file as drafts: all of them, or none.

    The same campaign once more is not stored again.

    :param records: see :func:`read_file`
    :raises InvalidCampaign: something is wrong with one; each fault says which, as in ``campaigns[2].subject``
    """
    if len(records) > MOST_CAMPAIGNS:
        told = f"has {len(records):,} campaigns, more than {MOST_CAMPAIGNS:,}; split it"
        raise InvalidCampaign([Fault("file", told)])
    faults: list[Fault] = []
    taken = []
    for position, record in enumerate(records):
        try:
            taken.append(_take_in(connection, record, settings))
        except InvalidCampaign as error:
            faults += [Fault(f"campaigns[{position}].{fault.field}", fault.problem) for fault in error.faults]
        except RecursionError:
            faults.append(Fault(f"campaigns[{position}].campaign", "is nested too deeply"))
    if faults:
        raise InvalidCampaign(faults)
    return taken


def _take_in(connection: Connection, record: object, settings: HandOverSettings) -> TakenIn:
    fields, rows = _fields(record)
    key = f"import:{_digest(fields, rows)}"
    number, new = authoring.create(connection, fields, settings, rows=rows, idempotency_key=key)
    return TakenIn(number, campaigns.read(connection, number).description, new)


def try_in(connection: Connection, records: Sequence[object], settings: HandOverSettings) -> list[TakenIn]:
    """What :func:`take_in` would store; nothing is stored. The numbers of new ones will be others.

    :raises InvalidCampaign: something is wrong with one
    """
    with connection.begin_nested() as point:
        taken = take_in(connection, records, replace(settings, attachment_store=None))  # which keeps what is taken back
        point.rollback()
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
    rows = record.get(ROWS)
    if problem := _flaw(rows):
        raise InvalidCampaign([Fault(ROWS, problem)])
    return given, _read_rows(rows)


def _flaw(rows: object) -> str | None:
    """Why the database cannot keep recipients, if that is so; of the other fields the draft knows it."""
    try:
        text = json.dumps(rows, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return "it holds half a surrogate pair, which no encoding can carry"
    except ValueError:
        return "it holds a number that is too large"
    return "a NUL character is not allowed" if _NUL.search(text) else None


def _read_rows(given: object) -> list[Row]:
    told = 'must be a list of {"recipient": …, "fields": {…}}'
    if given is None:
        return []
    if isinstance(given, list) and len(given) > MOST_ROWS:
        told = f"has {len(given):,} recipients, more than {MOST_ROWS:,}; put them into a table and write a query"
    if not isinstance(given, list) or len(given) > MOST_ROWS:
        raise InvalidCampaign([Fault(ROWS, told)])
    if wrong := [number for number, one in enumerate(given, 1) if not _is_row(one)]:
        some = ", ".join(map(str, wrong[:MOST_FAULTS]))
        more = f" and {len(wrong) - MOST_FAULTS:,} more" if len(wrong) > MOST_FAULTS else ""
        raise InvalidCampaign([Fault(ROWS, f"{told}; not so: number {some}{more}")])
    return [Row(f"row {number}", one["recipient"], one.get("fields") or {}) for number, one in enumerate(given, 1)]


def _is_row(given: object) -> bool:
    if not isinstance(given, dict) or not isinstance(given.get("recipient"), str):
        return False
    return set(given) <= {"recipient", "fields"} and isinstance(given.get("fields") or {}, dict)


# --- What a file says ------------------------------------------------------------------------------------------------


def read_file(text: str, format_: Format) -> list[object]:
    """The campaigns in a file, as it has them.

    :raises InvalidCampaign: it is none
    """
    whole = text.removeprefix("\ufeff")
    try:
        if format_ is Format.CSV:
            return _read_csv(whole)
        if format_ is Format.JSONL:
            return [_read_json(line) for line in whole.split("\n") if line.strip()]
        found = _read_json(whole)
    except csv.Error as error:
        told = f"is no CSV: {error}. Quotes within a cell are doubled; very long texts need JSON"
        raise InvalidCampaign([Fault("file", told)]) from error
    except (ValueError, RecursionError) as error:
        raise InvalidCampaign([Fault("file", f"is no {format_.value.upper()}: {error}")]) from error
    return list(found) if isinstance(found, list) else [found]


def _read_json(text: str) -> object:
    return json.loads(text, parse_constant=_no_number)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _read_csv(text: str) -> list[object]:
    """The lines; commas, semicolons or tabs part the cells, as a spreadsheet has it that saved them."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text), strict=True)
    header = [name.strip() for name in next(lines, [])]
    if len(header) > MOST_COLUMNS:
        raise ValueError(f"it has {len(header):,} columns, more than {MOST_COLUMNS:,}")
    if twice := sorted(name for name, count in Counter(header).items() if count > 1):
        raise ValueError(f"two columns are called {', '.join(twice)}")
    found: list[object] = []
    for cells in lines:
        if len(cells) > len(header):
            raise ValueError(f"line {lines.line_num} has more cells than the header; quote those that hold commas")
        if any(cells):
            found.append(_read_line(zip(header, cells, strict=False)))
    return found


def _read_line(cells: Iterable[tuple[str, str]]) -> dict[str, object]:
    """A line of CSV; an empty cell says nothing."""
    read: dict[str, object] = {name: as_it_was(cell) for name, cell in cells if cell}
    if "data" in read:
        read["data"] = _read_data(str(read["data"]))
    return read


def _read_data(text: str) -> object:
    """The fields that are the same for all; what is none is told with the campaign's other faults."""
    try:
        return _read_json(text)
    except (ValueError, RecursionError):
        return text
