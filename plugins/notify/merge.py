"""The merge: one run over what is put aside (the DAG UserNotifications).

What is due moves to the outbox: one notification of a person as the mail that was generated for it, more of them as one
digest; and likewise what is to go by SMS. Moving and marking are one transaction for each batch of people, so a run can
be killed anywhere: what was committed has its home, the rest waits as before. People are the unit that two runs never
share.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import groupby
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.composing import Letter, ShortText, compose, compose_sms, short_text
from notify.domain.address import Address
from notify.domain.digest import Entry, arrange
from notify.domain.home import Home, NotBySms, Reason
from notify.domain.kind import DIGEST, Kind
from notify.domain.person import Person
from notify.domain.preference import ANY_KIND, Frequency
from notify.domain.routing import Addressed, Route, reroute
from notify.exceptions import ConfigurationError, MergeFailed, NotifyError, TemplateError, TemplateNotFound
from notify.progress import Progress
from notify.rendering import mime
from notify.rendering.library import library
from notify.settings import HandOverSettings
from notify.storage import deferred, events, outbox, people, preferences, schema, suppressions
from notify.storage.deferred import Batch, PutAside
from notify.storage.engine import transaction
from notify.storage.events import Arrival
from notify.storage.outbox import NewMessage, Origin
from notify.storage.register import StoredText

log = logging.getLogger(__name__)

#: What one transaction takes: so many people at most, and about so many notifications.
PEOPLE = 500
NOTIFICATIONS = 5_000


@dataclass(slots=True)
class MergeResult:
    """What a run did, in numbers; becomes the task's XCom.

    :param people: who had something due, or to be looked at again
    :param moved: notifications moved as the mail that they were
    :param digests: digests made
    :param in_digests: notifications in them
    :param closed: notifications that get no mail after all
    :param reasons: why, with how many each
    :param kept: looked at again, and waiting on
    :param elsewhere: people whom another run has at this moment
    :param failed: people for whom nothing could be moved, because something is wrong; what they have waits
    :param waiting: notifications that wait when the run ends
    :param next_at: when the next of them is looked at, ISO 8601
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    people: int = 0
    moved: int = 0
    digests: int = 0
    in_digests: int = 0
    closed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    elsewhere: int = 0
    failed: int = 0
    waiting: int = 0
    next_at: str | None = None
    stopped: str = "nothing more is due"
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        parts = [
            f"{self.people} people",
            f"{self.moved} moved as they are",
            f"{self.in_digests} in {self.digests} digests",
        ]
        if self.closed:
            parts.append(f"{self.closed} closed ({', '.join(f'{n} {why}' for why, n in sorted(self.reasons.items()))})")
        names = {"kept": "kept", "elsewhere": "people in another run", "failed": "people failed"}
        parts += [f"{count} {text}" for name, text in names.items() if (count := getattr(self, name))]
        parts.append(f"{self.waiting} waiting" + (f", next at {self.next_at}" if self.next_at else ""))
        return f"{', '.join(parts)}; {self.stopped}; {self.seconds:.1f} s"


@dataclass(slots=True)
class Merger:
    """Moves what is due to the outbox.

    :param engine: of the outbox database
    :param settings: those of hand-over: templates, zone, kinds, senders
    :param people: at most so many in one transaction
    :param notifications: about so many in one transaction
    :param stop: set it, and the run ends with the batch it is at
    :param origin: the task that this happens in, for the register
    """

    engine: Engine
    settings: HandOverSettings
    people: int = PEOPLE
    notifications: int = NOTIFICATIONS
    stop: threading.Event = field(default_factory=threading.Event)
    origin: Origin | None = None

    def run(self) -> MergeResult:
        """Move what is due until nothing is left.

        :raises MergeFailed: something is wrong with somebody's record or digest; everybody else has theirs
        """
        return _Run(self).run()


#: Notifications of a person that a preview looks at.
LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Preview:
    """The mail that a person would get if what is due next for them were moved now; where there is none, the SMS.

    :param at: when it is due
    :param count: how many notifications it is about
    :param digest: whether it is a digest; a single notification is moved as it is
    :param mail: what it says, None where there would be none
    :param reasons: why notifications would make no mail, with how many each
    """

    at: datetime
    count: int
    digest: bool
    mail: StoredText | None
    reasons: Mapping[Reason, int]


