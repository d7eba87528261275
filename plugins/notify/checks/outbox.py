"""The outbox database: whether it answers, fits, is the original, and what stands in it about the last runs."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from notify.checks import ids
from notify.checks.check import Check, Found, Need, Place
from notify.checks.surroundings import Surroundings
from notify.exceptions import ConfigurationError, SchemaError
from notify.storage import accounts, faults, identity, schema, waiting
from notify.witness import Witness

_CONNECTIONS = Place("connections", "Connections")
_VARIABLES = Place("variables", "Variables")
_OVERVIEW = Place("", "Overview", ours=True)

#: A server that drops packets is given up by the driver after ten seconds; its words tell more than ours.
_LONGER = 12.0


def _answers(around: Surroundings) -> Iterator[Found]:
    try:
        with around.outbox() as connection:
            connection.exec_driver_sql("select 1")
    except ConfigurationError as error:
        yield Found(str(error))
    except sa.exc.DBAPIError as error:
        reason = (str(error.orig).strip().splitlines() or ["no words"])[0]
        yield Found(f"The outbox database does not answer: {reason}.")


def _fits(around: Surroundings) -> Iterator[Found]:
    try:
        with around.outbox() as connection:
            schema.check(connection)
    except SchemaError as error:
        yield Found(str(error))


def _is_a_copy(around: Surroundings) -> Iterator[Found]:
    mark = Witness().read()
    with around.outbox() as connection:
        doubt = identity.doubt(connection, mark)
    if doubt:
        yield Found(f"Nothing is sent: this outbox may be a restored copy: {doubt}.")


def _could_not_send(around: Surroundings) -> Iterator[Found]:
    with around.outbox() as connection:
        found = faults.of(connection, around.served)
    for one in found:
        yield Found(f"The last run of {one.sender} could not send: {one.cause}", one.remedy or None)


def _unserved(around: Surroundings) -> Iterator[Found]:
    with around.outbox() as connection:
        found = waiting.unserved(connection, around.served)
    for sender, count in found.items():
        yield Found(f"{count:,} messages wait for the sender {sender}, which no run serves.")


def _short_of_money(around: Surroundings) -> Iterator[Found]:
    with around.outbox() as connection:
        found = accounts.of(connection, around.served)
    for one in found:
        if one.credit.low:
            below = f", less than {one.credit.warning:f}" if one.credit.warning is not None else ""
            asked = f"{one.at:%Y-%m-%d %H:%M} UTC"
            yield Found(f"{one.credit.words} are left on the account of {one.sender}{below}; asked at {asked}.")


CHECKS = (
    Check(
        id=ids.NO_DATABASE,
        title="The outbox database answers",
        meaning="Nothing is handed over and nothing is sent: each task that needs the outbox fails, and says so.",
        remedy="See that PostgreSQL runs, that this machine reaches it, and what the connection notify_db says.",
        look=_answers,
        place=_CONNECTIONS,
        patience=_LONGER,
    ),
    Check(
        id=ids.SCHEMA,
        title="The outbox has the tables that this version needs",
        meaning="Nothing is handed over and nothing is sent: code and tables must be of one version.",
        remedy="Run python -m notify db upgrade; where the tables are newer, install the version that they are of.",
        look=_fits,
        needs=frozenset({Need.DATABASE}),
    ),
    Check(
        id=ids.RESTORED_COPY,
        title="The outbox is the one that was sent from",
        meaning="A database restored from an old copy would send again what has left since. So it sends nothing.",
        remedy="See python -m notify db status. Point notify_db at the original, or, if there is none any more, say so "
        "with python -m notify db confirm.",
        look=_is_a_copy,
        needs=frozenset({Need.OUTBOX}),
    ),
    Check(
        id=ids.LAST_RUN,
        title="The last run of each sender could send",
        meaning="The mail server, or the SMS gateway, did not work for us, so the sender's messages wait. No message "
        "is charged for it.",
        remedy="Mend what the fault names; the next run tries again.",
        look=_could_not_send,
        needs=frozenset({Need.OUTBOX}),
        place=_OVERVIEW,
    ),
    Check(
        id=ids.UNSERVED,
        title="Messages wait only for senders that are served",
        meaning="No run ever sends messages whose sender is not in the Variable notify_senders.",
        remedy="Put the sender back into notify_senders until its queue is empty, or cancel its messages.",
        look=_unserved,
        needs=frozenset({Need.OUTBOX}),
        place=_VARIABLES,
    ),
    Check(
        id=ids.CREDIT,
        title="There is money on the account of each sender",
        meaning="An SMS gateway sends nothing without money; the sender's messages wait until there is some.",
        remedy="Top up the account at the gateway. What to warn below is the extra credit_warning of the connection.",
        look=_short_of_money,
        needs=frozenset({Need.OUTBOX}),
        place=_OVERVIEW,
    ),
)
