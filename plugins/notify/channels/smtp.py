"""Mail through an SMTP server, as an Airflow connection of type ``smtp`` describes it."""

from __future__ import annotations

import smtplib

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

from notify.channels.base import Channel
from notify.channels.dialogue import Client, SslClient
from notify.channels.smtp_session import SmtpSession, Trust
from notify.channels.smtp_settings import SmtpSettings, explain
from notify.exceptions import SenderFault

#: What the provider, smtplib, ssl, msal and the network raise while connecting.
_OPENING_ERRORS = (OSError, AirflowException, ImportError, LookupError, RuntimeError, TypeError, ValueError)


class OutboxSmtpHook(SmtpHook):
    """The provider's way of connecting and logging in, with the connection handed in.

    :param settings: the connection, read before
    """

    def __init__(self, settings: SmtpSettings) -> None:
        super().__init__(smtp_conn_id=settings.conn_id, auth_type=settings.extra_dejson["auth_type"])
        self._settings = settings

    def get_connection(self, conn_id: str) -> SmtpSettings:  # type: ignore[override]
        """Return what was handed in; the provider asks for it wherever it connects."""
        assert conn_id == self._settings.conn_id
        return self._settings

    def connect(self) -> Client:
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

    def __init__(self, sender: str, connection: Connection) -> None:
        self.sender = sender
        self._settings = SmtpSettings.of(sender, connection)
        self.max_connections = self._settings.max_connections
        self.site = self._settings.site
        self._trust = Trust(pipelining=self._settings.pipelining)

    def open(self) -> SmtpSession:
        """Connect and log in."""
        settings = self._settings
        try:
            client = OutboxSmtpHook(settings).connect()
        except _OPENING_ERRORS as error:
            # "from None": a traceback would carry words that were not redacted.
            raise explain(error, settings) from None
        session = SmtpSession(client, settings, self._trust)
        international = not (settings.letterhead.sender.mailbox + (settings.return_path or "")).isascii()
        if international and not client.has_extn("smtputf8"):
            session.close()
            raise SenderFault(
                f"The From address is not ASCII, and {settings.place} does not offer SMTPUTF8.",
                f"Set another From email (or return_path) in Admin → Connections → {settings.conn_id}.",
            )
        return session
