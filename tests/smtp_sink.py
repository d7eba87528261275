"""A real SMTP server that records what it took, and misbehaves on demand.

In a test: ``with SmtpSink() as sink: …``. For many processes: ``python -m tests.smtp_sink --record FILE``,
which appends one JSON line a message and prints ``listening PORT`` when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import datetime as dt
import ipaddress
import json
import logging
import ssl
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TextIO

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"

#: aiosmtpd tells every command at INFO; Airflow's logging would print it all.
logging.getLogger("mail.log").setLevel(logging.WARNING)


class Mischief(Enum):
    """What a server does instead of answering."""

    RESET = "reset"  #: the connection breaks (RST)
    HANG_UP = "hang up"  #: the connection is closed in order (FIN)
    STALL = "stall"  #: silence


#: A reply line; or bytes that are sent as they are, whatever they mean (after END silence follows); or no answer.
Answer = str | bytes | Mischief


class Lie(Enum):
    """What a server offers and does not do."""

    PIPELINING = "pipelining"  #: it forgets what came together with the command that it answers
    ORDER = "order"  #: it answers "503" to what came together with MAIL
    BDAT = "bdat"  #: it does not know the command, and takes the chunk for commands
    DROPPING = "dropping"  #: it takes a chunk that it refuses for commands


@dataclass
class Rule:
    """One scripted answer.

    :param stage: CONNECT, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA or BDAT (the command), CONTENT (after its first
        bytes), END (after the final dot, or the last chunk), RSET, QUIT
    :param answer: what happens; None where only the delay is wanted
    :param address: RCPT only: for whom
    :param times: how often, for ever if None
    :param skip: how many matching moments to let pass first
    :param delay: seconds before the answer
    """

    stage: str
    answer: Answer | None
    address: str | None = None
    times: int | None = None
    skip: int = 0
    delay: float = 0.0

    def fires(self, stage: str, address: str | None) -> bool:
        """Whether this is the moment; counts."""
        if stage != self.stage or (self.address and self.address != address) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Received:
    """A message that came in whole.

    :param at: wall clock when it was taken, just before the answer
    :param monotonic: the same on the monotonic clock
    :param mail_from: the envelope's sender
    :param rcpts: the envelope's recipients
    :param content: the bytes, dots undone
    :param options: the parameters of MAIL
    :param taken: whether the server means to deliver it: it said 250, or took it and the answer was lost
    """

    at: float
    monotonic: float
    mail_from: str
    rcpts: tuple[str, ...]
    content: bytes
    options: tuple[str, ...]
    taken: bool

    @cached_property
    def parsed(self) -> EmailMessage:
        """The message, taken apart."""
        return message_from_bytes(self.content, policy=policy.default)

    def as_json(self) -> str:
        """One line for the record."""
        message_id = str(message_from_bytes(self.content).get("Message-ID", ""))
        line = {
            "at": self.at,
            "monotonic": self.monotonic,
            "from": self.mail_from,
            "rcpts": self.rcpts,
            "message_id": message_id,
            "taken": self.taken,
        }
        return json.dumps(line)


@dataclass
class Book:
    """What happened, and what shall happen; shared by the server's sessions and the test."""

    record: TextIO | None = None
    rules: list[Rule] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    silent: set[asyncio.Transport] = field(default_factory=set)
    sessions: int = 0
    open_sessions: int = 0
    most_sessions: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def rule(self, stage: str, address: str | None = None) -> Rule | None:
        """The first rule that fires."""
        with self.changed:
            return next((rule for rule in self.rules if rule.fires(stage, address)), None)

    def enter(self, message: Received) -> None:
        """Write a message down."""
        with self.changed:
            self.received.append(message)
            if self.record:
                self.record.write(message.as_json() + "\n")
                self.record.flush()
            self.changed.notify_all()

    def count(self, step: int) -> None:
        """A session began or ended."""
        with self.changed:
            self.open_sessions += step
            self.sessions += max(step, 0)
            self.most_sessions = max(self.most_sessions, self.open_sessions)
            self.changed.notify_all()

    def note(self, command: str) -> None:
        """Remember a command."""
        with self.changed:
            self.commands.append(command)
            self.changed.notify_all()


