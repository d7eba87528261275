"""Publishing: from an event's fields to a home for each of its notifications, in one transaction.

As at hand-over, everything that can be wrong is found before anything is stored, and told in one error. Each recipient
then has the mail in the outbox, has it put aside until their time, or has a recorded reason why not.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from pydantic_core import PydanticSerializationError, to_jsonable_python
from sqlalchemy.engine import Connection

from notify.composing import Letter, ShortText, compose, compose_sms, short_text, subject_of
from notify.domain.address import CONTROL, parse_address
from notify.domain.channel import ChannelName
from notify.domain.deadline import DEADLINE_KEY
from notify.domain.event import Case, EventDraft, read_event
from notify.domain.home import Home, NotBySms, Reason
from notify.domain.kind import CASE_RECEIVED, Kind
from notify.domain.message import faults_of_own_key
from notify.domain.person import Person
from notify.domain.preference import ANY_KIND, AT_ONCE, Preference, Wish
from notify.domain.routing import Addressed, Route, route
from notify.exceptions import Fault, InvalidEvent, TemplateBroken, TemplateError, TemplateNotFound
from notify.joining import Connectable, joined
from notify.rendering import mime
from notify.rendering.library import Rendered, RenderedText, library
from notify.settings import HandOverSettings, SenderIdentity, hand_over_settings
from notify.storage import cases, deadlines, events, outbox, people, preferences, schema, suppressions, unsubscriptions
from notify.storage.events import Counted, NewEvent, NewNotification
from notify.storage.outbox import NewMessage, Origin
from notify.storage.recipients import Concerned, concerned

#: As JSON writes it; PostgreSQL takes it in no text (https://www.postgresql.org/docs/current/datatype-json.html).
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Published:
    """The answer to an event: where its notifications are.

    :param event_id: the event's number
    :param duplicate: whether it was published before, under the same idempotency key
    :param mails: in the outbox, as mails or SMS of their own or in a digest
    :param waiting: put aside until the person's time
    :param refused: without a mail, by reason, see :class:`notify.domain.home.Reason`
    """

    event_id: int
    duplicate: bool
    mails: int
    waiting: int
    refused: dict[str, int]


def publish(
    kind: str,
    *,
    recipients: str | Iterable[str],
    case: str | Mapping[str, Any] | None = None,
    actor: str | None = None,
    data: Mapping[str, Any] | None = None,
    occurred_at: datetime | None = None,
    idempotency_key: str | None = None,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    origin: Origin | None = None,
) -> Published:
    """Tell the people concerned that something happened, each at the time they chose.

    >>> notify.publish(  # doctest: +SKIP
    ...     "case_changed",
    ...     case={"id": "INV-7", "title": "Invoice 7", "stage": "Approval", "owner": "anna"},
    ...     actor="brian",
    ...     recipients="anna; finance",
    ...     data={"changes": [{"what": "comment_added", "text": "Please check page 2"}]},
    ... )

    :param kind: a registered kind, e.g. ``case_received``
    :param recipients: logins, groups or addresses; a list, or one string separated by semicolons or commas
    :param case: what it is about: its id, or ``id``, ``title``, ``url``, ``process``, ``stage``, ``owner``,
        ``site`` (the branch whose sender sends the mails)
    :param actor: login or address of who did it, who is not told of it
    :param data: the fields of the kind's template
    :param occurred_at: when it happened, with its zone; what is put aside is due seen from then. By default now
    :param idempotency_key: publishing under the same key again adds nothing
    :param connection: of the outbox database, to publish inside its open transaction; see :func:`notify.enqueue`
    :param settings: for programs without Airflow, which have no Variables; by default these are read
    :param origin: the task that publishes it, for the register
    :raises notify.exceptions.InvalidEvent: something is wrong with it; the error names every fault, nothing is stored
    :raises notify.exceptions.ConfigurationError: the database or a setting is not in order
    """
    fields = {
        "kind": kind,
        "case": case,
        "actor": actor,
        "recipients": recipients,
        "data": data,
        "occurred_at": occurred_at,
        "idempotency_key": idempotency_key,
    }
    return publish_fields(fields, connection=connection, settings=settings, origin=origin)


def publish_fields(
    fields: Mapping[str, Any],
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    origin: Origin | None = None,
) -> Published:
    """Publish an event whose fields come from outside.

    :param fields: by name; the other parameters and errors are those of :func:`publish`
    """
    with joined(connection) as outbox_connection:
        return publish_event(outbox_connection, fields, settings or hand_over_settings(), origin=origin)


def publish_event(
    connection: Connection,
    fields: Mapping[str, Any],
    settings: HandOverSettings,
    *,
    origin: Origin | None = None,
    by_reminders: bool = False,
) -> Published:
    """Check, route, render and store an event, in the caller's transaction.

    :param connection: of the outbox database; nothing is committed here
    :param fields: see :class:`notify.domain.event.EventDraft`
    :param by_reminders: whether its key may be one of those by which no deadline is told twice
    :raises InvalidEvent: something is wrong with it; the error names every fault
    :raises SchemaError: the database is not ready
    """
    schema.require(connection)
    draft, faults = read_event(fields)
    if origin is None:
        faults += faults_of_own_key(draft.idempotency_key)
    if not by_reminders and (draft.idempotency_key or "").startswith(DEADLINE_KEY):
        problem = f"begins with {DEADLINE_KEY!r}, which marks the events that Reminders publishes; choose another"
        faults.append(Fault("idempotency_key", problem))
    if draft.idempotency_key and not faults:
        found = events.find_by_key(connection, draft.idempotency_key)
        if found:
            return _answer(found, duplicate=True)
    return _Publication(connection, draft, settings, faults, origin).store()


def _answer(counted: Counted, *, duplicate: bool = False) -> Published:
    return Published(counted.event_id, duplicate, counted.mails, counted.waiting, counted.refused)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A rendering that readers share: same language, same zone, nothing personal in it."""

    rendered: Rendered
    body: mime.Body
    summary: str | None


