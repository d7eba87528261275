"""Setting and clearing deadlines and reminders: the public functions, for Python code and for operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from notify.domain.address import CONTROL
from notify.domain.deadline import (
    ANY_STAGE,
    ROLES,
    Closed,
    Deadline,
    DeadlineType,
    read_case,
    read_reminder,
    read_term,
    steps_of_reminder,
    steps_of_term,
)
from notify.domain.event import Case
from notify.domain.message import moment_after
from notify.domain.working_time import WorkingCalendar, calendar_named, shift
from notify.exceptions import Fault, InvalidDeadline
from notify.joining import Connectable, joined
from notify.settings import HandOverSettings, hand_over_settings
from notify.storage import cases, deadlines, outbox, people, schema
from notify.storage.deadlines import NewDeadline

#: A case as producers write it: its id, or id, title, url, process, stage and owner.
CaseField = str | Mapping[str, Any]


def set_deadline(
    case: CaseField,
    due: str | datetime | timedelta,
    *,
    advance: Iterable[Any] = (),
    escalations: Iterable[Any] = (),
    calendar: str | None = None,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    set_by: str | None = None,
) -> Deadline:
    """Set the term of a case's stage, or move it; the DAG Reminders tells of it in time.

    >>> notify.set_deadline(  # doctest: +SKIP
    ...     {"id": "INV-7", "title": "Invoice 7", "stage": "Approval", "owner": "anna"},
    ...     "P3D",
    ...     calendar="warsaw",
    ...     advance=["P1D", "PT2H"],
    ...     escalations=["P1D", {"after": "P3D", "to": ["@supervisor", "finance"]}],
    ... )

    Setting it again as it is changes nothing. A term belongs to the stage that ``case`` tells; without one, to the
    whole case. What ``case`` tells is remembered as the case's present state.

    :param case: its id, or ``id``, ``title``, ``url``, ``process``, ``stage``, ``owner``, ``site``; the owner must be
        known
    :param due: a time with its zone, or a delay from now
    :param advance: delays before it, at which the owner is told; each a delay, or ``{"before": …, "calendar": …}``
    :param escalations: ``{"after": …, "to": [people, groups, @owner, @supervisor], "calendar": …}``, or a delay alone,
        after which the owner's supervisor is told
    :param calendar: of working time, by which all these delays are counted unless they name another
    :param connection: of the outbox database, to set it inside its open transaction; see :func:`notify.enqueue`
    :param settings: for programs without Airflow, which have no Variables; by default these are read
    :param set_by: who sets it: the same again with the same arguments changes nothing, however ``due`` is written
    :raises notify.exceptions.InvalidDeadline: something is wrong with it; the error names every fault
    :raises notify.exceptions.ConfigurationError: the database or a setting is not in order
    """
    fields = {"case": case, "due": due, "advance": advance, "escalations": escalations, "calendar": calendar}
    return set_deadline_fields(fields, connection=connection, settings=settings, set_by=set_by)


def set_deadline_fields(
    fields: Mapping[str, Any],
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    set_by: str | None = None,
) -> Deadline:
    """Set a term whose fields come from outside.

    :param fields: by name; the other parameters and errors are those of :func:`set_deadline`
    """
    with joined(connection) as outbox_connection:
        return _Term(outbox_connection, fields, settings or hand_over_settings(), set_by).set()


def set_reminder(
    login: str,
    case: CaseField,
    at: str | datetime | timedelta,
    *,
    note: str = "",
    name: str = "",
    connection: Connectable | None = None,
    set_by: str | None = None,
) -> Deadline:
    """Remind a person, and nobody else, of a case; setting it again moves it.

    It fires if the case is still in the stage and with the owner that it has now.

    :param login: who is reminded
    :param case: as for :func:`set_deadline`
    :param at: a time with its zone, or a delay from now
    :param note: what the mail says
    :param name: a person has one reminder on a case under each name
    :param connection: see :func:`set_deadline`
    :param set_by: see :func:`set_deadline`
    :raises notify.exceptions.InvalidDeadline: something is wrong with it; the error names every fault
    """
    fields = {"login": login, "case": case, "at": at, "note": note, "name": name}
    return set_reminder_fields(fields, connection=connection, set_by=set_by)


def set_reminder_fields(
    fields: Mapping[str, Any], *, connection: Connectable | None = None, set_by: str | None = None
) -> Deadline:
    """Set a reminder whose fields come from outside.

    :param fields: by name; the other parameters and errors are those of :func:`set_reminder`
    """
    with joined(connection) as outbox_connection:
        return _Reminder(outbox_connection, fields, set_by).set()


def clear_deadline(
    case: CaseField, *, stage: str | None = ANY_STAGE, connection: Connectable | None = None
) -> list[int]:
    """Take the terms of a case back; nobody is told of them any more.

    :param case: its id, or a mapping with ``id``
    :param stage: of this stage only; None: of the whole case only. By default all of them
    :param connection: see :func:`set_deadline`
    :returns: the numbers of those that were open
    :raises notify.exceptions.InvalidDeadline: no case is named, or the stage is no text
    """
    _check_texts(stage=ANY_STAGE if stage is None else stage)
    with joined(connection) as outbox_connection:
        case_id = _locked_case(outbox_connection, case)
        return deadlines.clear_terms(outbox_connection, case_id, stage)


def clear_reminder(login: str, case: CaseField, *, name: str = "", connection: Connectable | None = None) -> list[int]:
    """Take a person's reminder on a case back.

    :param case: its id, or a mapping with ``id``
    :param name: that it was set under
    :param connection: see :func:`set_deadline`
    :returns: its number, if it was open
    :raises notify.exceptions.InvalidDeadline: no case is named, or one of the others is no text
    """
    _check_texts(login=login, name=name)
    with joined(connection) as outbox_connection:
        case_id = _locked_case(outbox_connection, case)
        return deadlines.clear_reminder(outbox_connection, case_id, login, name)


def _check_texts(**given: object) -> None:
    """Nothing is stored under what the database cannot hold; asked for it, it would end the caller's transaction."""
    faults = [
        Fault(field, "must be a text without control characters and halves of surrogate pairs")
        for field, value in given.items()
        if not isinstance(value, str) or CONTROL.search(value) or any("\ud800" <= sign <= "\udfff" for sign in value)
    ]
    if faults:
        raise InvalidDeadline(faults)


