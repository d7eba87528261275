"""The rules of campaigns over arbitrary sequences of what people, tasks and runs do to them.

``NOTIFY_EXAMPLES=500`` tries many more.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from notify.campaigns import following, steering
from notify.campaigns.generating import Generating
from notify.channels.memory import MemoryChannel
from notify.domain.campaign import Campaign, CampaignStatus
from notify.exceptions import CampaignError, SenderFault, TransitionError
from notify.settings import HandOverSettings
from notify.storage import campaign_messages, outbox, suppressions
from notify.storage.unsubscriptions import BULK
from notify.suppressing import suppress as never_again
from notify.unsubscribing import stop
from tests.mailing import Mailing

EXAMPLES = int(os.environ.get("NOTIFY_EXAMPLES") or 12)

NAMES = [*(f"r{number}@example.com" for number in range(6)), "nobody"]

#: In which states a campaign's messages wait, by its own, once they have followed it; a person's hold aside.
OVER = {CampaignStatus.DONE, CampaignStatus.CANCELLED}
WAITING = {CampaignStatus.SENDING: {"queued"}, CampaignStatus.PAUSED: {"held"}}

#: What is done, as often as it says. What it is done to, and how, is drawn from a number.
DEEDS: Mapping[str, int] = {
    "write": 1,
    "edit": 2,
    "generate": 1,
    "make": 3,
    "make_all": 5,
    "steer": 6,
    "steer_and_drain": 4,
    "follow_a_step": 2,
    "follow": 3,
    "drain": 8,
    "take_in_hand": 4,
    "want_none": 2,
    "want_it_again": 1,
}
WORDS = ["send", "send", "pause", "pause", "resume", "resume", "cancel", "delete"]


#: Recipients who count as having a message, and have none.
_WITHOUT_ONE = """
    select count(*) from notify.campaign_recipients r left join notify.messages m on m.id = r.message_id
    where r.campaign_id = :id and r.fate = 'created' and m.campaign_id is distinct from :id
