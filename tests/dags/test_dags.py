"""The DAGs as Airflow's DAG processor sees them, with no connection, Variable or database unless a test sets one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization

from notify.domain.campaign import CampaignDraft, read_campaign
from notify.domain.message import read_draft
from notify.operators.campaigns import CAMPAIGN_FIELDS, CampaignOperator
from notify.operators.send_message import FIELDS, SendMessageOperator
from notify.schedules import SCHEDULED

CHECKOUT = Path(__file__).resolve().parents[2]
DAGS = CHECKOUT / "dags"

#: The DAGs that run by the clock, with the Variable that an admin edits and the schedule without it.
JOBS = {
    "Notifications": ("notify_schedule_notifications", "*/3 * * * *"),
    "UserNotifications": ("notify_schedule_user_notifications", "0 * * * *"),
    "Reminders": ("notify_schedule_reminders", "*/15 * * * *"),
    "Housekeeping": ("notify_schedule_housekeeping", "30 2 * * *"),
    "MassMailing": ("notify_schedule_mass_mailing", "*/5 * * * *"),
    "DeliveryReports": ("notify_schedule_delivery_reports", "*/10 * * * *"),
}
by_the_clock = pytest.mark.parametrize("job", JOBS)

#: Parts of ours that load the database driver or the templates.
HEAVY = (
    "storage",
    "rendering",
    "handover",
    "publishing",
    "deadlines",
    "drain",
    "merge",
    "remind",
    "bouncing",
    "mailboxes",
    "campaigns",
)

#: Seconds that parsing all DAG files may take, Airflow itself being loaded; the DAG processor does it all day.
PARSE_BUDGET = 0.5


def parse() -> dict[str, DAG]:
    """All DAGs, parsed anew; an import error fails the test."""
    bag = DagBag(DAGS)
    assert bag.import_errors == {}
    return bag.dags


def notifications() -> DAG:
    """The DAG Notifications, parsed anew."""
    return parse()["Notifications"]


def environment_of(variable: str) -> str:
    """Where Airflow looks for a Variable first."""
    return f"AIRFLOW_VAR_{variable.upper()}"


def serialized(dag: DAG) -> SerializedDAG:
    """The DAG as the scheduler gets it: through JSON and back."""
    return DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))


# --- What is there ---------------------------------------------------------------------------------------------------


def test_dag_ids() -> None:
    """Exactly the documented DAGs are there."""
    assert set(parse()) == {"SendMessage", *JOBS}
    assert JOBS == SCHEDULED


def test_notifications() -> None:
    """Notifications runs every three minutes, catches nothing up, and lets runs overlap."""
    dag = serialized(notifications())
    assert dag.timetable.summary == "*/3 * * * *"
    assert not dag.catchup
    assert dag.max_active_runs == 16
    assert dag.tags == {"notify"}
    assert "messages per rolling hour" in (dag.doc_md or "")


def test_send_message() -> None:
    """SendMessage runs only when it is triggered, many at a time."""
    dag = serialized(parse()["SendMessage"])
    assert not dag.timetable.can_be_scheduled
    assert not dag.catchup
    assert dag.max_active_runs == 64
    assert dag.tags == {"notify"}
    assert set(dag.task_dict) == {"SendMessage"}


def test_one_task_for_each_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sender has one task, in the pool of its name, that waits for no other run and is never retried."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SENDERS", '["smtp_default", "smtp-second.site"]')
    for dag in (notifications(), serialized(notifications())):
        assert [task.task_id for task in dag.tasks] == ["smtp_default", "smtp-second.site"]
        for task in dag.tasks:
            assert task.pool == task.task_id
            assert task.max_active_tis_per_dag is None
            assert task.retries == 0
            assert task.task_type == "NotificationsOperator"
            assert not task.upstream_task_ids
        assert [task.sender for task in dag.tasks] == ["smtp_default", "smtp-second.site"]


@pytest.mark.parametrize(
    ("job", "operator", "says"),
    [
        ("UserNotifications", "UserNotificationsOperator", "one digest"),
        ("Reminders", "RemindersOperator", "the latest step only"),
    ],
)
def test_the_jobs_that_fill_the_outbox(job: str, operator: str, says: str) -> None:
    """UserNotifications and Reminders catch nothing up, may overlap once, and are one task that is never retried."""
    dag = serialized(parse()[job])
    assert dag.timetable.summary == JOBS[job][1]
    assert not dag.catchup
    assert dag.max_active_runs == 2
    assert dag.tags == {"notify"}
    assert says in (dag.doc_md or "")
    (task,) = dag.tasks
    assert (task.task_id, task.task_type, task.retries, task.pool) == (job, operator, 0, "default_pool")
    assert task.max_active_tis_per_dag is None


def test_delivery_reports() -> None:
    """DeliveryReports has a task for each source, which needs no other and is never retried."""
    dag = serialized(parse()["DeliveryReports"])
    assert dag.timetable.summary == "*/10 * * * *"
    assert not dag.catchup
    assert dag.max_active_runs == 2
    assert dag.tags == {"notify"}
    assert "`undelivered`" in (dag.doc_md or "")
    (task,) = [task for task in dag.tasks if task.task_type == "DeliveryReportsOperator"]
    assert (task.task_id, task.conn_id, task.retries, task.pool) == ("imap_bounces", "imap_bounces", 0, "default_pool")
    assert not task.upstream_task_ids


def test_housekeeping() -> None:
    """Housekeeping runs at night, alone, and is one task that needs no other and is never retried."""
    dag = serialized(parse()["Housekeeping"])
    assert (dag.catchup, dag.max_active_runs, dag.tags) == (False, 1, {"notify"})
    (task,) = dag.tasks
    assert (task.task_id, task.task_type, task.retries, task.pool) == (
        "Housekeeping", "HousekeepingOperator", 0, "default_pool",
    )  # fmt: skip


def test_mass_mailing() -> None:
    """MassMailing makes messages whether or not its form has ordered a campaign, but not where that has failed."""
    dag = serialized(parse()["MassMailing"])
    assert (dag.catchup, dag.max_active_runs, dag.tags) == (False, 4, {"notify"})
    assert "trigger this DAG with its form filled in" in (dag.doc_md or "")
    tasks = {task.task_id: (task.task_type, task.retries, task.upstream_task_ids) for task in dag.tasks}
    assert tasks == {
        "order": ("CampaignOperator", 0, set()),
        "MassMailing": ("MassMailingOperator", 0, {"order"}),
    }
    assert dag.task_dict["MassMailing"].trigger_rule == "none_failed"
    assert parse()["MassMailing"].task_dict["order"].from_params


@by_the_clock
@pytest.mark.parametrize("schedule", ["*/3 * * * *", "0 0 1 1 *", "@hourly"])
def test_the_first_run_waits_for_its_time(monkeypatch: pytest.MonkeyPatch, job: str, schedule: str) -> None:
    """A DAG that is new makes up for no time that has passed: its first run is the next one by the clock."""
    monkeypatch.setenv(environment_of(JOBS[job][0]), schedule)
    before = datetime.now(UTC)
    dag = serialized(parse()[job])
    assert dag.start_date is None
    first = dag.next_dagrun_info(last_automated_run_info=None)
    assert first is not None
    assert first.run_after > before


def test_tasks_are_known_to_the_listener() -> None:
    """The listener looks for this DAG and this operator by name: a rename must reach it."""
    from notify.listeners import hourly_limits

    dag = notifications()
    assert dag.dag_id == hourly_limits.DAG_ID
    assert {task.task_type for task in dag.tasks} == {hourly_limits.OPERATOR}


def test_parsing_loads_no_database(tmp_path: Path) -> None:
    """Parsing needs no connection, no Variable and no database, and loads no part of ours that would."""
    count = len(list(DAGS.glob("*.py")))
    script = (
        "import sys; from airflow.dag_processing.dagbag import DagBag; before = set(sys.modules); "
        f"bag = DagBag({str(DAGS)!r}); assert not bag.import_errors; assert len(bag.dags) == {count}; "
        "print('NEW', *set(sys.modules) - before)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    environment |= {
        "PYTHONPATH": str(CHECKOUT / "plugins"),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/nowhere/airflow.db",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    new = set(done.stdout.partition("NEW")[2].split())
    assert "notify.operators" in new
    assert not {name.partition(".")[0] for name in new} & {"psycopg", "lxml", "premailer", "alembic"}
    assert not {f"notify.{name}" for name in HEAVY} & new


def test_parsing_is_quick() -> None:
    """Parsing all our DAGs anew stays within a budget, the best of three tries being free of what else runs here."""
    parse()
    tries = []
    for _ in range(3):
        begin = time.monotonic()
        parse()
        tries.append(time.monotonic() - begin)
    assert min(tries) < PARSE_BUDGET


# --- Schedules that admins edit --------------------------------------------------------------------------------------


@by_the_clock
@pytest.mark.parametrize(
    ("value", "summary"),
    [("*/10 8-17 * * mon-fri", "*/10 8-17 * * mon-fri"), ("@hourly", "0 * * * *"), ("  5 * * * * ", "5 * * * *")],
)
def test_schedule_by_cron(monkeypatch: pytest.MonkeyPatch, job: str, value: str, summary: str) -> None:
    """A cron expression or a preset in the Variable is the DAG's schedule, and no other DAG's."""
    monkeypatch.setenv(environment_of(JOBS[job][0]), value)
    dags = parse()
    assert serialized(dags[job]).timetable.summary == summary
    assert serialized(dags[job]).tags == {"notify"}
    assert all(serialized(dags[other]).timetable.summary == JOBS[other][1] for other in JOBS.keys() - {job})


@by_the_clock
def test_schedule_by_duration(monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    """A duration in the Variable is the time from one run to the next."""
    monkeypatch.setenv(environment_of(JOBS[job][0]), "PT3M")
    timetable = serialized(parse()[job]).timetable
    assert timetable.summary == str(timedelta(minutes=3))


@by_the_clock
def test_schedule_in_a_zone(monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    """Schedules mean the time of the zone that is set."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_TIMEZONE", "Europe/Warsaw")
    timetable = serialized(parse()[job]).timetable
    assert timetable.serialize()["timezone"] == "Europe/Warsaw"


