"""Mail through an SMTP server, as an Airflow connection of type ``smtp`` describes it."""

from __future__ import annotations

import smtplib
from dataclasses import replace
from functools import partial

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

from notify.channels.base import Channel
from notify.channels.dialogue import Client, SslClient
from notify.channels.replies import words
from notify.channels.smtp_session import SmtpSession, Trust
from notify.channels.smtp_settings import SmtpSettings, TokenError, explain
from notify.channels.tokens import Tokens
from notify.exceptions import SenderFault

#: What the provider, smtplib, ssl, msal and the network raise while connecting.
_OPENING_ERRORS = (TokenError, OSError, AirflowException, ImportError, LookupError, RuntimeError, TypeError, ValueError)


class OutboxSmtpHook(SmtpHook):
    """The provider's way of connecting and logging in, with the connection handed in.

    :param settings: the connection, read before
    :param tokens: of the channel, for OAuth2
    """

    def __init__(self, settings: SmtpSettings, tokens: Tokens) -> None:
        super().__init__(smtp_conn_id=settings.conn_id, auth_type=settings.extra_dejson["auth_type"])
        self._settings = settings
        self._tokens = tokens

    def get_connection(self, conn_id: str) -> SmtpSettings:  # type: ignore[override]
        """Return what was handed in; the provider asks for it wherever it connects."""
        assert conn_id == self._settings.conn_id
        return self._settings

    @property
    def token(self) -> str | None:
        """The token that logged in, if one did."""
        return self._access_token

    def connect(self) -> Client:
        """Connect and log in, with a fresh token if the server takes the old one no more."""
        try:
            return self._connect()
        except smtplib.SMTPAuthenticationError as error:
            if not self._token_ran_out(error):
                raise
        self._tokens.drop(self._access_token)
        self._access_token = None
        return self._connect()

    def _token_ran_out(self, error: smtplib.SMTPAuthenticationError) -> bool:
        return self._access_token is not None and not self._settings.standing_token and error.smtp_code >= 500

    def _connect(self) -> Client:
        """Connect and log in; whatever goes wrong, no socket stays open."""
        try:
            self.get_conn()
            client, self._smtp_client = self._smtp_client, None
        finally:
            if isinstance(self._smtp_client, smtplib.SMTP):
                self._smtp_client.close()
            self._smtp_client = None
        assert isinstance(client, Client)
        return client

    def _get_oauth2_token(self) -> str:
        """Ask for a token once for all sessions; the provider asks once for each."""
        return self._tokens.get(self.fetch_token)

    def fetch_token(self) -> str:
        """Get a fresh token, in the provider's way: what stands in the extras, or by client credentials.

        :raises TokenError: there is none
        """
        try:
            return super()._get_oauth2_token()
        except (OSError, AirflowException, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise TokenError(words(error)) from None

    def _build_client(self) -> Client:
        """Greet at once, and do not knock again at a door that stays silent.

        Without EHLO before it, AUTH XOAUTH2 is answered "503 send EHLO first", and smtplib takes 503 for
        "already logged in". And the provider repeats after a lost connection, which is what smtplib's own
        client makes of a timeout too: six timeouts in a row. (Provider 3.2.0 with CPython 3.11, 2026-11.)
        """
        kind = SslClient if self.use_ssl else Client
        client = kind(**self._build_client_kwargs(is_async=False))
        self._smtp_client = client
        client.ehlo_or_helo_if_needed()
        return client


class SmtpChannel(Channel):
    """An SMTP server and the sender's name on its mails.

    The connection is read here, in the thread that makes the channel: sessions ask Airflow nothing.

    :param sender: the connection's id
    :param connection: the connection
    :raises notify.exceptions.SenderFault: a field of the connection is missing or wrong
    """

    #: How it connects and logs in. Another way of getting tokens is a subclass with a :meth:`fetch_token` of its own.
    _hook: type[OutboxSmtpHook] = OutboxSmtpHook

    def __init__(self, sender: str, connection: Connection) -> None:
        self.sender = sender
        self._settings = SmtpSettings.of(sender, connection)
        self.max_connections = self._settings.max_connections
        self.site = self._settings.site
        self._trust = Trust(pipelining=self._settings.pipelining)
        self._tokens = Tokens()

    def about(self) -> dict[str, str]:
        """Where it leads, and what readers see."""
        return {**self._settings.about(), **super().about()}

    def open(self) -> SmtpSession:
        """Connect and log in."""
        settings = replace(self._settings, bounce_secret=self.bounce_secret, link_secret=self.link_secret)
        hook = self._hook(settings, self._tokens)
        try:
            client = hook.connect()
        except _OPENING_ERRORS as error:
            # "from None": a traceback would carry words that were not redacted.
            raise explain(error, settings) from None
        session = SmtpSession(client, settings, self._trust, partial(self._tokens.drop, hook.token))
        international = not (settings.letterhead.sender.mailbox + (settings.return_path or "")).isascii()
        if international and not client.has_extn("smtputf8"):
            session.close()
            raise SenderFault(
                f"The From address is not ASCII, and {settings.place} does not offer SMTPUTF8.",
                f"Set another From email (or return_path) in Admin → Connections → {settings.conn_id}.",
            )
        return session
