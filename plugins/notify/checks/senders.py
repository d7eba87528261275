"""The senders: their list, their connections, their pools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from notify import settings
from notify.channels import channel_for
from notify.checks import ids
from notify.checks.check import Check, Found, Need, Place
from notify.checks.surroundings import Surroundings
from notify.domain.channel import ChannelName
from notify.domain.limit import DEFAULT_LIMIT
from notify.exceptions import ConfigurationError, MailboxFault, SenderFault
from notify.mailboxes.imap_settings import ImapSettings
from notify.operators.delivery_reports import BOUNCES
from notify.web import airflow

_CONNECTIONS = Place("connections", "Connections")


def _listed(_around: Surroundings) -> Iterator[Found]:
    try:
        settings.senders()
    except ConfigurationError as error:
        yield Found(str(error))


def _connected(around: Surroundings) -> Iterator[Found]:
    for sender in around.served:
        try:
            channel_for(sender)
        except SenderFault as fault:
            yield Found(fault.cause, fault.remedy)
        except ConfigurationError as error:
            yield Found(str(error))


def _with_slots(around: Surroundings) -> Iterator[Found]:
    with around.metadata() as session:
        pools = airflow.pools(session, around.served)
    for sender in around.served:
        if sender not in pools:
            yield Found(
                f"There is no pool {sender}. The next run of Notifications makes it, with {DEFAULT_LIMIT} slots: "
                f"{DEFAULT_LIMIT} messages per rolling hour."
            )
        elif pools[sender].slots == 0:
            yield Found(f"The pool {sender} has 0 slots, which holds all messages of this sender.")


def _different(around: Surroundings) -> Iterator[Found]:
    first: dict[tuple[ChannelName, str], str] = {}
    for sender in around.served:
        with suppress(ConfigurationError):  # a connection that cannot be used is told with the connections
            its = settings.sender_identity(sender)
            if its.site is None or its.channel is None:
                continue
            other = first.setdefault((its.channel, its.site), sender)
            if other != sender:
                yield Found(
                    f"The senders {other} and {sender} ({its.channel}) both have the site {its.site!r}: what is for "
                    f"that site leaves through {other}, which comes first in notify_senders."
                )


def _readable(_around: Surroundings) -> Iterator[Found]:
    try:
        found = settings.connection(BOUNCES)
        if found is not None:
            ImapSettings.of(BOUNCES, found)
    except MailboxFault as fault:
        yield Found(fault.cause, fault.remedy)
    except ConfigurationError as error:
        yield Found(str(error))


CHECKS = (
    Check(
        id=ids.SENDERS,
        title="The list of senders can be used",
        meaning="Nothing can be handed over, and Notifications serves smtp_default alone.",
        remedy='Write a JSON list of connection ids into the Variable notify_senders, for example ["smtp_default"].',
        look=_listed,
        place=Place("variables", "Variables"),
    ),
    Check(
        id=ids.CONNECTION,
        title="Each sender has a connection that can be used",
        meaning="Without it nothing of this sender is sent; its messages wait.",
        remedy="Add or correct the connection of the sender's name, of type smtp, or http for an SMS gateway.",
        look=_connected,
        place=_CONNECTIONS,
    ),
    Check(
        id=ids.POOL,
        title="Each sender has a pool with slots",
        meaning="A pool's slots are the sender's limit: without one the default applies, and 0 holds everything.",
        remedy="Give the pool of the sender's name as many slots as messages, or parts of SMS, may leave in 60 "
        "minutes; -1 is no limit.",
        look=_with_slots,
        needs=frozenset({Need.METADATA}),
        place=Place("pools", "Pools"),
    ),
    Check(
        id=ids.SITES,
        title="No two senders of a channel have the same site",
        meaning="Of two, the first sends all that is for the site; the other sends only what names it.",
        remedy="Give each its own site in its connection's extras, or take the site away from one of them.",
        look=_different,
        place=_CONNECTIONS,
    ),
    Check(
        id=ids.MAILBOX,
        title="The connection of the bounce mailbox can be used, if there is one",
        meaning="DeliveryReports fails, and nobody reads what comes back; it waits in the mailbox.",
        remedy=f"Correct the connection {BOUNCES}, of type imap.",
        look=_readable,
        place=_CONNECTIONS,
    ),
)
