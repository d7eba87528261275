"""Which home a notification gets (behaviour: Kinds of event)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from notify.domain.due import due_at
from notify.domain.home import Home, Reason
from notify.domain.kind import Kind
from notify.domain.preference import Frequency, Wish


@dataclass(frozen=True, slots=True)
class Addressed:
    """A recipient, as far as the choice of a home must know them.

    :param known: whether they are a person of ours; nobody else can have put anything aside
    :param active: whether the person is still there
    :param reachable: whether there is an address
    :param suppressed: whether it is on the suppression list
    :param unsubscribed: of one that is no person of ours: whether its readers want nothing of this kind any more
    :param acted: whether they did it themselves
    :param duplicate: whether another recipient of the event has the same address
    """

    known: bool = True
    active: bool = True
    reachable: bool = True
    suppressed: bool = False
    unsubscribed: bool = False
    acted: bool = False
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A notification's home.

    :param due_at: until when it waits
    :param reason: why it makes no mail
    :param not_before: of a mail in quiet hours: when they are over
    """

    home: Home
    due_at: datetime | None = None
    reason: Reason | None = None
    not_before: datetime | None = None


OUT_NOW = Route(Home.MAIL)


def route(
    kind: Kind, recipient: Addressed, wish: Wish, zone: ZoneInfo, *, moment: datetime, now: datetime, blocked: bool
) -> Route:
    """The home of a notification when its event is published.

    :param wish: what the person wants of this kind
    :param zone: the person's
    :param moment: when the event happened; what is put aside is due seen from then
    :param now: when it is published; what is to leave at once leaves now, and meets the quiet hours of now
    :param blocked: whether the case's process sends no mail of this kind
    """
    reason = _obstacle(recipient)
    if reason is None and blocked and not kind.mandatory:
        reason = Reason.BLOCKED
    if reason is not None:
        return Route(Home.REFUSED, reason=reason)
    if kind.mandatory:
        return OUT_NOW
    if not recipient.known:
        return Route(Home.REFUSED, reason=Reason.NEVER) if recipient.unsubscribed else OUT_NOW
    start = now if wish.frequency is Frequency.IMMEDIATELY else moment
    due = due_at(wish, zone, start)
    if due is None:
        return Route(Home.REFUSED, reason=Reason.NEVER)
    return OUT_NOW if due <= start else Route(Home.WAITING, due_at=due)


def reroute(recipient: Addressed, wish: Wish, zone: ZoneInfo, due: datetime, now: datetime) -> Route:
    """What becomes of a notification that waits, when it is looked at again.

    A change of preference applies to what happens afterwards; only who now wants it at once, or never, has what waits
    moved or closed. At once respects quiet hours, but never makes it later than it was. What is due moves also where a
    run comes within quiet hours, for the next may do so, too; but its mail leaves when they are over.

    :param wish: what the person wants of this kind by now
    :param due: until when it waits
    """
    reason = _obstacle(recipient)
    if reason is None and wish.frequency is Frequency.NEVER:
        reason = Reason.NEVER
    if reason is not None:
        return Route(Home.REFUSED, reason=reason)
    at_once = _out_of_quiet_hours(wish, zone, now)
    if wish.frequency is Frequency.IMMEDIATELY:
        due = min(due, at_once)
    if due > now:
        return Route(Home.WAITING, due_at=due)
    return OUT_NOW if at_once == now else Route(Home.MAIL, not_before=at_once)


def _out_of_quiet_hours(wish: Wish, zone: ZoneInfo, now: datetime) -> datetime:
    """The first moment from now on at which the person may be told."""
    if wish.quiet is None:
        return now
    return due_at(replace(wish, frequency=Frequency.IMMEDIATELY), zone, now) or now


def _obstacle(recipient: Addressed) -> Reason | None:
    """What keeps a mail from the recipient, whatever its kind."""
    if recipient.acted:
        return Reason.OWN_ACTION
    if not recipient.active:
        return Reason.INACTIVE
    if not recipient.reachable:
        return Reason.NO_ADDRESS
    if recipient.duplicate:
        return Reason.DUPLICATE
    return Reason.SUPPRESSED if recipient.suppressed else None
