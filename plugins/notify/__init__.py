"""A notification outbox for Apache Airflow.

The public face: :func:`enqueue` hands a message over, :func:`publish` an event, :func:`set_deadline` and
:func:`set_reminder` are about what must not be missed, :func:`set_preference` is about who wants to hear of it when.
Operators are in :mod:`notify.operators`, errors in :mod:`notify.exceptions`, the fake for your own tests in
:mod:`notify.channels.memory`.

Importing this package is cheap and starts nothing: no database, no template, no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notify.exceptions import InvalidDeadline, InvalidEvent, InvalidMessage, InvalidPreference, NotifyError

if TYPE_CHECKING:
    from notify.deadlines import clear_deadline, clear_reminder, set_deadline, set_reminder
    from notify.enqueuing import enqueue
    from notify.handover import HandedOver
    from notify.preferences import clear_preference, set_preference
    from notify.publishing import Published, publish

__all__ = [
    "HandedOver",
    "InvalidDeadline",
    "InvalidEvent",
    "InvalidMessage",
    "InvalidPreference",
    "NotifyError",
    "Published",
    "__version__",
    "clear_deadline",
    "clear_preference",
    "clear_reminder",
    "enqueue",
    "publish",
    "set_deadline",
    "set_preference",
    "set_reminder",
]
__version__ = "0.1.0"

_LAZY = {
    "HandedOver": "notify.handover",
    "Published": "notify.publishing",
    "clear_deadline": "notify.deadlines",
    "clear_preference": "notify.preferences",
    "clear_reminder": "notify.deadlines",
    "enqueue": "notify.enqueuing",
    "publish": "notify.publishing",
    "set_deadline": "notify.deadlines",
    "set_preference": "notify.preferences",
    "set_reminder": "notify.deadlines",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