class Handler:
    """What aiosmtpd asks.

    :param offer: extensions to offer beside aiosmtpd's own
    :param hide: extensions not to offer, e.g. ``8BITMIME``
    :param users: passwords, or OAuth2 tokens, by login
    """

    def __init__(self, offer: Iterable[str], hide: Iterable[str], users: dict[str, str]) -> None:
        self._offer = [f"250-{word}" for word in offer]
        self._hide = {word.upper() for word in hide}
        self._users = users

    async def handle_EHLO(  # noqa: N802 - aiosmtpd finds it by this name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        first, *others = responses
        return [first, *(line for line in (*self._offer, *others) if line[4:].split()[0].upper() not in self._hide)]

    async def handle_DATA(  # noqa: N802 - the same
        self, server: Server, session: Session, envelope: Envelope
    ) -> str:
        return await server.finish()

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        known = self._users.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=known, handled=False, auth_data=data.login)

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 - the same
        said = base64.b64decode(args[1]).decode().split("\x01")
        user, token = said[0].removeprefix("user="), said[1].removeprefix("auth=Bearer ")
        if self._users.get(user) == token:
            return AuthResult(success=True, auth_data=user)
        await server.challenge_auth('{"status":"400"}')
        return AuthResult(success=False, handled=False)


class Server(SMTP):
    """A session of aiosmtpd that follows the book's rules before its own."""

    book: Book
    lies: frozenset[Lie] = frozenset()
    most_rcpts: int | None = None
    too_many: str = ""
    chunks: bytes = b""

    async def _handle_client(self) -> None:
        if not await self._played("CONNECT"):
            await super()._handle_client()
        elif self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: Any) -> None:
        if self.session is None:
            self.book.count(1)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.book.count(-1)
        super().connection_lost(error)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - aiosmtpd finds them by these names
        if not await self._played("EHLO", hostname):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        if not await self._played("STARTTLS", arg):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        if not await self._played("AUTH", "…"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802
        self._together = bool(self._unread)
        if Lie.PIPELINING in self.lies:
            self._unread.clear()
        if not await self._played("MAIL", arg):
            await super().smtp_MAIL(arg)

    @property
    def _unread(self) -> bytearray:
        """What has come behind the command that is answered now."""
        unread = self._reader._buffer
        assert isinstance(unread, bytearray)
        return unread

    async def smtp_RCPT(self, arg: str) -> None:  # noqa: N802
        rule = await self._played("RCPT", arg)
        if rule is None and self._together and Lie.ORDER in self.lies:
            await self.push("503 5.5.1 bad sequence of commands")
        elif rule is None and len(self.envelope.rcpt_tos) == self.most_rcpts:
            await self.push(self.too_many)
        elif rule is None:
            await super().smtp_RCPT(arg)
        elif str(rule.answer).startswith("2"):
            self.envelope.rcpt_tos.append(_mailbox(arg))

    async def smtp_RSET(self, arg: str) -> None:  # noqa: N802
        if not await self._played("RSET", arg):
            await super().smtp_RSET(arg)

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802
        if not await self._played("QUIT", arg):
            await super().smtp_QUIT(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if await self._played("DATA", arg):
            return
        rule = self.book.rule("CONTENT")
        if rule:
            await self.push("354 go on, but not for long")
            await self._reader.read(100)
            await self._play(rule)
            return
        await super().smtp_DATA(arg)

    async def smtp_BDAT(self, arg: str) -> None:  # noqa: N802
        """RFC 3030, which aiosmtpd does not know."""
        size, last = int(arg.split(maxsplit=1)[0]), arg.upper().endswith(" LAST")
        refused = not self.envelope.rcpt_tos
        if Lie.BDAT in self.lies or (refused and Lie.DROPPING in self.lies):
            self.book.note(f"BDAT {arg}")
            await self.push("500 5.5.1 not recognized" if Lie.BDAT in self.lies else "503 5.5.1 no RCPT")
            return
        rule = self.book.rule("CONTENT")
        chunk = await self._reader.readexactly(min(size, 100) if rule else size)
        if rule and await self._play(rule):
            return
        if await self._played("BDAT", arg):
            self.chunks = b""
        elif refused:
            await self.push("503 5.5.1 no RCPT")
        else:
            self.chunks += chunk
            await self.push(await self._last_chunk() if last else "250 2.0.0 go on")

    async def _last_chunk(self) -> str:
        self.envelope.content = self.envelope.original_content = self.chunks
        self.chunks = b""
        status = await self.finish()
        self._set_post_data_state()
        return status

    async def finish(self) -> str:
        """Answer the final dot."""
        rule = self.book.rule("END")
        if rule and rule.delay:
            await asyncio.sleep(rule.delay)
        answer = rule.answer if rule and rule.answer is not None else "250 2.0.0 taken"
        self._enter(taken=not isinstance(answer, str) or answer.startswith("2"))
        if isinstance(answer, bytes):
            self._writer.write(answer)
            answer = Mischief.STALL
        if isinstance(answer, Mischief):
            await self._misbehave(answer)
        return str(answer)

    def _enter(self, *, taken: bool) -> None:
        envelope = self.envelope
        message = Received(
            at=time.time(),
            monotonic=time.monotonic(),
            mail_from=str(envelope.mail_from),
            rcpts=tuple(map(str, envelope.rcpt_tos)),
            content=bytes(envelope.original_content or b""),
            options=tuple(envelope.mail_options),
            taken=taken,
        )
        self.book.enter(message)

    async def _played(self, stage: str, arg: str | None = None) -> Rule | None:
        self.book.note(f"{stage} {arg or ''}".strip())
        rule = self.book.rule(stage, _mailbox(arg or "") if stage == "RCPT" else None)
        return rule if rule is not None and await self._play(rule) else None

    async def _play(self, rule: Rule) -> bool:
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.answer is None:
            return False
        if isinstance(rule.answer, Mischief):
            await self._misbehave(rule.answer)
        elif isinstance(rule.answer, bytes):
            self._writer.write(rule.answer)
        else:
            await self.push(rule.answer)
        return True

    async def _misbehave(self, answer: Mischief) -> None:
        transport = self.transport
        assert isinstance(transport, asyncio.Transport)
        if answer is Mischief.RESET:
            transport.abort()
        elif answer is Mischief.HANG_UP:
            transport.close()
        self.book.silent.add(transport)
        try:
            await asyncio.Event().wait()  # until the connection ends, which cancels this
        finally:
            self.book.silent.discard(transport)
            transport.close()


def _mailbox(arg: str) -> str:
    return arg.partition("<")[2].partition(">")[0]


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate.

    :param file: certificate and key, PEM; clients that trust it need ``SSL_CERT_FILE`` to name it
    """

    file: Path

    @classmethod
    def make(cls, folder: Path, host: str = "localhost") -> Certificate:
        """Make one in a folder.

        :param host: whose it is, beside 127.0.0.1
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "smtp sink")])
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(HOST))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        file = folder / "sink.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cls(file)

    def context(self) -> ssl.SSLContext:
        """What a server needs to show it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


class SmtpSink:
    """A recording server in a thread of its own.

    :param port: 0 takes a free one
    :param record: a file to append one JSON line a message to
    :param certificate: for STARTTLS, or for SSL from the first byte if ``ssl_at_once``
    :param users: passwords or OAuth2 tokens by login; given, a login is required
    :param smtputf8: whether to offer SMTPUTF8
    :param hide: further extensions not to offer; PIPELINING and CHUNKING are offered else
    :param lies: what it offers and does not do
    :param most_rcpts: recipients that a message may have
    :param too_many: the answer to one more
    :param size: the largest message, 0 for no limit
    """

    def __init__(
        self,
        *,
        port: int = 0,
        record: Path | None = None,
        certificate: Certificate | None = None,
        ssl_at_once: bool = False,
        users: dict[str, str] | None = None,
        smtputf8: bool = True,
        hide: Iterable[str] = (),
        lies: Iterable[Lie] = (),
        most_rcpts: int | None = None,
        too_many: str = "452 4.5.3 too many recipients",
        size: int = 32 << 20,
    ) -> None:
        self.port = port
        self._book = Book()
        self._record = record
        self._certificate = certificate
        self._ssl_at_once = ssl_at_once
        self._users = users
        self._smtputf8 = smtputf8
        self._hide = tuple(hide)
        self._lies = frozenset(lies)
        self._most_rcpts = most_rcpts
        self._too_many = too_many
        self._size = size
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="smtp-sink", daemon=True)

    # --- the script -----------------------------------------------------------------------------------------

    def answer(
        self,
        stage: str,
        answer: Answer | None,
        *,
        address: str | None = None,
        times: int | None = None,
        skip: int = 0,
        delay: float = 0.0,
    ) -> None:
        """Script an answer; see :class:`Rule`. Earlier rules come first."""
        with self._book.changed:
            self._book.rules.append(Rule(stage, answer, address, times, skip, delay))

    def accept_only(self, login: str, password: str) -> None:
        """From now on, a login has this password, or token."""
        assert self._users is not None
        self._users[login] = password

    def behave(self) -> None:
        """Forget the script, and break what is stalled: a client's goodbye is not seen through unread content."""
        with self._book.changed:
            self._book.rules.clear()
        self._loop.call_soon_threadsafe(lambda: [silent.abort() for silent in tuple(self._book.silent)])

    # --- the record -----------------------------------------------------------------------------------------

    @property
    def received(self) -> list[Received]:
        """All messages that came in whole, refused ones as well."""
        with self._book.changed:
            return list(self._book.received)

    @property
    def taken(self) -> list[Received]:
        """The messages that the server means to deliver."""
        return [message for message in self.received if message.taken]

    @property
    def commands(self) -> list[str]:
        """The commands so far, over all sessions, without logins."""
        with self._book.changed:
            return list(self._book.commands)

    @property
    def sessions(self) -> int:
        """How many connections there were."""
        return self._book.sessions

    @property
    def most_sessions(self) -> int:
        """How many connections there were at once, at most."""
        return self._book.most_sessions

    def wait_closed(self, timeout: float = 10.0) -> bool:
        """Wait until no connection is open."""
        with self._book.changed:
            return self._book.changed.wait_for(lambda: self._book.open_sessions == 0, timeout)

    def wait_received(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many messages came in."""
        with self._book.changed:
            return self._book.changed.wait_for(lambda: len(self._book.received) >= count, timeout)

    # --- the server -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def serve_forever(self) -> None:
        """Serve in this thread, until interrupted."""
        self._run()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        at_once = self._certificate.context() if self._certificate and self._ssl_at_once else None
        if self._record:
            self._book.record = self._record.open("a", encoding="utf-8")
        server = await self._loop.create_server(self._session, HOST, self.port, ssl=at_once, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        if threading.current_thread() is threading.main_thread():
            print(f"listening {self.port}", flush=True)  # the parent process waits for it
        try:
            await self._stop.wait()
        finally:
            server.close()
            if self._book.record:
                self._book.record.close()

    def _session(self) -> Server:
        hide = self._hide if self._users else (*self._hide, "AUTH")
        handler = Handler(("PIPELINING", "CHUNKING"), hide, self._users or {})
        context = self._certificate.context() if self._certificate and not self._ssl_at_once else None
        session = Server(
            handler,
            data_size_limit=self._size,
            enable_SMTPUTF8=self._smtputf8,
            hostname="sink.example.com",
            tls_context=context,
            auth_require_tls=False,
            authenticator=handler.authenticate,
            loop=self._loop,
        )
        # Not by the constructor: it warns of a login without TLS, which some tests want.
        session._auth_required = self._users is not None
        session.book = self._book
        session.lies = self._lies
        session.most_rcpts = self._most_rcpts
        session.too_many = self._too_many
        return session


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each final answer")
    parser.add_argument("--lose-answers", type=int, default=0, help="hang up instead of the first N final answers")
    parser.add_argument("--refuse", action="append", default=[], metavar="ADDRESS", help="550 for this recipient")
    parser.add_argument("--defer", type=int, default=0, help="451 for the first N messages")
    options = parser.parse_args(arguments)
    sink = SmtpSink(port=options.port, record=options.record)
    for address in options.refuse:
        sink.answer("RCPT", "550 5.1.1 no such mailbox", address=address)
    if options.lose_answers:
        sink.answer("END", Mischief.HANG_UP, times=options.lose_answers)
    if options.defer:
        sink.answer("END", "451 4.3.0 try again later", times=options.defer)
    if options.delay:
        sink.answer("END", None, delay=options.delay)
    try:
        sink.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
