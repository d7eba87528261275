"""The checks: each finding is provoked for real, and goes away when it is mended."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import threading
import time
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.configuration import conf
from airflow.models.errors import ParseImportError
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from airflow.sdk.timezone import utcnow
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import Session

from dev.catcher import Catcher
from dev.eurosms import EuroSms
from dev.ports import free_ports
from dev.postgres import Postgres
from notify import cli, settings
from notify.channels.memory import MemoryChannel
from notify.checks import ids
from notify.checks.check import Check, Found, Need, Outcome, Result
from notify.checks.running import CHECKS, Lookout, run
from notify.checks.surroundings import Surroundings
from notify.domain.identity import Mark
from notify.drain import Drainer
from notify.exceptions import SenderFault
from notify.handover import hand_over
from notify.operators import NotificationsOperator
from notify.schedules import SCHEDULED
from notify.settings import HandOverSettings
from notify.storage import drains, identity, schema
from notify.storage.engine import engine_for, normal_url
from notify.web.mount import MountedApp
from tests.connections import postgres_connection
from tests.mailing import Mailing, csv_of
from tests.metadata import BUNDLE, add_dag, add_run, add_task

SENDER = "smtp_default"
SMTP = {"conn_type": "smtp", "host": "mail.example.com", "port": 25, "extra": {"from_email": "news@example.com"}}

Set = Callable[[str, str], None]


def connect(monkeypatch: pytest.MonkeyPatch, name: str, described: dict[str, Any] | URL) -> None:
    """Set a connection of Airflow's, as its environment may."""
    text = postgres_connection(described) if isinstance(described, URL) else json.dumps(described)
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", text)


