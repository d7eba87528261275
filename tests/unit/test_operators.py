"""The operators: thin skins, but the fields, the key and the limit pass through them."""

from __future__ import annotations

import copy
import logging
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from notify.cli import parser
from notify.domain.message import read_draft
from notify.exceptions import Fault, InvalidMessage
from notify.handover import HandedOver
from notify.operators import NotificationsOperator, SendMessageOperator
from notify.operators.send_message import FIELDS, _tell
from notify.operators.task import key_of, origin_of
from notify.storage.outbox import Origin, Stored

RUN_ID = "manual__2026-07-01T12:00:00+00:00"


def context(map_index: int | None = -1, **fields: Any) -> Any:
    """What a task sees of its run, as far as we look."""
    ti = SimpleNamespace(dag_id="invoices", run_id=RUN_ID, task_id="tell", map_index=map_index, try_number=2)
    return {"ti": ti, "ds": "2026-07-01", "params": {}, **fields}


# --- SendMessageOperator: its fields ---------------------------------------------------------------------------------


def test_every_field_is_templated() -> None:
    """All fields of a message are template fields, in the order of the documentation."""
    assert tuple(SendMessageOperator.template_fields) == FIELDS
    assert set(SendMessageOperator.template_fields_renderers) <= set(FIELDS)


def test_fields_are_rendered() -> None:
    """Jinja in a field is rendered, inside lists and mappings as well."""
    operator = SendMessageOperator(
        task_id="tell",
        recipient=["{{ params.who }}@example.com"],
        subject="Report of {{ ds }}",
        message="Hi",
        data={"day": ["{{ ds }}"]},
    )
    operator.render_template_fields(context(params={"who": "anna"}))
    assert operator.recipient == ["anna@example.com"]
    assert operator.subject == "Report of 2026-07-01"
    assert operator.data == {"day": ["2026-07-01"]}


def test_callables_are_called() -> None:
    """A field may be a callable that makes its value from the context."""
    operator = SendMessageOperator(
        task_id="tell", subject=lambda context, jinja_env: f"{context['ds']}{jinja_env is None}"
    )
    operator.render_template_fields(context())
    assert operator.subject == "2026-07-01False"


# --- SendMessageOperator: origin and key -----------------------------------------------------------------------------


@pytest.mark.parametrize(("map_index", "known"), [(-1, -1), (None, -1), (0, 0), (7, 7)])
def test_origin(map_index: int | None, known: int) -> None:
    """The register is told DAG, run, task and map index, and none of a task that is not mapped."""
    assert origin_of(context(map_index)) == Origin("invoices", RUN_ID, "tell", known)


def test_key() -> None:
    """The default key is made of DAG, run, task and map index, and not of the try."""
    assert key_of(origin_of(context())) == f"task:invoices/{RUN_ID}/tell/-1"
    assert key_of(origin_of(context(0))) != key_of(origin_of(context(1)))


def test_key_of_long_names() -> None:
    """However long Airflow lets the names be, the default key is one that the door takes, and tells tasks apart."""
    names = [Origin("d" * 250, "r" * 250, "t" * 249 + last, 7) for last in "ab"]
    keys = [key_of(origin) for origin in names]
    assert keys[0] != keys[1]
    for key in keys:
        assert read_draft({"recipient": "a@b.example", "subject": "s", "message": "m", "idempotency_key": key})[1] == []


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the operator hands over; there is no database here."""
    calls: list[dict[str, Any]] = []

    def enqueue_fields(fields: dict[str, Any], *, origin: Origin) -> HandedOver:
        calls.append({**fields, "origin": origin})
        if fields["subject"] is None:
            raise InvalidMessage([Fault("subject", "is missing"), Fault("message", "is missing")])
        return HandedOver((Stored(5, "<5@example.com>"),), duplicate=len(calls) > 1)

    monkeypatch.setattr("notify.enqueuing.enqueue_fields", enqueue_fields)
    return calls


def test_hand_over(enqueued: list[dict[str, Any]]) -> None:
    """All fields reach the door, with the origin, and the answer is what XCom can carry."""
    operator = SendMessageOperator(task_id="tell", recipient="anna", subject="s", message="m", priority="bulk")
    answer = operator.execute(context())
    assert answer == {"messages": [{"id": 5, "message_id": "<5@example.com>"}], "duplicate": False, "suppressed": 0}
    [fields] = enqueued
    assert set(fields) == {*FIELDS, "origin"}
    assert (fields["recipient"], fields["subject"], fields["priority"]) == ("anna", "s", "bulk")
    assert fields["idempotency_key"] == f"task:invoices/{RUN_ID}/tell/-1"


def test_fields_from_params(enqueued: list[dict[str, Any]]) -> None:
    """What a run's params hold is handed over as it is: nobody runs Jinja from outside, and no key is dropped."""
    operator = SendMessageOperator(task_id="tell", from_params=True)
    params = {
        "subject": "{{ conf }}",
        "message": "{% for %}",
        "data": {"a": "{{ ds }}"},
        "subjct": "a slip",
        "connection": "not ours",
    }
    operator.render_template_fields(context(params=params))
    operator.execute(context(params=params))
    [fields] = enqueued
    assert {name: fields[name] for name in params} == params
    assert fields["idempotency_key"] == f"task:invoices/{RUN_ID}/tell/-1"


