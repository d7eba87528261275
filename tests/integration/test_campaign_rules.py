"""The rules of campaigns over arbitrary sequences of what people, tasks and runs do to them.

``NOTIFY_EXAMPLES=500`` tries many more.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
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
WAITING = {CampaignStatus.SENDING: {"queued"}, CampaignStatus.PAUSED: {"held"}}

#: Recipients in any order, some of them named twice.
lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=9)
any_one = st.integers(0, 50)


class Campaigns(RuleBasedStateMachine):
    """What is done to campaigns, and what holds all the while."""

    mailing: Mailing

    @initialize(recipients=lists)
    def begin(self, recipients: list[str]) -> None:
        """Begin with one campaign."""
        self.mailing.do(
            "truncate notify.campaigns, notify.messages, notify.contents, notify.suppressions, notify.unsubscriptions, "
            "notify.drains, notify.senders cascade"
        )
        self.channel = MemoryChannel(max_connections=1)
        self.version = 0
        self.unwanted: set[str] = set()
        self.done: set[int] = set()
        self.numbers: list[int] = []
        self.write(recipients)

    def number(self, choice: int) -> int:
        return self.numbers[choice % len(self.numbers)]

    # --- What authors do ---------------------------------------------------------------------------------------------

    @rule(recipients=lists)
    def write(self, recipients: list[str]) -> None:
        """Write one."""
        if len(self.numbers) < 3:
            self.numbers.append(self.mailing.write(subject="v0", message="Hi", csv=_csv(recipients)))

    @rule(choice=any_one, recipients=st.none() | lists)
    def edit(self, choice: int, recipients: list[str] | None) -> None:
        """Change what it says, and maybe whom it is for."""
        self.version += 1
        changed: dict[str, Any] = {"subject": f"v{self.version}"}
        if recipients is not None:
            changed["csv"] = _csv(recipients)
        with suppress(CampaignError):
            self.mailing.edit(self.number(choice), **changed)

    @rule(choice=any_one, send=st.booleans())
    def generate(self, choice: int, send: bool) -> None:
        """Have its messages made, sometimes to be sent at once."""
        self._tell("generate", choice, send=send)

    @rule(choice=any_one, what=st.sampled_from(["send", "send", "pause", "resume", "resume", "cancel", "delete"]))
    def steer(self, choice: int, what: str) -> None:
        """Tell it what to do; its messages do not follow yet."""
        number = self.number(choice)
        if self._tell(what, choice) and what == "delete":
            self.numbers.remove(number)
            self.write(NAMES)

    def _tell(self, what: str, choice: int, **more: Any) -> bool:
        with self.mailing.engine.begin() as connection:
            try:
                getattr(steering, what)(connection, self.number(choice), **more)
            except CampaignError:
                return False
        return True

    # --- What runs do ------------------------------------------------------------------------------------------------

    @rule(stretch=st.integers(1, 4), stretches=st.none() | st.integers(0, 3))
    def make(self, stretch: int, stretches: int | None) -> None:
        """Make messages; interrupted after some stretches, or at the end."""
        run = Generating(self.mailing.engine, self.mailing.settings, stretch=stretch, silence=timedelta(hours=1))
        if stretches is not None:
            _stop_after(run, stretches)
        run.run()

    @rule(step=st.integers(1, 4), choice=any_one)
    def follow_a_step(self, step: int, choice: int) -> None:
        """Move some messages of one campaign."""
        before, campaign_messages.MOST = campaign_messages.MOST, step
        try:
            following.follow(self.mailing.engine, self.number(choice), budget=timedelta(0))
        finally:
            campaign_messages.MOST = before

    @rule()
    def follow(self) -> None:
        """Move all messages to where they belong."""
        following.follow_all(self.mailing.engine)
        for number in self.numbers:
            campaign, rows = self.mailing.read(number), self._messages(number)
            waiting = {
                status for status, parked in rows if status in {"held", "queued"} and (status != "held" or parked)
            }
            if campaign.status in WAITING or campaign.ended_at:
                assert waiting <= WAITING.get(campaign.status, set()) | self._released(campaign)
                assert not campaign.unsettled
            assert campaign.status is not CampaignStatus.SENDING or waiting, "nothing waits, and it is not done"

    def _released(self, campaign: Campaign) -> set[str]:
        """A person may let something go of a campaign that is done."""
        return {"queued"} if campaign.id in self.done else set()

    @rule(trouble=st.sampled_from(["", "", "", "break", "lose"]), limit=st.sampled_from([-1, -1, 3]))
    def drain(self, trouble: str, limit: int) -> None:
        """Send what is due; nobody who wants none gets anything."""
        if trouble == "break":
            self.channel.break_next()
        if trouble == "lose":
            self.channel.lose_next_answer()
        paused = {number for number in self.numbers if self.mailing.read(number).status is not CampaignStatus.SENDING}
        before = len(self.channel.outbox)
        with suppress(SenderFault):
            self.mailing.drain(self.channel, limit=limit)
        sent = self.channel.outbox[before:]
        assert not self.unwanted & {mail.to[0] for mail in sent}
        ids = {mail.message_id for mail in sent}
        left = self.mailing.rows(
            "select message_id, campaign_id from notify.messages where message_id = any(:ids)", ids=[*ids]
        )
        assert not {number for _, number in left} & (paused - self.done)
        self.mailing.do("update notify.messages set not_before = now() where status = 'queued'")

    # --- What people do ----------------------------------------------------------------------------------------------

    @rule(choice=any_one, what=st.sampled_from(["hold", "release", "cancel"]))
    def take_in_hand(self, choice: int, what: str) -> None:
        """Hold, release or cancel a single message."""
        ids = [number for (number,) in self.mailing.rows("select id from notify.messages order by id")]
        if ids:
            with self.mailing.engine.begin() as connection, suppress(TransitionError):
                getattr(outbox, what)(connection, ids[choice % len(ids)])

    @rule(address=st.sampled_from(NAMES[:-1]), how=st.sampled_from(["suppress", "unsubscribe"]))
    def want_none(self, address: str, how: str) -> None:
        """Somebody wants no more."""
        with self.mailing.engine.begin() as connection:
            if how == "suppress":
                never_again(connection, address, "a test")
            else:
                stop(connection, address, BULK, "a test", {}, region=str)
        self.unwanted.add(address)

    @rule(address=st.sampled_from(NAMES[:-1]))
    def want_it_again(self, address: str) -> None:
        """Somebody wants it after all."""
        with self.mailing.engine.begin() as connection:
            suppressions.lift(connection, address)
            connection.execute(sa.text("delete from notify.unsubscriptions where address = :who"), {"who": address})
        self.unwanted.discard(address)

    # --- What holds --------------------------------------------------------------------------------------------------

    @invariant()
    def nobody_gets_it_twice(self) -> None:
        """Each got at most one message of a campaign, however often that was repeated."""
        query = "select m.message_id, m.campaign_id from notify.messages m where m.campaign_id is not null"
        campaign_of = dict(self.mailing.rows(query))
        got: dict[tuple[int, str], set[str]] = {}
        for mail in self.channel.outbox:
            if mail.message_id in campaign_of:
                got.setdefault((campaign_of[mail.message_id], mail.to[0]), set()).add(mail.message_id)
        assert all(len(ids) == 1 for ids in got.values()), got

    @invariant()
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
            if campaign.status is CampaignStatus.DONE and number not in self.done:
                assert not [one for one in rows if one[0] in {"queued", "sending"} or one == ("held", True)]
                self.done.add(number)

    @invariant()
    def parked_ones_are_held_by_one(self) -> None:
        """What is parked is held, and its campaign is one that does not let it go, or not yet."""
        query = "select count(*) from notify.messages where parked and (status <> 'held' or campaign_id is null)"
        assert self.mailing.rows(query) == [(0,)]

    def _messages(self, number: int) -> list[tuple[Any, ...]]:
        return self.mailing.rows("select status, parked from notify.messages where campaign_id = :id", id=number)


def _csv(recipients: list[str]) -> str:
    return "\n".join(["email", *recipients])


def _stop_after(run: Generating, stretches: int) -> None:
    """Have a run stop politely after so many stretches."""
    taken = threading.local()
    taken.count = 0

    class Stop(threading.Event):
        def is_set(self) -> bool:
            taken.count += 1
            return bool(taken.count > stretches + 1)

    run.stop = Stop()


def test_rules(engine: Engine, hand_over_settings: HandOverSettings) -> None:
    """Whatever is done in whatever order: nobody gets a campaign twice or against their will, and the counts add up."""

    class Here(Campaigns):
        mailing = Mailing(engine, hand_over_settings)

    # Making a failure smaller takes minutes: only for whoever asks for many.
    phases = tuple(Phase) if "NOTIFY_EXAMPLES" in os.environ else (Phase.reuse, Phase.generate)
    found = settings(max_examples=EXAMPLES, stateful_step_count=30, phases=phases, print_blob=True)
    run_state_machine_as_test(Here, settings=found)
