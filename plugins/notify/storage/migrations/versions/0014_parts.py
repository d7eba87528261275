"""An SMS counts against the limit by its parts, and each part has receipts.

All messages and attempts that are there are mails, and count one. The index of the queue has the parts as well, so that
a long queue is counted without reading its messages.

Revision: 0014
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SCHEMA = "notify"
COUNTS = "size >= 0 and attempts >= 0 and refusals >= 0"


def upgrade() -> None:
    op.add_column("messages", sa.Column("parts", sa.SmallInteger(), server_default="1", nullable=False), schema=SCHEMA)
    op.add_column("attempts", sa.Column("slots", sa.SmallInteger(), server_default="1", nullable=False), schema=SCHEMA)
    _recreate(f"{COUNTS} and parts > 0", include=["parts"])
    _create_sms_parts()
    op.create_table(
        "receipt_queries",
        sa.Column("transaction", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        _now("created_at"),
        _moment("answered_at"),
        sa.PrimaryKeyConstraint("transaction", name=op.f("receipt_queries_pkey")),
        schema=SCHEMA,
    )
    op.create_index(
        "receipt_queries_open_idx",
        "receipt_queries",
        ["sender"],
        schema=SCHEMA,
        postgresql_where=sa.text("answered_at is null"),
    )


def _create_sms_parts() -> None:
    op.create_table(
        "sms_parts",
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("arrival", sa.Text(), server_default="underway", nullable=False),
        sa.Column("words", sa.Text(), nullable=True),
        _moment("reported_at"),
        sa.Column("price", sa.Numeric(10, 4), nullable=True),
        sa.Column("carrier", sa.Text(), nullable=True),
        _now("created_at"),
        _moment("asked_at"),
        sa.Column("concluded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "number", name=op.f("sms_parts_pkey")),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["notify.attempts.id"], name=op.f("sms_parts_attempt_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["notify.messages.id"], name=op.f("sms_parts_message_id_fkey"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("arrival in ('underway','delivered','undelivered')", name=op.f("sms_parts_arrival_check")),
        schema=SCHEMA,
    )
    _index("reference", ["sender", "reference"], unique=True)
    _index("message_id", ["message_id"])
    _index("underway", ["sender", "asked_at"], where="arrival = 'underway'")
    _index("unconcluded", ["message_id"], where="arrival <> 'underway' and not concluded")


def _index(name: str, columns: list[str], *, unique: bool = False, where: str | None = None) -> None:
    op.create_index(
        f"sms_parts_{name}_idx",
        "sms_parts",
        columns,
        unique=unique,
        schema=SCHEMA,
        postgresql_where=sa.text(where) if where else None,
    )


def _now(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def downgrade() -> None:
    op.drop_table("receipt_queries", schema=SCHEMA)
    op.drop_table("sms_parts", schema=SCHEMA)
    _recreate(COUNTS, include=[])
    op.drop_column("attempts", "slots", schema=SCHEMA)
    op.drop_column("messages", "parts", schema=SCHEMA)


def _recreate(counts: str, include: list[str]) -> None:
    op.drop_constraint("messages_counts_check", "messages", schema=SCHEMA)
    op.create_check_constraint(op.f("messages_counts_check"), "messages", counts, schema=SCHEMA)
    op.drop_index("messages_due_idx", "messages", schema=SCHEMA)
    op.create_index(
        "messages_due_idx",
        "messages",
        ["sender", "priority", "not_before", "id"],
        schema=SCHEMA,
        postgresql_include=include or None,
        postgresql_where=sa.text("status = 'queued'"),
    )
