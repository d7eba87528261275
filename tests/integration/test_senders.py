"""`python -m notify senders`: why nothing is sent, of each sender, on a real PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.channels.memory import MemoryChannel
from notify.drain import Drainer
from notify.exceptions import SenderFault
from notify.handover import hand_over
from notify.operators import NotificationsOperator
from notify.settings import HandOverSettings
from notify.storage import drains, senders
from tests.campaign_worker import settings_of
from tests.integration.test_plans import FILL, Plans
from tests.mailing import Mailing, csv_of

SENDER, OTHER = "smtp_default", "smtp_second"

#: What a moment looks like in the output.
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\dZ"


@pytest.fixture
def notify(notify: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`python -m notify senders`, with what it is told beside; its output."""
    for name in ("SENDERS", "OUTBOX_MARK"):  # the home of the tests has no Variables, not even a table for them
        monkeypatch.setenv(f"AIRFLOW_VAR_NOTIFY_{name}", "")

    def run(*arguments: str) -> str:
        status, out, err = notify("senders", *arguments)
        assert status == 0, err
        return out

    return run


#: Output of the command.
Told = Callable[..., str]

#: Fields in; as many messages handed over, and committed.
Queue = Callable[..., None]


@pytest.fixture
def queue(engine: Engine, hand_over_settings: HandOverSettings) -> Queue:
    def call(count: int = 1, **fields: Any) -> None:
        with engine.begin() as connection:
            for _ in range(count):
                given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello"} | fields
                hand_over(connection, given, hand_over_settings)

    return call


def do(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(statement), values)


def drain(engine: Engine, channel: MemoryChannel | None = None, limit: int = 100) -> None:
    run = {"dag_id": "Notifications", "run_id": "manual__1"}
    Drainer(engine, channel or MemoryChannel(), SENDER, limit=limit, **run).run()  # type: ignore[arg-type]  # texts


def field(told: str, name: str, sender: str = SENDER) -> str:
    """What is said of a sender under a name."""
    block = re.split(r"\n(?=\S)", told.partition(f"{sender}: ")[2])[0]
    found = re.search(rf"^  {name:<10}  (.*)$", block, flags=re.MULTILINE)
    assert found, told
    return found[1]


def summary(told: str, sender: str = SENDER) -> str:
    [found] = re.findall(rf"^{sender}: (.*)$", told, flags=re.MULTILINE)
    return str(found)


def test_nothing_yet(notify: Told) -> None:
    """Of a new outbox, the one sender of the default is told of: nothing waits, there was no run, 100 is the limit."""
    assert notify().splitlines() == [
        f"{SENDER}: nothing waits",
        "  Served      yes",
        "  Due         0",
        "  Later       0",
        "  Limit       100 in any 60 minutes, used 0 (bulk 0 of 80); from the default: no run has seen a pool",
        "  Last run    none yet",
    ]


def test_no_run_yet(notify: Told, queue: Queue) -> None:
    """What is due and had no run is told since when it waits."""
    queue(2)
    told = notify()
    assert summary(told) == "no run of Notifications has begun yet"
    assert re.fullmatch(rf"2, the first since {MOMENT}, 0 minutes ago", field(told, "Due"))


def test_after_a_run(engine: Engine, notify: Told, queue: Queue) -> None:
    """The last run is told with when, which, how many it sent and how it ended; the limit with what of it is used."""
    queue(3)
    queue(2, priority="bulk")
    drain(engine)
    queue()
    do(engine, "update notify.drains set started_at = started_at - interval '3 hours'")
    do(engine, "insert into notify.senders (sender) values ('given_up')")
    told = notify()
    run = rf"{MOMENT}, 3 hours ago, Notifications/manual__1, 5 sent: nothing more is due"
    assert re.fullmatch(run, field(told, "Last run"))
    limit = rf"100 in any 60 minutes, used 5 \(bulk 2 of 80\); from the pool at {MOMENT}"
    assert re.fullmatch(limit, field(told, "Limit"))
    assert summary(told) == "the next run sends"
    assert "Last fault" not in told
    assert "given_up" not in told


