"""Commits some of what the doors took, drains it, and looks what arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from notify.channels.memory import MemoryChannel
from notify.drain import Drainer
from notify.exceptions import NotifyError
from tests.fuzz.doors import DOORS
from tests.fuzz.stage import Stage

_REGISTER = """
    select m.message_id, m.subject, m.status, r.address
    from notify.messages m join notify.recipients r on r.message_id = m.id
"""

SENDERS = ("smtp_default", "smtp_second")


@dataclass(slots=True)
class Sent:
    """What became of the messages."""

    messages: int = 0
    recipients: int = 0
    arrived: int = 0
    faults: list[str] = field(default_factory=list)


def send_all(stage: Stage, kept: Mapping[str, Iterable[Any]]) -> Sent:
    """Hand inputs over once more, this time for good, and send what may leave.

    :param kept: inputs that are stored, by door
    """
    for name, examples in kept.items():
        for example in examples:
            _keep(stage, name, example)
    stage.connection.execute(sa.text("update notify.messages set not_before = now(), expires_at = null"))
    stage.connection.commit()
    channels = {sender: MemoryChannel() for sender in SENDERS}
    for sender, channel in channels.items():
        Drainer(stage.engine, channel, sender, limit=-1).run()
    return _judged(stage, channels.values())


def _keep(stage: Stage, name: str, example: Any) -> None:
    door, savepoint = DOORS[name], stage.connection.begin_nested()
    try:
        door.enter(stage, example)
    except NotifyError:  # the order has changed: its case has ended meanwhile, its person has left
        savepoint.rollback()
    else:
        savepoint.commit()


def _judged(stage: Stage, channels: Iterable[MemoryChannel]) -> Sent:
    rows = stage.rows(_REGISTER)
    wanted = Counter((row.message_id, row.address) for row in rows)
    subjects = {row.message_id: row.subject for row in rows}
    sent = Sent(messages=len(subjects), recipients=len(rows))
    found: Counter[tuple[str, str]] = Counter()
    for mail in (mail for channel in channels for mail in channel.outbox):
        sent.arrived += 1
        found.update((mail.message_id, address) for address in mail.recipients)
        if mail.subject != subjects.get(mail.message_id):
            sent.faults.append(f"{mail.message_id} arrived with another subject")
        if mail.parsed.defects:
            sent.faults.append(f"{mail.message_id} arrived with defects: {mail.parsed.defects!r:.100}")
    if found != wanted:
        sent.faults.append(f"{len(wanted - found)} recipients got nothing, {len(found - wanted)} got too much")
    if strange := sorted({row.status for row in rows} - {"sent"}):
        sent.faults.append(f"messages are {', '.join(strange)}")
    stage.connection.rollback()
    return sent
