"""What Housekeeping removes, and when: bodies after one time, rows after another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

#: How long bodies and attachments are kept unless an admin says otherwise.
KEEP_BODIES = timedelta(days=90)

#: How long the register, the events and the history are kept.
KEEP_ROWS = timedelta(days=730)

#: Less would take away what a drain, a digest or a bounce still needs to know.
SHORTEST = timedelta(days=1)
LONGEST = timedelta(days=36_500)

#: A run may be busy for this part of the time while somebody sends, and for this part otherwise.
BUSY_SHARE = 0.2
IDLE_SHARE = 0.8

_DURATION = TypeAdapter(timedelta)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept after they came to rest.

    :param bodies: the text and the attachments of messages, and of notifications
    :param rows: everything else about them
    """

    bodies: timedelta = KEEP_BODIES
    rows: timedelta = KEEP_ROWS

    def __post_init__(self) -> None:
        # No body outlives its message.
        object.__setattr__(self, "bodies", min(self.bodies, self.rows))


def read_duration(text: str) -> timedelta:
    """How long to keep something.

    :param text: an ISO 8601 duration, e.g. ``P90D``
    :raises ValueError: it is none, or out of range; the message says what would be right
    """
    try:
        found = _DURATION.validate_strings(text.strip().upper())
    except ValidationError:
        found = timedelta(0)
    if not text.strip().upper().startswith("P") or not SHORTEST <= found <= LONGEST:
        raise ValueError(f"{text!r} is no ISO 8601 duration from P1D (a day) to P36500D; write, for example, P90D")
    return found


def pause(took: float, *, busy: bool) -> float:
    """How long to wait after a batch, so that others have the disk to themselves most of the time.

    :param took: what the batch took, in seconds
    :param busy: whether somebody sends at this moment
    """
    share = BUSY_SHARE if busy else IDLE_SHARE
    return took * (1 - share) / share
