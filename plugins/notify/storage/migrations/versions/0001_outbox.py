"""The outbox: people, messages, attempts, and the history that a trigger writes.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "notify"

# The history takes every change of state, and refuses one that is not in the diagram of docs/architecture.md.
HISTORY = """
alter table notify.message_events add constraint message_events_transition_check check (
    (from_status = 'queued' and to_status in ('sending', 'held', 'cancelled', 'suppressed', 'expired'))
    or (from_status = 'sending' and to_status in ('sent', 'queued', 'failed', 'uncertain'))
    or (from_status = 'sent' and to_status in ('delivered', 'undelivered', 'queued'))
    or (from_status in ('failed', 'uncertain', 'cancelled', 'held', 'expired', 'suppressed') and to_status = 'queued')
);
create function notify.record_message_events() returns trigger language plpgsql as $$
begin
    insert into notify.message_events (message_id, from_status, to_status, attempt, reason, actor)
    select after.id, before.status, after.status, after.attempts, after.status_reason,
           nullif(current_setting('notify.actor', true), '')
    from before join after using (id)
    where before.status <> after.status;
    return null;
end
$$;
create trigger record_message_events after update on notify.messages
    referencing old table as before new table as after
    for each statement execute function notify.record_message_events();
"""

# A queue is a small, busy part of a large table: leave room for updates in place, and clean up early and often.
STORAGE = """
alter table notify.messages set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
alter table notify.attempts set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
alter table notify.recipients set (fillfactor = 85);
"""


def upgrade() -> None:
    op.create_table(
        "attachments",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("uri", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("num_nonnulls(content, uri) = 1", name=op.f("attachments_one_place_check")),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("attachments_sha256_check")),
        sa.PrimaryKeyConstraint("sha256", name="attachments_pkey"),
        schema=SCHEMA,
    )
    op.create_table(
        "contents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="contents_pkey"),
        schema=SCHEMA,
    )
    op.create_table(
        "drains",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("hourly_limit", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="drains_pkey"),
        schema=SCHEMA,
    )
    op.create_index(
        "drains_open_idx",
        "drains",
        ["sender", "lease_until"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index("drains_run_idx", "drains", ["dag_id", "run_id"], unique=False, schema=SCHEMA)
    op.create_table(
        "groups",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="groups_pkey"),
        schema=SCHEMA,
    )
    op.create_table(
        "people",
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("supervisor", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "login <> '' and position('@' in login) = 0 and login !~ '[;,]'", name=op.f("people_login_check")
        ),
        sa.ForeignKeyConstraint(
            ["supervisor"],
            ["notify.people.login"],
            name="people_supervisor_fkey",
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("login", name="people_pkey"),
        schema=SCHEMA,
    )
    op.create_index("people_email_idx", "people", [sa.literal_column("lower(email)")], unique=False, schema=SCHEMA)
    op.create_table(
        "senders",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("hourly_limit", sa.Integer(), nullable=True),
        sa.Column("limit_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_fault", sa.Text(), nullable=True),
        sa.Column("last_remedy", sa.Text(), nullable=True),
        sa.Column("last_fault_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("sender", name="senders_pkey"),
        schema=SCHEMA,
    )
    op.create_table(
        "memberships",
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_name"], ["notify.groups.name"], name="memberships_group_name_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["login"], ["notify.people.login"], name="memberships_login_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_name", "login", name="memberships_pkey"),
        schema=SCHEMA,
    )
    op.create_index("memberships_login_idx", "memberships", ["login"], unique=False, schema=SCHEMA)
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), server_default="email", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), server_default="normal", nullable=False),
        sa.Column("guarantee", sa.Text(), server_default="at_least_once", nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("boundary", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("content_id", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("idempotency_index", sa.Integer(), nullable=True),
        sa.Column("origin_dag_id", sa.Text(), nullable=True),
        sa.Column("origin_run_id", sa.Text(), nullable=True),
        sa.Column("origin_task_id", sa.Text(), nullable=True),
        sa.Column("origin_map_index", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("refusals", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("guarantee in ('at_least_once','at_most_once')", name=op.f("messages_guarantee_check")),
        sa.CheckConstraint("priority in ('urgent','normal','bulk')", name=op.f("messages_priority_check")),
        sa.CheckConstraint(
            "status <> 'uncertain' or guarantee = 'at_most_once'", name=op.f("messages_uncertain_check")
        ),
        sa.CheckConstraint(
            "status in ('queued','sending','sent','delivered','undelivered','failed','uncertain','held','cancelled','suppressed','expired')",
            name=op.f("messages_status_check"),
        ),
        sa.CheckConstraint(
            "status not in ('sent','delivered','undelivered') or sent_at is not null",
            name=op.f("messages_sent_at_check"),
        ),
        sa.CheckConstraint(
            "(idempotency_key is null) = (idempotency_index is null)", name=op.f("messages_idempotency_check")
        ),
        sa.CheckConstraint("size >= 0 and attempts >= 0 and refusals >= 0", name=op.f("messages_counts_check")),
        sa.ForeignKeyConstraint(["content_id"], ["notify.contents.id"], name="messages_content_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="messages_pkey"),
        sa.UniqueConstraint(
            "idempotency_key", "idempotency_index", name="messages_idempotency_key_idempotency_index_key"
        ),
        sa.UniqueConstraint("message_id", name="messages_message_id_key"),
        schema=SCHEMA,
    )
    op.create_index("messages_content_id_idx", "messages", ["content_id"], unique=False, schema=SCHEMA)
    op.create_index(
        "messages_due_idx",
        "messages",
        ["sender", "priority", "not_before", "id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "messages_expiring_idx",
        "messages",
        ["expires_at"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'queued' and expires_at is not null"),
    )
    op.create_index(
        "messages_open_idx",
        "messages",
        ["status", "id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("status not in ('sent','delivered')"),
    )
    op.create_index(
        "messages_origin_idx",
        "messages",
        ["origin_dag_id", "origin_run_id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("origin_dag_id is not null"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("bulk", sa.Boolean(), nullable=False),
        sa.Column("drain_id", sa.Uuid(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("code", sa.SmallInteger(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome in ('accepted','temporary','permanent','in_doubt','sender_fault')",
            name=op.f("attempts_outcome_check"),
        ),
        sa.CheckConstraint("(ended_at is null) = (outcome is null)", name=op.f("attempts_ended_check")),
        sa.CheckConstraint("ended_at is null or begun_at is not null", name=op.f("attempts_begun_check")),
        sa.ForeignKeyConstraint(["drain_id"], ["notify.drains.id"], name="attempts_drain_id_fkey"),
        sa.ForeignKeyConstraint(
            ["message_id"], ["notify.messages.id"], name="attempts_message_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="attempts_pkey"),
        sa.UniqueConstraint("message_id", "number", name="attempts_message_id_number_key"),
        schema=SCHEMA,
    )
    op.create_index("attempts_drain_id_idx", "attempts", ["drain_id"], unique=False, schema=SCHEMA)
    op.create_index(
        "attempts_open_idx",
        "attempts",
        ["message_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index("attempts_window_idx", "attempts", ["sender", "ended_at"], unique=False, schema=SCHEMA)
    op.create_table(
        "message_attachments",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["notify.messages.id"],
            name="message_attachments_message_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["sha256"], ["notify.attachments.sha256"], name="message_attachments_sha256_fkey"),
        sa.PrimaryKeyConstraint("message_id", "position", name="message_attachments_pkey"),
        schema=SCHEMA,
    )
    op.create_index("message_attachments_sha256_idx", "message_attachments", ["sha256"], unique=False, schema=SCHEMA)
    op.create_table(
        "message_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["notify.messages.id"], name="message_events_message_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="message_events_pkey"),
        schema=SCHEMA,
    )
    op.create_index(
        "message_events_message_id_idx", "message_events", ["message_id", "id"], unique=False, schema=SCHEMA
    )
    op.create_table(
        "recipients",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="pending", nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome in ('pending','accepted','temporary','permanent','in_doubt')",
            name=op.f("recipients_outcome_check"),
        ),
        sa.CheckConstraint("role in ('to','cc','bcc')", name=op.f("recipients_role_check")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["notify.messages.id"], name="recipients_message_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "position", name="recipients_pkey"),
        schema=SCHEMA,
    )
    op.create_index(
        "recipients_address_idx",
        "recipients",
        [sa.literal_column("lower(address)"), "message_id"],
        unique=False,
        schema=SCHEMA,
    )
    op.execute(HISTORY)
    op.execute(STORAGE)


def downgrade() -> None:
    for table in (
        "message_events",
        "attempts",
        "drains",
        "message_attachments",
        "recipients",
        "messages",
        "attachments",
        "contents",
        "senders",
        "memberships",
        "groups",
        "people",
    ):
        op.drop_table(table, schema=SCHEMA)
    op.execute("drop function notify.record_message_events()")
