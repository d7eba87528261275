"""The sessions of a drain: a thread for each, which does nothing but send.

No database here. The drain's main thread gives begun messages and takes reports.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue

from notify.channels.base import Channel, Session
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Parcel
from notify.exceptions import NotifyError, SenderFault
from notify.storage.attempts import Begun, Claimed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A begun message on its way to a session."""

    claimed: Claimed
    begun: Begun


@dataclass(frozen=True, slots=True)
class Report:
    """What a session's thread tells the main thread.

    :param task: the message it was given; None where it reports on opening its session
    :param outcome: what came of it
    :param fault: the sender's fault, where there was one
    """

    thread: SessionThread
    task: Task | None = None
    outcome: Outcome | None = None
    fault: SenderFault | None = None


class SessionThread:
    """A session and the thread that uses it.

    It has a thread and is none: Python 3.13 gave threads an attribute ``_handle``, which hid a method of that name.

    :param number: for the thread's name
    :param reports: where the main thread looks for reports
    """

    def __init__(self, number: int, channel: Channel, reports: SimpleQueue[Report]) -> None:
        self._thread = threading.Thread(target=self._run, name=f"notify-session-{number}", daemon=True)
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.busy_since: float | None = time.monotonic()  # opening; the main thread's own note, as is the next
        self.faults = 0  # in a row; two on fresh sessions are the sender's, not the message's
        self._channel = channel
        self._reports = reports
        self._session: Session | None = None

    @property
    def busy(self) -> bool:
        """Whether a report of it is awaited."""
        return self.busy_since is not None

    def start(self) -> None:
        """Open the session and report; from then on, send what comes."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, but no longer than so many seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        """Open a session, then send what comes; a lost session is opened anew when it is needed."""
        self._reports.put(Report(self, fault=self._open()))
        while task := self.tasks.get():
            self._reports.put(self._handle(task))
        self._close()

    def _open(self) -> SenderFault | None:
        try:
            self._session = self._channel.open()
        except SenderFault as fault:
            return fault
        except Exception as error:
            log.exception("Opening a session failed in an unexpected way")
            return SenderFault(
                f"The session could not be opened: {type(error).__name__}: {error}.",
                "Look at the log of this run; if the connection's settings are right, report it as a bug.",
            )
        return None

    def _handle(self, task: Task) -> Report:
        try:
            parcel = task.begun.load()
        except NotifyError as error:  # its attachment cannot be had; the other messages are whole
            return self._unsent(task, str(error))
        except Exception as error:  # a thread that dies would never report
            log.exception("Message %s could not be put together", task.claimed.id)
            return self._unsent(task, f"it could not be put together: {type(error).__name__}; see the log of the run")
        if self._session is None or not self._session.alive:
            self._close()
            if fault := self._open():
                return Report(self, task, fault=fault)
        assert self._session is not None
        return self._send(self._session, task, parcel)

    def _unsent(self, task: Task, text: str) -> Report:
        return Report(self, task, Outcome.same(task.begun.parcel.positions, Verdict.TEMPORARY, None, text))

    def _send(self, session: Session, task: Task, parcel: Parcel) -> Report:
        try:
            return Report(self, task, session.send(parcel))
        except SenderFault as fault:
            return Report(self, task, fault=fault)
        except Exception as error:  # a message that breaks the channel must not break the queue
            log.exception("Message %s broke the channel in an unexpected way", task.claimed.id)
            self._close()
            text = f"it could not be sent: {type(error).__name__}; see the log of the run"
            return Report(self, task, Outcome.same(parcel.positions, Verdict.IN_DOUBT, None, text))

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