@by_the_clock
@pytest.mark.parametrize("value", ["soon", "0 0 31 2 *", "* * * * * *", "@once", "PT1S", "P1000Y", "R * * * *", "`**#"])
def test_schedule_that_is_none(monkeypatch: pytest.MonkeyPatch, job: str, value: str) -> None:
    """Nonsense in the Variable keeps the default schedule, and the DAG says so in its tags and its text."""
    variable, default = JOBS[job]
    monkeypatch.setenv(environment_of(variable), value)
    dag = serialized(parse()[job])
    assert dag.timetable.summary == default
    assert dag.tags == {"notify", "invalid-schedule"}
    assert f"`{variable}` cannot be used" in (dag.doc_md or "")
    assert value in re.sub(r"\\([^\w\s])", r"\1", dag.doc_md or "")  # as Markdown reads it
    assert f"The default `{default}` applies" in (dag.doc_md or "")


@by_the_clock
@pytest.mark.parametrize("value", ["Mars/Olympus", "UTC+25", "../.."])
def test_timezone_that_is_none(monkeypatch: pytest.MonkeyPatch, job: str, value: str) -> None:
    """Nonsense in notify_timezone keeps UTC and the schedule, and the DAG says so."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_TIMEZONE", value)
    monkeypatch.setenv(environment_of(JOBS[job][0]), "7 * * * *")
    dag = serialized(parse()[job])
    assert dag.timetable.summary == "7 * * * *"
    assert dag.timetable.serialize()["timezone"] == "UTC"
    assert dag.tags == {"notify", "invalid-schedule"}
    assert f"`notify_timezone` is `{value}`" in (dag.doc_md or "")


@pytest.mark.parametrize("value", ["smtp_default", "[]", '["a b"]', '["a/b"]', '["a", 5]', "[" * 100_000, "null"])
def test_senders_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Nonsense in notify_senders keeps the default sender's task, and the DAG says so."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_SENDERS", value)
    dag = serialized(notifications())
    assert list(dag.task_dict) == ["smtp_default"]
    assert dag.tags == {"notify", "invalid-senders"}
    assert "only `smtp_default` is served" in (dag.doc_md or "")


# --- SendMessage's form ----------------------------------------------------------------------------------------------


def send_message() -> DAG:
    """The DAG SendMessage, parsed anew."""
    return parse()["SendMessage"]


def test_params_are_the_fields() -> None:
    """The form asks for exactly the fields of a message."""
    assert set(send_message().params) == set(FIELDS)


def test_defaults_of_the_form_are_those_of_a_message() -> None:
    """A form sent off as it is means the same as giving nothing but what was filled in."""
    filled = {"recipient": "anna", "subject": "s", "message": "m"}
    assert read_draft({**send_message().params.dump(), **filled}) == read_draft(filled)


def test_defaults_are_those_of_the_operator() -> None:
    """The form and the operator have the same defaults."""
    operator = SendMessageOperator(task_id="x")
    assert {name: getattr(operator, name) for name in FIELDS} == send_message().params.dump()


#: What the form, TriggerDagRunOperator and the REST API may hand over in conf.
GOOD = [
    {"recipient": "anna; bob@example.com", "subject": "s", "message": "m"},
    {"recipient": ["anna", "bob@example.com"], "cc": ["carl"], "bcc": "dora"},
    {"recipient": "", "cc": None, "bcc": []},
    {"data": {"a": [1, None, {"b": "c"}]}, "template": "welcome"},
    {"data": None, "attachments": None, "case_url": None, "send_after": None},
    {"attachments": [{"filename": "a", "content_base64": "YQ=="}, "s3://reports/a"]},
    {"priority": "bulk", "guarantee": "at_most_once", "one_mail": True, "html": True},
    {"channel": "sms", "recipient": "+421903622237", "message": "m", "guarantee": None, "transliterate": True},
    {"send_after": "PT2H", "expires_after": "2027-01-31T08:00:00+01:00"},
    {"message": "{{ conf }} {% raw %}"},
]

BAD = [
    {"recipient": 5},
    {"recipient": {"a": 1}},
    {"priority": "loud"},
    {"guarantee": "exactly_once"},
    {"channel": "fax"},
    {"html": "perhaps"},
    {"data": "text"},
    {"attachments": "s3://reports/a"},
    {"subject": 5},
]


def validated(conf: dict[str, Any], dag: DAG) -> dict[str, Any]:
    """The params of a run with this conf, as Airflow validates them."""
    params = dag.params
    params.update(conf)
    values: dict[str, Any] = params.validate()
    return values


@pytest.mark.parametrize("conf", GOOD, ids=str)
def test_params_accept(conf: dict[str, Any]) -> None:
    """Strings, lists and nulls pass the form's check, and come out as they went in."""
    assert validated(conf, send_message()).items() >= conf.items()


