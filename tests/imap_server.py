"""A real IMAP server with one mailbox in memory: ``with ImapServer() as server: server.deliver(raw)``."""

from __future__ import annotations

import asyncio
import imaplib
import re
import socket
import ssl
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Self

from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import DictBackend
from pymap.imap import IMAPServer
from pysasl.hashing import BuiltinHash

HOST = "127.0.0.1"
LOGIN, PASSWORD = "bounces", "s3cret words"


class ImapServer:
    """The server, for the time of a ``with``.

    :param starttls: offer STARTTLS with this certificate, and take no password before it
    :param tls: speak TLS from the first byte, with this certificate
    """

    def __init__(self, *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._starttls = starttls
        self._tls = tls
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        arguments = Namespace(
            debug=False, host=HOST, port=0, cert=None, key=None, tls=self._starttls is not None, passlib_cfg=None,
            proxy_protocol="noop", demo_data=False, demo_user=LOGIN, demo_password=PASSWORD,
        )  # fmt: skip
        # Its own way costs 0.1 s of CPU at each login.
        cheap = BuiltinHash(rounds=1)
        backend, config = await DictBackend.init(arguments, ssl_context=self._starttls, hash_context=cheap)
        config.apply_context()
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        answer = ProxyProtocolReader(config.proxy_protocol).get_callback(IMAPServer(backend.login, config))
        async with await asyncio.start_server(answer, HOST, 0, ssl=self._tls) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._end.wait()

    # --- As another reader of the mailbox sees it --------------------------------------------------------------------

    @contextmanager
    def _reader(self, folder: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        if self._tls:
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL(HOST, self.port, ssl_context=_trusting(), timeout=30)
        else:
            client = imaplib.IMAP4(HOST, self.port, timeout=30)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # imaplib sends a mail in two pieces
        if self._starttls:
            client.starttls(_trusting())
        client.login(LOGIN, PASSWORD)
        assert client.select(folder)[0] == "OK", folder
        try:
            yield client
        finally:
            client.logout()

    def deliver(self, *raw: bytes) -> None:
        """Put mails into the mailbox."""
        with self._reader() as client:
            for one in raw:
                assert client.append("INBOX", "", "", one)[0] == "OK"

    def contents(self, folder: str = "INBOX") -> list[bytes]:
        """The mails in a folder."""
        with self._reader(folder) as client:
            answer = client.fetch("1:*", "(BODY.PEEK[])")[1]
        return [part[1] for part in answer if isinstance(part, tuple)]

    def flags(self, folder: str = "INBOX") -> list[set[str]]:
        """The flags of the mails in a folder, ``\\Recent`` aside."""
        with self._reader(folder) as client:
            answer = client.fetch("1:*", "(FLAGS)")[1]
        found = [set(map(bytes.decode, imaplib.ParseFlags(part))) for part in answer if isinstance(part, bytes)]
        return [flags - {"\\Recent"} for flags in found]

    def flag(self, flag: str) -> None:
        """Set a flag on all mails of the mailbox."""
        with self._reader() as client:
            client.store("1:*", "+FLAGS", flag)


@contextmanager
def stumbling(port: int, *numbers: int, words: bytes = b"NO [SERVERBUG] Internal error occurred") -> Iterator[int]:
    """Another door to a server, at which it gives no content of some mails; its port.

    :param port: of the server
    :param numbers: the mails, by UID; a command that asks for others too gives none of them
    :param words: what is answered instead; nothing: the connection ends
    """
    listener = socket.create_server((HOST, 0))
    visits = [threading.Thread(target=_visit, args=(listener, port, numbers, words), daemon=True) for _ in range(8)]
    for visit in visits:
        visit.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for visit in visits:
        visit.join(10)


def _visit(listener: socket.socket, port: int, numbers: tuple[int, ...], words: bytes) -> None:
    """Serve one client after the other."""
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            with closing(client), socket.create_connection((HOST, port)) as server:
                answers = threading.Thread(target=_copy, args=(server, client), daemon=True)
                answers.start()
                with client.makefile("rb") as lines:
                    for line in lines:
                        asked = re.search(rb"UID FETCH ([0-9,]+) .*BODY", line)
                        if not (asked and {*map(int, asked[1].split(b","))} & {*numbers}):
                            server.sendall(line)
                        elif words:
                            client.sendall(line.split(b" ")[0] + b" " + words + b"\r\n")
                        else:
                            break
                server.shutdown(socket.SHUT_RDWR)
                answers.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