def preview(connection: Connection, settings: HandOverSettings, login: str) -> Preview | None:
    """What a person would get next; nothing is stored, and nothing locked.

    :returns: None where nothing is put aside for them
    :raises TemplateError: the digest cannot be made
    """
    items = deferred.look(connection, login, most=LOOKED_AT)
    if not items:
        return None
    at = max(items[0].due_at, outbox.now(connection))
    items.sort(key=lambda one: (one.occurred_at, one.notification_id))
    moves = _Moves(_Run(Merger(connection.engine, settings)), connection, items, as_of=at)
    moves.decide()
    reasons = Counter(one.reason for one in moves.arrivals if one.reason)
    move = next(iter(sorted(moves.moves, key=lambda one: one.short is not None)), None)
    if move is None:
        return Preview(at, 0, False, None, reasons)
    return Preview(at, len(move.items), move.together, moves.text(move), reasons)


class _Run:
    """The state of one run."""

    def __init__(self, plan: Merger) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.templates = library(plan.settings.templates)
        self.result = MergeResult()
        self.reasons: Counter[str] = Counter()
        self.fault = ""
        #: How many people are still to be taken one by one, for with one of them something is wrong.
        self.one_by_one = 0
        self.progress = Progress(log)
        self.started = time.monotonic()

    def run(self) -> MergeResult:
        with self._transaction() as connection:
            schema.require(connection)
        last: str | None = ""
        while last is not None:
            if self.plan.stop.is_set():
                self.result.stopped = "stopped; the next run goes on"
                break
            last = self._batch(last)
            self.progress.tell("%s people so far, %s digests", self.result.people, self.result.digests)
        self._finish()
        if self.fault:
            log.error("%s", self.result.summary)  # who raises returns nothing, and the others were served
            raise MergeFailed(
                f"What {self.result.failed} people have due could not be moved, and waits; everybody else has theirs. "
                f"The first: {self.fault}"
            )
        return self.result

    @cached_property
    def sms_sender(self) -> str | None:
        """The sender of SMS; asked for where somebody is to get one."""
        return self.settings.sms_sender

    def _transaction(self) -> AbstractContextManager[Connection]:
        origin = self.plan.origin
        return transaction(self.plan.engine, actor=f"{origin.dag_id}/{origin.run_id}" if origin else "merge")

    def _batch(self, after: str) -> str | None:
        """Move what the next people have due, in one transaction.

        :returns: the last login that was looked at, None if there was nobody left
        """
        people = 1 if self.one_by_one else self.plan.people
        taken = None
        try:
            with self._transaction() as connection:
                taken = deferred.take(connection, after=after, people=people, most=self.plan.notifications)
                if taken is None:
                    return None
                moves = _Moves(self, connection, deferred.read(connection, taken.logins))
                moves.decide()
                moves.store()
        except (ConfigurationError, sa.exc.OperationalError, sa.exc.InterfaceError):
            raise  # nothing is wrong with these people, and nothing right with any others
        except Exception as error:
            if taken is None:
                raise
            return self._again(after, taken, error)
        self.one_by_one = max(0, self.one_by_one - 1)
        moves.count(self.result, self.reasons)
        self.result.elsewhere += taken.elsewhere
        return taken.last

    def _again(self, after: str, taken: Batch, error: Exception) -> str:
        """Go back to the beginning of a batch that could not be moved, and take its people one by one.

        :returns: where to go on; behind the person with whom something is wrong, once it is known who that is
        """
        if taken.size > 1:
            self.one_by_one = taken.size
            return after
        self.one_by_one = max(0, self.one_by_one - 1)
        self.result.people += 1
        self.failed(taken.last, error)
        return taken.last

    def failed(self, login: str, error: Exception) -> None:
        """Note that nothing could be moved for somebody."""
        cause = f"{login}: {_cause(error)}"
        log.error("What is due could not be moved, and waits, of %s", cause)
        self.fault = self.fault or cause
        self.result.failed += 1

    def _finish(self) -> None:
        with self._transaction() as connection:
            left = deferred.left(connection)
        self.result.waiting = left.size
        self.result.next_at = left.next.isoformat(timespec="seconds") if left.next else None
        self.result.reasons = dict(self.reasons)
        self.result.closed = self.reasons.total()
        self.result.seconds = round(time.monotonic() - self.started, 3)


def _cause(error: Exception) -> str:
    """What is wrong, for the log."""
    return str(error) if isinstance(error, NotifyError) else f"{type(error).__name__}: {error}"