@pytest.mark.parametrize("conf", BAD, ids=str)
def test_params_refuse(conf: dict[str, Any]) -> None:
    """What no message can have is refused before a run is made."""
    with pytest.raises(ParamValidationError):
        validated(conf, send_message())


def test_params_survive_serialization() -> None:
    """The form that the UI shows has each field, its default and its description."""
    params, shown = send_message().params, serialized(send_message()).params
    assert shown.dump() == params.dump()
    assert all(shown.get_param(name).description for name in FIELDS)
    assert all(shown.get_param(name).schema["title"] for name in FIELDS)


def test_send_message_survives_serialization() -> None:
    """Nothing of the DAG changes from one parse to the next, and its task takes its fields from the params."""
    first, second = (DagSerialization.to_dict(send_message()) for _ in range(2))
    assert SerializedDagModel.hash(first) == SerializedDagModel.hash(second)
    assert send_message().task_dict["SendMessage"].from_params
    assert tuple(serialized(send_message()).task_dict["SendMessage"].template_fields) == FIELDS
    assert "0x" not in json.dumps(first)


# --- MassMailing's form ----------------------------------------------------------------------------------------------


def campaign_form() -> DAG:
    """The DAG MassMailing, parsed anew."""
    return parse()["MassMailing"]


def test_the_form_has_the_fields_of_a_campaign() -> None:
    """The form asks for exactly what the operator takes, and shows each with a title and a description."""
    shown = serialized(campaign_form()).params
    assert set(shown.dump()) == set(CAMPAIGN_FIELDS)
    assert all(shown.get_param(name).description and shown.get_param(name).schema["title"] for name in CAMPAIGN_FIELDS)


