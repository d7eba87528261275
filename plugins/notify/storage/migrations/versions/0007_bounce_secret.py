"""The secret that the addresses which mails come back to are checked with.

Revision: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "notify"

# A UUID has 122 bits that nobody can predict; PostgreSQL has no other source of such bits without an extension.
RANDOM = "sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))"


def upgrade() -> None:
    column = sa.Column("bounce_secret", sa.LargeBinary(), server_default=sa.text(RANDOM), nullable=False)
    op.add_column("identity", column, schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("identity", "bounce_secret", schema=SCHEMA)
