"""The tables of the outbox, all in the PostgreSQL schema ``notify``.

The migrations make them; a test holds both together. Two notions carry the promise:

* A message in state ``sending`` has exactly one *open* attempt (``ended_at`` is null). The attempt is the token that
  counts against the hourly limit, from its claim until a window after it ended.
* A *drain* is one run over one sender's queue. It holds a lease; an attempt of a drain that has ended can neither be
  begun nor settled.

And two more, that of events:

* A *notification* is an event for one recipient. Its column ``home`` says where it is, and a row has but one: a mail of
  its own, a digest, put aside, or refused with a reason. Once it has left the state of waiting it moves no more.
* The table ``deferred`` is the queue of what is put aside: a row for each notification that waits.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

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


def _moment(name: str, *, null: bool = True) -> Column:  # type: ignore[type-arg]  # its type is the DateTime
    return Column(name, DateTime(timezone=True), nullable=null)


def _now(name: str) -> Column:  # type: ignore[type-arg]  # as above
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _created_by() -> Column:  # type: ignore[type-arg]  # as above
    """Who brought it, where a door told the history who acts; a task stands in the columns of its origin."""
    actor = text("NULLIF(current_setting('notify.actor'::text, true), ''::text)")
    return Column("created_by", Text, server_default=actor)


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
    _now("created_at"),
    _moment("confirmed_at"),
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
    _now("updated_at"),
    CheckConstraint("login <> '' and position('@' in login) = 0 and login !~ '[;,]'", name="login"),
)
Index("people_email_idx", func.lower(people.c.email))

#: Named sets of people.
groups = Table("groups", metadata, Column("name", Text, primary_key=True), _now("updated_at"))

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
    _now("updated_at"),
    CheckConstraint("frequency in ('immediately','hourly','daily','weekly','never')", name="frequency"),
    CheckConstraint("weekday between 1 and 7", name="weekday"),
    CheckConstraint("num_nonnulls(quiet_from, quiet_until) <> 1 and quiet_from <> quiet_until", name="quiet"),
)

#: Addresses that get nothing, until ``expires_at``; in lower case.
suppressions = Table(
    "suppressions",
    metadata,
    Column("address", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False, server_default="person"),
    _now("created_at"),
    _moment("expires_at"),
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
    _now("created_at"),
    CheckConstraint("address = lower(address)", name="address"),
)

#: Requests of the API that may come again, and what was answered. The key is a hash of the user and of the key that the
#: request brought; an answer has numbers, and nothing that tells of a person.
api_requests = Table(
    "api_requests",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("answer", JSON),  # and not JSONB, which puts its fields in another order
    _now("created_at"),
    CheckConstraint("octet_length(key) = 32 and octet_length(fingerprint) = 32", name="digests"),
)

#: The balance that was drawn up last, in one row: when, by whom, and what came of it.
balance = Table(
    "balance",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    _moment("at", null=False),
    Column("result", JSONB, nullable=False),
    _created_by(),
    CheckConstraint("one", name="one"),
)

#: What is known of a sender beside its connection and its pool.
senders = Table(
    "senders",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("hourly_limit", Integer),
    _moment("limit_seen_at"),
    Column("last_fault", Text),
    Column("last_remedy", Text),
    _moment("last_fault_at"),
)

#: The MIME body of messages; one for all that say the same.
contents = Table(
    "contents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    _now("created_at"),
)

#: Attached files, each stored once, in the row or in object storage.
attachments = Table(
    "attachments",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Column("uri", Text),
    _now("created_at"),
    # Set: no message needs it, and its file may be gone from object storage already.
    _moment("doomed_at"),
    CheckConstraint("num_nonnulls(content, uri) = 1", name="one_place"),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
)

#: The outbox, and the register: a row stays when its message has been sent.
messages = Table(
    "messages",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("message_id", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("status_reason", Text),
    Column("sender", Text, nullable=False),
    Column("channel", Text, nullable=False, server_default="email"),
    Column("kind", Text, nullable=False),
    Column("priority", Text, nullable=False, server_default="normal"),
    Column("guarantee", Text, nullable=False, server_default="at_least_once"),
    Column("language", Text),
    Column("subject", Text, nullable=False),
    Column("case_id", Text),
    Column("headers", LargeBinary, nullable=False),
    Column("boundary", Text),
    Column("reply_to", Text),
    Column("content_id", BigInteger, ForeignKey("notify.contents.id")),
    Column("size", BigInteger, nullable=False),
    Column("idempotency_key", Text),
    Column("idempotency_index", Integer),
    Column("origin_dag_id", Text),
    Column("origin_run_id", Text),
    Column("origin_task_id", Text),
    Column("origin_map_index", Integer),
    _now("created_at"),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _moment("expires_at"),
    _moment("first_tried_at"),
    _moment("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("refusals", Integer, nullable=False, server_default="0"),
    # Of a digest: how many of its notifications Housekeeping has removed.
    Column("notifications_removed", Integer),
    # Of any: how many of its recipients were erased; a report about one of them must not be taken for another's.
    Column("recipients_erased", Integer),
    _created_by(),
    CheckConstraint(
        "status in ('queued','sending','sent','delivered','undelivered','failed','uncertain','held','cancelled',"
        "'suppressed','expired')",
        name="status",
    ),
    CheckConstraint("priority in ('urgent','normal','bulk')", name="priority"),
    CheckConstraint("guarantee in ('at_least_once','at_most_once')", name="guarantee"),
    CheckConstraint("status not in ('sent','delivered','undelivered') or sent_at is not null", name="sent_at"),
    CheckConstraint("status <> 'uncertain' or guarantee = 'at_most_once'", name="uncertain"),
    CheckConstraint("(idempotency_key is null) = (idempotency_index is null)", name="idempotency"),
    CheckConstraint("size >= 0 and attempts >= 0 and refusals >= 0", name="counts"),
    Index(
        "messages_idempotency_idx",
        "idempotency_key",
        "idempotency_index",
        unique=True,
        postgresql_where=text("idempotency_key is not null"),
    ),
    Index(
        "messages_due_idx",
        "sender",
        "priority",
        "not_before",
        "id",
        postgresql_where=text("status = 'queued'"),
    ),
    Index(
        "messages_expiring_idx",
        "expires_at",
        postgresql_where=text("status = 'queued' and expires_at is not null"),
    ),
    # Without the states that every message passes through: each index costs the hand-over and the drain.
    Index(
        "messages_open_idx",
        "status",
        "id",
        postgresql_where=text("status not in ('queued','sending','sent','delivered')"),
    ),
    Index(
        "messages_origin_idx",
        "origin_dag_id",
        "origin_run_id",
        postgresql_where=text("origin_dag_id is not null"),
    ),
    # Costs only what has a case: an entry at hand-over, and one at each change of state.
    Index("messages_case_id_idx", "case_id", "id", postgresql_where=text("case_id is not null")),
    Index("messages_content_id_idx", "content_id"),
)

#: Whom a message is for, each with its own outcome.
recipients = Table(
    "recipients",
    metadata,
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("login", Text),
    Column("outcome", Text, nullable=False, server_default="pending"),
    Column("code", SmallInteger),
    Column("response", Text),
    _moment("settled_at"),
    CheckConstraint("role in ('to','cc','bcc')", name="role"),
    CheckConstraint(
        "outcome in ('pending','accepted','temporary','permanent','in_doubt')",
        name="outcome",
    ),
    Index("recipients_address_idx", func.lower(text("address")), "message_id"),
)

message_attachments = Table(
    "message_attachments",
    metadata,
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sha256", LargeBinary, ForeignKey("notify.attachments.sha256")),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Index("message_attachments_sha256_idx", "sha256"),
)

#: One run over one sender's queue.
drains = Table(
    "drains",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("hourly_limit", Integer, nullable=False),
    _now("started_at"),
    _moment("lease_until", null=False),
    _moment("ended_at"),
    Column("end_reason", Text),
    Index("drains_open_idx", "sender", "lease_until", postgresql_where=text("ended_at is null")),
    Index("drains_run_idx", "dag_id", "run_id"),
    Index("drains_sender_idx", "sender", "started_at"),
)

#: Each try to send; also the token that counts against the limit.
attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("sender", Text, nullable=False),
    Column("bulk", Boolean, nullable=False),
    Column("drain_id", Uuid, ForeignKey("notify.drains.id"), nullable=False),
    _now("claimed_at"),
    _moment("begun_at"),
    _moment("ended_at"),
    Column("outcome", Text),
    Column("code", SmallInteger),
    Column("response", Text),
    CheckConstraint("(ended_at is null) = (outcome is null)", name="ended"),
    CheckConstraint("ended_at is null or begun_at is not null", name="begun"),
    CheckConstraint(
        "outcome in ('accepted','temporary','permanent','in_doubt','sender_fault')",
        name="outcome",
    ),
    UniqueConstraint("message_id", "number"),
    Index("attempts_open_idx", "message_id", unique=True, postgresql_where=text("ended_at is null")),
    Index("attempts_window_idx", "sender", "ended_at"),
    Index("attempts_drain_id_idx", "drain_id"),
)

#: The history: a row for each change of state, written by a trigger.
message_events = Table(
    "message_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("from_status", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text),
    Column("actor", Text),
    Index("message_events_message_id_idx", "message_id", "id"),
)

#: What reports say became of messages, a row for each report and recipient; ``position`` is null where that is none of
#: the message's own. What ``counts`` is held against the address.
bounces = Table(
    "bounces",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("report", LargeBinary, nullable=False),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("blame", Text),
    Column("counts", Boolean, nullable=False),
    Column("words", Text, nullable=False),
    Column("reporter", Text, nullable=False),
    Column("notice", Text, nullable=False),
    _now("received_at"),
    CheckConstraint("octet_length(report) = 32", name="report"),
    CheckConstraint("action in ('failed','delayed','delivered','relayed','expanded')", name="action"),
    CheckConstraint("blame in ('hard','soft','none')", name="blame"),
    CheckConstraint("(action = 'failed') = (blame is not null)", name="failed"),
    CheckConstraint("not counts or (blame in ('hard','soft') and position is not null)", name="counts"),
    CheckConstraint("notice in ('none','due','told')", name="notice"),
    UniqueConstraint("report", "address"),
    Index("bounces_message_id_idx", "message_id", "id"),
    Index("bounces_counting_idx", "address", "received_at", postgresql_where=text("counts")),
    Index("bounces_due_idx", "id", postgresql_where=text("notice = 'due'")),
)

# --- Events ----------------------------------------------------------------------------------------------------------

#: What events are about, as the latest of them told it.
cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False, server_default=""),
    Column("url", Text),
    Column("process", Text),
    Column("stage", Text),
    Column("owner", Text),
    _moment("closed_at"),
    _moment("seen_at", null=False),
)

#: What happened to cases.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("idempotency_key", Text, unique=True),
    Column("case_id", Text),
    Column("case_title", Text, nullable=False, server_default=""),
    Column("case_url", Text),
    Column("process", Text),
    Column("stage", Text),
    Column("owner", Text),
    Column("actor", Text),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Column("recipients", Integer, nullable=False),
    _moment("occurred_at", null=False),
    _now("created_at"),
    Column("origin_dag_id", Text),
    Column("origin_run_id", Text),
    Column("origin_task_id", Text),
    Column("origin_map_index", Integer),
    _created_by(),
    CheckConstraint("recipients > 0", name="recipients"),
    Index("events_case_id_idx", "case_id", "id", postgresql_where=text("case_id is not null")),
    Index(
        "events_origin_idx",
        "origin_dag_id",
        "origin_run_id",
        postgresql_where=text("origin_dag_id is not null"),
    ),
)

#: An event for one recipient, and its one home. What was put aside keeps here what was generated for it.
notifications = Table(
    "notifications",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("event_id", BigInteger, ForeignKey("notify.events.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("login", Text),
    Column("name", Text, nullable=False, server_default=""),
    Column("address", Text),
    Column("channel", Text, nullable=False, server_default="email"),
    Column("home", Text, nullable=False),
    Column("reason", Text),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id")),
    Column("language", Text),
    Column("subject", Text),
    Column("summary", Text),
    Column("content_id", BigInteger, ForeignKey("notify.contents.id")),
    Column("content_fields", LargeBinary),
    _now("routed_at"),
    _moment("moved_at"),
    # The event comes last, and nobody is tempted to look for an address with it: an event may have more recipients
    # than all others together.
    UniqueConstraint("position", "event_id"),
    CheckConstraint("home in ('mail','digest','waiting','refused')", name="home"),
    CheckConstraint("(home in ('mail','digest')) = (message_id is not null)", name="message"),
    CheckConstraint("(home = 'refused') = (reason is not null)", name="reason"),
    CheckConstraint(
        "home <> 'waiting' or num_nulls(login, subject, summary, content_id, content_fields) = 0",
        name="waiting",
    ),
    Index("notifications_event_id_idx", "event_id", func.lower(text("address"))),
    Index("notifications_login_key", "event_id", "login", unique=True, postgresql_where=text("login is not null")),
    Index("notifications_mail_key", "message_id", unique=True, postgresql_where=text("home = 'mail'")),
    Index("notifications_message_id_idx", "message_id", postgresql_where=text("message_id is not null")),
    Index("notifications_content_id_idx", "content_id", postgresql_where=text("content_id is not null")),
    Index("notifications_person_idx", "login", "routed_at"),
)

#: What is put aside, until its person's time; a row for each notification that waits.
deferred = Table(
    "deferred",
    metadata,
    Column(
        "notification_id",
        BigInteger,
        ForeignKey("notify.notifications.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("login", Text, ForeignKey("notify.people.login"), nullable=False),
    Column("kind", Text, nullable=False),
    _moment("due_at", null=False),
    _moment("look_at", null=False),
    CheckConstraint("look_at <= due_at", name="look_at"),
    Index("deferred_login_idx", "login", "look_at"),
)

# --- Deadlines -------------------------------------------------------------------------------------------------------

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
    _moment("due_at", null=False),
    Column("plan", JSONB, nullable=False),
    Column("set_by", Text),
    _now("created_at"),
    _moment("closed_at"),
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
    _moment("fires_at", null=False),
    Column("recipients", ARRAY(Text), nullable=False),
    Column("outcome", Text),
    _moment("settled_at"),
    Column("event_id", BigInteger, ForeignKey("notify.events.id")),
    CheckConstraint("outcome in ('fired','superseded','past','closed')", name="outcome"),
    CheckConstraint("(outcome is null) = (settled_at is null)", name="settled"),
    CheckConstraint("(outcome is not distinct from 'fired') = (event_id is not null)", name="event"),
    Index("deadline_steps_open_idx", "fires_at", "deadline_id", postgresql_where=text("outcome is null")),
    Index("deadline_steps_event_id_idx", "event_id", postgresql_where=text("event_id is not null")),
)
