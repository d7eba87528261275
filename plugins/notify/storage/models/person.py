"""The tables of people: who they are, and what they want to hear."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, SmallInteger, Table, Text, Time, func, text

from notify.storage.models.base import metadata, now

#: Recipients known by login.
people = Table(
    "people",
    metadata,
    Column("login", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Column("language", Text),
    Column("timezone", Text),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("supervisor", Text, ForeignKey("notify.people.login", deferrable=True, initially="DEFERRED")),
    Column("source", Text),
    now("updated_at"),
    CheckConstraint("login <> '' and position('@' in login) = 0 and login !~ '[;,]'", name="login"),
)
Index("people_email_idx", func.lower(people.c.email))

#: Named sets of people.
groups = Table("groups", metadata, Column("name", Text, primary_key=True), now("updated_at"))

memberships = Table(
    "memberships",
    metadata,
    Column("group_name", Text, ForeignKey("notify.groups.name", ondelete="CASCADE"), primary_key=True),
    Column("login", Text, ForeignKey("notify.people.login", ondelete="CASCADE"), primary_key=True),
    Index("memberships_login_idx", "login"),
)

#: How often a person wants to hear of a kind of event; the kind ``*`` stands for all that have no row of their own.
preferences = Table(
    "preferences",
    metadata,
    Column("login", Text, ForeignKey("notify.people.login", ondelete="CASCADE"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("frequency", Text),
    Column("hour", Time),
    Column("weekday", SmallInteger),
    Column("quiet_from", Time),
    Column("quiet_until", Time),
    Column("channel", Text),
    now("updated_at"),
    CheckConstraint("frequency in ('immediately','hourly','daily','weekly','never')", name="frequency"),
    CheckConstraint("weekday between 1 and 7", name="weekday"),
    CheckConstraint("channel in ('email','sms','both')", name="channel"),
    CheckConstraint("num_nonnulls(quiet_from, quiet_until) <> 1 and quiet_from <> quiet_until", name="quiet"),
)
