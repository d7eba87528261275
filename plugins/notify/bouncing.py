"""A run of DeliveryReports over a mailbox: reads the reports in it, and does what follows from them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.domain.blame import SOFT_BOUNCES, SOFT_EXPIRY, SOFT_WINDOW, Blame
from notify.domain.bounce import Action, RecipientReport, Report, Sort, read_report
from notify.domain.comeback import Match, match, match_nameless, reached_no_more, status_after_failure
from notify.domain.status import Status, may_become
from notify.exceptions import ConfigurationError, MailboxFault, UnreadableMail
from notify.mailboxes import Mailbox, Source
from notify.progress import Progress
from notify.settings import BounceSettings, HandOverSettings
from notify.storage import bounces, schema, suppressions, withholding
from notify.storage.bounces import KnownMessage
from notify.storage.engine import transaction
from notify.storage.outbox import Origin
from notify.undelivered import Telling, tell_senders

log = logging.getLogger(__name__)

#: Mails fetched at once, and put away at once when all of them are in the database.
BATCH = 20

#: Mails that one run reads at most, and the time after which it begins no further batch.
MOST = 5000
BUDGET = timedelta(minutes=8)

#: The history names it as who changed a message's state.
ACTOR = "delivery report"

#: Where a recipient's report is counted, failures aside.
_COUNTED = {
    Action.DELAYED: "delayed",
    Action.DELIVERED: "delivered",
    Action.RELAYED: "relayed",
    Action.EXPANDED: "relayed",
}
_BLAMED = {Blame.HARD: "hard", Blame.SOFT: "soft", Blame.NONE: "blameless"}


@dataclass(slots=True)
class BounceResult:
    """What a run did, in numbers; becomes the task's XCom.

    :param looked_at: mails
    :param reports: delivery reports of our messages that had not been read before
    :param repeated: reports that had been: their mails were not put away then, or came twice
    :param hard: recipients whose address does not work
    :param soft: recipients whose address did not work this time
    :param blameless: recipients whom a mail did not reach for reasons that are not the address's
    :param delayed: recipients for whom a server still tries
    :param delivered: recipients to whom a server has delivered
    :param relayed: recipients whose mail was handed on to where no reports come from
    :param undelivered: messages that reached none of their recipients
    :param suppressed: addresses that get nothing from now on
    :param withheld: messages that waited for these alone, and are not sent
    :param notices: mails to senders about what came back
    :param told: mails that came back, of which these tell
    :param untold: mails that came back, and nobody is known to be told
    :param untellable: mails that came back, and whose senders could not be told; the next run tries again
    :param ignored: mails that are no reports of ours, by what they are
    :param postponed: reports of messages that are being sent at this moment; they wait in the mailbox
    :param unreadable: mails that a person should look at; they are flagged
    :param left: mails that are left for the next run
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    looked_at: int = 0
    reports: int = 0
    repeated: int = 0
    hard: int = 0
    soft: int = 0
    blameless: int = 0
    delayed: int = 0
    delivered: int = 0
    relayed: int = 0
    undelivered: int = 0
    suppressed: int = 0
    withheld: int = 0
    notices: int = 0
    told: int = 0
    untold: int = 0
    untellable: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    postponed: int = 0
    unreadable: int = 0
    left: int = 0
    stopped: str = ""
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        parts = [f"{self.looked_at} mails, {self.reports} new reports"]
        parts += [f"{count} {name}" for name in _SUMMED if (count := getattr(self, name))]
        if self.ignored:
            sorts = ", ".join(f"{count} {name}" for name, count in sorted(self.ignored.items()))
            parts.append(f"{sum(self.ignored.values())} ignored ({sorts})")
        return f"{', '.join(parts)}; {self.stopped}; {self.seconds:.1f} s"


_SUMMED = (
    "repeated", "hard", "soft", "blameless", "delayed", "delivered", "relayed", "undelivered", "suppressed", "withheld",
    "notices", "untold", "untellable", "postponed", "unreadable", "left",
)  # fmt: skip


@dataclass(slots=True)
class Bouncing:
    """Reads the reports in a mailbox.

    :param engine: of the outbox database
    :param settings: those of hand-over, for what senders are told
    :param bounces: what follows from a bounce
    :param source: the mailbox
    :param origin: the task that this happens in, for the register
    :param stop: set it, and the run ends with the mail it is at
    """

    engine: Engine
    settings: HandOverSettings
    bounces: BounceSettings
    source: Source
    origin: Origin | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    batch: int = BATCH
    most: int = MOST
    budget: timedelta = BUDGET

    def run(self) -> BounceResult:
        """Read the mailbox, and tell senders.

        A mail is put away when the database has what it says. A run that dies in between has the next one read it
        again, which changes nothing.

        :raises MailboxFault: the mailbox cannot be read; what was read before stands
        """
        return _Run(self).run()


