"""A session of a drain: a thread that does nothing but send.

No database here. The drain's main thread gives begun messages and takes reports; see :mod:`notify.crew`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from notify.channels.base import Channel, Session
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Parcel
from notify.exceptions import LeaseLost, NotifyError, SenderFault
from notify.storage.attempts import Begun, Claimed, Settlement

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """A begun message."""

    claimed: Claimed
    begun: Begun


@dataclass(frozen=True, slots=True)
class Task:
    """Begun messages on their way to a session: one, or as many as its channel sends at once."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a session's thread tells the main thread.

    :param task: what it was given; None where it reports on opening its session
    :param settlements: what to record of that, where the sender was not at fault
    :param fault: the sender's fault, where there was one
    :param left: what goes back because of it
    :param alive: whether its connection still stands
    """

    thread: SessionThread
    task: Task | None = None
    settlements: tuple[Settlement, ...] = ()
    fault: SenderFault | None = None
    left: tuple[Item, ...] = ()
    alive: bool = True

    @property
    def taken(self) -> bool:
        """Whether the server took any message."""
        outcomes = (settlement.outcome for settlement in self.settlements)
        return any(outcome is not None and outcome.verdict is Verdict.ACCEPTED for outcome in outcomes)


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
            self._reports.put(self._handle(task))
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

    def _handle(self, task: Task) -> Report:
        settlements, ready = [], []
        for item in task.items:
            loaded = _load(item)
            if isinstance(loaded, Parcel):
                ready.append((item, loaded))
            else:
                settlements.append(Settlement(item.claimed, loaded))
        said = self._send([parcel for _, parcel in ready]) if ready else []
        fault, left = None, []
        for (item, _), outcome in zip(ready, said, strict=True):
            if isinstance(outcome, SenderFault):
                fault = outcome
                left.append(item)
            else:
                settlements.append(Settlement(item.claimed, outcome, _STOOD_STILL))
        return Report(self, task, tuple(settlements), fault, tuple(left), self._alive)

    def _send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | SenderFault | None]:
        """Send; neither an outcome nor a fault where the run's lease was over before."""
        if not self._alive:
            self._close()
            if fault := self._open():
                return [fault] * len(parcels)
        assert self._session is not None
        if parcels[0].lease and not parcels[0].lease.holds:
            return [None] * len(parcels)
        try:
            return self._session.send_all(parcels)
        except LeaseLost:
            return [None] * len(parcels)
        except SenderFault as fault:
            return [fault] * len(parcels)
        except Exception as error:  # a message that breaks the channel must not break the queue
            log.exception("The channel broke in an unexpected way, at %s", _numbers(parcels))
            self._close()
            text = f"it could not be sent: {type(error).__name__}; see the log of the run"
            return [Outcome.same(parcel.positions, Verdict.IN_DOUBT, None, text) for parcel in parcels]

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


#: Why a message goes back unsent, where the run's lease was over.
_STOOD_STILL = "the run stood still for too long"


def _load(item: Item) -> Parcel | Outcome:
    """The whole message, or why there is none."""
    try:
        return item.begun.load()
    except NotifyError as error:  # its attachment cannot be had; the other messages are whole
        return _unsent(item, str(error))
    except Exception as error:  # a thread that dies would never report
        log.exception("Message %s could not be put together", item.claimed.id)
        return _unsent(item, f"it could not be put together: {type(error).__name__}; see the log of the run")


def _unsent(item: Item, text: str) -> Outcome:
    return Outcome.same(item.begun.parcel.positions, Verdict.TEMPORARY, None, text)


def _numbers(parcels: Sequence[Parcel]) -> str:
    first, others = parcels[0].id, len(parcels) - 1
    return f"message {first}" + (f" and {others} more" if others else "")