@dataclass(frozen=True, slots=True)
class _Told:
    """A recipient through one channel, and where it goes from here.

    :param number: of an SMS, where it goes
    :param short: of an SMS, what it says
    :param not_by_sms: why it is a mail where the recipient chose SMS
    """

    one: Concerned
    way: Route
    number: str | None = None
    short: ShortText | None = None
    not_by_sms: NotBySms | None = None

    @property
    def by_sms(self) -> bool:
        """Whether it is an SMS."""
        return self.number is not None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What decides how one recipient is told of an event.

    :param unwanted: addresses and numbers that get nothing
    :param gone: addresses whose readers want nothing of the kind
    :param seen: addresses and numbers that are told of it already
    """

    kind: Kind
    wish: Wish
    blocked: bool
    unwanted: Collection[str]
    gone: Collection[str]
    seen: set[str]


#: Of an address about which nothing is known.
_ANYWHERE = ""


class _Publication:
    """One event on its way in; faults gather here until there is nothing more to check."""

    def __init__(
        self,
        connection: Connection,
        draft: EventDraft,
        settings: HandOverSettings,
        faults: list[Fault],
        origin: Origin | None,
    ) -> None:
        self.connection = connection
        self.draft = draft
        self.settings = settings
        self.faults = faults
        self.origin = origin
        self.now = outbox.now(connection)
        self.moment = draft.occurred_at or self.now
        self.case: Case | None = None
        self.named: dict[str, Person | None] = {}
        self._copies: dict[tuple[object, ...], _Copy] = {}
        self._texts: dict[tuple[object, ...], RenderedText] = {}

    def store(self) -> Published:
        """Store the event with its notifications.

        :raises InvalidEvent: there is anything wrong with it
        """
        whole = not any(fault.field.startswith("data") for fault in self.faults)
        kind = self._kind()
        self.case = self._case()
        recipients = concerned(self.connection, self.draft.recipients, self.faults)
        data = self._data()
        if kind is None or not recipients:
            raise self._refusal()
        self._read_people()
        # Fields that were dropped as faulty are not missing as well.
        told = self._tell(kind, recipients) if whole else []
        copies = [self._copy(kind, one) for one in told]
        if self.faults:
            raise self._refusal()
        homes = self._homes(kind, told, copies)
        return self._stored(kind, homes, data)

    def _refusal(self) -> InvalidEvent:
        return InvalidEvent(dict.fromkeys(self.faults))

    def _fault(self, field: str, problem: str) -> None:
        self.faults.append(Fault(field, problem))

    # --- Checking ----------------------------------------------------------------------------------------------------

    def _kind(self) -> Kind | None:
        found = self.settings.kinds.get(self.draft.kind)
        if found is None and self.draft.kind:
            known = ", ".join(sorted(self.settings.kinds))
            self._fault("kind", f"{self.draft.kind!r} is not registered ({known}); see Variable notify_kinds")
        return found

    def _case(self) -> Case | None:
        """The case as told, completed by what earlier events told of it."""
        told = self.draft.case
        if told is None:
            return None
        # What is told now must be one; of what is known, the senders may be gone since.
        if (wrong := self.settings.fault_of_site(told.site)) is not None:
            self._fault("case.site", wrong)
        known = cases.find(self.connection, [told.id]).get(told.id)
        return Case(
            id=told.id,
            title=told.title or (known.title if known else ""),
            url=told.url or (known.url if known else None) or self.settings.url_of_case(told.id),
            process=told.process or (known.process if known else None),
            stage=told.stage or (known.stage if known else None),
            owner=told.owner or (known.owner if known else None),
            site=told.site or (known.site if known else None),
        )

    @property
    def site(self) -> str | None:
        """The branch that the case belongs to."""
        return self.case.site if self.case else None

    @cached_property
    def sender(self) -> str:
        """Whoever sends its mails: the site's sender, else the first of mails."""
        return self.settings.mail_sender_of(self.site)

    @property
    def identity(self) -> SenderIdentity:
        """What readers see of that sender."""
        return self.settings.identity(self.sender)

    def _data(self) -> Any:
        """The event's own fields as JSON has them, for the register."""
        try:
            data = to_jsonable_python(self.draft.data)
            text = json.dumps(data, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (PydanticSerializationError, ValueError, RecursionError):
            self._fault("data", "has a value that JSON cannot have; hand over texts, numbers, moments, lists, mappings")
            return {}
        if len(text) > self.settings.largest:
            self._fault("data", f"has {len(text):,} characters, more than a mail may have; hand over a link instead")
        if _NUL.search(text):
            self._fault("data", "has a NUL character, which is not allowed")
        return data

    # --- Routing -----------------------------------------------------------------------------------------------------

    def _read_people(self) -> None:
        """Who acted, and who owns the case: as people, where they are."""
        named = {name for name in (self.draft.actor, self.case.owner if self.case else None) if name}
        known = people.find(self.connection, {name for name in named if not CONTROL.search(name)})
        keys = {name: _key_of(name) for name in named - known.keys() if "@" in name}
        by_key = people.find_by_email(self.connection, keys.values())
        self.named = {name: known.get(name) or by_key.get(keys.get(name, "")) for name in named}

    def _tell(self, kind: Kind, recipients: Sequence[Concerned]) -> list[_Told]:
        """Each recipient, through each of the channels that they chose."""
        logins = [one.person.login for one in recipients if one.person]
        wanted = preferences.find(self.connection, logins)
        wishes = [self._wish(kind, one, wanted) for one in recipients]
        numbers = [
            self._number(one) if wish.channel.by_sms else None for one, wish in zip(recipients, wishes, strict=True)
        ]
        keys = [one.address.key for one in recipients if one.address]
        unwanted = suppressions.among(self.connection, [*keys, *filter(None, numbers)])
        strangers = [one.address.key for one in recipients if one.address and one.person is None]
        gone = unsubscriptions.among(self.connection, strangers, kind.name) if strangers else set()
        blocked = kind.name in self.settings.blocked.get(self.case.process or "", ()) if self.case else False
        seen: set[str] = set()
        told: list[_Told] = []
        for one, wish, number in zip(recipients, wishes, numbers, strict=True):
            asked = _Asked(kind, wish, blocked=blocked, unwanted=unwanted, gone=gone, seen=seen)
            told += self._through(asked, one, number)
        return told

    def _wish(self, kind: Kind, one: Concerned, wanted: Mapping[str, Mapping[str, Preference]]) -> Wish:
        said = wanted.get(one.person.login, {}) if one.person else {}
        return kind.wish(said.get(kind.name), said.get(ANY_KIND)) if one.person else AT_ONCE

    def _number(self, one: Concerned) -> str | None:
        return people.number_of(one.person, lambda: self.settings.region) if one.person else None

    def _through(self, asked: _Asked, one: Concerned, number: str | None) -> Iterator[_Told]:
        """A recipient's notifications: a mail, an SMS, or both; who cannot have the SMS that they chose gets a mail."""
        if not asked.wish.channel.by_sms:
            yield self._by_mail(asked, one)
            return
        way = self._route(asked, one, _ANYWHERE)
        if way.reason is not None:
            yield _Told(one, way)
            return
        short = self._short(asked, one, number)
        if number is None or isinstance(short, NotBySms):
            yield self._by_mail(asked, one, short if isinstance(short, NotBySms) else None)
            return
        if asked.wish.channel.by_mail:
            yield self._by_mail(asked, one)
        if number in asked.seen:
            way = Route(Home.REFUSED, reason=Reason.DUPLICATE)
        asked.seen.add(number)
        yield _Told(one, way, number, short)

    def _by_mail(self, asked: _Asked, one: Concerned, not_by_sms: NotBySms | None = None) -> _Told:
        way = self._route(asked, one, one.address.key if one.address else None)
        if way.reason is None and one.address:
            asked.seen.add(one.address.key)
        return _Told(one, way, not_by_sms=not_by_sms)

    def _route(self, asked: _Asked, one: Concerned, key: str | None) -> Route:
        """Where a notification goes.

        :param key: of the address, None where there is none
        """
        recipient = Addressed(
            known=one.person is not None,
            active=one.person is None or one.person.active,
            reachable=key is not None,
            suppressed=key in asked.unwanted,
            unsubscribed=key in asked.gone,
            acted=self._acted(one),
            duplicate=key in asked.seen,
        )
        zone = ZoneInfo(self._zone(one.person))
        # A clock that is wrong puts nothing aside until its own time comes.
        moment = min(self.moment, self.now)
        return route(asked.kind, recipient, asked.wish, zone, moment=moment, now=self.now, blocked=asked.blocked)

    def _acted(self, one: Concerned) -> bool:
        """Whether they did it: the person of that login, or, where an address was told, whoever reads its mail."""
        actor = self.draft.actor
        if actor is None:
            return False
        if one.person is not None and "@" not in actor:
            return one.login == actor
        person = self.named.get(actor)
        address = actor if "@" in actor else person.email if person else None
        return address is not None and one.address is not None and one.address.key == _key_of(address)

    def _zone(self, person: Person | None) -> str:
        return (person.timezone if person else None) or self.settings.timezone

    # --- Rendering ---------------------------------------------------------------------------------------------------

    def _copy(self, kind: Kind, told: _Told) -> _Copy | None:
        """The mail for a recipient, None where there is none; an SMS that waits has one, should it come to that."""
        one, way = told.one, told.way
        if way.home is Home.REFUSED or (told.by_sms and way.home is Home.MAIL):
            return None
        language = one.person.language if one.person else None
        key = (language, self._zone(one.person), way.home is Home.WAITING)
        found = self._copies.get(key) or self._copies.get((*key, one.key))
        if found is not None:
            return found
        try:
            copy = self._render(kind, one, way)
        except TemplateError as error:
            # Where the template itself is in order, it could not use what it was given.
            self._fault("kind" if isinstance(error, TemplateBroken | TemplateNotFound) else "data", str(error))
            return None
        self._copies[(*key, one.key) if copy.rendered.personal else key] = copy
        return copy

    def _render(self, kind: Kind, one: Concerned, way: Route) -> _Copy:
        templates = library(self.settings.templates)
        language, timezone = one.person.language if one.person else None, self._zone(one.person)
        context = self._context(kind, one)
        rendered = templates.render(
            kind.template,
            language=language,
            timezone=timezone,
            data=context,
            settings_link=self.settings.settings_link,
        )
        if CONTROL.search(rendered.subject):
            self._fault("data", "puts a control character into the subject")
        summary = None
        if way.home is Home.WAITING:
            summary = templates.summary(kind.template, language=language, timezone=timezone, data=context)
        body = mime.compose_body(rendered.text, rendered.html)
        if len(body.content) > self.settings.largest:
            self._fault("data", f"makes a mail of {len(body.content):,} bytes, more than most servers take")
        return _Copy(rendered, body, summary)

    def _short(self, asked: _Asked, one: Concerned, number: str | None) -> ShortText | NotBySms | None:
        """What an SMS says, or why there is none; None where a template is at fault."""
        if number is None:
            return NotBySms.NO_NUMBER
        if number in asked.unwanted:
            return NotBySms.SUPPRESSED
        if self.sms_sender is None:
            return NotBySms.NO_SENDER
        try:
            found = self._text(asked.kind, one)
        except TemplateNotFound:
            return NotBySms.NO_TEMPLATE
        except TemplateError as error:
            self._fault("kind" if isinstance(error, TemplateBroken) else "data", str(error))
            return None
        return short_text(asked.kind.name, found, self.case.id if self.case else None, self.site)

    @cached_property
    def sms_sender(self) -> str | None:
        """The sender of SMS; asked for where somebody wants one."""
        return self.settings.sms_sender_of(self.site)

    def _text(self, kind: Kind, one: Concerned) -> RenderedText:
        language, timezone = one.person.language if one.person else None, self._zone(one.person)
        found = self._texts.get((language, timezone)) or self._texts.get((language, timezone, one.key))
        if found is None:
            found = library(self.settings.templates).sms(
                kind.template, language=language, timezone=timezone, data=self._context(kind, one)
            )
            self._texts[(language, timezone, one.key) if found.personal else (language, timezone)] = found
        return found

    def _context(self, kind: Kind, one: Concerned) -> dict[str, Any]:
        """What the template sees; what is ours wins over the event's own data."""
        case = self.case
        return {
            **self.draft.data,
            "kind": kind.name,
            "case": case and {**case.model_dump(), "owner": self._named(case.owner)},
            "actor": self._named(self.draft.actor),
            "occurred_at": self.moment,
            "recipient": {
                "login": one.person.login if one.person else None,
                "name": one.person.name if one.person else one.address.name if one.address else "",
                "address": one.address.mailbox if one.address else None,
            },
            "site_name": self.identity.name,
        }

    def _named(self, name: str | None) -> dict[str, str] | None:
        if name is None:
            return None
        person = self.named.get(name)
        return {"login": person.login if person else name, "name": (person.name if person else "") or name}

    # --- Storing -----------------------------------------------------------------------------------------------------

    def _homes(self, kind: Kind, told: Sequence[_Told], copies: Sequence[_Copy | None]) -> list[NewNotification]:
        contents = outbox.add_contents(self.connection, (copy.body.content for copy in copies if copy))
        letters = [self._letter(kind, copy, contents) if copy else None for copy in copies]
        messages = [
            self._message(kind, one, letter)
            for one, letter in zip(told, letters, strict=True)
            if one.way.home is Home.MAIL
        ]
        numbers = iter(outbox.add(self.connection, messages, origin=self.origin))
        return [
            _home(one, letter, copy, next(numbers).id if one.way.home is Home.MAIL else None)
            for one, letter, copy in zip(told, letters, copies, strict=True)
        ]

    def _message(self, kind: Kind, told: _Told, letter: Letter | None) -> NewMessage:
        one = told.one
        if told.number is not None and told.short is not None and self.sms_sender is not None:
            domain = self.settings.identity(self.sms_sender).domain
            return compose_sms(
                told.short, told.number, one.login, one.name, sender=self.sms_sender, domain=domain, now=self.now
            )
        assert letter is not None
        assert one.address is not None
        return compose(
            letter,
            one.address,
            one.login,
            sender=self.sender,
            domain=self.identity.domain,
            now=self.now,
            unsubscribe=self.settings.unsubscribe_link if kind.refusable else None,
        )

    def _letter(self, kind: Kind, copy: _Copy, contents: Mapping[bytes, int]) -> Letter:
        case_id = self.case.id if self.case else None
        return Letter(
            kind=kind.name,
            subject=subject_of(case_id, copy.rendered.subject),
            language=copy.rendered.language,
            fields=copy.body.fields,
            content_id=contents[copy.body.content],
            content_size=len(copy.body.content),
            case_id=case_id,
            site=self.site,
        )

    def _stored(self, kind: Kind, homes: Sequence[NewNotification], data: Any) -> Published:
        if self.draft.case is not None:
            self._remember(self.draft.case, reopened=kind.name == CASE_RECEIVED)
        event = NewEvent(
            kind=kind.name,
            occurred_at=self.moment,
            recipients=len(homes),
            case=self.case,
            actor=self.draft.actor,
            data=data,
            idempotency_key=self.draft.idempotency_key,
        )
        number = events.add(self.connection, event, homes, origin=self.origin)
        tally = Counter(one.home for one in homes)
        refused = Counter(one.reason.value for one in homes if one.reason)
        return Published(number, False, tally[Home.MAIL], tally[Home.WAITING], dict(refused))

    def _remember(self, case: Case, *, reopened: bool) -> None:
        """Let deadlines know of the case; of one that has ended they end at once, lest they come back with it."""
        # What happens later than now is a clock that is wrong: it must not outdo all that is told until then.
        at = min(self.moment, self.now)
        closed = self.draft.closes_case
        if cases.see(self.connection, case, at=at, closed=closed, reopened=reopened) and closed:
            deadlines.end_with_case(self.connection, case.id)


def _key_of(name: str) -> str:
    """An address as it is compared; what is none stays what it is."""
    try:
        return parse_address(name).key
    except ValueError:
        return name.lower()


def _home(told: _Told, letter: Letter | None, copy: _Copy | None, message_id: int | None) -> NewNotification:
    one, way = told.one, told.way
    known = {
        "home": way.home,
        "login": one.login,
        "name": one.name,
        "address": told.number or (one.address.mailbox if one.address else None),
        "reason": way.reason,
        "message_id": message_id,
        "channel": ChannelName.SMS if told.by_sms else ChannelName.EMAIL,
        "not_by_sms": told.not_by_sms,
    }
    if way.home is not Home.WAITING or letter is None or copy is None:
        return NewNotification(**known)  # type: ignore[arg-type]  # the names and types above are its own
    return NewNotification(
        **known,  # type: ignore[arg-type]  # as above
        due_at=way.due_at,
        language=letter.language,
        subject=letter.subject,
        summary=copy.summary,
        content_id=letter.content_id,
        content_fields=letter.fields,
        sms_text=told.short.text if told.short else None,
    )
