"""What readers reach by the links in their mails, without a login: their settings, and one click to unsubscribe.

The token in the address is the credential, see :mod:`notify.domain.link`. A browser sends none along by itself, as it
does a cookie, so no other site can use it, and the forms need no further token against that. Nothing is changed by GET:
programs that look for viruses follow every link in a mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.engine import Connection
from starlette.datastructures import FormData
from starlette.types import Message

from notify import settings, unsubscribing
from notify.domain import link
from notify.domain.link import Purpose
from notify.domain.preference import ANY_KIND, Frequency, Preference
from notify.exceptions import InvalidPreference
from notify.storage import people
from notify.storage.engine import set_actor
from notify.storage.unsubscriptions import BULK
from notify.unsubscribing import TIMES, Changes, Kinds, Reader
from notify.web import audit
from notify.web.outbox import changing_as, reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound, TooLarge, UnusableQuery, problem_of
from notify.web.rights import anybody
from notify.web.wording import Wording, wording

router = APIRouter(dependencies=[anybody()])

#: Below the app's root; nothing else is public, but for the files in ``/static``.
PATHS = ("/my/", "/unsubscribe/")

#: What a mail program sends when its reader clicks once (RFC 8058, 3.2), and so does the button.
ONE_CLICK = ("List-Unsubscribe", "One-Click")

#: No form of ours is larger.
_MOST = 16 * 1024
_MOST_FIELDS = 500

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # or a link from here would tell the token
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}


class UnknownLink(NotFound):
    """The link does not work: it is forged, too old or incomplete, or what it was about is gone."""


async def _form(request: Request) -> FormData:
    """The fields of a form, in either of the encodings that RFC 8058 names."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            raise TooLarge(_MOST)

    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return await Request(request.scope, receive).form(max_files=0, max_fields=_MOST_FIELDS)


Form = Annotated[FormData, Depends(_form)]


# --- Settings --------------------------------------------------------------------------------------------------------


@router.get("/my/{token}")
def my(request: Request, token: str) -> Response:
    """What somebody gets, and when; to be changed."""
    with _opened(reading(), token, Purpose.SETTINGS) as (_, reader):
        pass
    return _settings_page(request, reader, settings.kinds(), saved="saved" in request.query_params)


@router.post("/my/{token}")
def save(request: Request, token: str, form: Form) -> Response:
    """Change it."""
    try:
        with _opened(changing_as("by link"), token, Purpose.SETTINGS) as (connection, reader):
            if _save(connection, reader, form, settings.kinds()):
                audit.record(reader.actor, "change_settings", message=reader.message.id)
    except InvalidPreference as error:
        with _opened(reading(), token, Purpose.SETTINGS) as (_, reader):
            return _settings_page(request, reader, settings.kinds(), form=form, faults=error)
    return RedirectResponse(f"{request.scope['root_path']}/my/{token}?saved", 303, headers=_HEADERS)


def _save(connection: Connection, reader: Reader, form: FormData, kinds: Kinds) -> bool:
    bulk = form.get(BULK)
    changes = Changes(
        {name: str(form[f"frequency.{name}"]) for name in kinds if f"frequency.{name}" in form},
        {name: times for name in (ANY_KIND, *kinds) if (times := _times(form, name))},
        None if bulk is None else bulk == "yes",
    )
    return unsubscribing.change(connection, reader, changes, kinds)


def _times(form: FormData, kind: str) -> dict[str, str]:
    return {name: str(form[f"{name}.{kind}"]).strip() for name in TIMES if f"{name}.{kind}" in form}


