"""Receipts that the gateway tells by itself, to an address that was registered with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from dev.eurosms.book import Book

PATIENCE = 5.0


@dataclass(frozen=True)
class Push:
    """One try to tell a receipt.

    :param confirmed: whether it was answered as it must be; else it is told again
    """

    uuid: str
    state: str
    confirmed: bool


@dataclass
class Pusher:
    """Tells receipts one after the other, in a thread of its own, until each is confirmed.

    :param changed: the lock of the book; notified when something is taken or asked for
    :param url: whom to tell
    :param form: ``query`` for fields in the query, ``json`` for one field with all of them
    :param pause: seconds before what nobody confirmed is told again
    """

    book: Book
    changed: threading.Condition
    url: str
    form: str
    pause: float
    pushes: list[Push] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eurosms-push", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell no more."""
        with self.changed:
            self._ending.set()
            self.changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            while due := self._due():
                confirmed = [self._push(client, receipt) for receipt in due]
                if not all(confirmed):
                    self._ending.wait(self.pause)

    def _due(self) -> list[dict[str, Any]]:
        """What is to be told; nothing at the end."""
        with self.changed:
            while not self._ending.is_set():
                if due := self.book.to_push():
                    return due
                self.changed.wait()
            return []

    def _push(self, client: httpx.Client, receipt: Mapping[str, Any]) -> bool:
        if self._ending.is_set():
            return False
        uuid = str(receipt["sms_uuid"])
        confirmed = self._tell(client, receipt) == f"ok|{uuid}"
        with self.changed:
            self.pushes.append(Push(uuid, str(receipt["delivery_result"]), confirmed))
            if confirmed:
                self.book.confirm(uuid)
            self.changed.notify_all()
        return confirmed

    def _tell(self, client: httpx.Client, receipt: Mapping[str, Any]) -> str | None:
        fields = receipt if self.form == "query" else {"delivery_report": json.dumps(receipt)}
        try:
            answer = client.get(httpx.URL(self.url).copy_merge_params(dict(fields)))
        except httpx.HTTPError:
            return None
        return answer.text.strip() if answer.status_code == httpx.codes.OK else None
