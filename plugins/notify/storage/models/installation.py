"""The tables of what the outbox knows of itself: who it is, its secrets, and the balance drawn up last."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from notify.storage.models.base import created_by, metadata, moment, now

#: What the outbox knows of itself, in one row: a restored copy can tell by it that it is one.
identity = Table(
    "identity",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("counter", BigInteger, nullable=False, server_default="0"),
    Column("former", ARRAY(Uuid), nullable=False, server_default=text("'{}'")),
    Column("witnessed", Boolean, nullable=False, server_default=text("false")),
    Column("system_identifier", BigInteger),
    Column("database_oid", BigInteger),
    Column("timeline", Integer),
    Column("refused", Text),
    Column("refused_mark", Uuid),
    now("created_at"),
    moment("confirmed_at"),
    # What the addresses that mails come back to are checked with; a copy keeps it, for mails that are under way.
    Column(
        "bounce_secret",
        LargeBinary,
        nullable=False,
        server_default=text("sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))"),
    ),
    # Likewise what the links in mails are checked with.
    Column(
        "link_secret",
        LargeBinary,
        nullable=False,
        server_default=text("sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))"),
    ),
    CheckConstraint("one", name="one"),
)

#: The balance that was drawn up last, in one row: when, by whom, and what came of it.
balance = Table(
    "balance",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    moment("at", null=False),
    Column("result", JSONB, nullable=False),
    created_by(),
    CheckConstraint("one", name="one"),
)