@pytest.fixture
def place(notify_db: URL, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> URL:
    """An outbox, an Airflow beside it, and one sender, all as they should be."""
    connect(monkeypatch, SENDER, SMTP)
    return notify_db


@pytest.fixture
def set_variable(metadata: Session) -> Set:
    """Set a Variable as Airflow's own page does; an empty text removes it."""

    def call(name: str, value: str) -> None:
        metadata.execute(sa.delete(Variable).where(Variable.key == name))
        if value:
            metadata.add(Variable(name, value))
        metadata.commit()

    return call


def look(*wanted: str, around: Surroundings | None = None) -> list[Result]:
    """Make these checks alone."""
    return run(around, [check for check in CHECKS if check.id in wanted])


def found(wanted: str, around: Surroundings | None = None) -> list[str]:
    """What a check finds, in sentences; where it finds something, it says what to do."""
    results = look(wanted, around=around)
    severity = Outcome.ERROR if wanted.startswith("notify.E") else Outcome.WARNING
    assert {result.outcome for result in results} <= {severity, Outcome.FINE}, results
    assert {result.id for result in results} == {wanted}
    assert all(bool(result.remedy) == result.found for result in results)
    return [result.told for result in results if result.found]


# --- The outbox ------------------------------------------------------------------------------------------------------


def test_no_database(place: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is not there, not reached or no PostgreSQL is told with the cause, and no password."""
    assert found(ids.NO_DATABASE) == []
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify:s3cret@127.0.0.1:1/outbox")
    [told] = found(ids.NO_DATABASE)
    assert "Connection refused" in told
    assert "s3cret" not in told
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "mysql://notify@127.0.0.1/outbox")
    assert "needs postgres" in found(ids.NO_DATABASE)[0]
    monkeypatch.delenv("AIRFLOW_CONN_NOTIFY_DB")
    assert "There is no connection notify_db" in found(ids.NO_DATABASE)[0]


def test_what_needs_the_database(place: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database is away, only that is told; what nobody can know then is said to be unknown."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify@127.0.0.1:1/outbox")
    needing = {check.id for check in CHECKS if check.needs & {Need.DATABASE, Need.OUTBOX}}
    results = look(ids.NO_DATABASE, *needing)
    assert {result.id for result in results if result.outcome is Outcome.UNKNOWN} == needing
    assert [result.id for result in results if result.found] == [ids.NO_DATABASE]


def test_schema(empty_database: URL, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that are missing, older or newer than this version are told, with the command; the others as well."""
    connect(monkeypatch, "notify_db", empty_database)
    engine = sa.create_engine(empty_database)
    assert "has no tables yet" in found(ids.SCHEMA)[0]
    schema.upgrade(engine, "0007")
    [told] = found(ids.SCHEMA)
    assert "at revision 0007" in told
    assert "python -m notify db upgrade" in told
    schema.upgrade(engine)
    assert found(ids.SCHEMA) == []
    with engine.begin() as connection:
        connection.execute(sa.text("update notify.alembic_version set version_num = '9999'"))
    assert "does not know" in found(ids.SCHEMA)[0]
    engine.dispose()
    engine_for(settings.database_url()).dispose()


def test_restored_copy(place: URL, engine: Engine, set_variable: Set) -> None:
    """An outbox that went back in time behind its mark is told as a restored copy."""
    assert found(ids.RESTORED_COPY) == []
    with engine.begin() as connection:
        mark = identity.advance(connection)
    set_variable("notify_outbox_mark", str(Mark(mark.outbox, mark.counter + 1)))
    assert "gone back in time" in found(ids.RESTORED_COPY)[0]
    set_variable("notify_outbox_mark", str(mark))
    assert found(ids.RESTORED_COPY) == []


def test_last_run(place: URL, engine: Engine) -> None:
    """A sender whose last run could not send is told, with cause and remedy; a run that can takes it away."""
    fault = SenderFault("mail.example.com:25 did not answer within 30 s.", "Check Host.")
    with engine.begin() as connection:
        drains.remember_fault(connection, SENDER, fault)
        drains.remember_fault(connection, "given_up", fault)
    [result] = look(ids.LAST_RUN)
    assert (result.outcome, result.remedy) == (Outcome.ERROR, "Check Host.")
    assert result.told == "The last run of smtp_default could not send: mail.example.com:25 did not answer within 30 s."
    Drainer(engine, MemoryChannel(), SENDER, limit=1).run()
    assert found(ids.LAST_RUN) == []


def test_unserved(place: URL, connection: Connection, hand_over_settings: HandOverSettings, set_variable: Set) -> None:
    """Messages of a sender that no run serves are counted, until it is served."""
    given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello", "sender": "smtp_second"}
    hand_over(connection, given, hand_over_settings)
    connection.commit()
    assert found(ids.UNSERVED) == ["1 messages wait for the sender smtp_second, which no run serves."]
    set_variable("notify_senders", '["smtp_default", "smtp_second"]')
    assert found(ids.UNSERVED) == []


# --- Senders ---------------------------------------------------------------------------------------------------------


def test_list_of_senders(place: URL, set_variable: Set) -> None:
    """A list of senders that is none is told with an example."""
    assert found(ids.SENDERS) == []
    set_variable("notify_senders", "smtp_default")
    assert "no JSON list" in found(ids.SENDERS)[0]


@pytest.mark.parametrize(
    ("described", "told"),
    [
        (None, "There is no connection smtp_default."),
        ({**SMTP, "conn_type": "ftp"}, "has the type 'ftp'"),
        ({**SMTP, "conn_type": "http"}, "Connection smtp_default has no login"),
        ({**SMTP, "host": ""}, "names no host"),
        ({**SMTP, "extra": "{broken"}, "no JSON object"),
        ({**SMTP, "extra": {"from_email": "nobody"}}, "from_email of connection smtp_default is no e-mail address"),
    ],
)
def test_connections(place: URL, monkeypatch: pytest.MonkeyPatch, described: dict[str, Any] | None, told: str) -> None:
    """A sender's connection that is missing, of another type or wrong is told, field and all."""
    assert found(ids.CONNECTION) == []
    if described is None:
        monkeypatch.delenv("AIRFLOW_CONN_SMTP_DEFAULT")
    else:
        connect(monkeypatch, SENDER, described)
    [sentence] = found(ids.CONNECTION)
    assert told in sentence


def test_pools(place: URL, metadata: Session) -> None:
    """A sender's pool that is missing, or has no slots, is told; one with slots, or without a limit, is fine."""
    assert "There is no pool smtp_default." in found(ids.POOL)[0]
    for slots in (0, 1, -1):
        metadata.execute(sa.delete(Pool).where(Pool.pool == SENDER))
        metadata.add(Pool(pool=SENDER, slots=slots, include_deferred=False))
        metadata.commit()
        assert [("0 slots" in told) for told in found(ids.POOL)] == ([True] if slots == 0 else [])


def test_sites(place: URL, monkeypatch: pytest.MonkeyPatch, set_variable: Set) -> None:
    """A site that two senders of a channel have is told; one of mails and one of SMS may share it."""
    set_variable("notify_senders", json.dumps([SENDER, "smtp_brno", "smtp_brno_2", "sms_brno"]))
    site = {"extra": {"site": "Brno"}}
    for name, described in (("smtp_brno", SMTP | site), ("sms_brno", {"conn_type": "http"} | site)):
        connect(monkeypatch, name, described)
    assert found(ids.SITES) == []
    connect(monkeypatch, "smtp_brno_2", SMTP | site)
    [told] = found(ids.SITES)
    assert "smtp_brno and smtp_brno_2 (email) both have the site 'Brno'" in told


def test_mailbox(place: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounce mailbox is looked at where there is one: a field that is wrong is told."""
    assert found(ids.MAILBOX) == []
    connect(monkeypatch, "imap_bounces", {"conn_type": "imap", "host": "mail.example.com"})
    assert "names no Login" in found(ids.MAILBOX)[0]
    connect(monkeypatch, "imap_bounces", {"conn_type": "imap", "host": "mail.example.com", "login": "bounces"})
    assert found(ids.MAILBOX) == []


# --- DAGs ------------------------------------------------------------------------------------------------------------


def test_dags(place: URL, metadata: Session) -> None:
    """A DAG that Airflow does not know, cannot read, has lost or has paused is told; Notifications as an error."""
    assert found(ids.NOTIFICATIONS) == ["Airflow does not know the DAG Notifications."]
    assert len(found(ids.OTHER_DAGS)) == 6
    for dag_id in (*SCHEDULED, "SendMessage"):
        add_dag(metadata, dag_id)
    assert found(ids.NOTIFICATIONS) == found(ids.OTHER_DAGS) == []
    for dag_id, check in (("Notifications", ids.NOTIFICATIONS), ("SendMessage", ids.OTHER_DAGS)):
        for state, told in (("is_paused", "is paused"), ("is_stale", "does not know")):
            change = sa.text(f"update dag set {state} = :it where dag_id = :dag_id")
            metadata.execute(change, {"it": True, "dag_id": dag_id})
            metadata.commit()
            [sentence] = found(check)
            assert dag_id in sentence
            assert told in sentence
            metadata.execute(change, {"it": False, "dag_id": dag_id})
            metadata.commit()
        trace = "Traceback:\n  File …\nModuleNotFoundError: No module named 'notify'"
        metadata.add(ParseImportError(filename=f"ours/{dag_id}.py", bundle_name=BUNDLE, stacktrace=trace))
        metadata.commit()
        assert found(check) == [f"Airflow cannot read the DAG {dag_id}: ModuleNotFoundError: No module named 'notify'"]
        metadata.execute(sa.delete(ParseImportError))
        metadata.commit()
    assert found(ids.NOTIFICATIONS) == found(ids.OTHER_DAGS) == []


def test_campaigns_that_wait(
    place: URL, metadata: Session, engine: Engine, hand_over_settings: HandOverSettings
) -> None:
    """A campaign to be generated, or to be followed, is told while MassMailing is paused or unknown, not otherwise."""
    mailing = Mailing(engine, hand_over_settings)
    numbers = [mailing.write(csv=csv_of(1)) for _ in range(3)]
    assert found(ids.CAMPAIGNS) == []
    mailing.do("update notify.campaigns set status = 'generating' where id = :id", id=numbers[0])
    mailing.do("update notify.campaigns set status = 'paused', unsettled = true where id = :id", id=numbers[1])
    waiting = f"Campaigns wait for a run of MassMailing ({numbers[0]}, {numbers[1]}), and none comes: "
    assert found(ids.CAMPAIGNS) == [f"{waiting}Airflow does not know the DAG MassMailing."]
    add_dag(metadata, "MassMailing", is_paused=True)
    assert found(ids.CAMPAIGNS) == [f"{waiting}MassMailing is paused."]
    metadata.execute(sa.text("update dag set is_paused = false"))
    metadata.commit()
    assert found(ids.CAMPAIGNS) == []


@pytest.mark.parametrize("dag_id", SCHEDULED)
def test_schedules(place: URL, set_variable: Set, dag_id: str) -> None:
    """A schedule that is none is told for each DAG, with the default that applies meanwhile."""
    name, default = SCHEDULED[dag_id]
    set_variable(name, "0 0 31 2 *")
    [told] = found(ids.SCHEDULE)
    assert f"The Variable {name} cannot be used" in told
    assert told.endswith(f"The DAG {dag_id} keeps its default, {default}.")
    set_variable(name, "0 0 31 1 *")
    assert found(ids.SCHEDULE) == []


def test_listener(place: URL, metadata: Session) -> None:
    """A run of Notifications without limits tells that no listener was there; a run of `airflow dags test` does not."""
    add_dag(metadata, "Notifications")
    assert found(ids.LISTENER) == []
    now = utcnow()
    add_run(metadata, "Notifications", at=now - timedelta(minutes=9), run_id="one", conf={"asked": "by hand"})
    assert found(ids.LISTENER) == ["The last run of Notifications, one, carries no hourly limits."]
    add_run(metadata, "Notifications", at=now - timedelta(minutes=6), run_id="two", conf={"hourly_limits": {}})
    test = DagRunTriggeredByType.TEST
    add_run(metadata, "Notifications", at=now - timedelta(minutes=3), run_id="three", conf={}, triggered_by=test)
    add_run(metadata, "Notifications", at=now, run_id="four", conf=None, start_date=None)
    assert found(ids.LISTENER) == []


def test_overdue(place: URL, metadata: Session) -> None:
    """A run that should have begun long ago tells that no scheduler is at work, unless the DAG is paused."""
    add_dag(metadata, "Reminders", next_dagrun_create_after=utcnow() - timedelta(minutes=20))
    add_dag(metadata, "Housekeeping", next_dagrun_create_after=utcnow() + timedelta(hours=20))
    add_dag(metadata, "Notifications", next_dagrun_create_after=utcnow() - timedelta(hours=1), is_paused=True)
    [told] = found(ids.OVERDUE)
    assert "A run of Reminders was due" in told
    metadata.execute(sa.text("update dag set next_dagrun_create_after = null"))
    metadata.commit()
    assert found(ids.OVERDUE) == []


def test_no_metadata(place: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow's own database cannot be read, that is told, and what needs it is unknown."""
    assert found(ids.METADATA) == []
    away = sa.create_engine("postgresql+psycopg://airflow@127.0.0.1:1/airflow")
    monkeypatch.setattr("airflow.settings.NonScopedSession", lambda: Session(away))
    needing = {check.id for check in CHECKS if Need.METADATA in check.needs}
    results = look(ids.METADATA, *needing)
    assert [result.id for result in results if result.found] == [ids.METADATA]
    assert {result.id for result in results if result.outcome is Outcome.UNKNOWN} == needing


# --- Clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "far", "off"), [(0, 0, 0), (1.5, 0, 0), (2.5, 0, 1), (-29, 0, 1), (31, 1, 0), (-3600, 1, 0)]
)
def test_own_clock(place: URL, ahead: float, far: int, off: int) -> None:
    """This machine's clock is held against the database's: 2 seconds are worth a look, 30 are an error."""
    around = Surroundings(lambda: time.time() + ahead)
    assert len(found(ids.CLOCK_FAR_OFF, around)) == far
    assert len(found(ids.CLOCK_OFF, around)) == off
    if far or off:
        [told] = found(ids.CLOCK_FAR_OFF, around) or found(ids.CLOCK_OFF, around)
        assert ("ahead of" if ahead > 0 else "behind") in told


@pytest.mark.parametrize(
    ("began", "ended", "tries", "told"),
    [
        (-1, 1, 1, None),
        (-5, -3, 1, "3.0 s behind"),
        (4, 9, 1, "4.0 s ahead of"),
        (3600, None, 1, "3,600.0 s ahead of"),
        (-1, None, 1, None),
        (3600, 3601, 2, None),
    ],
    ids=["right", "behind", "ahead", "running", "running and right", "cleared and run again"],
)
def test_clocks_of_workers(  # noqa: PLR0917 - a case has as many
    place: URL, engine: Engine, metadata: Session, began: float, ended: float | None, tries: int, told: str | None
) -> None:
    """A worker's clock shows in its tasks: what the outbox noted meanwhile lies between their beginning and end."""
    add_dag(metadata, "Notifications")
    run_id = add_run(metadata, "Notifications", at=utcnow())
    with engine.begin() as connection:
        drains.start(connection, SENDER, 1, worker="w", dag_id="Notifications", run_id=run_id)
        at = connection.scalar(sa.text("select started_at from notify.drains"))
    moments = [None if seconds is None else at + timedelta(seconds=seconds) for seconds in (began, ended)]
    assert moments[0]
    add_task(
        metadata, "Notifications", run_id, SENDER, host="worker-7", began=moments[0], ended=moments[1], tries=tries
    )
    sentences = found(ids.CLOCK_FAR_OFF) + found(ids.CLOCK_OFF)
    wanted = [] if told is None else [f"The clock of worker-7 is {told} that of the outbox database."]
    assert [sentence.replace(" behind that", " behind that") for sentence in sentences] == wanted


# --- Configuration ---------------------------------------------------------------------------------------------------

UNUSABLE = {
    "notify_timezone": "Mars/Olympus",
    "notify_kinds": "[",
    "notify_blocked": "[]",
    "notify_case_url": "erp",
    "notify_attachment_sources": "s3",
    "notify_campaign_connections": "warehouse",
    "notify_base_url": "airflow",
    "notify_calendars": "[]",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_variables_of_hand_over(place: URL, set_variable: Set, name: str) -> None:
    """Each Variable that would make hand-over fail is told by its name."""
    assert found(ids.HAND_OVER) == []
    set_variable(name, UNUSABLE[name])
    [told] = found(ids.HAND_OVER)
    assert name in told


@pytest.mark.parametrize("name", ["notify_keep_bodies", "notify_keep_rows", "notify_bounce_hard_days"])
def test_other_variables(place: URL, set_variable: Set, name: str) -> None:
    """So is each that would make another DAG fail."""
    assert found(ids.VARIABLES) == []
    set_variable(name, "for ever")
    [told] = found(ids.VARIABLES)
    assert name in told


def test_every_variable_is_looked_at(place: URL, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Variables that the documentation lists are read by some check, or have no value that would be wrong."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `notify_")} - {"notify_db"}
    asked = set()
    real = settings.variable

    def noting(name: str, default: str = "") -> str:
        asked.add(name)
        return real(name, default)

    for module in ("notify.settings", "notify.witness"):
        monkeypatch.setattr(f"{module}.variable", noting)
    look(*(check.id for check in CHECKS if check.id != ids.TEMPLATE))
    assert listed - asked == {"notify_attachment_store"}  # any text is a place


def test_base_url(place: URL, set_variable: Set) -> None:
    """An address that nobody has set is worth a look."""
    assert found(ids.BASE_URL) == ["The Variable notify_base_url is not set."]
    set_variable("notify_base_url", "https://airflow.example.com")
    assert found(ids.BASE_URL) == []


def test_time_zones(place: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any time zones is told."""
    assert found(ids.NO_TIME_ZONES) == []
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    monkeypatch.setitem(sys.modules, "tzdata", None)
    assert found(ids.NO_TIME_ZONES) == ["This machine knows no time zones, not even UTC."]
    zoneinfo.reset_tzpath(before)


@contextmanager
def configured(**options: str) -> Iterator[None]:
    """Airflow's configuration, with these options of a section each."""
    before = {name: conf.get(section, name, fallback="") for section, name in map(_split, options)}
    for option, value in options.items():
        conf.set(*_split(option), value)
    try:
        yield
    finally:
        for option in options:
            section, name = _split(option)
            conf.set(section, name, before[name].replace("%", "%%"))


def _split(option: str) -> tuple[str, str]:
    section, _, name = option.partition("__")
    return section, name


def test_secrets(place: URL) -> None:
    """A key that is missing is told by its name."""
    with configured(core__fernet_key="k", api__secret_key="s"):
        assert found(ids.SECRETS) == []
    with configured(core__fernet_key="", api__secret_key="s"):
        assert "[core] fernet_key" in found(ids.SECRETS)[0]
    with configured(core__fernet_key="k", api__secret_key=""):
        assert "[api] secret_key" in found(ids.SECRETS)[0]


def test_trial(place: URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The database and the servers of `make up` are told, and so is an Airflow without logins; others are not."""
    [told] = found(ids.TRIAL)
    assert "embedded PostgreSQL" in told
    catcher = Catcher(tmp_path / "mails", free_ports(1)[0])
    catcher.start()
    try:
        connect(monkeypatch, SENDER, {**SMTP, "host": "127.0.0.1", "port": catcher.port})
        assert "mail catcher" in found(ids.TRIAL)[1]
    finally:
        catcher.stop()
    assert len(found(ids.TRIAL)) == 1  # nothing listens there
    with EuroSms() as gateway:
        server = {"conn_type": "http", "host": "127.0.0.1", "port": gateway.port}
        connect(monkeypatch, SENDER, server)
        assert "SMS gateway" in found(ids.TRIAL)[1]
    assert len(found(ids.TRIAL)) == 1
    with configured(core__simple_auth_manager_all_admins="True"):
        assert "without a login" in found(ids.TRIAL)[1]
    with another_server() as url:
        connect(monkeypatch, "notify_db", url)
        assert found(ids.TRIAL) == []
        engine_for(settings.database_url()).dispose()


@contextmanager
def another_server() -> Iterator[URL]:
    """A PostgreSQL that is not the one of `make up`."""
    with tempfile.TemporaryDirectory(prefix="notify-postgres-") as folder:
        server = Postgres(Path(folder) / "data", settings="cluster_name = 'of the firm'\nfsync = off")
        server.start()
        try:
            yield normal_url(server.uri("postgres"))
        finally:
            server.stop()


def test_templates(place: URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A template that is broken or missing is told with its file; so is a folder without any."""
    shipped = settings.templates_root()
    root = Path(shutil.copytree(shipped, tmp_path / "templates"))
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(root))
    assert found(ids.TEMPLATE) == []
    file = root / "reminder" / "pl" / "body.txt.j2"
    file.write_text("{% if %}")
    [told] = found(ids.TEMPLATE)
    assert "reminder/pl/body.txt.j2, line 1" in told
    shutil.copy(shipped / "reminder" / "pl" / "body.txt.j2", file)
    shutil.rmtree(root / "digest")
    assert "There is no template 'digest'" in found(ids.TEMPLATE)[0]
    shutil.copytree(shipped / "digest", root / "digest")
    assert found(ids.TEMPLATE) == []
    monkeypatch.setenv("NOTIFY_TEMPLATES", str(tmp_path / "nowhere"))
    assert "cannot be read" in found(ids.TEMPLATE)[0]


# --- The checks themselves -------------------------------------------------------------------------------------------


def check_that(look: Callable[[Surroundings], Iterator[Found]], **fields: Any) -> Check:
    return Check("notify.E999", "It works", "Nothing works.", "Do something.", look, **fields)


def test_a_check_that_fails() -> None:
    """A check that fails is told as one that could not be made, without its inside, and the next one is made."""

    def fails(_around: Surroundings) -> Iterator[Found]:
        raise ZeroDivisionError("s3cret")
        yield

    def finds(_around: Surroundings) -> Iterator[Found]:
        yield Found("It broke.")

    results = run(Surroundings(), [check_that(fails), *(check for check in CHECKS if check.id == ids.NOT_MADE)])
    assert [result.id for result in results] == [ids.NOT_MADE]
    assert "notify.E999 (It works) could not be made: it failed (ZeroDivisionError)" in results[0].told
    assert "s3cret" not in results[0].line
    [result] = run(Surroundings(), [check_that(finds)])
    assert result.document() == {
        "id": "notify.E999",
        "outcome": "error",
        "title": "It works",
        "told": "It broke.",
        "remedy": "Do something.",
    }


def test_a_check_that_hangs() -> None:
    """A check that does not come to an end is given up in time."""
    released = threading.Event()

    def hangs(_around: Surroundings) -> Iterator[Found]:
        released.wait(60)
        yield Found("too late")

    begun = time.monotonic()
    [result] = run(Surroundings(), [check_that(hangs, patience=0.1)])
    released.set()
    assert time.monotonic() - begun < 30
    assert (result.id, result.outcome) == (ids.NOT_MADE, Outcome.WARNING)
    assert "took longer than 0.1 s" in result.told


def test_a_statement_that_hangs(place: URL, engine: Engine) -> None:
    """A lock in the outbox keeps no check for longer than it may take, and no other check from being made."""
    with engine.begin() as connection:
        connection.execute(sa.text("lock table notify.senders in access exclusive mode"))
        results = look(ids.LAST_RUN, ids.SCHEMA)
    assert {result.id for result in results if result.found} == {ids.NOT_MADE}
    assert {result.id for result in results if result.outcome is Outcome.FINE} == {ids.SCHEMA}


def test_all_together(place: URL) -> None:
    """All checks can be made; each is told, errors first."""
    results = run()
    assert {result.id for result in results} == {check.id for check in CHECKS}
    order = [Outcome.ERROR, Outcome.WARNING, Outcome.UNKNOWN, Outcome.FINE]
    assert [result.outcome for result in results] == sorted((one.outcome for one in results), key=order.index)


def test_ids_are_unique() -> None:
    """No two checks share an id, each id there is has a check, and severity is in the id."""
    known = [value for name, value in vars(ids).items() if name.isupper()]
    assert sorted(check.id for check in CHECKS) == sorted(known)
    assert len(set(known)) == len(known)


# --- Where they are told ---------------------------------------------------------------------------------------------


def test_command(place: URL, metadata: Session, capsys: pytest.CaptureFixture[str], set_variable: Set) -> None:
    """`python -m notify health` tells findings with id and remedy, and fails where mail cannot flow."""
    assert cli.main(["health"]) == 1
    told = capsys.readouterr().out
    assert "error    notify.E006  Airflow does not know the DAG Notifications.\n" in told
    assert "What to do: See that dags/Notifications.py lies in the DAG folder" in told
    assert "fine     notify.E001  The outbox database answers.\n" in told
    add_dag(metadata, "Notifications")
    assert cli.main(["health", "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert {document["id"] for document in documents} == {check.id for check in CHECKS}
    assert "error" not in {document["outcome"] for document in documents}


def test_at_the_start(place: URL, caplog: pytest.LogCaptureFixture) -> None:
    """When the page is first asked for something, what was found is logged once, with its id; nobody waits for it."""
    told = threading.Event()

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if ids.NOTIFICATIONS in record.getMessage():
                told.set()

    logger, handler = logging.getLogger("notify.checks.running"), Noting()
    logger.addHandler(handler)
    try:
        app = MountedApp()
        app._made()
        assert told.wait(60)
        app._made()
    finally:
        logger.removeHandler(handler)
    for thread in threading.enumerate():
        if thread.name == "notify checks":
            thread.join(60)
    lines = [record for record in caplog.records if ids.NOTIFICATIONS in record.getMessage()]
    assert [record.levelname for record in lines] == ["WARNING"]
    assert "What to do: " in lines[0].getMessage()


def test_news(place: URL, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pages tell by the way is not older than a minute, and is looked for once at a time."""
    lookout = Lookout()
    lookout.look()
    errors, _ = lookout.counts()
    assert errors == 1
    add_dag(metadata, "Notifications")
    assert lookout.counts()[0] == 1
    monkeypatch.setattr(lookout, "_until", 0.0)
    monkeypatch.setattr("notify.checks.running._WAIT", 60.0)
    assert lookout.counts()[0] == 0


def test_in_the_log_of_a_run(
    place: URL, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run of Notifications tells, with ids, what it sees by the way: a clock, and that no listener was there."""
    monkeypatch.setattr("notify.channels.channel_for", lambda _sender: MemoryChannel())
    real = time.time
    monkeypatch.setattr("notify.operators.notifications.time", SimpleNamespace(time=lambda: real() + 40))
    dag_run = SimpleNamespace(dag_id="Notifications", run_id="r", conf={})
    NotificationsOperator(task_id=SENDER, sender=SENDER).execute({"dag_run": dag_run})  # type: ignore[typeddict-item]
    assert "notify.E009: The clock of" in caplog.text
    assert "40.0 s ahead of" in caplog.text
    assert "notify.W004: This run's conf carries no limit" in caplog.text
