"""The fields of the forms by which DAGs are triggered: their types, and those that a message and a campaign have."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from airflow.sdk import Param

from notify.domain.message import Guarantee

#: Below which heading these stand.
SENDING: dict[str, Any] = {"section": "Sending"}
TEMPLATE: dict[str, Any] = {"section": "Template"}


def names(title: str, description: str, **schema: Any) -> Param:
    """A list, one a line in the form; or one string."""
    return Param(None, title=title, description=description, type=["null", "string", "array"], **schema)


def text(title: str, description: str, **schema: Any) -> Param:
    """A text that may stay empty."""
    return Param(None, title=title, description=description, type=["null", "string"], **schema)


def flag(title: str, description: str, *, default: bool, **schema: Any) -> Param:
    """Yes or no."""
    return Param(default, title=title, description=description, type="boolean", **schema)


def choice(title: str, description: str, values: type[StrEnum], default: StrEnum, **schema: Any) -> Param:
    """One of a few."""
    words = [value.value for value in values]
    return Param(default.value, title=title, description=description, type="string", enum=words, **schema)


def choice_or_none(title: str, description: str, values: type[StrEnum], **schema: Any) -> Param:
    """One of a few, or none of them."""
    words = [None, *(value.value for value in values)]
    return Param(None, title=title, description=description, type=["null", "string"], enum=words, **schema)


def attachments() -> Param:
    """Files that go along."""
    return Param(
        None,
        title="Attachments",
        description='List of {"filename", "content_base64"} or {"uri"}',
        type=["null", "array"],
        items={"type": ["object", "string"]},
    )


def data(description: str) -> Param:
    """What a template sees."""
    return Param(None, title="Data", description=description, type=["null", "object"], **TEMPLATE)


def sending() -> dict[str, Param]:
    """How it is sent."""
    return {
        "sender": text("Sender", "One of notify_senders; empty: that of the site, else the first", **SENDING),
        "site": text("Site", "The branch that it is for; without a sender, that branch's sends it", **SENDING),
        "reply_to": text("Reply to", "Address for answers; empty: the sender's", **SENDING),
        "guarantee": choice_or_none(
            "Guarantee",
            "What happens when the server's answer is lost: send again, or never send twice; empty: an SMS is never "
            "sent twice, a mail is sent again",
            Guarantee,
            **SENDING,
        ),
        "transliterate": flag(
            "Basic alphabet",
            "SMS: write in the basic alphabet what it lacks, so that more fits into a part",
            default=False,
            **SENDING,
        ),
    }
