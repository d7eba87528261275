"""Receipts of EuroSMS: asked for by a transaction of ours, or by a part's own name. What is pushed is not believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from notify.channels.base import Receipts
from notify.channels.eurosms_client import EuroSmsClient, code_and_words, listed
from notify.channels.eurosms_settings import EuroSmsSettings
from notify.channels.replies import words
from notify.domain.receipt import Arrival, Receipt, read_key
from notify.exceptions import SenderFault

#: All others are no last word: the part is asked for again.
_FINAL = {
    "DELIVRD": Arrival.DELIVERED,
    "SEEN": Arrival.DELIVERED,
    **dict.fromkeys(("UNDELIV", "EXPIRED", "REJECTD", "DELETED"), Arrival.UNDELIVERED),
}

#: What it answers where it knows nothing, which is no fault.
_NOTHING_KNOWN = frozenset({"", "OK", "ERR_NO_SUCH_UUID"})


class EuroSmsReceipts(Receipts):
    """Asks EuroSMS.

    :param settings: the Airflow connection's
    """

    def __init__(self, settings: EuroSmsSettings) -> None:
        self._settings = settings
        self._client = EuroSmsClient(settings)

    def changes(self, transaction: str) -> list[Receipt]:
        """What has changed since the last time; for the same transaction the same again."""
        login, sign = quote(self._settings.login, safe=""), self._settings.sign(transaction)
        return self._read(self._client.look(f"/api/v3/status/any/{login}/{transaction}/{sign}"))

    def of(self, reference: str) -> list[Receipt]:
        """How it stands with one part; the last word comes last."""
        return self._read(self._client.look(f"/api/v3/status/one/{quote(reference, safe='')}"))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read(self, answer: Any) -> list[Receipt]:
        """An answer is a list, an object around one, or a receipt by itself."""
        if isinstance(answer, list):
            return list(self._receipts(answer))
        if not isinstance(answer, Mapping):
            raise self._refused("an answer that is no receipt")
        if "dlrs" in answer:
            return list(self._receipts(listed(answer["dlrs"])))
        if "dlr" in answer:
            return list(self._receipts([answer]))
        code, said = code_and_words(answer)
        if code not in _NOTHING_KNOWN:
            raise self._refused(said)
        return []

    def _refused(self, said: str) -> SenderFault:
        return SenderFault(
            f"{self._settings.url} gives no receipts: {said}.",
            f"Check Login and Password in Admin → Connections → {self._settings.conn_id}; the next run asks again.",
        )

    def _receipts(self, rows: list[Any]) -> Iterator[Receipt]:
        for row in rows:
            if isinstance(row, Mapping) and row.get("i"):
                state = words(row.get("dlr") or "").upper()
                yield Receipt(
                    reference=words(row["i"]),
                    key=read_key(row.get("f")),
                    part=_part(row.get("sgmnt")),
                    arrival=_FINAL.get(state, Arrival.UNDERWAY),
                    words=state,
                    at=self._moment(row.get("dlr_time")),
                    price=_price(row.get("price")),
                    carrier=words(row.get("carrier") or ""),
                )

    def _moment(self, text: object) -> datetime | None:
        """A time in the vendor's zone; in the hour that comes twice, the first."""
        try:
            return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=self._settings.zone)
        except ValueError:
            return None


def _part(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 256 else 1


def _price(value: object) -> Decimal | None:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 <= price < 10_000 else None
