"""Going through a table along its key: a page at a time, in a bounded time, however long it is.

Pages go by the key (*keyset*): a deep page costs what the first one does, and nothing is counted. Where no index
serves what is looked for, a page looks at no more than :data:`WINDOW` rows; if it has found too few by then, it says
how far it looked, and the next page goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: The most rows that one page looks at, where no index serves what is looked for.
WINDOW = 50_000

#: The most keys that are found by their beginning, and how many an index is asked for to find them.
FIRST = 50
_NEXT = 200


@dataclass(frozen=True, slots=True)
class Stretch:
    """The rows of a page.

    :param next_after: where the next page begins, None at the end
    :param searched_to: how far this page looked, where it has fewer rows than it may have, and is not the last
    """

    rows: tuple[sa.Row[Any], ...]
    next_after: str | None
    searched_to: str | None = None


def walk(
    connection: Connection,
    query: sa.Select[Any],
    key: sa.ColumnElement[str],
    *,
    after: str | None,
    limit: int,
    among: sa.Select[tuple[str]] | None = None,
) -> Stretch:
    """The next rows.

    :param query: what is wanted, the key among it; without order and limit
    :param key: that orders the rows, a text that no two of them share
    :param after: the key after which to begin: a page's ``next_after``
    :param limit: the most to return
    :param among: the keys to look at; None where an index serves what is wanted, so that nothing is looked at in vain
    """
    last = None if among is None else _last(connection, among, after)
    if after is not None:
        query = query.where(key > after)
    if last is not None:
        query = query.where(key <= last)
    rows = connection.execute(query.add_columns(key.label("walked")).order_by(key).limit(limit + 1)).all()
    if len(rows) > limit:
        return Stretch(tuple(rows[:limit]), rows[limit - 1].walked)
    return Stretch(tuple(rows), last, last)


def _last(connection: Connection, among: sa.Select[tuple[str]], after: str | None) -> str | None:
    """The last key that this page looks at; None where it comes to the end."""
    (key,) = among.selected_columns
    window = among.order_by(key).offset(WINDOW).limit(1)
    if after is not None:
        window = window.where(key > after)
    found: str | None = connection.scalar(window)
    return found


def beginning(connection: Connection, key: sa.ColumnElement[str], text: str) -> list[str]:
    """Keys that begin with a text, at once: those behind it in the index, as far as they stand there in one piece.

    That depends on the collation. What is not found here is no further away than anything else.

    :param key: what an index is ordered by
    """
    query = sa.select(key).where(key >= text).order_by(key).limit(_NEXT)
    return [found for found in connection.scalars(query) if found.startswith(text)][:FIRST]
