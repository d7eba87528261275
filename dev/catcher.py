"""The mail catcher: an SMTP server that delivers nothing and keeps every mail in a Maildir."""

from __future__ import annotations

import email.policy
import itertools
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from dev.ports import HOST, require_free

SIZE_LIMIT = 64 * 1024 * 1024

# The envelope's recipients, Bcc among them, stand in no other header of a mail.
ENVELOPE_HEADER = "X-Envelope-To"


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that arrived.

    :param recipients: whom the envelope named, one or several
    """

    path: Path
    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def arrived(self) -> datetime:
        """When the catcher stored it."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    @property
    def message_id(self) -> str:
        """The Message-ID header."""
        return str(self.message["Message-ID"] or "").strip()

    @property
    def subject(self) -> str:
        """The Subject header, decoded."""
        return str(self.message["Subject"] or "")

    @property
    def sender(self) -> str:
        """The From header, decoded."""
        return str(self.message["From"] or "")


class Maildir:
    """The folder with the mails, in the Maildir format that mail programs can open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count(1)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in ("tmp", "new", "cur"):
            (path / part).mkdir(exist_ok=True)

    def add(self, content: bytes) -> Path:
        """Store a mail: a reader sees all of it or nothing."""
        name = f"{time.time_ns()}.P{os.getpid()}Q{next(self._numbers)}.localhost"
        draft = self.path / "tmp" / name
        draft.write_bytes(content)
        return draft.rename(self.path / "new" / name)

    def mails(self) -> list[Mail]:
        """All mails, oldest first."""
        files = [*(self.path / "new").iterdir(), *(self.path / "cur").iterdir()]
        return [_read(path) for path in sorted(files, key=lambda path: path.name)]


class Catcher:
    """An SMTP server in a thread of this process.

    :param folder: where the mails land
    :param port: the port to listen on, on this machine only
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.maildir = Maildir(folder)
        self.port = port
        self._controller = Controller(
            self,
            hostname=HOST,
            port=port,
            data_size_limit=SIZE_LIMIT,
            enable_SMTPUTF8=True,
            ident="mail catcher",
        )

    def start(self) -> None:
        """Listen."""
        require_free(self.port, "MAIL_PORT", "The mail catcher")
        self._controller.start()

    def stop(self) -> None:
        """Stop listening."""
        self._controller.stop(no_assert=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the mail, with the envelope on top."""
        recipients = "".join(f"{ENVELOPE_HEADER}: {each}\n" for each in envelope.rcpt_tos)
        top = f"Return-Path: <{envelope.mail_from}>\n{recipients}"  # where it comes back to, as servers note it
        content = cast("bytes", envelope.content).replace(b"\r\n", b"\n")  # as Maildir has it
        self.maildir.add(top.encode() + content)
        return "250 2.0.0 Caught"


def _read(path: Path) -> Mail:
    message = BytesParser(policy=email.policy.default).parsebytes(path.read_bytes())
    recipients = tuple(str(each) for each in message.get_all(ENVELOPE_HEADER, []))
    return Mail(path, recipients, message)
