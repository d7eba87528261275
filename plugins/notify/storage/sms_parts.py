"""The parts of an SMS: what the gateway calls them, and what became of each."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from notify.domain.receipt import Arrival, OwnKey, Receipt, arrival_of, own_key
from notify.domain.status import Status, may_become
from notify.storage import models, outbox
from notify.storage.attempts import Settlement

#: How long a gateway keeps receipts; afterwards nobody knows any more.
KEPT = timedelta(days=7)

#: A part of which nothing is heard is asked for by its own name, after a while and then so often.
SILENT = timedelta(minutes=15)
AGAIN = timedelta(hours=1)

#: Queries that were answered are kept for whoever looks.
KEEP_QUERIES = timedelta(days=30)


def note(connection: Connection, sender: str, settlements: Iterable[Settlement]) -> None:
    """Keep what the gateway called what it took; in the transaction that settles these attempts."""
    rows = [
        {
            "attempt_id": settlement.claimed.attempt_id,
            "number": number,
            "message_id": settlement.claimed.id,
            "sender": sender,
            "reference": reference,
        }
        for settlement in settlements
        for number, reference in enumerate(settlement.references, 1)
    ]
    if rows:
        # What a gateway calls two parts the same would otherwise break off the turn that settles them.
        connection.execute(insert(models.sms_parts).on_conflict_do_nothing(), rows)


# --- Queries ---------------------------------------------------------------------------------------------------------

_OPEN = sa.text("""
    select transaction from notify.receipt_queries where sender = :sender and answered_at is null
    order by created_at limit 1
""")
_BEGIN = sa.text("insert into notify.receipt_queries (transaction, sender) values (:transaction, :sender)")
_ANSWERED = sa.text("update notify.receipt_queries set answered_at = now() where transaction = :transaction")
_FORGET = sa.text("delete from notify.receipt_queries where answered_at < now() - :keep")


def begin_query(connection: Connection, sender: str) -> str:
    """What to ask for changes by: the query whose answer was lost, or a new one. Commit before asking."""
    transaction: str | None = connection.scalar(_OPEN, {"sender": sender})
    if transaction is None:
        transaction = secrets.token_hex(16)
        connection.execute(_BEGIN, {"transaction": transaction, "sender": sender})
    return transaction


def end_query(connection: Connection, transaction: str) -> None:
    """Its answer is in the database once this commits."""
    connection.execute(_ANSWERED, {"transaction": transaction})
    connection.execute(_FORGET, {"keep": KEEP_QUERIES})


# --- Receipts --------------------------------------------------------------------------------------------------------

# The last word stays: what comes late, or twice, changes nothing.
_TAKE = sa.text("""
    update notify.sms_parts
    set arrival = :arrival, words = :words, reported_at = coalesce(:at, now()),
        price = coalesce(:price, price), carrier = coalesce(nullif(:carrier, ''), carrier)
    where sender = :sender and reference = :reference and arrival = 'underway'
      and (words is distinct from :words or arrival <> :arrival)
""")
_KNOWN = sa.text("select exists (select from notify.sms_parts where sender = :sender and reference = :reference)")

# The message of a key, and its latest attempt: of an older one the answer was not lost, or a person has decided.
_BY_KEY = sa.text("""
    select m.message_id, a.id as attempt_id from notify.messages m
    join notify.attempts a on a.message_id = m.id
    where m.id = :number and m.sender = :sender and a.begun_at is not null
    order by a.number desc limit 1
""")
_ADD = sa.text("""
    insert into notify.sms_parts (attempt_id, number, message_id, sender, reference)
    values (:attempt_id, :part, :number, :sender, :reference) on conflict do nothing
""")


def take(connection: Connection, sender: str, receipts: Iterable[Receipt]) -> tuple[int, int]:
    """Note what receipts say of parts.

    A part that nobody knew belongs to a message whose answer was lost, where the receipt has our key.

    :returns: how many said something new, and how many were of nothing of ours
    """
    new = foreign = 0
    for receipt in receipts:
        if not _is_known(connection, sender, receipt):
            foreign += 1
            continue
        values = {
            "sender": sender,
            "reference": receipt.reference,
            "arrival": receipt.arrival.value,
            "words": receipt.words,
            "at": receipt.at,
            "price": receipt.price,
            "carrier": receipt.carrier,
        }
        new += connection.execute(_TAKE, values).rowcount
    return new, foreign


def _is_known(connection: Connection, sender: str, receipt: Receipt) -> bool:
    if connection.scalar(_KNOWN, {"sender": sender, "reference": receipt.reference}):
        return True
    return receipt.key is not None and _add(connection, sender, receipt, receipt.key)


def _add(connection: Connection, sender: str, receipt: Receipt, key: OwnKey) -> bool:
    row = connection.execute(_BY_KEY, {"number": key.number, "sender": sender}).one_or_none()
    if row is None or own_key(key.number, key.position, row.message_id) != key:
        return False
    values = {
        "attempt_id": row.attempt_id,
        "part": receipt.part,
        "number": key.number,
        "sender": sender,
        "reference": receipt.reference,
    }
    return connection.execute(_ADD, values).rowcount == 1


_SILENT = sa.text("""
    select reference from notify.sms_parts
    where sender = :sender and arrival = 'underway' and created_at > now() - :kept and created_at < now() - :silent
      and (asked_at is null or asked_at < now() - :again)
    order by asked_at nulls first limit :most
