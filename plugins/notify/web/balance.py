"""The balance, for a request: it reads all there is, so it has a bound of its own, and is drawn up by one at a time."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.storage import balance
from notify.storage.balance import Balance
from notify.web.problems import TooLong

# Where many ask at once, the database need not do it for each of them.
_ALONE = sa.text("select pg_try_advisory_xact_lock(hashtextextended('notify balance', 0))")
_PATIENCE = sa.text("select set_config('statement_timeout', :milliseconds, true)")


def drawn_up(connection: Connection, patience: timedelta) -> Balance:
    """Draw it up, in the reading of a request.

    :param patience: for each statement
    :raises TooLong: it takes longer, or somebody else is at it
    """
    if not connection.scalar(_ALONE):
        raise TooLong("Somebody else is drawing up the balance at this moment. Look again in a minute.")
    connection.execute(_PATIENCE, {"milliseconds": str(patience // timedelta(milliseconds=1))})
    try:
        return balance.draw_up(connection)
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise TooLong from None
        raise
