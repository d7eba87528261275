"""People: who is known, what they want to hear of, what they got, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Literal

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.engine import Connection
from starlette.datastructures import FormData

from notify import explaining, settings
from notify.domain.destination import is_number
from notify.domain.kind import BUILT_IN, Kind
from notify.domain.person import Person
from notify.domain.preference import ANY_KIND, IN_WORDS, WEEKDAYS, Frequency, Preference, applying, in_words
from notify.exceptions import ConfigurationError, Fault, InvalidPreference, TransitionError
from notify.preferences import clear_preference, set_preference_fields
from notify.storage import directory, people, preferences, suppressions, unsubscriptions
from notify.storage.suppressions import Suppression
from notify.web import audit, forgery
from notify.web.fields import Form
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page, place_of
from notify.web.problems import NotFound
from notify.web.register import text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/people")

#: People on a page.
PAGE = 50

#: Notifications that a person's page tells of; more of them are a view of their own.
TOLD = 20


#: Through which channel, in words.
CHANNELS = {one.value: words for one, words in IN_WORDS.items()}


class Outdated(TransitionError):
    """Somebody changed these preferences since the page was loaded; nothing was changed. Load it again."""


@router.get("", response_class=HTMLResponse)
def listing(  # noqa: PLR0917 - one for each filter
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_PEOPLE)],
    text: str = "",
    group: str = "",
    state: Literal["", "active", "left"] = "",
    after: str = "",
    login: str = "",
) -> Response:
    """People by login; or the one of a login that no path can hold."""
    if login:
        return _person(request, user, login)
    wanted = directory.Wanted(
        text_of("text", text.strip()) or "", text_of("group", group.strip()), {"active": True, "left": False}.get(state)
    )
    with reading() as connection:
        found = directory.search(connection, wanted, after=text_of("after", after), limit=PAGE)
    return page(
        request,
        "people.html",
        title="People",
        user=user,
        page=found,
        wanted=wanted,
        state=state,
        first=not after,
        filters=[(name, value) for name, value in request.query_params.multi_items() if name != "after" and value],
    )


@router.get("/{login:path}", response_class=HTMLResponse)
def person(request: Request, login: str, user: Annotated[BaseUser, requires(Right.READ_PEOPLE)]) -> Response:
    """One person."""
    return _person(request, user, login)


def _person(request: Request, user: BaseUser, login: str) -> Response:
    kinds, note = _kinds()
    with reading() as connection:
        record = people.read(connection, text_of("login", login) or "")
        if record is None:
            raise NotFound(f"There is no person {login!r}.")
        reached = list(_reached(connection, record.person))
        story = explaining.of_person(connection, login, most=TOLD)
    said = record.person.preferences or {}
    return page(
        request,
        "person.html",
        title=record.person.name or login,
        user=user,
        record=record,
        person=record.person,
        zone=_zone(),
        reached=reached,
        story=story,
        rows=list(_rows(kinds, said)),
        weekdays=WEEKDAYS,
        channels=CHANNELS,
        seen=_mark(said),
        note=note,
        saved="saved" in request.query_params,
    )


@dataclass(frozen=True, slots=True)
class Reached:
    """An address at which a person is reached, or a telephone number.

    :param suppression: why nothing goes there
    :param scopes: what its reader wants no more of, beside preferences
    """

    address: str
    suppression: Suppression | None
    scopes: tuple[str, ...]

    @property
    def number(self) -> bool:
        """Whether it is a telephone number."""
        return is_number(self.address)


def _reached(connection: Connection, person: Person) -> Iterator[Reached]:
    for address in filter(None, (person.email, people.number_of(person, _region))):
        found = suppressions.find(connection, [address]).get(address.lower())
        yield Reached(address, found, tuple(sorted(unsubscriptions.of(connection, address))))


def _region() -> str:
    try:
        return settings.phone_region()
    except ConfigurationError:
        return ""


def _kinds() -> tuple[Mapping[str, Kind], str]:
    """The kinds there are, and why these are not all of them."""
    try:
        return settings.kinds(), ""
    except ConfigurationError as error:
        return BUILT_IN, str(error)


def _zone() -> str:
    try:
        return settings.timezone()
    except ConfigurationError:
        return settings.DEFAULT_TIMEZONE


# --- Preferences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What a person may say of a kind of event, and said.

    :param kind: its name, or ``*``
    :param choices: the frequencies that may be chosen; none: it is mandatory, or there is no such kind any more
    :param said: by field, as a form has it
    :param words: the same in words
    :param applies: what comes of it; empty for ``*``, of which each kind makes something else
    """

    kind: str
    choices: tuple[Frequency, ...]
    said: Mapping[str, str]
    words: str
    applies: str = ""
    mandatory: bool = False
    known: bool = True

    @property
    def timed(self) -> bool:
        """Whether a time of the day may matter."""
        return "hour" in self.said or not {Frequency.DAILY, Frequency.WEEKLY}.isdisjoint(self.choices)

    @property
    def weekly(self) -> bool:
        """Whether a day of the week may matter."""
        return "weekday" in self.said or Frequency.WEEKLY in self.choices


