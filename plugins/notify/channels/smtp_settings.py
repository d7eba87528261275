"""What an Airflow connection of type smtp says, read once; and why a server would not let us in.

Everything here ends in values or in a :class:`~notify.exceptions.SenderFault` that an admin can act upon.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import Connection

from notify.channels.extras import Extras
from notify.channels.replies import last_words, words
from notify.channels.wire import Letterhead
from notify.domain.address import Address, parse_address
from notify.domain.return_path import return_path
from notify.exceptions import SenderFault

_MAX_CONNECTIONS = 64

#: What may be a login in base64, or a token.
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """A connection as the provider's hook reads it, without its supervisor.

    The names up to ``extra_dejson`` are those of Airflow's connection. Reading that one's extras talks to the
    task's supervisor each time (``mask_secret``; Airflow 3.3.2, 2026-11), which is not for several threads.

    :param conn_id: the sender's name
    :param extra_dejson: the provider's own extras, checked
    :param letterhead: what the sender writes on every message
    :param site: the branch that the sender belongs to
    :param max_connections: sessions allowed at once
    :param return_path: the mailbox that is read for bounces; None where that is the From address
    :param pipelining: whether commands may be written in groups, where the server offers it
    :param bounce_secret: see :attr:`notify.channels.base.Channel.bounce_secret`
    :param link_secret: likewise
    """

    conn_id: str
    host: str
    port: int | None
    login: str | None
    password: str | None = field(repr=False)
    extra_dejson: Mapping[str, Any] = field(repr=False)
    letterhead: Letterhead
    site: str | None
    max_connections: int
    return_path: str | None = None
    pipelining: bool = True
    bounce_secret: bytes = field(default=b"", repr=False)
    link_secret: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, sender: str, connection: Connection) -> SmtpSettings:
        """Read a connection.

        :raises notify.exceptions.SenderFault: a field is missing or wrong
        """
        extras = Extras.of(sender, connection, "smtp")
        if not connection.host or not connection.host.strip():
            raise SenderFault(f"Connection {sender} names no host.", f"Fill in Host in Admin → Connections → {sender}.")
        if not 1 <= (connection.port or smtplib.SMTP_PORT) <= 65535:
            raise extras.fault("port", "is no number from 1 to 65535")
        return cls(
            conn_id=sender,
            host=connection.host.strip(),
            port=connection.port,
            login=connection.login,
            password=connection.password,
            extra_dejson=_for_the_provider(extras),
            letterhead=_letterhead(extras, connection.login),
            site=extras.text("site"),
            max_connections=extras.number("max_connections", 4, 1, _MAX_CONNECTIONS),
            return_path=_return_path(extras),
            pipelining=extras.flag("pipelining", default=True),
        )

    @property
    def place(self) -> str:
        """Where the server is: ``host:port``."""
        return f"{self.host}:{self.port or (smtplib.SMTP_SSL_PORT if self.ssl else smtplib.SMTP_PORT)}"

    @property
    def ssl(self) -> bool:
        """Whether the connection is encrypted from its first byte."""
        return not self.extra_dejson["disable_ssl"]

    @property
    def starttls(self) -> bool:
        """Whether the connection is encrypted by STARTTLS."""
        return not self.extra_dejson["disable_tls"]

    @property
    def oauth2(self) -> bool:
        """Whether the login is by OAuth2."""
        return bool(self.extra_dejson["auth_type"] == "oauth2")

    @property
    def standing_token(self) -> bool:
        """Whether a token that stands in the extras logs in, so that nobody can renew it but the admin."""
        return self.oauth2 and bool(self.extra_dejson.get("access_token"))

    def about(self) -> dict[str, str]:
        """What whoever looks after the sender wants to see; what is not set is left out."""
        encryption = "TLS from the first byte" if self.ssl else "STARTTLS" if self.starttls else "none"
        login = "OAuth2" if self.oauth2 else "password" if self.login and self.password else "none"
        answers = self.letterhead.reply_to
        told = {
            "Server": self.place,
            "Encryption": encryption,
            "Login": login,
            "From": _written(self.letterhead.sender),
            "Answers to": _written(answers) if answers else None,
            "Bounces to": self.return_path,
            "Site": self.site,
        }
        return {name: value for name, value in told.items() if value}

    def redact(self, text: str) -> str:
        """Take secrets out of foreign words: a server may repeat what it was told."""
        extras = self.extra_dejson
        for secret in (self.password, extras.get("access_token"), extras.get("client_secret")):
            if secret and len(str(secret)) > 3:
                text = text.replace(str(secret), "***")
        return text


def _for_the_provider(extras: Extras) -> dict[str, Any]:
    return {
        **extras.values,
        "disable_tls": extras.flag("disable_tls"),
        "disable_ssl": extras.flag("disable_ssl"),
        "timeout": extras.number("timeout", 30, 1, 3600),
        "retry_limit": extras.number("retry_limit", 5, 0, 100),
        "auth_type": extras.choice("auth_type", ("basic", "oauth2")),
        "ssl_context": extras.choice("ssl_context", ("default", "none")),
    }


def _letterhead(extras: Extras, login: str | None) -> Letterhead:
    sender = extras.address("from_email") or _address_or_none(login)
    if sender is None:
        raise SenderFault(
            f"Connection {extras.sender} names no From address.",
            f"Fill in From email (the extra from_email) in Admin → Connections → {extras.sender}.",
        )
    name = extras.text("from_name") or sender.name
    return Letterhead(Address(sender.mailbox, name), extras.address("reply_to"))


def _return_path(extras: Extras) -> str | None:
    address = extras.address("return_path")
    if address is None:
        return None
    if address.mailbox.startswith('"'):
        raise extras.fault("return_path", "is in quotes, where nothing can be added to it")
    try:
        return_path(address.mailbox, 1, "", b"")
    except ValueError as error:
        raise extras.fault("return_path", f"is of no use ({error})") from None
    return address.mailbox


def _written(address: Address) -> str:
    return f"{address.name} <{address.mailbox}>" if address.name else address.mailbox


def _address_or_none(login: str | None) -> Address | None:
    try:
        return parse_address(login or "")
    except ValueError:
        return None


# --- Why a server would not let us in -----------------------------------------------------------------------


class TokenError(Exception):
    """No access token could be had."""


def explain(error: Exception, settings: SmtpSettings) -> SenderFault:
    """Say what went wrong while connecting or logging in, and what to do.

    :param error: what the provider, smtplib, ssl or the network raised
    :param settings: the connection
    """
    rule = next(rule for kind, rule in _RULES if isinstance(error, kind))
    cause, remedy = rule(error, settings)
    return SenderFault(settings.redact(cause), remedy.format(form=f"Admin → Connections → {settings.conn_id}"))


Explanation = tuple[str, str]
Rule = Callable[[Any, SmtpSettings], Explanation]

_ENCRYPTION = (
    "Check Port, Disable SSL and Disable TLS in {form}: SSL from the first byte is usual on port 465 "
    "(disable TLS), STARTTLS on 587 (disable SSL), neither on a plain port (disable both)."
)
_LATER = "The next run tries again; if it stays so, ask whoever runs the mail server."


def _login(error: smtplib.SMTPAuthenticationError, settings: SmtpSettings) -> Explanation:
    cause = f"{settings.place} refused the login: {_reply(error)}."
    if 400 <= error.smtp_code < 500:
        return cause, _LATER
    if error.smtp_code in {530, 538} and not (settings.ssl or settings.starttls):
        return cause, f"The server wants encryption first. {_ENCRYPTION}"
    if settings.standing_token:
        return cause, (
            "The access_token in the extras has probably run out: renew it in {form}. With client_id, client_secret "
            "and tenant_id there instead of it, each run fetches a fresh one by itself."
        )
    if settings.oauth2:
        return cause, (
            "A fresh token was refused as well: check Login, client_id, client_secret, tenant_id and scope in {form}, "
            "and whether that application may send for that mailbox."
        )
    return (
        cause,
        "Check Login and Password in {form}; some providers want an app password, or auth_type oauth2.",
    )


def _no_token(error: TokenError, settings: SmtpSettings) -> Explanation:
    return f"There is no access token for {settings.place}: {_quoted(error)}.", (
        "Check client_id, client_secret, tenant_id and scope (or access_token) in {form}, and whether the workers "
        "reach whoever gives tokens."
    )


def _not_offered(error: smtplib.SMTPNotSupportedError, settings: SmtpSettings) -> Explanation:
    if "STARTTLS" not in str(error):
        cause = f"{settings.place} offers no login, and connection {settings.conn_id} has a password."
        return cause, f"Remove Login and Password, or use the port that offers a login. {_ENCRYPTION}"
    cause = f"{settings.place} does not offer STARTTLS."
    if settings.ssl:
        return cause, "The connection is encrypted already: check Disable TLS in {form}."
    return cause, _ENCRYPTION


def _certificate(error: ssl.SSLCertVerificationError, settings: SmtpSettings) -> Explanation:
    return (
        f"The certificate of {settings.place} was not accepted: {error.verify_message or words(error)}.",
        (
            "Let Host in {form} be the name in the certificate, and let the workers trust who issued it "
            '(SSL_CERT_FILE). For a server in a lab, the extra ssl_context "none" skips the check.'
        ),
    )


def _tls(error: ssl.SSLError, settings: SmtpSettings) -> Explanation:
    return f"No encrypted connection with {settings.place}: {error.reason or words(error)}.", _ENCRYPTION


def _greeting(error: smtplib.SMTPResponseException, settings: SmtpSettings) -> Explanation:
    return f"{settings.place} does not work for us: {_reply(error)}.", _LATER


def _hung_up(error: Exception, settings: SmtpSettings) -> Explanation:
    return f"{settings.place} closed the connection before we could log in: {last_words(error)}.", _ENCRYPTION


def _smtp(error: Exception, settings: SmtpSettings) -> Explanation:
    return f"{settings.place}: {_quoted(error)}.", "Check the way of logging in (auth_type) in {form}."


def _no_such_host(error: Exception, settings: SmtpSettings) -> Explanation:
    why = error.strerror if isinstance(error, socket.gaierror) else words(error)
    return f"There is no host {settings.host}: {why}.", "Check Host in {form}, and the workers' DNS."


def _refused(_error: Exception, settings: SmtpSettings) -> Explanation:
    return (
        f"Nothing listens at {settings.place}: connection refused.",
        "Check Host and Port in {form}, whether the mail server runs, and firewalls.",
    )


def _timeout(_error: Exception, settings: SmtpSettings) -> Explanation:
    waited = settings.extra_dejson["timeout"]
    return (
        f"{settings.place} did not answer within {waited} s.",
        f"Check Host in {{form}}, and firewalls. {_ENCRYPTION}",
    )


def _network(error: Exception, settings: SmtpSettings) -> Explanation:
    return (
        f"No connection with {settings.place}: {words(error)}.",
        "Check Host and Port in {form}, and the network.",
    )


def _no_library(error: ImportError, _settings: SmtpSettings) -> Explanation:
    name = error.name or words(error)
    return f"The library {name} is missing.", f"Install {name} where the workers run (OAuth2 needs msal)."


def _not_ascii(error: UnicodeEncodeError, settings: SmtpSettings) -> Explanation:
    if error.encoding == "idna":  # Python 3.13 says so of a host name that is none; before, it was a bare UnicodeError
        return _no_such_host(error, settings)
    return (
        f"The login for {settings.place} has characters outside ASCII, which SMTP logins cannot carry.",
        "Use a Login and Password (or access_token) of ASCII characters, and set them in {form}.",
    )


def _airflow(error: Exception, settings: SmtpSettings) -> Explanation:
    if isinstance(error.__context__, smtplib.SMTPServerDisconnected):
        return _hung_up(error.__context__, settings)
    return f"No login at {settings.place}: {words(error)}.", "Check the extras in {form}."


def _reply(error: smtplib.SMTPResponseException) -> str:
    return f"{error.smtp_code} {_quoted(error.smtp_error)}".strip()


def _quoted(said: object) -> str:
    """Quote a server that may repeat the login it was given, encoded."""
    return _ENCODED.sub("***", words(said))


#: The first kind that fits explains; smtplib's errors are OSErrors, so the order matters.
_RULES: tuple[tuple[type[Exception], Rule], ...] = (
    (TokenError, _no_token),
    (smtplib.SMTPAuthenticationError, _login),
    (smtplib.SMTPResponseException, _greeting),
    (smtplib.SMTPServerDisconnected, _hung_up),
    (smtplib.SMTPNotSupportedError, _not_offered),
    (smtplib.SMTPException, _smtp),
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (socket.gaierror, _no_such_host),
    (ConnectionRefusedError, _refused),
    (TimeoutError, _timeout),
    (OSError, _network),
    (ImportError, _no_library),
    (UnicodeEncodeError, _not_ascii),
    (UnicodeError, _no_such_host),
    (Exception, _airflow),
)
