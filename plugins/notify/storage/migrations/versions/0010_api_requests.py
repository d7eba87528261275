"""Answers to requests of the API that may come again; and who handed over a message, or published an event.

Revision: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = "notify"

# Whoever told the history who acts is remembered here as well; nobody can forget it.
ACTOR = "NULLIF(current_setting('notify.actor'::text, true), ''::text)"


def upgrade() -> None:
    op.create_table(
        "api_requests",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "octet_length(key) = 32 and octet_length(fingerprint) = 32", name=op.f("api_requests_digests_check")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("api_requests_pkey")),
        schema=SCHEMA,
    )
    for table in ("messages", "events"):
        # Of rows that are there already nobody knows it: what the default says now is nobody.
        op.add_column(
            table, sa.Column("created_by", sa.Text(), server_default=sa.text(ACTOR), nullable=True), schema=SCHEMA
        )


def downgrade() -> None:
    for table in ("events", "messages"):
        op.drop_column(table, "created_by", schema=SCHEMA)
    op.drop_table("api_requests", schema=SCHEMA)
