"""The view Settings: what is shown of schedules and senders, and how a schedule is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise

import pytest
import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.log import Log
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from airflow.sdk import CronTriggerTimetable
from airflow.sdk.timezone import coerce_datetime, utcnow
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DataInterval, TimeRestriction
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from notify import settings
from notify.domain.schedule import parse_schedule
from notify.schedules import SCHEDULED, InForce
from notify.web import upcoming
from tests.metadata import add_dag, add_run
from tests.web_client import As

NAME = "notify_schedule_notifications"

Post = Callable[..., object]


@pytest.fixture
def metadata(airflow: FastAPI, metadata: Session) -> Session:
    """Airflow's own database, in which the DAGs of ours are."""
    for dag_id, (_, default) in SCHEDULED.items():
        add_dag(metadata, dag_id, schedule=default)
    return metadata


def csrf(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    return found[1]


def shown(client: TestClient, **query: str) -> str:
    answer = client.get("/notify/settings", params=query)
    assert answer.status_code == 200
    return unescape(answer.text)


def card(page: str, name: str) -> str:
    """What the page says of one Variable."""
    found = re.search(rf'<(article|section)[^>]* id="{name}".*?</\1>', page, re.DOTALL)
    assert found
    return found[0]


def moments(text: str) -> list[datetime]:
    return [datetime.fromisoformat(at) for at in re.findall(r'<li><time datetime="([^"]+)"', text)]


def token_of(client: TestClient) -> str:
    """What a form of this person's page carries."""
    return csrf(shown(client, name=NAME, value="PT9M"))


def save(client: TestClient, name: str, value: str) -> tuple[int, str]:
    """Save something as the page's own form does."""
    answer = client.post(f"/notify/settings/{name}", data={"value": value, "csrf_token": token_of(client)})
    return answer.status_code, unescape(answer.text)


def stored(metadata: Session, name: str) -> str | None:
    metadata.expire_all()
    found = metadata.scalar(sa.select(Variable).where(Variable.key == name))
    return None if found is None else found.get_val()


# --- Schedules -------------------------------------------------------------------------------------------------------


def test_what_stands_there(logged_in: As, metadata: Session) -> None:
    """Each DAG is shown with its schedule, in words, and where it comes from."""
    metadata.add(Variable(NAME, "PT5M"))
    metadata.commit()
    page = shown(logged_in("viewer"))
    for dag_id, (name, default) in SCHEDULED.items():
        assert dag_id in card(page, name)
        assert f"<code>{default}</code>" in card(page, name) or name == NAME
    assert "Every 5 min" in card(page, NAME)
    assert "Airflow's database" in card(page, NAME)
    assert "the default applies" in card(page, "notify_schedule_reminders")
    assert "Every hour" in card(page, "notify_schedule_user_notifications")


def test_the_preview_is_what_airflow_does(logged_in: As, metadata: Session) -> None:
    """The next five runs are those that Airflow's own timetable names, one after the other, after the last one."""
    last = utcnow().replace(hour=0, minute=0, second=0, microsecond=0)
    add_run(metadata, "Notifications", at=last)
    metadata.add(Variable("notify_timezone", "Europe/Warsaw"))
    metadata.commit()
    page = shown(logged_in("admin"), name=NAME, value="30 4 * * mon-fri")
    timetable = coerce_to_core_timetable(CronTriggerTimetable("30 4 * * mon-fri", timezone="Europe/Warsaw"))
    interval, expected = DataInterval.exact(coerce_datetime(last)), []
    for _ in range(5):
        run = timetable.next_dagrun_info(
            last_automated_data_interval=interval, restriction=TimeRestriction(None, None, catchup=False)
        )
        assert run is not None
        expected.append(run.run_after)
        interval = run.data_interval
    preview = card(page, NAME).split("Not saved yet")[1]
    assert moments(preview) == [at for at in expected if at > utcnow()]
    assert len(re.findall(r"<li>", preview)) == 5
    assert re.search(r"(Mon|Tue|Wed|Thu|Fri) \d\d \w{3} 04:30 CES?T", preview)


def test_across_a_change_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the clock goes back, a daily schedule keeps its local time, and an hourly one misses no hour."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_TIMEZONE", "Europe/Warsaw")
    before = datetime(2040, 10, 26, 12, tzinfo=UTC)  # of the future: Airflow makes up for what has passed
    daily = upcoming.next_runs(_in_force("30 8 * * *"), before, 3)
    assert [at.hour for at in daily] == [6, 7, 7]
    hourly = upcoming.next_runs(_in_force("0 * * * *"), datetime(2040, 10, 27, 22, tzinfo=UTC), 5)
    assert [later - at for at, later in pairwise(hourly)] == [timedelta(hours=1)] * 4


def _in_force(text: str) -> InForce:
    return InForce(text, parse_schedule(text), settings.timezone())


