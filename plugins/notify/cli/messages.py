"""``messages …``: what became of a message, and what to do with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from notify.cli import arguments, export
from notify.cli.database import changing, connect
from notify.domain.channel import ChannelName
from notify.domain.destination import sought
from notify.domain.status import Status
from notify.exceptions import TransitionError
from notify.settings import phone_region
from notify.storage import bounces, outbox, register, schema, sms_parts

#: What a person may do to a message: the command, what it does, and how the register says it was done.
ACTIONS: dict[str, tuple[str, Callable[[Connection, int], None], str]] = {
    "hold": ("keep a queued message from being sent", outbox.hold, "held"),
    "release": ("put a held message back in the queue", outbox.release, "back in the queue"),
    "cancel": ("take a queued or held message back", outbox.cancel, "cancelled"),
    "resend": (
        "send a message again: to those whom it has not reached, or, where it reached all, to all of them once more",
        outbox.resend,
        "in the queue again",
    ),
    "arrived": ("say that an uncertain message arrived, after all", outbox.arrived, "delivered"),
}

#: One of several that is refused takes the others along.
_UNCHANGED = "\nNothing was changed, the other messages neither."


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("messages", help="the register: what became of a message, and what to do with it")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="the newest messages")
    listing.add_argument("--status", choices=[status.value for status in Status])
    listing.add_argument("--address", type=arguments.text, help="of a recipient, or a telephone number")
    listing.add_argument("--channel", choices=[channel.value for channel in ChannelName])
    listing.add_argument("--site", type=arguments.text, help="handed over for this site")
    listing.add_argument("--limit", type=arguments.most, default=20, help="how many (default: %(default)s)")
    listing.set_defaults(run=_list)

    show = actions.add_parser("show", help="a message with its recipients, attempts and history")
    show.add_argument("id", type=arguments.number)
    show.set_defaults(run=_show)

    export.add_command(actions)
    for name, (text, _, _) in ACTIONS.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("id", type=arguments.number, nargs="+")
        action.set_defaults(run=_act, action=name)


def _act(options: argparse.Namespace) -> None:
    _, act, done = ACTIONS[options.action]
    with changing() as connection:
        for number in options.id:
            try:
                act(connection, number)
            except TransitionError as error:
                raise TransitionError(f"{error}{_UNCHANGED if len(options.id) > 1 else ''}") from None
    for number in options.id:
        print(f"Message {number} is {done}.")


def _list(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        status = Status(options.status) if options.status else None
        found = register.newest(
            connection,
            status=status,
            address=_sought(options.address),
            site=options.site,
            channel=ChannelName(options.channel) if options.channel else None,
            limit=options.limit,
        )
    for row in found:
        print(f"{row.id:>8}  {row.status:<11}  {row.created_at:%Y-%m-%d %H:%M:%SZ}  {_about(row)}")
    if not found:
        print("There are no such messages.")


def _about(row: register.Line) -> str:
    """A mail's subject. An SMS has none, and its text is for whoever may read it."""
    return _parts(row.parts) if row.channel is ChannelName.SMS else row.subject


def _parts(count: int) -> str:
    return f"SMS, {count} part{'' if count == 1 else 's'}"


def _sought(address: str | None) -> str | None:
    return address and sought(address, phone_region)


def _show(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        message = register.read(connection, options.id)
        reports = bounces.of_message(connection, options.id)
        parts = sms_parts.of_message(connection, options.id) if message.channel is ChannelName.SMS else ()
    print("\n".join(_lines(message) + _arrivals(parts) + _reports(reports)))


def _arrivals(parts: Sequence[sms_parts.Part]) -> list[str]:
    return ["Parts", *(f"  {_arrival(one)}" for one in parts)] if parts else []


def _arrival(one: sms_parts.Part) -> str:
    """A part in one line: how it stands with it, since when, in whose words, for how much."""
    at = f" at {one.reported_at:%Y-%m-%d %H:%M:%SZ}" if one.reported_at else ""
    said = f": {one.words}" if one.words else ""
    return f"{one.number}. {one.arrival}{at}{said}{f', {one.price:f}' if one.price is not None else ''}"


def _reports(reports: Sequence[bounces.Told]) -> list[str]:
    if not reports:
        return []
    return ["Delivery reports", *(f"  {one.received_at:%Y-%m-%d %H:%M:%SZ}  {_report(one)}" for one in reports)]


def _report(one: bounces.Told) -> str:
    """A report in one line: of whom, what, whether it counts against the address, in whose words."""
    blame = f" {one.blame}" if one.blame in {"hard", "soft"} else ""
    notice = {"due": "; the sender of the mail is to be told", "told": "; the sender of the mail was told"}
    counts = "" if one.counts or not blame else ", not held against the address"
    said = one.words if one.status in one.words else f"{one.status} {one.words}".strip()
    by = f" by {one.reporter}" if one.reporter else ""
    return f"{one.address}  {one.action}{blame}{counts}{by}: {said}{notice.get(one.notice, '')}"


def _lines(message: register.RegisteredMessage) -> list[str]:
    run = f"{message.origin_dag_id} / {message.origin_run_id}" if message.origin_dag_id else None
    origin = run or message.created_by or "Python code"
    lines = [
        f"Message {message.id}: {message.status}" + (f" ({message.status_reason})" if message.status_reason else ""),
        f"  Subject      {message.subject}",
        f"  Message-ID   {message.message_id}",
        f"  Sender       {message.sender}; {message.priority}, {message.guarantee}",
        *([f"  Site         {message.site}"] if message.site else []),
        *([f"  Channel      {_parts(message.parts)}"] if message.channel is ChannelName.SMS else []),
        f"  Handed over  {message.created_at:%Y-%m-%d %H:%M:%SZ} by {origin}",
    ]
    if message.delivered_at:
        lines.append(f"  Delivered    {message.delivered_at:%Y-%m-%d %H:%M:%SZ}")
    if not message.has_body:
        lines.append("  No body any more (removed by Housekeeping, or erased)")
    if message.status is Status.QUEUED:
        lines.append(f"  Not before   {message.not_before:%Y-%m-%d %H:%M:%SZ}")
    lines.append("Recipients")
    lines += [
        f"  {one.role:<4} {one.address}  {one.outcome}" + (f": {one.code or ''} {one.response}" if one.response else "")
        for one in message.recipients
    ]
    lines.append("Attempts" if message.tries else "No attempt yet")
    lines += [
        f"  {one.number}. {one.claimed_at:%Y-%m-%d %H:%M:%SZ}  {one.outcome or 'under way'}"
        + (f": {one.code or ''} {one.response}" if one.response else "")
        for one in message.tries
    ]
    lines.append("History")
    lines += [
        f"  {one.at:%Y-%m-%d %H:%M:%SZ}  {one.from_status} → {one.to_status}"
        + (f"  {one.reason}" if one.reason else "")
        + (f"  [{one.actor}]" if one.actor else "")
        for one in message.events
    ]
    return lines
