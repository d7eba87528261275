"""Writing and changing a campaign: the form, what was typed into it, and what is wrong with that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from uuid import uuid4

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError
from sqlalchemy.engine import Connection
from starlette.datastructures import FormData, UploadFile

from notify import settings
from notify.campaigns import authoring
from notify.domain.address import split_names
from notify.domain.campaign import Campaign, CampaignAction
from notify.domain.channel import ChannelName
from notify.domain.faults import faults_of
from notify.domain.kind import DIGEST
from notify.domain.message import Attachment
from notify.exceptions import Fault, InvalidCampaign
from notify.rendering.library import library
from notify.settings import HandOverSettings
from notify.storage import attachments, campaigns, people
from notify.storage.attachments import StoredFile
from notify.storage.campaigns import REMARKS, CampaignFile
from notify.web import forgery
from notify.web.body import MOST_HANDED_OVER
from notify.web.campaigns import Wish, act, record
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page
from notify.web.problems import Forbidden, UnusableQuery
from notify.web.register import Number, text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/campaigns")

#: Below the app, where files come to.
PLACES = frozenset({"/campaigns/save", "/campaigns/files"})

#: What stands in the form as a text, as its author wrote it.
_TEXTS = (
    *("description", "classification", "note", "channel", "sender", "site", "content", "subject", "message"),
    *("template", "language", "data", "guarantee", "reply_to", "recipients", "csv", "query_connection", "query"),
    "uris",
)
_TICKS = ("html", "add_template", "transliterate")

#: An uploaded list that is longer is not shown again.
_SHOWN = 200_000


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with the form."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in the form.

    :param texts: by field
    :param ticks: the boxes that are ticked
    :param groups: those that are chosen
    :param kept: of the files that were there before, those that stay, by their position; None: all
    :param forget: whether those who came in a file are forgotten
    :param list_file: recipients, as they were uploaded
    :param files: to be attached
    :param key: by which a form that is sent twice makes one campaign
    :param seen: what a campaign was like when its form was shown
    """

    texts: Mapping[str, str]
    ticks: frozenset[str] = frozenset({"add_template"})
    groups: tuple[str, ...] = ()
    kept: frozenset[int] | None = None
    forget: bool = False
    list_file: Upload | None = None
    files: tuple[Upload, ...] = ()
    key: str = field(default_factory=lambda: uuid4().hex)
    seen: str = ""

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")


#: Fields that the form may have: one for each group that is chosen, and those that each form has.
_MOST_FIELDS = 10_000


async def _given(request: Request) -> FormData:
    """The form; its parts may be as large as all of it, which is bounded already."""
    return await request.form(max_part_size=MOST_HANDED_OVER, max_fields=_MOST_FIELDS)


_Form = Annotated[FormData, Depends(_given)]


class Outdated(UnusableQuery):
    """Somebody changed this campaign since its form was shown. Open the form again, and repeat what you changed."""


# --- Shown -----------------------------------------------------------------------------------------------------------


@router.get("/new", response_class=HTMLResponse)
def new(request: Request, user: Annotated[BaseUser, requires(Right.HAND_OVER)]) -> Response:
    """An empty form."""
    return _form(request, user, Typed({"channel": ChannelName.EMAIL.value, "content": "own"}), None)


@router.get("/{number}/edit", response_class=HTMLResponse)
def edit(request: Request, number: Number, user: Annotated[BaseUser, requires(Right.HAND_OVER)]) -> Response:
    """A campaign as it is written; once it is being sent, only its remarks can be changed.

    :raises Forbidden: they may not read texts, which are all over it; by API they can change what they cannot see
    """
    if not Right.READ_BODIES.of(user):
        raise Forbidden(Right.READ_BODIES.means)
    with reading() as connection:
        campaign = campaigns.read(connection, number)
        typed = _as_written(connection, campaign)
    return _form(request, user, typed, campaign)