#: Of an address about which nothing is known.
_ANYWHERE = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a notification would go by now.

    :param key: of the address or number, None where it can go nowhere
    :param by_sms: whether it is an SMS
    :param why: why it is none, where it was to be one
    """

    key: str | None
    by_sms: bool = False
    why: NotBySms | None = None


@dataclass(slots=True)
class _Move:
    """What one person gets through a channel: one mail, or one SMS.

    :param not_before: when it leaves: now, or when the person's quiet hours are over
    :param digest: its text, where several notifications become one mail; a single one has its own already
    :param short: what it says, where it is an SMS
    """

    person: Person
    key: str
    items: list[PutAside]
    not_before: datetime
    digest: mime.Body | None = None
    subject: str = ""
    language: str = ""
    short: ShortText | None = None

    @property
    def site(self) -> str | None:
        """The branch that all of it is of; None where it is of several, or of none."""
        sites = {item.site for item in self.items}
        return sites.pop() if len(sites) == 1 else None

    @property
    def together(self) -> bool:
        """Whether it is a digest."""
        return len(self.items) > 1

    @property
    def address(self) -> str:
        """Where it goes."""
        return self.key if self.short else self.person.email or ""


class _Moves:
    """What becomes of a batch of people's notifications.

    :param as_of: only look what would become of them at that moment; None: it is now, and they are ours
    """

    def __init__(
        self, run: _Run, connection: Connection, items: Sequence[PutAside], as_of: datetime | None = None
    ) -> None:
        self.run = run
        self.connection = connection
        self.items = items
        self.now = as_of or outbox.now(connection)
        self.ours = as_of is None
        self.moves: list[_Move] = []
        self.told: set[tuple[int, str]] = set()
        self.duplicates_by_sms: set[int] = set()
        self.whys: dict[int, NotBySms] = {}
        self.arrivals: list[Arrival] = []
        self.kept: list[tuple[int, datetime]] = []

    # --- Deciding ----------------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Find out what moves, what is closed and what waits on; make the digests."""
        logins = {item.login for item in self.items}
        self.people = people.find(self.connection, logins)
        self.wanted = preferences.find(self.connection, logins)
        self.numbers = self._numbers()
        addresses = [person.email.lower() for person in self.people.values() if person.email]
        self.unwanted = suppressions.among(self.connection, [*addresses, *self.numbers.values()])
        self.duplicates = events.told(self.connection, self._mailed(), lock=self.ours)
        if self.numbers:  # after the addresses, in all runs
            self.duplicates_by_sms = events.told(self.connection, self._texted(), lock=self.ours)
        for login, items in groupby(self.items, key=lambda item: item.login):
            self._decide(self.people[login], list(items))

    def _numbers(self) -> dict[str, str]:
        """The telephone numbers, by login, of whoever is to get an SMS."""
        logins = {item.login for item in self.items if item.by_sms}
        found = {login: people.number_of(self.people[login], lambda: self.run.settings.region) for login in logins}
        return {login: number for login, number in found.items() if number}

    def _mailed(self) -> Iterator[tuple[int, int, str]]:
        """Each notification that may go by mail, with its event and the address that it would go to by now."""
        for item in self.items:
            if not item.beside and (email := self.people[item.login].email):
                yield item.notification_id, item.event_id, email

    def _texted(self) -> Iterator[tuple[int, int, str]]:
        """Likewise by SMS."""
        for item in self.items:
            if item.by_sms and (number := self.numbers.get(item.login)):
                yield item.notification_id, item.event_id, number

    def _decide(self, person: Person, items: Sequence[PutAside]) -> None:
        targets = [self._target(person, item) for item in items]
        texts = [item for item, target in zip(items, targets, strict=True) if target.by_sms]
        mails = {item: target for item, target in zip(items, targets, strict=True) if not target.by_sms}
        if texts:
            mails |= self._settle_texts(person, texts)
        if mails:
            self._settle_mails(person, mails)

    def _target(self, person: Person, item: PutAside) -> _Target:
        """Where a notification would go by now; what cannot go by SMS goes by mail, if none tells of it already."""
        email = person.email and person.email.lower()
        number = self.numbers.get(person.login)
        if not item.by_sms:
            return _Target(email)
        if number is None:
            return _Target(email, why=NotBySms.NO_NUMBER)
        if number in self.unwanted:
            return _Target(email, why=NotBySms.SUPPRESSED)
        return _Target(number, by_sms=True) if self.run.sms_sender else _Target(email, why=NotBySms.NO_SENDER)

    def _settle_texts(self, person: Person, items: Sequence[PutAside]) -> dict[PutAside, _Target]:
        """Find out what becomes of SMS.

        :returns: those that must go by mail, for there can be no SMS of all of them
        """
        number = self.numbers[person.login]
        routes = [self._route(person, item, _Target(number, by_sms=True)) for item in items]
        due = [item for item, way in zip(items, routes, strict=True) if way.home is Home.MAIL]
        if due:
            move = _Move(person, number, due, max(way.not_before or self.now for way in routes))
            try:
                short = self._short(move)
            except TemplateError as error:
                if not self.ours:
                    raise
                self.run.failed(person.login, error)
                return {}
            if isinstance(short, NotBySms):
                email = person.email and person.email.lower()
                self._rest(items, [way if way.home is not Home.MAIL else None for way in routes])
                return {item: _Target(email, why=short) for item in due}
            move.short = short
            self._moved(move)
        self._rest(items, routes)
        return {}

    def _settle_mails(self, person: Person, targets: Mapping[PutAside, _Target]) -> None:
        """Find out what becomes of mails."""
        for item, target in targets.items():
            if item.beside:
                self._close_beside(person, item, target)
        own = {item: target for item, target in targets.items() if not item.beside}
        routes = [self._route(person, item, target) for item, target in own.items()]
        due = [item for item, way in zip(own, routes, strict=True) if way.home is Home.MAIL]
        if due and not self._move(person, due, max(way.not_before or self.now for way in routes)):
            return
        self.whys |= {item.notification_id: target.why for item, target in own.items() if target.why}
        self._rest(own, routes)

    def _close_beside(self, person: Person, item: PutAside, target: _Target) -> None:
        """Of what goes by mail anyway, close the SMS that there cannot be; when it is due, for until then there may."""
        way = self._route(person, item, _Target(_ANYWHERE))
        if way.home is Home.MAIL:
            closed = Arrival(item.notification_id, Home.REFUSED, reason=Reason.NO_SMS, not_by_sms=target.why)
            self.arrivals.append(closed)
        else:
            self._rest([item], [way])

    def _rest(self, items: Iterable[PutAside], routes: Iterable[Route | None]) -> None:
        """What is closed, and what waits on."""
        for item, way in zip(items, routes, strict=True):
            if way is not None and way.reason is not None:
                why = self.whys.get(item.notification_id)
                # The reason is then the mailbox's, and the number is not what to look at.
                address = self.people[item.login].email if why else None
                self.arrivals.append(
                    Arrival(item.notification_id, Home.REFUSED, reason=way.reason, address=address, not_by_sms=why)
                )
            elif way is not None and way.due_at is not None:
                self.kept.append((item.notification_id, way.due_at))

    def _route(self, person: Person, item: PutAside, target: _Target) -> Route:
        said = self.wanted.get(person.login, {})
        recipient = Addressed(
            active=person.active,
            reachable=target.key is not None,
            suppressed=target.key in self.unwanted,
            duplicate=self._is_told(item, target),
        )
        wish = self._kind(item.kind).wish(said.get(item.kind), said.get(ANY_KIND))
        zone = ZoneInfo(person.timezone or self.run.settings.timezone)
        return reroute(recipient, wish, zone, item.due_at, self.now)

    def _is_told(self, item: PutAside, target: _Target) -> bool:
        """Whether the address that it would go to was told of its event, before or in this batch."""
        before = self.duplicates_by_sms if target.by_sms else self.duplicates
        return item.notification_id in before or (item.event_id, target.key or "") in self.told

    def _kind(self, name: str) -> Kind:
        """A kind, also one that is no longer registered: then what waits just goes its way."""
        return self.run.settings.kinds.get(name) or Kind(name, tuple(Frequency), Frequency.DAILY, name)

    def _move(self, person: Person, items: list[PutAside], not_before: datetime) -> bool:
        """Prepare a person's mail.

        :returns: whether there is one; if not, all that is to go by mail waits for the next run
        """
        move = _Move(person, (person.email or "").lower(), items, not_before)
        try:
            if move.together:
                self._digest(move)
        except TemplateError as error:
            if not self.ours:
                raise
            self.run.failed(person.login, error)
            return False
        self._moved(move)
        return True

    def _moved(self, move: _Move) -> None:
        self.moves.append(move)
        self.told.update((item.event_id, move.key) for item in move.items)

    def _short(self, move: _Move) -> ShortText | NotBySms:
        """What an SMS says: what was put aside with its only notification, or how many there are."""
        first = move.items[0]
        if not move.together:
            return ShortText(first.kind, first.sms_text or "", first.language, first.case_id, first.site)
        try:
            found = self.run.templates.sms(
                DIGEST,
                language=move.person.language,
                timezone=move.person.timezone or self.run.settings.timezone,
                data=self._data(move),
            )
        except TemplateNotFound:
            return NotBySms.NO_TEMPLATE
        return short_text(DIGEST, found, _case_of(move), move.site)

    def _data(self, move: _Move) -> dict[str, object]:
        """What the template of a digest sees."""
        return {
            "digest": arrange(_entry(item) for item in move.items),
            "site_name": self.run.settings.identity(self.run.settings.mail_sender_of(move.site)).name,
            "recipient": {"login": move.person.login, "name": move.person.name, "address": move.address},
        }

    def _digest(self, move: _Move) -> None:
        rendered = self.run.templates.render(
            DIGEST,
            language=move.person.language,
            timezone=move.person.timezone or self.run.settings.timezone,
            data=self._data(move),
            settings_link=self.run.settings.settings_link,
        )
        move.subject, move.language = rendered.subject, rendered.language
        move.digest = mime.compose_body(rendered.text, rendered.html)

    # --- Storing -----------------------------------------------------------------------------------------------------

    def store(self) -> None:
        """Put the mails into the outbox and mark what is in them."""
        contents = outbox.add_contents(self.connection, (move.digest.content for move in self.moves if move.digest))
        stored = outbox.add(
            self.connection, [self._message(move, contents) for move in self.moves], origin=self.run.plan.origin
        )
        for move, message in zip(self.moves, stored, strict=True):
            home = Home.DIGEST if move.together else Home.MAIL
            self.arrivals += [
                Arrival(
                    item.notification_id,
                    home,
                    message.id,
                    address=move.address,
                    not_by_sms=self.whys.get(item.notification_id),
                )
                for item in move.items
            ]
        events.arrive(self.connection, self.arrivals)
        deferred.keep(self.connection, self.kept)

    def _message(self, move: _Move, contents: Mapping[bytes, int]) -> NewMessage:
        texting = self.run.settings.sms_sender_of(move.site) if move.short else None
        if move.short is not None and texting is not None:
            return compose_sms(
                move.short,
                move.key,
                move.person.login,
                move.person.name,
                sender=texting,
                domain=self.run.settings.identity(texting).domain,
                now=move.not_before,
            )
        sender = self.run.settings.mail_sender_of(move.site)
        return compose(
            _letter(move, contents),
            Address(move.address, move.person.name),
            move.person.login,
            sender=sender,
            domain=self.run.settings.identity(sender).domain,
            now=move.not_before,
            unsubscribe=self._unsubscribe(move),
        )

    def _unsubscribe(self, move: _Move) -> str | None:
        """The link by which the person gets no more of it; None where they may choose that of nothing in it."""
        kinds = {item.kind for item in move.items} & self.run.settings.kinds.keys()
        refusable = any(self.run.settings.kinds[name].refusable for name in kinds)
        return self.run.settings.unsubscribe_link if refusable else None

    def text(self, move: _Move) -> StoredText:
        """What a mail or an SMS would say that is not stored."""
        if move.short is not None:
            message = self._message(move, {})
            return StoredText(message.headers, message.body, mixed=False)
        body = move.digest.content if move.digest else outbox.content(self.connection, move.items[0].content_id)
        return StoredText(self._message(move, {body: 0}).headers, body, mixed=False)

    def count(self, result: MergeResult, reasons: Counter[str]) -> None:
        """Add up what was committed."""
        digests = [move for move in self.moves if move.together]
        result.people += len({item.login for item in self.items})
        result.moved += len(self.moves) - len(digests)
        result.digests += len(digests)
        result.in_digests += sum(len(move.items) for move in digests)
        result.kept += len(self.kept)
        reasons.update(one.reason.value for one in self.arrivals if one.reason)


def _entry(item: PutAside) -> Entry:
    return Entry(
        kind=item.kind,
        occurred_at=item.occurred_at,
        summary=item.summary,
        subject=item.subject,
        case_id=item.case_id,
        case_title=item.case_title,
        case_url=item.case_url,
        process=item.process,
    )


def _letter(move: _Move, contents: Mapping[bytes, int]) -> Letter:
    """The mail's text: that of the digest, or the one that was put aside with the notification, as it is."""
    first, case_id = move.items[0], _case_of(move)
    if move.digest is None:
        return Letter(
            kind=first.kind,
            subject=first.subject,
            language=first.language,
            fields=first.content_fields,
            content_id=first.content_id,
            content_size=first.content_size,
            case_id=case_id,
            site=move.site,
        )
    return Letter(
        kind=DIGEST,
        subject=move.subject,
        language=move.language,
        fields=move.digest.fields,
        content_id=contents[move.digest.content],
        content_size=len(move.digest.content),
        case_id=case_id,
        site=move.site,
    )


def _case_of(move: _Move) -> str | None:
    """The case that all of it is about; None where there are several."""
    cases = {item.case_id for item in move.items}
    return next(iter(cases)) if len(cases) == 1 else None
