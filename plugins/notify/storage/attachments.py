"""Attached files: each stored once, in the outbox or in object storage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from notify.exceptions import ConfigurationError
from notify.storage.models import attachments, campaign_attachments, message_attachments

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it is attached to a message.

    :param sha256: digest of the content, 32 bytes; the file's identity
    """

    sha256: bytes
    filename: str
    content_type: str


@dataclass(frozen=True, slots=True)
class KeptFile:
    """An attachment of a message, and where its content is.

    :param content: the bytes, where the outbox keeps them
    :param uri: where object storage keeps them
    """

    filename: str
    content_type: str
    sha256: bytes
    content: bytes | None
    uri: str | None

    def read(self) -> bytes:
        """Its content; fetched from object storage where it lies there.

        :raises ConfigurationError: the storage does not give it, or gives another
        """
        return self.content if self.content is not None else _download(self.uri or "", self.sha256)


# Housekeeping leaves a file alone that somebody has so locked, or waits to see whether it is in use again.
_KEPT = sa.text("select doomed_at is not null as doomed from notify.attachments where sha256 = :sha256 for key share")
_PARDON = sa.text("update notify.attachments set doomed_at = null where sha256 = :sha256")


def put(connection: Connection, content: bytes, *, store: str | None = None) -> bytes:
    """Keep a file, unless it is kept already.

    :param store: object storage URI to keep it below, None for the outbox itself
    :returns: its digest
    """
    digest = sha256(content).digest()
    doomed = connection.scalar(_KEPT, {"sha256": digest})
    if doomed:  # it may be gone from object storage, though its row is here
        _restore(connection, digest, content)
    elif doomed is None:
        place = {"content": content} if store is None else {"uri": _upload(store, digest, content)}
        values = {"sha256": digest, "size": len(content), **place}
        connection.execute(insert(attachments).values(**values).on_conflict_do_nothing())
    return digest


def _restore(connection: Connection, digest: bytes, content: bytes) -> None:
    from airflow.sdk import ObjectStoragePath

    uri = connection.scalar(sa.select(attachments.c.uri).where(attachments.c.sha256 == digest))
    ObjectStoragePath(str(uri)).write_bytes(content)
    connection.execute(_PARDON, {"sha256": digest})


def of_messages(connection: Connection, message_ids: Sequence[int]) -> dict[int, list[KeptFile]]:
    """The files of messages, in order."""
    rows = connection.execute(
        sa.select(message_attachments, attachments.c.content, attachments.c.uri)
        .join(attachments, attachments.c.sha256 == message_attachments.c.sha256)
        .where(message_attachments.c.message_id.in_(message_ids))
        .order_by(message_attachments.c.message_id, message_attachments.c.position)
    )
    found: dict[int, list[KeptFile]] = {}
    for row in rows:
        file = KeptFile(row.filename, row.content_type, row.sha256, row.content, row.uri)
        found.setdefault(row.message_id, []).append(file)
    return found


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """A file of a campaign, and where its content is.

    :param origin: where it was fetched, None where it was handed over
    """

    kept: KeptFile
    origin: str | None


def of_campaign(connection: Connection, number: int) -> list[CarriedFile]:
    """The files of a campaign, in order."""
    theirs = campaign_attachments
    rows = connection.execute(
        sa.select(theirs, attachments.c.content, attachments.c.uri.label("place"))
        .join(attachments, attachments.c.sha256 == theirs.c.sha256)
        .where(theirs.c.campaign_id == number)
        .order_by(theirs.c.position)
    )
    return [
        CarriedFile(KeptFile(row.filename, row.content_type, row.sha256, row.content, row.place), row.uri)
        for row in rows
    ]


def kept(connection: Connection, file: StoredFile) -> KeptFile:
    """A file that is stored, with where its content is."""
    row = connection.execute(sa.select(attachments).where(attachments.c.sha256 == file.sha256)).one()
    return KeptFile(file.filename, file.content_type, file.sha256, row.content, row.uri)


