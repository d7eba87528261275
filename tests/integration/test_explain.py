"""``explain`` and ``check``: why somebody did, or did not, get a mail, and whether every notification has its home."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify import cli
from notify.channels.memory import MemoryChannel
from notify.cli.explain import _since
from notify.domain.home import BECAUSE, Reason
from notify.drain import Drainer
from notify.enqueuing import enqueue
from notify.settings import HandOverSettings
from notify.storage import balance, suppressions
from notify.storage.outbox import Origin
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates

#: Arguments in; exit status, output and errors out.
Command = Callable[..., tuple[int, str, str]]

MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What sending logs must not be taken for what a command says."""
    caplog.set_level(logging.ERROR, logger="notify")


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Newsroom:
    """Anna hears at once, Bob daily, Carl never."""
    found = Newsroom(
        engine, settings_of(write_templates(tmp_path / "templates"), blocked={"Silent": frozenset({"news"})})
    )
    found.hire("anna", "bob", "carl", groups=["team"])
    found.choose("bob", "daily")
    found.choose("carl", "never")
    return found


def lines(answer: tuple[int, str, str]) -> list[str]:
    """What a command said that was obeyed."""
    assert (answer[0], answer[2]) == (0, "")
    return answer[1].splitlines()


def drain(room: Newsroom) -> None:
    """Send what is in the outbox."""
    Drainer(room.engine, MemoryChannel(), "smtp_default", limit=-1).run()


# --- Each home -------------------------------------------------------------------------------------------------------


def test_event(room: Newsroom, notify: Command) -> None:
    """An event is told with the run it came from, and each recipient's mail with its state, waiting time, or reason."""
    run = Origin("cases", "run_7", "tell", -1)
    published = room.publish("team; x@example.org", case={"id": "7", "title": "Seven"}, actor="the robot", origin=run)
    assert_lines(
        lines(notify("explain", "--event", published.event_id)),
        rf"event {published.event_id}: news of case 7 'Seven' by the robot, {MOMENT}, from cases / run_7",
        r"  anna: mail, message \d+ to anna@example.com: queued, 0 attempts",
        rf"  bob: waiting until {MOMENT}, then UserNotifications moves it",
        r"  carl: no mail, reason never: the person chose never to hear of this kind",
        r"  x@example.org: mail, message \d+ to x@example.org: queued, 0 attempts",
    )
    drain(room)
    assert_lines(
        lines(notify("explain", "--event", published.event_id))[1:2],
        rf"  anna: mail, message \d+ to anna@example.com: sent {MOMENT}, 1 attempt \(250 2.0.0 taken\)",
    )


