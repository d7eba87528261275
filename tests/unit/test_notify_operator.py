"""NotifyOperator and UserNotificationsOperator: thin skins, but fields, key and answer pass through them."""

from __future__ import annotations

import copy
import logging
import os
import signal
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from notify.domain.event import read_event
from notify.exceptions import ConfigurationError, Fault, InvalidEvent, MergeFailed
from notify.merge import MergeResult
from notify.operators import NotifyOperator, UserNotificationsOperator
from notify.operators.notify import EVENT_FIELDS
from notify.publishing import Published
from notify.storage.outbox import Origin

RUN_ID = "manual__2026-07-01T12:00:00+00:00"
OWN_KEY = f"task:invoices/{RUN_ID}/tell/-1"


def context(map_index: int | None = -1, **fields: Any) -> Any:
    """What a task sees of its run, as far as we look."""
    ti = SimpleNamespace(dag_id="invoices", run_id=RUN_ID, task_id="tell", map_index=map_index, try_number=2)
    return {"ti": ti, "ds": "2026-07-01", "params": {}, **fields}


# --- NotifyOperator: its fields --------------------------------------------------------------------------------------


def test_every_field_is_templated() -> None:
    """All fields of an event are template fields, in the order of the documentation."""
    assert tuple(NotifyOperator.template_fields) == EVENT_FIELDS
    assert set(NotifyOperator.template_fields_renderers) <= set(EVENT_FIELDS)
    assert set(EVENT_FIELDS) == set(read_event({})[0].__class__.model_fields)


def test_fields_are_rendered() -> None:
    """Jinja in a field is rendered, inside lists and mappings as well."""
    operator = NotifyOperator(
        task_id="tell",
        kind="case_changed",
        recipients=["{{ params.who }}"],
        case={"id": "{{ params.case }}", "title": "Load of {{ ds }}"},
        data={"changes": [{"what": "comment_added", "text": "{{ ds }}"}]},
        occurred_at="{{ ds }}T08:00:00+00:00",
    )
    operator.render_template_fields(context(params={"who": "anna", "case": "INV-7"}))
    draft, faults = read_event({name: getattr(operator, name) for name in EVENT_FIELDS})
    assert faults == []
    assert (draft.recipients, draft.case and draft.case.title) == (["anna"], "Load of 2026-07-01")
    assert draft.data == {"changes": [{"what": "comment_added", "text": "2026-07-01"}]}
    assert draft.occurred_at == datetime(2026, 7, 1, 8, tzinfo=UTC)


def test_what_renders_to_nothing_is_not_given() -> None:
    """A field whose Jinja renders to nothing counts as not given."""
    blank = "{{ params.nothing | default('') }}"
    operator = NotifyOperator(
        task_id="tell", kind="case_received", recipients="anna", case=blank, actor=blank, occurred_at=blank,
        idempotency_key=blank,
    )  # fmt: skip
    operator.render_template_fields(context())
    draft, faults = read_event({name: getattr(operator, name) for name in EVENT_FIELDS})
    assert faults == []
    assert (draft.case, draft.actor, draft.occurred_at, draft.idempotency_key) == (None, None, None, None)


# --- NotifyOperator: publishing --------------------------------------------------------------------------------------


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the operator publishes; there is no database here."""
    calls: list[dict[str, Any]] = []

    def publish_fields(fields: dict[str, Any], *, origin: Origin) -> Published:
        calls.append({**fields, "origin": origin})
        if fields["recipients"] is None:
            raise InvalidEvent([Fault("recipients", "is empty"), Fault("case.title", "has a line break")])
        return Published(5, len(calls) > 1, 2, 1, {"never": 3})

    monkeypatch.setattr("notify.publishing.publish_fields", publish_fields)
    return calls


def test_publish(published: list[dict[str, Any]]) -> None:
    """All fields reach the door, with the origin, and the answer is what XCom can carry."""
    operator = NotifyOperator(task_id="tell", kind="case_received", recipients="anna", case="7", actor="bob")
    assert operator.execute(context()) == {
        "event_id": 5,
        "duplicate": False,
        "mails": 2,
        "waiting": 1,
        "refused": {"never": 3},
    }
    [fields] = published
    assert set(fields) == {*EVENT_FIELDS, "origin"}
    assert (fields["kind"], fields["recipients"], fields["case"], fields["actor"]) == (
        "case_received",
        "anna",
        "7",
        "bob",
    )
    assert fields["origin"] == Origin("invoices", RUN_ID, "tell", -1)
    assert fields["idempotency_key"] == OWN_KEY


@pytest.mark.parametrize(
    ("own", "used"), [("mine", "mine"), (" mine ", "mine"), (None, OWN_KEY), ("", OWN_KEY), (" ", OWN_KEY)]
)
def test_own_key_comes_first(published: list[dict[str, Any]], own: str | None, used: str) -> None:
    """A key of the author's own is used; one left blank is none."""
    NotifyOperator(task_id="tell", kind="k", recipients="anna", idempotency_key=own).execute(context())
    assert published[0]["idempotency_key"] == used


def test_mapped_tasks_have_different_keys(published: list[dict[str, Any]]) -> None:
    """Each mapped task publishes an event of its own."""
    for map_index in (0, 1):
        NotifyOperator(task_id="tell", kind="k", recipients="anna").execute(context(map_index))
    assert len({fields["idempotency_key"] for fields in published}) == 2