"""


#: Whose messages are said to be sent.
_SENT = "select message_id from notify.messages where campaign_id = :id and status = 'sent'"

#: Who is among the recipients, and of whom it is known what became of them.
_NAMED = "select count(distinct lower(recipient)) from notify.campaign_rows where campaign_id = :id"
_KNOWN = "select count(*) from notify.campaign_recipients where campaign_id = :id and fate <> 'left'"

#: In which states messages stay when everything is over; held are those that a person holds.
ENDED = {"sent", "held", "cancelled", "suppressed", "uncertain"}


class Campaigns:
    """What is done to campaigns, and what holds all the while."""

    def __init__(self, mailing: Mailing, chance: Random) -> None:
        self.mailing = mailing
        self.chance = chance
        mailing.do(
            "truncate notify.campaigns, notify.messages, notify.contents, notify.suppressions, notify.unsubscriptions, "
            "notify.drains, notify.senders cascade"
        )
        self.channel = MemoryChannel(max_connections=1)
        self.version = 0
        self.unwanted: set[str] = set()
        self.done: set[int] = set()
        self.numbers: list[int] = []
        self.write()

    def do(self, deed: str) -> None:
        """Do something; then everything must hold."""
        getattr(self, deed)()
        self.nobody_gets_it_twice()
        self.numbers_add_up()
        self.parked_ones_are_held_by_one()

    @property
    def one(self) -> int:
        return self.chance.choice(self.numbers)

    @property
    def a_list(self) -> str:
        """Recipients in any order, some of them named twice."""
        return "\n".join(["email", *self.chance.choices(NAMES, k=self.chance.randint(1, 9))])

    # --- What authors do ---------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write one, unless there are enough."""
        if len(self.numbers) < 3:
            self.numbers.append(self.mailing.write(subject="v0", message="Hi", csv=self.a_list))

    def edit(self) -> None:
        """Change what it says, and maybe whom it is for."""
        self.version += 1
        changed = {"subject": f"v{self.version}"} | ({"csv": self.a_list} if self.chance.random() < 0.5 else {})
        with suppress(CampaignError):
            self.mailing.edit(self.one, **changed)

    def generate(self) -> bool:
        """Have its messages made, sometimes to be sent at once."""
        return self._tell("generate", self.one, send=self.chance.random() < 0.5)

    def steer(self) -> None:
        """Tell it what to do; its messages do not follow yet."""
        number, what = self.one, self.chance.choice(WORDS)
        if self._tell(what, number) and what == "delete":
            self.numbers.remove(number)
            self.write()

    def steer_and_drain(self) -> None:
        """Tell it what to do, and send before its messages have followed."""
        self.steer()
        self.drain()

    def _tell(self, what: str, number: int, **more: Any) -> bool:
        with self.mailing.engine.begin() as connection:
            try:
                getattr(steering, what)(connection, number, **more)
            except CampaignError:
                return False
        return True

    # --- What runs do ------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make messages; interrupted after some stretches, or at the end."""
        run = Generating(self.mailing.engine, self.mailing.settings, stretch=self.chance.randint(1, 4))
        if self.chance.random() < 0.5:
            run.stop = StopAfter(self.chance.randint(0, 3))
        run.run()

    def make_all(self) -> None:
        """Have its messages made, and make them."""
        if self.generate():
            Generating(self.mailing.engine, self.mailing.settings).run()

    def follow_a_step(self) -> None:
        """Move some messages of one campaign."""
        before, campaign_messages.MOST = campaign_messages.MOST, self.chance.randint(1, 4)
        try:
            following.follow(self.mailing.engine, self.one, budget=timedelta(0))
        finally:
            campaign_messages.MOST = before

    def follow(self) -> None:
        """Move all messages to where they belong."""
        before = {number: self.mailing.read(number).status for number in self.numbers}
        following.follow_all(self.mailing.engine)
        for number in self.numbers:
            campaign, rows = self.mailing.read(number), self._messages(number)
            ended = before[number] is CampaignStatus.SENDING and campaign.status is CampaignStatus.DONE
            assert campaign.status is before[number] or ended
            waiting = {status for status, parked in rows if status == "queued" or parked}
            if campaign.status in WAITING or campaign.ended_at:
                assert waiting <= WAITING.get(campaign.status, set()) | self._released(campaign)
                assert not campaign.unsettled
            assert campaign.status is not CampaignStatus.SENDING or waiting, "nothing waits, and it is not done"

    def _released(self, campaign: Campaign) -> set[str]:
        """A person may let something go of a campaign that is over."""
        return {"queued"} if campaign.ended_at else set()

    def drain(self) -> None:
        """Send what is due; nobody who wants none gets anything, and nothing of what is paused leaves."""
        trouble = self.chance.choice(["", "", "", "break", "lose"])
        if trouble == "break":
            self.channel.break_next()
        if trouble == "lose":
            self.channel.lose_next_answer()
        statuses = {number: self.mailing.read(number).status for number in self.numbers}
        before = len(self.channel.outbox)
        with suppress(SenderFault):
            self.mailing.drain(self.channel, limit=self.chance.choice([-1, -1, 3]))
        sent = self.channel.outbox[before:]
        assert not self.unwanted & {mail.to[0] for mail in sent}
        query = "select distinct campaign_id from notify.messages where message_id = any(:ids)"
        left = {number for (number,) in self.mailing.rows(query, ids=[mail.message_id for mail in sent])}
        assert {statuses[number] for number in left} <= {CampaignStatus.SENDING, *OVER}
        self.mailing.do("update notify.messages set not_before = now() where status = 'queued'")

    # --- What people do ----------------------------------------------------------------------------------------------

    def take_in_hand(self) -> None:
        """Hold, release, cancel or resend a single message."""
        what = self.chance.choice(["hold", "release", "cancel", "resend"])
        if ids := self.mailing.rows("select id from notify.messages"):
            with self.mailing.engine.begin() as connection, suppress(TransitionError):
                getattr(outbox, what)(connection, self.chance.choice(sorted(ids))[0])

    def want_none(self) -> None:
        """Somebody wants no more."""
        address = self.chance.choice(NAMES[:-1])
        with self.mailing.engine.begin() as connection:
            if self.chance.random() < 0.5:
                never_again(connection, address, "a test")
            else:
                stop(connection, address, BULK, "a test", {}, region=str)
        self.unwanted.add(address)

    def want_it_again(self) -> None:
        """Somebody wants it after all."""
        address = self.chance.choice(NAMES[:-1])
        with self.mailing.engine.begin() as connection:
            suppressions.lift(connection, address)
            connection.execute(sa.text("delete from notify.unsubscriptions where address = :who"), {"who": address})
        self.unwanted.discard(address)

    # --- The end -----------------------------------------------------------------------------------------------------

    def bring_to_an_end(self) -> None:
        """Have all of them made and sent that can be; nobody is forgotten, and what is called sent was."""
        for number in self.numbers:
            self._tell("generate", number)
        self.mailing.generate_what_waits()
        for number in self.numbers:
            self._tell("send", number)
            self._tell("resume", number)
        following.follow_all(self.mailing.engine)
        while self.mailing.rows("select id from notify.messages where status = 'queued' limit 1"):
            with suppress(SenderFault):  # of trouble that was ordered before, and has not come yet
                self.mailing.drain(self.channel)
            self.mailing.do("update notify.messages set not_before = now() where status = 'queued'")
        following.follow_all(self.mailing.engine)
        sent = {mail.message_id for mail in self.channel.outbox}
        for number in self.numbers:
            campaign = self.mailing.read(number)
            if campaign.status is CampaignStatus.DRAFT:  # nobody of the list can have it
                assert campaign.fault
                assert not self._messages(number)
                continue
            assert campaign.status in OVER
            assert not campaign.unsettled
            assert {status for status, _ in self._messages(number)} <= ENDED
            assert sent >= {one for (one,) in self.mailing.rows(_SENT, id=number)}
            if campaign.status is CampaignStatus.DONE:
                [[named]] = self.mailing.rows(_NAMED, id=number)
                [[known]] = self.mailing.rows(_KNOWN, id=number)
                assert named == known
                assert self.mailing.rows(_WITHOUT_ONE, id=number) == [(0,)]

    # --- What holds --------------------------------------------------------------------------------------------------

    def nobody_gets_it_twice(self) -> None:
        """Each got at most one message of a campaign, however often that was repeated."""
        query = "select m.message_id, m.campaign_id from notify.messages m where m.campaign_id is not null"
        campaign_of = dict(self.mailing.rows(query))
        got: dict[tuple[int, str], set[str]] = {}
        for mail in self.channel.outbox:
            if mail.message_id in campaign_of:
                got.setdefault((campaign_of[mail.message_id], mail.to[0]), set()).add(mail.message_id)
        assert all(len(ids) == 1 for ids in got.values()), got

    def numbers_add_up(self) -> None:
        """Progress tells of each message once, and of what was made each recipient that was read."""
        for number in self.numbers:
            campaign, progress, rows = self.mailing.read(number), self.mailing.progress(number), self._messages(number)
            assert progress.states == Counter(status for status, _ in rows)
            assert (
                progress.created
                == len(rows)
                == progress.waiting
                + sum(count for state, count in progress.states.items() if state not in {"held", "queued", "sending"})
            )
            query = "select fate, count(*) from notify.campaign_recipients where campaign_id = :id group by fate"
            fates = dict(self.mailing.rows(query, id=number))
            if campaign.status is CampaignStatus.GENERATED:
                read = sum(count for fate, count in fates.items() if fate != "left")
                assert campaign.rows_read == read + campaign.doubled
                assert self.mailing.rows(_WITHOUT_ONE, id=number) == [(0,)]
            if campaign.status is CampaignStatus.DONE and number not in self.done:
                assert not [one for one in rows if one[0] in {"queued", "sending"} or one == ("held", True)]
                self.done.add(number)

    def parked_ones_are_held_by_one(self) -> None:
        """What is parked is held, and its campaign is one that does not let it go, or not yet."""
        query = "select count(*) from notify.messages where parked and (status <> 'held' or campaign_id is null)"
        assert self.mailing.rows(query) == [(0,)]

    def _messages(self, number: int) -> list[tuple[Any, ...]]:
        return self.mailing.rows("select status, parked from notify.messages where campaign_id = :id", id=number)


class StopAfter(threading.Event):
    """Stops a run politely after so many stretches."""

    def __init__(self, stretches: int) -> None:
        super().__init__()
        self.left = stretches + 1

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


_DEEDS = [deed for deed, often in DEEDS.items() for _ in range(often)]


def test_rules(engine: Engine, hand_over_settings: HandOverSettings) -> None:
    """Whatever is done in whatever order: nobody gets a campaign twice or against their will, and the counts add up."""
    mailing = Mailing(engine, hand_over_settings)

    # All that is done comes out of one number: so each sequence is as likely as any other. Nothing can be made smaller.
    @settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.reuse, Phase.generate), print_blob=True)
    @given(st.integers(0, 2**64))
    def play(seed: int) -> None:
        chance = Random(seed)
        campaigns, done = Campaigns(mailing, chance), []
        try:
            for deed in chance.choices(_DEEDS, k=40):
                done.append(deed)
                campaigns.do(deed)
            done.append("bring_to_an_end")
            campaigns.bring_to_an_end()
        except AssertionError:
            print(f"seed {seed}: {' '.join(done)}")
            raise

    play()
