"""Messages that are due, as hand-over makes them: text and HTML, 2.6 kB, each with a body of its own."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from benchmarks.filling import settings
from benchmarks.server import vacuum
from notify.enqueuing import enqueue
from notify.storage.engine import engine_for

#: Recipients of one hand-over.
TOGETHER = 10_000

#: The sender they wait for.
SENDER = "smtp_default"

SUBJECT = "Invoice FV/2026/03/0417 waits for your approval – termin: piątek"

MESSAGE = """
<p>Dear colleague,</p>
<p>the invoice <b>FV/2026/03/0417</b> of <i>Przedsiębiorstwo Budowlane „Łąka”</i> over 12 480,00 zł waits for your
approval since Monday. Please check the amount on page 2: it differs from the order, and the supplier asks for a new due
date.</p>
<ul><li>Process: <a href="https://cases.example.com/INV-20260417">Invoices, INV-20260417</a></li>
<li>Stage: Approval, step 2 of 3</li><li>Due: Friday, 6 March 2026, 16:00</li></ul>
<p>Proszę o akceptację do piątku; zmienił się tylko numer rachunku bankowego.</p>
<p>This message was sent because you are the owner of the stage. How often you hear of it is yours to choose.</p>
"""

# The messages of a hand-over share a body; here each gets its own copy, as messages that say different things have.
_OWN_BODIES = sa.text("""
    with copies as (
        insert into notify.contents (body)
        select c.body from notify.messages m join notify.contents c on c.id = m.content_id order by m.id
        returning id
    )
    update notify.messages m set content_id = own.content_id
    from (select id, row_number() over (order by id) as place from notify.messages) old
    join (select id as content_id, row_number() over (order by id) as place from copies) own using (place)
    where m.id = old.id
""")
_COMPACT = ("vacuum full notify.messages", "vacuum full notify.contents")
_FORGET_BODIES = sa.text(
    "delete from notify.contents c where not exists (select from notify.messages where content_id = c.id)"
)
_KEEP = sa.text(
    "delete from notify.messages where id >= (select id from notify.messages order by id offset :most limit 1)"
)


def fill(url: str, count: int) -> None:
    """Hand so many messages over in a database that has none, to a recipient each."""
    engine = engine_for(url)
    with engine.begin() as connection:
        for first in range(0, count, TOGETHER):
            hand_over(connection, range(first, min(first + TOGETHER, count)))
        connection.execute(_OWN_BODIES)
        connection.execute(_FORGET_BODIES)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in _COMPACT:
            connection.execute(sa.text(statement))
    vacuum(url)


def hand_over(connection: Connection, numbers: range) -> None:
    """Hand over one message to many recipients, each of whom gets one of their own."""
    enqueue(
        recipient=[address(number) for number in numbers],
        subject=SUBJECT,
        message=MESSAGE,
        html=True,
        add_template=False,
        connection=connection,
        settings=settings(),
    )


def address(number: int) -> str:
    """The address of a recipient."""
    return f"person{number:07}@example.com"


def keep(url: str, most: int) -> None:
    """Leave no more than so many messages, the first ones."""
    with engine_for(url).begin() as connection:
        connection.execute(_KEEP, {"most": most})
    vacuum(url)
