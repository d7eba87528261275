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

from notify.storage.models.address import suppressions, unsubscriptions
from notify.storage.models.base import SCHEMA, metadata
from notify.storage.models.bounce import bounces
from notify.storage.models.campaign import campaign_attachments, campaign_recipients, campaign_rows, campaigns
from notify.storage.models.deadline import deadline_steps, deadlines
from notify.storage.models.event import cases, deferred, events, notifications
from notify.storage.models.installation import balance, identity
from notify.storage.models.message import (
    attachments,
    contents,
    message_attachments,
    message_events,
    messages,
    recipients,
)
from notify.storage.models.person import groups, memberships, people, preferences
from notify.storage.models.receipt import receipt_queries, sms_parts
from notify.storage.models.request import api_requests
from notify.storage.models.sending import attempts, drains, senders

__all__ = [
    "SCHEMA",
    "api_requests",
    "attachments",
    "attempts",
    "balance",
    "bounces",
    "campaign_attachments",
    "campaign_recipients",
    "campaign_rows",
    "campaigns",
    "cases",
    "contents",
    "deadline_steps",
    "deadlines",
    "deferred",
    "drains",
    "events",
    "groups",
    "identity",
    "memberships",
    "message_attachments",
    "message_events",
    "messages",
    "metadata",
    "notifications",
    "people",
    "preferences",
    "receipt_queries",
    "recipients",
    "senders",
    "sms_parts",
    "suppressions",
    "unsubscriptions",
]
