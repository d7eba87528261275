"""The operators of campaigns, with connections and Variables as Airflow hands them out, on a real database."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization
from sqlalchemy.engine import URL, Engine

from notify.campaigns.generating import GeneratingResult
from notify.campaigns.ordering import Wish
from notify.domain.campaign import CampaignDraft, CampaignStatus
from notify.domain.identity import Mark
from notify.exceptions import CampaignError, GeneratingFailed, NoSuchCampaign, RestoredCopy
from notify.operators import CampaignActionOperator, CampaignOperator, MassMailingOperator
from notify.operators.campaigns import CAMPAIGN_FIELDS
from notify.settings import HandOverSettings
from notify.storage import identity
from tests.mailing import PLAIN, Mailing, csv_of

#: For the form's text fields: what no text column, no header and no file can have.
HOSTILE = ("\x00", "a\nb", "\ud800", 5, ["a"], {"a": 1})


@pytest.fixture
def mailing(engine: Engine, notify_db: URL, hand_over_settings: HandOverSettings) -> Mailing:
    """Campaigns in the outbox that Airflow's connection leads to."""
    return Mailing(engine, hand_over_settings)


class TaskInstance(SimpleNamespace):
    """A task that keeps what it is told to leave behind."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Leave it."""
        self.left = {key: value}


def context(params: dict[str, Any] | None = None, *, by: str | None = None, map_index: int = -1) -> Any:
    """What a task sees of its run, as far as we look."""
    ti = TaskInstance(dag_id="sales", run_id="manual__1", task_id="order", map_index=map_index)
    return {"ti": ti, "params": params or {}, "dag_run": SimpleNamespace(triggering_user_name=by), "ds": "2026-07-01"}


def order(about: Any = None, **fields: Any) -> dict[str, Any]:
    """Order a campaign of two."""
    operator = CampaignOperator(task_id="order", **{**PLAIN, "csv": csv_of(2), **fields})
    operator.render_template_fields(about or context())
    return operator.execute(about or context())


def mass_mailing(about: Any = None) -> dict[str, Any]:
    """Run MassMailing."""
    done = MassMailingOperator(task_id="MassMailing").execute(about or context())
    assert json.loads(json.dumps(done)) == done
    return done


# --- CampaignOperator: its fields ------------------------------------------------------------------------------------


def test_the_fields_are_those_of_a_campaign() -> None:
    """The operator takes all that an author may write and may want, and each is a template field."""
    assert tuple(CampaignOperator.template_fields) == CAMPAIGN_FIELDS
    assert set(CAMPAIGN_FIELDS) == {*CampaignDraft.model_fields, *Wish.model_fields}


def test_fields_are_rendered_but_for_personal_ones() -> None:
    """Airflow fills in what it knows of the run; the recipients' own fields stay as the author wrote them."""
    operator = CampaignOperator(
        task_id="order",
        description="Sale of {{ ds }}",
        subject="Hello {{ first_name }}",
        message="Dear {{ first_name }}, until {{ day }}.",
        data={"day": "{{ ds }}"},
        query="select * from buyers where day = '{{ ds }}'",
    )
    operator.render_template_fields(context())
    assert operator.description == "Sale of 2026-07-01"
    assert (operator.subject, operator.message) == (
        "Hello {{ first_name }}", "Dear {{ first_name }}, until {{ day }}.",
    )  # fmt: skip
    assert operator.data == {"day": "2026-07-01"}
    assert "'2026-07-01'" in operator.query


def test_a_text_that_another_task_makes() -> None:
    """What a task returns can be the message; it is upstream then, and the DAG does not change by itself."""

    @task
    def write() -> str:
        return "Dear {{ first_name }}."

    def dag() -> DAG:
        with DAG("sales", schedule=None) as made:
            CampaignOperator(task_id="order", description="Sale", subject="Hi {{ name }}", message=write())
        return made

    assert dag().task_dict["order"].upstream_task_ids == {"write"}
    first, second = (json.dumps(DagSerialization.to_dict(dag())) for _ in range(2))
    assert first == second
    assert "0x" not in first


def test_mapped() -> None:
    """Of a mapped task each instance has its own fields, personal ones untouched."""
    with DAG("sales", schedule=None):
        mapped = CampaignOperator.partial(task_id="order", subject="Hi {{ name }}").expand(description=["a", "b"])
    made = mapped.unmap({"description": "a"})
    made.render_template_fields(context())
    assert (made.description, made.subject) == ("a", "Hi {{ name }}")


