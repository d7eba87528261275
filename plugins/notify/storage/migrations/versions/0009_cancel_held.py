"""A held message can be cancelled.

Revision: 0009
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# What is new: from held to cancelled, without a moment in the queue.
TRANSITIONS = """
alter table notify.message_events drop constraint message_events_transition_check;
alter table notify.message_events add constraint message_events_transition_check check (
    (from_status = 'queued' and to_status in ('sending', 'held', 'cancelled', 'suppressed', 'expired'))
    or (from_status = 'held' and to_status = 'cancelled')
    or (from_status = 'sending' and to_status in ('sent', 'queued', 'failed', 'uncertain'))
    or (from_status in ('sent', 'uncertain') and to_status in ('delivered', 'undelivered', 'queued'))
    or (from_status = 'delivered' and to_status = 'undelivered')
    or (from_status in ('failed', 'cancelled', 'held', 'expired', 'suppressed', 'undelivered')
        and to_status = 'queued')
)
"""

# Not valid: the history keeps the changes of state that were possible in between.
FORMER_TRANSITIONS = """
alter table notify.message_events drop constraint message_events_transition_check;
alter table notify.message_events add constraint message_events_transition_check check (
    (from_status = 'queued' and to_status in ('sending', 'held', 'cancelled', 'suppressed', 'expired'))
    or (from_status = 'sending' and to_status in ('sent', 'queued', 'failed', 'uncertain'))
    or (from_status in ('sent', 'uncertain') and to_status in ('delivered', 'undelivered', 'queued'))
    or (from_status = 'delivered' and to_status = 'undelivered')
    or (from_status in ('failed', 'cancelled', 'held', 'expired', 'suppressed', 'undelivered')
        and to_status = 'queued')
) not valid
"""


def upgrade() -> None:
    op.execute(TRANSITIONS)


def downgrade() -> None:
    op.execute(FORMER_TRANSITIONS)
