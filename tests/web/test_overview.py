"""Overview in the browser: senders, the forecast, the last day, the next runs, and the balance when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import Session

from notify import cli
from notify.channels.memory import MemoryChannel
from notify.drain import Drainer
from notify.exceptions import SenderFault
from notify.handover import hand_over
from notify.schedules import SCHEDULED
from notify.settings import HandOverSettings
from notify.storage import balance, drains
from notify.web.pages.overview import IDLE
from tests.mailing import Mailing, csv_of
from tests.metadata import add_dag, clear
from tests.web_client import As

SENDER = "smtp_default"

#: How many, and their fields; the number of the last one.
Queue = Callable[..., int]


@pytest.fixture
def dags(metadata: Session) -> Callable[..., None]:
    """Tell Airflow's database of our DAGs; what is not said of one is as it is on a good day, None: it is not there."""

    def put(**states: dict[str, Any] | None) -> None:
        clear(metadata)
        for name in SCHEDULED:
            if (said := states.get(name, {})) is not None:
                soon = datetime.now(UTC) + timedelta(minutes=2)
                add_dag(metadata, name, **{"next_dagrun_create_after": soon, **said})

    put()
    return put


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    def call(size: int = 1, **fields: Any) -> int:
        for _ in range(size):
            given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello"} | fields
            [last] = hand_over(connection, given, hand_over_settings).messages
        connection.commit()
        return last.id

    return call


def drain(engine: Engine, channel: MemoryChannel | None = None, **plan: Any) -> None:
    Drainer(engine, channel or MemoryChannel(), SENDER, **{"limit": 100, **plan}).run()


def words(page: str) -> str:
    """What a page says, without its markup, blanks folded."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def overview(logged_in: As) -> str:
    answer = logged_in("viewer").get("/notify/")
    assert answer.status_code == 200
    return str(answer.text)


# --- Senders ---------------------------------------------------------------------------------------------------------


def test_nothing_yet(logged_in: As, dags: Any) -> None:
    """A new outbox has its sender, an empty day, and the runs to come."""
    page = words(overview(logged_in))
    assert "smtp_default Nothing waits 0 of 100 sent in the last 60 minutes" in page
    assert "Nothing was tried to be sent" in page


def test_the_site_of_a_sender(logged_in: As, dags: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender's card has the site that it belongs to."""
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", '{"conn_type": "smtp", "extra": {"site": "Brno"}}')
    assert "smtp_default Brno Nothing waits" in words(overview(logged_in))


def test_what_campaigns_hold(logged_in: As, dags: Any, engine: Engine, hand_over_settings: HandOverSettings) -> None:
    """Messages of a campaign that is not sent yet are told apart from those that a person holds."""
    mailing = Mailing(engine, hand_over_settings)
    mailing.generate(mailing.write(csv=csv_of(3)))
    page = overview(logged_in)
    assert "nothing due; 3 in campaigns" in words(page)
    assert '<a href="/notify/campaigns">3 in campaigns</a>' in page


def test_a_queue_with_its_forecast(logged_in: As, dags: Any, engine: Engine, queue: Queue) -> None:
    """Of what the limit holds back: how much, since when, and when the queue is empty; the same for the message."""
    queue(5)
    drain(engine, limit=3)
    page = overview(logged_in)
    assert "3 of 3 sent in the last 60 minutes" in words(page)
    assert "2 due" in words(page)
    [oldest] = re.findall(r'href="/notify/messages/(\d+)">oldest</a>', page)
    moment = r'<time datetime="([^"]+)" data-brief>'
    [empty] = re.findall(rf"<b>at {moment}", page)
    message = logged_in("viewer").get(f"/notify/messages/{oldest}").text
    [leaves] = re.findall(rf"Expected to leave at <b>{moment}", message)
    assert leaves == empty
    hour = datetime.fromisoformat(empty) - datetime.now(UTC)
    assert timedelta(minutes=58) < hour < timedelta(minutes=66)


