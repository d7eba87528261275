"""Where attachments come from: handed over with the message, or fetched from an allowed place."""

from __future__ import annotations

import mimetypes
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from notify.domain.message import Attachment
from notify.exceptions import Fault
from notify.storage.attachments import StoredFile


@dataclass(frozen=True, slots=True)
class File:
    """An attachment with its content."""

    filename: str
    content_type: str
    content: bytes

    @property
    def stored(self) -> StoredFile:
        """As the outbox knows it."""
        return StoredFile(sha256(self.content).digest(), self.filename, self.content_type)

    @property
    def encoded_size(self) -> int:
        """Bytes on the wire."""
        return encoded_size(len(self.content))


def encoded_size(size: int) -> int:
    """Bytes of a file on the wire: base64 in lines of 76, and the part's own headers."""
    return size * 78 // 57 + 300


def fetch(given: Sequence[Attachment], allowed: Sequence[str], largest: int, faults: list[Fault]) -> list[File]:
    """The content of attachments, in order.

    :param allowed: URI prefixes that may be read; everything else is refused, the worker's own files above all
    :param largest: bytes that a message may have; no more is read
    :param faults: what is wrong is added here
    """
    files: list[File] = []
    for position, attachment in enumerate(given):
        try:
            content = attachment.inline
            if content is None:
                content = _read(attachment.uri or "", allowed, largest - sum(len(file.content) for file in files))
            files.append(File(attachment.name, _content_type(attachment), content))
        except ValueError as error:
            faults.append(Fault(f"attachments[{position}]", str(error)))
    return files


def _content_type(attachment: Attachment) -> str:
    return attachment.content_type or mimetypes.guess_type(attachment.name)[0] or "application/octet-stream"


def text_of(uri: str, allowed: Sequence[str], most: int) -> str:
    """The text of a file, in UTF-8.

    :param allowed: as for :func:`fetch`
    :param most: bytes that it may have
    :raises ValueError: it cannot be had, is longer, or no text; the message says which
    """
    content = _content(uri, allowed, most)
    if len(content) > most:
        raise ValueError(f"{uri!r} has more than {most:,} bytes; ask the database that it comes from instead")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{uri!r} is no text in UTF-8, from byte {error.start:,} on; save it as UTF-8") from None


def _read(uri: str, allowed: Sequence[str], most: int) -> bytes:
    content = _content(uri, allowed, most)
    if len(content) > most:
        raise ValueError(f"{uri!r} makes the message larger than most servers take; send a link instead")
    return content


def _content(uri: str, allowed: Sequence[str], most: int) -> bytes:
    """What a file begins with: one byte more than it may have, if it has more."""
    if not any(_below(uri, prefix) for prefix in allowed):
        places = ", ".join(allowed) or "none so far"
        raise ValueError(
            f"{uri!r} may not be read; allowed prefixes: {places}. An admin adds them to the Variable "
            "notify_attachment_sources; or hand over the content itself"
        )
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(uri)
    if path.protocol in {"file", "local"}:
        _refuse_escape(path, allowed)
    try:
        with path.open("rb") as file:  # type: ignore[no-untyped-call]  # Airflow has no types for it
            content: bytes = file.read(max(0, most) + 1)
    except Exception as error:  # each storage's library has errors of its own
        raise ValueError(f"{uri!r} cannot be read: {type(error).__name__}: {error}") from error
    return content


def _below(uri: str, prefix: str) -> bool:
    """Whether a URI lies below a prefix; ``s3://a/b`` does not cover ``s3://a/bc``, and ``..`` leads nowhere."""
    place, root = urlsplit(uri), urlsplit(prefix)
    if (place.scheme, place.netloc) != (root.scheme, root.netloc) or place.query or place.fragment:
        return False
    base = posixpath.normpath("/" + root.path.strip("/"))
    path = posixpath.normpath("/" + unquote(place.path).lstrip("/"))
    if ".." in unquote(place.path).split("/"):
        return False
    return path.startswith(base.rstrip("/") + "/")


def _refuse_escape(path: object, allowed: Sequence[str]) -> None:
    """A link inside an allowed folder must not lead out of it."""
    from pathlib import Path

    real = Path(str(path).removeprefix("file://")).resolve()
    roots = [Path(urlsplit(prefix).path).resolve() for prefix in allowed if urlsplit(prefix).scheme == "file"]
    if not any(real.is_relative_to(root) for root in roots):
        raise ValueError(f"{str(path)!r} leads out of the allowed folders")