class _Run:
    """The state of one run."""

    def __init__(self, plan: Bouncing) -> None:
        self.plan = plan
        self.tally: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.left = 0
        self.stopped = "nothing more is waiting"
        self.progress = Progress(log)
        self.started = time.monotonic()

    def run(self) -> BounceResult:
        with self.plan.engine.connect() as connection:
            schema.require(connection)
        try:
            with self.plan.source.open() as mailbox:
                self._read(mailbox)
        except MailboxFault:
            self._tell()  # of what is in the database: it must not wait until the mailbox is mended
            log.warning("%s", self._result("the mailbox failed").summary)
            raise
        self._tell()
        return self._result(self.stopped)

    # --- The mailbox -------------------------------------------------------------------------------------------------

    def _read(self, mailbox: Mailbox) -> None:
        waiting = mailbox.waiting(self.plan.most)
        self.left = len(waiting)
        for begin in range(0, len(waiting), self.plan.batch):
            if self._ends():
                return
            self._read_batch(mailbox, waiting[begin : begin + self.plan.batch])
            self.progress.tell("%s mails so far, %s left", self.tally["looked_at"], self.left)
        if len(waiting) == self.plan.most:
            self.stopped = f"{self.plan.most} mails are enough for one run"

    def _ends(self) -> bool:
        if self.plan.stop.is_set():
            self.stopped = "stopped politely"
        elif time.monotonic() - self.started > self.plan.budget.total_seconds():
            self.stopped = "its time was over"
        else:
            return False
        return True

    def _read_batch(self, mailbox: Mailbox, numbers: Sequence[int]) -> None:
        done: dict[str, list[int]] = {"finish": [], "keep": [], "set_aside": [], "leave": []}
        for number, raw in mailbox.fetch(numbers):
            if self.plan.stop.is_set():
                break
            done[self._take(number, raw)].append(number)
        self.left -= len(done["finish"]) + len(done["keep"]) + len(done["set_aside"])
        mailbox.finish(done["finish"])
        mailbox.keep(done["keep"])
        mailbox.set_aside(done["set_aside"])

    def _take(self, number: int, raw: bytes | None) -> str:
        """Do what a mail asks for, in a transaction of its own; then say what becomes of it in the mailbox."""
        self.tally["looked_at"] += 1
        try:
            report = _report(raw)
            if isinstance(report, Sort):
                self.ignored[report.value] += 1
                return "keep"
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                taken = _Taken(connection, self.plan.bounces, report)
                place = taken.take()
        except (ConfigurationError, sa.exc.OperationalError, sa.exc.InterfaceError):
            raise  # nothing is wrong with the mail
        except Exception as error:  # noqa: BLE001 - whatever it is, the mails behind it must not wait for it
            self.tally["unreadable"] += 1
            told = error if isinstance(error, UnreadableMail) else type(error).__name__
            log.warning("mail %s of %s is flagged, for a person to look at: %s", number, self.plan.source.name, told)
            return "set_aside"
        self.tally += taken.tally  # by now it is true
        self.ignored += taken.ignored
        for line in taken.lines:
            log.info("%s", line)
        return place

    # --- The end -----------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        origin = self.plan.origin
        actor = f"{origin.dag_id}/{origin.run_id}" if origin else ACTOR
        with transaction(self.plan.engine, actor=actor) as connection:
            told: Telling = tell_senders(connection, self.plan.settings, self.plan.bounces.contact, origin=origin)
        self.tally += Counter(notices=told.notices, told=told.told, untold=told.untold, untellable=told.waiting)

    def _result(self, stopped: str) -> BounceResult:
        return BounceResult(
            **self.tally,
            ignored=dict(self.ignored),
            left=self.left,
            stopped=stopped,
            seconds=round(time.monotonic() - self.started, 1),
        )


def _report(raw: bytes | None) -> Report | Sort:
    if raw is None:
        raise UnreadableMail("The mail's own server cannot read it, or does not give it.")
    return read_report(raw)


