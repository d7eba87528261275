"""``campaigns …``: what is mailed to many, how far it is, and what to do with it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Engine

from notify import settings
from notify.campaigns import attaching, authoring, following, ordering, steering, trying
from notify.campaigns.following import Followed
from notify.campaigns.generating import Generating
from notify.cli import arguments, audit, campaign_exchange
from notify.cli.database import actor, changing, connect
from notify.domain.campaign import Campaign, CampaignAction, CampaignStatus, Fate, Progress
from notify.domain.channel import ChannelName
from notify.exceptions import CampaignError, ConfigurationError
from notify.storage import campaign_messages, campaign_recipients, campaigns, schema
from notify.witness import require_original

#: Of those left out, so many are named for each reason.
PLACES = 10

#: How often a command that moves many messages tells how far it is.
_EVERY = timedelta(seconds=5)

#: What can be told to a campaign, and what it does.
_STEERS: dict[CampaignAction, str] = {
    CampaignAction.SEND: "let the messages of a generated campaign go",
    CampaignAction.PAUSE: "let none of its messages go from now on",
    CampaignAction.RESUME: "let a paused one go on",
    CampaignAction.CANCEL: "take back what has not left",
}
_AT_A_TIME = (CampaignAction.SEND, CampaignAction.RESUME)

EPILOG = """
The file is a JSON object with the fields of a campaign (docs/campaigns.md), for example:
  {"description": "Spring sale", "subject": "Hello {{ first_name }}", "message": "…", "groups": ["buyers"]}
