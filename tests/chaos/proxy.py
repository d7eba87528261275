"""Between a worker and PostgreSQL: it knows what commits when it sees it, and when it is carried out.

The worker announces a blow on the connection that is meant, by a statement that holds ``chaos:``. Inside a transaction,
its COMMIT is what commits; outside, the next statement does.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from tests.chaos.strikes import Action, Strike, When

HOST = "127.0.0.1"

#: What the worker writes into the stream.
MARK = "chaos:strike;"

_HEADER = struct.Struct("!ci")
_MARK = MARK.encode()
_COMMIT = re.compile(rb"\s*commit\s*;?\s*", re.IGNORECASE)
_TERMINATE = "select pg_terminate_backend(%s, 5000)"


@dataclass(slots=True)
class Gate:
    """A worker's way to PostgreSQL, and the blow that waits in it."""

    strike: Strike | None
    fire: Callable[[Strike], None]
    port: int = 0
    links: set[Link] = field(default_factory=set)


@dataclass(slots=True)
class Proxy:
    """All ways to one server.

    :param socket: PostgreSQL's Unix socket
    :param conninfo: for ending sessions
    """

    socket: str
    conninfo: str
    _servers: list[asyncio.Server] = field(default_factory=list)

    async def open(self, gate: Gate) -> int:
        """Listen for a worker.

        :returns: the port
        """

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = Link(self, gate, reader, writer)
            gate.links.add(link)
            try:
                await link.run()
            finally:
                gate.links.discard(link)

        server = await asyncio.start_server(serve, HOST, 0)
        self._servers.append(server)
        gate.port = server.sockets[0].getsockname()[1]
        return gate.port

    async def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()

    async def cut(self, gate: Gate) -> None:
        """Break all connections of a worker."""
        for link in list(gate.links):
            link.cut()

    async def terminate(self, gate: Gate) -> None:
        """Have PostgreSQL end all sessions of a worker."""
        for link in list(gate.links):
            await link.terminate()


class _CutError(Exception):
    """The connection breaks here."""


class Link:
    """One connection."""

    def __init__(self, proxy: Proxy, gate: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._gate = gate
        self._reader = reader
        self._writer = writer
        self._backend = 0
        self._status = b"I"
        self._armed: Strike | None = None
        self._committing: Strike | None = None
        self._server_writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        try:
            server_reader, self._server_writer = await asyncio.open_unix_connection(self._proxy.socket)
        except OSError:  # PostgreSQL is down
            self._writer.transport.abort()
            return
        up = asyncio.ensure_future(self._up(self._server_writer))
        down = asyncio.ensure_future(self._down(server_reader))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self.cut()

    def cut(self) -> None:
        """Break it, both ways."""
        for writer in filter(None, (self._writer, self._server_writer)):
            writer.transport.abort()

    async def terminate(self) -> None:
        """Have PostgreSQL end the session, and wait until it has."""
        if self._backend:
            await asyncio.to_thread(self._terminate)

    def _terminate(self) -> None:
        with suppress(psycopg.OperationalError), psycopg.connect(self._proxy.conninfo, autocommit=True) as connection:
            connection.execute(_TERMINATE, [self._backend])

    async def _up(self, server: asyncio.StreamWriter) -> None:
        """From the worker to PostgreSQL."""
        with suppress(_CutError, OSError, asyncio.IncompleteReadError):
            size = await self._reader.readexactly(4)
            server.write(size + await self._reader.readexactly(int.from_bytes(size) - 4))
            while True:
                header = await self._reader.readexactly(_HEADER.size)
                kind, length = _HEADER.unpack(header)
                body = await self._reader.readexactly(length - 4)
                await self._look(kind, body)
                server.write(header + body)
                await server.drain()

    async def _look(self, kind: bytes, body: bytes) -> None:
        if kind in b"QPB" and _MARK in body:
            await self._marked()
        elif self._armed and ((self._status == b"I" and kind in b"QPB") or _is_commit(kind, body)):
            strike, self._armed = self._armed, None
            if strike.when is When.COMMIT:
                await self._strike(strike)
            else:
                self._committing = strike

    async def _marked(self) -> None:
        strike, self._gate.strike = self._gate.strike, None
        if strike is None:
            return
        if strike.when in {When.COMMIT, When.COMMITTED}:
            self._armed = strike
        else:
            await self._strike(strike)

    async def _down(self, server: asyncio.StreamReader) -> None:
        """From PostgreSQL to the worker; of what was committed it hears nothing before the blow has fallen."""
        held = b""
        with suppress(_CutError, OSError, asyncio.IncompleteReadError):
            while True:
                header = await server.readexactly(_HEADER.size)
                kind, length = _HEADER.unpack(header)
                body = await server.readexactly(length - 4)
                held += header + body
                if kind == b"K":
                    self._backend = int.from_bytes(body[:4])
                if kind == b"Z":
                    self._status = body
                    await self._committed()
                if self._committing is None:
                    self._writer.write(held)
                    held = b""
                    await self._writer.drain()

    async def _committed(self) -> None:
        if self._committing and self._status == b"I":
            strike, self._committing = self._committing, None
            await self._strike(strike)

    async def _strike(self, strike: Strike) -> None:
        self._gate.fire(strike)
        if strike.action is Action.TERMINATE:
            await self.terminate()
        elif strike.action is Action.STALL:
            await asyncio.sleep(strike.seconds)
        elif strike.action is not Action.FREEZE:
            raise _CutError  # who was killed gets no answer, and what it had sent last has not arrived


def _is_commit(kind: bytes, body: bytes) -> bool:
    if kind == b"P":
        body = body.partition(b"\0")[2]
    return kind in b"QP" and bool(_COMMIT.fullmatch(body.partition(b"\0")[0]))
