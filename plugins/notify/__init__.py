"""A notification outbox for Apache Airflow.

The public face: :func:`enqueue` hands a message over, :func:`publish` an event. Operators are in
:mod:`notify.operators`, errors in :mod:`notify.exceptions`, the fake for your own tests in
:mod:`notify.channels.memory`.

Importing this package is cheap and starts nothing: no database, no template, no Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notify.exceptions import InvalidEvent, InvalidMessage, NotifyError

if TYPE_CHECKING:
    from notify.enqueuing import enqueue
    from notify.handover import HandedOver
    from notify.publishing import Published, publish

__all__ = [
    "HandedOver",
    "InvalidEvent",
    "InvalidMessage",
    "NotifyError",
    "Published",
    "__version__",
    "enqueue",
    "publish",
]
__version__ = "0.1.0"

_LAZY = {
    "HandedOver": "notify.handover",
    "Published": "notify.publishing",
    "enqueue": "notify.enqueuing",
    "publish": "notify.publishing",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
