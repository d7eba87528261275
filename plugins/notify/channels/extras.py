"""The extra fields of an Airflow connection, read by their types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow.sdk import Connection

from notify.domain.address import CONTROL, Address, parse_address
from notify.exceptions import SenderFault

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0", "none", "null"})


@dataclass(frozen=True, slots=True)
class Extras:
    """The extra fields of a connection, by their types.

    :param sender: the connection's id
    :param values: the fields
    """

    sender: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, sender: str, connection: Connection, conn_type: str) -> Extras:
        """Read a connection's extras.

        :param conn_type: the type that the connection must have
        :raises SenderFault: it has another, or its extras are no JSON object
        """
        if connection.conn_type and connection.conn_type != conn_type:
            raise SenderFault(
                f"Connection {sender} is of type {connection.conn_type}.",
                f"Set its type to {conn_type} in Admin → Connections → {sender}.",
            )
        values = connection.extra_dejson
        broken = not isinstance(values, dict) or (not values and (connection.extra or "{}").strip() != "{}")
        if broken and (connection.extra or "").strip() not in {"null", '""', "[]"}:
            raise SenderFault(
                f"The extras of connection {sender} are no JSON object.",
                f"Correct them in Admin → Connections → {sender}.",
            )
        return cls(sender, values if isinstance(values, dict) else {})

    def text(self, name: str) -> str | None:
        """Read a line of text, None where it is missing or blank."""
        value = self.values.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, str):
            raise self.fault(name, "is no text")
        if CONTROL.search(value):
            raise self.fault(name, "holds a line break or control character")
        return value.strip()

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read true or false; a URI brings words, and ``disable_tls=False`` must not disable TLS."""
        given = self.values.get(name)
        value = str(default if given is None or given == "" else given).strip().lower()
        if value not in _TRUE | _FALSE:
            raise self.fault(name, "is neither true nor false")
        return value in _TRUE

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Read a whole number within bounds."""
        value = self.values.get(name)
        if value is None or value == "":
            return default
        text = "" if isinstance(value, bool) else str(value).strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10 and lowest <= int(text) <= highest):
            raise self.fault(name, f"is no whole number from {lowest} to {highest}")
        return int(text)

    def amount(self, name: str, highest: int = 1_000_000) -> Decimal | None:
        """Read an amount of money, None where it is missing or blank."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        text = "" if isinstance(value, bool) else str(value).strip()
        if not _AMOUNT.fullmatch(text) or Decimal(text) > highest:
            raise self.fault(name, f"is no amount from 0 to {highest}, such as 20 or 12.50")
        return Decimal(text)

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        """Read one of several words, the first where it is missing or blank."""
        value = self.text(name) or options[0]
        if value not in options:
            raise self.fault(name, f"is none of: {', '.join(options)}")
        return value

    def address(self, name: str) -> Address | None:
        """Read a mailbox, None where it is missing or blank."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_address(text)
        except ValueError as error:
            raise self.fault(name, f"is no e-mail address ({error})") from None

    def fault(self, name: str, problem: str) -> SenderFault:
        """Make an error about one field."""
        return SenderFault(
            f"The field {name} of connection {self.sender} {problem}.",
            f"Correct {name} in Admin → Connections → {self.sender}.",
        )
