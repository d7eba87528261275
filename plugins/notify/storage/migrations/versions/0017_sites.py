"""Messages, cases and events may belong to a site: the branch whose sender sends their mails.

Nothing that is there belongs to one. Adding the columns rewrites no table.

Revision: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

SCHEMA = "notify"
TABLES = ("messages", "cases", "events")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("site", sa.Text(), nullable=True), schema=SCHEMA)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_column(table, "site", schema=SCHEMA)
