"""How many recipients of a message were erased: a report that comes late must not be taken for another's.

Revision: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    op.add_column("messages", sa.Column("recipients_erased", sa.Integer(), nullable=True), schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("messages", "recipients_erased", schema=SCHEMA)
