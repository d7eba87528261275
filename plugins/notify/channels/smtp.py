"""Mail through an SMTP server, as an Airflow connection of type ``smtp`` describes it."""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

from notify.channels import wire
from notify.channels.base import Channel, Session
from notify.channels.replies import Reply, last_words, words
from notify.channels.smtp_settings import SmtpSettings, explain
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.parcel import Addressee, Parcel
from notify.exceptions import SenderFault

#: Content is written in pieces, so that the timeout bounds a standstill and not the size of a message.
_PIECE = 1 << 16

#: How long a server gets to say goodbye, in seconds.
_FAREWELL = 5.0

#: Enhanced codes of MAIL refusals that are about this message and not about us: too big, too big for the
#: system, an address that needs SMTPUTF8 (RFC 3463, RFC 6531).
_ABOUT_THE_MESSAGE = frozenset({"5.2.3", "5.3.4", "5.6.7"})

#: What fits between the brackets of a command and cannot end it; the door has checked the rest.
_MAILBOX = re.compile(r'(?:"(?:\\[ -~]|[^"\\\x00-\x1f\x7f])*"|[^\s<>"\x00-\x1f\x7f]+)@[^\s<>"@\x00-\x1f\x7f]+')

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

    def connect(self) -> smtplib.SMTP:
        """Connect and log in; whatever goes wrong, no socket stays open."""
        try:
            self.get_conn()
            client, self._smtp_client = self._smtp_client, None
        finally:
            if isinstance(self._smtp_client, smtplib.SMTP):
                self._smtp_client.close()
            self._smtp_client = None
        assert isinstance(client, smtplib.SMTP)
        return client

    def _build_client(self) -> smtplib.SMTP_SSL | smtplib.SMTP:
        """Greet at once, and do not knock again at a door that stays silent.

        Without EHLO before it, AUTH XOAUTH2 is answered "503 send EHLO first", and smtplib takes 503 for
        "already logged in". And the provider repeats after a lost connection, which is what smtplib makes of
        a timeout too: six timeouts in a row. (Provider 3.2.0 with CPython 3.11, 2026-11.)
        """
        try:
            client = super()._build_client()
            self._smtp_client = client
            client.ehlo_or_helo_if_needed()
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, TimeoutError):
                raise error.__context__ from None
            raise
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

    def open(self) -> SmtpSession:
        """Connect and log in."""
        settings = self._settings
        try:
            client = OutboxSmtpHook(settings).connect()
        except _OPENING_ERRORS as error:
            # "from None": a traceback would carry words that were not redacted.
            raise explain(error, settings) from None
        session = SmtpSession(client, settings)
        if not settings.letterhead.sender.mailbox.isascii() and not client.has_extn("smtputf8"):
            session.close()
            raise SenderFault(
                f"The From address is not ASCII, and {settings.place} does not offer SMTPUTF8.",
                f"Set another From email in Admin → Connections → {settings.conn_id}.",
            )
        return session


class _SessionLostError(Exception):
    """The connection went, or speaks no SMTP any more, at a stage where the message was surely not taken."""

    def __init__(self, stage: str, why: str) -> None:
        self.stage = stage
        super().__init__(f"the session ended at {stage}: {why}")


