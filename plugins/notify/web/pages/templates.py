"""Templates: what mails look like, in each language, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import uuid4

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic_core import to_jsonable_python
from sqlalchemy.engine import Connection

from notify import settings
from notify.domain.address import parse_address
from notify.domain.gsm import outside, shown
from notify.domain.kind import BUILT_IN, DIGEST, Kind
from notify.domain.sms import Content, parse_text
from notify.exceptions import ConfigurationError, Fault, InvalidMessage, InvalidText, TemplateError
from notify.handover import hand_over
from notify.rendering.library import FALLBACK, LANGUAGE, NAME
from notify.rendering.samples import SAMPLE, Preview, Samples, Standing, State
from notify.storage import people
from notify.web import forgery, headers
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound
from notify.web.register import text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/templates")

#: How wide a preview may be: a phone, a usual mail program, all there is.
WIDTHS = ("320", "600", "full")

#: Before the subject of a test message.
TEST = "[Test]"

#: What a real message is given by whoever sends it, and no sample may say.
_REAL = frozenset({"recipient", "site_name"})

Name = Annotated[str, Path(pattern=f"^{NAME.pattern}$", max_length=100)]
Language = Annotated[str, Path(pattern=f"^{LANGUAGE.pattern}$")]


@router.get("", response_class=HTMLResponse)
def listing(request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)]) -> Response:
    """All templates, the broken ones first."""
    samples, note = _samples()
    standings = samples.standings()
    languages = sorted({one.language for standing in standings for one in standing.tried})
    return page(
        request,
        "templates.html",
        title="Templates",
        user=user,
        standings=[(one, {tried.language: tried for tried in one.tried}) for one in standings],
        languages=[language for language in languages if LANGUAGE.fullmatch(language)],
        problems=[problem for one in standings for problem in _problems(one)],
        usable=NAME.fullmatch,
        root_folder=samples.root,
        note=note,
    )


def _problems(one: Standing) -> list[str]:
    own = [one.problem] if one.problem else []
    return own + [tried.problem for tried in one.tried if tried.state is State.BROKEN]


def _samples() -> tuple[Samples, str]:
    """The templates with what they are tried with, and which setting cannot be read."""
    kinds: Mapping[str, Kind] = BUILT_IN
    timezone, note = settings.DEFAULT_TIMEZONE, ""
    try:
        kinds = settings.kinds()
        timezone = settings.timezone()
    except ConfigurationError as error:
        note = str(error)
    return Samples.of(settings.templates_root(), timezone, kinds), note


@router.get("/{name}", response_class=HTMLResponse)
def template(
    request: Request,
    name: Name,
    user: Annotated[BaseUser, requires(Right.READ_SETTINGS)],
    language: str = "",
    width: Literal["320", "600", "full"] = "600",
) -> Response:
    """A template in one language, as a reader would see it."""
    samples, note = _samples()
    standing = next((one for one in samples.standings() if one.name == name), None)
    if standing is None:
        raise NotFound(f"There is no template {name!r}.")
    written = [one.language for one in standing.tried if LANGUAGE.fullmatch(one.language)]
    chosen = language or (FALLBACK if FALLBACK in written else next(iter(written), ""))
    if chosen not in written and (language or written):
        raise NotFound(f"The template {name!r} is not written in {chosen!r}.")
    preview, problem = _preview(samples, name, chosen)
    return page(
        request,
        "template.html",
        title=name,
        user=user,
        standing=standing,
        tried=next((one for one in standing.tried if one.language == chosen), None),
        written=written,
        chosen=chosen,
        width=width,
        widths=WIDTHS,
        preview=preview,
        problem=standing.problem or problem,
        sms=_sms(preview.sms) if preview and preview.sms else None,
        data=_shown(samples, name),
        place=samples.root / name,
        sample=SAMPLE,
        myself=_address_of(user) if Right.HAND_OVER.of(user) else "",
        key=uuid4().hex,
        note=note,
    )


def _preview(samples: Samples, name: str, language: str) -> tuple[Preview | None, str]:
    if not language:
        return None, ""
    try:
        return samples.preview(name, language), ""
    except TemplateError as error:
        return None, str(error)


def _sms(content: Content) -> dict[str, object]:
    """The text of an SMS, with what it takes, and what it would take if it were transliterated."""
    try:
        plain = parse_text(content.text, transliterated=True).size.parts
    except InvalidText:  # nothing of it would be left
        plain = None
    return {
        "text": content.text,
        "parts": content.size.parts,
        "outside": " ".join(map(shown, outside(content.text))),
        "plain": plain,
    }


def _shown(samples: Samples, name: str) -> str:
    """The sample data as people read it; a digest is made of it."""
    try:
        data = {field: value for field, value in samples.data(name).items() if field != DIGEST}
    except TemplateError as error:
        return str(error)
    return json.dumps(to_jsonable_python(data), indent=2, ensure_ascii=False)


@router.get("/{name}/{language}/html", response_class=HTMLResponse, dependencies=[requires(Right.READ_SETTINGS)])
def html(name: Name, language: Language) -> Response:
    """A preview as it looks, for a frame in which it can do and fetch nothing."""
    samples, _ = _samples()
    found = samples.preview(name, language).rendered.html
    if found is None:
        raise NotFound(f"The template {name!r} has text only.")
    return HTMLResponse(found, headers={"Content-Security-Policy": headers.MAIL_POLICY})


@router.post("/{name}/{language}/test")
def send_test(  # noqa: PLR0917 - one for each field
    request: Request,
    name: Name,
    language: Language,
    user: Annotated[BaseUser, requires(Right.HAND_OVER)],
    to: Annotated[str, Form()] = "",
    key: Annotated[str, Form(max_length=100)] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Send what the preview shows, as a message like any other."""
    forgery.require_token(request, user, csrf_token)
    samples, _ = _samples()
    mailbox = _mailbox(to)
    with changing(user, "page") as connection:
        # The subject is made here, for its mark; the rest at hand-over, where it is known as well who reads it.
        preview = samples.preview(name, language, recipient=_reader(connection, mailbox))
        fields = {
            "recipient": [mailbox],
            "subject": f"{TEST} {preview.rendered.subject}",
            "template": name,
            "language": language,
            "data": {field: value for field, value in samples.data(name).items() if field not in _REAL},
            # Sent twice, the form makes one message. And a digest that nothing was put aside for needs a key.
            "idempotency_key": f"test:{user.get_id()}:{text_of('key', key) or uuid4().hex}",
        }
        number = hand_over(connection, fields, settings.hand_over_settings()).messages[0].id
    return RedirectResponse(f"{request.scope['root_path']}/messages/{number}", status_code=303)


def _mailbox(text: str) -> str:
    """One address, and no list of them: a test is for who asks for it."""
    try:
        return parse_address(text).mailbox
    except ValueError as error:
        raise InvalidMessage([Fault("to", str(error))]) from None


def _reader(connection: Connection, mailbox: str) -> dict[str, str | None]:
    """Who gets it, as templates see them."""
    person = people.find_by_email(connection, [mailbox]).get(mailbox.lower())
    return {
        "name": person.name if person else "",
        "address": mailbox,
        "login": person.login if person else None,
    }


def _address_of(user: BaseUser) -> str:
    """Where the user's own mail goes: as the auth manager knows it, else as the person of that login has it."""
    own = getattr(user, "email", None)
    if isinstance(own, str) and "@" in own:
        return own
    name = user.get_name()
    if "\0" in name:
        return ""
    with reading() as connection:
        found = people.find(connection, [name])
    return next((person.email for person in found.values() if person.email), "")
