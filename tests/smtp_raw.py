"""A mail server written word by word, for what no library would do: half answers, single bytes, broken encryption.

``with raw_server(play) as port: …``, where ``play(peer)`` speaks to one client, in a thread of its own. What it raises,
the test raises.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.smtp_sink import HOST


class Peer:
    """A client, as the server has it.

    :param connection: to the client
    :param closing: set when the test is over: nobody waits then
    """

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self.socket = connection
        self.closing = closing
        self.buffer = b""

    def say(self, *lines: str) -> None:
        """Send lines."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def greet(self, *extensions: str) -> None:
        """Greet, wait for EHLO and offer extensions."""
        self.say("220 hello")
        self.expect("EHLO")
        names = ["raw.example.com", *extensions]
        self.say(*(f"250-{name}" for name in names[:-1]), f"250 {names[-1]}")

    def line(self) -> str:
        """The next line, without its end; empty at the end of all."""
        while b"\r\n" not in self.buffer:
            if not self._receive():
                return ""
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode()

    def expect(self, *verbs: str) -> list[str]:
        """The next lines, which must begin so."""
        lines = [self.line() for _ in verbs]
        assert all(line.upper().startswith(verb) for line, verb in zip(lines, verbs, strict=True)), lines
        return lines

    def take(self, octets: int) -> bytes:
        """So many bytes."""
        while len(self.buffer) < octets:
            assert self._receive(), "the client is gone"
        taken, self.buffer = self.buffer[:octets], self.buffer[octets:]
        return taken

    def chunk(self) -> bytes:
        """A chunk, the last."""
        [command] = self.expect("BDAT")
        _, size, last = command.split()
        assert last == "LAST"
        return self.take(int(size))

    def content(self) -> bytes:
        """What follows 354, up to the final dot."""
        while b"\r\n.\r\n" not in self.buffer:
            assert self._receive(), "the client is gone"
        taken, _, self.buffer = self.buffer.partition(b"\r\n.\r\n")
        return taken + b"\r\n"

    def prove(self) -> None:
        """Answer what is asked before content goes with its envelope, as RFC 3030 wants it."""
        self.chunk()
        self.expect("RSET")
        self.say("503 5.5.1 no MAIL", "250 2.0.0 ok")

    def serve(self, *, times: int = 1) -> None:
        """Take messages that come in two writes."""
        for _ in range(times):
            self.expect("MAIL", "RCPT", "DATA")
            self.say("250 ok", "250 ok", "354 go on")
            self.content()
            self.say("250 2.0.0 taken")

    def dribble(self, line: str, pause: float) -> None:
        """Send a line byte by byte, until it is complete or the client is gone."""
        for byte in f"{line}\r\n".encode():
            self.socket.sendall(bytes([byte]))
            if self.closing.wait(pause):
                return

    def garbage(self) -> None:
        """Send what is no record of TLS, past the encryption."""
        os.write(self.socket.fileno(), b"\x17\x03\x03\x00\x20" + b"garbage " * 4)

    def cut(self) -> None:
        """Close without a word, as a firewall does: TLS is not told."""
        fd = self.socket.detach()
        with socket.socket(fileno=fd) as bare:
            bare.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Break the connection (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait(self) -> None:
        """Do nothing until the test is over."""
        self.closing.wait(60)

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Go on encrypted."""
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def _receive(self) -> bool:
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)


@contextmanager
def raw_server(play: Callable[[Peer], None], *, small: bool = False) -> Iterator[int]:
    """Serve on a free port; the clients come one after the other or at once.

    :param small: the kernel keeps only some kilobytes of what was not read yet
    """
    closing = threading.Event()
    failures: list[Exception] = []
    threads: list[threading.Thread] = []

    def run(connection: socket.socket) -> None:
        peer = Peer(connection, closing)
        try:
            with suppress(ConnectionError):  # how a client leaves is no concern here
                play(peer)
        except Exception as error:  # noqa: BLE001 - the test raises it
            failures.append(error)
        finally:
            peer.socket.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                thread = threading.Thread(target=run, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

    with socket.create_server((HOST, 0)) as server:
        if small:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield server.getsockname()[1]
        finally:
            closing.set()
            server.shutdown(socket.SHUT_RDWR)
            acceptor.join(10)
            for thread in threads:
                thread.join(10)
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "the server waits for something that does not come"
