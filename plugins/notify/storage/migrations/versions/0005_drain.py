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


def upgrade() -> None:
    op.execute(REQUIRE_LEASE)


def downgrade() -> None:
    op.execute("drop function notify.require_lease(boolean)")
