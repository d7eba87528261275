"""What the drain and the hand-over need to be fast.

Revision: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A drain's turn is one statement: what it expects, it can only demand in there.
REQUIRE_LEASE = """
create function notify.require_lease(kept boolean) returns boolean language plpgsql as $$
begin
    if not kept then
        raise exception using errcode = 'NL001', message = 'the drain was taken for dead, or an attempt is not its own';
    end if;
    return true;
end
$$;
"""


# An index costs each hand-over, claim and settling: those of messages now leave out what nobody looks for in them.
UP = """
alter table notify.messages drop constraint messages_idempotency_key_idempotency_index_key;
create unique index messages_idempotency_idx on notify.messages (idempotency_key, idempotency_index)
    where idempotency_key is not null;
drop index notify.messages_open_idx;
create index messages_open_idx on notify.messages (status, id)
    where status not in ('queued', 'sending', 'sent', 'delivered');
"""
DOWN = """
drop index notify.messages_open_idx;
create index messages_open_idx on notify.messages (status, id) where status not in ('sent', 'delivered');
drop index notify.messages_idempotency_idx;
alter table notify.messages add constraint messages_idempotency_key_idempotency_index_key
    unique (idempotency_key, idempotency_index);
"""


# PostgreSQL expects a transition table to be small, and compares each of its rows with each of the other's: a thousand
# messages that moved at once took 0.3 s (PostgreSQL 18, 2026-11).
LINEAR = "alter function notify.record_message_events() set enable_nestloop = off"
QUADRATIC = "alter function notify.record_message_events() reset enable_nestloop"


def upgrade() -> None:
    op.execute(REQUIRE_LEASE)
    op.execute(UP)
    op.execute(LINEAR)


def downgrade() -> None:
    op.execute(QUADRATIC)
    op.execute(DOWN)
    op.execute("drop function notify.require_lease(boolean)")
