"""The harness tried on itself: a fault that is built in must be found, and where it ought to be."""

from __future__ import annotations

from tests.chaos.catalogue import FROZEN, LIMITED, SLOW, STEPS, VERBS, Scenario

_ALL = {scenario.name: scenario for scenario in (*STEPS, *VERBS, *FROZEN, *LIMITED, *SLOW)}

#: Which scenario finds a mutant, and how the judge begins what it says of it.
FOUND_BY = {
    "settle-anyway": ("freeze-before-settle", "fencing"),
    "begin-after-send": ("end-taken", "attempts"),
    "token-back-early": ("limit-before-send", "limit"),
    "release-begun": ("end-taken", "attempts"),
    "new-message-id": ("end-taken", "Message-ID"),
    "ignore-leases": ("slow-server", "leases"),
    "no-heartbeat": ("slow-server", "leases"),
    "no-fence": ("freeze-DATA", "fencing"),
    "doubt-is-success": ("before-send", "lost"),
    "doubt-is-retried": ("end-taken", "twice"),
}


def scenario_of(mutant: str) -> tuple[Scenario, str]:
    """Where a mutant shows.

    :returns: the scenario with the mutant in it, and how the judge begins what it says of it
    """
    name, begins = FOUND_BY[mutant]
    scenario = _ALL[name].with_settings(mutant=mutant, deadline=30.0, once_every=1 if begins == "twice" else 3)
    return scenario.named(f"mutant-{mutant}"), begins
