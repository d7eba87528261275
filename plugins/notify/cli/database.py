"""The outbox database, for commands."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage.engine import engine_for


def connect() -> Engine:
    """An engine whose server has answered.

    :raises ConfigurationError: it does not; the message says where it was looked for
    """
    url = settings.database_url()
    engine = engine_for(url)
    try:
        with engine.connect():
            return engine
    except sa.exc.OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise ConfigurationError(
            f"The outbox database {url.render_as_string(hide_password=True)} cannot be reached: {reason}. "
            "Check that PostgreSQL runs there, and the connection notify_db."
        ) from None
