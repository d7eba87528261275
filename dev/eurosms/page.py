"""The page that shows what was "sent", and takes orders; the same for programs, in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment

from dev.eurosms.book import Fate, amount
from dev.eurosms.orders import NAMED, Order
from dev.eurosms.wire import Call, Reply

if TYPE_CHECKING:
    from dev.eurosms.server import EuroSms

#: How many messages the page shows, the newest first.
SHOWN = 200

#: What a fault can be ordered for, by how it is told.
ON: Mapping[str, str] = {
    "sending": "send",
    "queries for all receipts": "status/any",
    "queries for one receipt": "status/one",
    "queries for a group": "status/group",
    "the balance": "balance",
    "everything": "",
}

_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_POLICY = ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")

_TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    Path(__file__).with_name("page.html").read_text(encoding="utf-8")
)


class _Invalid(Exception):
    """A form has something that makes no sense; the message says what."""


class Page:
    """What people and programs see of a server, beside its interface."""

    def __init__(self, server: EuroSms) -> None:
        self._server = server
        self._actions: Mapping[str, Callable[[Mapping[str, str]], None]] = {
            "order": self._order,
            "fate": self._fate,
            "refuse": self._refuse,
            "balance": self._balance,
            "behave": lambda _form: server.behave(),
        }

    def reply(self, call: Call) -> Reply:
        """Answer a request that is none of the interface."""
        path = call.path
        if call.method == "GET" and path == "/":
            return Reply(HTTPStatus.OK, _HTML, self._html().encode(errors="replace"), headers=(_POLICY,))
        if call.method == "GET" and path == "/control/messages":
            messages = json.dumps([each.as_json() for each in self._server.taken])
            return Reply(HTTPStatus.OK, "application/json", messages.encode())
        action = self._actions.get(path.removeprefix("/control/"))
        if call.method == "POST" and path.startswith("/control/") and action:
            return self._act(call, action)
        return Reply(HTTPStatus.NOT_FOUND, "application/json", b'{"err_code": "ERR_OTHER", "err_desc": "Unknown path"}')

    def _html(self) -> str:
        server = self._server
        taken = server.taken
        return _TEMPLATE.render(
            accounts=server.accounts(),
            waiting=[(_name(order), _where(order.on), order) for order in server.waiting],
            fates=sorted(server.fates.items()),
            codes=sorted(server.codes.items()),
            messages=taken[: -SHOWN - 1 : -1],
            total=len(taken),
            faults=list(NAMED),
            on=list(ON),
        )

    # --- Orders -------------------------------------------------------------------------------------------------------

    def _act(self, call: Call, action: Callable[[Mapping[str, str]], None]) -> Reply:
        if call.origin is not None and urlsplit(call.origin).netloc != call.host:
            return Reply(HTTPStatus.FORBIDDEN, _TEXT, b"This comes from another site.")
        try:
            action(_fields(call))
        except _Invalid as invalid:
            return Reply(HTTPStatus.BAD_REQUEST, _TEXT, str(invalid).encode(errors="replace"))
        return Reply(HTTPStatus.SEE_OTHER, _TEXT, b"Done.", headers=(("Location", "/"),))

    def _order(self, form: Mapping[str, str]) -> None:
        fault, on, times = form.get("fault", ""), form.get("on", "sending"), form.get("times", "1")
        if fault not in NAMED:
            raise _Invalid(f"There is no fault {fault!r}; there are: {', '.join(NAMED)}")
        if on not in ON:
            raise _Invalid(f"A fault cannot be ordered for {on!r}, but for: {', '.join(ON)}")
        self._server.order(NAMED[fault], on=ON[on], times=_number(times) if times else None)

    def _fate(self, form: Mapping[str, str]) -> None:
        states = tuple(form.get("states", "").upper().replace(",", " ").split())
        self._server.fate(_ending(form), Fate(states, after=_number(form.get("after") or "0")))

    def _refuse(self, form: Mapping[str, str]) -> None:
        self._server.refuse(_ending(form), form.get("code", "").strip() or None)

    def _balance(self, form: Mapping[str, str]) -> None:
        iid, balance = form.get("account", ""), form.get("balance", "")
        if iid not in {account.iid for account in self._server.accounts()}:
            raise _Invalid(f"There is no account {iid!r}.")
        try:
            self._server.top_up(amount(balance), iid)
        except ValueError:
            raise _Invalid(f"{balance!r} is no amount.") from None


def _fields(call: Call) -> Mapping[str, str]:
    """A form, as browsers send it or as JSON."""
    text = call.body.decode("utf-8", "replace")
    if call.content_type != "application/json":
        return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
    try:
        fields = json.loads(text)
    except ValueError:
        raise _Invalid("This is no JSON.") from None
    if not isinstance(fields, dict):
        raise _Invalid("This is no object of JSON.")
    return {name: str(value) for name, value in fields.items()}


def _ending(form: Mapping[str, str]) -> str:
    ending = form.get("number", "").strip().removeprefix("+")
    if ending and not (ending.isascii() and ending.isdigit()):
        raise _Invalid(f"{ending!r} is neither a number nor the end of one.")
    return ending


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise _Invalid(f"{text!r} is no count.")
    return int(text)


def _name(order: Order) -> str:
    return next((name for name, fault in NAMED.items() if fault is order.fault), repr(order.fault))


def _where(on: str) -> str:
    return next((name for name, kind in ON.items() if kind == on), on)
