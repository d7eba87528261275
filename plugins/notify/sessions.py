"""A session of a drain: a thread that does nothing but send.

No database here. The drain's main thread gives begun messages and takes reports; see :mod:`notify.crew`.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from queue import SimpleQueue

from notify.channels.base import Channel, Session
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Parcel
from notify.exceptions import LeaseLost, NotifyError, SenderFault
from notify.storage.attempts import Begun, Claimed, Settlement

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
    :param settlement: what to record of it, where the sender was not at fault
    :param fault: the sender's fault, where there was one
    :param alive: whether its connection still stands
    """

    thread: SessionThread
    task: Task | None = None
    settlement: Settlement | None = None
    fault: SenderFault | None = None
    alive: bool = True

    @property
    def taken(self) -> bool:
        """Whether the server took the message."""
        outcome = self.settlement.outcome if self.settlement else None
        return outcome is not None and outcome.verdict is Verdict.ACCEPTED


class SessionThread:
    """A session and the thread that uses it.

    It has a thread and is none: Python 3.13 gave threads an attribute ``_handle``, which hid a method of that name.

    :param number: for the thread's name
    :param reports: where the main thread looks for reports
    """

    def __init__(self, number: int, channel: Channel, reports: SimpleQueue[Report]) -> None:
        self._thread = threading.Thread(target=self._run, name=f"notify-session-{number}", daemon=True)
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._channel = channel
        self._reports = reports
        self._session: Session | None = None

    def start(self) -> None:
        """Open the session and report; from then on, send what comes."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, but no longer than so many seconds."""
        self._thread.join(timeout)

    def _run(self) -> None:
        """Open a session, then send what comes; a lost session is opened anew when it is needed."""
        fault = self._open()
        self._reports.put(Report(self, fault=fault, alive=fault is None))
        while task := self.tasks.get():
            outcome, fault = self._handle(task)
            settlement = None if fault else Settlement(task.claimed, outcome, _STOOD_STILL)
            self._reports.put(Report(self, task, settlement, fault, self._alive))
        self._close()

    @property
    def _alive(self) -> bool:
        return self._session is not None and self._session.alive

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

    def _handle(self, task: Task) -> tuple[Outcome | None, SenderFault | None]:
        """Send; neither an outcome nor a fault where the run's lease was over before."""
        try:
            parcel = task.begun.load()
        except NotifyError as error:  # its attachment cannot be had; the other messages are whole
            return _unsent(task, str(error)), None
        except Exception as error:  # a thread that dies would never report
            log.exception("Message %s could not be put together", task.claimed.id)
            return _unsent(task, f"it could not be put together: {type(error).__name__}; see the log of the run"), None
        if not self._alive:
            self._close()
            if fault := self._open():
                return None, fault
        assert self._session is not None
        return self._send(self._session, task, parcel)

    def _send(self, session: Session, task: Task, parcel: Parcel) -> tuple[Outcome | None, SenderFault | None]:
        if parcel.lease and not parcel.lease.holds:
            return None, None
        try:
            return session.send(parcel), None
        except LeaseLost:
            return None, None
        except SenderFault as fault:
            return None, fault
        except Exception as error:  # a message that breaks the channel must not break the queue
            log.exception("Message %s broke the channel in an unexpected way", task.claimed.id)
            self._close()
            text = f"it could not be sent: {type(error).__name__}; see the log of the run"
            return Outcome.same(parcel.positions, Verdict.IN_DOUBT, None, text), None

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


#: Why a message goes back unsent, where the run's lease was over.
_STOOD_STILL = "the run stood still for too long"


def _unsent(task: Task, text: str) -> Outcome:
    return Outcome.same(task.begun.parcel.positions, Verdict.TEMPORARY, None, text)
