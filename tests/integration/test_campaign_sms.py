"""Campaigns by SMS at a gateway that fails: nobody gets one twice, every doubt is listed, and the counts add up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy.engine import Engine

from dev.eurosms.book import Fate
from dev.eurosms.orders import Fault, backwards, cut, error, fewer, garbage, late, never, refusal, truncated, twice
from dev.eurosms.server import EuroSms
from notify.domain.campaign import CampaignStatus
from notify.domain.channel import ChannelName
from notify.domain.person import Person
from notify.exceptions import SenderFault
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import people
from tests.integration.test_sms import SENDER, drain, receive
from tests.mailing import Mailing

#: Numbers of a campaign, and SMS of one request: so each campaign takes some.
COUNT, BATCH = 50, 8

NUMBERS = [f"+4219036{number:05}" for number in range(22000, 22000 + COUNT)]


@pytest.fixture
def gateway() -> Iterator[EuroSms]:
    """A gateway that behaves, until it is told otherwise."""
    with EuroSms() as running:
        yield running


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns by SMS."""

    def identity(_sender: str) -> SenderIdentity:
        return SenderIdentity("example.com", None, ChannelName.SMS)

    return Mailing(engine, replace(hand_over_settings, senders=(SENDER,), identity=identity, region="SK"))


def send(mailing: Mailing, text: str = "Sale, {{ name }}!") -> int:
    """Write a campaign, make its messages, and let them go."""
    rows = [f"{number},Name{position}" for position, number in enumerate(NUMBERS)]
    number = mailing.write(channel="sms", subject=None, message=text, csv="\n".join(["phone,name", *rows]))
    mailing.generate(number)
    mailing.tell("send", number)
    return number


def run_until_over(mailing: Mailing, gateway: EuroSms, number: int) -> None:
    """Run Notifications and MassMailing again and again, as long as anything waits."""
    for _ in range(40):
        with suppress(SenderFault):
            drain(mailing.engine, gateway, timeout=1, batch=BATCH)
        mailing.do("update notify.messages set not_before = now() where status = 'queued'")
        if mailing.follow(number).status is CampaignStatus.DONE:
            return
        if not gateway.waiting:
            gateway.behave()
    pytest.fail(f"it never ends: {mailing.progress(number)}")


def judge(mailing: Mailing, gateway: EuroSms, number: int) -> Counter[str]:
    """Nothing is doubled, each number has one message, in a state that fits what the gateway took; these states."""
    assert gateway.doubles() == []
    taken = Counter(f"+{sms.number}" for sms in gateway.taken)
    assert not taken or max(taken.values()) == 1
    query = "select r.address, m.status from notify.messages m join notify.recipients r on r.message_id = m.id"
    rows = mailing.rows(f"{query} where m.campaign_id = :id", id=number)
    assert sorted(address for address, _ in rows) == sorted(NUMBERS)
    for address, status in rows:
        assert status in ({"sent", "delivered", "uncertain"} if taken[address] else {"uncertain", "failed"})
    states = Counter(status for _, status in rows)
    progress = mailing.progress(number)
    assert (progress.created, progress.states, progress.waiting, progress.share) == (COUNT, states, 0, 1.0)
    return states


def test_a_group_in_a_file(mailing: Mailing) -> None:
    """Who of a group has no number that can be used keeps nobody else of it from their SMS, and is counted."""
    numbers = {"anna": NUMBERS[0], "bob": "112", "cyril": None, "dora": NUMBERS[1], "eva": NUMBERS[2]}
    crew = [Person(login=login, phone=number, groups=["crew"]) for login, number in numbers.items() if login != "bob"]
    with mailing.engine.begin() as connection:
        people.save(connection, [*crew, Person(login="bob", groups=["crew"])])
    mailing.do("update notify.people set phone = '112' where login = 'bob'")
    number = mailing.write(channel="sms", subject=None, message="Sale!", csv="phone\ncrew", groups="crew")
    result = mailing.generate(number)
    assert (result.created, result.doubled, result.left_out) == (3, 5, {"unreachable": 2})


