"""The table of requests of the API that may come again."""

from __future__ import annotations

from sqlalchemy import JSON, CheckConstraint, Column, LargeBinary, SmallInteger, Table

from notify.storage.models.base import metadata, now

#: Requests of the API that may come again, and what was answered. The key is a hash of the user and of the key that the
#: request brought; an answer has numbers, and nothing that tells of a person.
api_requests = Table(
    "api_requests",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("answer", JSON),  # and not JSONB, which puts its fields in another order
    now("created_at"),
    CheckConstraint("octet_length(key) = 32 and octet_length(fingerprint) = 32", name="digests"),
)
