"""What came of the balance when somebody drew it up last, in one row.

It reads the whole outbox, so nothing draws it up by itself; who opens the page is told what the last one came to.

Revision: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEMA = "notify"

ACTOR = "NULLIF(current_setting('notify.actor'::text, true), ''::text)"


def upgrade() -> None:
    op.create_table(
        "balance",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", JSONB(), nullable=False),
        sa.Column("created_by", sa.Text(), server_default=sa.text(ACTOR), nullable=True),
        sa.CheckConstraint("one", name=op.f("balance_one_check")),
        sa.PrimaryKeyConstraint("one", name=op.f("balance_pkey")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("balance", schema=SCHEMA)
