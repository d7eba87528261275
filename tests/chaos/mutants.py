"""Faults built into a worker on purpose: the harness proves itself by finding them.

Each is what somebody might well write. They live in the worker's process only, wrapped around the real functions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from notify.domain.lease import Lease
from notify.domain.message import Guarantee
from notify.domain.outcome import Outcome, Verdict
from notify.storage import attempts, drains
from notify.storage.attempts import Begun, Claimed, Settlement, Unsendable

Turn = Callable[..., Any]
Settled = Sequence[Settlement]
Reserved = Sequence[Claimed]

_BEGUN = sa.text("update notify.attempts set begun_at = :at where id = any(cast(:ids as bigint[]))")
_LIVES = sa.text("select exists (select from notify.drains where id = :drain and ended_at is null)")
_OVERWRITE = sa.text("update notify.attempts set outcome = 'accepted' where id = any(cast(:ids as bigint[]))")
_EARLY = sa.text("""
    update notify.attempts set ended_at = begun_at - interval '1 hour' where id = any(cast(:ids as bigint[]))
""")
_UNBEGIN = sa.text("update notify.attempts set begun_at = null where drain_id = :drain and ended_at is null")
_OTHERS_ARE_DEAD = sa.text("""
    update notify.drains set lease_until = now() - interval '1 second'
    where sender = :sender and id <> (select id from notify.drains order by started_at desc limit 1)
""")


def _wrap_turn(make: Callable[[Turn], Turn]) -> None:
    attempts.turn = functools.wraps(attempts.turn)(make(attempts.turn))


def _nothing(*_arguments: Any) -> None:
    """Do nothing."""


def settle_anyway() -> None:
    """Settling does not compare: who wakes up overwrites what another has found out since."""

    def make(turn: Turn) -> Turn:
        def wrapped(
            connection: sa.Connection, drain: Any, settled: Settled, claimed: Reserved = (), **named: Any
        ) -> Any:
            if not named.get("living", True) or connection.scalar(_LIVES, {"drain": drain}):
                return turn(connection, drain, settled, claimed, **named)
            connection.execute(_OVERWRITE, {"ids": _attempts(settled)})
            return [Unsendable.ERASED for _ in claimed]

        return wrapped

    _wrap_turn(make)
    drains.keep = functools.wraps(drains.keep)(_nothing)
    drains.renew = functools.wraps(drains.renew)(_nothing)


def begin_after_send() -> None:
    """That a message is about to be sent is written down once it was sent."""

    def make(turn: Turn) -> Turn:
        def wrapped(
            connection: sa.Connection, drain: Any, settled: Settled, claimed: Reserved = (), **named: Any
        ) -> Any:
            connection.execute(_BEGUN, {"at": "now()", "ids": _attempts(settled)})
            begun = turn(connection, drain, settled, claimed, **named)
            connection.execute(_BEGUN, {"at": None, "ids": [one.attempt_id for one in claimed]})
            return begun

        return wrapped

    _wrap_turn(make)


def token_back_early() -> None:
    """A token counts until the message is sent, and not for the window after it."""

    def make(turn: Turn) -> Turn:
        def wrapped(connection: sa.Connection, drain: Any, settled: Settled, *more: Any, **named: Any) -> Any:
            begun = turn(connection, drain, settled, *more, **named)
            connection.execute(_EARLY, {"ids": _attempts(settled)})
            return begun

        return wrapped

    _wrap_turn(make)


def release_begun() -> None:
    """What a dead drain had begun goes back as if it were unsent."""
    release = attempts.release

    def wrapped(connection: sa.Connection, drain_id: Any, reason: str) -> int:
        connection.execute(_UNBEGIN, {"drain": drain_id})
        return release(connection, drain_id, reason)

    attempts.release = wrapped


def new_message_id() -> None:
    """A message that is tried again gets a Message-ID of its own."""

    def renamed(begun: Any, claimed: Claimed) -> Any:
        if not isinstance(begun, Begun) or not claimed.tried.refusals:
            return begun
        line = f"Message-ID: <{uuid4()}@example.com>".encode()
        headers = re.sub(rb"(?mi)^Message-ID:[^\r\n]*(\r\n[ \t][^\r\n]*)*", line, begun.parcel.headers)
        return replace(begun, parcel=replace(begun.parcel, headers=headers))

    def make(turn: Turn) -> Turn:
        def wrapped(
            connection: sa.Connection, drain: Any, settled: Settled, claimed: Reserved = (), **named: Any
        ) -> Any:
            begun = turn(connection, drain, settled, claimed, **named)
            return [renamed(one, which) for one, which in zip(begun, claimed, strict=True)]

        return wrapped

    _wrap_turn(make)


def ignore_leases() -> None:
    """A run takes all others for dead."""
    recover = drains.recover

    def wrapped(connection: sa.Connection, sender: str) -> Any:
        connection.execute(_OTHERS_ARE_DEAD, {"sender": sender})
        return recover(connection, sender)

    drains.recover = wrapped


def no_heartbeat() -> None:
    """A lease is never renewed."""
    drains.renew = functools.wraps(drains.renew)(_nothing)


def no_fence() -> None:
    """A session sends without asking whether the lease still holds."""
    Lease.holds = property(lambda _lease: True)


def doubt_is_success() -> None:
    """What a dead drain had begun is taken for sent."""
    _doubt_with(lambda settlement: Settlement(settlement.claimed, _accepted(settlement)))


def doubt_is_retried() -> None:
    """What a dead drain had begun is tried again, whatever was promised."""

    def retried(settlement: Settlement) -> Settlement:
        tried = replace(settlement.claimed.tried, guarantee=Guarantee.AT_LEAST_ONCE)
        return Settlement(replace(settlement.claimed, tried=tried), settlement.outcome)

    _doubt_with(retried)


def _doubt_with(change: Callable[[Settlement], Settlement]) -> None:
    doubt, turn = attempts.doubt, attempts.turn

    @functools.wraps(turn)
    def turned(connection: sa.Connection, drain: Any, settled: Settled, *more: Any, **named: Any) -> Any:
        return turn(connection, drain, [change(one) for one in settled], *more, **named)

    def doubted(connection: sa.Connection, drain_id: Any) -> int:
        attempts.turn = turned
        try:
            return doubt(connection, drain_id)
        finally:
            attempts.turn = turn

    attempts.doubt = doubted


def _accepted(settlement: Settlement) -> Outcome:
    assert settlement.outcome
    positions = [one.position for one in settlement.outcome.recipients]
    return Outcome.same(positions, Verdict.ACCEPTED, 250, "surely")


def _attempts(settlements: Sequence[Settlement]) -> list[int]:
    return [settlement.claimed.attempt_id for settlement in settlements]


#: By name.
MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__.replace("_", "-"): mutant
    for mutant in (
        settle_anyway,
        begin_after_send,
        token_back_early,
        release_begun,
        new_message_id,
        ignore_leases,
        no_heartbeat,
        no_fence,
        doubt_is_success,
        doubt_is_retried,
    )
}


def install(name: str) -> None:
    """Build one in, into this process."""
    MUTANTS[name]()
