"""What a person sees while something takes its time."""

from __future__ import annotations

import sys
import time


class Steps:
    """Prints a line for each step, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print a step."""
        elapsed = time.monotonic() - self._begin
        sys.stdout.write(f"[{elapsed:6.1f} s] {line}\n")
        sys.stdout.flush()


def say(text: str = "") -> None:
    """Print something that is no step."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print an error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
