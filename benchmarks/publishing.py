"""Publishing: an event singly, with a commit each, and one event to a whole group; out now, and put aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.bench import Bench
from benchmarks.filling import add_people, event, settings
from benchmarks.processes import run
from notify.domain.preference import Frequency
from notify.publishing import publish
from notify.storage.engine import engine_for

SUITE = "publishing"

#: Members of each group.
GROUP = 1_000

#: Events that are measured, to one person and to a group.
SINGLY = 1_000
TO_GROUPS = 20

#: Events before them: an Airflow worker's first event compiles the templates, all others find them compiled.
_WARM_UP = 4

#: The groups, by what becomes of an event's notifications.
_GROUPS = {"immediate": ("now", Frequency.IMMEDIATELY), "put_aside": ("later", Frequency.DAILY)}


@dataclass(frozen=True, slots=True)
class _Load:
    """Events to publish one after the other.

    :param name: of the figure
    :param to: a login or a group
    :param events: how many
    :param recipients: how many people each of them concerns
    """

    name: str
    to: str
    events: int
    recipients: int = 1


def measure(bench: Bench) -> None:
    """Measure all of it."""
    with bench.server.database("publishing") as url:
        with engine_for(url).begin() as connection:
            for group, frequency in _GROUPS.values():
                add_people(connection, GROUP, frequency, prefix=group, group=group)
        engine_for(url).dispose()
        rates = {load.name: _publish(bench, url, load) for load in _loads(bench)}
    ratio = bench.results.ratio
    ratio("publish_put_aside_vs_immediate", rates["single_put_aside"] / rates["single_immediate"])
    ratio("publish_group_vs_single_immediate", rates["group_immediate"] / rates["single_immediate"])
    ratio("publish_group_vs_single_put_aside", rates["group_put_aside"] / rates["single_put_aside"])


def _loads(bench: Bench) -> Iterator[_Load]:
    for home, (group, _) in _GROUPS.items():
        yield _Load(f"single_{home}", f"{group}000000", bench.scaled(SINGLY))
        yield _Load(f"group_{home}", group, bench.scaled(TO_GROUPS), GROUP)


def _publish(bench: Bench, url: str, load: _Load) -> float:
    """Measure.

    :returns: notifications per second
    """
    team, seconds = bench.fastest(
        f"publish {load.events:,} events, {load.name.replace('_', ' ')}",
        lambda: run("benchmarks.publishing:publishing", url=url, recipient=load.to, count=load.events),
    )
    rate = load.events * load.recipients / team.seconds
    figure = {
        "events": load.events,
        "recipients_of_each": load.recipients,
        "seconds": round(team.seconds, 3),
        "events_per_second": round(load.events / team.seconds, 1),
        "notifications_per_second": round(rate),
        **team.times(),
        "all_seconds": seconds,
    }
    bench.results.add(SUITE, load.name, figure)
    return rate


def publishing(url: str, recipient: str, count: int) -> Callable[[], dict[str, int]]:
    """A job: publish events, each in a transaction of its own.

    :param recipient: a login or a group
    """
    engine, known = engine_for(url), settings()

    def publish_all(numbers: range) -> dict[str, int]:
        now = datetime.now(UTC)
        for number in numbers:
            publish(**event(number, recipient, now), connection=engine, settings=known)
        return {"events": len(numbers)}

    publish_all(range(_WARM_UP))
    return lambda: publish_all(range(_WARM_UP, _WARM_UP + count))
