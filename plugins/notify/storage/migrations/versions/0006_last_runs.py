"""A sender's last run can be found, however many there were before it.

Revision: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    op.create_index("drains_sender_idx", "drains", ["sender", "started_at"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_index("drains_sender_idx", "drains", schema=SCHEMA)