"""


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    group = commands.add_parser("campaigns", help="mass mailing: how far each campaign is, and what to do with it")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    _add_looks(actions)
    campaign_exchange.add_commands(actions)
    _add_authoring(actions)

    generate = actions.add_parser("generate", help="have its messages made; they are held until it is sent")
    generate.add_argument("id", type=arguments.number, metavar="ID")
    generate.add_argument("--send", action="store_true", help="let them go as soon as they are made")
    _add_time(generate, "with --send: not before this moment")
    generate.add_argument("--now", action="store_true", help="here, instead of in the next run of MassMailing")
    generate.set_defaults(run=_generate)

    for action, words in _STEERS.items():
        steering_one = actions.add_parser(action.value, help=words)
        steering_one.add_argument("id", type=arguments.number, metavar="ID")
        if action in _AT_A_TIME:
            _add_time(steering_one, "not before this moment")
        steering_one.set_defaults(run=_steer, action=action, at=None)


def _add_looks(actions: Any) -> None:
    listing = actions.add_parser("list", help="the newest campaigns")
    listing.add_argument("--status", choices=[one.value for one in CampaignStatus], action="append", default=[])
    listing.add_argument("--find", type=arguments.text, default="", help="a part of the description or classification")
    listing.add_argument("--limit", type=arguments.most, default=20, help="how many (default: %(default)s)")
    listing.set_defaults(run=_list)

    show = actions.add_parser("show", help="how far it is, who was left out and why, and what can be done")
    show.add_argument("id", type=arguments.number, metavar="ID")
    show.set_defaults(run=_show)


def _add_authoring(actions: Any) -> None:
    create = actions.add_parser(
        "create",
        help="store a campaign, as a draft",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    create.add_argument("file", type=Path, metavar="FILE.json")
    create.add_argument("--csv", type=Path, metavar="FILE.csv", help="recipients with their personal fields")
    create.set_defaults(run=_create)

    test = actions.add_parser("test", help="send it to some at once, as the others would get it")
    test.add_argument("id", type=arguments.number, metavar="ID")
    test.add_argument(
        "recipients", type=arguments.text, nargs="+", metavar="RECIPIENT", help="address, number or login"
    )
    test.set_defaults(run=_test)

    for name, words, run in (
        ("refresh", "fetch its files anew, and put them into what has not left", _refresh),
        ("copy", "write it once more, as a draft", _copy),
        ("delete", "forget a campaign of which nothing was sent", _delete),
    ):
        command = actions.add_parser(name, help=words)
        command.add_argument("id", type=arguments.number, metavar="ID")
        command.set_defaults(run=run)


def _add_time(command: argparse.ArgumentParser, words: str) -> None:
    command.add_argument("--at", type=arguments.text, metavar="TIME", help=f"{words}, with its zone; or a delay, PT2H")


# --- Looked at -------------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> None:
    statuses = [CampaignStatus(one) for one in options.status]
    with connect().connect() as connection:
        schema.require(connection)
        found = campaigns.page(connection, statuses=statuses, text=options.find, limit=options.limit).found
        figures = [campaign_messages.progress(connection, one) for one in found]
    for one, progress in zip(found, figures, strict=True):
        print(f"{one.id:>6}  {_state(one):<21}  {_short(progress):<24}  {one.description}")
    if not found:
        print("There are no such campaigns.")


def _short(progress: Progress) -> str:
    return f"{progress.sent:,} of {progress.created:,} sent" if progress.created else "no messages"


def _state(campaign: Campaign) -> str:
    """Its state in a word or two."""
    if campaign.status is CampaignStatus.SENDING and campaign.unsettled:
        return "sending, in part"
    return campaign.status.value


def _show(options: argparse.Namespace) -> None:
    with connect().connect() as connection:
        schema.require(connection)
        found = campaigns.read(connection, options.id)
        progress = campaign_messages.progress(connection, found)
        left_out = {
            fate: campaign_recipients.places(connection, found.id, fate, PLACES)
            for fate in Fate
            if progress.left_out.get(fate)
        }
        end = _end(connection, found, progress)
    print("\n".join(_lines(found, progress, end)))
    for reason, count in progress.left_out.items():
        some = left_out.get(Fate(reason)) if reason in set(Fate) else None
        print(f"  {count:>8,}  {reason}{_named(some, count)}")
    print(f"Next      {', '.join(_next(found))}")


def _named(places: Sequence[str] | None, count: int) -> str:
    if not places:
        return ""
    return f": {', '.join(places)}{' …' if count > len(places) else ''}"


def _lines(one: Campaign, progress: Progress, end: str) -> Iterator[str]:
    yield f"Campaign {one.id}: {one.description}"
    yield f"State     {_state(one)}{_since(one)}"
    if one.fault:
        yield f"Fault     {one.fault}"
    yield f"Channel   {one.channel.value}; sender {one.sender or 'that of the site, or the first'}"
    yield f"Written   {_written(one.created_at)} by {one.created_by or 'Python code'}"
    if one.send_after:
        yield f"Not before {_written(one.send_after)}"
    if progress.created:
        parts = f", {progress.parts:,} parts wait" if one.channel is ChannelName.SMS and progress.parts else ""
        yield f"Messages  {progress.created:,}, {progress.sent:,} sent, {progress.waiting:,} wait{parts}"
        yield from (f"  {count:>8,}  {state}" for state, count in sorted(progress.states.items()))
    if progress.last_sent_at:
        yield f"Last sent {_written(progress.last_sent_at)}"
    if end:
        yield f"End       {end}"
    if progress.left_out:
        yield "Left out"


def _since(one: Campaign) -> str:
    """What belongs to its state: how far the making is, or when it ended."""
    if one.status is CampaignStatus.GENERATING:
        begun = f"{one.rows_read:,} recipients read" if one.generating_at else "waits for a run of MassMailing"
        return f", {begun}{_idle()}"
    return f" since {_written(one.ended_at)}" if one.ended_at else ""


def _idle() -> str:
    """Why no run of MassMailing comes, where that is so."""
    from notify.checks.surroundings import Surroundings  # with Airflow's models, as in notify.cli.audit
    from notify.web import airflow

    try:
        with Surroundings().metadata() as session:
            [state] = airflow.dag_states(session, [airflow.MASS_MAILING])
    except airflow.AirflowUnreachable:
        return ""
    return f"; none comes: {state.why}" if state.why else ""


def _end(connection: Connection, campaign: Campaign, progress: Progress) -> str:
    """When it is over, or why nobody can tell; empty where there is nothing to tell."""
    from notify.web import airflow, forecast  # as above
    from notify.web.campaigns import sender_of

    if campaign.status not in {CampaignStatus.GENERATED, CampaignStatus.SENDING, CampaignStatus.PAUSED}:
        return ""
    sender = sender_of(connection, campaign)
    try:
        outlook = forecast.of_campaign(connection, campaign, sender, progress.states) if sender else None
    except airflow.AirflowUnreachable as error:
        return f"nobody can tell: {str(error).rstrip('.')}"
    if outlook is None or (outlook.expected is None and not outlook.why):
        return ""
    if outlook.expected is None:
        return f"nobody can tell: {outlook.why}"
    sent_now = " if it is sent now" if campaign.status is CampaignStatus.GENERATED else ""
    return f"{outlook.expected.certainty} {_written(outlook.expected.at)}{sent_now}"


def _next(campaign: Campaign) -> list[str]:
    """The commands that its state allows."""
    from notify.web.campaigns import actions

    return [*(one.value for one in actions(campaign) if one is not CampaignAction.EDIT), "test", "copy"]


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"


# --- Written ---------------------------------------------------------------------------------------------------------


def _create(options: argparse.Namespace) -> None:
    fields = _fields(options.file)
    if options.csv is not None:
        fields["csv"] = arguments.text_in(options.csv)
    with changing() as connection:
        number, _ = authoring.create(connection, fields, settings.hand_over_settings())
        audit.record("create_campaign", campaign=number)
    print(f"Campaign {number} is a draft; see python -m notify campaigns show {number}.")


def _fields(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(arguments.text_in(path))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no JSON: {error}. Write an object with the campaign's fields.") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} holds no JSON object. Write one with the campaign's fields.")
    return found


def _test(options: argparse.Namespace) -> None:
    with changing() as connection:
        sent = trying.send_test(connection, options.id, options.recipients, settings.hand_over_settings())
        audit.record("test_campaign", campaign=options.id, messages=[one.id for one in sent])
    for one in sent:
        print(f"Message {one.id} is in the queue.")


def _refresh(options: argparse.Namespace) -> None:
    with changing() as connection:
        done = attaching.refresh(connection, options.id, settings.hand_over_settings())
        audit.record("refresh_campaign", campaign=options.id)
    print(f"Campaign {options.id} carries {done.files} files, put into {done.messages:,} messages that have not left.")


def _copy(options: argparse.Namespace) -> None:
    with changing() as connection:
        number = authoring.copy(connection, options.id)
        audit.record("copy_campaign", campaign=options.id, copy=number)
    print(f"Campaign {number} is a draft, written as {options.id}.")


def _delete(options: argparse.Namespace) -> None:
    with changing() as connection:
        steering.delete(connection, options.id)
        audit.record("delete_campaign", campaign=options.id)
    print(f"Campaign {options.id} is forgotten.")


# --- Steered ---------------------------------------------------------------------------------------------------------


def _steer(options: argparse.Namespace) -> None:
    with changing() as connection:
        moment = ordering.moment_of(connection, options.at)
        steering.tell(connection, options.id, options.action, send_after=moment)
        audit.record(f"{options.action}_campaign", campaign=options.id, **_about(moment))
    _told(options.id, *_follow(connect(), options.id))


def _generate(options: argparse.Namespace) -> None:
    if options.at and not options.send:
        raise ConfigurationError("--at is of use only with --send; without it, say when with campaigns send --at.")
    with changing() as connection:
        moment = ordering.moment_of(connection, options.at)
        steering.generate(connection, options.id, send=options.send, send_after=moment)
        sent = {"send": True} if options.send else {}
        audit.record("generate_campaign", campaign=options.id, **sent, **_about(moment))
    if options.now:
        _make(options.id)
    else:
        print(f"The next run of MassMailing makes the messages of campaign {options.id}{_idle()}.")


def _about(moment: datetime | None) -> dict[str, object]:
    return {"send_after": moment.isoformat()} if moment else {}


def _make(number: int) -> None:
    """Make the messages of a campaign in this process; Ctrl-C leaves the rest to a run."""
    from notify.operators.task import polite_interrupt

    engine, stop = connect(), threading.Event()
    require_original(engine)
    with polite_interrupt(stop), _log_shown():
        done = Generating(engine, settings.hand_over_settings(), stop=stop).run(number)
    if not done:
        print(f"A run of MassMailing makes the messages of campaign {number} already.")
    for one in done:
        print(one.summary)
        if one.fault and one.status == CampaignStatus.DRAFT:
            raise CampaignError(f"Campaign {number} is a draft again: {one.fault}")
        if one.status == CampaignStatus.SENDING:
            _told(number, *_follow(engine, number))


@contextmanager
def _log_shown() -> Iterator[None]:
    """What a run would put into its log, on the terminal."""
    log, shown = logging.getLogger("notify.campaigns"), logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("notify: %(message)s"))
    before = log.level, log.propagate
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.level, log.propagate = before


def _follow(engine: Engine, number: int) -> tuple[int, Followed]:
    """Have its messages follow, to the end; of many, how far they are is told now and then."""
    moved = 0
    while True:
        followed = following.follow(engine, number, actor=actor(), budget=_EVERY)
        moved += followed.moved
        if followed.settled or not followed.moved:
            return moved, followed
        print(f"notify: {moved:,} messages moved", file=sys.stderr)


def _told(number: int, moved: int, followed: Followed) -> None:
    rest = "" if followed.settled else "; the rest follows with the next run of MassMailing"
    print(f"Campaign {number} is {followed.status}; {moved:,} messages moved{rest}.")