def test_key_of_another_task(published: list[dict[str, Any]]) -> None:
    """Nobody can take the key that a task has by default, and so swallow its event."""
    operator = NotifyOperator(task_id="tell", kind="k", recipients="anna", idempotency_key=" task:x")
    with pytest.raises(AirflowFailException, match="idempotency_key: begins with 'task:'"):
        operator.execute(context())
    assert published == []


def test_retry_says_duplicate(published: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    """A task that runs again publishes under the same key, and says that nothing was added."""
    operator = NotifyOperator(task_id="tell", kind="k", recipients="anna")
    with caplog.at_level(logging.INFO):
        first, second = operator.execute(context()), operator.execute(context())
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert published[0]["idempotency_key"] == published[1]["idempotency_key"]
    assert "event 5 published: 2 mails, 1 put aside, 3 refused" in caplog.text
    assert "event 5 was published before: 2 mails, 1 put aside, 3 refused" in caplog.text


def test_faults_fail_for_good(published: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    """A faulty event fails its task without retries, every fault in the error and in the log."""
    with pytest.raises(AirflowFailException) as caught:
        NotifyOperator(task_id="tell", kind="k", recipients=None, retries=3).execute(context())
    for fault in ("recipients: is empty", "case.title: has a line break"):
        assert fault in str(caught.value)
        assert fault in caplog.text


def test_other_errors_may_be_retried(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What is not the event's fault fails the task in the ordinary way: a retry may help. Its text is logged."""

    def refuse(*_: object, **__: object) -> Published:
        raise ConfigurationError("There is no connection notify_db.")

    monkeypatch.setattr("notify.publishing.publish_fields", refuse)
    with pytest.raises(ConfigurationError):
        NotifyOperator(task_id="tell", kind="k", recipients="anna").execute(context())
    assert "There is no connection notify_db." in caplog.text


# --- UserNotificationsOperator ---------------------------------------------------------------------------------------


@pytest.fixture
def mergers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the operator runs; there is neither a database nor any Variable here."""
    made: list[Any] = []
    monkeypatch.setattr("notify.witness.require_original", lambda _engine: None)

    class Merger(SimpleNamespace):
        outcome: Any = MergeResult(
            people=3, moved=1, digests=2, in_digests=7, waiting=4, reasons={"never": 1}, closed=1
        )

        def run(self) -> MergeResult:
            made.append(self)
            if callable(self.outcome):
                self.outcome(self)
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome if isinstance(self.outcome, MergeResult) else MergeResult()

    monkeypatch.setattr("notify.merge.Merger", Merger)
    monkeypatch.setattr("notify.settings.database_url", lambda: "postgresql://nowhere/outbox")
    monkeypatch.setattr("notify.settings.hand_over_settings", lambda: "settings")
    made.append(Merger)
    return made


def test_merge(mergers: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """The run is told in numbers, for people in the log and for programs as XCom, and ascribed to its task."""
    with caplog.at_level(logging.INFO):
        answer = UserNotificationsOperator(task_id="merge").execute(context())
    assert answer["people"] == 3
    assert (answer["moved"], answer["digests"], answer["in_digests"], answer["waiting"]) == (1, 2, 7, 4)
    assert answer["reasons"] == {"never": 1}
    assert "3 people, 1 moved as they are, 7 in 2 digests, 1 closed (1 never), 4 waiting; nothing more" in caplog.text
    [_, run] = mergers
    assert (run.settings, run.origin) == ("settings", Origin("invoices", RUN_ID, "tell", -1))
    assert str(run.engine.url.database) == "outbox"


def test_failed_merge(mergers: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """Where something is wrong with somebody, the task fails and says so; a retry may help."""
    mergers[0].outcome = MergeFailed("What 1 people have due could not be moved")
    with pytest.raises(MergeFailed):
        UserNotificationsOperator(task_id="merge").execute(context())
    assert "What 1 people have due could not be moved" in caplog.text


def test_interrupt_is_polite(mergers: list[Any]) -> None:
    """SIGINT, with which Airflow ends a task, raises the run's flag; afterwards it means what it did before."""
    before = signal.getsignal(signal.SIGINT)
    seen: list[bool] = []

    def interrupted(run: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        seen.append(run.stop.wait(10))

    mergers[0].outcome = staticmethod(interrupted)
    UserNotificationsOperator(task_id="merge").execute(context())
    assert seen == [True]
    assert signal.getsignal(signal.SIGINT) == before


def test_kill_is_polite(mergers: list[Any]) -> None:
    """A task that is to end finishes the batch that it is at: it only raises its flag."""
    operator = UserNotificationsOperator(task_id="merge")
    operator.on_kill()
    operator.execute(context())
    assert mergers[1].stop.is_set()


def test_in_a_thread(mergers: list[Any]) -> None:
    """Where no signals can be had, as in a thread of a test run, it works without."""
    answers: list[Any] = []
    operator = UserNotificationsOperator(task_id="merge")
    thread = threading.Thread(target=lambda: answers.append(operator.execute(context())))
    thread.start()
    thread.join(30)
    assert answers[0]["people"] == 3


def test_dag_can_be_copied() -> None:
    """Airflow copies a DAG deeply, with its tasks, when it takes a part of it; no lock may stand in the way."""
    with DAG("UserNotifications", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        operator = UserNotificationsOperator(task_id="merge")
        NotifyOperator(task_id="tell", kind="k", recipients="anna")
    assert dag.partial_subset("merge").task_ids == ["merge"]
    copied = copy.deepcopy(dag).get_task("merge")
    copied.on_kill()
    assert not operator._stop.is_set()
