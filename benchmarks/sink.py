"""A fast SMTP server that takes everything, keeps nothing and counts.

``python -m benchmarks.sink --delay 20`` prints ``listening PORT``. Each line on its input is answered by what it has
counted, as JSON; at the end of input it ends. It checks nothing but the order of commands: it is there to be in
nobody's way.

The delay is that of a network: what it has to answer to the bytes that came together leaves that much later, in one
piece, however many commands they were. So who sends several commands at once waits once for all of their answers.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass

HOST = "127.0.0.1"

#: What is read at once.
_BLOCK = 1 << 18

_END = b"\r\n.\r\n"

_OK = b"250 2.0.0 ok\r\n"
_TAKEN = b"250 2.0.0 taken\r\n"
_NO_ENVELOPE = b"503 5.5.1 MAIL and RCPT first\r\n"
_UNKNOWN = b"500 5.5.2 unknown\r\n"
_ANSWERS = {
    b"MAIL": _OK,
    b"RCPT": _OK,
    b"RSET": _OK,
    b"NOOP": _OK,
    b"HELO": b"250 sink\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}

#: Commands that belong to a message: the answers to them are what a message waits for.
_OF_A_MESSAGE = frozenset({b"MAIL", b"RCPT", b"DATA", b"BDAT"})


@dataclass(slots=True)
class Counts:
    """What has come in.

    :param round_trips: groups of answers that a client waited for between the beginning and the end of a message
    :param waited: how long these groups were kept, in seconds
    """

    messages: int = 0
    sessions: int = 0
    octets: int = 0
    round_trips: int = 0
    waited: float = 0.0

    def report(self) -> dict[str, float]:
        """The counts, and the mean of the delay as it was."""
        mean = self.waited / self.round_trips * 1000 if self.round_trips else 0.0
        return {
            "messages": self.messages,
            "sessions": self.sessions,
            "octets": self.octets,
            "round_trips": self.round_trips,
            "mean_delay_ms": round(mean, 3),
        }


@dataclass(slots=True)
class Client:
    """A session.

    :param unread: bytes of a command whose end has not come
    :param tail: the last bytes of a message under way, by which its end is known; None outside of one
    :param chunk: bytes of a chunk (BDAT) that have not come; -1 outside of one
    :param last: whether that chunk is the message's last
    :param addressed: whether there was a recipient
    :param of_a_message: whether what is answered next is waited for in the middle of a message
    :param leaving: whether it said goodbye, or is gone
    """

    socket: socket.socket
    unread: bytes = b""
    tail: bytes | None = None
    chunk: int = -1
    last: bool = False
    addressed: bool = False
    of_a_message: bool = False
    leaving: bool = False


class Sink:
    """The server.

    :param delay: seconds between bytes and their answers
    :param chunking: whether to offer CHUNKING (RFC 3030)
    :param pipelining: whether to offer PIPELINING (RFC 2920)
    """

    def __init__(self, *, delay: float = 0.0, chunking: bool = True, pipelining: bool = True) -> None:
        self._delay = delay
        words = ["sink", *["PIPELINING"] * pipelining, "SIZE 33554432", "8BITMIME", *["CHUNKING"] * chunking]
        words += ["SMTPUTF8", "ENHANCEDSTATUSCODES"]
        lines = [f"250{' ' if word is words[-1] else '-'}{word}\r\n" for word in words]
        self._greeting = "".join(lines).encode()
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self._clients: dict[int, Client] = {}
        self._later: deque[tuple[float, Client, bytes, bool]] = deque()
        self.counts = Counts()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def serve(self, control: int) -> None:
        """Serve until the control channel ends.

        :param control: a file descriptor; each line that comes is answered by the counts on standard output
        """
        door = self._listener.fileno()
        # Not the faster epoll: it waits for whole milliseconds, and the delay would be half of one too long.
        while True:
            ready, _, _ = select.select([control, door, *self._clients], [], [], self._until_the_next())
            now = time.perf_counter()
            for number in ready:
                if number == door:
                    self._accept(now)
                elif number != control:
                    self._read(self._clients[number], now)
                elif not self._report():
                    return
            self._send_what_is_due()

    def _report(self) -> bool:
        if not sys.stdin.readline():
            return False
        sys.stdout.write(json.dumps(self.counts.report()) + "\n")
        sys.stdout.flush()
        return True

    # --- Answers -----------------------------------------------------------------------------------------------------

    def _until_the_next(self) -> float | None:
        return max(0.0, self._later[0][0] - time.perf_counter()) if self._later else None

    def _answer(self, client: Client, answer: bytes, now: float, *, of_a_message: bool) -> None:
        self.counts.round_trips += of_a_message
        if self._delay:
            self._later.append((now + self._delay, client, answer, of_a_message))
        else:
            self._write(client, answer)

    def _send_what_is_due(self) -> None:
        while self._later and self._later[0][0] <= (now := time.perf_counter()):
            due, client, answer, of_a_message = self._later.popleft()
            if of_a_message:
                self.counts.waited += now - due + self._delay
            self._write(client, answer)

    def _write(self, client: Client, answer: bytes) -> None:
        try:
            client.socket.sendall(answer)
        except OSError:
            client.leaving = True
        if client.leaving and (answer.startswith(b"221") or client.socket.fileno() < 0):
            self._forget(client)

    # --- Sessions ----------------------------------------------------------------------------------------------------

    def _accept(self, now: float) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(connection)
        self._clients[connection.fileno()] = client
        self.counts.sessions += 1
        self._answer(client, b"220 sink ESMTP\r\n", now, of_a_message=False)

    def _forget(self, client: Client) -> None:
        self._clients.pop(client.socket.fileno(), None)
        client.socket.close()

    def _read(self, client: Client, now: float) -> None:
        try:
            came = client.socket.recv(_BLOCK)
        except OSError:
            came = b""
        if not came:
            self._forget(client)
            return
        self.counts.octets += len(came)
        client.of_a_message = False
        if answer := self._take(client, came):
            self._answer(client, answer, now, of_a_message=client.of_a_message)

    def _take(self, client: Client, came: bytes) -> bytes:
        """Take what came, and tell all there is to answer."""
        answers = b""
        while came:
            if client.tail is not None:
                came, answer = self._take_content(client, client.tail, came)
            elif client.chunk >= 0:
                came, answer = self._take_chunk(client, came)
            else:
                came, answer = self._take_command(client, came)
            answers += answer
        return answers

    def _take_content(self, client: Client, tail: bytes, came: bytes) -> tuple[bytes, bytes]:
        if tail:
            came = tail + came
        found = came.find(_END)
        if found < 0:
            client.tail = came[-len(_END) + 1 :]
            return b"", b""
        client.tail = None
        return came[found + len(_END) :], self._taken(client)

    def _take_chunk(self, client: Client, came: bytes) -> tuple[bytes, bytes]:
        if len(came) < client.chunk:
            client.chunk -= len(came)
            return b"", b""
        rest = came[client.chunk :]
        client.chunk = -1
        client.of_a_message = True
        if not client.addressed:
            return rest, _NO_ENVELOPE
        return rest, self._taken(client) if client.last else _OK

    def _taken(self, client: Client) -> bytes:
        client.of_a_message = True
        client.addressed = False
        self.counts.messages += 1
        return _TAKEN

    def _take_command(self, client: Client, came: bytes) -> tuple[bytes, bytes]:
        if client.unread:
            came, client.unread = client.unread + came, b""
        end = came.find(b"\n")
        if end < 0:
            client.unread = came
            return b"", b""
        line, rest = came[:end], came[end + 1 :]
        verb = line[:4].upper()
        client.of_a_message = client.of_a_message or verb in _OF_A_MESSAGE
        if verb == b"BDAT":
            return self._begin_chunk(client, line, rest)
        return rest, self._obey(client, verb)

    def _begin_chunk(self, client: Client, line: bytes, came: bytes) -> tuple[bytes, bytes]:
        words = line.split()
        client.chunk, client.last = int(words[1]), len(words) > 2
        return (came, b"") if client.chunk else self._take_chunk(client, came)

    def _obey(self, client: Client, verb: bytes) -> bytes:
        if verb == b"DATA" and not client.addressed:
            return _NO_ENVELOPE
        if verb == b"DATA":
            client.tail = b"\r\n"  # a message may be empty
        elif verb == b"QUIT":
            client.leaving = True
        elif verb in {b"EHLO", b"RSET", b"RCPT"}:
            client.addressed = verb == b"RCPT"
        return self._greeting if verb == b"EHLO" else _ANSWERS.get(verb, _UNKNOWN)


def main() -> None:
    """Serve until the end of input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds before each group of answers")
    parser.add_argument("--no-chunking", action="store_true", help="do not offer CHUNKING")
    parser.add_argument("--no-pipelining", action="store_true", help="do not offer PIPELINING")
    options = parser.parse_args()
    sink = Sink(delay=options.delay / 1000, chunking=not options.no_chunking, pipelining=not options.no_pipelining)
    sys.stdout.write(f"listening {sink.port}\n")
    sys.stdout.flush()
    sink.serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
