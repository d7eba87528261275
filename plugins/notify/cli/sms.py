"""``sms …``: what a text takes as an SMS, and where gateways may push receipts to."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from notify import settings
from notify.channels import channel_for
from notify.cli.database import connect
from notify.domain import gsm, push, sms
from notify.domain.channel import ChannelName
from notify.domain.sms import ADVISED_PARTS, Content, Encoding
from notify.exceptions import ConfigurationError, InvalidText
from notify.storage import pushes, schema

#: How people call the alphabets.
_ALPHABETS = {
    Encoding.GSM: "GSM, 160 characters in one part or 153 in each of several",
    Encoding.UCS2: "Unicode, 70 characters in one part or 67 in each of several",
}


class UnfitText(ConfigurationError):
    """The text cannot be sent as an SMS."""


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("sms", help="what a text takes as an SMS; where a gateway may push receipts to")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    parts = actions.add_parser(
        "parts", help="how many parts a text takes as an SMS, in which alphabet, and what transliterating changes"
    )
    parts.add_argument("text", help="the text; - reads it from standard input")
    parts.add_argument("--json", action="store_true", help="for programs")
    parts.set_defaults(run=_parts)

    address = actions.add_parser("push-url", help="the address to register with a gateway that pushes receipts")
    address.add_argument("sender", nargs="?", help="default: all senders whose gateway can")
    address.set_defaults(run=_push_url)


# --- Parts -----------------------------------------------------------------------------------------------------------


def _parts(options: argparse.Namespace) -> None:
    text = _read() if options.text == "-" else options.text
    try:
        plain, written = _read_text(text), sms.parse_text(text, transliterated=True)
    except InvalidText as error:
        raise UnfitText(f"This is no SMS: {error}.") from None
    if options.json:
        told = {"as_it_is": _document(plain) if plain else None, "transliterated": _document(written)}
        print(json.dumps(told, ensure_ascii=False))
        return
    print("\n".join(_lines(text, plain, written)))


def _read() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise UnfitText("What came by standard input is no UTF-8; write the text in that.") from None


def _read_text(text: str) -> Content | None:
    """A text as it is; None where it is too long, and may not be when it is transliterated.

    :raises InvalidText: it is none in either case
    """
    try:
        return sms.parse_text(text)
    except InvalidText:
        sms.parse_text(text, transliterated=True)
        return None


def _document(content: Content) -> dict[str, Any]:
    size = content.size
    return {
        "text": content.text,
        "characters": len(content.text),
        "encoding": size.encoding.value,
        "units": size.units,
        "parts": size.parts,
        "left": size.left,
        "replaced": [{"sign": one.sign, "by": one.by} for one in content.replaced],
    }


def _lines(text: str, plain: Content | None, written: Content) -> Iterator[str]:
    if plain is None:
        size = sms.count(sms.tidied(text))
        yield f"Parts           {size.parts}: more than the {sms.MOST_PARTS} that are sent"
    else:
        yield from _size(plain)
    if outside := gsm.outside(sms.tidied(text)):
        yield f"Not in GSM      {' '.join(map(gsm.shown, outside))}"
        yield "Transliterated, with transliterate=True:"
        yield from _size(written)
        told = (f"{gsm.shown(one.sign)} by {one.by or 'nothing'}" for one in written.replaced)
        yield f"Replaced        {', '.join(told)}"
        yield written.text


def _size(content: Content) -> Iterator[str]:
    size = content.size
    advice = f"; more than {ADVISED_PARTS} are not advised" if size.parts > ADVISED_PARTS else ""
    yield f"Characters      {len(content.text)}"
    yield f"Alphabet        {_ALPHABETS[size.encoding]}"
    yield f"Parts           {size.parts}, with room for {size.left} more{advice}"


# --- Pushed receipts -------------------------------------------------------------------------------------------------


def _push_url(options: argparse.Namespace) -> None:
    base_url = settings.base_url()
    if not base_url:
        raise ConfigurationError(
            "Nobody has said where this Airflow is reached. Write it into the Variable notify_base_url, "
            "e.g. https://airflow.example.com; the gateway must reach it."
        )
    known = settings.senders_of(ChannelName.SMS)
    if options.sender and options.sender not in known:
        raise ConfigurationError(
            f"{options.sender!r} is no sender of SMS. There are: {', '.join(known) or 'none'}; see Variable "
            "notify_senders."
        )
    able = [one for one in ([options.sender] if options.sender else known) if channel_for(one).pushes]
    if not able:
        raise ConfigurationError("No gateway of these senders pushes receipts; DeliveryReports asks, where it can.")
    with connect().connect() as connection:
        schema.require(connection)
        for sender in able:
            print(f"{sender}: {push.address(base_url, sender, pushes.token(connection, sender))}")
