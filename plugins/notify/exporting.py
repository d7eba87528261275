"""The register as a file, stretch by stretch: nobody holds it whole, and no transaction lasts as long as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import cast

from sqlalchemy.engine import Connection

from notify.storage import export, register
from notify.storage.export import OF_MESSAGE, RECIPIENTS
from notify.storage.search import Search, search
from notify.table import Column
from notify.web.mail import Mail

#: Messages that are read at once; with their texts, fewer.
STRETCH = 1000
STRETCH_OF_TEXTS = 50

#: Opens the outbox for one stretch.
Opening = Callable[[], AbstractContextManager[Connection]]

#: Under this name, what a message says.
TEXT = "text"


def columns(*, texts: bool = False) -> list[Column]:
    """The columns of messages.

    :param texts: with what they say
    """
    return [*map(Column, OF_MESSAGE), Column(RECIPIENTS, _addresses), *([Column(TEXT)] if texts else [])]


def _addresses(given: object) -> str:
    """In a cell there is room for addresses only."""
    return "; ".join(str(one["address"]) for one in cast("list[Mapping[str, object]]", given))


def messages(opening: Opening, wanted: Search, *, texts: bool = False) -> Iterator[dict[str, object]]:
    """Messages, newest first, each as it was at the moment of its stretch.

    While whoever gets them takes their time, nothing of the outbox is held: neither a connection nor a snapshot, which
    would keep PostgreSQL from cleaning up behind those who send.

    :param opening: the outbox for one stretch
    :param texts: with what they say, where that is still kept
    """
    before: int | None = None
    while True:
        with opening() as connection:
            page = search(connection, wanted, before=before, limit=STRETCH_OF_TEXTS if texts else STRETCH)
            found = export.entries(connection, [one.id for one in page.found])
            if texts:
                found = [{**one, TEXT: _text(connection, cast("int", one["id"]))} for one in found]
        yield from found
        before = page.next_before
        if before is None:
            return


def _text(connection: Connection, number: int) -> str | None:
    stored = register.text(connection, number)
    return None if stored is None else Mail.of(stored).text