# --- CampaignOperator: what it does ----------------------------------------------------------------------------------


def test_ordered(mailing: Mailing, caplog: pytest.LogCaptureFixture) -> None:
    """A task stores a campaign and asks for its messages, in its own name; nothing is sent of it by itself."""
    with caplog.at_level(logging.INFO):
        answer = order()
    assert answer == {"campaign": answer["campaign"], "status": "generating", "duplicate": False}
    assert f"campaign {answer['campaign']} is stored; the next run of MassMailing" in caplog.text
    campaign = mailing.read(answer["campaign"])
    assert (campaign.created_by, campaign.send_when_generated) == ("sales.order", False)
    assert mass_mailing()["generated"][0]["created"] == 2
    assert mailing.progress(campaign.id).states == {"held": 2}


def test_a_task_that_runs_again_orders_nothing(mailing: Mailing) -> None:
    """A retried or cleared task returns the campaign that it ordered, wherever that is by now; another orders anew."""
    first = order(send=True)
    mass_mailing()
    assert order(send=True) == {"campaign": first["campaign"], "status": "sending", "duplicate": True}
    assert mailing.progress(first["campaign"]).created == 2
    assert order(context(map_index=1))["campaign"] != first["campaign"]
    assert order(idempotency_key="sale-2027")["campaign"] == order(idempotency_key="sale-2027")["campaign"]


def test_sent_as_soon_as_made(mailing: Mailing) -> None:
    """With `send` the same run of MassMailing puts the messages into the queue, due when the author said."""
    now = order(send=True)["campaign"]
    later = order(context(map_index=1), send="True", send_after="PT2H")["campaign"]
    done = mass_mailing()
    assert {(one["campaign"], one["moved"], one["status"]) for one in done["followed"]} == {
        (now, 2, "sending"),
        (later, 2, "sending"),
    }
    due = mailing.rows(
        "select campaign_id, bool_and(not_before > now() + interval '119 minutes') from notify.messages "
        "where status = 'queued' group by 1 order by 1"
    )
    assert due == [(now, False), (later, True)]


def test_faults_are_told_together(mailing: Mailing, caplog: pytest.LogCaptureFixture) -> None:
    """All that is wrong stands in one error, no retry repeats it, and nothing is stored."""
    with pytest.raises(AirflowFailException) as told:
        order(description="", groups="ghosts", send_after="PT1H", csv_uri="file:///etc/passwd")
    for field in ("description", "csv_uri", "send_after"):
        assert f"* {field}" in str(told.value)
    with pytest.raises(AirflowFailException, match=r"groups: there is no group 'ghosts'"):
        order(groups="ghosts", send_after="PT1H")
    with pytest.raises(AirflowFailException, match=r"send_after: is of use only with send"):
        order(send_after="PT1H")
    with pytest.raises(AirflowFailException, match="idempotency_key: begins with 'task:'"):
        order(idempotency_key="task:mine")
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]
    assert "* description" in caplog.text


@pytest.mark.parametrize("field", ["csv_uri", "idempotency_key", "send", "send_after"])
def test_hostile_wishes(mailing: Mailing, field: str) -> None:
    """Whatever somebody puts into what is wanted beside, it is refused by the field's name."""
    for value in HOSTILE:
        with pytest.raises(AirflowFailException, match=rf"\* {field}: "):
            from_form({**FORM, **PLAIN, "csv": csv_of(1), "idempotency_key": "1", field: value})
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]