""")
_ASKED = sa.text("""
    update notify.sms_parts set asked_at = now()
    where sender = :sender and reference = any(cast(:references as text[]))
""")


def silent(connection: Connection, sender: str, most: int) -> list[str]:
    """Parts of which nothing final was heard for a while, those not asked for first; each counts as asked for now."""
    values = {"sender": sender, "kept": KEPT, "silent": SILENT, "again": AGAIN, "most": most}
    found = list(connection.scalars(_SILENT, values))
    if found:
        connection.execute(_ASKED, {"sender": sender, "references": found})
    return found


# --- Messages --------------------------------------------------------------------------------------------------------

_UNCONCLUDED = sa.text("""
    select distinct message_id from notify.sms_parts where arrival <> 'underway' and not concluded and sender = :sender
    order by message_id limit :most
""")

# A drain that is settling the message goes first: what it found would overwrite what we note.
_LOCK = sa.text("select status, parts from notify.messages where id = :id for no key update skip locked")
_LATEST = sa.text("""
    select p.arrival, p.words, p.attempt_id from notify.sms_parts p
    where p.message_id = :id and p.attempt_id = (
        select max(attempt_id) from notify.sms_parts where message_id = :id)
    order by p.number
""")
_CONCLUDED = sa.text("""
    update notify.sms_parts set concluded = true where message_id = :id and arrival <> 'underway'
""")

#: Messages whose state follows in one transaction.
MOST = 500


@dataclass(frozen=True, slots=True)
class Concluded:
    """What became of messages by what is known of their parts.

    :param settled: of those in between, messages of which nobody had known whether they were sent
    """

    delivered: int = 0
    undelivered: int = 0
    settled: int = 0
    looked_at: int = 0


def conclude(connection: Connection, sender: str, most: int = MOST) -> Concluded:
    """Let the states of messages follow what is known of their parts."""
    counts = {Arrival.DELIVERED: 0, Arrival.UNDELIVERED: 0, Arrival.UNDERWAY: 0}
    settled = 0
    numbers = connection.scalars(_UNCONCLUDED, {"sender": sender, "most": most}).all()
    for number in numbers:
        row = connection.execute(_LOCK, {"id": number}).one_or_none()
        if row is None or Status(row.status) is Status.SENDING:
            continue
        arrival, words = _how_it_stands(connection, number, row.parts, doubted=Status(row.status) is Status.UNCERTAIN)
        after = Status.DELIVERED if arrival is Arrival.DELIVERED else Status.UNDELIVERED
        if arrival is not Arrival.UNDERWAY and may_become(Status(row.status), after):
            outbox.receipt(connection, number, delivered=arrival is Arrival.DELIVERED, reason=words)
            counts[arrival] += 1
            settled += Status(row.status) is Status.UNCERTAIN
        connection.execute(_CONCLUDED, {"id": number})
    return Concluded(counts[Arrival.DELIVERED], counts[Arrival.UNDELIVERED], settled, len(numbers))


def _how_it_stands(connection: Connection, number: int, parts: int, *, doubted: bool) -> tuple[Arrival, str]:
    """How it stands with a message, and in the gateway's words.

    :param doubted: its parts are known from receipts alone, so some may be missing
    """
    rows = connection.execute(_LATEST, {"id": number}).all()
    arrival = arrival_of([Arrival(row.arrival) for row in rows], parts if doubted else len(rows))
    words = " ".join(dict.fromkeys(row.words for row in rows if row.arrival == arrival.value and row.words))
    return arrival, f"receipt: {words}"


# --- For people ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """A part, as the register shows it.

    :param reported_at: when what is known of it happened, by the gateway's clock
    :param price: what was charged for it
    """

    number: int
    arrival: Arrival
    words: str | None
    reported_at: datetime | None
    price: Decimal | None
    carrier: str | None


_PARTS = sa.text("""
    select p.number, p.arrival, p.words, p.reported_at, p.price, p.carrier
    from notify.sms_parts p join notify.attempts a on a.id = p.attempt_id
    where p.message_id = :id order by a.number, p.number
""")


def of_message(connection: Connection, number: int) -> Sequence[Part]:
    """The parts of a message that a gateway took."""
    rows = connection.execute(_PARTS, {"id": number})
    return [Part(row.number, Arrival(row.arrival), *row[2:]) for row in rows]
