"""What checks look at: the outbox, Airflow's own database, the clock. Each is opened where a check needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage.engine import engine_for

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: A statement of a check that takes longer is given up by the server.
_LONGEST = timedelta(seconds=4)


class Surroundings:
    """One look around.

    :param clock: of this machine, in seconds since 1970
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock

    @contextmanager
    def outbox(self) -> Iterator[Connection]:
        """A moment of the outbox database, to be looked at.

        :raises ConfigurationError: no connection leads to it
        """
        engine = engine_for(settings.database_url()).execution_options(postgresql_readonly=True)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"set local statement_timeout = {round(_LONGEST.total_seconds() * 1000)}")
            yield connection

    @contextmanager
    def metadata(self) -> Iterator[Session]:
        """A session of Airflow's own database.

        :raises AirflowUnreachable: it does not answer, or is none; the message says why
        """
        from airflow.utils.session import create_session

        from notify.web.airflow import AirflowUnreachable

        try:
            with create_session(scoped=False) as session:
                yield session
        except sa.exc.DBAPIError as error:
            reason = (str(error.orig).strip().splitlines() or ["no words"])[0]
            raise AirflowUnreachable(f"Airflow's own database does not answer: {reason}.") from None

    @cached_property
    def served(self) -> tuple[str, ...]:
        """The senders that runs serve, also where their list cannot be used."""
        try:
            return settings.senders()
        except ConfigurationError:
            return settings.DEFAULT_SENDERS
