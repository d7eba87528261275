"""All scenarios: what each proves, and how it is played."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.chaos.sink import Mode
from tests.chaos.stage import Settings, Stage
from tests.chaos.strikes import Action, Strike, When


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the table.

    :param proves: what it shows when it passes
    :param play: what happens; from start to an empty queue
    :param own_server: whether it needs a PostgreSQL that is nobody else's
    """

    name: str
    proves: str
    play: Callable[[Stage], None]
    settings: Settings = field(default_factory=Settings)
    own_server: bool = False

    def with_settings(self, **changes: object) -> Scenario:
        """The same, played otherwise."""
        return replace(self, settings=replace(self.settings, **changes))  # type: ignore[arg-type]

    def named(self, name: str) -> Scenario:
        """The same under another name."""
        return replace(self, name=name)


def killing(strike: Strike) -> Callable[[Stage], None]:
    """Strike one worker after another at the same step, on other messages each; then let a fresh one end it."""

    def play(stage: Stage) -> None:
        blows = stage.settings.blows
        for number in range(blows):
            stage.hand_over(stage.settings.messages // blows)
            if strike.point == "takeover":
                stage.strike(_LEAVES_SOMETHING)
            stage.strike(_later(strike, number))
        stage.drain()

    return play


#: Dies with a message begun, and others reserved.
_LEAVES_SOMETHING = Strike("send", When.BEFORE)


def _later(strike: Strike, number: int) -> Strike:
    """The same, a few moments later; a worker releases and takes over but once."""
    return strike if strike.polite or strike.point == "takeover" else replace(strike, nth=strike.nth + number)


#: Seconds; leases are 0.7 s where a connection stalls, and the client's timeout is 1 s.
_LONGER_THAN_LEASE = 2.5
_LONGER_THAN_TIMEOUT = 1.5
_SOON = 8.0

#: On which sides of a verb the server can break off.
_SIDES = {
    "MAIL": (When.READ, When.ANSWERED),
    "RCPT": (When.READ, When.ANSWERED),
    "DATA": (When.READ, When.ANSWERED),
    "CONTENT": (When.READ,),
    "END": (When.READ, When.TAKEN, When.ANSWERED),
}


def breaking(strike: Strike) -> Callable[[Stage], None]:
    """Break what a worker is connected to, and let it go on."""

    def play(stage: Stage) -> None:
        for number in range(stage.settings.blows):
            stage.hand_over(stage.settings.messages // stage.settings.blows)
            worker = stage.strike(_later(strike, number), bound=_doubts(strike, stage.settings))
            if strike.by_proxy and strike.action is Action.STALL:
                stage.start()  # takes over meanwhile
            stage.wait(lambda worker=worker: bool(stage.journal(worker)), "word from who was struck")
            stage.end_all()
        stage.drain()

    return play


def _doubts(strike: Strike, settings: Settings) -> int:
    """How many messages may be in doubt when a connection breaks, and nothing else."""
    if not strike.at_server:
        return settings.sessions
    alone = settings.mode is Mode.PLAIN or settings.mode is Mode.PIPELINING
    return 0 if alone and strike.point in {"MAIL", "RCPT", "DATA"} and strike.when is When.READ else 1


def _fenced(strike: Strike) -> bool:
    """Whether the only message under way is one that the server has not got and must not get any more."""
    return (strike.point, strike.when) in _BEFORE_CONTENT


_BEFORE_CONTENT = {("send", When.BEFORE), *((verb, When.READ) for verb in ("MAIL", "RCPT", "DATA"))}


def freezing(strike: Strike) -> Callable[[Stage], None]:
    """Stop a process; let another do its work; let it go on."""

    def play(stage: Stage) -> None:
        stage.hand_over(stage.settings.messages)
        if strike.point == "takeover":
            stage.strike(_LEAVES_SOMETHING)
        frozen = stage.strike(strike, copies=0 if _fenced(strike) else None)
        stage.start()
        stage.wait(lambda: stage.taken_over(frozen), f"taking over from worker {frozen.number}")
        stage.wait_until_empty()
        stage.thaw(frozen)
        stage.end_all()

    return play


def _step(name: str, strike: Strike, proves: str, **settings: object) -> Scenario:
    return Scenario(name, proves, killing(strike), Settings(**settings))  # type: ignore[arg-type]


def _broken(name: str, strike: Strike) -> Scenario:
    return Scenario(name, "a sender that lost its database loses nothing else", breaking(strike))


def _rude(name: str, strike: Strike) -> Scenario:
    proves = "a session that breaks costs at most its own message a doubt"
    return Scenario(name, proves, breaking(strike), Settings(timeout=1))


def _frozen(name: str, strike: Strike, **settings: object) -> Scenario:
    proves = "who wakes up can neither send nor settle what was taken from it"
    return Scenario(
        name, proves, freezing(strike), Settings(**{"messages": 18, "sessions": 1, "lease": 1.5, **settings})
    )  # type: ignore[arg-type]


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
    _step("before-takeover", Strike("takeover", When.BEFORE), _RESERVED),
    _step("after-takeover", Strike("takeover", When.AFTER), _RESERVED),
    _step("takeover-commit", Strike("takeover", When.COMMIT), _RESERVED),
    _step("takeover-committed", Strike("takeover", When.COMMITTED), _RESERVED),
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

#: A living sender whose way to PostgreSQL breaks, or goes silent for longer than its lease.
DATABASE = [
    _broken("terminate-at-claim", Strike("claim", When.AFTER, Action.TERMINATE)),
    _broken("terminate-at-begin", Strike("begin", When.BEFORE, Action.TERMINATE)),
    _broken("terminate-at-settle", Strike("settle", When.BEFORE, Action.TERMINATE)),
    _broken("terminate-at-commit", Strike("settle", When.COMMIT, Action.TERMINATE)),
    _broken("terminate-at-release", Strike("release", When.AFTER, Action.TERMINATE, polite=True)),
    _broken("cut-at-claim", Strike("claim", When.AFTER, Action.CUT)),
    _broken("cut-at-commit", Strike("settle", When.COMMIT, Action.CUT)),
    _broken("cut-when-committed", Strike("settle", When.COMMITTED, Action.CUT)),
    _broken("cut-when-claimed", Strike("claim", When.COMMITTED, Action.CUT)),
    _broken("stall-at-commit", Strike("settle", When.COMMIT, Action.STALL, seconds=_LONGER_THAN_LEASE)),
    _broken("stall-when-committed", Strike("settle", When.COMMITTED, Action.STALL, seconds=_LONGER_THAN_LEASE)),
]

#: A server that breaks the connection, or goes silent, at each verb.
SERVER = [
    scenario
    for point, sides in _SIDES.items()
    for when in sides
    for scenario in (
        _rude(f"cut-{point}-{when}".lower(), Strike(point, when, Action.CUT)),
        _rude(f"stall-{point}-{when}".lower(), Strike(point, when, Action.STALL, seconds=_LONGER_THAN_TIMEOUT)),
    )
]

#: A sender that stands still for longer than its lease, and goes on when another has done its work.
FROZEN = [
    _frozen("freeze-before-send", Strike("send", When.BEFORE, Action.FREEZE)),
    _frozen("freeze-before-fourth", Strike("send", When.BEFORE, Action.FREEZE, nth=4)),
    _frozen("freeze-MAIL", Strike("MAIL", When.READ, Action.FREEZE)),
    _frozen("freeze-RCPT", Strike("RCPT", When.READ, Action.FREEZE)),
    _frozen("freeze-DATA", Strike("DATA", When.READ, Action.FREEZE)),
    _frozen("freeze-content", Strike("CONTENT", When.READ, Action.FREEZE)),
    _frozen("freeze-end-taken", Strike("END", When.TAKEN, Action.FREEZE)),
    _frozen("freeze-end-answered", Strike("END", When.ANSWERED, Action.FREEZE)),
    _frozen("freeze-before-settle", Strike("settle", When.BEFORE, Action.FREEZE)),
    _frozen("freeze-before-begin", Strike("begin", When.BEFORE, Action.FREEZE)),
    _frozen("freeze-when-committed", Strike("begin", When.COMMITTED, Action.FREEZE)),
]

#: The same in the middle of a transaction, with its locks.
FROZEN_WITH_LOCKS = [
    _frozen("freeze-after-claim", Strike("claim", When.AFTER, Action.FREEZE), sessions=4, deadline=_SOON),
    _frozen("freeze-after-release", Strike("release", When.AFTER, Action.FREEZE, polite=True), deadline=_SOON),
    _frozen("freeze-after-takeover", Strike("takeover", When.AFTER, Action.FREEZE), deadline=_SOON),
]

#: How slow a server may be, in seconds, and the leases that must last meanwhile.
_SLOW = {"delay": 6.0, "lease": 2.0, "messages": 3, "sessions": 3, "calm": True}


def waiting(stage: Stage) -> None:
    """Have a server take longer than a lease to answer, while another worker looks for dead drains all the time."""
    stage.hand_over(stage.settings.messages)
    stage.start()
    stage.wait(lambda: len(stage.sink.arrivals) >= stage.settings.sessions, "message on each session")
    stage.drain()


def outage(how: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """Take PostgreSQL away while two workers send."""

    def play(stage: Stage) -> None:
        stage.start()
        stage.start()
        for _ in range(stage.settings.blows):
            stage.hand_over(stage.settings.messages // stage.settings.blows)
            before = len(stage.sink.arrivals)
            stage.wait(lambda before=before: len(stage.sink.arrivals) > before + 2, "messages under way")
            stage.blow(2 * stage.settings.sessions, *stage.workers)
            how(stage)
        stage.wait_until_empty()
        stage.end_all()

    return play


def restart(stage: Stage) -> None:
    """Stop it in good order, and start it again."""
    stage.world.postgres.stop()
    stage.world.postgres.start()


def crash(stage: Stage) -> None:
    """Kill the process of a session: PostgreSQL ends all others, and recovers from its log."""
    stage.kill_backend()


def immediate(stage: Stage) -> None:
    """Stop it without writing anything out; the start recovers from the log."""
    stage.stop_at_once()
    stage.world.postgres.start()


_OUTAGE = Settings(messages=90, delay=0.02)

OUTAGES = [
    Scenario("restart", "what is committed is there afterwards", outage(restart), _OUTAGE, own_server=True),
    Scenario("immediate-stop", "the same, recovered from the log", outage(immediate), _OUTAGE, own_server=True),
    Scenario("crash", "the same, recovered by itself", outage(crash), _OUTAGE, own_server=True),
]

_TIGHT = {"limit": 6, "window": 1.5, "sessions": 2, "messages": 18}

#: The limit, at the steps where a token could be lost or given back too early.
LIMITED = [
    Scenario(f"limit-{scenario.name}", "no window exceeds the limit", scenario.play, Settings(**_TIGHT))  # type: ignore[arg-type]
    for scenario in (*STEPS, *VERBS)
    if scenario.name in {"before-send", "after-send", "end-taken", "before-settle", "after-takeover"}
]
LIMITED.append(
    Scenario(
        "limit-frozen",
        "who stands still for longer than lease and window does not send what has left it",
        freezing(Strike("send", When.BEFORE, Action.FREEZE)),
        Settings(**{**_TIGHT, "sessions": 1, "window": 0.8}),  # type: ignore[arg-type]
    )
)

SLOW = [Scenario("slow-server", "a lease is renewed while all sessions wait", waiting, Settings(**_SLOW))]  # type: ignore[arg-type]

#: Kinds of blows of the storm, and how often each comes for a kill: what else may happen at a random moment.
_OTHERS = {"freeze": 0.15, "terminate": 0.08, "cut": 0.08, "hang up": 0.08}

#: Seconds between two blows, and for which a process stands still: longer than its lease.
_BETWEEN = (0.02, 0.4)
_STANDSTILL = 1.1


def storm(kills: int, workers: int = 3) -> Callable[[Stage], None]:
    """Kill at random moments, and freeze, and cut, while messages keep coming."""

    def play(stage: Stage) -> None:
        for _ in range(workers):
            stage.start()
        while stage.kills < kills:
            if stage.left() < 10 * workers:
                stage.hand_over(10 * workers)
            stage.thaw_due()
            _one_blow(stage, workers)
            time.sleep(stage.chance.uniform(*_BETWEEN))
        stage.thaw_due(everybody=True)
        while len(stage.awake) < workers:
            stage.start()
        stage.wait_until_empty()
        stage.end_all()
        stage.check_by_command()

    return play


def _one_blow(stage: Stage, workers: int) -> None:
    victim = stage.chance.choice(stage.busy() or stage.awake)
    kind = stage.chance.choices(["kill", *_OTHERS], [1.0, *_OTHERS.values()])[0]
    if kind == "kill":
        stage.kill(victim)
        stage.start()
    elif kind == "freeze" and len(stage.awake) > 1:
        stage.freeze(victim, _STANDSTILL)
    elif kind == "terminate":
        stage.terminate(victim)
    elif kind == "cut":
        stage.cut_database(victim)
    elif kind == "hang up":
        stage.hang_up(victim)


def storms(kills: int) -> list[Scenario]:
    """A storm in each mode, that many kills in all."""
    modes = list(Mode)
    shares = [len(range(kills)[number :: len(modes)]) for number in range(len(modes))]
    return [
        Scenario(
            f"storm ({mode})",
            "at random moments, under a limit: all of the promise",
            storm(share),
            Settings(mode=mode, limit=40, window=2.0, lease=0.8, delay=0.02),
        )
        for mode, share in zip(modes, shares, strict=True)
        if share
    ]


# --- Programmes ------------------------------------------------------------------------------------------------------

#: What a short run picks of the long lists.
_PICKED = {
    "terminate-at-begin",
    "cut-at-commit",
    "cut-when-committed",
    "stall-at-commit",
    "cut-mail-read",
    "stall-data-read",
    "cut-content-read",
    "cut-end-taken",
    "freeze-before-send",
    "freeze-DATA",
    "freeze-end-taken",
    "freeze-before-settle",
    "immediate-stop",
    "limit-end-taken",
    "limit-frozen",
    *(scenario.name for scenario in FROZEN_WITH_LOCKS),
}


def short() -> list[Scenario]:
    """Each step once; the modes take turns."""
    modes = list(Mode)
    verbs = [verb.with_settings(blows=2, mode=modes[number % 3]) for number, verb in enumerate(VERBS)]
    steps = [step.with_settings(blows=2) for step in STEPS]
    lists = (DATABASE, SERVER, FROZEN, FROZEN_WITH_LOCKS, OUTAGES, LIMITED)
    picked = [one.with_settings(blows=1) for scenarios in lists for one in scenarios if one.name in _PICKED]
    # The longest first: the others find time beside them.
    return [*SLOW, *storms(9), *reversed(picked), *steps, *verbs]


def long(kills: int) -> list[Scenario]:
    """Everything, and each verb in each mode.

    :param kills: at random moments, in all
    """
    spoken = [
        scenario.with_settings(mode=mode).named(f"{scenario.name} ({mode})")
        for scenario in (*VERBS, *SERVER, *FROZEN)
        for mode in Mode
    ]
    return [*storms(kills), *SLOW, *OUTAGES, *LIMITED, *DATABASE, *STEPS, *spoken, *FROZEN_WITH_LOCKS]
