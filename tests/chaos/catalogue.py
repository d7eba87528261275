"""All scenarios: what each proves, and how it is played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.chaos.stage import Settings, Stage
from tests.chaos.strikes import Strike, When


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the table.

    :param proves: what it shows when it passes
    :param play: what happens; from start to an empty queue
    """

    name: str
    proves: str
    play: Callable[[Stage], None]
    settings: Settings = field(default_factory=Settings)

    def with_settings(self, **changes: object) -> Scenario:
        """The same, played otherwise."""
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]


def killing(strike: Strike) -> Callable[[Stage], None]:
    """Strike one worker after another at the same step, on other messages each; then let a fresh one end it."""

    def play(stage: Stage) -> None:
        blows = stage.settings.blows
        for number in range(blows):
            stage.hand_over(stage.settings.messages // blows)
            later = 0 if strike.polite else number  # a worker releases once
            stage.strike(replace(strike, nth=strike.nth + later))
        stage.drain()

    return play


def _step(name: str, strike: Strike, proves: str, **settings: object) -> Scenario:
    return Scenario(name, proves, killing(strike), Settings(**settings))  # type: ignore[arg-type]


_NOTHING_HAPPENED = "what is not committed has not happened"
_RESERVED = "what is reserved goes back unsent"
_BEGUN = "at most one message per session is in doubt"

#: A kill at each named step of the worker itself, and at its commits.
STEPS = [
    _step("claim", Strike("claim", When.AFTER), _NOTHING_HAPPENED),
    _step("claim-commit", Strike("claim", When.COMMIT), _NOTHING_HAPPENED),
    _step("claim-committed", Strike("claim", When.COMMITTED), _RESERVED),
    _step("before-begin", Strike("begin", When.BEFORE), _RESERVED),
    _step("after-begin", Strike("begin", When.AFTER, nth=2), _RESERVED),
    _step("begin-committed", Strike("begin", When.COMMITTED), _BEGUN),
    _step("before-send", Strike("send", When.BEFORE), _BEGUN),
    _step("after-send", Strike("send", When.AFTER), _BEGUN),
    _step("before-settle", Strike("settle", When.BEFORE), _BEGUN),
    _step("after-settle", Strike("settle", When.AFTER), _BEGUN),
    _step("shared-commit", Strike("settle", When.COMMIT, least=2), _BEGUN, messages=48),
    _step(
        "shared-committed", Strike("settle", When.COMMITTED, least=2), "a commit counts, heard of or not", messages=48
    ),
    _step("before-release", Strike("release", When.BEFORE, polite=True), _RESERVED, messages=60),
    _step("after-release", Strike("release", When.AFTER, polite=True), _RESERVED, messages=60),
    _step("release-committed", Strike("release", When.COMMITTED, polite=True), _RESERVED, messages=60),
]

#: A kill at each verb, as the SMTP server sees it.
VERBS = [
    _step("MAIL", Strike("MAIL", When.READ), _BEGUN),
    _step("MAIL-answered", Strike("MAIL", When.ANSWERED), _BEGUN),
    _step("RCPT", Strike("RCPT", When.READ), _BEGUN),
    _step("RCPT-answered", Strike("RCPT", When.ANSWERED), _BEGUN),
    _step("DATA", Strike("DATA", When.READ), _BEGUN),
    _step("DATA-answered", Strike("DATA", When.ANSWERED), _BEGUN),
    _step("content", Strike("CONTENT", When.READ), _BEGUN),
    _step("end", Strike("END", When.READ), _BEGUN),
    _step("end-taken", Strike("END", When.TAKEN), _BEGUN),
    _step("end-answered", Strike("END", When.ANSWERED), _BEGUN),
]
