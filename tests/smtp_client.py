"""What the tests of the SMTP channel share: a connection's form, a message, and faults without secrets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from airflow.sdk import Connection

from notify.channels.smtp import SmtpChannel
from notify.domain.outcome import Outcome
from notify.domain.parcel import Addressee, Parcel
from notify.exceptions import SenderFault
from tests.smtp_sink import HOST

PASSWORD = "s3cret-pa55word"
ENCODED = base64.b64encode(f"\0clerk\0{PASSWORD}".encode()).decode()
ANNA, BOB = "anna@example.com", "bob@example.com"
PLAIN = {"disable_ssl": True, "disable_tls": True, "from_email": "notify@example.com"}


def connection(port: int, *, host: str = HOST, login: str | None = None, **extra: object) -> Connection:
    """The sender's connection."""
    return Connection(
        conn_id="smtp_default",
        conn_type="smtp",
        host=host,
        port=port,
        login=login,
        password=PASSWORD if login else None,
        extra=json.dumps(PLAIN | extra),
    )


def channel(port: int, **rest: object) -> SmtpChannel:
    """A channel to a port of this machine."""
    return SmtpChannel("smtp_default", connection(port, **rest))  # type: ignore[arg-type]


def parcel(
    *addresses: str, number: int = 1, body: bytes = b"Dear reader,\r\n", extra: bytes = b"", **rest: object
) -> Parcel:
    """A message, for Anna if for nobody else."""
    message_id = f"<{number}.7f3a@notify.example.com>"
    return Parcel(
        id=number,
        message_id=message_id,
        addressees=tuple(Addressee(place, address) for place, address in enumerate(addresses or (ANNA,))),
        headers=f"Subject: Invoice\r\nMessage-ID: {message_id}\r\n".encode() + extra,
        body=body,
        **rest,  # type: ignore[arg-type]
    )


def send(port: int, message: Parcel | None = None, **rest: object) -> Outcome:
    """Send one message on a session of its own."""
    with channel(port, **rest).open() as session:
        return session.send(message or parcel())


def fault_of(act: Callable[[], object]) -> SenderFault:
    """The fault that an act ends in; no secret is in it, and the remedy names the connection."""
    with pytest.raises(SenderFault) as caught:
        act()
    shown = f"{caught.value!s} {caught.value!r} {caught.value.__cause__!r}"
    assert PASSWORD not in shown
    assert "t0ken" not in shown
    assert "{" not in caught.value.remedy
    assert "smtp_default" in caught.value.remedy or "next run" in caught.value.remedy
    return caught.value