def test_a_file_of_recipients(mailing: Mailing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Recipients may lie in object storage where attachments may; not elsewhere, and as text in UTF-8."""
    file = tmp_path / "allowed" / "buyers.csv"
    file.parent.mkdir()
    file.write_bytes("\ufeffemail,first_name\nzoe@example.com,Zoë\n".encode())
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_ATTACHMENT_SOURCES", json.dumps([f"file://{file.parent}"]))
    number = order(csv=None, csv_uri=f"file://{file}")["campaign"]
    assert mass_mailing()["generated"][0]["created"] == 1
    assert mailing.rows("select subject from notify.messages where campaign_id = :id", id=number) == [("Hello Zoë",)]
    file.write_bytes(b"email\n\xff@example.com\n")
    with pytest.raises(AirflowFailException, match=r"csv_uri: .*is no text in UTF-8, from byte 6 on"):
        order(context(map_index=1), csv=None, csv_uri=f"file://{file}")
    with pytest.raises(AirflowFailException, match=r"csv_uri: .*may not be read"):
        order(context(map_index=1), csv=None, csv_uri="file:///etc/passwd")
    file.unlink()
    assert order(csv=None, csv_uri=f"file://{file}") == {"campaign": number, "status": "generated", "duplicate": True}


def test_a_file_that_is_too_large(mailing: Mailing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a file that has more than may be read, the task says so, and reads no more of it."""
    file = tmp_path / "buyers.csv"
    file.write_bytes(b"x" * 10_000_001)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_ATTACHMENT_SOURCES", json.dumps([f"file://{tmp_path}"]))
    with pytest.raises(AirflowFailException, match="has more than 10,000,000 bytes"):
        order(csv=None, csv_uri=f"file://{file}")


# --- CampaignOperator: from the form ---------------------------------------------------------------------------------

FORM = {name: getattr(CampaignOperator(task_id="x"), name) for name in CAMPAIGN_FIELDS}


def from_form(params: dict[str, Any], by: str | None = "anna") -> dict[str, Any]:
    """Run the task of MassMailing that orders."""
    operator = CampaignOperator(task_id="order", from_params=True)
    operator.render_template_fields(context(params, by=by))
    return operator.execute(context(params, by=by))


@pytest.mark.parametrize("params", [{}, FORM, {**FORM, "description": "", "recipients": [], "data": {}}], ids=str)
def test_a_form_that_nobody_filled_in(mailing: Mailing, params: dict[str, Any]) -> None:
    """A run by the clock, or with the form as it came, orders nothing and is skipped."""
    with pytest.raises(AirflowSkipException, match="nothing is filled in"):
        from_form(params)
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]


def test_a_form(mailing: Mailing) -> None:
    """What stands in the form is taken as it is, in the name of who triggered the run; a slip is refused."""
    given = {**FORM, **PLAIN, "subject": "{{ first_name }}, {{ recipient.address }}", "csv": csv_of(1)}
    number = from_form(given)["campaign"]
    mass_mailing()
    assert mailing.rows("select subject from notify.messages") == [("Name1, r1@example.com",)]
    assert mailing.read(number).created_by == "anna (sales)"
    with pytest.raises(AirflowFailException, match="subjct: there is no such field"):
        from_form({"subjct": "Hi", "idempotency_key": "2"})
    with pytest.raises(AirflowFailException, match="description: "):
        from_form({**FORM, "send": True, "idempotency_key": "3"})


# --- MassMailingOperator ---------------------------------------------------------------------------------------------


def test_nothing_waits(mailing: Mailing, caplog: pytest.LogCaptureFixture) -> None:
    """A run that finds nothing says so."""
    mailing.write(csv=csv_of(1))  # a draft
    with caplog.at_level(logging.INFO):
        assert mass_mailing() == {"generated": [], "followed": []}
    assert "no campaign waits" in caplog.text


def test_one_that_cannot_be_made(mailing: Mailing, caplog: pytest.LogCaptureFixture) -> None:
    """The task is red for a campaign without recipients, and names it; the others are made, and its XCom is there."""
    order(csv="email,first_name\nnobody,Nobody", idempotency_key="1")
    order(idempotency_key="2", send=True)
    about = context()
    with pytest.raises(GeneratingFailed, match=r"campaign \d+: Of 1 recipients nobody gets it: 1 invalid"):
        mass_mailing(about)
    assert "nobody gets it" in caplog.text
    done = about["ti"].left["return_value"]
    assert [set(one) for one in done["generated"]] == [set(GeneratingResult.__dataclass_fields__)] * 2
    assert [one["status"] for one in done["generated"]] == ["draft", "sending"]
    assert [one["moved"] for one in done["followed"]] == [2]
    assert mass_mailing()["generated"] == []


