"""What an Airflow connection to EuroSMS says, read once."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow.sdk import Connection

from notify.channels.extras import Extras
from notify.channels.web_address import web_address
from notify.exceptions import SenderFault

#: Where EuroSMS is reached, unless the connection says otherwise.
HOST = "https://as.eurosms.com"

#: Where it is at home: its times do not say their zone.
ZONE = "Europe/Bratislava"

_MOST_SESSIONS = 16

#: The most that EuroSMS takes in one request.
MOST_MESSAGES = 1000

#: Who an SMS is from: a name that telephones show, or a whole international number.
_SENDER = re.compile(r"[A-Za-z0-9 .-]{1,11}|\+?[1-9][0-9]{6,14}")

_ALGORITHMS = ("sha256", "sha1")


@dataclass(frozen=True, slots=True)
class EuroSmsSettings:
    """A connection to EuroSMS.

    :param url: scheme, host and port, without a path
    :param login: the integration ID
    :param key: the integration key, which signs and is never sent
    :param sender: whom telephones show
    :param algorithm: of signatures
    :param test: ask only whether an SMS would be taken: nothing is delivered, and nothing charged
    :param ttl: how long the network tries to deliver, in seconds; None: as long as it does
    :param timeout: for an answer, in seconds
    :param zone: of the times in receipts, which do not say
    :param batch: messages in one request; as many may be in doubt where it is not answered
    :param credit_warning: what to warn below of what is left on the account; None: where nothing is left
    """

    conn_id: str
    url: str
    login: str
    key: bytes = field(repr=False)
    sender: str
    algorithm: str
    test: bool
    ttl: int | None
    timeout: int
    site: str | None
    max_connections: int
    batch: int
    zone: ZoneInfo
    credit_warning: Decimal | None

    @classmethod
    def of(cls, conn_id: str, connection: Connection) -> EuroSmsSettings:
        """Read a connection.

        :raises notify.exceptions.SenderFault: a field is missing or wrong
        """
        extras = Extras.of(conn_id, connection, "http")
        return cls(
            conn_id=conn_id,
            url=web_address(extras, connection, HOST),
            login=_needed(conn_id, "login", connection.login, "the integration ID"),
            key=_needed(conn_id, "password", connection.password, "the integration key").encode(),
            sender=_sender(extras),
            algorithm=extras.choice("algorithm", _ALGORITHMS),
            test=extras.flag("test"),
            ttl=extras.number("ttl", 0, 0, 7 * 86400) or None,
            timeout=extras.number("timeout", 30, 1, 600),
            site=extras.text("site"),
            max_connections=extras.number("max_connections", 2, 1, _MOST_SESSIONS),
            zone=_zone(extras),
            batch=extras.number("batch", 100, 1, MOST_MESSAGES),
            credit_warning=extras.amount("credit_warning"),
        )

    def sign(self, *values: str) -> str:
        """The signature over values, joined."""
        return hmac.new(self.key, "".join(values).encode(), self.algorithm).hexdigest()

    def about(self) -> Mapping[str, str]:
        """What whoever looks after the sender wants to see."""
        told = {
            "Gateway": self.url,
            "From": self.sender,
            "Test only": "yes: nothing is delivered" if self.test else None,
            "Site": self.site,
        }
        return {name: value for name, value in told.items() if value}


def _zone(extras: Extras) -> ZoneInfo:
    name = extras.text("zone") or ZONE
    try:
        return ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError):
        raise extras.fault("zone", f"is no time zone; write an IANA name such as {ZONE}") from None


def _needed(conn_id: str, name: str, value: str | None, what: str) -> str:
    if value and value.strip():
        return value.strip()
    raise SenderFault(
        f"Connection {conn_id} has no {name}.", f"Fill in {what} as {name} in Admin → Connections → {conn_id}."
    )


def _sender(extras: Extras) -> str:
    sender = extras.text("sender")
    if sender is None:
        raise SenderFault(
            f"Connection {extras.sender} does not say whom SMS are from.",
            f'Add the extra "sender" in Admin → Connections → {extras.sender}: a name of at most 11 characters '
            "(letters, digits, hyphen, space, dot), or a whole international number.",
        )
    if not _SENDER.fullmatch(sender):
        raise extras.fault(
            "sender",
            "is neither a name of at most 11 characters (letters, digits, hyphen, space, dot) nor a whole "
            "international number",
        )
    return sender