def test_defaults_of_the_campaign_form() -> None:
    """The form and the operator have the same defaults, which are those of a campaign."""
    defaults = campaign_form().params.dump()
    operator = CampaignOperator(task_id="x")
    assert {name: getattr(operator, name) for name in CAMPAIGN_FIELDS} == defaults
    filled = {"description": "Sale", "subject": "s", "message": "m"}
    written = {name: value for name, value in defaults.items() if name in CampaignDraft.model_fields}
    assert read_campaign({**written, **filled}) == read_campaign(filled)


def test_a_run_by_the_clock_passes() -> None:
    """What the form has when nobody fills it in is valid: a run by the clock is made of it."""
    assert campaign_form().params.validate() == campaign_form().params.dump()


@pytest.mark.parametrize(
    ("conf", "good"),
    [
        ({"description": "Sale", "subject": "Hi {{ name }}", "message": "m", "recipients": "anna; bob"}, True),
        ({"groups": ["buyers"], "csv": "email\na@example.com", "send": True, "send_after": "PT2H"}, True),
        ({"channel": "sms", "query_connection": "warehouse", "query": "select 1 as phone", "guarantee": None}, True),
        ({"attachments": ["s3://offers/a.pdf"], "data": {"year": 2027}}, True),
        ({"channel": "fax"}, False),
        ({"send": "perhaps"}, False),
        ({"data": "text"}, False),
        ({"groups": 5}, False),
    ],
    ids=str,
)
def test_params_of_a_campaign(conf: dict[str, Any], good: bool) -> None:
    """The form's check takes what a campaign can have, and refuses the rest before a run is made."""
    with nullcontext() if good else pytest.raises(ParamValidationError):
        assert validated(conf, campaign_form()).items() >= conf.items()


@by_the_clock
def test_jobs_do_not_change_by_themselves(job: str) -> None:
    """Parsing again makes no new version of the DAG."""
    first, second = (DagSerialization.to_dict(parse()[job]) for _ in range(2))
    assert SerializedDagModel.hash(first) == SerializedDagModel.hash(second)
    assert "0x" not in json.dumps(first)
