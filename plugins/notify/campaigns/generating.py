"""Generating: the messages of a campaign are made, in stretches of which each is a transaction.

A run reads the recipients as a stream, from all their sources, so its memory does not grow with them. What became of
each is stored together with their message: a run that dies has the next one begin a new *pass* over all of them, which
makes what is missing and nothing else. Who is met twice in a pass is counted as doubled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import garbage
from notify.campaigns.sources import rows_of
from notify.campaigns.stretch import Stretch
from notify.domain.campaign import Campaign, Fate, Row
from notify.doors.campaign import CampaignDoor, door_of
from notify.doors.sender import choose_sender
from notify.exceptions import (
    ConfigurationError,
    Fault,
    NotifyError,
    PassLost,
    TemplateError,
    UnusableRecord,
    UnusableSource,
)
from notify.progress import Progress
from notify.settings import HandOverSettings
from notify.storage import campaign_messages, campaign_recipients, campaigns, outbox, schema
from notify.storage.engine import transaction
from notify.storage.outbox import NewMessage

log = logging.getLogger(__name__)

#: Recipients of one transaction.
STRETCH = 1_000

#: Bodies that many share and whose number is remembered from one stretch to the next.
MOST_BODIES = 100

#: So often a run tells that it lives, in the time after which it is taken for dead.
BEATS = 5

#: The history names it as who made the messages.
ACTOR = "MassMailing"


@dataclass(slots=True)
class GeneratingResult:
    """What a run did with one campaign, in numbers; becomes the task's XCom.

    :param campaign: its number
    :param status: its state afterwards
    :param rows: recipients that were read
    :param created: messages that were made
    :param kept: recipients who had theirs from an earlier pass
    :param doubled: recipients who were read twice
    :param left_out: recipients who got none, by the reason, a :class:`notify.domain.campaign.Fate`
    :param left: recipients whose messages were taken back, since they are no longer among them
    :param fault: why the messages could not be made
    :param seconds: how long it took
    """

    campaign: int
    status: str = "generating"
    rows: int = 0
    created: int = 0
    kept: int = 0
    doubled: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    left: int = 0
    fault: str | None = None
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        parts = [f"{self.rows} recipients read, {self.created} messages made"]
        parts += [f"{count} {name}" for name in ("kept", "doubled", "left") if (count := getattr(self, name))]
        parts += [f"{count} {reason}" for reason, count in sorted(self.left_out.items())]
        return f"campaign {self.campaign}: {', '.join(parts)}; {self.status}; {self.seconds:.1f} s"


@dataclass(slots=True)
class Generating:
    """Makes the messages of campaigns that wait for it.

    :param engine: of the outbox database
    :param stop: set it, and no new stretch is begun; the next run begins a new pass
    :param stretch: recipients of one transaction
    :param silence: a pass that has not been heard of for so long is dead
    """

    engine: Engine
    settings: HandOverSettings
    stop: threading.Event = field(default_factory=threading.Event)
    stretch: int = STRETCH
    silence: timedelta = campaigns.SILENCE

    def run(self, only: int | None = None) -> list[GeneratingResult]:
        """Make the messages of all campaigns that wait for it.

        :param only: no other campaign
        :returns: what was done with each
        """
        with self.engine.connect() as connection:
            schema.require(connection)
        done = []
        while not self.stop.is_set():
            with transaction(self.engine, actor=ACTOR) as connection:
                campaign = campaigns.begin_pass(connection, only, silence=self.silence)
            if campaign is None:
                break
            done.append(_Pass(self, campaign).run())
        return done


class _Pass:
    """One pass over the recipients of a campaign."""

    def __init__(self, plan: Generating, campaign: Campaign) -> None:
        self.plan = plan
        self.campaign = campaign
        self.result = GeneratingResult(campaign.id)
        self.progress = Progress(log)
        self.started = time.monotonic()
        self.left_out: Counter[Fate] = Counter()
        self.problem: str | None = None
        self._bodies: dict[bytes, int] = {}

    def run(self) -> GeneratingResult:
        try:
            self._clear()
            with self._heard_of():
                self._generate(self._door())
        except PassLost as lost:
            self._lose(lost)
        except (ConfigurationError, TemplateError, UnusableRecord, UnusableSource) as error:
            self._fail(error)
        self.result.left_out = {fate.value: count for fate, count in self.left_out.items()}
        self.result.seconds = round(time.monotonic() - self.started, 1)
        log.info("%s", self.result.summary)
        return self.result

    @contextmanager
    def _heard_of(self) -> Iterator[None]:
        """Say again and again that this pass goes on: a query may take long before its first row comes."""
        over = threading.Event()
        thread = threading.Thread(target=self._say_so, args=(over,), name="heard of", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _say_so(self, over: threading.Event) -> None:
        beat = max(self.plan.silence.total_seconds() / BEATS, 1.0)
        while not over.wait(beat):
            try:
                with transaction(self.plan.engine) as connection:
                    campaigns.keep_pass(connection, self.campaign)
            except PassLost:
                return  # whoever reads the recipients finds that out
            except sa.exc.DBAPIError as error:
                log.warning("campaign %s: %s", self.campaign.id, type(error).__name__)  # as above, if it lasts

    def _lose(self, lost: PassLost) -> None:
        log.info("%s", lost)
        self.result.status = "taken over or cancelled"

    def _fail(self, error: NotifyError) -> None:
        log.error("campaign %s: %s", self.campaign.id, error)
        try:
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                campaigns.keep_pass(connection, self.campaign)
                campaigns.fail_pass(connection, self.campaign, str(error))
        except PassLost as lost:
            self._lose(lost)  # whoever has it now finds out what is wrong
            return
        self.result.fault, self.result.status = str(error), "draft"

    def _clear(self) -> None:
        """Throw away what was made before the campaign was changed."""
        if not self.campaign.stale:
            return
        gone = 1
        while gone:
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                campaigns.keep_pass(connection, self.campaign)
                gone = campaign_messages.throw_away(connection, self.campaign)
                if not gone:
                    campaign_recipients.forget(connection, self.campaign)
                    campaigns.cleared(connection, self.campaign.id)

    def _door(self) -> CampaignDoor[Any]:
        sender = self._sender()
        with self.plan.engine.connect() as connection:
            stored, size = campaigns.stored_files(connection, self.campaign.id)
        return door_of(self.campaign, self.plan.settings, sender, stored, size, campaign_id=self.campaign.id)

    def _sender(self) -> str:
        faults: list[Fault] = []
        campaign = self.campaign
        found = choose_sender(campaign.channel, campaign.sender, campaign.site, self.plan.settings, faults)
        if faults:
            raise ConfigurationError(f"Its messages cannot be made: {'; '.join(map(str, faults))}.")
        return found

    # --- Stretch by stretch ------------------------------------------------------------------------------------------

    def _generate(self, door: CampaignDoor[Any]) -> None:
        with closing(rows_of(self.plan.engine, self.campaign, self.plan.settings.campaign_connections)) as rows:
            while some := list(islice(rows, self.plan.stretch)):
                if self.plan.stop.is_set():
                    self._interrupt()
                    return
                self._take(door, some)
                self.progress.tell(
                    "campaign %s: %s recipients read, %s messages made",
                    self.campaign.id,
                    self.result.rows,
                    self.result.created,
                )
        self._end()

    @garbage.paused()
    def _take(self, door: CampaignDoor[Any], rows: Sequence[Row]) -> None:
        """Make the messages of a stretch of recipients, and store what became of each."""
        with transaction(self.plan.engine, actor=ACTOR) as connection:
            campaigns.keep_pass(connection, self.campaign)
            stretch = Stretch(connection, self.campaign, self.plan.settings)
            made = stretch.make(door, rows)
            messages, bodies = self._share(connection, [one.message for one in made])
            stored = outbox.add(connection, messages)
            met = [one.met(message.id) for one, message in zip(made, stored, strict=True)]
            campaign_recipients.put(connection, self.campaign, [*met, *stretch.others])
            campaigns.keep_pass(connection, self.campaign, read=len(rows), doubled=stretch.doubled)
        self._bodies = bodies
        self.problem = self.problem or stretch.problem
        self.result.rows += len(rows)
        self.result.created += len(made)
        self.result.doubled += stretch.doubled
        self.result.kept += stretch.kept
        self.left_out.update(stretch.left_out)

    def _share(
        self, connection: Connection, messages: Sequence[NewMessage]
    ) -> tuple[list[NewMessage], dict[bytes, int]]:
        """Store what many say once, also across stretches.

        :returns: the messages, and the bodies to remember once this is committed
        """
        counted = Counter(message.body for message in messages)
        shared = [body for body, count in counted.items() if count > 1 and body not in self._bodies]
        bodies = self._bodies | outbox.add_contents(connection, shared)
        told = [
            replace(message, body=b"", content_id=bodies[message.body]) if message.body in bodies else message
            for message in messages
        ]
        return told, dict(list(bodies.items())[-MOST_BODIES:])

    def _interrupt(self) -> None:
        with transaction(self.plan.engine, actor=ACTOR) as connection:
            campaigns.interrupt_pass(connection, self.campaign)
        self.result.status = "stopped politely; the next run goes on"

    def _end(self) -> None:
        """Take back what is no longer wanted, and say that all is made."""
        left = True
        while left:
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                campaigns.keep_pass(connection, self.campaign)
                ids = campaign_recipients.leave(connection, self.campaign, campaign_messages.MOST)
                campaign_messages.take_back(connection, ids)
                left = len(ids) == campaign_messages.MOST
                self.result.left += len(ids)
                if not left:
                    self._conclude(connection)

    def _conclude(self, connection: Connection) -> None:
        campaign_recipients.forget_unmet(connection, self.campaign)
        if self.result.created + self.result.kept == 0:
            campaigns.fail_pass(connection, self.campaign, self._nobody())
            self.result.fault, self.result.status = self._nobody(), "draft"
            return
        self.result.status = campaigns.end_pass(connection, self.campaign, self.problem).value

    def _nobody(self) -> str:
        if not self.result.rows:
            return "It has no recipients. Name groups, type recipients, or give it a file or a query that has rows."
        counts = ", ".join(f"{count} {fate}" for fate, count in sorted(self.left_out.items()))
        return f"Of {self.result.rows} recipients nobody gets it: {counts}. {self.problem or ''}".strip()
