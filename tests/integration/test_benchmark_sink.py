"""The benchmarks' mail server: it takes everything, counts it right, and keeps its answers as long as it says."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import receiver as receivers
from benchmarks.receiver import Receiver, receiver
from benchmarks.sink import HOST, Client, Sink

CONTENT = b"Subject: x\r\n\r\nHello\r\n..\r\n. and so on"
ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own, on a machine with Debian's too."""
    monkeypatch.setattr(receivers, "debians", lambda: None)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def counted(server: Receiver) -> dict[str, float]:
    counts = server.counts()
    assert counts is not None
    return counts


def test_a_mail_of_smtplib_is_four_round_trips(server: Receiver) -> None:
    """MAIL, RCPT, DATA and the content: each is waited for; greeting and farewell do not count."""
    with smtplib.SMTP(HOST, server.port) as client:
        for _ in range(3):
            client.sendmail("a@example.com", ["b@example.com"], CONTENT)
    counts = counted(server)
    assert (counts["messages"], counts["sessions"], counts["round_trips"]) == (3, 1, 12)


class Wire:
    """A session without a library between.

    :param port: of the server
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=30)
        self.read_to(b"ESMTP\r\n")

    def ask(self, commands: bytes, last: bytes) -> bytes:
        self._socket.sendall(commands)
        return self.read_to(last)

    def read_to(self, last: bytes) -> bytes:
        found = b""
        while not found.endswith(last):
            piece = self._socket.recv(4096)
            assert piece, found
            found += piece
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def wire(server: Receiver) -> Iterator[Wire]:
    found = Wire(server.port)
    yield found
    found.close()


def test_commands_together_are_one_round_trip(server: Receiver, wire: Wire) -> None:
    """Envelope and content in one piece are answered in one piece, and somebody waited once."""
    chunk = b"BDAT %d LAST\r\n%s" % (len(CONTENT), CONTENT)
    answer = wire.ask(ENVELOPE + chunk, b"taken\r\n")
    assert [line[:3] for line in answer.splitlines()] == [b"250"] * 3
    assert (counted(server)["messages"], counted(server)["round_trips"]) == (1, 1)


@pytest.mark.parametrize("command", [b"BDAT 8 LAST\r\nQUIT\r\n\r\n", b"DATA\r\n"])
def test_content_without_an_envelope_is_refused(server: Receiver, wire: Wire, command: bytes) -> None:
    """A chunk before any recipient is refused, and read to its end; a message's envelope is that message's alone."""
    assert wire.ask(command, b"first\r\n").startswith(b"503")
    assert wire.ask(ENVELOPE + b"BDAT 2 LAST\r\n\r\n", b"taken\r\n").count(b"250") == 3
    assert wire.ask(command, b"first\r\n").startswith(b"503")
    assert counted(server)["messages"] == 1


def test_answers_leave_after_the_delay() -> None:
    """No answer comes before its time; those to commands that came together come together."""
    with receiver(80) as server:
        began = time.monotonic()
        wire = Wire(server.port)
        assert time.monotonic() - began >= 0.08
        began = time.monotonic()
        answer = wire.ask(ENVELOPE + b"DATA\r\n", b"go on\r\n")
        assert time.monotonic() - began >= 0.08
        assert answer.count(b"\r\n") == 3
        wire.close()
        assert counted(server)["round_trips"] == 1
        assert counted(server)["mean_delay_ms"] >= 80


@given(st.data())
def test_a_message_is_found_however_it_is_cut(data: Any) -> None:
    """Two mails are two mails, in whatever pieces the network brings their bytes."""
    stream = (ENVELOPE + b"DATA\r\n" + CONTENT + b"\r\n.\r\n") * 2 + ENVELOPE + b"BDAT 3\r\n\r\n.BDAT 2 LAST\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    sink = Sink()
    client = Client(cast("socket.socket", None))
    ends = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    answers = b"".join(sink._take(client, stream[begin:end]) for begin, end in ends)
    sink._listener.close()
    assert sink.counts.messages == 3
    assert answers.count(b"taken") == 3
    assert answers.count(b"354") == 2
    assert not any(line.startswith(b"5") for line in answers.splitlines())
