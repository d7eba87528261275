"""HTTP for the gateway: a thread for each connection, and connections that break or stay silent to order."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, cast

from dev.eurosms.orders import Ending
from dev.ports import HOST

BODY_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Call:
    """A request as it came.

    :param origin: the page that made a browser send it, if one did
    """

    method: str
    target: str
    body: bytes
    content_type: str
    host: str
    origin: str | None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the path."""
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Reply:
    """What to do with a request.

    :param delay: seconds to wait before
    :param until: what ends waiting and silence
    """

    status: int
    content_type: str
    body: bytes
    ending: Ending = Ending.ANSWER
    delay: float = 0.0
    until: threading.Event | None = None
    headers: tuple[tuple[str, str], ...] = ()


class HttpServer(ThreadingMixIn, TCPServer):
    """Listens, and ends all its connections and threads when it is closed.

    :param answer: called in many threads at once
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Call], Reply], tls: ssl.SSLContext | None) -> None:
        self.answer = answer
        self._tls = tls
        self._open: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; a client that is slow to shake hands is its own thread's business."""
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Close everything, and wait for the threads."""
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "EuroSMS on this machine"  # the view Health knows it by that
    sys_version = ""
    wbufsize = -1  # head and body in one piece: no part waits for an acknowledgement of another
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._receive("0")

    def do_POST(self) -> None:
        self._receive("")

    def _receive(self, otherwise: str) -> None:
        """Read the body, and go on.

        :param otherwise: its length where none is told
        """
        length = self.headers.get("Content-Length", otherwise)
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_LIMIT:
            self.close_connection = True
            self._send(Reply(HTTPStatus.LENGTH_REQUIRED, "text/plain", b"No length, or too much"))
            return
        self._serve(self.rfile.read(int(length)))

    def _serve(self, body: bytes) -> None:
        headers = self.headers
        call = Call(
            self.command,
            self.path,
            body,
            headers.get_content_type(),
            headers.get("Host", ""),
            headers.get("Origin"),
        )
        reply = cast("HttpServer", self.server).answer(call)
        if reply.until and reply.delay:
            reply.until.wait(reply.delay)
        if reply.ending is Ending.CUT:
            self._cut()
        elif reply.ending is Ending.SILENCE and reply.until:
            self._keep_silent(reply.until)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def _cut(self) -> None:
        """Reset the connection: the client learns of it at once, whatever is on its way."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _keep_silent(self, until: threading.Event) -> None:
        """Until it is ended, or the client goes."""
        self.close_connection = True
        while not until.wait(0.05) and not select.select([self.connection], [], [], 0)[0]:
            pass

    def log_message(self, *_words: object) -> None:
        """Nothing: the page shows what came."""
