"""SMS through any gateway that takes one SMS in one HTTP request.

What it is sent, and what its answer means, stand in the connection's extras, as templates and as expressions. It has
no receipts, and one request for each SMS; a gateway that deserves more is a channel of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from airflow.sdk import Connection
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notify.channels.base import Channel, Session
from notify.channels.extras import Extras
from notify.channels.replies import words
from notify.channels.web_address import web_address
from notify.domain import sms
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.parcel import Addressee, Parcel
from notify.domain.receipt import own_key
from notify.exceptions import SenderRefused

#: What marks a connection of type http as one of these, as its extra ``gateway``.
NAME = "template"

_MOST_SESSIONS = 16
_LARGEST_ANSWER = 1024 * 1024

#: A question to an answer: ``status``, ``answer`` (its JSON, None where it has none) and ``text``.
Question = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class TemplateGatewaySettings:
    """A connection, read and compiled.

    :param path: a template, as ``headers`` and ``request`` are
    :param accepted: whether the gateway has the SMS
    :param refused: whether it refuses the SMS for good
    :param sender_fault: whether it refuses the account
    """

    conn_id: str
    url: str
    login: str
    password: str = field(repr=False)
    sender: str
    method: str
    path: Template
    headers: Mapping[str, Template]
    request: Template
    accepted: Question
    refused: Question
    sender_fault: Question
    timeout: int
    max_connections: int
    site: str | None

    @classmethod
    def of(cls, conn_id: str, connection: Connection) -> TemplateGatewaySettings:
        """Read a connection.

        :raises notify.exceptions.SenderFault: a field is missing or wrong
        """
        extras = Extras.of(conn_id, connection, "http")
        return cls(
            conn_id=conn_id,
            url=web_address(extras, connection),
            login=connection.login or "",
            password=connection.password or "",
            sender=extras.text("sender") or "",
            method=extras.choice("method", ("POST", "GET", "PUT")),
            path=_template(extras, "path", extras.text("path") or "/"),
            headers=_headers(extras),
            request=_template(extras, "request", _long(extras, "request")),
            accepted=_question(extras, "accepted", "200 <= status < 300"),
            refused=_question(extras, "refused", "false"),
            sender_fault=_question(extras, "sender_fault", "status in (401, 402, 403, 404, 405, 429)"),
            timeout=extras.number("timeout", 30, 1, 600),
            max_connections=extras.number("max_connections", 4, 1, _MOST_SESSIONS),
            site=extras.text("site"),
        )


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)  # no HTML is made here
    environment.filters["urlencode"] = lambda value: quote(str(value), safe="")
    return environment


def _template(extras: Extras, name: str, text: str) -> Template:
    try:
        return _environment().from_string(text)
    except TemplateError as error:
        raise extras.fault(name, f"is no template ({words(error)})") from None


def _question(extras: Extras, name: str, default: str) -> Question:
    text = extras.text(name) or default
    try:
        return _environment().compile_expression(text)
    except TemplateError as error:
        raise extras.fault(name, f"is no expression ({words(error)})") from None


def _long(extras: Extras, name: str) -> str:
    """A text that may have lines."""
    value = extras.values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise extras.fault(name, "is no text")
    return value


def _headers(extras: Extras) -> dict[str, Template]:
    given = extras.values.get("headers") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise extras.fault("headers", "is no JSON object of texts")
    return {str(name): _template(extras, "headers", value) for name, value in given.items()}


class TemplateGatewayChannel(Channel):
    """A gateway, and how it is spoken to.

    :param sender: the connection's id
    :param connection: the connection
    :raises notify.exceptions.SenderFault: a field of the connection is missing or wrong
    """

    def __init__(self, sender: str, connection: Connection) -> None:
        self.sender = sender
        self._settings = TemplateGatewaySettings.of(sender, connection)
        self.max_connections = self._settings.max_connections
        self.site = self._settings.site

    def about(self) -> Mapping[str, str]:
        """Where it leads, and whom readers see."""
        told = {"Gateway": self._settings.url, "From": self._settings.sender, "Site": self._settings.site}
        return {**{name: value for name, value in told.items() if value}, **super().about()}

    def open(self) -> TemplateGatewaySession:
        """Make a client; it connects with its first message."""
        return TemplateGatewaySession(self._settings)


class TemplateGatewaySession(Session):
    """A kept connection.

    :param settings: the Airflow connection's
    """

    def __init__(self, settings: TemplateGatewaySettings) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=settings.url, timeout=settings.timeout, follow_redirects=False)
        self._alive = True

    @property
    def alive(self) -> bool:
        """Whether nothing broke yet."""
        return self._alive

    def close(self) -> None:
        """Close the connection."""
        self._alive = False
        self._http.close()

    def send(self, parcel: Parcel) -> Outcome:
        """Hand over one SMS.

        :raises SenderFault: the gateway cannot be reached, refuses the account, or a template cannot be filled
        """
        self._alive = False
        outcome = Outcome(tuple(self._send(parcel, addressee) for addressee in parcel.addressees))
        self._alive = outcome.verdict is not Verdict.IN_DOUBT
        return outcome

    def _send(self, parcel: Parcel, addressee: Addressee) -> RecipientOutcome:
        try:
            response = self._exchange(self._request(parcel, addressee))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise self._fault(f"cannot be reached: {words(error) or type(error).__name__}", "Host") from None
        except httpx.LocalProtocolError:  # its words may quote a header, and that the password
            raise self._fault(
                "was not asked: the path or a header has a character that HTTP cannot carry, such as a line's end",
                "the extras path and headers, Login and Password",
            ) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            said = f"the request was handed over, and no answer came: {words(error) or type(error).__name__}"
            return RecipientOutcome(addressee.position, Verdict.IN_DOUBT, None, said)
        return self._understood(addressee, response)

    def _request(self, parcel: Parcel, addressee: Addressee) -> httpx.Request:
        settings, text = self._settings, parcel.body.decode()
        seen = {
            "number": addressee.address,
            "digits": addressee.address.removeprefix("+"),
            "text": text,
            "parts": sms.count(text).parts,
            "unicode": sms.count(text).encoding is not sms.Encoding.GSM,
            "key": str(own_key(parcel.id, addressee.position, parcel.message_id)),
            "sender": settings.sender,
            "login": settings.login,
            "password": settings.password,
        }
        try:
            body = settings.request.render(seen).encode()
            headers = {name: value.render(seen) for name, value in settings.headers.items()}
            path = settings.path.render(seen)
            return self._http.build_request(settings.method, path, content=body or None, headers=headers)
        except (TemplateError, TypeError, ValueError, httpx.InvalidURL) as error:
            raise self._fault(f"was not asked: a template fails ({type(error).__name__})", "the extras") from None

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        response = self._http.send(request, stream=True)
        try:
            said = b""
            for chunk in response.iter_bytes():
                said += chunk
                if len(said) > _LARGEST_ANSWER:
                    raise httpx.ReadError("it is too long")
        finally:
            response.close()
        return httpx.Response(response.status_code, content=said)

    def _understood(self, addressee: Addressee, response: httpx.Response) -> RecipientOutcome:
        settings, text = self._settings, response.text
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        seen = {"status": response.status_code, "answer": answer, "text": text}
        said = f"HTTP {response.status_code} {words(self._redacted(text))[:200]}".strip()
        try:
            if settings.accepted(**seen):
                return RecipientOutcome(addressee.position, Verdict.ACCEPTED, None, said)
            if settings.sender_fault(**seen):
                raise self._fault(f"refuses: {said}", "Login and Password")
            refused = settings.refused(**seen)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            said = f"{said}: what it means cannot be told, for an expression fails ({type(error).__name__})"
            return RecipientOutcome(addressee.position, Verdict.IN_DOUBT, None, said)
        verdict = Verdict.PERMANENT if refused else Verdict.IN_DOUBT
        return RecipientOutcome(addressee.position, verdict, None, said)

    def _redacted(self, text: str) -> str:
        """Without what the gateway may repeat of the login."""
        secret = self._settings.password
        return text.replace(secret, "***") if len(secret) > 3 else text

    def _fault(self, what: str, where: str) -> SenderRefused:
        return SenderRefused(
            f"{self._settings.url} {what}.", f"Check {where} in Admin → Connections → {self._settings.conn_id}."
        )
