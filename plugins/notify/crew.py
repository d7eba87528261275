"""The sessions of a drain, and the circuit breaker over them.

A session whose connection went is *lost*. Only one lost session at a time connects anew, with one message. Where that
fails, none does until another session has got a message through; where no session stands any more, the run is over. So
a server that is dead costs one try per run, not one for each session and message.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, SimpleQueue

from notify.channels.base import Channel
from notify.exceptions import SenderFault, SenderRefused
from notify.sessions import Report, SessionThread, Task

log = logging.getLogger(__name__)

#: How long to wait for all sessions to say goodbye, in seconds.
GOODBYE = 5.0


@dataclass(slots=True)
class _Member:
    """What the main thread knows of a session.

    :param busy_since: by ``time.monotonic()``, while a report of it is awaited: it opens, or sends
    :param faults: of the sender, one after the other; two on fresh connections are the sender's, not a message's
    """

    thread: SessionThread
    busy_since: float | None
    faults: int = 0


class Crew:
    """The sessions of one run. For the main thread only.

    :param channel: how they send
    :param sender: for the log
    :param patience: after this time a session that does not come back is given up
    """

    def __init__(self, channel: Channel, sender: str, patience: timedelta) -> None:
        self._channel = channel
        self._sender = sender
        self._patience = patience.total_seconds()
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._members: dict[SessionThread, _Member] = {}
        self._threads: list[SessionThread] = []
        self._idle: deque[SessionThread] = deque()
        self._lost: deque[SessionThread] = deque()
        self._probing: SessionThread | None = None
        self._most = channel.max_connections
        self._closed: SenderFault | None = None  # why the server let nobody in, and nothing has got through since
        self.fault: SenderFault | None = None  #: why there is no session left

    def __len__(self) -> int:
        return len(self._members)

    @property
    def busy(self) -> bool:
        """Whether a report is awaited."""
        return any(member.busy_since is not None for member in self._members.values())

    def grow(self, wanted: int) -> None:
        """Open more sessions, as far as the sender allows."""
        while len(self._members) < min(wanted, self._most):
            thread = SessionThread(len(self._threads), self._channel, self._reports)
            self._members[thread] = _Member(thread, time.monotonic())
            self._threads.append(thread)
            thread.start()

    # --- Messages out, reports in ------------------------------------------------------------------------------------

    def free(self, most: int) -> list[SessionThread]:
        """Take sessions that may be given a message; each must be given one, or come :meth:`back`."""
        taken = [self._idle.popleft() for _ in range(min(most, len(self._idle)))]
        if len(taken) < most and self._lost and self._probing is None and self._closed is None:
            self._probing = self._lost.popleft()
            taken.append(self._probing)
        return taken

    def give(self, thread: SessionThread, task: Task) -> None:
        """Let a session send a message."""
        self._members[thread].busy_since = time.monotonic()
        thread.tasks.put(task)

    def back(self, thread: SessionThread) -> None:
        """Take a session back that there was nothing to give to."""
        if thread is self._probing:
            self._probing = None
            self._lost.append(thread)
        else:
            self._idle.append(thread)

    def wait(self, seconds: float) -> list[Report]:
        """Wait for a report, and take all that have come.

        :param seconds: how long at most
        :returns: those about messages
        """
        reports = []
        with suppress(Empty):
            reports.append(self._reports.get(timeout=seconds))
            while True:
                reports.append(self._reports.get_nowait())
        known = [report for report in reports if report.thread in self._members]  # the others were given up: too late
        for report in known:
            self._take(report)
        self._give_up()
        return [report for report in known if report.task is not None]

    def _take(self, report: Report) -> None:
        member = self._members[report.thread]
        member.busy_since = None
        probed = report.thread is self._probing
        if probed:
            self._probing = None
        if report.fault is None:
            member.faults = 0
        else:
            member.faults += 1
            if report.task is None or probed or member.faults > 1 or isinstance(report.fault, SenderRefused):
                self._retire(member, report.fault)
                return
        if report.taken:
            self._closed = None
        (self._idle if report.alive or report.taken else self._lost).append(report.thread)
        self._look_around()

    def _give_up(self) -> None:
        """Do without sessions that do not come back.

        Their messages stay begun: each counts against the limit while the session may yet send it, and the next run
        takes it over as one in doubt.
        """
        latest = time.monotonic() - self._patience
        silent = SenderFault(f"A session has not come back within {self._patience:.0f} s.", _SILENT)
        for member in list(self._members.values()):
            if member.busy_since is not None and member.busy_since < latest:
                self._retire(member, silent)

    def _retire(self, member: _Member, fault: SenderFault) -> None:
        """Do without a session that cannot be had; where none stands any more, there is no sending."""
        member.thread.tasks.put(None)
        del self._members[member.thread]
        if member.thread is self._probing:
            self._probing = None
        self._closed = fault
        self._most = max(1, len(self._members))  # to knock again and again is how one gets blacklisted
        self._look_around()
        if self.fault is None:
            log.warning("%s: one session less: %s", self._sender, fault.cause)

    def _look_around(self) -> None:
        """Where nobody is let in and no session stands, there is no sending."""
        if self._closed and len(self._members) == len(self._lost):
            self.fault = self._closed

    # --- The end -----------------------------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Let every session end once it has sent what it was given."""
        for thread in self._members:
            thread.tasks.put(None)

    def part(self) -> None:
        """Wait until the sessions have said goodbye, but not for long."""
        goodbye = time.monotonic() + GOODBYE
        for thread in self._threads:
            thread.join(timeout=max(0.0, goodbye - time.monotonic()))


_SILENT = (
    "Look at the mail server's log: it keeps connections open without an answer. A message that it was given is in "
    "doubt; the next run takes it over."
)
