"""The tables of addresses that get nothing, or not everything."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Table, Text

from notify.storage.models.base import metadata, moment, now

#: Addresses that get nothing, until ``expires_at``; in lower case.
suppressions = Table(
    "suppressions",
    metadata,
    Column("address", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False, server_default="person"),
    now("created_at"),
    moment("expires_at"),
    CheckConstraint("address = lower(address)", name="address"),
)

#: What the readers at an address want no more of: ``bulk-mail``, or, where they are no person of ours, a kind of event.
#: In lower case; never expires.
unsubscriptions = Table(
    "unsubscriptions",
    metadata,
    Column("address", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("actor", Text, nullable=False),
    now("created_at"),
    CheckConstraint("address = lower(address)", name="address"),
)
