"""Receipts that a gateway pushes. Nobody signs them, so they say one thing only: that a part should be asked for.

Where they are pushed to has a token in it, which only the outbox can make: whoever does not know it notes nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain import push
from notify.storage import links

# Once is enough: of a part that is noted already, and of one that has arrived, nothing is written.
_NOTE = sa.text("""
    update notify.sms_parts set pushed_at = now()
    where sender = :sender and reference = :reference and arrival = 'underway' and pushed_at is null
""")

_NEXT = sa.text("""
    update notify.sms_parts set pushed_at = null, asked_at = now()
    where (attempt_id, number) = (
        select attempt_id, number from notify.sms_parts
        where sender = :sender and arrival = 'underway' and pushed_at is not null
        order by pushed_at limit 1 for update skip locked)
    returning reference
""")


def token(connection: Connection, sender: str) -> str:
    """What stands in the address that a sender's gateway pushes to."""
    return push.token(sender, links.secret(connection))


def is_token(connection: Connection, sender: str, given: str) -> bool:
    """Whether it is what stands in that address."""
    return push.fits(given, sender, links.secret(connection))


def note(connection: Connection, sender: str, reference: str) -> bool:
    """Note that a part should be asked for.

    :returns: whether that is new; not so where there is no such part, or nothing more to know of it
    """
    return bool(connection.execute(_NOTE, {"sender": sender, "reference": reference}).rowcount)


def next_part(connection: Connection, sender: str) -> str | None:
    """The part that should be asked for and waits for longest, None where there is none; it counts as asked for now.

    Its answer may be lost: then it is asked for as one of which nothing is heard.
    """
    reference: str | None = connection.scalar(_NEXT, {"sender": sender})
    return reference
