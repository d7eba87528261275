"""A receipt that a gateway tells by itself, and the address that it tells it to."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from urllib.parse import quote

#: What a gateway may call a part here: it comes from anybody, and is answered with.
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")

_TOKEN = re.compile(r"[0-9a-f]{40}")
_PERSON = b"pushed receipts"


def token(sender: str, secret: bytes) -> str:
    """What stands in the address of a sender.

    :param secret: the outbox's
    """
    return hashlib.blake2b(sender.encode(), digest_size=20, key=secret, person=_PERSON).hexdigest()


def fits(given: str, sender: str, secret: bytes) -> bool:
    """Whether it was made for this sender, by the outbox with this secret."""
    return looks_right(given) and hmac.compare_digest(given, token(sender, secret))


def address(base_url: str, sender: str, found: str) -> str:
    """Where receipts are pushed to: what is registered with the gateway.

    :param base_url: where this Airflow is reached
    :param found: the sender's token
    """
    return f"{base_url}/notify/receipts/{quote(sender, safe='')}/{found}"


def looks_right(given: str) -> bool:
    """Whether it can be a token at all; whether it is one, :func:`fits` says."""
    return bool(_TOKEN.fullmatch(given))


def read_reference(fields: Mapping[str, str]) -> str | None:
    """The part that a receipt of EuroSMS is about: it comes as fields, or as one field with all of them as JSON.

    :returns: what the gateway calls the part; None where it names none
    """
    given: object = fields.get("sms_uuid")
    if given is None:
        try:
            report = json.loads(fields.get("delivery_report", ""))
        except (ValueError, RecursionError):
            return None
        given = report.get("sms_uuid") if isinstance(report, dict) else None
    return given if isinstance(given, str) and _REFERENCE.fullmatch(given) else None


def answer(reference: str) -> str:
    """By what the gateway knows that it need not say it again."""
    return f"ok|{reference}"
