"""Attaching: the files of a campaign are refreshed in what has not left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from notify.campaigns.authoring import campaign_file, faults_of_size, keep
from notify.domain.campaign import Campaign, CampaignAction
from notify.domain.message import Attachment
from notify.exceptions import CampaignError, Fault, InvalidCampaign
from notify.settings import HandOverSettings
from notify.storage import attachments, campaign_messages, campaigns, schema
from notify.storage.attachments import StoredFile
from notify.storage.campaigns import CampaignFile
from notify.storage.sources import File, encoded_size, fetch


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of it.

    :param files: how many files the campaign carries now
    :param messages: how many messages that have not left carry them
    """

    files: int
    messages: int


def refresh(
    connection: Connection,
    number: int,
    settings: HandOverSettings,
    given: Sequence[Attachment] | None = None,
) -> Refreshed:
    """Put files anew into what has not left: those that were fetched are fetched again, or others instead of all.

    :param given: other files; None: the same, as they are now where they were fetched
    :raises InvalidCampaign: a file cannot be had, or messages that were made without files cannot take one
    :raises CampaignError: its state does not allow it
    """
    schema.require(connection)
    seen, before = campaigns.read(connection, number), campaigns.files(connection, number)
    faults: list[Fault] = []
    # Before it is locked: nobody who would pause it waits for a server.
    files: list[tuple[CampaignFile, File | None]] = []
    if seen.may(CampaignAction.REFRESH):
        files = _anew(before, settings, faults) if given is None else _others(given, settings, faults)
    campaign = campaigns.expect(connection, number, CampaignAction.REFRESH)
    if campaigns.files(connection, number) != before:
        raise CampaignError(f"Campaign {number} was changed while its files were fetched; refresh them once more.")
    if bool(before) != bool(before if given is None else given) and campaign.number_of_pass and not campaign.stale:
        what = "have no place for files" if not before else "would have an empty place where files were"
        faults.append(Fault("attachments", f"the messages that were made {what}; change the campaign and generate it"))
    faults += faults_of_size(_size(connection, files), settings)
    if faults:
        raise InvalidCampaign(faults)
    keep(connection, [file for _, file in files if file is not None], settings)
    now = [one for one, _ in files]
    campaigns.put_files(connection, number, now)
    return Refreshed(len(now), _put(connection, campaign, before, now))


def _size(connection: Connection, files: Sequence[tuple[CampaignFile, File | None]]) -> int:
    """Of all of them, on the wire."""
    known = attachments.sizes(connection, [one.sha256 for one, _ in files])
    return sum(file.encoded_size if file else encoded_size(known[one.sha256]) for one, file in files)


def _anew(
    before: Sequence[CampaignFile], settings: HandOverSettings, faults: list[Fault]
) -> list[tuple[CampaignFile, File | None]]:
    """The same files; those that were fetched as they are now."""
    found: list[tuple[CampaignFile, File | None]] = []
    for file in before:
        if file.uri is None:
            found.append((file, None))
            continue
        given = Attachment(uri=file.uri, filename=file.filename, content_type=file.content_type)
        fetched = fetch([given], settings.attachment_sources, settings.largest, faults)
        found += [(campaign_file(given, one), one) for one in fetched]
    return found


def _others(
    given: Sequence[Attachment], settings: HandOverSettings, faults: list[Fault]
) -> list[tuple[CampaignFile, File | None]]:
    files = fetch(given, settings.attachment_sources, settings.largest, faults)
    return [(campaign_file(one, file), file) for one, file in zip(given, files, strict=False)]


def _put(
    connection: Connection, campaign: Campaign, before: Sequence[CampaignFile], now: Sequence[CampaignFile]
) -> int:
    sizes = attachments.sizes(connection, [file.sha256 for file in (*before, *now)])
    growth = sum(encoded_size(sizes[file.sha256]) for file in now)
    growth -= sum(encoded_size(sizes[file.sha256]) for file in before)
    stored = [StoredFile(file.sha256, file.filename, file.content_type) for file in now]
    done, after = 0, 0
    while True:
        step = campaign_messages.refresh(connection, campaign, stored, growth, after)
        done += step.size
        if step.last is None:
            return done
        after = step.last
