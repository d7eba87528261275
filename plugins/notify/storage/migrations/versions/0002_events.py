"""Events and their notifications, preferences, what is put aside, deadlines.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "notify"

# A notification that has its home keeps it: what was told is not told again, what was refused is not sent after all.
ONE_HOME = """
create function notify.refuse_second_home() returns trigger language plpgsql as $$
begin
    raise exception 'notification % has its home (%) and cannot become %', old.id, old.home, new.home
        using errcode = 'integrity_constraint_violation';
end
$$;
create trigger refuse_second_home before update of home on notify.notifications
    for each row when (old.home <> 'waiting' and old.home is distinct from new.home)
    execute function notify.refuse_second_home();
"""

# Who changes what they want, or is no longer there, is looked at by the next run, whatever waits for them until when.
LOOK_AGAIN = """
create function notify.look_again() returns trigger language plpgsql as $$
begin
    -- The person first, as a merge has it: two that lock in different orders would wait for each other for ever.
    perform from notify.people where login = coalesce(new.login, old.login) for no key update;
    update notify.deferred set look_at = now()
    where login = coalesce(new.login, old.login) and look_at > now();
    return null;
end
$$;
create trigger look_again after insert or update or delete on notify.preferences
    for each row execute function notify.look_again();
create trigger look_again after update on notify.people
    for each row when (old.active <> new.active or old.email is distinct from new.email)
    execute function notify.look_again();
