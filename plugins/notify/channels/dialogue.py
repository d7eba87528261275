"""Hearing a server out: each of its replies within a time, and of a size, that have bounds.

The provider's hook and smtplib connect, encrypt and log in; this is how they read replies, and how a session reads them
afterwards. There is one buffer for all of it, so nothing is lost between the two.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from typing import Any

#: The longest line and the largest reply that are read, in octets. RFC 5321, 4.5.3.1.5, allows a line 512.
_LONGEST_LINE = 8192
_LARGEST_REPLY = 1 << 16

#: Read at a time: the replies to a group of commands.
_READ = 1 << 14


class NotSmtpError(Exception):
    """What came is no reply of SMTP (RFC 5321, 4.2)."""


class Replies:
    """The replies that a server gives, in order.

    :param patience: seconds for each reply; the socket's own timeout is the same
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._buffer = b""

    @property
    def pending(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(self._buffer)

    def within(self, patience: float, peer: socket.socket) -> None:
        """From now on, wait so many seconds for a reply."""
        self._patience = patience
        peer.settimeout(patience)

    def forget(self) -> None:
        """Drop what has come and was not read."""
        self._buffer = b""

    def look(self, peer: socket.socket) -> None:
        """Take what has come meanwhile, without waiting: a server tells who was quiet for long that it hangs up.

        :raises OSError: the connection is gone
        """
        peer.settimeout(0.0)
        try:
            self._receive(peer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        finally:
            peer.settimeout(self._patience)

    def read(self, peer: socket.socket) -> tuple[int, bytes]:
        """Wait for a reply.

        :returns: its code, and its words; the lines of a longer one joined by line feeds
        :raises TimeoutError: it was not there in time, however busily the server sent single bytes
        :raises OSError: the connection is gone
        :raises NotSmtpError: it is none
        """
        deadline = time.monotonic() + self._patience
        if not self._buffer:
            self._receive(peer)
        line, ended, rest = self._buffer.partition(b"\n")
        if not ended or line[3:4] == b"-":
            return self._read_slowly(peer, deadline)
        self._buffer = rest
        return _code(line), line[4:].strip()

    def _read_slowly(self, peer: socket.socket, deadline: float) -> tuple[int, bytes]:
        """Read a reply that is not there yet, or has several lines."""
        words: list[bytes] = []
        size = 0
        try:
            while True:
                line = self._line(peer, deadline)
                size += len(line)
                if size > _LARGEST_REPLY:
                    raise NotSmtpError("a reply without an end")
                code = _code(line)
                words.append(line[4:].strip())
                if line[3:4] != b"-":
                    return code, b"\n".join(words)
        finally:
            peer.settimeout(self._patience)

    def _line(self, peer: socket.socket, deadline: float) -> bytes:
        while True:
            line, ended, rest = self._buffer.partition(b"\n")
            if len(line) > _LONGEST_LINE:
                raise NotSmtpError("a line without an end")
            if ended:
                self._buffer = rest
                return line
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            peer.settimeout(left)
            self._receive(peer)

    def _receive(self, peer: socket.socket) -> None:
        data = peer.recv(_READ)
        if not data:
            raise ConnectionAbortedError("the server closed the connection")
        self._buffer += data


#: What may follow the code: a blank, a hyphen before further lines, or the line's end.
_AFTER_CODE = (b" ", b"-", b"\r", b"", b"\t")


def _code(line: bytes) -> int:
    if not (line[:3].isdigit() and line[3:4] in _AFTER_CODE):
        raise NotSmtpError(line.strip().decode("utf-8", "replace"))
    return int(line[:3])


class Client(smtplib.SMTP):
    """smtplib's client, which reads replies as above."""

    def __init__(self, **settings: Any) -> None:
        self.replies = Replies(settings["timeout"])  # first: smtplib reads the greeting as it is made
        super().__init__(**settings)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply; where there is none, close.

        :raises TimeoutError: it was not there in time; of smtplib's own making it would look like a lost connection
        :raises smtplib.SMTPServerDisconnected: the connection is gone
        """
        assert self.sock is not None
        try:
            return self.replies.read(self.sock)
        except NotSmtpError as error:
            return -1, str(error).encode()  # smtplib's way to say so
        except TimeoutError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(f"Connection unexpectedly closed: {error}") from error

    def ehlo(self, name: str = "") -> tuple[int, bytes]:
        """Greet; who is refused for now must not take it for a server that knows HELO only.

        :raises smtplib.SMTPResponseException: refused for now
        """
        code, text = super().ehlo(name)
        if 400 <= code < 500:
            self.close()
            raise smtplib.SMTPResponseException(code, text)
        return code, text

    def starttls(self, *arguments: Any, **settings: Any) -> tuple[int, bytes]:
        """Encrypt; what came in the clear counts no more, for anybody may have written it (RFC 3207, 4.2)."""
        reply = super().starttls(*arguments, **settings)
        self.replies.forget()
        return reply


class SslClient(Client, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""
