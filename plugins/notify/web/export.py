"""Files to be downloaded, and among them the register, for the page and the API alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from notify.table import MEDIA_TYPES, Column, Format, Style
from notify.web import audit
from notify.web.outbox import reading
from notify.web.problems import Forbidden
from notify.web.rights import Right

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file shall be written.

    :param format: None: whatever its door gives
    """

    format: Format | None
    bom: bool
    raw: bool

    def style(self, usual: Format) -> Style:
        """How it is written.

        :param usual: the format, where none is wished for
        """
        return Style(self.format or usual, bom=self.bom, raw=self.raw)


def _shape(
    format: Annotated[  # noqa: A002 - the field's name
        Format | None,
        Query(description="`json` (an array of objects), `jsonl` (an object a line) or `csv` (RFC 4180)"),
    ] = None,
    bom: Annotated[bool, Query(description="Of CSV: begin with a byte order mark, for Excel")] = False,
    raw: Annotated[bool, Query(description="Of CSV: leave texts as they are; not for spreadsheets")] = False,
) -> Shape:
    return Shape(format, bom, raw)


#: How a request wants a file to be written.
Shaped = Annotated[Shape, Depends(_shape)]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a file of messages shall have.

    :param texts: what messages say
    """

    shape: Shape
    texts: bool


def _wish(
    shape: Shaped,
    bodies: Annotated[bool, Query(description="With the texts; takes the right to read them")] = False,
) -> Wish:
    return Wish(shape, bodies)


#: What a request wants of a file of messages.
Wished = Annotated[Wish, Depends(_wish)]


def answer(user: BaseUser, wanted: Search, wish: Wish, door: str, usual: Format) -> StreamingResponse:
    """Answer with the messages that are looked for, as a file; the audit log says who took it.

    :param door: the page or the API
    :param usual: the format, where none is wished for
    :raises Forbidden: texts are wished for by somebody who may not read them
    """
    if wish.texts and not Right.READ_BODIES.of(user):
        raise Forbidden(Right.READ_BODIES.means)
    rows = begun(exporting.messages(reading, wanted, texts=wish.texts))
    style = wish.shape.style(usual)
    audit.record(user, "export_messages", door=door, format=style.format.value, bodies=wish.texts, filters=told(wanted))
    return download("messages", exporting.columns(texts=wish.texts), rows, style)


def download(
    name: str, columns: Sequence[Column], rows: Iterable[Mapping[str, object]], style: Style
) -> StreamingResponse:
    """A file, which is made while it is fetched.

    :param name: how the file's name begins; the moment follows
    :param columns: see :func:`notify.table.written`, as for the others
    """
    whole = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{style.format}"
    return StreamingResponse(
        table.written(columns, rows, style),
        media_type=MEDIA_TYPES[style.format],
        headers={"Content-Disposition": f'attachment; filename="{whole}"'},
    )


def begun(rows: Iterator[Row]) -> Iterable[Row]:
    """The same, of which the first has been asked for: what is wrong with the outbox has a status of its own."""
    with suppress(StopIteration):
        return chain([next(rows)], rows)
    return ()
