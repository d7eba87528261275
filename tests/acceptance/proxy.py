"""Airflow at another address: a reverse proxy with TLS before an API server of its own, in a folder of its host."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx

from dev.ports import HOST, free_ports
from dev.processes import ProcessTree
from dev.stack import Stack
from tests.acceptance.observing import wait_until
from tests.smtp_sink import Certificate

#: Where Airflow is on its host.
FOLDER = "/team/airflow"

#: How soon an API server answers, on a machine that does other things as well.
STARTED_SECONDS = 180

#: What is between two programs that talk to each other, and not passed on (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})

#: Answers that have no body.
_EMPTY = frozenset({204, 304})


class ReverseProxy:
    """Does what nginx does before Airflow: TLS ends here, and what is below a folder is passed on as it is.

    :param certificate: what it shows
    :param port: where Airflow listens
    :ivar url: of Airflow, by which browsers reach it
    :ivar strays: what was asked for beside the folder, where there is nothing
    """

    def __init__(self, certificate: Certificate, port: int) -> None:
        self.strays: list[str] = []
        self._server = _Server((HOST, 0), _handler(port, self.strays))
        self._server.socket = certificate.context().wrap_socket(
            self._server.socket,
            server_side=True,
            do_handshake_on_connect=False,  # it would keep the others waiting; each does so in its own thread
        )
        self.url = f"https://localhost:{self._server.server_port}{FOLDER}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # browsers hang up as they like
            super().handle_error(*args)


def _handler(port: int, strays: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def pass_on(self) -> None:
            if self.path == FOLDER:
                self.send_response(301)
                self.send_header("Location", f"{FOLDER}/")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if not self.path.startswith(f"{FOLDER}/"):
                strays.append(f"{self.command} {self.path}")
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(HOST, port, timeout=60)
            try:
                connection.request(self.command, self.path, body or None, self._told())
                self._answer(connection.getresponse())
            finally:
                connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815 - http.server's names

        def _told(self) -> dict[str, str]:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            return kept | {"X-Forwarded-For": self.client_address[0], "X-Forwarded-Proto": "https"}

        def _answer(self, answer: http.client.HTTPResponse) -> None:
            content = answer.read()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None and answer.status not in _EMPTY:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def proxied(stack: Stack, folder: Path) -> Iterator[ReverseProxy]:
    """An Airflow behind a reverse proxy, beside that of the stack and of the same data.

    :param folder: for its certificate and its log
    """
    (port,) = free_ports(1)
    with ReverseProxy(Certificate.make(folder), port) as proxy, _api_server(stack, folder, port, proxy.url):
        yield proxy


@contextmanager
def _api_server(stack: Stack, folder: Path, port: int, url: str) -> Iterator[None]:
    """An API server with the stack's settings but for its address; tasks go on talking to the stack's own."""
    env = stack._env | {"AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": url}
    command = [sys.executable, "-m", "airflow", "api-server", "--apps", "core", "--proxy-headers"]
    log = folder / "api-server.log"
    processes = ProcessTree(folder / "api-server.json")
    processes.start(command, env=env, cwd=folder, log=log)

    def answers() -> bool:
        assert processes.ended() is None, log.read_text()[-3000:]
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://{HOST}:{port}{FOLDER}/api/v2/version", trust_env=False).is_success
        return False

    try:
        wait_until(answers, "an answer of the API server behind the proxy", STARTED_SECONDS)
        yield
    finally:
        processes.stop()