class SmtpSession(Session):
    """A session that is logged in.

    :param client: connected and logged in
    :param settings: the connection it came from
    """

    def __init__(self, client: smtplib.SMTP, settings: SmtpSettings) -> None:
        self._client = client
        self._settings = settings
        self._ready = True
        # A last short piece of a long message would else wait for the acknowledgement of the one before.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def alive(self) -> bool:
        """Whether the connection stands and no transaction was left half-way."""
        return self._ready and self._client.sock is not None

    def close(self) -> None:
        """Say QUIT on a session that is in order, and close."""
        with suppress(OSError, ValueError):
            if self.alive:
                self._socket.settimeout(min(_FAREWELL, self._settings.extra_dejson["timeout"]))
                self._client.docmd("QUIT")
        self._ready = False
        self._hang_up()

    def send(self, parcel: Parcel) -> Outcome:
        """Send one message."""
        if not self.alive:
            raise self._fault("the session is closed", _RECONNECT)
        self._ready = False  # an exception leaves it so: nobody knows what the server waits for
        try:
            outcome = self._transact(parcel)
        except _SessionLostError as lost:
            self._hang_up()
            raise self._fault(str(lost), _RECONNECT) from None
        self._ready = True
        return outcome

    # --- the transaction ------------------------------------------------------------------------------------

    def _transact(self, parcel: Parcel) -> Outcome:
        try:
            content = wire.assemble(parcel, self._settings.letterhead.preface(parcel, datetime.now(UTC)))
        except ValueError as error:
            return Outcome.same(parcel.positions, Verdict.PERMANENT, None, f"5.6.0 {words(error)}")
        head = content[: content.find(b"\r\n\r\n")]
        if problem := self._cannot_carry(head, content):
            return Outcome.same(parcel.positions, Verdict.PERMANENT, None, problem)
        refusal = self._mail(self._mail_options(parcel.addressees, head, content))
        if refusal:
            self._reset()
            return _same(parcel.positions, refusal)
        told = [self._rcpt(addressee) for addressee in parcel.addressees]
        if not any(outcome.verdict is Verdict.ACCEPTED for outcome in told):
            self._reset()
            return Outcome(tuple(told))
        final = self._data(content)
        return Outcome(tuple(_merged(outcome, final) for outcome in told))

    def _cannot_carry(self, head: bytes, content: bytes) -> str | None:
        if not head.isascii() and not self._offers("smtputf8"):
            return "5.6.7 The message's headers are not ASCII and the server does not offer SMTPUTF8"
        if not content.isascii() and not self._offers("8bitmime"):
            return "5.6.3 The message is not 7-bit and the server does not offer 8BITMIME"
        return None

    def _mail_options(self, addressees: Iterable[Addressee], head: bytes, content: bytes) -> list[str]:
        options = [f"SIZE={len(content)}"] if self._offers("size") else []
        if not content.isascii():
            options.append("BODY=8BITMIME")
        addresses = [self._settings.letterhead.sender.mailbox, *(one.address for one in addressees)]
        international = not head.isascii() or not all(map(str.isascii, addresses))
        international = international and self._offers("smtputf8")
        if international:
            options.append("SMTPUTF8")
        self._client.command_encoding = "utf-8" if international else "ascii"
        return options

    def _mail(self, options: list[str]) -> Reply | None:
        """Begin; return a refusal that is about this message."""
        reply = self._ask("MAIL", f"FROM:<{self._settings.letterhead.sender.mailbox}>", *options)
        if reply.verdict is Verdict.ACCEPTED:
            return None
        about_message = reply.code == 552 or reply.enhanced in _ABOUT_THE_MESSAGE
        if reply.verdict is Verdict.TEMPORARY or about_message:
            return reply
        raise self._fault(
            f"the From address was refused: {reply}",
            "Check From email, Login and Password in {form}, and whether that login may send from it.",
        )

    def _rcpt(self, addressee: Addressee) -> RecipientOutcome:
        position, address = addressee.position, addressee.address
        if not address.isascii() and not self._offers("smtputf8"):
            text = "5.6.7 The address is not ASCII and the server does not offer SMTPUTF8"
            return RecipientOutcome(position, Verdict.PERMANENT, None, text)
        if not _MAILBOX.fullmatch(address):
            text = "5.1.3 The address holds a character that an SMTP command cannot carry"
            return RecipientOutcome(position, Verdict.PERMANENT, None, text)
        reply = self._ask("RCPT", f"TO:<{address}>")
        assert reply.verdict
        return RecipientOutcome(position, reply.verdict, reply.code, reply.text)

    def _data(self, content: bytes) -> RecipientOutcome:
        """Hand the content over; the position of what is returned means nothing."""
        reply = self._ask("DATA", going_on=354)
        if reply.code != 354:
            self._reset()
            return _outcome(reply)
        try:
            self._write(wire.on_wire(content))
        except OSError as error:
            return self._broken_off(error)
        return self._final()

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        for start in range(0, len(view), _PIECE):
            self._socket.sendall(view[start : start + _PIECE])

    def _broken_off(self, error: OSError) -> RecipientOutcome:
        """Learn why, from what a server may say as it hangs up. The final dot was surely not sent."""
        text = f"the connection was lost while the message was handed over: {words(error)}"
        reply = None
        if not isinstance(error, TimeoutError):
            with suppress(_SessionLostError):
                reply = self._reply("content")
        self._hang_up()
        if reply and reply.verdict in {Verdict.TEMPORARY, Verdict.PERMANENT}:
            return _outcome(reply)
        return RecipientOutcome(0, Verdict.TEMPORARY, None, text)

    def _final(self) -> RecipientOutcome:
        try:
            reply = self._reply("the final answer")
        except _SessionLostError as lost:
            self._hang_up()
            text = f"everything was handed over, no answer came: {lost}"
            return RecipientOutcome(0, Verdict.IN_DOUBT, None, text)
        if reply.code == 421:
            self._hang_up()
        elif reply.verdict is not Verdict.ACCEPTED:
            self._reset()
        return _outcome(reply)

    # --- the connection -------------------------------------------------------------------------------------

    @property
    def _socket(self) -> socket.socket:
        if self._client.sock is None:
            raise ConnectionAbortedError("the connection is closed")
        return self._client.sock

    def _offers(self, extension: str) -> bool:
        return self._client.has_extn(extension)

    def _ask(self, verb: str, *arguments: str, going_on: int | None = None) -> Reply:
        """Give a command where the message is not taken yet.

        :param going_on: an intermediate reply code (3yz) that is expected
        """
        try:
            self._client.putcmd(verb, " ".join(arguments))
        except OSError as error:
            raise _SessionLostError(verb, last_words(error)) from None
        reply = self._reply(verb, going_on)
        if reply.code == 421:
            raise _SessionLostError(verb, str(reply))
        if going_on and reply.verdict is Verdict.ACCEPTED:
            raise _SessionLostError(verb, f"not an answer to {verb}: {reply}")
        return reply

    def _reply(self, stage: str, going_on: int | None = None) -> Reply:
        """Read an answer; one that is none is as good as a lost connection."""
        try:
            code, text = self._client.getreply()
        except OSError as error:
            raise _SessionLostError(stage, last_words(error)) from None
        reply = Reply(code, self._settings.redact(words(text)))
        if reply.code != going_on and reply.verdict is None:
            raise _SessionLostError(stage, f"not an answer of SMTP: {reply}")
        return reply

    def _reset(self) -> None:
        """Have the server forget the transaction; the outcome stands whether it hears us or not."""
        try:
            reply = self._ask("RSET")
        except _SessionLostError:
            self._hang_up()
            return
        if reply.verdict is not Verdict.ACCEPTED:
            self._hang_up()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._client.close()

    def _fault(self, problem: str, remedy: str) -> SenderFault:
        settings = self._settings
        form = f"Admin → Connections → {settings.conn_id}"
        return SenderFault(f"{settings.place}: {problem}.", remedy.format(form=form))


_RECONNECT = (
    "Nothing if it happens now and then: the message leaves on another connection. If it stays so, look at "
    "the mail server's log, and at how many connections and mails it allows; max_connections is in {form}."
)


def _outcome(reply: Reply) -> RecipientOutcome:
    assert reply.verdict
    return RecipientOutcome(0, reply.verdict, reply.code, reply.text)


def _same(positions: Iterable[int], reply: Reply) -> Outcome:
    assert reply.verdict
    return Outcome.same(positions, reply.verdict, reply.code, reply.text)


def _merged(told: RecipientOutcome, final: RecipientOutcome) -> RecipientOutcome:
    """Let what RCPT accepted share the fate of the content; what RCPT refused stays refused."""
    return replace(final, position=told.position) if told.verdict is Verdict.ACCEPTED else told
