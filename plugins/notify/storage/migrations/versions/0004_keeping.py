"""The outbox's identity, and what Housekeeping removes.

Revision: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    op.create_table(
        "identity",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("counter", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("former", postgresql.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("witnessed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("system_identifier", sa.BigInteger(), nullable=True),
        sa.Column("database_oid", sa.BigInteger(), nullable=True),
        sa.Column("timeline", sa.Integer(), nullable=True),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("refused_mark", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("one", name=op.f("identity_one_check")),
        sa.PrimaryKeyConstraint("one", name=op.f("identity_pkey")),
        schema=SCHEMA,
    )
    op.execute("insert into notify.identity default values")


def downgrade() -> None:
    op.drop_table("identity", schema=SCHEMA)
