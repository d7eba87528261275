"""What an Airflow connection of type imap says, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Literal

from airflow.sdk import Connection
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from notify.domain.address import CONTROL
from notify.domain.faults import first_of
from notify.exceptions import MailboxFault

#: What is put away is left in the mailbox, and marked as read; or deleted. Anything else is a folder to move it to.
SEEN, DELETED = "\\Seen", "\\Deleted"

_Text = Annotated[str, StringConstraints(strip_whitespace=True)]
_Folder = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Extras(BaseModel):
    """The extra fields of the connection.

    The first two are those of Airflow's own hook, the last six are named as in the SMTP provider.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    use_ssl: bool = True
    ssl_context: Literal["default", "none"] = "default"
    starttls: bool = False
    mailbox: _Folder = "INBOX"
    processed: _Folder = "Processed"
    timeout: Annotated[int, Field(ge=1, le=600)] = 30
    auth_type: Literal["basic", "oauth2"] = "basic"
    access_token: _Text = Field(default="", repr=False)
    client_id: _Text = ""
    client_secret: _Text = Field(default="", repr=False)
    tenant_id: _Text = ""
    scope: _Text = "https://outlook.office365.com/.default"


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """Where a mailbox is, and how to get in.

    :param port: 993 or 143 where the connection names none
    """

    conn_id: str
    host: str
    port: int
    login: str
    password: str = field(repr=False)
    extras: Extras

    @classmethod
    def of(cls, conn_id: str, connection: Connection) -> ImapSettings:
        """Read a connection.

        :raises MailboxFault: a field is missing or wrong
        """
        form = f"Admin → Connections → {conn_id}"
        if connection.conn_type and connection.conn_type != "imap":
            raise MailboxFault(f"Connection {conn_id} is of type {connection.conn_type}.", f"Set it to imap in {form}.")
        extras = _extras(conn_id, connection)
        host, login = (connection.host or "").strip(), (connection.login or "").strip()
        for name, value in (("Host", host), ("Login", login)):
            if not value or CONTROL.search(value):
                raise MailboxFault(
                    f"Connection {conn_id} names no {name}, or none that can be.", f"Fill it in: {form}."
                )
        port = connection.port or (993 if extras.use_ssl else 143)
        if not 1 <= port <= 65535:
            raise MailboxFault(f"The port of connection {conn_id} is none.", f"Correct it in {form}.")
        return cls(conn_id, host, port, login, connection.password or "", extras)

    @property
    def place(self) -> str:
        """Where the server is."""
        return f"{self.host}:{self.port}"

    def redact(self, text: str) -> str:
        """Take secrets out of foreign words: a server may repeat what it was told."""
        for secret in (self.password, self.extras.access_token, self.extras.client_secret):
            if len(secret) > 3:
                quoted = secret.replace("\\", r"\\").replace('"', r"\"")  # as the login has it
                text = text.replace(quoted, "***").replace(secret, "***")
        return text


def _extras(conn_id: str, connection: Connection) -> Extras:
    try:
        given = json.loads(connection.extra or "{}")
        # A form leaves empty what nobody has filled in.
        values = {name: value for name, value in given.items() if value not in (None, "")}
        extras = Extras.model_validate(values)
    except (ValueError, AttributeError, RecursionError) as error:
        problem = first_of(error) if isinstance(error, ValidationError) else "they are no JSON object"
        raise MailboxFault(
            f"The extras of connection {conn_id} cannot be used: {problem}.",
            f"Correct them in Admin → Connections → {conn_id}.",
        ) from None
    for name in ("mailbox", "processed"):
        folder = getattr(extras, name)
        if CONTROL.search(folder) or (folder.startswith("\\") and (name == "mailbox" or folder not in (SEEN, DELETED))):
            raise MailboxFault(
                f"The extra {name} of connection {conn_id} is {folder!r}, which is no folder.",
                rf"Write a folder's name (for processed also \Seen or \Deleted) in Admin → Connections → {conn_id}.",
            )
    return extras