def _as_written(connection: Connection, campaign: Campaign) -> Typed:
    written = authoring.written(campaign)
    texts = {name: str(written[name] or "") for name in _TEXTS if name in written}
    texts |= {
        "content": "own" if campaign.template is None else "template",
        "data": json.dumps(dict(campaign.data), ensure_ascii=False, indent=2) if campaign.data else "",
        "recipients": "\n".join(campaigns.typed(connection, campaign.id)),
    }
    ticks = frozenset(name for name in _TICKS if written[name])
    return Typed(texts, ticks, campaign.groups, seen=_mark(campaign))


def _mark(campaign: Campaign) -> str:
    """By which a form knows whether what it shows is still so."""
    return campaign.changed_at.isoformat()


def _form(
    request: Request,
    user: BaseUser,
    typed: Typed,
    campaign: Campaign | None,
    faults: Iterable[Fault] = (),
    *,
    lost: Iterable[str] = (),
) -> HTMLResponse:
    known = settings.hand_over_settings()
    with reading() as connection:
        groups = people.group_names(connection)
        files = campaigns.files(connection, campaign.id) if campaign else []
        listed = campaigns.count_rows(connection, campaign.id).given if campaign else 0
    told = _by_field(faults)
    return page(
        request,
        "campaign_form.html",
        title=f"Change campaign {campaign.id}" if campaign else "New campaign",
        user=user,
        status=422 if told else 200,
        under="campaigns",
        campaign=campaign,
        typed=typed,
        faults=told,
        lost=list(lost),
        remarks_only=campaign is not None and not campaign.may(CampaignAction.EDIT),
        groups=sorted({*groups, *typed.groups}),
        files=files,
        listed=listed,
        senders=_senders(known),
        sites=_alike(sorted(set(settings.sites(known.senders).values()))),
        templates=_alike(name for name in library(known.templates).kinds() if name != DIGEST),
        connections=_alike(sorted(known.campaign_connections)),
        sources=known.attachment_sources,
    )


def _senders(known: HandOverSettings) -> list[tuple[str, str]]:
    """All senders, each with what it sends."""
    called = {ChannelName.EMAIL: "mail", ChannelName.SMS: "SMS", None: "not set up yet"}
    return [(name, f"{name} ({called[known.identity(name).channel]})") for name in known.senders]


def _alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices that are called as they are."""
    return [(name, name) for name in names]


def _by_field(faults: Iterable[Fault]) -> dict[str, list[str]]:
    """What is wrong, by the field that it stands next to."""
    told: dict[str, list[str]] = {}
    for fault in faults:
        name, _, rest = fault.field.partition("[")
        position = rest.rstrip("]")
        which = f"file {int(position) + 1}: " if name == "attachments" and position.isdigit() else ""
        told.setdefault(name, []).append(f"{which}{fault.problem}")
    return told


# --- Read ------------------------------------------------------------------------------------------------------------


def _typed(form: FormData) -> Typed:
    texts = {name: _text(form, name) for name in _TEXTS}
    lists = _uploads(form, "csv_file")
    return Typed(
        texts,
        frozenset(name for name in _TICKS if form.get(name)),
        tuple(_texts(form, "groups")),
        kept=frozenset(int(one) for one in _texts(form, "keep") if one.isascii() and one.isdigit() and len(one) < 9),
        forget=bool(form.get("forget_list")),
        list_file=next(iter(lists), None),
        files=tuple(_uploads(form, "files")),
        key=_text(form, "key") or uuid4().hex,
        seen=_text(form, "seen"),
    )


def _text(form: FormData, name: str) -> str:
    """A field's text, with its lines as we write them; a browser ends them as mails do."""
    return next(iter(_texts(form, name)), "")


def _texts(form: FormData, name: str) -> list[str]:
    given = [_lines(value) for value in form.getlist(name) if isinstance(value, str)]
    return [text_of(name, value if value.strip() else "") or "" for value in given]


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _uploads(form: FormData, name: str) -> list[Upload]:
    """The files that were chosen; a field in which none was has one without a name."""
    given = [one for one in form.getlist(name) if isinstance(one, UploadFile) and one.filename]
    return [Upload(one.filename or "", one.file.read()) for one in given]