def test_expires_before(logged_in: As, dags: Any, engine: Engine, queue: Queue) -> None:
    """A message that is too late before its turn comes says so."""
    queue()
    drain(engine, limit=1)
    last = queue(expires_after=(datetime.now(UTC) + timedelta(minutes=30)).isoformat())
    assert "it expires before that" in logged_in("viewer").get(f"/notify/messages/{last}").text


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ({"Notifications": {"is_paused": True}}, "Notifications is paused"),
        ({"Notifications": None}, "Airflow does not know the DAG Notifications"),
        ({"Notifications": {"is_stale": True}}, "Airflow does not know the DAG Notifications"),
        ({"Notifications": {"has_import_errors": True}}, "Airflow cannot read the DAG Notifications"),
    ],
    ids=["paused", "unknown", "gone", "broken"],
)
def test_nothing_runs(logged_in: As, dags: Any, queue: Queue, states: Any, says: str) -> None:
    """Where Notifications does not come by itself, that is told first, and no moment is promised."""
    number = queue()
    dags(**states)
    page = words(overview(logged_in))
    assert f"{says}: no message is sent" in page
    assert "nobody can tell" in page
    message = words(logged_in("viewer").get(f"/notify/messages/{number}").text)
    assert f"It is not sent: {says}" in message
    assert "Expected to leave" not in message


def test_a_sender_that_no_run_serves(logged_in: As, dags: Any, queue: Queue) -> None:
    """What waits for a sender that is not in notify_senders is promised nothing."""
    number = queue(sender="smtp_second")
    assert "nobody can tell" in words(overview(logged_in))
    assert "no run serves the sender smtp_second" in logged_in("viewer").get(f"/notify/messages/{number}").text


def test_the_last_fault(logged_in: As, dags: Any, engine: Engine, queue: Queue) -> None:
    """The last fault stands there with its remedy."""
    queue()
    channel = MemoryChannel()
    channel.fail_next_open("The server said no.", "Ask it again.")
    with pytest.raises(SenderFault):
        drain(engine, channel)
    assert "The server said no. Ask it again." in words(overview(logged_in))


# --- The last day ----------------------------------------------------------------------------------------------------


def test_the_plot_and_its_table(logged_in: As, dags: Any, engine: Engine, queue: Queue) -> None:
    """The plot is a picture with a title, and the table below it has the same numbers."""
    queue(3)
    channel = MemoryChannel()
    drain(engine, channel)
    queue()
    channel.fail_next_open("no", "yes")
    with pytest.raises(SenderFault):
        drain(engine, channel)
    page = overview(logged_in)
    svg = re.search(r'<svg class="bars".*?</svg>', page, flags=re.DOTALL)
    assert svg
    picture = ET.fromstring(svg[0])
    ids = {element.get("id"): element.text for element in picture.iter() if element.get("id")}
    assert all(ids[name] for name in picture.get("aria-labelledby", "").split())
    hours = picture.findall("g")
    assert len(hours) == 24
    table = re.search(r"The same as a table.*?</table>", page, flags=re.DOTALL)
    assert table
    told = [int(number) for number in re.findall(r'<td data-label="Sent">(\d+)</td>', table[0])]
    drawn = [float(bar.get("height", 0)) for hour in hours for bar in hour.findall("rect[@class='accepted']")]
    assert sum(told) == 3
    assert sum(drawn) == pytest.approx(3 / 5 * 100, abs=0.1)  # of a scale up to five


# --- The next runs ---------------------------------------------------------------------------------------------------


def test_next_runs(logged_in: As, dags: Any) -> None:
    """Of each DAG, its schedule and its next run; of one that does not come, what is not done for it."""
    at = datetime.now(UTC) + timedelta(hours=3)
    dags(
        Reminders={"is_paused": True},
        UserNotifications={"timetable_description": "Every hour", "next_dagrun_create_after": at},
        Housekeeping={"next_dagrun_create_after": None},
        DeliveryReports={"next_dagrun_create_after": datetime.now(UTC) - timedelta(hours=1)},
    )
    page = overview(logged_in)
    told = words(page.partition("Next runs")[2])
    assert "Reminders is paused: nobody is told of deadlines" in told
    assert f"UserNotifications Every hour {at:%Y-%m-%d %H:%M} UTC" in told
    assert "Housekeeping Every 3 minutes when the present one has ended" in told
    assert re.search(r"DeliveryReports Every 3 minutes was due at [^:]*:\d\d UTC : is the scheduler at work", told)
    assert 'data-airflow href="/dags/Reminders"' in page


def test_the_scheduler_is_away(logged_in: As, dags: Any) -> None:
    """Where Notifications should have run long ago, that is told first."""
    dags(Notifications={"next_dagrun_create_after": datetime.now(UTC) - timedelta(minutes=10)})
    assert "Is Airflow's scheduler at work?" in overview(logged_in)


def test_every_dag_has_its_word() -> None:
    """Of each DAG that comes by the clock, it is known what is not done without it."""
    assert IDLE.keys() == SCHEDULED.keys()


# --- The balance -----------------------------------------------------------------------------------------------------