def _locked_case(connection: Connection, case: CaseField) -> str:
    """The id of a case, which is kept from changing: whoever sets a deadline locks the case first as well."""
    schema.require(connection)
    draft, faults = read_case(case)
    if draft is None:
        raise InvalidDeadline(faults)
    cases.lock(connection, draft.id)
    return draft.id


# --- Checking and storing --------------------------------------------------------------------------------------------


class _Setting:
    """A deadline on its way in; faults gather here until there is nothing more to check."""

    def __init__(self, connection: Connection, case: Case | None, faults: list[Fault], set_by: str | None) -> None:
        schema.require(connection)
        self.connection = connection
        self.case = case
        self.faults = faults
        self.set_by = set_by
        self.now = outbox.now(connection)
        self.known = cases.lock(connection, case.id) if case else None

    @property
    def owner(self) -> str | None:
        """Who has the case: as told, else as known."""
        return (self.case.owner if self.case else None) or (self.known.owner if self.known else None)

    def fault(self, field: str, problem: str) -> None:
        self.faults.append(Fault(field, problem))

    def check_case(self) -> None:
        if self.known is not None and self.known.closed_at is not None:
            ended = f"ended at {self.known.closed_at:%Y-%m-%d %H:%M}Z; nobody would be told"
            self.fault("case.id", f"{self.known.id!r} {ended}. If it goes on, publish case_received first")

    def check_site(self, settings: HandOverSettings) -> None:
        if self.case is not None and (wrong := settings.fault_of_site(self.case.site)) is not None:
            self.fault("case.site", wrong)

    def set_before(self, earlier: Iterable[Deadline], plan: Mapping[str, Any]) -> Deadline | None:
        """What the same caller has set in the same way: a task that runs again moves nothing, however late it is."""
        told = self.case.owner if self.case else None
        same = [one for one in earlier if self.set_by and one.set_by == self.set_by and one.plan == plan]
        return same[0] if any(told in {None, one.owner} for one in same) else None

    def replace(self, new: NewDeadline) -> Deadline:
        """Put the new one in the place of the latest, unless that says the same; what was told is not told again."""
        latest = deadlines.latest(self.connection, new)
        if latest is not None and latest.closed_reason in {None, Closed.DONE} and _same_plan(latest, new):
            if (latest.stage, latest.owner) == (new.stage, new.owner):
                return latest
            if new.type is DeadlineType.TERM and new.owner and latest.closed_reason is None:
                return deadlines.hand_on(self.connection, latest, new.owner)
        if latest is not None and latest.closed_reason is None:
            deadlines.close(self.connection, latest, Closed.MOVED)
        return deadlines.add(self.connection, new)

    def remember_case(self, case: Case) -> None:
        """What is told now is what is so now, whichever clock an earlier event was told by."""
        cases.see(self.connection, case, at=max(self.now, self.known.seen_at) if self.known else self.now)


