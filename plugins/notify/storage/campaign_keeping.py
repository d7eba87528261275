"""What Housekeeping removes of campaigns that are over: first whom they were for, in the end all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.keeping import Keep

#: Rows that one transaction removes at most, of each table.
SIZE = 1_000

# Who was typed or came in a file goes with the texts: after that time nobody sends anything of it once more.
_DROP_ROWS = sa.text("""
    with picked as (
        select r.campaign_id, r.number from notify.campaigns c join notify.campaign_rows r on r.campaign_id = c.id
        where c.id = any(cast(:keys as bigint[])) and c.ended_at < now() - cast(:keep as interval)
        limit :size for update of r skip locked
    )
    delete from notify.campaign_rows r using picked
    where r.campaign_id = picked.campaign_id and r.number = picked.number
""")

# A campaign outlives its messages, which are removed one by one.
_OVER = """
    select c.id from notify.campaigns c
    where c.id = any(cast(:keys as bigint[])) and c.ended_at < now() - cast(:keep as interval)
      and not exists (select from notify.messages m where m.campaign_id = c.id offset 0)
"""
_DROP_RECIPIENTS = sa.text(f"""
    with over as materialized ({_OVER}), picked as (
        select r.campaign_id, r.key from over join notify.campaign_recipients r on r.campaign_id = over.id
        limit :size for update of r skip locked
    )
    delete from notify.campaign_recipients r using picked
    where r.campaign_id = picked.campaign_id and r.key = picked.key
""")  # noqa: S608 - made of constants
_DROP_CAMPAIGNS = sa.text(f"""
    with over as ({_OVER} and not exists (
        select from notify.campaign_recipients r where r.campaign_id = c.id offset 0) for update skip locked)
    delete from notify.campaigns c using over where c.id = over.id
""")  # noqa: S608 - made of constants


def drop_rows(connection: Connection, keys: Sequence[Any], keep: Keep) -> tuple[Counter[str], bool]:
    """Remove whom campaigns were for, as their authors had it.

    :param keys: numbers of campaigns
    :returns: how many, and whether there are more
    """
    gone = connection.execute(_DROP_ROWS, {"keys": list(keys), "keep": keep.bodies, "size": SIZE}).rowcount
    return Counter(campaign_rows=gone), gone == SIZE


def drop_campaigns(connection: Connection, keys: Sequence[Any], keep: Keep) -> tuple[Counter[str], bool]:
    """Remove campaigns of which no message is left.

    :param keys: their numbers
    :returns: how many, and whether there are more
    """
    values = {"keys": list(keys), "keep": keep.rows, "size": SIZE}
    if connection.execute(_DROP_RECIPIENTS, values).rowcount == SIZE:
        return Counter(), True
    return Counter(campaigns=connection.execute(_DROP_CAMPAIGNS, values).rowcount), False