def assert_lines(found: list[str], *patterns: str) -> None:
    assert len(found) == len(patterns), found
    for line, pattern in zip(found, patterns, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_digest(room: Newsroom, notify: Command) -> None:
    """What is in a digest is told with how many it has; the digest tells of each event in it."""
    for word in ("a", "b", "c"):
        room.publish("bob", word=word, case="7", occurred_at=LONG_AGO)
    room.merge()
    [number] = room.rows("select id from notify.messages")
    assert_lines(
        lines(notify("explain", "--event", room.published[0]))[1:],
        rf"  bob: digest of 3, message {number} to bob@example.com: queued, 0 attempts",
    )
    told = lines(notify("explain", "--message", number))
    assert [line.split(":")[0] for line in told if line.startswith("event")] == [f"event {n}" for n in room.published]
    assert len(lines(notify("explain", "--case", "7"))) == 6


def test_held_message(room: Newsroom, notify: Command) -> None:
    """A message that somebody keeps back is told with the reason."""
    published = room.publish("anna")
    notify("messages", "hold", room.rows("select id from notify.messages")[0])
    line = lines(notify("explain", "--event", published.event_id))[1]
    assert line.endswith("to anna@example.com: held, 0 attempts (held by a person)")


def test_each_reason(room: Newsroom, notify: Command) -> None:
    """Each reason why there is no mail is told by its name and in a sentence; that of an SMS, test_events_by_sms."""
    room.hire("dora", email=None)
    room.hire("emil", active=False)
    room.hire("fred", email="desk@example.com")
    room.hire("gina", email="desk@example.com")
    room.hire("hugo")
    with room.engine.begin() as connection:
        suppressions.add(connection, "hugo@example.com", "bounced", None)
    room.publish("anna; carl; dora; emil; fred; gina; hugo", actor="anna")
    room.publish("anna", case={"id": "8", "process": "Silent"})
    told = [line for number in room.published for line in lines(notify("explain", "--event", number))]
    found = {line.split("reason ")[1].partition(":")[0]: line.split(": ")[-1] for line in told if "reason " in line}
    found["suppressed"], remedy = found["suppressed"].split("; see ")
    assert remedy == "python -m notify suppressions list --address hugo@example.com, and lift"
    assert found == {one.value: sentence for one, sentence in BECAUSE.items() if one is not Reason.NO_SMS}


def test_person(room: Newsroom, notify: Command) -> None:
    """A person's story is told newest first, with the messages that somebody wrote to them directly."""
    room.publish("bob", word="old", occurred_at=LONG_AGO)
    room.publish("anna")
    room.merge()
    room.publish("bob", kind="alarm", case="7")
    room.publish("bob", word="new")
    settings = HandOverSettings(senders=("smtp_default",), templates=Path("include/templates").resolve())
    enqueue(recipient="BOB@example.com", subject="Hi", message="m", connection=room.engine, settings=settings,
            origin=Origin("reports", "run_1", "tell", -1))  # fmt: skip
    assert_lines(
        lines(notify("explain", "--person", "bob")),
        rf"bob, since {MOMENT}: 3 notifications",
        rf"  event {room.published[3]}: news, {MOMENT}",
        rf"      waiting until {MOMENT}, then UserNotifications moves it",
        rf"  event {room.published[2]}: alarm of case 7, {MOMENT}",
        r"      mail, message \d+ to bob@example.com: queued, 0 attempts",
        rf"  event {room.published[0]}: news, {MOMENT}",
        r"      mail, message \d+ to bob@example.com: queued, 0 attempts",
        r"Written to bob directly: 1 message",
        rf"  message \d+: 'Hi', {MOMENT}, from reports / run_1: queued, 0 attempts",
    )


def test_person_by_address(room: Newsroom, notify: Command) -> None:
    """A person may be named by their address, in whatever case; also one who is not active any more."""
    room.publish("bob", word="one")
    assert (
        lines(notify("explain", "--person", "BOB@example.com"))[1:] == lines(notify("explain", "--person", "bob"))[1:]
    )
    room.hire("bob", active=False)
    assert lines(notify("explain", "--person", "bob@example.com"))[0].startswith("bob, since")


def test_most(room: Newsroom, notify: Command) -> None:
    """A long answer is cut, and says how to have more of it."""
    room.hire(*[f"p{number}" for number in range(5)], groups=["many"])
    published = room.publish("many")
    told = lines(notify("explain", "--event", published.event_id, "--most", 3))
    assert told[1:] == [*told[1:4], "… there may be more; ask for them with --most 30"]
    assert len(lines(notify("explain", "--event", published.event_id, "--most", 6))) == 6


# --- Since -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("1999-12-31", datetime(1999, 12, 31, tzinfo=UTC)),
        ("2026-11-01T08:00+01:00", datetime(2026, 11, 1, 7, tzinfo=UTC)),
        ("2026-11-01 08:00:30Z", datetime(2026, 11, 1, 8, 0, 30, tzinfo=UTC)),
        ("P7D", timedelta(days=7)),
        ("PT12H", timedelta(hours=12)),
        ("P1DT30M", timedelta(days=1, minutes=30)),
        ("p2d", timedelta(days=2)),
    ],
)
def test_since(text: str, meant: datetime | timedelta) -> None:
    """A story begins on a day, at a moment with its zone, or a while ago."""
    assert _since(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "7", "20261101", "2026", "2026-11-01T08:00", "2026-02-30", "-P1D", "P-1D", "P1000000D",
     "99999-01-01", "7 days", "2026-11-01+01:00"],
)  # fmt: skip
def test_no_since(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """What is no such time is refused as a wrong call, with what would be right; a number is not taken for 1970."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good
    with pytest.raises(SystemExit) as caught:
        cli.main(["explain", "--person", "anna", f"--since={text}"])
    assert caught.value.code == 2
    assert "write 2026-11-01, 2026-11-01T08:00+01:00, or P7D" in capsys.readouterr().err


def test_since_is_meant(room: Newsroom, notify: Command) -> None:
    """Only what was published since then is told; the beginning is shown in UTC, like every other moment."""
    room.publish("anna", occurred_at=LONG_AGO)
    room.do("update notify.notifications set routed_at = '2026-01-31 23:30Z'")
    room.do("update notify.messages set created_at = '2026-01-31 23:30Z'")
    assert lines(notify("explain", "--person", "anna"))[0].endswith(": 0 notifications")
    told = lines(notify("explain", "--person", "anna", "--since", "2026-02-01T00:30+01:00"))
    assert told[0] == "anna, since 2026-01-31 23:30:00Z: 1 notification"
    assert lines(notify("explain", "--person", "anna", "--since", "2026-02-01"))[0].endswith(": 0 notifications")


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--event", 99), "There is no event 99"),
        (("--person", "nobody"), "There is no person 'nobody'"),
        (("--case", "nothing"), "Nothing was published about the case 'nothing'"),
        (("--event", 1, "--since", "P1D"), "--since goes with --person only"),
        (("--message", 99), "There is no message 99 in the register"),
        (("--person", "x@example.com"), "python -m notify messages list --address x@example.com"),
    ],
)
def test_unknown(room: Newsroom, notify: Command, arguments: tuple[object, ...], said: str) -> None:
    """Asked about what is unknown, the command says so with exit status 1."""
    status, out, err = notify("explain", *arguments)
    assert (status, out) == (1, "")
    assert said in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--event", "x"),
        ("--event", "0"),
        ("--event", str(2**63)),
        ("--message", str(10**30)),
        ("--event", "1", "--person", "anna"),
        ("--event", "1", "--most", "0"),
        ("--event", "1", "--most=-5"),
        ("--event", "1", "--most", str(10**30)),
        ("--person", "\udcff"),
        ("--case", "a\udcff"),
    ],
)
def test_wrong_calls(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """A wrong call has exit status 2, and no database is asked what it would refuse."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as above
    with pytest.raises(SystemExit) as caught:
        cli.main(["explain", *arguments])
    assert caught.value.code == 2


@pytest.mark.parametrize("command", [("check",), ("explain", "--event", "1")])
def test_database_without_tables(engine: Engine, notify: Command, command: tuple[str, ...]) -> None:
    """A database that is not ready is refused with the command that makes it so."""
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema notify cascade"))
    status, out, err = notify(*command)
    assert (status, out) == (1, "")
    assert "python -m notify db upgrade" in err


# --- The balance -----------------------------------------------------------------------------------------------------


@pytest.fixture
def full(room: Newsroom) -> Newsroom:
    """A mail to each of Anna and Dora, one notification of Bob's that waits, and a digest of two for him."""
    room.hire("dora")
    room.publish("anna; dora; carl")
    for word in ("a", "b"):
        room.publish("bob", word=word, occurred_at=LONG_AGO)
    room.merge()
    room.publish("bob", word="c")
    return room


def test_even(full: Newsroom, notify: Command) -> None:
    """The balance is told in numbers, for people and for programs, with exit status 0 where it is even."""
    drain(full)
    assert lines(notify("check")) == [
        "           4  events, which make",
        "           6  notifications (events × recipients)",
        "           2  mails of their own",
        "           2  in 1 digests",
        "           1  waiting, put aside",
        "           1  refused: 1 never",
        "Those in messages: 4 sent",
        "The balance is even.",
    ]
    told = json.loads(lines(notify("check", "--json"))[0])
    assert datetime.fromisoformat(told.pop("at")).tzinfo is not None
    assert told == {
        "events": 4,
        "expected": 6,
        "mails": 2,
        "in_digests": 2,
        "digests": 1,
        "waiting": 1,
        "refused": {"never": 1},
        "statuses": {"sent": 4},
        "wrong": [],
        "even": True,
    }


def test_nothing_is_even(room: Newsroom, notify: Command) -> None:
    """Without any event the balance is even."""
    assert lines(notify("check"))[-1] == "The balance is even."


_UNSENT = "home = 'refused', reason = 'never', message_id = null"
_IN_DIGEST = "home = 'digest'"
_ONE_IN_DIGEST = f"id = (select min(id) from notify.notifications where {_IN_DIGEST})"

_SAME_ADDRESS = """
    update notify.notifications set address = 'ANNA@example.com' where login = 'dora';
    update notify.recipients set address = 'ANNA@example.com' where login = 'dora'
"""
_OPEN_ATTEMPT = """
    insert into notify.attempts (message_id, number, sender, bulk, drain_id)
    select min(id), 1, 'smtp_default', false, gen_random_uuid() from notify.messages
"""
_OPEN_DEADLINE = "insert into notify.deadlines (type, case_id, due_at, plan) values ('term', '7', now(), '{}')"
_CLOSED_DEADLINE = f"""
    {_OPEN_DEADLINE}; update notify.deadlines set closed_at = now(), closed_reason = 'done';
    insert into notify.deadline_steps (deadline_id, position, kind, fires_at, recipients)
    select id, 0, 'k', now(), '{{}}' from notify.deadlines
"""

#: What must be found, and statements that make it so; the code and the triggers would not.
HARM = {
    "events whose notifications are not as many as their recipients": [
        "delete from notify.notifications where login = 'carl'",
        "update notify.events set recipients = 9 where id = (select min(id) from notify.events)",
        "delete from notify.notifications where event_id = (select min(id) from notify.events)",
    ],
    "notifications that wait, and are not put aside": ["delete from notify.deferred"],
    "notifications put aside that have another home": [
        f"update notify.notifications set {_UNSENT} where home = 'waiting'",
        "update notify.deferred set login = 'anna'",
    ],
    "notifications whose mail goes to somebody else": [
        "update notify.notifications set address = 'x@example.org' where login = 'anna'",
        "update notify.recipients set address = 'x@example.org' where login = 'anna'",
        "delete from notify.recipients where login = 'anna'",
    ],
    "digests of fewer than two notifications, or of several people": [
        f"update notify.notifications set {_UNSENT} where {_ONE_IN_DIGEST}",
        f"update notify.notifications set login = 'anna' where {_ONE_IN_DIGEST}",
    ],
    "messages that are both a mail of their own and a digest": [
        f"update notify.notifications set home = 'mail' where {_ONE_IN_DIGEST}",
    ],
    "digests without notifications": [f"update notify.notifications set {_UNSENT} where {_IN_DIGEST}"],
    "events told twice to the same address": [_SAME_ADDRESS],
    "messages being sent without an open attempt": ["update notify.messages set status = 'sending'"],
    "open attempts of messages that are not being sent": [_OPEN_ATTEMPT],
    "closed deadlines with open steps": [_CLOSED_DEADLINE],
    "open deadlines without an open step": [_OPEN_DEADLINE],
}


def test_every_invariant_is_tried() -> None:
    """Each thing that must never be found is made, below, in order to be found."""
    assert HARM.keys() == balance.INVARIANTS.keys()


@pytest.mark.parametrize(("what", "harm"), [(what, harm) for what, harms in HARM.items() for harm in harms])
def test_uneven(full: Newsroom, notify: Command, what: str, harm: str) -> None:
    """Whatever is wrong is told with its numbers and with exit status 1, for programs as well."""
    with full.engine.begin() as connection:
        connection.connection.driver_connection.execute(f"set local session_replication_role = replica; {harm}")  # type: ignore[union-attr]  # several statements at once
    status, out, err = notify("check")
    assert status == 1
    assert re.search(rf"^WRONG: \d+ {re.escape(what)}, such as \d+", out, re.MULTILINE), out
    assert out.endswith("The balance is NOT even.\n")
    assert "pg_dump" in err
    status, out, _ = notify("check", "--json")
    told = json.loads(out)
    assert (status, told["even"]) == (1, False)
    assert what in {one["what"] for one in told["wrong"]}