def test_it_follows_where_nothing_can_be_made(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Variable that keeps all messages from being made keeps no campaign from being paused or ended."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    mailing.tell("send", number)
    mailing.do("update notify.campaigns set status = 'paused', unsettled = true")
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_CASE_URL", "nowhere")
    with pytest.raises(Exception, match="notify_case_url"):
        mass_mailing()
    assert mailing.progress(number).states == {"held": 2}


def test_far_and_farther(mailing: Mailing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A long run tells how far it is, while it makes messages and while it moves them."""
    monkeypatch.setattr("notify.progress.EVERY", 0.0)
    monkeypatch.setattr("notify.storage.campaign_messages.MOST", 2)
    number = order(csv=csv_of(5), send=True)["campaign"]
    with caplog.at_level(logging.INFO):
        mass_mailing()
    assert f"campaign {number}: 5 recipients read, 5 messages made" in caplog.messages
    for moved in (2, 4, 5):
        assert f"campaign {number}: {moved} messages moved" in caplog.messages


def test_a_copy_makes_nothing(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a restored copy the task is red, and no message is made or moved."""
    order(send=True)
    with mailing.engine.connect() as connection:
        ahead = Mark(identity.read(connection).id, 7)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(ahead))
    with pytest.raises(RestoredCopy, match="python -m notify db confirm"):
        mass_mailing()
    assert mailing.rows("select count(*) from notify.messages") == [(0,)]


def test_stopped_politely(mailing: Mailing) -> None:
    """A task that is to end begins no campaign; the next one does. It can be copied as Airflow copies DAGs."""
    order()
    operator = MassMailingOperator(task_id="MassMailing")
    operator.on_kill()
    assert operator.execute(context())["generated"] == []
    assert [one["created"] for one in mass_mailing()["generated"]] == [2]
    assert copy.deepcopy(MassMailingOperator(task_id="MassMailing")).task_id == "MassMailing"


# --- CampaignActionOperator ------------------------------------------------------------------------------------------


def tell(action: str, campaign: Any, **more: Any) -> dict[str, Any]:
    """Tell a campaign what to do."""
    operator = CampaignActionOperator(task_id="tell", action=action, campaign=campaign, **more)
    operator.render_template_fields(context())
    return operator.execute(context())


def test_told(mailing: Mailing) -> None:
    """A task sends, pauses, resumes and cancels a campaign, its messages follow; told again, it changes nothing."""
    number = order()["campaign"]
    mass_mailing()
    for action, status, moved in (
        ("send", "sending", 2),
        ("pause", "paused", 2),
        ("resume", "sending", 2),
        ("cancel", "cancelled", 2),
    ):
        assert tell(action, str(number)) == {"campaign": number, "status": status, "moved": moved}
        assert tell(action, number) == {"campaign": number, "status": status, "moved": 0}
    with pytest.raises(CampaignError, match="Copy it to begin anew"):
        tell("send", number)


def test_told_for_later(mailing: Mailing) -> None:
    """What is sent for later leaves no earlier; a time that is none is refused, with the field's name."""
    number = order()["campaign"]
    mass_mailing()
    with pytest.raises(AirflowFailException, match="send_after: must be a time with its zone"):
        tell("send", number, send_after="tomorrow")
    assert mailing.read(number).status is CampaignStatus.GENERATED
    tell("send", number, send_after="{{ '2099-01-01T08:00:00Z' }}")
    assert mailing.rows("select count(*) from notify.messages where not_before >= '2099-01-01'") == [(2,)]


def test_generated_again(mailing: Mailing) -> None:
    """A task may have the messages of a draft made."""
    number = mailing.write(csv=csv_of(1))
    assert tell("generate", number)["status"] == "generating"
    assert [one["campaign"] for one in mass_mailing()["generated"]] == [number]


def test_a_copy_is_told_nothing(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a restored copy a task that tells a campaign something is red, and the campaign stays as it is."""
    number = order()["campaign"]
    mass_mailing()
    with mailing.engine.connect() as connection:
        ahead = Mark(identity.read(connection).id, 7)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(ahead))
    with pytest.raises(RestoredCopy):
        tell("send", number)
    assert mailing.read(number).status is CampaignStatus.GENERATED


def test_told_nonsense(mailing: Mailing) -> None:
    """What is no action is refused when the DAG is parsed; what is no campaign, when the task runs."""
    with pytest.raises(ValueError, match="a task can tell a campaign to generate, send, pause, resume, cancel"):
        CampaignActionOperator(task_id="tell", action="delete", campaign=1)
    with pytest.raises(AirflowFailException, match="campaign: is 'None'; write its number"):
        tell("send", None)
    with pytest.raises(NoSuchCampaign):
        tell("send", 7)
