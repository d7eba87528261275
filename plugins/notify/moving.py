"""Moving: what people have put aside, and is due, leaves as it is, or several of it as one digest; or it waits on.

What becomes of each notification is decided first, for a batch of people at a time; then it is stored, in the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from notify.composing import Letter, ShortText, compose, compose_sms, short_text
from notify.domain.address import Address
from notify.domain.digest import Entry, arrange
from notify.domain.home import Home, NotBySms, Reason
from notify.domain.kind import DIGEST, Kind
from notify.domain.person import Person
from notify.domain.preference import ANY_KIND, Frequency
from notify.domain.routing import Addressed, Route, reroute
from notify.exceptions import TemplateError, TemplateNotFound
from notify.rendering import mime
from notify.rendering.library import library
from notify.settings import HandOverSettings
from notify.storage import deferred, events, outbox, people, preferences, suppressions
from notify.storage.deferred import PutAside
from notify.storage.events import Arrival
from notify.storage.outbox import NewMessage, Origin
from notify.storage.register import StoredText

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
class Move:
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


class Moving:
    """What becomes of a batch of people's notifications.

    :param items: what is due, by person
    :param failed: is told of whom nothing could be moved, and why; None: that is raised
    :param origin: the task that this happens in, for the register
    :param as_of: only look what would become of them at that moment; None: it is now, and they are ours
    """

    def __init__(
        self,
        connection: Connection,
        settings: HandOverSettings,
        items: Sequence[PutAside],
        *,
        failed: Callable[[str, Exception], None] | None = None,
        origin: Origin | None = None,
        as_of: datetime | None = None,
    ) -> None:
        self.connection = connection
        self.settings = settings
        self.failed = failed
        self.origin = origin
        self.templates = library(settings.templates)
        self.items = items
        self.now = as_of or outbox.now(connection)
        self.ours = as_of is None
        self.moves: list[Move] = []
        self.told: set[tuple[int, str]] = set()
        self.duplicates_by_sms: set[int] = set()
        self.whys: dict[int, NotBySms] = {}
        self.arrivals: list[Arrival] = []
        self.kept: list[tuple[int, datetime]] = []

    @cached_property
    def _sms_sender(self) -> str | None:
        """The sender of SMS; asked for where somebody is to get one."""
        return self.settings.sms_sender

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
        found = {login: people.number_of(self.people[login], lambda: self.settings.region) for login in logins}
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
        return _Target(number, by_sms=True) if self._sms_sender else _Target(email, why=NotBySms.NO_SENDER)

    def _settle_texts(self, person: Person, items: Sequence[PutAside]) -> dict[PutAside, _Target]:
        """Find out what becomes of SMS.

        :returns: those that must go by mail, for there can be no SMS of all of them
        """
        number = self.numbers[person.login]
        routes = [self._route(person, item, _Target(number, by_sms=True)) for item in items]
        due = [item for item, way in zip(items, routes, strict=True) if way.home is Home.MAIL]
        if due:
            move = Move(person, number, due, max(way.not_before or self.now for way in routes))
            try:
                short = self._short(move)
            except TemplateError as error:
                if self.failed is None:
                    raise
                self.failed(person.login, error)
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
        zone = ZoneInfo(person.timezone or self.settings.timezone)
        return reroute(recipient, wish, zone, item.due_at, self.now)

    def _is_told(self, item: PutAside, target: _Target) -> bool:
        """Whether the address that it would go to was told of its event, before or in this batch."""
        before = self.duplicates_by_sms if target.by_sms else self.duplicates
        return item.notification_id in before or (item.event_id, target.key or "") in self.told

    def _kind(self, name: str) -> Kind:
        """A kind, also one that is no longer registered: then what waits just goes its way."""
        return self.settings.kinds.get(name) or Kind(name, tuple(Frequency), Frequency.DAILY, name)

    def _move(self, person: Person, items: list[PutAside], not_before: datetime) -> bool:
        """Prepare a person's mail.

        :returns: whether there is one; if not, all that is to go by mail waits for the next run
        """
        move = Move(person, (person.email or "").lower(), items, not_before)
        try:
            if move.together:
                self._digest(move)
        except TemplateError as error:
            if self.failed is None:
                raise
            self.failed(person.login, error)
            return False
        self._moved(move)
        return True

    def _moved(self, move: Move) -> None:
        self.moves.append(move)
        self.told.update((item.event_id, move.key) for item in move.items)

    def _short(self, move: Move) -> ShortText | NotBySms:
        """What an SMS says: what was put aside with its only notification, or how many there are."""
        first = move.items[0]
        if not move.together:
            return ShortText(first.kind, first.sms_text or "", first.language, first.case_id, first.site)
        try:
            found = self.templates.sms(
                DIGEST,
                language=move.person.language,
                timezone=move.person.timezone or self.settings.timezone,
                data=self._data(move),
            )
        except TemplateNotFound:
            return NotBySms.NO_TEMPLATE
        return short_text(DIGEST, found, _case_of(move), move.site)

    def _data(self, move: Move) -> dict[str, object]:
        """What the template of a digest sees."""
        return {
            "digest": arrange(_entry(item) for item in move.items),
            "site_name": self.settings.identity(self.settings.mail_sender_of(move.site)).name,
            "recipient": {"login": move.person.login, "name": move.person.name, "address": move.address},
        }

    def _digest(self, move: Move) -> None:
        rendered = self.templates.render(
            DIGEST,
            language=move.person.language,
            timezone=move.person.timezone or self.settings.timezone,
            data=self._data(move),
            settings_link=self.settings.settings_link,
        )
        move.subject, move.language = rendered.subject, rendered.language
        move.digest = mime.compose_body(rendered.text, rendered.html)

    # --- Storing -----------------------------------------------------------------------------------------------------

    def store(self) -> None:
        """Put the mails into the outbox and mark what is in them."""
        contents = outbox.add_contents(self.connection, (move.digest.content for move in self.moves if move.digest))
        stored = outbox.add(self.connection, [self._message(move, contents) for move in self.moves], origin=self.origin)
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

    def _message(self, move: Move, contents: Mapping[bytes, int]) -> NewMessage:
        texting = self.settings.sms_sender_of(move.site) if move.short else None
        if move.short is not None and texting is not None:
            return compose_sms(
                move.short,
                move.key,
                move.person.login,
                move.person.name,
                sender=texting,
                domain=self.settings.identity(texting).domain,
                now=move.not_before,
            )
        sender = self.settings.mail_sender_of(move.site)
        return compose(
            _letter(move, contents),
            Address(move.address, move.person.name),
            move.person.login,
            sender=sender,
            domain=self.settings.identity(sender).domain,
            now=move.not_before,
            unsubscribe=self._unsubscribe(move),
        )

    def _unsubscribe(self, move: Move) -> str | None:
        """The link by which the person gets no more of it; None where they may choose that of nothing in it."""
        kinds = {item.kind for item in move.items} & self.settings.kinds.keys()
        refusable = any(self.settings.kinds[name].refusable for name in kinds)
        return self.settings.unsubscribe_link if refusable else None

    def text(self, move: Move) -> StoredText:
        """What a mail or an SMS would say that is not stored."""
        if move.short is not None:
            message = self._message(move, {})
            return StoredText(message.headers, message.body, mixed=False)
        body = move.digest.content if move.digest else outbox.content(self.connection, move.items[0].content_id)
        return StoredText(self._message(move, {body: 0}).headers, body, mixed=False)


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


def _letter(move: Move, contents: Mapping[bytes, int]) -> Letter:
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


def _case_of(move: Move) -> str | None:
    """The case that all of it is about; None where there are several."""
    cases = {item.case_id for item in move.items}
    return next(iter(cases)) if len(cases) == 1 else None
