"""The outbox's identity, and what Housekeeping removes.

Revision: 0004
"""

from __future__ import annotations

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