class _Taken:
    """A report, and what follows from it in one transaction."""

    def __init__(self, connection: Connection, settings: BounceSettings, report: Report) -> None:
        self.connection = connection
        self.settings = settings
        self.report = report
        self.tally: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.lines: list[str] = []

    def take(self) -> str:
        """Do it.

        :returns: what becomes of the mail
        """
        message = bounces.find(self.connection, self.report)
        if message is None:
            self.ignored["not_ours"] += 1
            return "keep"
        if message.status is Status.SENDING:
            # What the drain is about to settle would overwrite what we note.
            self.tally["postponed"] += 1
            return "leave"
        new = list(self._new(message))
        self.tally["reports" if new else "repeated"] += 1
        self._follow(message, new)
        for address in sorted({address for one, found in new for address in self._held_against(message, one, found)}):
            self._judge(message, address, [one for one in new if one[1].counts(one[0], message.evidence)])
        return "finish"

    def _new(self, message: KnownMessage) -> Iterator[tuple[RecipientReport, Match]]:
        """What the report says of recipients, as far as it was not known; kept by now."""
        addresses = {one.position: one.address for one in message.recipients}
        for said in self.report.recipients:
            one, found = match_nameless(said, addresses) if message.erased else (said, match(said, addresses))
            if bounces.add(self.connection, self.report, one, message, found):
                self._count(message, one, found)
                yield one, found

    def _count(self, message: KnownMessage, one: RecipientReport, found: Match) -> None:
        name = _BLAMED[one.blame] if one.action is Action.FAILED else _COUNTED[one.action]
        self.tally[name] += 1
        whom = "none of its recipients" if found.position is None else f"recipient {found.position + 1}"
        how = ", forwarded" if found.forwarded else ""
        self.lines.append(f"message {message.id}, {whom}{how}: {one.action}, {name} ({one.status or 'no status'})")

    # --- The message -------------------------------------------------------------------------------------------------

    def _follow(self, message: KnownMessage, new: Sequence[tuple[RecipientReport, Match]]) -> None:
        """Note it with message and recipients."""
        failed = [(one, found) for one, found in new if one.action is Action.FAILED]
        outcomes = {one.position: one.outcome for one in message.recipients}
        for one, found in failed:
            hard = found.condemns(one, message.evidence)
            if found.position is not None and reached_no_more(message.status, outcomes[found.position], hard=hard):
                bounces.fail(self.connection, message, found.position, one)
                outcomes[found.position] = "permanent"
        status = status_after_failure(message.status, outcomes.values()) if failed else None
        if status is not None:
            bounces.move(self.connection, message, status, _reason(*failed[0]))
            self.tally["undelivered" if status is Status.UNDELIVERED else "withheld"] += 1
            self.lines.append(f"message {message.id} is {status}")
        elif failed and may_become(message.status, Status.UNDELIVERED):
            bounces.tell(self.connection, message, self._partly(message, outcomes, failed))
        elif not failed:
            self._delivered(message, [one for one, _ in new if one.action is Action.DELIVERED])

    def _delivered(self, message: KnownMessage, told: Sequence[RecipientReport]) -> None:
        if told and may_become(message.status, Status.DELIVERED) and bounces.all_delivered(self.connection, message):
            bounces.move(self.connection, message, Status.DELIVERED, f"delivered: {told[0].said}")

    def _partly(
        self, message: KnownMessage, outcomes: dict[int, str], failed: Sequence[tuple[RecipientReport, Match]]
    ) -> str:
        gone = sum(outcome == "permanent" for outcome in outcomes.values())
        return f"{_reason(*failed[0])} ({gone} of {len(message.recipients)} recipients not reached)"

    # --- The address -------------------------------------------------------------------------------------------------

    def _held_against(self, message: KnownMessage, one: RecipientReport, found: Match) -> Iterator[str]:
        if found.counts(one, message.evidence):
            yield from (known.address.lower() for known in message.recipients if known.position == found.position)

    def _judge(self, message: KnownMessage, address: str, counting: Sequence[tuple[RecipientReport, Match]]) -> None:
        """Put an address on the list, if it has earned that."""
        one, found = next(pair for pair in counting if pair[0].address == address)
        if found.condemns(one, message.evidence):
            reason = f"message {message.id} came back: {one.said}"
            expiry = self.settings.hard_expiry
        elif bounces.count(self.connection, address, SOFT_WINDOW) >= SOFT_BOUNCES:
            reason = (
                f"{SOFT_BOUNCES} messages came back in {SOFT_WINDOW.days} days, the last of them "
                f"message {message.id}: {one.said}"
            )
            expiry = SOFT_EXPIRY
        else:
            return
        source = suppressions.Source.BOUNCE
        if suppressions.add(self.connection, address, reason, expiry, source):
            self.tally["suppressed"] += 1
            self.lines.append(f"message {message.id}: the address gets nothing {_until(expiry)}")
        withheld = withholding.from_address(self.connection, address, f"on the suppression list: {reason}")
        if withheld:
            self.tally["withheld"] += withheld
            self.lines.append(f"{withheld} messages that waited for that address alone are suppressed")


def _until(expiry: timedelta | None) -> str:
    return f"for {expiry.days} days" if expiry else "until that is lifted"


def _reason(one: RecipientReport, found: Match) -> str:
    forwarded = " from where it was forwarded" if found.forwarded else ""
    return f"came back{forwarded}: {one.said}"
