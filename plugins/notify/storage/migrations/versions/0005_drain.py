"""What the drain and the hand-over need to be fast.

Revision: 0005
"""

from __future__ import annotations

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "notify"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
