"""The register finds the messages of a case by an index.

It has only messages with a case. Of those, hand-over adds an entry, and so does each change of state, as to every index
of the table: a change of state makes a new version of the row. Others cost nothing. What a case's messages were found by
before was the register itself, a window of it a page.

Revision: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    op.create_index(
        "messages_case_id_idx",
        "messages",
        ["case_id", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("case_id is not null"),
    )


def downgrade() -> None:
    op.drop_index("messages_case_id_idx", "messages", schema=SCHEMA)