FAULTS = {
    "late": late(0.3),
    "too late": Fault(delay=1.5),
    "silent": never(),
    "silent, taken": never(taken=True),
    "cut": cut(),
    "cut, taken": cut(taken=True),
    "500": error(500),
    "503, taken": error(503, taken=True),
    "a proxy": garbage(taken=True),
    "half an answer": truncated(),
    "one less": fewer(),
    "each twice": twice(),
    "backwards": backwards(),
    "wrong signature": refusal("WRONG_SIGNATURE"),
    "no balance": refusal("NO_BALANCE"),
    "unknown": refusal("QUOTA_OF_THE_MOON"),
    "unknown, taken": refusal("QUOTA_OF_THE_MOON", taken=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_requests_go_wrong(mailing: Mailing, gateway: EuroSms, fault: Fault) -> None:
    """Whatever a gateway does to two requests of a campaign: no SMS twice, and receipts settle what it took."""
    number = send(mailing)
    gateway.order(fault, times=2, skip=1)
    run_until_over(mailing, gateway, number)
    states = judge(mailing, gateway, number)
    assert not gateway.waiting, "the fault never happened"
    assert states["uncertain"] <= 2 * BATCH
    receive(mailing.engine, gateway)
    settled = judge(mailing, gateway, number)
    assert settled["delivered"] == len(gateway.taken)
    assert settled["uncertain"] + settled["delivered"] == COUNT


def test_numbers_go_wrong(mailing: Mailing, gateway: EuroSms) -> None:
    """Numbers that are refused, or of which the gateway says what nobody knows, keep no other from their SMS."""
    gateway.refuse("1", "WRONG_NUMBER")
    gateway.refuse("2", "QUOTA_OF_THE_MOON")
    number = send(mailing)
    run_until_over(mailing, gateway, number)
    states = judge(mailing, gateway, number)
    assert len(gateway.taken) == states["sent"] == COUNT - 10
    assert states["failed"] + states["uncertain"] == 10


def test_the_balance_runs_out(mailing: Mailing, gateway: EuroSms) -> None:
    """What there is no money for waits, the campaign goes on being sent, and ends once there is some."""
    number = send(mailing, "Sale!")
    gateway.top_up("1.00")
    with suppress(SenderFault):
        drain(mailing.engine, gateway, batch=BATCH)
    assert mailing.follow(number).status is CampaignStatus.SENDING
    assert mailing.progress(number).states == {"sent": 20, "queued": 30}
    gateway.top_up(100)
    run_until_over(mailing, gateway, number)
    assert judge(mailing, gateway, number) == {"sent": COUNT}


def test_receipts_go_wrong(mailing: Mailing, gateway: EuroSms) -> None:
    """Receipts that come late, twice, out of order or not at all tell of each SMS its last word, and count once."""
    gateway.fate("", Fate(("ENROUTE", "ACCEPTD", "DELIVRD", "SEEN")))
    gateway.fate("6", Fate(("ENROUTE", "UNDELIV")))
    gateway.fate("9", Fate(()))
    number = send(mailing)
    run_until_over(mailing, gateway, number)
    for fault in (twice(), backwards(), cut(taken=True), fewer(), twice(), late(0.2), backwards(), twice()):
        gateway.order(fault, on="status/any")
        with suppress(SenderFault):
            receive(mailing.engine, gateway)
    progress = mailing.progress(number)
    assert progress.states == {"delivered": 40, "undelivered": 5, "sent": 5}
    assert (progress.sent, progress.created) == (COUNT, COUNT)
    assert gateway.doubles() == []


def test_paused_amid_faults(mailing: Mailing, gateway: EuroSms) -> None:
    """A campaign that pauses and goes on between one fault and the next sends each SMS once, all the same."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    number = send(mailing)
    bad = [cut(taken=True), cut(), error(503), garbage(taken=True), truncated(), refusal("NO_BALANCE"), twice()]
    for _ in range(8):
        gateway.order(chance.choice(bad), skip=chance.randrange(2))
        with suppress(SenderFault):
            drain(mailing.engine, gateway, limit=chance.choice([10, 20, 40]), timeout=1, batch=BATCH)
        if mailing.follow(number).status is CampaignStatus.DONE:
            break
        mailing.tell("pause", number)
        before = len(gateway.taken)
        mailing.do("update notify.messages set not_before = now()")
        drain(mailing.engine, gateway, timeout=1, batch=BATCH)
        assert len(gateway.taken) == before
        mailing.tell("resume", number)
    gateway.behave()
    run_until_over(mailing, gateway, number)
    judge(mailing, gateway, number)
    receive(mailing.engine, gateway)
    assert judge(mailing, gateway, number)["delivered"] == len(gateway.taken)
