"""Links in mails by which their readers change what they get, and what those want no more of.

Revision: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SCHEMA = "notify"

# As the other secret: two UUIDs have 244 bits that nobody can predict.
RANDOM = "sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))"


def upgrade() -> None:
    column = sa.Column("link_secret", sa.LargeBinary(), server_default=sa.text(RANDOM), nullable=False)
    op.add_column("identity", column, schema=SCHEMA)
    op.create_table(
        "unsubscriptions",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("address = lower(address)", name=op.f("unsubscriptions_address_check")),
        sa.PrimaryKeyConstraint("address", "scope", name=op.f("unsubscriptions_pkey")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("unsubscriptions", schema=SCHEMA)
    op.drop_column("identity", "link_secret", schema=SCHEMA)
