"""Bounces read from a mailbox, and a suppression's source.

Revision: 0003
"""

from __future__ import annotations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