def test_the_last_run_of_each(engine: Engine, notify: Told, queue: Queue) -> None:
    """Of several runs, it is the sender's own that began last."""
    drain(engine)
    queue()
    drain(engine)
    do(
        engine,
        "update notify.drains set started_at = started_at - interval '1 day' where id in "
        "(select id from notify.drains d where not exists (select from notify.attempts where drain_id = d.id))",
    )
    Drainer(engine, MemoryChannel(), OTHER, limit=7).run()
    assert ", 0 minutes ago, Notifications/manual__1, 1 sent" in field(notify(), "Last run")


def test_later(engine: Engine, notify: Told, queue: Queue) -> None:
    """What waits for its time is counted apart, with the moment of the first of it."""
    queue(send_after="2041-05-06T07:08:00Z")
    queue(send_after="2042-05-06T07:08:00Z")
    told = notify()
    assert summary(told) == "nothing is due before 2041-05-06 07:08Z"
    assert field(told, "Due") == "0"
    assert field(told, "Later") == "2, the first at 2041-05-06 07:08Z"


def test_held_back(engine: Engine, notify: Told, queue: Queue) -> None:
    """What the limit holds back is counted, and told when the next of it may leave: as the run itself tells it."""
    queue(5)
    drain(engine, limit=2)
    told = notify()
    [found] = json.loads(notify("--json"))["senders"]
    assert found["held_back"] == 3
    assert "used 2 (bulk 0 of 1); 3 held back; from the pool" in field(told, "Limit")
    left = "select to_char(min(ended_at) + interval '1 hour', 'YYYY-MM-DD HH24:MI\"Z\"') from notify.attempts"
    with engine.connect() as connection:
        slot = connection.scalar(sa.text(left.replace(":MI", "\\:MI")))
    assert summary(told) == f"the limit holds it back until {slot}"


def test_no_slots(engine: Engine, notify: Told, queue: Queue) -> None:
    """A pool of no slots is named as the cause."""
    queue()
    drain(engine, limit=0)
    assert summary(notify()) == "its pool has 0 slots, which holds everything"


def test_no_limit(engine: Engine, notify: Told) -> None:
    """A pool without a limit is told as none."""
    drain(engine, limit=-1)
    assert field(notify(), "Limit").startswith("none; from the pool at ")


def test_at_it(engine: Engine, notify: Told, queue: Queue) -> None:
    """A run that is at the queue is told as one; one whose lease ran out, as dead."""
    queue()
    with engine.begin() as connection:
        drains.start(connection, SENDER, 5, worker="host:1")
    told = notify()
    assert summary(told) == "a run is at it"
    assert field(told, "Last run").endswith(", 0 minutes ago, host:1, 0 sent so far")
    do(engine, "update notify.drains set lease_until = now() - interval '1 second'")
    told = notify()
    assert summary(told) == "the next run sends"
    assert field(told, "Last run").endswith("0 sent: it died; the next run takes over")


def test_fault(engine: Engine, notify: Told, queue: Queue) -> None:
    """The last fault is told with when, cause and remedy; a run that could send takes it away."""
    queue()
    channel = MemoryChannel()
    channel.fail_next_open("The server said no.", "Ask it again.")
    with pytest.raises(SenderFault):
        drain(engine, channel)
    told = notify()
    assert summary(told) == "it cannot send"
    assert re.fullmatch(rf"{MOMENT}, 0 minutes ago: The server said no\.", field(told, "Last fault"))
    assert field(told, "Remedy") == "Ask it again."
    drain(engine, channel)
    assert "Last fault" not in notify()


