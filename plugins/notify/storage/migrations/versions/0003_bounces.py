"""Bounces read from a mailbox, and a suppression's source.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "notify"

# What is new: a resend of what came back, and receipts for what was in doubt or taken for delivered.
TRANSITIONS = """
alter table notify.message_events drop constraint message_events_transition_check;
alter table notify.message_events add constraint message_events_transition_check check (
    (from_status = 'queued' and to_status in ('sending', 'held', 'cancelled', 'suppressed', 'expired'))
    or (from_status = 'sending' and to_status in ('sent', 'queued', 'failed', 'uncertain'))
    or (from_status in ('sent', 'uncertain') and to_status in ('delivered', 'undelivered', 'queued'))
    or (from_status = 'delivered' and to_status = 'undelivered')
    or (from_status in ('failed', 'cancelled', 'held', 'expired', 'suppressed', 'undelivered')
        and to_status = 'queued')
)
"""

# Not valid: the history keeps the changes of state that were possible in between.
FORMER_TRANSITIONS = """
alter table notify.message_events drop constraint message_events_transition_check;
alter table notify.message_events add constraint message_events_transition_check check (
    (from_status = 'queued' and to_status in ('sending', 'held', 'cancelled', 'suppressed', 'expired'))
    or (from_status = 'sending' and to_status in ('sent', 'queued', 'failed', 'uncertain'))
    or (from_status = 'sent' and to_status in ('delivered', 'undelivered', 'queued'))
    or (from_status in ('failed', 'uncertain', 'cancelled', 'held', 'expired', 'suppressed') and to_status = 'queued')
) not valid
"""


def upgrade() -> None:
    op.add_column(
        "suppressions", sa.Column("source", sa.Text(), server_default="person", nullable=False), schema=SCHEMA
    )
    op.create_table(
        "bounces",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=True),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(report) = 32", name=op.f("bounces_report_check")),
        sa.CheckConstraint(
            "action in ('failed','delayed','delivered','relayed','expanded')", name=op.f("bounces_action_check")
        ),
        sa.CheckConstraint("blame in ('hard','soft','none')", name=op.f("bounces_blame_check")),
        sa.CheckConstraint("(action = 'failed') = (blame is not null)", name=op.f("bounces_failed_check")),
        sa.CheckConstraint(
            "not counts or (blame in ('hard','soft') and position is not null)", name=op.f("bounces_counts_check")
        ),
        sa.CheckConstraint("notice in ('none','due','told')", name=op.f("bounces_notice_check")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["notify.messages.id"], name="bounces_message_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="bounces_pkey"),
        sa.UniqueConstraint("report", "address", name="bounces_report_address_key"),
        schema=SCHEMA,
    )
    op.create_index("bounces_message_id_idx", "bounces", ["message_id", "id"], unique=False, schema=SCHEMA)
    op.create_index(
        "bounces_counting_idx",
        "bounces",
        ["address", "received_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("counts"),
    )
    op.create_index(
        "bounces_due_idx",
        "bounces",
        ["id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("notice = 'due'"),
    )
    op.execute(TRANSITIONS)


def downgrade() -> None:
    op.execute(FORMER_TRANSITIONS)
    op.drop_table("bounces", schema=SCHEMA)
    op.drop_column("suppressions", "source", schema=SCHEMA)
