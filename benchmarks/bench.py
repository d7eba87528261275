"""What every suite is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.processes import Team
from benchmarks.results import Results
from benchmarks.server import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """A run of the benchmarks.

    :param quick: do a tenth of the work
    :param repeat: how often to measure each; the best counts, for another program may be in the way of the others
    :param tell: prints a line about the progress
    """

    server: Server
    results: Results
    tell: Callable[[str], None]
    quick: bool = False
    repeat: int = 1

    def scaled(self, count: int) -> int:
        """So many, or a tenth of it where it has to be quick."""
        return max(1, count // 10) if self.quick else count

    def fastest(self, what: str, measure: Callable[[], Team], most: int | None = None) -> tuple[Team, list[float]]:
        """Measure again and again.

        :param most: so often at most
        :returns: the fastest, and the seconds of all
        """
        teams = []
        repeat = self.repeat if most is None else min(most, self.repeat)
        for number in range(repeat):
            team = measure()
            teams.append(team)
            self.tell(f"{what}: {team.seconds:.2f} s" + (f" ({number + 1} of {repeat})" * (repeat > 1)))
        return min(teams, key=lambda team: team.seconds), [round(team.seconds, 3) for team in teams]
