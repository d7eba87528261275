"""An SMTP server that records what arrives, and strikes whoever is at it.

Each worker has a port of its own, so the server knows whom a blow at a verb concerns. It offers PIPELINING or CHUNKING
only where the scenario wants it. What a killed client had written before is read to its end, as any server does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from enum import StrEnum

from tests.chaos.strikes import Action, Strike, When

HOST = "127.0.0.1"

#: Of a line or a message, in bytes.
_LONGEST = 4 << 20


class Mode(StrEnum):
    """What the server offers, and so in how many writes a message leaves."""

    PLAIN = "plain"  #: each command waits for its answer
    PIPELINING = "pipelining"
    CHUNKING = "chunking"  #: and pipelining


_OFFERS = {
    Mode.PLAIN: (),
    Mode.PIPELINING: ("PIPELINING",),
    Mode.CHUNKING: ("PIPELINING", "CHUNKING"),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that came in whole.

    :param at: on the monotonic clock, when its last byte was read
    :param worker: whose port it came through
    :param opened: when its connection was made
    :param answered: whether the server meant to say 250
    """

    at: float
    worker: int
    opened: float
    message_id: str
    subject: str
    recipients: tuple[str, ...]
    answered: bool = True


@dataclass(slots=True)
class Door:
    """A worker's port, and the blow that waits behind it.

    :param fire: what to call where the blow falls; it kills or freezes
    """

    worker: int
    strike: Strike | None
    fire: Callable[[Strike], None]
    port: int = 0
    seen: int = 0
    silent: bool = False

    def due(self, point: str, when: When) -> Strike | None:
        """The blow, if it falls now; counts."""
        strike = self.strike
        if strike is None or (strike.point, strike.when) != (point, when):
            return None
        self.seen += 1
        if self.seen != strike.nth:
            return None
        self.strike = None
        return strike


class CutError(Exception):
    """The server breaks the connection here."""


@dataclass(slots=True)
class Sink:
    """The server.

    :param delay: seconds before the answer to a message
    """

    mode: Mode = Mode.PLAIN
    delay: float = 0.0
    arrivals: list[Arrival] = field(default_factory=list)
    started: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, door: Door) -> int:
        """Listen for a worker.

        :returns: the port
        """

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _Conversation(self, door, reader, writer).run()

        server = await asyncio.start_server(serve, HOST, 0, limit=_LONGEST, backlog=128)
        self._servers.append(server)
        door.port = server.sockets[0].getsockname()[1]
        return door.port

    async def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()


class _Conversation:
    """One connection."""

    def __init__(self, sink: Sink, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sink = sink
        self._door = door
        self._reader = reader
        self._writer = writer
        self._opened = time.monotonic()
        self._recipients: list[str] = []
        self._chunks = bytearray()

    async def run(self) -> None:
        try:
            await self._say("220 sink.example.com ESMTP")
            while line := await self._reader.readline():
                if not await self._obey(line.decode("utf-8", "replace").strip()):
                    break
        except CutError:
            self._writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the scenario is over
        finally:
            self._writer.close()

    async def _obey(self, line: str) -> bool:
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb == "EHLO":
            offers = ("sink.example.com", "SIZE 0", "8BITMIME", "SMTPUTF8", *_OFFERS[self._sink.mode])
            last = len(offers) - 1
            await self._say(*(f"250{' ' if number == last else '-'}{word}" for number, word in enumerate(offers)))
        elif verb == "MAIL":
            self._forget()
            self._sink.started += 1
            await self._step("MAIL", "250 2.1.0 go on")
        elif verb == "RCPT":
            self._recipients.append(rest.partition("<")[2].partition(">")[0])
            await self._step("RCPT", "250 2.1.5 go on")
        elif verb == "DATA" and not self._recipients:
            await self._say("503 5.5.1 MAIL and RCPT first")
        elif verb == "DATA":
            await self._step("DATA", "354 go on")
            await self._content()
        elif verb == "BDAT":
            await self._chunk(rest)
        elif verb == "RSET":
            self._forget()
            await self._say("250 2.0.0 forgotten")
        elif verb == "QUIT":
            await self._say("221 2.0.0 bye")
            return False
        else:
            await self._say("250 2.0.0 fine" if verb == "NOOP" else "502 5.5.1 unknown")
        return True

    async def _step(self, point: str, answer: str) -> None:
        await self._strike(point, When.READ)
        await self._say(answer)
        await self._strike(point, When.ANSWERED)

    async def _content(self) -> None:
        await self._midway(await self._reader.readexactly(1))
        await self._end(bytes(self._chunks) + await self._reader.readuntil(b"\r\n.\r\n"))

    async def _chunk(self, rest: str) -> None:
        words = rest.split()
        size, last = int(words[0]), words[-1].upper() == "LAST"
        if not self._recipients:
            await self._reader.readexactly(size)
            await self._say("503 5.5.1 MAIL and RCPT first")
            return
        await self._strike("DATA", When.READ)
        if size:
            await self._midway(await self._reader.readexactly(1))
            self._chunks += await self._reader.readexactly(size - 1)
        if last:
            await self._end(bytes(self._chunks))
        else:
            await self._say("250 2.0.0 go on")

    async def _midway(self, first: bytes) -> None:
        self._chunks += first
        await self._strike("CONTENT", When.READ)

    async def _end(self, content: bytes) -> None:
        at = time.monotonic()
        await self._strike("END", When.READ)
        headers = BytesHeaderParser().parsebytes(content)
        message_id, subject = str(headers["Message-ID"]), str(headers["Subject"])
        self._sink.arrivals.append(
            Arrival(at, self._door.worker, self._opened, message_id, subject, tuple(self._recipients))
        )
        await self._strike("END", When.TAKEN)
        if self._sink.delay:
            await asyncio.sleep(self._sink.delay)
        self._forget()
        await self._say("250 2.0.0 taken")
        await self._strike("END", When.ANSWERED)

    def _forget(self) -> None:
        self._recipients.clear()
        self._chunks.clear()

    async def _say(self, *lines: str) -> None:
        with suppress(ConnectionError):  # a server reads on what it was sent, even where nobody hears it any more
            self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
            await self._writer.drain()

    async def _strike(self, point: str, when: When) -> None:
        strike = self._door.due(point, when)
        if strike is None:
            return
        self._door.fire(strike)
        if strike.action is Action.CUT:
            raise CutError
        if strike.action is Action.STALL:
            await asyncio.sleep(strike.seconds)
