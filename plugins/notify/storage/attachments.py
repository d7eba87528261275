"""Attached files: each stored once, in the outbox or in object storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class ReadFile:
    """A message's attachment with its content."""

    message_id: int
    filename: str
    content_type: str
    content: bytes


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


def read_stored(connection: Connection, message_ids: Sequence[int]) -> Iterator[ReadFile]:
    """The files of messages, in order.

    :raises ConfigurationError: the object storage no longer has a file, or has another
    """
    rows = connection.execute(
        sa.select(message_attachments, attachments.c.content, attachments.c.uri)
        .join(attachments, attachments.c.sha256 == message_attachments.c.sha256)
        .where(message_attachments.c.message_id.in_(message_ids))
        .order_by(message_attachments.c.message_id, message_attachments.c.position)
    ).all()
    for row in rows:
        content = row.content if row.uri is None else _download(row.uri, row.sha256)
        yield ReadFile(row.message_id, row.filename, row.content_type, content)


def _upload(store: str, digest: bytes, content: bytes) -> str:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(store) / digest.hex()
    path.write_bytes(content)
    return str(path)


def _download(uri: str, digest: bytes) -> bytes:
    from airflow.sdk import ObjectStoragePath

    try:
        content = ObjectStoragePath(uri).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The attachment {uri} cannot be read from object storage: {error}. "
            "Restore the file, or cancel the messages that carry it."
        ) from error
    if sha256(content).digest() != digest:
        raise ConfigurationError(
            f"The attachment {uri} is not the file that was handed over. Restore it from a backup of the storage."
        )
    return content