"""

# The queue of what is put aside is emptied again and again: clean up early.
STORAGE = """
alter table notify.notifications set (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
alter table notify.deferred set (autovacuum_vacuum_scale_factor = 0.02);
"""


def upgrade() -> None:
    op.create_table(
        "cases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("process", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("cases_pkey")),
        schema=SCHEMA,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("case_title", sa.Text(), server_default="", nullable=False),
        sa.Column("case_url", sa.Text(), nullable=True),
        sa.Column("process", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("recipients", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("origin_dag_id", sa.Text(), nullable=True),
        sa.Column("origin_run_id", sa.Text(), nullable=True),
        sa.Column("origin_task_id", sa.Text(), nullable=True),
        sa.Column("origin_map_index", sa.Integer(), nullable=True),
        sa.CheckConstraint("recipients > 0", name=op.f("events_recipients_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sa.UniqueConstraint("idempotency_key", name=op.f("events_idempotency_key_key")),
        schema=SCHEMA,
    )
    op.create_index(
        "events_case_id_idx",
        "events",
        ["case_id", "id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("case_id is not null"),
    )
    op.create_index(
        "events_origin_idx",
        "events",
        ["origin_dag_id", "origin_run_id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("origin_dag_id is not null"),
    )
    op.create_table(
        "suppressions",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("address = lower(address)", name=op.f("suppressions_address_check")),
        sa.PrimaryKeyConstraint("address", name=op.f("suppressions_pkey")),
        schema=SCHEMA,
    )
    op.create_table(
        "deadlines",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("plan", postgresql.JSONB(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("(type = 'reminder') = (login is not null)", name=op.f("deadlines_login_check")),
        sa.CheckConstraint("type in ('term','reminder')", name=op.f("deadlines_type_check")),
        sa.CheckConstraint("(closed_at is null) = (closed_reason is null)", name=op.f("deadlines_closed_check")),
        sa.ForeignKeyConstraint(["case_id"], ["notify.cases.id"], name=op.f("deadlines_case_id_fkey")),
        sa.ForeignKeyConstraint(["login"], ["notify.people.login"], name=op.f("deadlines_login_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("deadlines_pkey")),
        schema=SCHEMA,
    )
    op.create_index("deadlines_case_id_idx", "deadlines", ["case_id", "id"], unique=False, schema=SCHEMA)
    op.create_index(
        "deadlines_reminder_key",
        "deadlines",
        ["case_id", "login", "name"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("type = 'reminder' and closed_at is null"),
    )
    op.create_index(
        "deadlines_term_key",
        "deadlines",
        ["case_id", sa.literal_column("coalesce(stage, '')")],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("type = 'term' and closed_at is null"),
    )
    op.create_table(
        "preferences",
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=True),
        sa.Column("hour", sa.Time(), nullable=True),
        sa.Column("weekday", sa.SmallInteger(), nullable=True),
        sa.Column("quiet_from", sa.Time(), nullable=True),
        sa.Column("quiet_until", sa.Time(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "frequency in ('immediately','hourly','daily','weekly','never')", name=op.f("preferences_frequency_check")
        ),
        sa.CheckConstraint(
            "num_nonnulls(quiet_from, quiet_until) <> 1 and quiet_from <> quiet_until",
            name=op.f("preferences_quiet_check"),
        ),
        sa.CheckConstraint("weekday between 1 and 7", name=op.f("preferences_weekday_check")),
        sa.ForeignKeyConstraint(
            ["login"], ["notify.people.login"], name=op.f("preferences_login_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("login", "kind", name=op.f("preferences_pkey")),
        schema=SCHEMA,
    )
    op.create_table(
        "deadline_steps",
        sa.Column("deadline_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recipients", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(outcome is not distinct from 'fired') = (event_id is not null)", name=op.f("deadline_steps_event_check")
        ),
        sa.CheckConstraint(
            "outcome in ('fired','superseded','past','closed')", name=op.f("deadline_steps_outcome_check")
        ),
        sa.CheckConstraint("(outcome is null) = (settled_at is null)", name=op.f("deadline_steps_settled_check")),
        sa.ForeignKeyConstraint(
            ["deadline_id"], ["notify.deadlines.id"], name=op.f("deadline_steps_deadline_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["event_id"], ["notify.events.id"], name=op.f("deadline_steps_event_id_fkey")),
        sa.PrimaryKeyConstraint("deadline_id", "position", name=op.f("deadline_steps_pkey")),
        schema=SCHEMA,
    )
    op.create_index(
        "deadline_steps_event_id_idx",
        "deadline_steps",
        ["event_id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("event_id is not null"),
    )
    op.create_index(
        "deadline_steps_open_idx",
        "deadline_steps",
        ["fires_at", "deadline_id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("outcome is null"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), server_default="email", nullable=False),
        sa.Column("home", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("content_id", sa.BigInteger(), nullable=True),
        sa.Column("content_fields", sa.LargeBinary(), nullable=True),
        sa.Column("routed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(home = 'refused') = (reason is not null)", name=op.f("notifications_reason_check")),
        sa.CheckConstraint(
            "(home in ('mail','digest')) = (message_id is not null)", name=op.f("notifications_message_check")
        ),
        sa.CheckConstraint(
            "home <> 'waiting' or num_nulls(login, subject, summary, content_id, content_fields) = 0",
            name=op.f("notifications_waiting_check"),
        ),
        sa.CheckConstraint("home in ('mail','digest','waiting','refused')", name=op.f("notifications_home_check")),
        sa.ForeignKeyConstraint(["content_id"], ["notify.contents.id"], name=op.f("notifications_content_id_fkey")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["notify.events.id"], name=op.f("notifications_event_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["message_id"], ["notify.messages.id"], name=op.f("notifications_message_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("notifications_pkey")),
        sa.UniqueConstraint("position", "event_id", name=op.f("notifications_position_event_id_key")),
        schema=SCHEMA,
    )
    op.create_index(
        "notifications_content_id_idx",
        "notifications",
        ["content_id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("content_id is not null"),
    )
    op.create_index(
        "notifications_event_id_idx",
        "notifications",
        ["event_id", sa.literal_column("lower(address)")],
        unique=False,
        schema=SCHEMA,
    )
    op.create_index(
        "notifications_login_key",
        "notifications",
        ["event_id", "login"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("login is not null"),
    )
    op.create_index(
        "notifications_mail_key",
        "notifications",
        ["message_id"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("home = 'mail'"),
    )
    op.create_index(
        "notifications_message_id_idx",
        "notifications",
        ["message_id"],
        unique=False,
        schema=SCHEMA,
        postgresql_where=sa.text("message_id is not null"),
    )
    op.create_index("notifications_person_idx", "notifications", ["login", "routed_at"], unique=False, schema=SCHEMA)
    op.create_table(
        "deferred",
        sa.Column("notification_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("look_at <= due_at", name=op.f("deferred_look_at_check")),
        sa.ForeignKeyConstraint(["login"], ["notify.people.login"], name=op.f("deferred_login_fkey")),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notify.notifications.id"],
            name=op.f("deferred_notification_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("notification_id", name=op.f("deferred_pkey")),
        schema=SCHEMA,
    )
    op.create_index("deferred_login_idx", "deferred", ["login", "look_at"], unique=False, schema=SCHEMA)
    op.add_column("people", sa.Column("source", sa.Text(), nullable=True), schema=SCHEMA)
    op.execute("update notify.people set source = 'import'")  # there was no other way for them to come
    op.execute(ONE_HOME)
    op.execute(LOOK_AGAIN)
    op.execute(STORAGE)


def downgrade() -> None:
    op.execute("drop trigger look_again on notify.people")
    op.drop_column("people", "source", schema=SCHEMA)
    for table in (
        "deferred",
        "notifications",
        "deadline_steps",
        "deadlines",
        "preferences",
        "suppressions",
        "events",
        "cases",
    ):
        op.drop_table(table, schema=SCHEMA)
    op.execute("drop function notify.look_again()")
    op.execute("drop function notify.refuse_second_home()")
