"""Commits some of what the doors took, makes the messages of campaigns, drains all, and looks what arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from notify import settings
from notify.campaigns import following, steering
from notify.campaigns.generating import Generating
from notify.channels.memory import MemoryChannel
from notify.domain.campaign import CampaignStatus
from notify.drain import Drainer
from notify.exceptions import NotifyError
from tests.fuzz import campaigns
from tests.fuzz.doors import DOORS
from tests.fuzz.judge import where
from tests.fuzz.stage import Stage, replaced
from tests.fuzz.values import SECRET

#: A campaign whose query broke off is a draft again; those of its messages that were made before wait with it.
_REGISTER = """
    select m.message_id, m.subject, m.status, r.address
    from notify.messages m join notify.recipients r on r.message_id = m.id
    left join notify.campaigns c on c.id = m.campaign_id
    where m.channel = 'email' and c.status is distinct from 'draft'
"""

_IN_STATE = "select id from notify.campaigns where status = any(:statuses) order by id"
_TWICE = """
    select m.campaign_id from notify.messages m join notify.recipients r on r.message_id = m.id
    where m.campaign_id is not null group by m.campaign_id, lower(r.address) having count(*) > 1
"""

SENDERS = ("smtp_default", "smtp_second")


@dataclass(slots=True)
class Sent:
    """What became of the messages.

    :param campaigns: of which messages were made
    """

    campaigns: int = 0
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
    stage.connection.commit()
    stage.ear.take()
    mailed, faults = _mailed(stage)
    if SECRET in stage.ear.take():
        faults.append("a secret is in the log of what makes campaigns")
    stage.connection.execute(sa.text("update notify.messages set not_before = now(), expires_at = null"))
    stage.connection.commit()
    channels = {sender: MemoryChannel() for sender in SENDERS}
    for sender, channel in channels.items():
        Drainer(stage.engine, channel, sender, limit=-1).run()
    sent = _judged(stage, channels.values())
    sent.campaigns = len(mailed)
    sent.faults += [*faults, *_ended(stage, mailed)]
    return sent


def _mailed(stage: Stage) -> tuple[list[int], list[str]]:
    """Make the messages of all campaigns, and let them go.

    :returns: the campaigns, and what is wrong with what was made of them
    """
    for number in _in_state(stage, "draft"):  # they came out of a file
        with stage.engine.begin() as connection:
            steering.generate(connection, number)
    waiting = _in_state(stage, "generating")
    faults = list(_make(stage))
    faults += [f"campaign {number}: {fault}" for number in waiting for fault in campaigns.made_whole(stage, number)]
    for number in _in_state(stage, "generated"):
        with stage.engine.begin() as connection:
            steering.send(connection, number)
    mailed = _in_state(stage, "sending")
    for number in mailed:
        following.follow(stage.engine, number)
    return mailed, faults


def _make(stage: Stage) -> Iterable[str]:
    """Make the messages of campaigns that wait for it; what of it ends in an error. There are no databases to ask."""
    plan = Generating(stage.engine, campaigns.settings_of(stage))
    waiting = True
    while waiting:
        try:
            with replaced(settings, connection=lambda _id: None):
                plan.run()
        except Exception as error:  # noqa: BLE001 - told; what has failed is not tried again so soon
            yield f"{type(error).__name__} out of a campaign: {where(error)}"
        else:
            waiting = False


def _in_state(stage: Stage, *statuses: str) -> list[int]:
    found = [row.id for row in stage.rows(_IN_STATE, statuses=list(statuses))]
    stage.connection.rollback()
    return found


def _ended(stage: Stage, mailed: Iterable[int]) -> Iterable[str]:
    """What is wrong with campaigns whose mails have left; SMS leave through gateways, whose tests are elsewhere."""
    for number in mailed:
        status = following.follow(stage.engine, number).status
        waits = stage.rows("select id from notify.messages where campaign_id = :id and channel = 'sms'", id=number)
        if status is not CampaignStatus.DONE and not waits:
            yield f"campaign {number} is {status}"
    if twice := stage.rows(_TWICE):
        yield f"{len(twice)} recipients got a campaign twice"
    stage.connection.rollback()


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