def _fields(typed: Typed, faults: list[Fault]) -> dict[str, Any]:
    """What :mod:`notify.campaigns.authoring` takes, but for files and the list.

    What the form does not show for its channel, or beside a template, is not meant: it may still stand there.

    :param faults: what is wrong is added here
    """
    fields: dict[str, Any] = {name: typed[name] or None for name in _TEXTS if name not in {"content", "uris", "csv"}}
    fields |= {name: name in typed.ticks for name in _TICKS}
    fields |= {"description": typed["description"], "groups": sorted(typed.groups)}
    fields |= {"recipients": split_names(typed["recipients"]), "data": _data(typed["data"], faults)}
    unseen = ["subject", "message", "html"] if typed["content"] == "template" else ["template"]
    unseen += ["subject", "html", "reply_to"] if typed["channel"] == ChannelName.SMS else ["transliterate"]
    return fields | dict.fromkeys(unseen)


def _data(text: str, faults: list[Fault]) -> dict[str, Any]:
    if not text:
        return {}
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    faults.append(Fault("data", 'is no JSON object; write, for example, {"season": "spring"}'))
    return {}


def _list(typed: Typed, faults: list[Fault]) -> str | None:
    """The recipients in a file, or what was pasted; None where there are none."""
    if typed.list_file is None:
        return typed["csv"] or None
    if typed["csv"]:
        faults.append(Fault("csv", "was pasted and came as a file; give one of the two"))
    try:
        return typed.list_file.content.decode("utf-8-sig") or None
    except UnicodeDecodeError:
        faults.append(Fault("csv", f"{typed.list_file.name} is not in UTF-8; save it as CSV UTF-8"))
        return None


# --- Saved -----------------------------------------------------------------------------------------------------------


@router.post("/save")
def save(request: Request, user: Annotated[BaseUser, requires(Right.HAND_OVER)], form: _Form) -> Response:
    """Store a campaign, or change it; with faults, show the form again with what was typed."""
    forgery.require_token(request, user, _text(form, "csrf_token"))
    typed, number = _typed(form), _number(form)
    known = settings.hand_over_settings()
    try:
        with changing(user, "page") as connection:
            if number is None:
                number = _create(connection, user, typed, known)
                record(user, "create", number)
            else:
                record(user, "edit", number, fields=_change(connection, number, typed, known))
    except InvalidCampaign as invalid:
        return _again(request, user, typed, number, invalid.faults)
    return RedirectResponse(f"{request.scope['root_path']}/campaigns/{number}", status_code=303)


def _number(form: FormData) -> int | None:
    """Which campaign is changed; None: it is a new one."""
    text = _text(form, "id")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UnusableQuery("id: this is no number of a campaign.")
    return int(text)


def _again(request: Request, user: BaseUser, typed: Typed, number: int | None, faults: Iterable[Fault]) -> HTMLResponse:
    """The form with what is wrong. No browser keeps the files that were chosen, so a list is pasted for its author."""
    campaign = None
    if number is not None:
        with reading() as connection:
            campaign = campaigns.read(connection, number)
    lost = [one.name for one in typed.files]
    if (given := typed.list_file) is not None:
        pasted = given.content[: _SHOWN + 1].decode("utf-8-sig", "replace")
        if len(pasted) <= _SHOWN and "\ufffd" not in pasted and "\0" not in pasted and not typed["csv"]:
            typed = replace(typed, texts={**typed.texts, "csv": pasted})
        else:
            lost.append(given.name)
    return _form(request, user, typed, campaign, faults, lost=lost)


def _create(connection: Connection, user: BaseUser, typed: Typed, known: HandOverSettings) -> int:
    faults: list[Fault] = []
    fields = _fields(typed, faults)
    if (given := _list(typed, faults)) is not None:
        fields["csv"] = given
    if typed["channel"] != ChannelName.SMS:
        fields["attachments"] = _new_files(typed)
    with _more(faults):
        key = f"page:{user.get_id()}:{typed.key[:100]}"
        number, _ = authoring.create(connection, fields, known, idempotency_key=key)
    return number