class _Term(_Setting):
    """A term on its way in."""

    def __init__(
        self, connection: Connection, fields: Mapping[str, Any], settings: HandOverSettings, set_by: str | None
    ) -> None:
        self.draft, faults = read_term(fields)
        super().__init__(connection, self.draft.case, faults, set_by)
        self.settings = settings
        self.calendars: dict[str, WorkingCalendar] = {}

    def set(self) -> Deadline:
        """Set it, or leave it as it is.

        :raises InvalidDeadline: there is anything wrong with it
        """
        case, plan = self.case, self.draft.plan()
        earlier = deadlines.terms(self.connection, case.id, case.stage) if case else []
        if not self.faults and (unchanged := self.set_before(earlier, plan)):
            return unchanged
        self._check()
        due_at = self._due_at()
        if self.faults or case is None or due_at is None:
            raise InvalidDeadline(self.faults)
        new = NewDeadline(
            type=DeadlineType.TERM,
            case_id=case.id,
            stage=case.stage,
            owner=self.owner,
            due_at=due_at,
            plan=plan,
            steps=steps_of_term(self.draft, due_at, self.now, self._shift),
            set_by=self.set_by,
        )
        self.remember_case(case)
        return self.replace(new)

    def _check(self) -> None:
        self.check_case()
        self.check_site(self.settings)
        self._check_owner()
        self._check_names()
        for field, name in self._named_calendars():
            try:
                self.calendars[name] = calendar_named(name, self.settings.calendars, self.settings.timezone)
            except ValueError as error:
                self.fault(field, str(error))

    def _check_owner(self) -> None:
        if self.case is None:
            return
        if self.owner is None:
            self.fault("case.owner", "is not known; tell who has the case, for it is they who are told of its deadline")
        elif not people.find(self.connection, [self.owner]):
            self.fault("case.owner", f"{self.owner!r} is not known; import people, or name another")

    def _check_names(self) -> None:
        named = {name for one in self.draft.escalations for name in one.to} - ROLES
        logins, groups = people.find(self.connection, named), people.members(self.connection, named)
        for position, one in enumerate(self.draft.escalations):
            for name in one.to:
                field = f"escalations[{position}].to"
                if name in logins and name in groups:
                    self.fault(field, f"{name!r} is both a login and a group; name the members instead")
                elif name not in logins and name not in groups and name not in ROLES:
                    self.fault(field, f"no login or group of the name {name!r} is known")

    def _named_calendars(self) -> list[tuple[str, str]]:
        named = [("calendar", self.draft.calendar)]
        named += [(f"advance[{position}].calendar", one.calendar) for position, one in enumerate(self.draft.advance)]
        named += [
            (f"escalations[{position}].calendar", one.calendar) for position, one in enumerate(self.draft.escalations)
        ]
        return [(field, name) for field, name in named if name is not None]

    def _due_at(self) -> datetime | None:
        due = self.draft.due
        if isinstance(due, timedelta) and not self.faults:
            return self._shift(self.now, due, self.draft.calendar)
        return due if isinstance(due, datetime) else None

    def _shift(self, moment: datetime, delay: timedelta, calendar: str | None) -> datetime:
        return shift(moment, delay, self.calendars[calendar] if calendar is not None else None)


class _Reminder(_Setting):
    """A reminder on its way in."""

    def __init__(self, connection: Connection, fields: Mapping[str, Any], set_by: str | None) -> None:
        self.draft, faults = read_reminder(fields)
        super().__init__(connection, self.draft.case, faults, set_by)

    def set(self) -> Deadline:
        """Set it, or leave it as it is.

        :raises InvalidDeadline: there is anything wrong with it
        """
        case, login, plan = self.case, self.draft.login, self.draft.plan()
        earlier = deadlines.reminders(self.connection, case.id, login, self.draft.name) if case and login else []
        if not self.faults and (unchanged := self.set_before(earlier, plan)):
            return unchanged
        self.check_case()
        if case is not None and case.site is not None:  # nothing else here needs any setting
            self.check_site(hand_over_settings())
        self._check_person()
        due_at = moment_after(self.draft.at, self.now)
        if self.faults or case is None or login is None or due_at is None:
            raise InvalidDeadline(self.faults)
        self.remember_case(case)
        state = cases.find(self.connection, [case.id])[case.id]
        new = NewDeadline(
            type=DeadlineType.REMINDER,
            case_id=case.id,
            stage=state.stage,
            owner=state.owner,
            due_at=due_at,
            plan=plan,
            steps=steps_of_reminder(login, due_at),
            login=login,
            name=self.draft.name,
            set_by=self.set_by,
        )
        return self.replace(new)

    def _check_person(self) -> None:
        login = self.draft.login
        if login is None:
            return
        person = people.find(self.connection, [login]).get(login)
        if person is None:
            self.fault("login", f"{login!r} is not known; import people, or name another")
        elif not person.active:
            self.fault("login", f"{login!r} is no longer active")


def _same_plan(one: Deadline, other: NewDeadline) -> bool:
    """Whether they tell the same at the same time, however their due time was written."""
    written = {"due", "calendar"}
    plans = [{name: value for name, value in plan.items() if name not in written} for plan in (one.plan, other.plan)]
    return one.due_at == other.due_at and plans[0] == plans[1]
