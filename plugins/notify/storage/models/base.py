"""Where all tables stand, and the columns that many of them have."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, MetaData, Text, func, text

SCHEMA = "notify"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)


def moment(name: str, *, null: bool = True) -> Column:  # type: ignore[type-arg]  # its type is the DateTime
    """A moment, with its zone."""
    return Column(name, DateTime(timezone=True), nullable=null)


def now(name: str) -> Column:  # type: ignore[type-arg]  # as above
    """The moment at which the row came, by the database's clock."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def created_by() -> Column:  # type: ignore[type-arg]  # as above
    """Who brought it, where a door told the history who acts; a task stands in the columns of its origin."""
    actor = text("NULLIF(current_setting('notify.actor'::text, true), ''::text)")
    return Column("created_by", Text, server_default=actor)
