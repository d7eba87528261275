"""The words of the harness: where a blow falls, and what it does.

A point in the worker is a function of ours: ``claim``, ``begin``, ``send``, ``settle``, ``release``; or ``takeover``,
the release of what another drain had reserved. A point at the SMTP server is in capitals: a verb, the content, its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Functions that the worker's process wraps.
WORKER_POINTS = frozenset({"claim", "begin", "send", "settle", "release", "takeover", "renew"})

#: What an SMTP server notices. With CHUNKING, DATA is the BDAT command, and END its last byte.
SMTP_POINTS = frozenset({"MAIL", "RCPT", "DATA", "CONTENT", "END"})


class When(StrEnum):
    """On which side of a point."""

    BEFORE = "before"  #: the function is called
    AFTER = "after"  #: the function has returned; what it wrote is not committed
    COMMIT = "commit"  #: the COMMIT of its transaction is on its way, and has not arrived
    COMMITTED = "committed"  #: that COMMIT was carried out, and the answer is on its way
    READ = "read"  #: the server has read it, and done nothing yet
    TAKEN = "taken"  #: END only: the server has taken the message, and has not said so
    ANSWERED = "answered"  #: the server's answer is sent


class Action(StrEnum):
    """What happens there."""

    KILL = "kill"  #: SIGKILL
    FREEZE = "freeze"  #: SIGSTOP, until after another has taken over
    CUT = "cut"  #: the connection at which it happens (SMTP or PostgreSQL) breaks
    STALL = "stall"  #: that connection goes silent
    TERMINATE = "terminate"  #: PostgreSQL ends the session: pg_terminate_backend


@dataclass(frozen=True, slots=True)
class Strike:
    """One blow at one worker.

    :param nth: at which of its moments
    :param least: ``settle`` and ``begin``: only moments at which so many messages are concerned
    :param seconds: how long a connection stalls
    :param polite: whether the worker is told to stop first, so that it releases what it has reserved
    """

    point: str
    when: When
    action: Action = Action.KILL
    nth: int = 1
    least: int = 1
    seconds: float = 0.0
    polite: bool = False

    @property
    def at_server(self) -> bool:
        """Whether it falls at the SMTP server's side."""
        return self.point in SMTP_POINTS

    @property
    def by_proxy(self) -> bool:
        """Whether it falls on the way to PostgreSQL."""
        by_commit = self.when in {When.COMMIT, When.COMMITTED}
        on_connection = self.action in {Action.CUT, Action.STALL, Action.TERMINATE}
        return not self.at_server and (by_commit or on_connection)

    def __str__(self) -> str:
        return f"{self.action} {self.when} {self.point}"
