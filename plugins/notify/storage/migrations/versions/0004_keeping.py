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
    op.add_column("attachments", sa.Column("doomed_at", sa.DateTime(timezone=True), nullable=True), schema=SCHEMA)
    op.alter_column("message_attachments", "sha256", nullable=True, schema=SCHEMA)
    op.add_column("messages", sa.Column("notifications_removed", sa.Integer(), nullable=True), schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("messages", "notifications_removed", schema=SCHEMA)
    op.execute("delete from notify.message_attachments where sha256 is null")
    op.alter_column("message_attachments", "sha256", nullable=False, schema=SCHEMA)
    op.drop_column("attachments", "doomed_at", schema=SCHEMA)
    op.drop_table("identity", schema=SCHEMA)
