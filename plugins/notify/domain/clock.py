"""When clocks differ by more than mail can bear."""

from __future__ import annotations

from datetime import timedelta

#: What is more than this may miss a run at the hour.
OFF = timedelta(seconds=2)

#: What is more than this lets logins run out at a wrong time.
FAR_OFF = timedelta(seconds=30)


def difference(machine: str, ahead: timedelta) -> str:
    """Say how far a clock is off, in a sentence.

    :param machine: whose clock it is
    :param ahead: of the outbox database's; negative: behind it
    """
    way = "ahead of" if ahead > timedelta() else "behind"
    return f"The clock of {machine} is {abs(ahead).total_seconds():,.1f} s {way} that of the outbox database."
