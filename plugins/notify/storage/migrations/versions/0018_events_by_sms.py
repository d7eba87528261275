"""People may choose to be told by SMS: a notification goes through a channel, and an event may have two for a person.

All that there is goes by mail, and the new columns need no rewriting of a table; the index of events by login is made
anew, which takes a minute or so for ten million notifications, while nothing can be published.

Revision: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SCHEMA = "notify"

# The schema before knows one notification for a person and an event, a mail: what waits for an SMS becomes one, what was
# sent beside a mail is forgotten, and counted no more. The messages stay.
ONLY_MAILS = """
create temporary table beside on commit drop as
    select n.id, n.event_id, n.message_id, n.home from notify.notifications n
    where n.channel = 'sms' and exists (
        select from notify.notifications o where o.event_id = n.event_id and o.login = n.login and o.channel = 'email');
update notify.messages m set notifications_removed = coalesce(m.notifications_removed, 0) + g.size
    from (select message_id, count(*) as size from beside where home = 'digest' group by message_id) g
    where m.id = g.message_id;
delete from notify.notifications n using beside b where n.id = b.id;
update notify.events e set recipients = e.recipients - g.size
    from (select event_id, count(*) as size from beside group by event_id) g where e.id = g.event_id;
update notify.notifications set channel = 'email', sms_text = null where home = 'waiting' and channel = 'sms';
"""


def upgrade() -> None:
    op.add_column("preferences", sa.Column("channel", sa.Text(), nullable=True), schema=SCHEMA)
    op.create_check_constraint(
        op.f("preferences_channel_check"), "preferences", "channel in ('email','sms','both')", schema=SCHEMA
    )
    for name in ("not_by_sms", "sms_text"):
        op.add_column("notifications", sa.Column(name, sa.Text(), nullable=True), schema=SCHEMA)
    op.create_check_constraint(
        op.f("notifications_channel_check"), "notifications", "channel in ('email','sms')", schema=SCHEMA
    )
    op.create_check_constraint(
        op.f("notifications_sms_text_check"),
        "notifications",
        "home <> 'waiting' or (channel = 'sms') = (sms_text is not null)",
        schema=SCHEMA,
    )
    _index("event_id", "login", "channel")


def downgrade() -> None:
    op.execute(ONLY_MAILS)
    _index("event_id", "login")
    for name in ("notifications_sms_text_check", "notifications_channel_check"):
        op.drop_constraint(op.f(name), "notifications", schema=SCHEMA, type_="check")
    for name in ("sms_text", "not_by_sms"):
        op.drop_column("notifications", name, schema=SCHEMA)
    op.drop_constraint(op.f("preferences_channel_check"), "preferences", schema=SCHEMA, type_="check")
    # Who said nothing but the channel says nothing now.
    op.execute(
        "delete from notify.preferences where num_nonnulls(frequency, hour, weekday, quiet_from, quiet_until) = 0"
    )
    op.drop_column("preferences", "channel", schema=SCHEMA)


def _index(*columns: str) -> None:
    op.drop_index("notifications_login_key", "notifications", schema=SCHEMA)
    op.create_index(
        "notifications_login_key",
        "notifications",
        list(columns),
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("login is not null"),
    )
