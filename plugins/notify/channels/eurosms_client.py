"""The HTTP side of EuroSMS: a request, and an answer or its absence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx

from notify.channels.eurosms_settings import EuroSmsSettings
from notify.channels.replies import words
from notify.exceptions import SenderFault, SenderRefused

#: More than this is no answer of the gateway's.
LARGEST_ANSWER = 4 * 1024 * 1024

#: But for receipts: nobody knows how many it tells at once, and those of a day in which nobody asked are many. What is
#: refused for its size would come again with the next question, and no receipt any more.
LARGEST_LOOK = 64 * 1024 * 1024

#: What it answers, mostly an object.
Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Silence:
    """The request was handed over, and no answer came that can be understood.

    :param words: what came instead
    """

    words: str


class EuroSmsClient:
    """A kept connection to the gateway.

    :param settings: the Airflow connection's
    """

    def __init__(self, settings: EuroSmsSettings) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=settings.url, timeout=settings.timeout, follow_redirects=False)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ask(self, path: str, request: Mapping[str, Any]) -> Answer | Silence:
        """Ask for something to be done.

        :raises SenderFault: it was provably not asked for
        """
        said = self._request("POST", path, json.dumps(request, ensure_ascii=False).encode())
        if isinstance(said, Silence):
            return said
        status, body = said
        answer = _object(body)
        if status >= 500:  # whatever it says of itself: it may have been done before that went wrong
            told = code_and_words(answer)[1] if isinstance(answer, dict) else words(body)[:200]
            return Silence(f"the gateway failed at it: HTTP {status}, {told}")
        return answer if isinstance(answer, dict) else Silence(_not_understood(status, body))

    def look(self, path: str) -> Any:
        """Ask how something stands.

        :returns: the answer, whatever JSON it is
        :raises SenderFault: there is none
        """
        said = self._request("GET", path, None, LARGEST_LOOK)
        if isinstance(said, Silence):
            raise self._fault(said.words)
        status, body = said
        answer = _object(body)
        if status >= 400 or answer is None:
            raise self._fault(_not_understood(status, body))
        return answer

    def read(self, path: str) -> str:
        """Ask what is answered in words.

        :raises SenderFault: there is no answer
        """
        said = self._request("GET", path, None)
        if isinstance(said, Silence):
            raise self._fault(said.words)
        status, body = said
        if status >= 400:
            raise self._fault(_not_understood(status, body))
        return words(body)

    def _request(
        self, method: str, path: str, body: bytes | None, most: int = LARGEST_ANSWER
    ) -> tuple[int, bytes] | Silence:
        try:
            status, said = self._exchange(method, path, body, most)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise SenderRefused(
                f"{self._settings.url} cannot be reached: {words(error) or type(error).__name__}.",
                f"Check Host in Admin → Connections → {self._settings.conn_id}, and whether the workers reach it.",
            ) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            return Silence(f"the request was handed over, and no answer came: {words(error) or type(error).__name__}")
        if 300 <= status < 500 and not isinstance(_object(said), dict):  # whoever that is, it has done nothing
            raise SenderRefused(
                f"{self._settings.url} is not EuroSMS: it answers HTTP {status}.",
                f"Check Host, Port and Schema in Admin → Connections → {self._settings.conn_id}.",
            )
        return status, said

    def _exchange(self, method: str, path: str, body: bytes | None, most: int) -> tuple[int, bytes]:
        until, said = monotonic() + self._settings.timeout, bytearray()
        headers = {"Content-Type": "application/json; charset=utf-8"} if body is not None else {}
        with self._http.stream(method, path, content=body, headers=headers) as response:
            for chunk in response.iter_bytes():
                said += chunk
                if monotonic() > until:
                    raise httpx.ReadTimeout("it comes too slowly")
                if len(said) > most:
                    raise httpx.ReadError("it is too long")
        return response.status_code, bytes(said)

    def _fault(self, what: str) -> SenderFault:
        return SenderFault(
            f"{self._settings.url} does not say how it stands: {what}.",
            "The next run asks again; if it stays so, ask EuroSMS.",
        )


def _object(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _not_understood(status: int, body: bytes) -> str:
    return f"the answer cannot be understood: HTTP {status}, {words(body)[:200]}"


def code_and_words(answer: Answer) -> tuple[str, str]:
    """The code that says most, and all that was said."""
    faults = [one for one in listed(answer.get("err_list")) if isinstance(one, dict)]
    told = [one for one in (*faults, answer) if one.get("err_code")]
    codes = [str(one["err_code"]) for one in told]
    said = "; ".join(dict.fromkeys(words(f"{one['err_code']} {one.get('err_desc') or ''}") for one in told))
    return (codes[0] if codes else ""), said or "an answer without err_code"


def listed(value: object) -> list[Any]:
    """A list of what may be one, or one alone, or nothing."""
    return value if isinstance(value, list) else [] if value is None else [value]