def test_a_moment_that_has_passed(logged_in: As, metadata: Session) -> None:
    """Where Airflow would make up for a moment that has just passed, the preview says so and names no time for it."""
    add_run(metadata, "Notifications", at=utcnow() - timedelta(days=2))
    metadata.commit()
    preview = card(shown(logged_in("admin"), name=NAME, value="0 0 * * *"), NAME).split("Not saved yet")[1]
    assert "as soon as Airflow has read it" in preview
    assert len(moments(preview)) == 4


@pytest.mark.parametrize("value", ["soon", "0 0 31 2 *", "PT1S", "@once", "* * * * * *", "<b>x</b>"])
def test_no_schedule(logged_in: As, metadata: Session, value: str) -> None:
    """What is no schedule is told beside the field, in the preview and at saving alike; nothing is saved."""
    client = logged_in("admin")
    before = card(shown(client, name=NAME, value=value), NAME)
    assert 'role="alert"' in before
    assert "Not saved yet" not in before
    status, page = save(client, NAME, value)
    assert status == 422
    assert 'role="alert"' in card(page, NAME)
    assert "<b>x</b>" not in client.get("/notify/settings", params={"name": NAME, "value": value}).text
    assert stored(metadata, NAME) is None


def test_saving(logged_in: As, metadata: Session) -> None:
    """What is saved is an Airflow Variable; Airflow's audit log has its own line and ours, with who did it."""
    client = logged_in("op")
    status, _ = save(client, NAME, "  */7 *  * * * ")
    assert (status, stored(metadata, NAME)) == (303, "*/7 * * * *")
    assert save(client, NAME, "PT4M")[0] == 303
    lines = {
        (line.event, line.owner, json.dumps(json.loads(line.extra or "{}"), sort_keys=True))
        for line in metadata.scalars(sa.select(Log))
    }
    events = [(event, owner) for event, owner, _ in lines]
    assert ("post_variable", "the_op") in events
    assert ("patch_variable", "the_op") in events
    told = {"variable": NAME, "before": "*/7 * * * *", "after": "PT4M"}
    assert ("notify.change_variable", "the_op", json.dumps(told, sort_keys=True)) in lines
    own_words = [extra for event, _, extra in lines if event != "notify.change_variable"]
    assert all('"***"' in extra for extra in own_words)
    page = card(shown(client), NAME)
    assert "by the_op" in page
    assert "<code>*/7 * * * *</code> → <code>PT4M</code>" in page
    assert settings.variable(NAME) == "PT4M"


def test_going_back(logged_in: As, metadata: Session) -> None:
    """The value before is offered again; the default comes back by removing the Variable."""
    client = logged_in("admin")
    save(client, NAME, "PT4M")
    save(client, NAME, "PT5M")
    page = shown(client)
    assert f"/settings?name={NAME}&value=PT4M#{NAME}" in card(page, NAME)
    answer = client.post(f"/notify/settings/{NAME}/default", data={"csrf_token": csrf(page)})
    assert answer.status_code == 303
    assert stored(metadata, NAME) is None
    page = card(shown(client), NAME)
    assert "the default applies" in page
    assert "<code>PT5M</code> → default" in page
    assert "Back to the default" not in page


def test_a_description_stays(logged_in: As, metadata: Session) -> None:
    """What an admin has noted beside the Variable is not lost when its value changes."""
    metadata.add(Variable(NAME, "PT5M", description="quieter since the move"))
    metadata.commit()
    save(logged_in("admin"), NAME, "PT6M")
    metadata.expire_all()
    assert metadata.scalars(sa.select(Variable)).one().description == "quieter since the move"