def sizes(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    """How many bytes files have."""
    query = sa.select(attachments.c.sha256, attachments.c.size).where(attachments.c.sha256.in_(digests))
    return {row.sha256: row.size for row in connection.execute(query)}


def _upload(store: str, digest: bytes, content: bytes) -> str:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(store) / digest.hex()
    path.write_bytes(content)
    return str(path)


def _download(uri: str, digest: bytes) -> bytes:
    from airflow.sdk import ObjectStoragePath

    try:
        content = ObjectStoragePath(uri).read_bytes()
    except Exception as error:  # each storage's library has errors of its own
        raise ConfigurationError(
            f"The attachment {uri} cannot be read from object storage: {type(error).__name__}: {error}. "
            "Restore the file, or cancel the messages that carry it."
        ) from error
    if sha256(content).digest() != digest:
        raise ConfigurationError(
            f"The attachment {uri} is not the file that was handed over. Restore it from a backup of the storage."
        )
    return content


# --- Away with them --------------------------------------------------------------------------------------------------

_UNUSED = """
    select a.sha256 from notify.attachments a
    where a.sha256 = any(cast(:digests as bytea[]))
      and not exists (select from notify.message_attachments m where m.sha256 = a.sha256 offset 0)  -- by the index
      and not exists (select from notify.campaign_attachments c where c.sha256 = a.sha256 offset 0)
"""
_DROP_UNUSED = sa.text(f"""
    with unused as ({_UNUSED} and a.content is not null for update skip locked)
    delete from notify.attachments a using unused where a.sha256 = unused.sha256
""")  # noqa: S608 - made of constants
_DOOM_UNUSED = sa.text(f"""
    with unused as ({_UNUSED} and a.uri is not null and a.doomed_at is null for update skip locked)
    update notify.attachments a set doomed_at = now() from unused where a.sha256 = unused.sha256
""")  # noqa: S608 - made of constants
_DOOMED = sa.text("""
    select sha256, uri from notify.attachments
    where sha256 = any(cast(:digests as bytea[])) and doomed_at is not null for update skip locked
""")


def drop_unused(connection: Connection, digests: Sequence[bytes]) -> int:
    """Remove those files that no message needs, and doom those of them that lie in object storage.

    A doomed file is uploaded anew by whoever attaches it again. So once that is committed, :func:`drop_doomed` may
    delete it: neither does a message lose its file, nor is a file left behind without a row.

    :returns: how many were removed
    """
    dropped = connection.execute(_DROP_UNUSED, {"digests": list(digests)}).rowcount
    connection.execute(_DOOM_UNUSED, {"digests": list(digests)})
    return dropped


def doomed(connection: Connection) -> list[bytes]:
    """Files that lie in object storage, and that no message needed when somebody last looked."""
    return list(connection.scalars(sa.select(attachments.c.sha256).where(attachments.c.doomed_at.is_not(None))))


def drop_doomed(connection: Connection, digests: Sequence[bytes]) -> tuple[int, int]:
    """Delete doomed files from object storage, and then their rows. Who attaches one meanwhile waits.

    :returns: how many were removed, and how many could not be; the next run tries those again
    """
    gone = [row.sha256 for row in connection.execute(_DOOMED, {"digests": list(digests)}).all() if _deleted(row.uri)]
    connection.execute(sa.delete(attachments).where(attachments.c.sha256.in_(gone)))
    return len(gone), len(digests) - len(gone)


def _deleted(uri: str) -> bool:
    from airflow.sdk import ObjectStoragePath

    try:
        ObjectStoragePath(uri).unlink(missing_ok=True)
    except Exception as error:  # noqa: BLE001 - each storage's library has errors of its own
        log.warning(
            "The file %s could not be deleted (%s: %s); the next run tries again.", uri, type(error).__name__, error
        )
        return False
    return True