def _settings_page(
    request: Request,
    reader: Reader,
    kinds: Kinds,
    *,
    saved: bool = False,
    form: FormData | None = None,
    faults: InvalidPreference | None = None,
) -> Response:
    words = _words(reader)
    chosen: Mapping[str, Any] = form or {}
    mine = [kinds[name] for name in _shown(reader, kinds)]
    rows = [
        {
            "kind": kind.name,
            "choices": reader.choices(kind),
            "chosen": chosen.get(f"frequency.{kind.name}", reader.frequency(kind)),
        }
        for kind in mine
    ]
    own = [name for name in (kind.name for kind in mine) if reader.person and _has_times(reader.said.get(name))]
    return _page(
        request,
        "settings.html",
        words,
        "my.title",
        status=422 if faults else 200,
        address=masked(reader.message.address),
        rows=rows,
        person=reader.person is not None,
        always=[kind.name for kind in kinds.values() if kind.mandatory] if reader.person else [],
        zone=_zone(reader),
        offered={name: _shown_times(reader, name, chosen) for name in (ANY_KIND, *own)},
        own=own,
        by_sms=reader.person is not None and _reached_by_sms(reader),
        bulk=chosen.get(BULK, "no" if BULK in reader.unwanted else "yes"),
        saved=saved,
        faults=_told(faults, words) if faults else (),
    )


def _shown(reader: Reader, kinds: Kinds) -> list[str]:
    """The kinds of which a reader may choose something; outside, nobody is shown what they have never heard of."""
    names = [name for name, kind in kinds.items() if reader.choices(kind)]
    if reader.person is not None:
        return names
    return [name for name in names if name == reader.message.kind or name in reader.unwanted]


def _has_times(said: Preference | None) -> bool:
    return said is not None and any(getattr(said, name) is not None for name in TIMES)


def _shown_times(reader: Reader, kind: str, chosen: Mapping[str, Any]) -> dict[str, str]:
    said = reader.said.get(kind, Preference())
    written = {name: getattr(said, name) for name in TIMES}
    texts = {
        name: "" if value is None else f"{value:%H:%M}" if hasattr(value, "hour") else str(value)
        for name, value in written.items()
    }
    return {name: str(chosen.get(f"{name}.{kind}", text)) for name, text in texts.items()}


def _reached_by_sms(reader: Reader) -> bool:
    """Whether there is anything to choose: a number, or a choice that was made before."""
    number = people.number_of(reader.person, settings.phone_region) if reader.person else None
    return number is not None or any(said.channel is not None for said in reader.said.values())


def _zone(reader: Reader) -> str:
    return (reader.person.timezone if reader.person else None) or settings.timezone()


def _told(error: InvalidPreference, words: Wording) -> list[str]:
    """What is wrong, in the reader's language; each thing once."""
    fields = [fault.field.rpartition(".")[2] for fault in error.faults]
    names = {"quiet_from": "quiet", "quiet_until": "quiet", "hour": "hour"}
    return list(dict.fromkeys(words(f"faults.{names.get(field, 'other')}") for field in fields))


# --- Unsubscribing ---------------------------------------------------------------------------------------------------


@router.get("/unsubscribe/{token}")
def ask(request: Request, token: str) -> Response:
    """A button to unsubscribe by."""
    with _opened(reading(), token, Purpose.UNSUBSCRIBE) as (connection, reader):
        scopes = unsubscribing.offered(connection, reader, settings.kinds())
    return _asking(request, reader, scopes)


def _asking(request: Request, reader: Reader, scopes: tuple[str, ...], *, status: int = 200) -> Response:
    words = _words(reader)
    if not scopes:
        return _page(request, "mandatory.html", words, "unsubscribe.mandatory_title", status=status)
    address, bulk = masked(reader.message.address), scopes == (BULK,)
    return _page(request, "unsubscribe.html", words, "unsubscribe.title", address=address, scopes=scopes, bulk=bulk)