def test_set_elsewhere(logged_in: As, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Variable of the environment comes first: it is shown, no form is offered, and saving is refused."""
    client = logged_in("admin")
    token = token_of(client)
    monkeypatch.setenv(f"AIRFLOW_VAR_{NAME.upper()}", "PT8M")
    page = card(shown(client), NAME)
    assert "Every 8 min" in page
    assert "is set in the environment" in page
    assert "<form" not in page
    answer = client.post(f"/notify/settings/{NAME}", data={"value": "PT4M", "csrf_token": token})
    assert answer.status_code == 409
    assert "Nothing was saved" in answer.text
    assert stored(metadata, NAME) is None


def test_an_unusable_value(logged_in: As, metadata: Session) -> None:
    """A value that is no schedule is shown with the default that applies meanwhile."""
    metadata.add(Variable(NAME, "now and then"))
    metadata.commit()
    page = card(shown(logged_in("viewer")), NAME)
    assert "<code>now and then</code> is no schedule, so the default applies" in page
    assert "<code>*/3 * * * *</code>" in page


def test_taken_over(logged_in: As, metadata: Session) -> None:
    """As long as Airflow has not read a change, the page says by what it still runs the DAG."""
    client = logged_in("admin")
    assert "has not read this yet" not in shown(client)
    save(client, NAME, "*/9 * * * *")
    page = card(shown(client), NAME)
    assert "Airflow has not read this yet, and still has: Every 3 minutes." in page
    metadata.execute(
        sa.update(DagModel).where(DagModel.dag_id == "Notifications").values(timetable_description="Every 9 minutes")
    )
    metadata.commit()
    assert "has not read this yet" not in shown(client)


def test_paused_and_unknown(logged_in: As, metadata: Session) -> None:
    """A DAG that is paused, or that Airflow does not know, is told as such."""
    metadata.execute(sa.update(DagModel).where(DagModel.dag_id == "Reminders").values(is_paused=True))
    metadata.execute(sa.update(DagModel).where(DagModel.dag_id == "Housekeeping").values(is_stale=True))
    metadata.commit()
    page = shown(logged_in("viewer"))
    assert "Reminders is paused, so it does not run" in card(page, "notify_schedule_reminders")
    assert "Airflow does not know the DAG Housekeeping" in card(page, "notify_schedule_housekeeping")


# --- The zone --------------------------------------------------------------------------------------------------------


def test_the_zone(logged_in: As, metadata: Session) -> None:
    """A new zone is previewed with the runs that it would make, and saved like a schedule."""
    client = logged_in("admin")
    page = shown(client, name="notify_timezone", value="Asia/Kathmandu")
    assert "+0545" in card(page, "notify_schedule_housekeeping")
    assert "would be" in card(page, "notify_timezone")
    assert save(client, "notify_timezone", "Asia/Kathmandu")[0] == 303
    assert "<code>Asia/Kathmandu</code>" in card(shown(client), "notify_timezone")
    assert save(client, "notify_timezone", "Mars/Olympus")[0] == 422
    assert stored(metadata, "notify_timezone") == "Asia/Kathmandu"


# --- Senders ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with all there is to tell, one without a connection."""
    described = {
        "conn_type": "smtp",
        "host": "mail.example.com",
        "port": 587,
        "login": "robot",
        "password": "s3cret-word",
        "extra": {
            "from_email": "news@example.com",
            "from_name": "News",
            "disable_ssl": True,
            "max_connections": 7,
            "client_secret": "s3cret-token",
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(described))
    monkeypatch.setattr("notify.settings.senders", lambda: ("smtp_default", "smtp_second"))


def test_senders(logged_in: As, metadata: Session, two_senders: None) -> None:
    """A sender is shown with where it leads, what readers see, its pool and what is used of it; no secret, no login."""
    metadata.add(Pool(pool="smtp_default", slots=1200, description="by contract", include_deferred=False))
    metadata.commit()
    page = shown(logged_in("viewer"))
    for told in (
        "mail.example.com:587",
        "STARTTLS",
        "News <news@example.com>",
        "1,200 in any 60 minutes",
        "by contract",
    ):
        assert told in page
    assert "<dt>Sessions at once</dt><dd>7</dd>" in page
    assert "0 sent, 0 of them bulk" in page
    assert not re.search(r"s3cret|robot", page)
    second = page.split(">smtp_second</h3>")[1]
    assert "There is no connection smtp_second." in second
    assert "no pool yet" in second


def test_without_the_outbox(logged_in: As, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outbox does not answer, settings can still be seen and changed."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify:s3cret@127.0.0.1:1/outbox")
    client = logged_in("admin")
    assert "Last 60 minutes" not in shown(client)
    assert save(client, NAME, "PT4M")[0] == 303


# --- Rights ----------------------------------------------------------------------------------------------------------


def test_only_who_may_change(logged_in: As, metadata: Session) -> None:
    """Who may only look sees no form; what they send all the same changes nothing."""
    token = token_of(logged_in("admin"))
    for role in ("viewer", "user"):
        client = logged_in(role)
        assert "<form" not in shown(client)
        for path in (f"/notify/settings/{NAME}", f"/notify/settings/{NAME}/default"):
            assert client.post(path, data={"value": "PT4M", "csrf_token": token}).status_code == 403
    assert stored(metadata, NAME) is None


def test_forged(logged_in: As, metadata: Session) -> None:
    """A form that is not from this person's page changes nothing."""
    client = logged_in("admin")
    for token in ("", token_of(logged_in("op"))):
        answer = client.post(f"/notify/settings/{NAME}", data={"value": "PT4M", "csrf_token": token})
        assert answer.status_code == 403
    assert stored(metadata, NAME) is None


@pytest.mark.parametrize("name", ["notify_senders", "notify_outbox_mark", "fernet_key"])
def test_only_these(logged_in: As, metadata: Session, name: str) -> None:
    """No other Variable can be changed, or removed, by this view."""
    metadata.add(Variable(name, "kept"))
    metadata.commit()
    client = logged_in("admin")
    token = token_of(client)
    assert client.get("/notify/settings", params={"name": name, "value": "PT4M"}).status_code == 404
    for path in (f"/notify/settings/{name}", f"/notify/settings/{name}/default"):
        assert client.post(path, data={"value": "PT4M", "csrf_token": token}).status_code == 404
    assert stored(metadata, name) == "kept"
