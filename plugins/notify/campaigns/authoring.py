"""Authoring: a campaign is written and changed; by whatever door, in the caller's transaction.

As at hand-over, everything that can be wrong is found before anything is stored, and told in one error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from notify.campaigns.sources import require_allowed
from notify.domain.address import parse_address
from notify.domain.campaign import Campaign, CampaignAction, CampaignDraft, Row, read_campaign
from notify.domain.channel import ChannelName
from notify.domain.message import Attachment
from notify.domain.recipient_list import read_csv
from notify.doors.campaign import door_of
from notify.doors.sender import choose_sender
from notify.exceptions import Fault, InvalidCampaign, InvalidNumber, TemplateError, TemplateNotFound, UnusableSource
from notify.rendering.library import library
from notify.settings import HandOverSettings
from notify.storage import attachments, campaigns, people, schema
from notify.storage.campaigns import REMARKS, CampaignFile
from notify.storage.recipients import Book
from notify.storage.sources import File, fetch

#: What a campaign is written with, and what stands elsewhere than in its row.
_APART = ("attachments", "recipients", "csv")

#: Where recipients stand that are not asked for: each can be given anew without the other.
_SOURCES = frozenset({"recipients", "csv"})

#: Of typed recipients that are none, so many are told.
MOST_FAULTS = 20


def create(
    connection: Connection,
    fields: Mapping[str, Any],
    settings: HandOverSettings,
    *,
    rows: Sequence[Row] = (),
    idempotency_key: str | None = None,
    faults: Sequence[Fault] = (),
) -> tuple[int, bool]:
    """Store a campaign.

    :param fields: those of :class:`notify.domain.campaign.CampaignDraft`
    :param rows: recipients beside those in the fields
    :param idempotency_key: the same key again returns the first campaign and stores none
    :param faults: what the caller has found wrong, told with the others
    :returns: its number, and whether it is new
    :raises InvalidCampaign: something is wrong with it; the error names every fault
    """
    schema.require(connection)
    if idempotency_key and (found := campaigns.find_by_key(connection, idempotency_key)) is not None:
        return found, False
    checked = _check(connection, fields, settings, faults)
    keep(connection, checked.files, settings)
    number = campaigns.add(
        connection, checked.draft, [*checked.rows, *rows], checked.campaign_files, idempotency_key=idempotency_key
    )
    return number, True


def edit(connection: Connection, number: int, changed: Mapping[str, Any], settings: HandOverSettings) -> Campaign:
    """Change a campaign. What its messages were made of makes it a draft again; its remarks can be changed at any time.

    :param changed: of the fields those that are given anew; None takes one back
    :returns: the campaign as it is now
    :raises InvalidCampaign: something is wrong with it
    :raises CampaignError: its state does not allow it
    """
    schema.require(connection)
    stale = not set(changed) <= REMARKS
    campaign = (
        campaigns.expect(connection, number, CampaignAction.EDIT)
        if stale
        else campaigns.read(connection, number, lock=True)
    )
    fields = {**written(campaign), **changed}
    if not stale:
        campaigns.change(connection, number, _read(fields), stale=False)  # what it says may be out of date by now
        return campaigns.read(connection, number)
    checked = _check(connection, fields, settings)
    campaigns.change(connection, number, checked.draft, stale=True)
    for name in _SOURCES & changed.keys():
        campaigns.drop_rows(connection, number, typed=name == "recipients")
    campaigns.add_rows(connection, number, checked.rows)  # of what was given anew
    if "attachments" in changed:
        keep(connection, checked.files, settings)
        campaigns.put_files(connection, number, checked.campaign_files)
    return campaigns.read(connection, number)


def copy(connection: Connection, number: int) -> int:
    """Write a campaign once more, with the same recipients and files, as a draft.

    :returns: the number of the new one
    """
    schema.require(connection)
    return campaigns.copy(connection, number)


def written(campaign: Campaign) -> dict[str, Any]:
    """What the author of a campaign wrote, but for files and recipients, which stand elsewhere."""
    names = (name for name in CampaignDraft.model_fields if name not in _APART)
    fields = {name: getattr(campaign, name) for name in names}
    return {**fields, "groups": list(campaign.groups), "data": dict(campaign.data)}


@dataclass(frozen=True, slots=True)
class _Checked:
    """A campaign that is in order.

    :param files: with their content
    """

    draft: CampaignDraft
    rows: list[Row]
    files: list[File]

    @property
    def campaign_files(self) -> list[CampaignFile]:
        pairs = zip(self.draft.attachments, self.files, strict=True)
        return [campaign_file(given, file) for given, file in pairs]


def campaign_file(given: Attachment, file: File) -> CampaignFile:
    """A file as a campaign knows it, and where it came from."""
    stored = file.stored
    return CampaignFile(stored.sha256, stored.filename, stored.content_type, given.uri)


def keep(connection: Connection, files: Sequence[File], settings: HandOverSettings) -> None:
    """Store the contents of files."""
    for file in files:
        attachments.put(connection, file.content, store=settings.attachment_store)


def _read(fields: Mapping[str, Any]) -> CampaignDraft:
    draft, faults = read_campaign(fields)
    if draft is None or faults:
        raise InvalidCampaign(faults)
    return draft


def _check(
    connection: Connection, fields: Mapping[str, Any], settings: HandOverSettings, known: Sequence[Fault] = ()
) -> _Checked:
    draft, found = read_campaign(fields)
    faults = [*known, *found]
    if draft is None:
        raise InvalidCampaign(faults)
    sender = choose_sender(draft.channel, draft.sender, draft.site, settings, faults)
    if draft.reply_to is not None:
        with _told("reply_to", faults):
            parse_address(draft.reply_to)
    faults += _faults_of_content(draft, settings, sender)
    faults += _faults_of_groups(connection, draft)
    if draft.query_connection is not None:
        with _told("query_connection", faults):
            require_allowed(draft.query_connection, settings.campaign_connections)
    rows = _rows(connection, draft, settings, faults)
    files = fetch(draft.attachments, settings.attachment_sources, settings.largest, faults)
    faults += faults_of_size(sum(file.encoded_size for file in files), settings)
    if faults:
        raise InvalidCampaign(faults)
    return _Checked(draft, rows, files)


def faults_of_size(size: int, settings: HandOverSettings) -> list[Fault]:
    """Whether files are too large for a mail.

    :param size: of all of them, on the wire
    """
    told = f"have more than the {settings.largest:,} bytes that most servers take"
    return [Fault("attachments", told)] if size > settings.largest else []


@contextmanager
def _told(field: str, faults: list[Fault]) -> Iterator[None]:
    """Put what is wrong with a field among the faults."""
    try:
        yield
    except (ValueError, UnusableSource, TemplateError) as error:
        faults.append(Fault(field, str(error)))


def _faults_of_content(draft: CampaignDraft, settings: HandOverSettings, sender: str) -> list[Fault]:
    faults: list[Fault] = []
    if draft.template is None:
        with _told("message", faults):
            door_of(draft, settings, sender)  # what was typed is a template
        return faults
    with _told("template", faults):
        templates = library(settings.templates)
        languages = templates.languages(draft.template)
        if draft.language is not None and draft.language.partition("-")[0].lower() not in languages:
            faults.append(Fault("language", f"{draft.template} is written in {', '.join(languages)}; choose one"))
        if draft.channel is ChannelName.SMS and not templates.has_sms(draft.template):
            raise TemplateNotFound(f"{draft.template!r} has no text for an SMS (sms.txt.j2)")
    return faults


def _faults_of_groups(connection: Connection, draft: CampaignDraft) -> list[Fault]:
    known = people.known_groups(connection, draft.groups)
    return [Fault("groups", f"there is no group {name!r}") for name in draft.groups if name not in known]


def _rows(connection: Connection, draft: CampaignDraft, settings: HandOverSettings, faults: list[Fault]) -> list[Row]:
    """Who was typed, and who came in a file."""
    typed = [Row(f"typed {number}", name) for number, name in enumerate(draft.recipients, start=1)]
    faults += _faults_of_typed(connection, draft, settings)
    if draft.csv is None:
        return typed
    with _told("csv", faults):
        return typed + read_csv(draft.csv, draft.channel)
    return typed


def _faults_of_typed(connection: Connection, draft: CampaignDraft, settings: HandOverSettings) -> list[Fault]:
    book = book_of(connection, draft.channel, draft.recipients, settings)
    faults = []
    for name in draft.recipients:
        try:
            list(book.look_up(name, draft.channel))
        except (ValueError, InvalidNumber) as error:
            faults.append(Fault("recipients", str(error)))
    if len(faults) > MOST_FAULTS:
        return [*faults[:MOST_FAULTS], Fault("recipients", f"and {len(faults) - MOST_FAULTS} more")]
    return faults


def book_of(connection: Connection, channel: ChannelName, names: Sequence[str], settings: HandOverSettings) -> Book:
    """Who is behind names, for messages of a channel."""
    by_mail = channel is ChannelName.EMAIL
    return Book(connection, names if by_mail else [], numbers=[] if by_mail else names, region=settings.region)
