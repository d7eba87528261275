"""``preferences show | set | clear``: what people want to hear of, and when."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from notify import settings
from notify.cli import arguments, audit
from notify.cli.database import changing, connect
from notify.domain.kind import Kind
from notify.domain.preference import ANY_KIND, Frequency, Preference, Through, applying, in_words
from notify.exceptions import ConfigurationError
from notify.preferences import clear_preference, set_preference
from notify.storage import people, schema


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("preferences", help="what a person wants to hear of, and when")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    show = actions.add_parser("show", help="what a person said, and what applies to each kind of event")
    show.add_argument("login", type=arguments.text, metavar="LOGIN")
    show.set_defaults(run=_show)

    change = actions.add_parser("set", help="say something of a kind of event, instead of what was said of it before")
    change.add_argument("login", type=arguments.text, metavar="LOGIN")
    change.add_argument(
        "kind", type=arguments.text, metavar="KIND", help="e.g. case_changed, or '*' (in quotes) for all kinds"
    )
    frequencies = ", ".join(Frequency)
    change.add_argument("frequency", metavar="FREQUENCY", nargs="?", help=f"{frequencies}; left out: nothing said")
    change.add_argument("--hour", metavar="17:30", help="of a daily or weekly mail, on the person's own clock")
    change.add_argument("--weekday", metavar="DAY", help="of a weekly mail: monday to sunday")
    change.add_argument(
        "--quiet", metavar="22:00-07:00", type=_quiet, default=(None, None), help="hours without such mail"
    )
    change.add_argument(
        "--channel", metavar="CHANNEL", help=f"{', '.join(Through)}; also of a mandatory kind (default: nothing said)"
    )
    change.set_defaults(run=_set)

    clear = actions.add_parser("clear", help="forget what was said of a kind of event")
    clear.add_argument("login", type=arguments.text, metavar="LOGIN")
    clear.add_argument(
        "kind", type=arguments.text, metavar="KIND", help="e.g. case_changed, or '*' (in quotes) for all kinds"
    )
    clear.set_defaults(run=_clear)


def _quiet(text: str) -> tuple[str, str]:
    start, dash, until = (part.strip() for part in text.partition("-"))
    if not (start and dash and until):
        raise argparse.ArgumentTypeError(f"{text!r} is no span of hours; write 22:00-07:00")
    return start, until


def _show(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        record = people.read(connection, options.login)
    if record is None:
        raise ConfigurationError(f"There is no person {options.login!r}; see python -m notify people list.")
    zone = record.person.timezone or f"{settings.timezone()}, the default"
    print(f"{record.person.login}, time zone {zone}")
    print("\n".join(lines(settings.kinds(), record.person.preferences or {})))


def _set(options: argparse.Namespace) -> None:
    options.quiet_from, options.quiet_until = options.quiet
    fields = {name: getattr(options, name) for name in Preference.model_fields}
    with changing() as connection:
        said = set_preference(options.login, options.kind, connection=connection, **fields)
        audit.record("set_preferences", login=options.login, preferences={options.kind: in_words(said)})
    print(f"{options.login}, {_named(options.kind)}: {in_words(said)}.")


def _clear(options: argparse.Namespace) -> None:
    with changing() as connection:
        cleared = clear_preference(options.login, options.kind, connection=connection)
        if cleared:
            audit.record("set_preferences", login=options.login, preferences={options.kind: "nothing said"})
    said = "what was said is forgotten" if cleared else "nothing was said"
    print(f"{options.login}, {_named(options.kind)}: {said}.")


def _named(kind: str) -> str:
    return "all kinds" if kind == ANY_KIND else kind


def lines(kinds: Mapping[str, Kind], said: Mapping[str, Preference]) -> list[str]:
    """What applies to each kind of event, and what a person said, for reading."""
    general = said.get(ANY_KIND)
    found = {
        name: applying(kind.wish(said.get(name), general)) + (", mandatory" if kind.mandatory else "")
        for name, kind in kinds.items()
    }
    width = max(len(name) for name in [*found, *map(_named, said)])
    return [
        "What applies",
        *(f"  {name:<{width}}  {text}" for name, text in found.items()),
        "What was said" if said else "Nothing was said: these are the defaults",
        *(
            f"  {_named(kind):<{width}}  {in_words(one)}"
            + ("" if kind in kinds or kind == ANY_KIND else " (there is no such kind any more)")
            for kind, one in sorted(said.items())
        ),
    ]
