"""The balance, for a request: it reads all there is, so it has a bound of its own, and is drawn up by one at a time."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from sqlalchemy.engine import Connection

from notify.storage import balance
from notify.storage.balance import Balance
from notify.web.outbox import changing, reading
from notify.web.problems import TooLong

# Where many ask at once, the database need not do it for each of them.
_ALONE = sa.text("select pg_try_advisory_xact_lock(hashtextextended('notify balance', 0))")
_PATIENCE = sa.text("select set_config('statement_timeout', :milliseconds, true)")


def drawn_up(user: BaseUser, by: str, patience: timedelta) -> Balance:
    """Draw it up, and remember it as the last one.

    :param by: by what door: ``page`` or ``API``
    :param patience: for each statement
    :raises TooLong: it takes longer, or somebody else is at it
    """
    with reading() as connection:
        found = _drawn_up(connection, patience)
    with changing(user, by) as connection:
        balance.keep(connection, found)
    return found


def _drawn_up(connection: Connection, patience: timedelta) -> Balance:
    if not connection.scalar(_ALONE):
        raise TooLong("Somebody else is drawing up the balance at this moment. Look again in a minute.")
    connection.execute(_PATIENCE, {"milliseconds": str(patience // timedelta(milliseconds=1))})
    try:
        return balance.draw_up(connection)
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.QueryCanceled):
            raise TooLong from None
        raise