def _change(connection: Connection, number: int, typed: Typed, known: HandOverSettings) -> list[str]:
    """Change what differs.

    :returns: the names of those fields
    """
    faults: list[Fault] = []
    campaign = campaigns.read(connection, number, lock=True)
    if typed.seen != _mark(campaign):
        raise Outdated
    fields, before = _fields(typed, faults), _before(connection, campaign)
    changed = {name: value for name, value in fields.items() if value != before[name] and (value or before[name])}
    if campaign.may(CampaignAction.EDIT):
        if (given := _list(typed, faults)) is not None or typed.forget:
            changed["csv"] = given
        if (files := _files(connection, campaign, typed)) is not None:
            changed["attachments"] = files
    else:  # its form shows no more, so nothing else is meant
        changed = {name: value for name, value in changed.items() if name in REMARKS}
    with _more(faults):
        authoring.edit(connection, number, changed, known)
    return sorted(changed)


@contextmanager
def _more(faults: list[Fault]) -> Iterator[None]:
    """Tell what is wrong with the form together with what is wrong with the campaign."""
    try:
        yield
    except InvalidCampaign as invalid:
        raise InvalidCampaign([*faults, *invalid.faults]) from invalid
    if faults:
        raise InvalidCampaign(faults)


def _before(connection: Connection, campaign: Campaign) -> dict[str, Any]:
    """What its author wrote, as the form tells it."""
    written = authoring.written(campaign)
    told = {name: _lines(value) if isinstance(value, str) else value for name, value in written.items()}
    return {**told, "groups": sorted(campaign.groups), "recipients": campaigns.typed(connection, campaign.id)}


def _files(connection: Connection, campaign: Campaign, typed: Typed) -> list[dict[str, Any]] | None:
    """The files that it is to carry; None where they stay as they are."""
    there = campaigns.files(connection, campaign.id)
    if typed["channel"] == ChannelName.SMS:
        return [] if there else None
    kept = [file for position, file in enumerate(there) if typed.kept is None or position in typed.kept]
    new_ones = _new_files(typed)
    if not new_ones and len(kept) == len(there):
        return None
    return [_kept(connection, file) for file in kept] + new_ones


def _kept(connection: Connection, file: CampaignFile) -> dict[str, Any]:
    """A file that stays, as its author gave it; one that was fetched is fetched again."""
    told = {"filename": file.filename, "content_type": file.content_type}
    if file.uri is not None:
        return told | {"uri": file.uri}
    stored = attachments.kept(connection, StoredFile(file.sha256, file.filename, file.content_type))
    return told | {"content": stored.read()}


def _new_files(typed: Typed) -> list[dict[str, Any]]:
    uploaded = [{"filename": one.name, "content": one.content} for one in typed.files]
    return uploaded + [{"uri": line.strip()} for line in typed["uris"].splitlines() if line.strip()]


# --- Files of what is being sent -------------------------------------------------------------------------------------


@router.post("/files")
def refresh(request: Request, user: Annotated[BaseUser, requires(Right.HAND_OVER)], form: _Form) -> Response:
    """Put files anew into what has not left: those that came with the form, or else the same, fetched again."""
    forgery.require_token(request, user, _text(form, "csrf_token"))
    number = _number(form)
    if number is None:
        raise UnusableQuery("id: it is missing; say which campaign.")
    given = _new_files(_typed(form))
    act(user, "page", number, CampaignAction.REFRESH, Wish(attachments=_checked(given) if given else None))
    return RedirectResponse(f"{request.scope['root_path']}/campaigns/{number}?refreshed=true", status_code=303)


def _checked(given: list[dict[str, Any]]) -> list[Attachment]:
    try:
        return [Attachment.model_validate(one) for one in given]
    except ValidationError as error:
        raise InvalidCampaign([Fault("attachments", one.problem) for one in faults_of(error, Attachment)]) from error