def _rows(kinds: Mapping[str, Kind], said: Mapping[str, Preference]) -> Iterator[Row]:
    general = said.get(ANY_KIND)
    yield Row(ANY_KIND, tuple(Frequency), _fields_of(general), in_words(general or Preference()))
    for name, kind in kinds.items():
        own = said.get(name)
        applies = ("always " if kind.mandatory else "") + applying(kind.wish(own, general))
        yield Row(name, kind.choices, _fields_of(own), in_words(own or Preference()), applies, mandatory=kind.mandatory)
    for name in sorted(said.keys() - kinds.keys() - {ANY_KIND}):
        yield Row(name, (), _fields_of(said[name]), in_words(said[name]), known=False)


def _fields_of(said: Preference | None) -> dict[str, str]:
    """What was said, as a form's fields have it."""
    if said is None:
        return {}
    written = {name: getattr(said, name) for name in Preference.model_fields}
    return {
        name: f"{value:%H:%M}" if hasattr(value, "hour") else str(value)
        for name, value in written.items()
        if value is not None
    }


def _mark(said: Mapping[str, Preference]) -> str:
    """By which a form knows whether what it shows is still so."""
    return sha256(
        repr(sorted((kind, sorted(_fields_of(one).items())) for kind, one in said.items())).encode()
    ).hexdigest()


@router.post("/preferences")
def save(request: Request, user: Annotated[BaseUser, requires(Right.CHANGE_PEOPLE)], form: Form) -> Response:
    """Put down what a person said, of all kinds or of none."""
    forgery.require_token(request, user, _given(form, "csrf_token"))
    login = _given(form, "login")
    with changing(user, "page") as connection:
        changed = _save(connection, login, form)
        if changed:
            audit.record(user, "set_preferences", login=login, preferences=changed)
    place = place_of(login)
    saved = f"{place}{'&' if '?' in place else '?'}saved"
    return RedirectResponse(f"{request.scope['root_path']}{saved}#preferences", status_code=303)


def _given(form: FormData, name: str) -> str:
    value = form.get(name)
    return text_of(name, value.strip() if isinstance(value, str) else "") or ""


def _save(connection: Connection, login: str, form: FormData) -> dict[str, str]:
    """Save what differs.

    :returns: what was put down, in words, by kind
    """
    if login not in people.find(connection, [login]):
        raise NotFound(f"There is no person {login!r}.")
    before = preferences.held(connection, login)
    if _given(form, "seen") != _mark(before):
        raise Outdated
    faults: list[Fault] = []
    changed: dict[str, str] = {}
    for kind, fields in _forms(form).items():
        if fields == _fields_of(before.get(kind)):
            continue
        try:
            changed[kind] = _put_down(connection, login, kind, fields)
        except InvalidPreference as error:
            faults += [Fault(f"{kind}.{fault.field}", fault.problem) for fault in error.faults]
    if faults:
        raise InvalidPreference(faults)
    return changed


def _forms(form: FormData) -> dict[str, dict[str, str]]:
    """The fields of each kind that the form is about; what shall be forgotten has none."""
    kinds = [kind for kind in form.getlist("kind") if isinstance(kind, str)]
    found = {kind: {name: _given(form, f"{kind}.{name}") for name in Preference.model_fields} for kind in kinds}
    given = {kind: {name: text for name, text in fields.items() if text} for kind, fields in found.items()}
    return given | {kind: {} for kind in form.getlist("forget") if isinstance(kind, str)}


def _put_down(connection: Connection, login: str, kind: str, fields: dict[str, str]) -> str:
    if fields:
        return in_words(set_preference_fields(login, kind, fields, connection=connection))
    clear_preference(login, kind, connection=connection)
    return "nothing said"
