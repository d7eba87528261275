"""A gateway that pushes a receipt has its part asked for; and what is left on a sender's account is known.

Revision: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    op.add_column("sms_parts", sa.Column("pushed_at", sa.DateTime(timezone=True), nullable=True), schema=SCHEMA)
    op.create_index(
        "sms_parts_pushed_idx",
        "sms_parts",
        ["sender", "pushed_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("pushed_at is not null and arrival = 'underway'"),
    )
    op.add_column("senders", sa.Column("credit", sa.Numeric(14, 4), nullable=True), schema=SCHEMA)
    op.add_column("senders", sa.Column("credit_words", sa.Text(), nullable=True), schema=SCHEMA)
    op.add_column("senders", sa.Column("credit_warning", sa.Numeric(14, 4), nullable=True), schema=SCHEMA)
    op.add_column("senders", sa.Column("credit_at", sa.DateTime(timezone=True), nullable=True), schema=SCHEMA)


def downgrade() -> None:
    for name in ("credit_at", "credit_warning", "credit_words", "credit"):
        op.drop_column("senders", name, schema=SCHEMA)
    op.drop_index("sms_parts_pushed_idx", "sms_parts", schema=SCHEMA)
    op.drop_column("sms_parts", "pushed_at", schema=SCHEMA)
