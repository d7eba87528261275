"""The server: the gateway behind HTTP, its orders, its record, and the page that shows it."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from dev.eurosms.book import Account, Book, Fate, Sms
from dev.eurosms.gateway import Answer, Gateway, Manner
from dev.eurosms.orders import Fault, Order, Orders
from dev.eurosms.page import Page
from dev.eurosms.push import Push, Pusher
from dev.eurosms.rules import Refused
from dev.eurosms.wire import Call, HttpServer, Reply
from dev.ports import HOST, require_free

#: Whom it works for where nobody says otherwise.
DEMO = ("demo", "testkey")

_ROUTES = tuple(
    (method, re.compile(path))
    for method, path in (
        ("POST", r"/api/v3/(?P<kind>(?:send|test)/(?:one|o2m|m2m))"),
        ("GET", r"/api/v3/(?P<kind>status/one)/([^/]*)"),
        ("GET", r"/api/v3/(?P<kind>status/(?:group|any))/([^/]*)/([^/]*)/([^/]*)"),
        ("GET", r"/api/v2/(?P<kind>balance)"),
    )
)

_JSON = "application/json; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """A request of the interface.

    :param kind: what it asks for, e.g. ``send/m2m``, ``status/any``, ``balance``
    :param words: what its path names beside, in order: for ``status/any`` integration ID, transaction and signature
    :param body: its JSON, None where it is no JSON
    """

    kind: str
    words: tuple[str, ...]
    body: Any
    at: datetime


class EuroSms:
    """A gateway for SMS on this machine, with the HTTP interface of EuroSMS; delivers nothing.

    >>> with EuroSms() as server:
    ...     server.order(cut(taken=True), on="send/m2m")
    ...     ...  # something sends through server.url
    ...     assert server.doubles() == []

    :param accounts: whom it works for; ``demo`` with the key ``testkey`` if nobody is named
    :param port: 0 takes a free one
    :param fates: what becomes of messages, by how the number ends (the longest ending counts); delivered at the next
        query if not told
    :param manner: how to answer where descriptions of the interface differ
    :param clock: the present moment; it may jump, and :meth:`forward` moves it
    :param record: a file to append a JSON line a message to
    :param recall: begin with what stands in that file, as if this were the server that took it
    :param tls: speak TLS with this certificate
    """

    def __init__(
        self,
        *accounts: Account,
        port: int = 0,
        fates: Mapping[str, Fate] | None = None,
        manner: Manner | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        record: Path | None = None,
        recall: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self.manner = manner or Manner()
        known = {account.iid: account for account in accounts or (Account(*DEMO),)}
        self._book = Book(known, {"": Fate(), **(fates or {})}, clock=lambda: clock() + self._forward)
        self._gateway = Gateway(self._book, self.manner)
        self._forward = timedelta()
        self._orders = Orders()
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._behaved = threading.Event()
        self._record = record
        self._recall = recall
        self._tls = tls
        self._pusher: Pusher | None = None
        self._started = ExitStack()
        self._page = Page(self)

    # --- Life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen.

        :raises dev.errors.StackError: the port is taken
        """
        if self.port:
            require_free(self.port, "SMS_PORT", "The EuroSMS server")
        self._recall_record()
        server = HttpServer(self.port, self._reply, self._tls)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="eurosms", daemon=True)
        thread.start()
        for end in (server.server_close, self.behave, thread.join, server.shutdown, self.push_nowhere):
            self._started.callback(end)

    def _recall_record(self) -> None:
        """Take in what an earlier server took; a line that broke off when that was killed says nothing."""
        if not self._recall or self._record is None or not self._record.exists():
            return
        self._recall = False
        for line in self._record.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                self._book.recall(json.loads(line))

    def stop(self) -> None:
        """Close all connections, and stop listening."""
        self._started.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it answers, and where the page is."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    # --- What happened ------------------------------------------------------------------------------------------------

    @property
    def taken(self) -> list[Sms]:
        """What it took, charged, and means to deliver, the oldest first; dry runs are not among it."""
        with self._changed:
            return list(self._book.taken)

    def doubles(self) -> list[Any]:
        """The own keys that were taken more than once; for messages without one, number and text."""
        with self._changed:
            return self._book.doubles()

    def account(self, iid: str | None = None) -> Account:
        """An account, with what is left on it; the first one, if none is named."""
        with self._changed:
            return self._book.accounts[iid] if iid else next(iter(self._book.accounts.values()))

    def accounts(self) -> list[Account]:
        """All of them."""
        with self._changed:
            return list(self._book.accounts.values())

    def requests(self, on: str = "") -> list[Request]:
        """The requests so far, those that faults met as well.

        :param on: which ones, as with :meth:`order`
        """
        with self._changed:
            return [each for each in self._requests if Order(Fault(), on).fires(each.kind)]

    @property
    def pushes(self) -> list[Push]:
        """The receipts that were pushed, each try."""
        with self._changed:
            return list(self._pusher.pushes) if self._pusher else []

    def wait(self, until: Callable[[EuroSms], object], timeout: float = 10.0) -> bool:
        """Wait for something to be so; looked at again after each request and each push."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(until(self)), timeout)

    # --- What shall happen --------------------------------------------------------------------------------------------

    def order(self, fault: Fault, *, on: str = "send", times: int | None = 1, skip: int = 0) -> None:
        """Have the next requests go wrong, what was ordered first coming first.

        :param on: what the request must be: ``send`` (any way of sending), ``send/m2m``, ``test``, ``status``,
            ``status/any``, ``balance``; or nothing, for all
        :param times: how often, for ever if None
        :param skip: how many such requests go well before
        """
        with self._changed:
            self._orders.add(Order(fault, on, times, skip))

    @property
    def waiting(self) -> list[Order]:
        """The orders that are not used up."""
        with self._changed:
            return list(self._orders.waiting)

    def fate(self, ending: str, fate: Fate) -> None:
        """Say what becomes of messages that are taken from now on.

        :param ending: how their numbers end; a whole number is one as well, and nothing means all
        """
        with self._changed:
            self._book.fates[ending] = fate

    def refuse(self, ending: str, code: str | None) -> None:
        """Have a code answered, instead of taking a message.

        :param ending: as with :meth:`fate`
        :param code: None takes them again
        """
        with self._changed:
            self._book.codes.pop(ending, None)
            if code:
                self._book.codes[ending] = code

    @property
    def fates(self) -> dict[str, Fate]:
        """What becomes of messages, by how the number ends."""
        with self._changed:
            return dict(self._book.fates)

    @property
    def codes(self) -> dict[str, str]:
        """What is answered instead of taking a message, by how the number ends."""
        with self._changed:
            return dict(self._book.codes)

    def top_up(self, balance: Decimal | int | str, iid: str | None = None) -> None:
        """Say what is on an account; on the first one, if none is named."""
        with self._changed:
            self.account(iid).balance = Decimal(balance)

    def forward(self, by: timedelta) -> None:
        """Move the server's clock."""
        with self._changed:
            self._forward += by

    def push_to(self, url: str, *, form: str = "query", pause: float = 0.05) -> None:
        """Push receipts, of what was taken before as well, until each is confirmed.

        :param form: ``query`` or ``json``
        :param pause: seconds before what nobody confirmed is pushed again
        """
        self.push_nowhere()
        self._pusher = Pusher(self._book, self._changed, url, form, pause)

    def push_nowhere(self) -> None:
        """Push no more."""
        if self._pusher:
            self._pusher.stop()

    def behave(self) -> None:
        """Forget all orders; what waits is answered, and silent connections end."""
        with self._changed:
            self._orders = Orders()
            self._behaved.set()
            self._behaved = threading.Event()

    # --- Answering ----------------------------------------------------------------------------------------------------

    def _reply(self, call: Call) -> Reply:
        matches = (path.fullmatch(call.path) for method, path in _ROUTES if method == call.method)
        found = next(filter(None, matches), None)
        if found is None:
            return self._page.reply(call)
        words = tuple(unquote(each) for each in found.groups()[1:])
        if found["kind"] == "balance":
            words = (parse_qs(call.query).get("i", [""])[0],)
        with self._changed:
            request = Request(found["kind"], words, _parsed(call.body), self._book.clock())
            reply = self._faulty(request, self._orders.next(request.kind) or Fault())
            self._requests.append(request)
            self._changed.notify_all()
        return reply

    def _faulty(self, request: Request, fault: Fault) -> Reply:
        answer = self._right(request) if fault.taken else Answer(b"")
        if fault.code is not None:
            answer = self._gateway.refusal(fault.code, fault.status)
        elif fault.body is not None:
            answer = Answer(fault.body, fault.status or answer.status)
        elif fault.alter is not None:
            answer = Answer(fault.alter(answer.body), answer.status)
        return _http(answer, fault, self._behaved)

    def _right(self, request: Request) -> Answer:
        before = len(self._book.taken)
        try:
            return self._done(request)
        except Refused as refused:
            return self._gateway.refusal(refused.code)
        finally:
            self._write(self._book.taken[before:])

    def _done(self, request: Request) -> Answer:
        kind, _, way = request.kind.partition("/")
        gateway = self._gateway
        if kind in ("send", "test"):
            if request.body is None:
                return gateway.refusal("ERR_OTHER", 400)
            return gateway.send(way, request.body, dry=kind == "test")
        ask: Mapping[str, Callable[..., Answer]] = {
            "status/one": gateway.status_one,
            "status/group": gateway.status_group,
            "status/any": gateway.status_any,
            "balance": gateway.balance,
        }
        return ask[request.kind](*request.words)

    def _write(self, messages: list[Sms]) -> None:
        if self._record and messages:
            with self._record.open("a", encoding="utf-8") as record:
                record.writelines(json.dumps(each.as_json()) + "\n" for each in messages)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _http(answer: Answer, fault: Fault, until: threading.Event) -> Reply:
    body = answer.body
    content_type = _JSON
    if isinstance(body, str):
        content_type, body = _TEXT, body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Reply(answer.status, content_type, body, fault.ending, fault.delay, until)
