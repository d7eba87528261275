"""Mass mailing: campaigns, whom they are for, what became of each of these, and which messages were made for which.

Revision: 0015
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCHEMA = "notify"
FATES = "'created','suppressed','unsubscribed','invalid','unreachable','incomplete','left'"


def upgrade() -> None:
    _create_campaigns()
    _create_rows()
    _create_recipients()
    _create_attachments()
    op.add_column("messages", sa.Column("campaign_id", sa.BigInteger(), nullable=True), schema=SCHEMA)
    op.add_column("messages", _flag("parked"), schema=SCHEMA)
    op.create_foreign_key(
        op.f("messages_campaign_id_fkey"),
        "messages",
        "campaigns",
        ["campaign_id"],
        ["id"],
        source_schema=SCHEMA,
        referent_schema=SCHEMA,
    )
    op.create_check_constraint(
        op.f("messages_parked_check"),
        "messages",
        "not parked or (campaign_id is not null and status = 'held')",
        schema=SCHEMA,
    )
    op.create_index(
        "messages_campaign_idx",
        "messages",
        ["campaign_id", "status", "id"],
        schema=SCHEMA,
        postgresql_include=["parts", "sent_at", "parked"],
        postgresql_where=sa.text("campaign_id is not null"),
    )


def _create_campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        _text("sender"),
        _text("site"),
        _text("subject"),
        _text("message"),
        _flag("html"),
        _text("template"),
        sa.Column("data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        _flag("add_template", default="true"),
        _text("language"),
        _flag("transliterate"),
        _text("guarantee"),
        _text("reply_to"),
        sa.Column("groups", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        _text("query_connection"),
        _text("query"),
        _text("note"),
        _text("classification"),
        _flag("stale"),
        sa.Column("pass", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_read", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("doubled", sa.BigInteger(), server_default="0", nullable=False),
        _moment("generating_at"),
        _text("fault"),
        _flag("send_when_generated"),
        _moment("send_after"),
        _flag("unsettled"),
        _moment("generated_at"),
        _moment("started_at"),
        _moment("ended_at"),
        _now("created_at"),
        _now("changed_at"),
        sa.Column(
            "created_by",
            sa.Text(),
            server_default=sa.text("NULLIF(current_setting('notify.actor'::text, true), ''::text)"),
            nullable=True,
        ),
        _text("idempotency_key"),
        sa.PrimaryKeyConstraint("id", name=op.f("campaigns_pkey")),
        sa.UniqueConstraint("idempotency_key", name=op.f("campaigns_idempotency_key_key")),
        _check(
            "campaigns", "status", "status in ('draft','generating','generated','sending','paused','done','cancelled')"
        ),
        _check("campaigns", "channel", "channel in ('email','sms')"),
        _check("campaigns", "guarantee", "guarantee in ('at_least_once','at_most_once')"),
        _check("campaigns", "query", "(query is null) = (query_connection is null)"),
        _check("campaigns", "ended_at", "(status in ('done','cancelled')) = (ended_at is not null)"),
        schema=SCHEMA,
    )
    op.create_index(
        "campaigns_open_idx",
        "campaigns",
        ["status", "id"],
        schema=SCHEMA,
        postgresql_where=sa.text("unsettled or status in ('generating','sending','paused')"),
    )


def _create_rows() -> None:
    op.create_table(
        "campaign_rows",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("fields", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("campaign_id", "number", name=op.f("campaign_rows_pkey")),
        _of_campaign("campaign_rows"),
        schema=SCHEMA,
    )


def _create_recipients() -> None:
    op.create_table(
        "campaign_recipients",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("pass", sa.Integer(), nullable=False),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("campaign_id", "key", name=op.f("campaign_recipients_pkey")),
        _of_campaign("campaign_recipients"),
        _check("campaign_recipients", "fate", f"fate in ({FATES})"),
        _check("campaign_recipients", "key", "octet_length(key) = 32"),
        _check("campaign_recipients", "message_id", "(fate in ('created','left')) = (message_id is not null)"),
        schema=SCHEMA,
    )


def _create_attachments() -> None:
    op.create_table(
        "campaign_attachments",
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        _text("uri"),
        sa.PrimaryKeyConstraint("campaign_id", "position", name=op.f("campaign_attachments_pkey")),
        _of_campaign("campaign_attachments"),
        sa.ForeignKeyConstraint(
            ["sha256"], ["notify.attachments.sha256"], name=op.f("campaign_attachments_sha256_fkey")
        ),
        schema=SCHEMA,
    )
    op.create_index("campaign_attachments_sha256_idx", "campaign_attachments", ["sha256"], schema=SCHEMA)


def _of_campaign(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["campaign_id"], ["notify.campaigns.id"], name=op.f(f"{table}_campaign_id_fkey"), ondelete="CASCADE"
    )


def _check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"{table}_{name}_check"))


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=True)


def _flag(name: str, *, default: str = "false") -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(default), nullable=False)


def _now(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def downgrade() -> None:
    op.drop_index("messages_campaign_idx", "messages", schema=SCHEMA)
    op.drop_constraint("messages_parked_check", "messages", schema=SCHEMA)
    op.drop_constraint("messages_campaign_id_fkey", "messages", schema=SCHEMA)
    op.drop_column("messages", "parked", schema=SCHEMA)
    op.drop_column("messages", "campaign_id", schema=SCHEMA)
    for table in ("campaign_attachments", "campaign_recipients", "campaign_rows", "campaigns"):
        op.drop_table(table, schema=SCHEMA)
