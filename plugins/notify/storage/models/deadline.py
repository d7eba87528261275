"""The tables of deadlines and of their steps."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from notify.storage.models.base import metadata, moment, now

#: The terms of cases' stages, and the reminders that people set on cases. A closed one stays, with its reason.
deadlines = Table(
    "deadlines",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("type", Text, nullable=False),
    Column("case_id", Text, ForeignKey("notify.cases.id"), nullable=False),
    Column("stage", Text),
    Column("owner", Text),
    Column("login", Text, ForeignKey("notify.people.login")),
    Column("name", Text, nullable=False, server_default=""),
    moment("due_at", null=False),
    Column("plan", JSONB, nullable=False),
    Column("set_by", Text),
    now("created_at"),
    moment("closed_at"),
    Column("closed_reason", Text),
    CheckConstraint("type in ('term','reminder')", name="type"),
    CheckConstraint("(type = 'reminder') = (login is not null)", name="login"),
    CheckConstraint("(closed_at is null) = (closed_reason is null)", name="closed"),
    Index(
        "deadlines_term_key",
        "case_id",
        func.coalesce(text("stage"), text("''")),
        unique=True,
        postgresql_where=text("type = 'term' and closed_at is null"),
    ),
    Index(
        "deadlines_reminder_key",
        "case_id",
        "login",
        "name",
        unique=True,
        postgresql_where=text("type = 'reminder' and closed_at is null"),
    ),
    Index("deadlines_case_id_idx", "case_id", "id"),
)

#: The moments of a deadline at which somebody is told: notices before it, its passing, the escalations after it.
deadline_steps = Table(
    "deadline_steps",
    metadata,
    Column("deadline_id", BigInteger, ForeignKey("notify.deadlines.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    moment("fires_at", null=False),
    Column("recipients", ARRAY(Text), nullable=False),
    Column("outcome", Text),
    moment("settled_at"),
    Column("event_id", BigInteger, ForeignKey("notify.events.id")),
    CheckConstraint("outcome in ('fired','superseded','past','closed')", name="outcome"),
    CheckConstraint("(outcome is null) = (settled_at is null)", name="settled"),
    CheckConstraint("(outcome is not distinct from 'fired') = (event_id is not null)", name="event"),
    Index("deadline_steps_open_idx", "fires_at", "deadline_id", postgresql_where=text("outcome is null")),
    Index("deadline_steps_event_id_idx", "event_id", postgresql_where=text("event_id is not null")),
)
