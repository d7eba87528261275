"""PostgreSQL and an Airflow home, for a run outside pytest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

from dev.postgres import Postgres


@contextmanager
def home() -> Iterator[None]:
    """An Airflow home of our own; to be entered before Airflow is imported."""
    with tempfile.TemporaryDirectory(prefix="notify-fuzz-home-") as folder:
        for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
            del os.environ[name]
        os.environ |= {"AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        yield


@contextmanager
def database() -> Iterator[URL]:
    """The address of an outbox database, gone in the end."""
    from notify.storage import schema
    from notify.storage.engine import normal_url

    with tempfile.TemporaryDirectory(prefix="notify-fuzz-postgres-") as folder:
        server = Postgres(Path(folder) / "data")
        server.start()
        try:
            url = normal_url(server.uri("postgres"))
            engine = sa.create_engine(url)
            schema.upgrade(engine)
            engine.dispose()
            yield url
        finally:
            server.stop()
