"""The schema's version: upgraded by Alembic, checked before use.

Our version table lies in our own schema, so that Airflow's migrations and those of a shared database never meet ours.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection, Engine

from notify.exceptions import ConfigurationError, SchemaMissing, SchemaTooNew, SchemaTooOld
from notify.storage import identity
from notify.storage.models import SCHEMA

MIGRATIONS = Path(__file__).parent / "migrations"

#: "notify" in ASCII: the advisory lock that lets one program upgrade at a time.
UPGRADE_LOCK = 0x6E6F74696679

_verified: set[sa.URL] = set()


def upgrade(engine: Engine, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to a revision; programs that do so at once take turns.

    :returns: the revision before and after; None is an empty database
    """
    return _migrate(engine, command.upgrade, revision)


def downgrade(engine: Engine, revision: str) -> tuple[str | None, str | None]:
    """Take the schema back to a revision; ``base`` removes it with all messages.

    :returns: the revision before and after
    """
    return _migrate(engine, command.downgrade, revision)


def _migrate(engine: Engine, step, revision: str) -> tuple[str | None, str | None]:  # type: ignore[no-untyped-def]
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(UPGRADE_LOCK)))
        connection.commit()
        try:
            before = current(connection)
            try:
                step(_config(connection), revision)
            except CommandError as error:
                _refuse_too_new(before)
                raise ConfigurationError(
                    f"The schema cannot be brought to {revision!r}: {error}. Known revisions: {', '.join(known())}."
                ) from error
            connection.commit()
            after = current(connection)
            _settle(connection)
            return before, after
        finally:
            connection.rollback()
            connection.execute(sa.select(sa.func.pg_advisory_unlock(UPGRADE_LOCK)))
            connection.commit()
            _verified.discard(engine.url)


def _settle(connection: Connection) -> None:
    """Let a new outbox write down where it lies; an older schema has no place for that."""
    if connection.scalar(sa.select(sa.func.to_regclass(f"{SCHEMA}.identity"))) is not None:
        identity.settle(connection)
        connection.commit()


def current(connection: Connection) -> str | None:
    """The schema's revision, None for an empty database; never fails, so it may join a caller's transaction."""
    table = f"{SCHEMA}.alembic_version"
    if connection.scalar(sa.select(sa.func.to_regclass(table))) is None:
        return None
    version = sa.table("alembic_version", sa.column("version_num"), schema=SCHEMA)
    return connection.scalar(sa.select(version.c.version_num))


def known() -> list[str]:
    """All revisions that this version knows, oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


def head() -> str:
    """The revision that this version works with."""
    return known()[-1]


def check(connection: Connection) -> str:
    """Make sure that the schema is the one this version works with.

    :returns: its revision
    :raises SchemaMissing, SchemaTooOld, SchemaTooNew: it is not; the message names the command that mends it
    """
    revision = current(connection)
    if revision is None:
        raise SchemaMissing
    _refuse_too_new(revision)
    if revision != head():
        raise SchemaTooOld(
            f"The outbox database is at revision {revision}, this version needs {head()}. "
            "Upgrade it with: python -m notify db upgrade."
        )
    return revision


def require(connection: Connection) -> None:
    """:func:`check`, once per database and process."""
    url = connection.engine.url
    if url not in _verified:
        check(connection)
        _verified.add(url)


def _refuse_too_new(revision: str | None) -> None:
    if revision is not None and revision not in known():
        raise SchemaTooNew(
            f"The outbox database is at revision {revision}, which this version does not know (it knows up to "
            f"{head()}). Install the version of the plugin that upgraded it, or run that version's "
            f"`python -m notify db downgrade {head()}`."
        )


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
