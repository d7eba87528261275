"""What the tests of bounces share: messages that were sent, and the reports that come back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from airflow.sdk import Connection
from sqlalchemy.engine import Engine

from notify.bouncing import BounceResult, Bouncing
from notify.channels.memory import MemoryChannel
from notify.domain.return_path import return_path
from notify.drain import Drainer
from notify.handover import hand_over
from notify.mailboxes import Source
from notify.mailboxes.imap import ImapSource
from notify.mailboxes.imap_settings import ImapSettings
from notify.settings import BounceSettings, HandOverSettings
from notify.storage import bounces, register, suppressions
from notify.storage.engine import transaction
from notify.storage.register import RegisteredMessage
from notify.storage.suppressions import Suppression
from tests.imap_server import HOST, LOGIN, PASSWORD, ImapServer

SENDER = "smtp_default"
MAILBOX = "bounces@example.com"

#: What a report says of a recipient: the address, the status, the words.
Said = tuple[str, str, str]

GONE = ("5.1.1", "smtp; 550 5.1.1 no such mailbox")
FULL = ("5.2.2", "smtp; 552 5.2.2 over quota")
SPAM = ("5.7.1", "smtp; 554 5.7.1 looks like advertising")


def dsn(
    message_id: str, said: Iterable[Said], *, to: str = MAILBOX, action: str = "failed", original: str | None = None
) -> bytes:
    """A delivery report, as Postfix makes it.

    :param message_id: of the mail that it is about
    :param to: the address that it comes to
    """
    groups = [
        f"Final-Recipient: rfc822; {address}\n"
        + (f"Original-Recipient: rfc822; {original}\n" if original else "")
        + f"Action: {action}\nStatus: {status}\nDiagnostic-Code: {words}\n"
        for address, status, words in said
    ]
    boundary = uuid4().hex
    text = f"""From: MAILER-DAEMON@mail.example.org
To: {to}
Message-ID: <{uuid4().hex}@mail.example.org>
Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"

--{boundary}
Content-Type: text/plain

Something did not arrive.
--{boundary}
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org

{chr(10).join(groups)}
--{boundary}
Content-Type: text/rfc822-headers

Message-ID: {message_id}
Subject: it
--{boundary}--
"""
    return text.replace("\n", "\r\n").encode()


def imap_connection(port: int, **extra: Any) -> Connection:
    """The connection of a server in the clear."""
    given = {"use_ssl": False, **extra}
    return Connection(
        conn_id="imap_bounces", conn_type="imap", host=HOST, port=port, login=LOGIN, password=PASSWORD,
        extra=json.dumps(given),
    )  # fmt: skip


@dataclass
class Postroom:
    """An outbox, a mailbox, and those who work at them."""

    engine: Engine
    settings: HandOverSettings
    server: ImapServer
    extra: Mapping[str, Any] = field(default_factory=dict)

    def send(self, *recipients: str, **fields: Any) -> RegisteredMessage:
        """Hand one message over, and send it."""
        number = self.queue(*recipients, **fields)
        self.drain()
        return self.read(number)

    def queue(self, *recipients: str, **fields: Any) -> int:
        """Hand one message over."""
        given = {"recipient": list(recipients), "one_mail": True, "subject": "Hi", "message": "Hello"} | fields
        with transaction(self.engine) as connection:
            [message] = hand_over(connection, given, self.settings).messages
        return message.id

    def drain(self, channel: MemoryChannel | None = None) -> MemoryChannel:
        """Send what is queued; to nowhere."""
        channel = channel or MemoryChannel()
        Drainer(self.engine, channel, SENDER, limit=-1).run()
        return channel

    def bounce(self, message: RegisteredMessage, status: tuple[str, str] = GONE, **more: Any) -> bytes:
        """Have a message come back to its own return path, from all its recipients; it lies in the mailbox then."""
        said = [(one.address, *status) for one in message.recipients]
        given = {"said": said, "to": self.return_path(message)} | more
        raw = dsn(message.message_id, **given)
        self.server.deliver(raw)
        return raw

    def return_path(self, message: RegisteredMessage, message_id: str | None = None) -> str:
        """The address that a message comes back to.

        :param message_id: that it is made of, where it is not the message's own
        """
        with self.engine.connect() as connection:
            secret = bounces.secret(connection)
        return return_path(MAILBOX, message.id, message_id or message.message_id, secret)

    def source(self, **extra: Any) -> Source:
        """The mailbox, as the connection describes it."""
        connection = imap_connection(self.server.port, **{**self.extra, **extra})
        return ImapSource(ImapSettings.of("imap_bounces", connection))

    def run(self, *, contact: str = "", source: Source | None = None, **more: Any) -> BounceResult:
        """A run of DeliveryReports."""
        following = BounceSettings(contact=contact)
        return Bouncing(self.engine, self.settings, following, source or self.source(), **more).run()

    # --- What became of it -------------------------------------------------------------------------------------------

    def read(self, number: int) -> RegisteredMessage:
        """A message of the register."""
        with self.engine.connect() as connection:
            return register.read(connection, number)

    def suppressed(self) -> dict[str, Suppression]:
        """The list of suppressed addresses."""
        with self.engine.connect() as connection:
            return {one.address: one for one in suppressions.newest(connection, 1000)}

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query), values)]

    def do(self, statement: str, **values: Any) -> None:
        """Run a statement."""
        with transaction(self.engine) as connection:
            connection.execute(sa.text(statement), values)

    def state(self) -> list[list[tuple[Any, ...]]]:
        """All that a run can change."""
        tables = ("messages", "recipients", "bounces", "suppressions", "message_events")
        return [self.rows(f"select * from notify.{table} order by 1, 2") for table in tables]
