"""``suppressions list | add | lift``: addresses that get nothing."""

from __future__ import annotations

import argparse
from typing import Any

from notify.cli import arguments, audit
from notify.cli.database import changing, connect
from notify.domain.destination import is_number, parse_destination
from notify.exceptions import ConfigurationError
from notify.settings import phone_region
from notify.storage import schema, suppressions, unsubscriptions
from notify.storage.suppressions import Source, Suppression
from notify.suppressing import read_days, suppress


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("suppressions", help="addresses that get nothing")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="the addresses that were put on the list last")
    listing.add_argument("--limit", type=arguments.most, default=20, help="how many (default: %(default)s)")
    listing.add_argument("--source", choices=[source.value for source in Source], help="only what this put there")
    listing.add_argument("--address", type=_destination, help="only this one; also that of an erased person")
    listing.set_defaults(run=_list)

    adding = actions.add_parser("add", help="send nothing to an address")
    adding.add_argument("address", type=_destination, metavar="ADDRESS|NUMBER")
    adding.add_argument("--reason", type=arguments.text, required=True, help="why, for people who ask")
    adding.add_argument("--days", type=_days, metavar="N", help="for so long (default: until it is lifted)")
    adding.set_defaults(run=_add)

    lifting = actions.add_parser("lift", help="send to an address again")
    lifting.add_argument("address", type=_destination, metavar="ADDRESS|NUMBER")
    lifting.add_argument(
        "--scope",
        type=arguments.text,
        help=f"only what its reader has unsubscribed from: {unsubscriptions.BULK}, or a kind of event",
    )
    lifting.set_defaults(run=_lift)


def _destination(text: str) -> str:
    try:
        return parse_destination(text, phone_region)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _days(text: str) -> int:
    try:
        return read_days(text).days
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _list(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        source = Source(options.source) if options.source else None
        scopes: list[str] = []
        if options.address:
            known = suppressions.find(connection, [options.address]).values()
            found = [one for one in known if source in {None, one.source}]
            scopes = sorted(unsubscriptions.of(connection, options.address))
        else:
            found = suppressions.newest(connection, options.limit, source=source)
    for one in found:
        state = f"{lasting(one)}{', which is past' if one.expired else ''}"
        print(f"{one.created_at:%Y-%m-%d %H:%MZ}  {one.address}  {state}, by a {one.source}: {one.reason}")
    for scope in scopes:
        print(f"{options.address} has unsubscribed from {scope}")
    if not found:
        print(f"No {'such ' if options.source or options.address else ''}address is on the list.")


def lasting(one: Suppression) -> str:
    """For how long an address is on the list, in words."""
    return f"until {one.expires_at:%Y-%m-%d %H:%MZ}" if one.expires_at else "for good"


def _add(options: argparse.Namespace) -> None:
    with changing() as connection:
        done = suppress(connection, options.address, options.reason, options.days)
        audit.record("suppress", address=done.address, reason=options.reason, days=options.days)
    if done.changed:
        until = f"for {options.days} days" if options.days else "until you lift it"
        said = f"{done.address} gets nothing {until}"
    else:
        said = f"{done.address} was on the list already, for at least as long; lift it first to change that"
    print(f"{said}. {_counted(done.withheld)} suppressed.")


def _counted(withheld: int) -> str:
    return f"{withheld or 'No'} queued message{' was' if withheld == 1 else 's were'}"


def _lift(options: argparse.Namespace) -> None:
    if options.scope:
        _resubscribe(options.address, options.scope)
        return
    with changing() as connection:
        if not suppressions.lift(connection, options.address):
            raise ConfigurationError(f"{options.address} is not on the list; see python -m notify suppressions list.")
        audit.record("lift_suppression", addresses=[options.address.lower()])
    gets = "SMS again" if is_number(options.address) else "mail again; its bounces so far count no more"
    print(f"{options.address} gets {gets}.")
    print(
        "What was suppressed meanwhile stays so: see python -m notify messages list --status suppressed --address "
        f"{options.address}, then python -m notify messages resend ID. Events that made no mail are not made up for."
    )


def _resubscribe(address: str, scope: str) -> None:
    with changing() as connection:
        if not unsubscriptions.remove(connection, address, scope):
            raise ConfigurationError(
                f"{address} has not unsubscribed from {scope!r}; see python -m notify suppressions list --address "
                f"{address}."
            )
        audit.record("resubscribe", address=address.lower(), scope=scope)
    print(f"{address} gets {scope} again.")
