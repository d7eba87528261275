"""What is queued already, and may not go to somebody any more.

As at hand-over: the recipient is refused, and the message suppressed where nobody else is left. What has reached others
before goes its way: the drain finds that nobody is left, and calls it sent.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.message import Priority

# What somebody is moving at this moment is theirs.
_REFUSE_ADDRESS = sa.text("""
    with mine as (
        select m.id from notify.messages m
        where m.status = 'queued' and (cast(:priority as text) is null or m.priority = cast(:priority as text))
          and m.id in (select r.message_id from notify.recipients r where lower(r.address) = :address)
        for update of m skip locked
    )
    update notify.recipients r
    set outcome = 'permanent', code = null, response = :reason, settled_at = clock_timestamp()
    from mine
    where r.message_id = mine.id and lower(r.address) = :address and r.outcome not in ('accepted', 'permanent')
    returning r.message_id
""")

_REFUSE_LISTED = sa.text("""
    update notify.recipients r
    set outcome = 'permanent', code = null, response = 'on the suppression list: ' || s.reason,
        settled_at = clock_timestamp()
    from notify.suppressions s
    where r.message_id = any(cast(:messages as bigint[])) and r.outcome not in ('accepted', 'permanent')
      and s.address = lower(r.address) and coalesce(s.expires_at > clock_timestamp(), true)
    returning r.message_id, r.response
""")

_REFUSE_UNSUBSCRIBED = sa.text("""
    update notify.recipients r
    set outcome = 'permanent', code = null, response = :reason, settled_at = clock_timestamp()
    from notify.unsubscriptions u
    where r.message_id = any(cast(:messages as bigint[])) and r.outcome not in ('accepted', 'permanent')
      and u.address = lower(r.address) and u.scope = :scope
    returning r.message_id
""")

_SUPPRESS = sa.text("""
    update notify.messages m set status = 'suppressed', status_reason = :reason
    where m.id = any(cast(:messages as bigint[])) and m.status = 'queued'
      and not exists (select from notify.recipients r where r.message_id = m.id and r.outcome <> 'permanent')
""")


def from_address(connection: Connection, address: str, reason: str, *, priority: Priority | None = None) -> int:
    """Let nothing that is queued go to an address.

    :param reason: why, for people who ask
    :param priority: only what was handed over with this one
    :returns: how many messages go to nobody now, and are suppressed
    """
    values = {"address": address.lower(), "reason": reason, "priority": priority and priority.value}
    return _suppress(connection, connection.scalars(_REFUSE_ADDRESS, values), reason)


def from_suppressed(connection: Connection, messages: Iterable[int]) -> int:
    """Let these messages, as far as they are queued, go to nobody who is on the suppression list.

    :param messages: numbers of messages that the caller has locked
    :returns: how many go to nobody now, and are suppressed
    """
    refused = {row.message_id: row.response for row in connection.execute(_REFUSE_LISTED, {"messages": list(messages)})}
    return sum(_suppress(connection, [message], reason) for message, reason in sorted(refused.items()))


def from_unsubscribed(connection: Connection, messages: Iterable[int], scope: str, reason: str) -> int:
    """Let these messages, as far as they are queued, go to nobody who wants no more of this.

    :param messages: numbers of messages that the caller has locked
    :param scope: of :mod:`notify.storage.unsubscriptions`
    :param reason: why, for people who ask
    :returns: how many go to nobody now, and are suppressed
    """
    values = {"messages": list(messages), "scope": scope, "reason": reason}
    refused = list(connection.scalars(_REFUSE_UNSUBSCRIBED, values))
    return _suppress(connection, refused, reason) if refused else 0


def _suppress(connection: Connection, messages: Iterable[int], reason: str) -> int:
    """Suppress those of these for which nobody is left."""
    return connection.execute(_SUPPRESS, {"messages": list(messages), "reason": reason}).rowcount