def test_no_connection(engine: Engine, notify: Told, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender whose connection is missing is told of as well, though no run of it could even begin."""
    queue()
    run = SimpleNamespace(dag_id="Notifications", run_id="r", conf={"hourly_limits": {SENDER: 5}})
    task = NotificationsOperator(task_id=SENDER, sender=SENDER)
    with monkeypatch.context() as patched:
        patched.setattr("notify.settings.connection", lambda _name: None)
        patched.setattr("notify.settings.database_url", lambda: None)
        patched.setattr("notify.storage.engine.engine_for", lambda _url: engine)
        with pytest.raises(SenderFault):
            task.execute({"dag_run": run})  # type: ignore[typeddict-item]
    told = notify()
    assert summary(told) == "it cannot send"
    assert field(told, "Last fault").endswith(", 0 minutes ago: There is no connection smtp_default.")
    assert "Admin → Connections" in field(told, "Remedy")
    assert field(told, "Last run") == "none yet"


def test_not_served(notify: Told, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a sender that is not in notify_senders is told, behind those that are, in their order."""
    queue(2, sender=OTHER)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SENDERS", '["smtp_third", "smtp_default"]')
    told = notify()
    assert re.findall(r"^(\S+): ", told, flags=re.MULTILINE) == ["smtp_third", SENDER, OTHER]
    assert summary(told, OTHER) == "no run serves it"
    assert field(told, "Served", OTHER) == "no: it is not in the Variable notify_senders"
    assert field(told, "Served") == "yes"


def test_list_that_cannot_be_used(notify: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Variable that is no list is told, with what is served meanwhile."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SENDERS", "smtp_third")
    told = notify()
    assert "The Variable notify_senders is 'smtp_third'" in told
    assert "Until then only smtp_default is served." in told
    assert summary(told) == "nothing waits"


@pytest.mark.parametrize("sender", [SENDER, OTHER])
def test_held(engine: Engine, notify: Told, queue: Queue, sender: str) -> None:
    """Where a person holds all there is, that is told, also of a sender that never had a run."""
    queue(2, sender=sender)
    do(engine, "update notify.messages set status = 'held'")
    told = notify()
    assert field(told, "Held", sender) == "2, by a person; see python -m notify messages list --status held"
    assert summary(told, sender) == ("only what a person holds" if sender == SENDER else "no run serves it")


def test_parked(engine: Engine, notify: Told, queue: Queue) -> None:
    """What waits for its campaign is not told as held by a person, and both are told where there are both."""
    mailing = Mailing(engine, settings_of())
    mailing.generate(mailing.write(csv=csv_of(3)))
    told = notify()
    assert field(told, "Parked") == "3, until their campaigns leave; see python -m notify campaigns list"
    assert "  Held " not in told
    assert summary(told) == "only what a campaign holds"
    queue(2)
    do(engine, "update notify.messages set status = 'held' where status = 'queued'")
    told = notify()
    assert field(told, "Held") == "2, by a person; see python -m notify messages list --status held"
    assert summary(told) == "only what a person or a campaign holds"
    [first, *_] = json.loads(notify("--json"))["senders"]
    assert (first["held"], first["parked"]) == (2, 3)


def test_copy(engine: Engine, notify: Told) -> None:
    """Of an outbox that the last run took for a copy, that stands first, with where to read on."""
    assert json.loads(notify("--json"))["refused"] is None
    do(engine, "update notify.identity set refused = 'it is another database'")
    first = (
        "Nothing is sent: this outbox may be a restored copy: it is another database; see python -m notify db status."
    )
    assert notify().splitlines()[0] == first


def test_not_taken_for_a_copy(engine: Engine, notify: Told) -> None:
    """Where Airflow's Variables cannot be seen, an outbox that was sent from is not taken for a copy."""
    do(engine, "update notify.identity set witnessed = true, counter = 7")
    assert "copy" not in notify()


def test_json(notify: Told, queue: Queue, engine: Engine) -> None:
    """A program gets the same as one object, moments in ISO 8601."""
    queue(2)
    drain(engine, limit=1)
    found = json.loads(notify("--json"))
    [one] = found["senders"]
    assert one["sender"] == SENDER
    assert one["served"] is True
    assert one["summary"].startswith("the limit holds it back until ")
    assert (one["queue"]["due"], one["limit"], one["used"]) == (1, 1, {"total": 1, "bulk": 0})
    assert one["last_run"]["end_reason"] == "the limit is reached"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*\+00:00", one["next_slot_at"])


def test_it_reads_no_history(connection: Connection, engine: Engine) -> None:
    """However long the register, the history of runs and the queue are, no table is read from its beginning."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
    plans = Plans(engine, connection)
    with engine.connect() as asked:
        [found] = senders.standings(asked, [SENDER])
    assert (found.queue.due, found.limit) == (8000, 100)
    assert len(plans.found) >= 7
    slow = plans.reads(["messages", "attempts", "drains", "recipients", "contents"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


def test_it_would_tell(connection: Connection, engine: Engine) -> None:
    """The history of runs is long enough for PostgreSQL to read it from its beginning where it may."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # as above
        filling.execute(sa.text("drop index notify.drains_sender_idx"))
    plans = Plans(engine, connection)
    with engine.connect() as asked:
        senders.standings(asked, [SENDER])
    assert plans.reads(["drains"])
