"""The plot of a day: bars of what became of attempts, stacked, an hour each; the template draws them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notify.storage.activity import Activity, Hour

#: Outcomes of attempts from the foot of a bar to its head, and what people call them.
OUTCOMES = {
    "accepted": "sent",
    "temporary": "refused for now",
    "permanent": "refused for good",
    "in_doubt": "in doubt",
    "sender_fault": "the sender could not send",
}

#: The height of the plot, in units of its own; an hour is one unit wide.
HEIGHT = 100.0

#: A bar's share of its hour; the rest is the gap to the next.
_WIDTH = 0.8

#: What is there can be seen, however little it is.
_LEAST = 1.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle."""

    outcome: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """An hour, and its bars from the foot up."""

    hour: Hour
    bars: tuple[Bar, ...]

    @property
    def told(self) -> str:
        """What it shows, in words."""
        counts = ", ".join(f"{count:,} {OUTCOMES[name]}" for name, count in _counts(self.hour))
        return f"{self.hour.begins:%H:%M} UTC: {counts or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Plot:
    """All of it.

    :param scale: the number that the full height stands for
    :param outcomes: those that occur, as they are stacked
    """

    columns: tuple[Column, ...]
    scale: int
    outcomes: tuple[str, ...]
    left_out: int

    @property
    def total(self) -> int:
        """All attempts in it."""
        return sum(column.hour.total for column in self.columns)


def plot(activity: Activity) -> Plot:
    """Lay out a day."""
    scale = _round(activity.busiest)
    return Plot(
        tuple(Column(hour, tuple(_bars(place, hour, scale))) for place, hour in enumerate(activity.hours)),
        scale,
        tuple(name for name in OUTCOMES if any(hour.ended.get(name) for hour in activity.hours)),
        activity.left_out,
    )


def _bars(place: int, hour: Hour, scale: int) -> Iterator[Bar]:
    foot = HEIGHT
    for name, count in _counts(hour):
        height = max(_LEAST, count / scale * HEIGHT)
        foot = max(0.0, foot - height)
        yield Bar(name, place + (1 - _WIDTH) / 2, round(foot, 2), _WIDTH, round(height, 2))


def _counts(hour: Hour) -> Iterator[tuple[str, int]]:
    return ((name, hour.ended[name]) for name in OUTCOMES if hour.ended.get(name))


def _round(most: int) -> int:
    """The next number that is easily read: 1, 2 or 5 with zeros."""
    scale = 1
    while scale < most:
        scale = scale * 5 // 2 if str(scale)[0] == "2" else scale * 2
    return scale
