"""The register as a download, for the page and the API alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, TypeVar

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Depends, Query
from starlette.responses import StreamingResponse

from notify import exporting, table
from notify.storage.search import Search, told
from notify.table import MEDIA_TYPES, Format, Style
from notify.web import audit
from notify.web.outbox import reading
from notify.web.problems import Forbidden
from notify.web.rights import Right

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a file shall have.

    :param format: None: whatever its door gives
    :param texts: what messages say
    """

    format: Format | None
    bom: bool
    raw: bool
    texts: bool


def _wish(
    format: Annotated[  # noqa: A002 - the field's name
        Format | None,
        Query(description="`json` (an array of objects), `jsonl` (an object a line) or `csv` (RFC 4180)"),
    ] = None,
    bodies: Annotated[bool, Query(description="With the texts; takes the right to read them")] = False,
    bom: Annotated[bool, Query(description="Of CSV: begin with a byte order mark, for Excel")] = False,
    raw: Annotated[bool, Query(description="Of CSV: leave texts as they are; not for spreadsheets")] = False,
) -> Wish:
    return Wish(format, bom, raw, bodies)


#: What a request wants of a file.
Wished = Annotated[Wish, Depends(_wish)]


def answer(user: BaseUser, wanted: Search, wish: Wish, door: str, usual: Format) -> StreamingResponse:
    """Answer with the messages that are looked for, as a file; the audit log says who took it.

    :param door: the page or the API
    :param usual: the format, where none is wished for
    :raises Forbidden: texts are wished for by somebody who may not read them
    """
    if wish.texts and not Right.READ_BODIES.of(user):
        raise Forbidden(Right.READ_BODIES.means)
    # The first of them is looked for before anything is said: what is wrong with the outbox has a status of its own.
    rows = _begun(exporting.messages(reading, wanted, texts=wish.texts))
    form = wish.format or usual
    audit.record(user, "export_messages", door=door, format=form.value, bodies=wish.texts, filters=told(wanted))
    pieces = table.written(exporting.columns(texts=wish.texts), rows, Style(form, bom=wish.bom, raw=wish.raw))
    name = f"messages-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{form}"
    return StreamingResponse(
        pieces,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _begun(rows: Iterator[Row]) -> Iterable[Row]:
    """The same, of which the first has been asked for."""
    with suppress(StopIteration):
        return chain([next(rows)], rows)
    return ()