@router.post("/unsubscribe/{token}")
def unsubscribe(request: Request, token: str, form: Form) -> Response:
    """Unsubscribe, or take that back; to do either again changes nothing, and is answered alike.

    Without a redirect: a mail program follows none (RFC 8058, 3.2).
    """
    key, value = ONE_CLICK
    stop = form.get(key) == value
    if not stop and "again" not in form:
        raise UnusableQuery(f"A request to unsubscribe says {key}={value}.")
    with _opened(changing_as("by link"), token, Purpose.UNSUBSCRIBE) as (connection, reader):
        kinds = settings.kinds()
        scopes = unsubscribing.offered(connection, reader, kinds)
        former = _former(reader, _chosen(form, scopes)) if stop else _given(form, scopes)
        if stop:
            changed = unsubscribing.unsubscribe(connection, reader, former, kinds)
        else:
            changed = unsubscribing.resubscribe(connection, reader, former, kinds)
        if changed:
            what = "unsubscribe" if stop else "resubscribe"
            audit.record(reader.actor, what, message=reader.message.id, scopes=list(former))
    if not former:  # nothing of it may be stopped, or nothing was ticked
        return _asking(request, reader, scopes, status=200 if scopes else 409)
    words, title = _words(reader), "unsubscribe.done_title" if stop else "unsubscribe.again_title"
    address = masked(reader.message.address)
    return _page(request, "done.html", words, title, address=address, former=former, stopped=stop)


def _chosen(form: FormData, scopes: tuple[str, ...]) -> list[str]:
    """What is to be stopped. A mail program names nothing, and means all that the mail is of."""
    named = {str(one) for one in form.getlist("scope")}
    return [scope for scope in scopes if scope in named or "chosen" not in form]


def _former(reader: Reader, scopes: list[str]) -> dict[str, Frequency | None]:
    """How often a person had said to get each kind, for the way back."""
    own = {scope: said.frequency for scope in scopes if (said := reader.said.get(scope))}
    return {scope: own.get(scope) if own.get(scope) is not Frequency.NEVER else None for scope in scopes}


def _given(form: FormData, scopes: tuple[str, ...]) -> dict[str, Frequency | None]:
    """The same, as the form brings it back: ``kind:frequency``."""
    given = dict(str(one).partition(":")[::2] for one in form.getlist("again"))
    return {scope: _frequency(given[scope]) for scope in scopes if scope in given}


def _frequency(text: str) -> Frequency | None:
    return next((one for one in Frequency if one == text and one is not Frequency.NEVER), None)


# --- What both share -------------------------------------------------------------------------------------------------


@contextmanager
def _opened(
    connecting: AbstractContextManager[Connection], token: str, purpose: Purpose
) -> Iterator[tuple[Connection, Reader]]:
    """The outbox, and whom a link is for.

    :param connecting: to read, or to change something; the history says then who did it
    :raises UnknownLink: nobody; why not, nobody is told
    """
    if link.read(token) is None:  # and nobody is asked
        raise UnknownLink
    with connecting as connection:
        reader = unsubscribing.find(connection, token, purpose)
        if reader is None:
            raise UnknownLink
        set_actor(connection, reader.actor)
        yield connection, reader


def masked(address: str) -> str:
    """An address so that its owner knows it, and a mail that was forwarded tells others no more than it has to."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _words(reader: Reader) -> Wording:
    return wording(reader.person.language if reader.person else None, reader.message.language)


def _page(request: Request, template: str, words: Wording, title: str, *, status: int = 200, **values: Any) -> Response:
    answer = page(request, f"public/{template}", title=words(title), status=status, words=words, **values)
    answer.headers.update(_HEADERS)
    return answer


def is_public(request: Request) -> bool:
    """Whether a request is for one of these pages."""
    path: str = request.scope["path"].removeprefix(request.scope["root_path"])
    return path.startswith(PATHS)


def trouble(request: Request, error: Exception) -> Response:
    """Answer with an error, without a word about the inside; for every link that does not work the same."""
    status = problem_of(error).status
    name = "gone" if status == 404 else "trouble"
    words = wording(asked=request.headers.get("accept-language", ""))
    detail = words("gone.text") if name == "gone" else words(f"trouble.{'later' if status >= 500 else 'asked'}")
    return _page(request, "trouble.html", words, f"{name}.title", status=status, detail=detail)
