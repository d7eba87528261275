"""Alembic's entry: runs the migrations on the connection that notify.storage.schema holds the lock with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from notify.storage.models import SCHEMA, metadata

connection = context.config.attributes["connection"]
connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
