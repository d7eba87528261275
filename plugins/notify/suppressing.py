"""Putting addresses on the suppression list, and what follows for what is queued: the same at every door."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.engine import Connection

from notify.domain.address import CONTROL
from notify.domain.destination import Region, parse_destination
from notify.domain.message import encodable
from notify.exceptions import Fault, InvalidSuppression
from notify.settings import phone_region
from notify.storage import schema, suppressions, withholding

#: For longer, an address is suppressed for good.
MOST_DAYS = 36_500

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Suppressed:
    """What came of it.

    :param address: a mailbox, or a telephone number in E.164
    :param changed: False: it stood there already, for at least as long
    :param withheld: queued messages that go to nobody now
    """

    address: str
    changed: bool
    withheld: int


def suppress(
    connection: Connection, address: str, reason: str, days: str | int | None = None, *, region: Region = phone_region
) -> Suppressed:
    """Send nothing to an address from now on, in the caller's transaction.

    :param address: a mailbox, or a telephone number
    :param reason: why, for people who ask
    :param days: for so long; None or empty: until somebody lifts it
    :param region: the country of a number without the code of one
    :raises InvalidSuppression: something is wrong with it; the error names every fault
    """
    schema.require(connection)
    faults: list[Fault] = []
    wanted = _destination(address, region, faults)
    words = _words(reason, faults)
    lasting = _lasting(days, faults)
    if faults:
        raise InvalidSuppression(faults)
    changed = suppressions.add(connection, wanted, words, lasting)
    # What is queued was handed over before; also when the address is on the list already, for another reason.
    (counting,) = suppressions.among(connection, [wanted]).values()
    withheld = withholding.from_address(connection, wanted, f"on the suppression list: {counting}")
    return Suppressed(wanted, changed, withheld)


def read_days(text: str) -> timedelta:
    """For how many days.

    :raises ValueError: it is no such number
    """
    given = text.strip()
    days = int(given) if given.isascii() and given.isdigit() and len(given) <= 10 else 0
    if not 0 < days <= MOST_DAYS:
        raise ValueError(f"{text!r} is no number of days, 1 to {MOST_DAYS}")
    return timedelta(days=days)


def _destination(address: str, region: Region, faults: list[Fault]) -> str:
    try:
        return parse_destination(address, region)
    except ValueError as error:
        faults.append(Fault("address", str(error)))
        return ""


def _words(reason: str, faults: list[Fault]) -> str:
    words = reason.strip()
    if not words:
        faults.append(Fault("reason", "is missing; say why, for people who ask"))
    elif len(words) > LONGEST_REASON:
        faults.append(Fault("reason", f"has more than {LONGEST_REASON} characters"))
    elif CONTROL.search(words):
        faults.append(Fault("reason", "a line break or control character is not allowed"))
    else:
        try:
            encodable(words)
        except ValueError as error:
            faults.append(Fault("reason", str(error)))
    return words


def _lasting(days: str | int | None, faults: list[Fault]) -> timedelta | None:
    if days is None or days == "":
        return None
    try:
        return read_days(str(days))
    except ValueError as error:
        faults.append(Fault("days", str(error)))
        return None