def check(client: TestClient) -> Response:
    """Press the button; what comes is the page that it leads to, or an error."""
    page = client.get("/notify/balance").text
    token = re.search(r'action="/notify/balance">\s*<input type="hidden" name="csrf_token" value="([^"]+)"', page)
    assert token
    return client.post("/notify/balance", data={"csrf_token": token[1]}, follow_redirects=True)


def test_balance(logged_in: As, connection: Connection, queue: Queue) -> None:
    """The balance is drawn up when somebody asks for it, with sums and what must never be found, and stays there."""
    client = logged_in("viewer")
    assert "Nobody has checked it yet" in words(client.get("/notify/balance").text)
    page = words(check(client).text)
    assert "It was even" in page
    assert "checked by the_viewer (page)" in page
    assert "Messages being sent without an open attempt none" in page
    queue()
    connection.execute(sa.text("set local session_replication_role = replica"))
    connection.execute(sa.text("update notify.messages set status = 'sending'"))
    connection.commit()
    assert words(client.get("/notify/balance").text) == page
    page = words(check(client).text)
    assert "It was not even" in page
    assert re.search(r"Messages being sent without an open attempt 1 \d+", page)


def test_a_forged_check(logged_in: As, connection: Connection) -> None:
    """No other site has a browser check the balance, which costs more than any page."""
    assert logged_in("admin").post("/notify/balance").status_code == 403
    assert balance.last(connection) is None


def test_the_last_balance(
    logged_in: As, dags: Any, connection: Connection, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overview tells when the balance was checked last, by whom, and what came of it; it checks nothing itself."""

    def told() -> str:
        return words(overview(logged_in).partition("The balance")[2])

    assert "Nobody has checked it yet." in told()
    check(logged_in("viewer"))
    assert re.search(r"Last checked \S+ \S+ UTC by the_viewer \(page\): it was even . 0 events with 0 notific", told())
    queue()
    connection.execute(sa.text("set local session_replication_role = replica"))
    connection.execute(sa.text("update notify.messages set status = 'sending'"))
    connection.commit()
    assert "it was even" in told()
    logged_in("admin").get("/notify/api/v1/check")
    assert "by the_admin (API): it was not even" in told()
    connection.execute(sa.text("delete from notify.messages"))
    connection.commit()
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good
    assert cli.main(["check"]) == 0
    assert re.search(r"by \S+ \(command line\): it was even", told())
    cli.database.connect().dispose()  # type: ignore[attr-defined]  # one engine a process, which outlives the database


def test_the_later_balance_stays(connection: Connection) -> None:
    """Of two that are drawn up at once, that of the later moment is kept, whichever comes to its end first."""
    second = timedelta(seconds=1)
    now = balance.draw_up(connection)
    wrong = balance.Wrong("something", 2, (4711, 4712))
    for found, kept in (
        (now, now),
        (replace(now, at=now.at - second, events=7), now),
        (later := replace(now, at=now.at + second, refused={"never": 1}, wrong=(wrong,)), later),
    ):
        balance.keep(connection, found)
        assert balance.last(connection) == balance.Last(kept, created_by=None)


def test_a_balance_of_what_can_only_be_read(
    outbox: URL, admin: Connection, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database that can only be read, as a standby, the command draws the balance up, and nothing is kept."""
    name = connection.engine.url.database
    admin.execute(sa.text(f"alter database {name} set default_transaction_read_only = on"))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good
    assert cli.main(["check"]) == 0
    assert balance.last(connection) is None
    cli.database.connect().dispose()  # type: ignore[attr-defined]  # one engine a process, which outlives the database


def test_one_balance_at_a_time(logged_in: As, connection: Connection) -> None:
    """While it is drawn up for somebody, others are told to look again."""
    connection.execute(sa.text("select pg_advisory_xact_lock(hashtextextended('notify balance', 0))"))
    answer = check(logged_in("viewer"))
    assert answer.status_code == 503
    assert "Look again in a minute" in answer.text


def test_a_balance_that_takes_too_long(logged_in: As, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes longer than a page may, the command line is named."""
    monkeypatch.setattr("notify.web.pages.balance.PATIENCE", timedelta(milliseconds=50))
    connection.execute(sa.text("lock table notify.deadlines in access exclusive mode"))
    answer = check(logged_in("viewer"))
    assert answer.status_code == 503
    assert "python -m notify check" in answer.text


def test_a_run_at_work(logged_in: As, dags: Any, connection: Connection, queue: Queue) -> None:
    """A run that is at the queue is told, and sends what is due now."""
    queue()
    drains.start(connection, SENDER, 5, worker="host:1")
    connection.commit()
    assert "A run is at it" in overview(logged_in)