@pytest.mark.parametrize(
    ("own", "used"),
    [("mine", "mine"), (None, f"task:invoices/{RUN_ID}/tell/-1"), ("", f"task:invoices/{RUN_ID}/tell/-1")],
)
def test_own_key_comes_first(enqueued: list[dict[str, Any]], own: str | None, used: str) -> None:
    """A key of the author's own is used; one left blank in a form is none."""
    SendMessageOperator(task_id="tell", subject="s", idempotency_key=own).execute(context())
    assert enqueued[0]["idempotency_key"] == used


@pytest.mark.parametrize("key", ["task:invoices/other/tell/-1", " task:x"])
def test_key_of_another_task(enqueued: list[dict[str, Any]], key: str) -> None:
    """Nobody can take the key that a task has by default, and so swallow its mail."""
    with pytest.raises(AirflowFailException, match="idempotency_key: begins with 'task:'"):
        SendMessageOperator(task_id="tell", subject="s", idempotency_key=key).execute(context())
    assert enqueued == []


def test_retry_says_duplicate(enqueued: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    """A task that runs again hands over under the same key and says that nothing was added."""
    operator = SendMessageOperator(task_id="tell", subject="s")
    with caplog.at_level(logging.INFO):
        first, second = operator.execute(context()), operator.execute(context())
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert enqueued[0]["idempotency_key"] == enqueued[1]["idempotency_key"]
    assert "message 5 was handed over before" in caplog.text


def test_faults_fail_for_good(enqueued: list[dict[str, Any]]) -> None:
    """A faulty message fails its task without retries, every fault in the error."""
    with pytest.raises(AirflowFailException) as caught:
        SendMessageOperator(task_id="tell", retries=3).execute(context())
    assert "subject: is missing" in str(caught.value)
    assert "message: is missing" in str(caught.value)


# --- NotificationsOperator -------------------------------------------------------------------------------------------


def drain(**arguments: Any) -> NotificationsOperator:
    """The draining task of smtp_default."""
    with DAG("Notifications", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return NotificationsOperator(task_id="smtp_default", sender="smtp_default", **arguments)


def test_pool_is_the_sender() -> None:
    """The task runs in the pool of its sender's name unless its author says otherwise."""
    assert drain().pool == "smtp_default"
    assert drain(pool="other").pool == "other"


@pytest.mark.parametrize("slots", [-1, 0, 1, 3000])
def test_limit_from_conf(slots: int, caplog: pytest.LogCaptureFixture) -> None:
    """The slots in the run's conf are the limit, without any warning."""
    assert drain()._limit({"hourly_limits": {"smtp_default": slots, "other": 5}}) == slots
    assert caplog.text == ""


@pytest.mark.parametrize(
    "conf",
    [
        None,
        {},
        "text",
        [],
        {"hourly_limits": None},
        {"hourly_limits": 100},
        {"hourly_limits": {}},
        {"hourly_limits": {"other": 5}},
        {"hourly_limits": {"smtp_default": None}},
        {"hourly_limits": {"smtp_default": True}},
        {"hourly_limits": {"smtp_default": "100"}},
        {"hourly_limits": {"smtp_default": 1.5}},
    ],
    ids=str,
)
def test_no_limit_in_conf(conf: object, caplog: pytest.LogCaptureFixture) -> None:
    """What is no whole number is no limit: the last one known applies, and the log says what that means."""
    assert drain()._limit(conf) is None
    assert "carries no limit for smtp_default" in caplog.text
    assert "listener" in caplog.text


def test_kill_is_polite() -> None:
    """A task that is to end finishes what has begun: it only raises its flag."""
    operator = drain()
    assert not operator._stop.is_set()
    operator.on_kill()
    assert operator._stop.is_set()


def test_dag_can_be_copied() -> None:
    """Airflow copies a DAG deeply, with its tasks, when it takes a part of it; no lock may stand in the way."""
    operator = drain()
    assert operator.dag is not None
    assert operator.dag.partial_subset("smtp_default").task_ids == ["smtp_default"]
    copied = copy.deepcopy(operator.dag).get_task("smtp_default")
    assert copied.sender == "smtp_default"
    copied.on_kill()
    assert not operator._stop.is_set()


def test_what_the_suppression_list_did_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The log says how many get nothing, and by which commands one sees why and lifts them; each of these exists."""
    _tell(HandedOver((Stored(1, "<a@example.com>"),), suppressed=2))
    assert "2 recipients get nothing" in caplog.text
    commands = re.findall(r"python -m notify ((?:[a-zA-Z]+ ?)+)", caplog.text)
    assert [command.split()[:2] for command in commands] == [["suppressions", "list"], ["suppressions", "lift"]]
    for command in commands:
        parser().parse_args(command.replace("ADDRESS", "anna@example.com").split())
