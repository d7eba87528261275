"""What a check is, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from notify.checks.surroundings import Surroundings

#: Nobody waits longer for a check, in seconds.
PATIENCE = 5.0


class Outcome(StrEnum):
    """What came of a check."""

    FINE = "fine"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


class Need(StrEnum):
    """What a check cannot do without. Where it is missing, that has been told by another check."""

    DATABASE = "the outbox database"
    OUTBOX = "the outbox"
    METADATA = "Airflow's own database"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is mended.

    :param path: below Airflow's own address; or below ours, see ``ours``
    :param name: what people know it by
    :param ours: whether it is a view of the page
    """

    path: str
    name: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What is not as it should be.

    :param told: what happened, in a sentence
    :param remedy: what to do about this one; None: what the check says
    :param place: where this one is mended; None: where the check says
    """

    told: str
    remedy: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    :param id: which stays the same for ever
    :param title: how it should be, as a short sentence without a full stop
    :param meaning: what follows where it is not so
    :param remedy: what to do then
    :param look: yields what is not so
    :param needs: what it cannot do without
    :param place: where it is mended
    :param patience: how long it may take, in seconds
    """

    id: str
    title: str
    meaning: str
    remedy: str
    look: Callable[[Surroundings], Iterator[Found]]
    needs: frozenset[Need] = frozenset()
    place: Place | None = None
    patience: float = PATIENCE

    @property
    def severity(self) -> Outcome:
        """What it is where something is found."""
        return Outcome.ERROR if self.id.startswith("notify.E") else Outcome.WARNING


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check; where several things were found, there is one for each.

    :param id: of the check
    :param title: how it should be
    :param told: what was found, in a sentence; empty where all is well
    :param remedy: what to do; empty where all is well
    :param place: where it is mended
    """

    id: str
    outcome: Outcome
    title: str
    told: str = ""
    remedy: str = ""
    place: Place | None = None

    @property
    def found(self) -> bool:
        """Whether something is not as it should be."""
        return self.outcome in {Outcome.ERROR, Outcome.WARNING}

    @property
    def line(self) -> str:
        """In one line, for a log."""
        return f"{self.id}: {self.told} What to do: {self.remedy}"

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "id": self.id,
            "outcome": self.outcome.value,
            "title": self.title,
            "told": self.told,
            "remedy": self.remedy,
        }
