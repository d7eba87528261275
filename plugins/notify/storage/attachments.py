"""Attached files: each stored once, in the outbox or in object storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from notify.exceptions import ConfigurationError
from notify.storage.models import attachments, message_attachments


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


def put(connection: Connection, content: bytes, *, store: str | None = None) -> bytes:
    """Keep a file, unless it is kept already.

    :param store: object storage URI to keep it below, None for the outbox itself
    :returns: its digest
    """
    digest = sha256(content).digest()
    if connection.scalar(sa.select(sa.literal(1)).where(attachments.c.sha256 == digest)):
        return digest
    place = {"content": content} if store is None else {"uri": _upload(store, digest, content)}
    values = {"sha256": digest, "size": len(content), **place}
    connection.execute(insert(attachments).values(**values).on_conflict_do_nothing())
    return digest


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
