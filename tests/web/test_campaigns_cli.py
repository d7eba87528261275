"""Campaigns on the command line, where Airflow's own commands work as well: its audit log has what is done there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from notify import cli
from notify.channels.memory import MemoryChannel
from notify.cli.database import connect, user
from notify.domain.campaign import CampaignStatus
from notify.domain.identity import Mark
from notify.settings import HandOverSettings
from notify.storage import identity
from tests.mailing import PLAIN, Mailing, csv_of
from tests.metadata import add_dag

#: Arguments in; exit status, output and errors out.
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Campaigns in the outbox."""
    return Mailing(engine, hand_over_settings)


@pytest.fixture
def campaigns(
    outbox: URL, metadata: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """The command ``campaigns`` in this process."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main(["campaigns", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    yield run
    connect().dispose()  # one engine a process, which outlives the database


def done(answer: tuple[int, str, str]) -> str:
    """What a command said that was not refused."""
    status, out, errors = answer
    assert status == 0, errors
    return out


def refused(answer: tuple[int, str, str]) -> str:
    """What a command said that was."""
    status, out, errors = answer
    assert (status, out) == (1, "")
    return errors


def logged(session: Session) -> list[tuple[str, str, dict[str, Any]]]:
    """What the audit log has of us since it was looked at last."""
    session.rollback()
    lines = session.scalars(sa.select(Log).where(Log.event.startswith("notify.")).order_by(Log.id)).all()
    found = [(one.event.removeprefix("notify."), one.owner, json.loads(one.extra)) for one in lines]
    session.execute(sa.delete(Log))
    session.commit()
    return found


def written(tmp_path: Path, **fields: object) -> Path:
    """A file that tells a campaign."""
    file = tmp_path / "sale.json"
    file.write_text(json.dumps({**PLAIN, **fields}))
    return file


def test_the_whole_way(campaigns: Command, mailing: Mailing, metadata: Session, tmp_path: Path) -> None:
    """Created from files, generated here, sent, paused, resumed and cancelled; audit log and history say who."""
    rows = tmp_path / "buyers.csv"
    rows.write_text(csv_of(3), encoding="utf-8-sig")
    assert "Campaign 1 is a draft" in done(campaigns("create", written(tmp_path), "--csv", rows))
    said = done(campaigns("generate", 1, "--now"))
    assert said.startswith("campaign 1: 3 recipients read, 3 messages made; generated;")
    assert done(campaigns("send", 1)) == "Campaign 1 is sending; 3 messages moved.\n"
    mailing.drain(MemoryChannel(), limit=1)
    assert done(campaigns("pause", 1)) == "Campaign 1 is paused; 2 messages moved.\n"
    assert done(campaigns("resume", 1, "--at", "2099-01-01T08:00Z")) == "Campaign 1 is sending; 2 messages moved.\n"
    assert mailing.rows("select count(*) from notify.messages where not_before >= '2099-01-01'") == [(2,)]
    assert done(campaigns("cancel", 1)) == "Campaign 1 is cancelled; 2 messages moved.\n"
    by = {"door": "cli", "campaign": 1}
    assert logged(metadata) == [
        ("create_campaign", user(), by),
        ("generate_campaign", user(), by),
        ("send_campaign", user(), by),
        ("pause_campaign", user(), by),
        ("resume_campaign", user(), {**by, "send_after": "2099-01-01T08:00:00+00:00"}),
        ("cancel_campaign", user(), by),
    ]
    assert mailing.read(1).created_by == f"{user()} (command line)"
    actors = mailing.rows("select distinct actor from notify.message_events where to_status = 'cancelled'")
    assert actors == [(f"{user()} (command line)",)]


def test_generated_and_sent_at_once(campaigns: Command, mailing: Mailing) -> None:
    """With --now and --send all is done when the command ends; a file that names nobody is told, with status 1."""
    number = mailing.write(csv=csv_of(2))
    assert "Campaign 1 is sending; 2 messages moved." in done(campaigns("generate", number, "--now", "--send"))
    assert mailing.progress(number).states == {"queued": 2}
    nobody = mailing.write(csv="email\nnobody")
    status, out, errors = campaigns("generate", nobody, "--now")
    assert status == 1
    assert "0 messages made" in out
    assert "Campaign 2 is a draft again: Of 1 recipients nobody gets it" in errors


def test_left_to_a_run(campaigns: Command, mailing: Mailing, metadata: Session) -> None:
    """Without --now a run of MassMailing makes the messages; where none comes, both commands say why."""
    number = mailing.write(csv=csv_of(2))
    add_dag(metadata, "MassMailing", is_paused=True)
    said = done(campaigns("generate", number, "--send", "--at", "PT2H"))
    assert said == "The next run of MassMailing makes the messages of campaign 1; none comes: MassMailing is paused.\n"
    campaign = mailing.read(number)
    assert (campaign.status, campaign.send_when_generated) == (CampaignStatus.GENERATING, True)
    assert campaign.send_after is not None
    assert "generating, waits for a run of MassMailing; none comes: MassMailing is paused" in done(
        campaigns("show", number)
    )
    [(_, _, about)] = logged(metadata)
    assert about["send"] is True
    assert about["send_after"] == campaign.send_after.isoformat()


def test_shown(campaigns: Command, mailing: Mailing, metadata: Session) -> None:
    """Its figures, who was left out with where they stand, its end, and the commands that its state allows."""
    add_dag(metadata, "Notifications")
    mailing.do("insert into notify.suppressions (address, reason) values ('r1@example.com', 'bounced')")
    nobodies = "\n".join(f"nobody{number},x" for number in range(11))
    number = mailing.write(csv=f"{csv_of(4)}\n{nobodies}\nr4@example.com,Doubled")
    mailing.generate(number)
    said = done(campaigns("show", number))
    assert "Campaign 1: Spring sale\nState     generated\n" in said
    assert "Messages  3, 0 sent, 3 wait\n         3  held\n" in said
    assert "         1  suppressed: row 2\n" in said
    assert re.search(r"11  invalid: row 6, row 7, .*row 15 …\n", said)
    assert "         1  doubled\n" in said
    assert re.search(r"End       (at|after|about) .*Z if it is sent now\n", said)
    assert "Next      generate, send, cancel, refresh, delete, test, copy\n" in said
    mailing.tell("send", number)
    mailing.drain(MemoryChannel())
    mailing.follow(number)
    said = done(campaigns("show", number))
    assert "State     done since 20" in said
    assert "Last sent 20" in said
    assert "Next      test, copy\n" in said


def test_listed(campaigns: Command, mailing: Mailing) -> None:
    """The newest first, with how far each is; by state, and by a part of the description or classification."""
    assert done(campaigns("list")) == "There are no such campaigns.\n"
    mailing.write(csv=csv_of(2), classification="offers")
    second = mailing.write(csv=csv_of(2), description="Autumn")
    mailing.generate(second)
    lines = done(campaigns("list")).splitlines()
    assert [line.split() for line in lines] == [
        ["2", "generated", "0", "of", "2", "sent", "Autumn"],
        ["1", "draft", "no", "messages", "Spring", "sale"],
    ]
    assert done(campaigns("list", "--status", "draft", "--status", "done")).split()[0] == "1"
    assert done(campaigns("list", "--find", "OFFER")).split()[0] == "1"
    assert done(campaigns("list", "--limit", "1")).split()[0] == "2"


def test_tried_copied_refreshed_deleted(campaigns: Command, mailing: Mailing, metadata: Session) -> None:
    """A test goes to whom it is sent; a copy is a draft; what was not sent can be forgotten."""
    number = mailing.write(csv=csv_of(2))
    assert done(campaigns("test", number, "anna@example.com", "bob@example.com")).count("is in the queue") == 2
    assert mailing.rows("select distinct subject, priority from notify.messages") == [("[Test] Hello Name1", "urgent")]
    assert done(campaigns("copy", number)) == "Campaign 2 is a draft, written as 1.\n"
    assert "carries 0 files, put into 0 messages" in done(campaigns("refresh", number))
    assert done(campaigns("delete", number)) == "Campaign 1 is forgotten.\n"
    assert [event for event, _, _ in logged(metadata)] == [
        "test_campaign", "copy_campaign", "refresh_campaign", "delete_campaign",
    ]  # fmt: skip
    assert "There is no campaign 1." in refused(campaigns("show", number))


def test_a_copy_makes_nothing(campaigns: Command, mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a restored copy --now makes no message; what was asked for stands, for a run of the original's."""
    number = mailing.write(csv=csv_of(1))
    with mailing.engine.connect() as connection:
        ahead = Mark(identity.read(connection).id, 7)
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(ahead))
    assert "python -m notify db confirm" in refused(campaigns("generate", number, "--now"))
    assert mailing.rows("select count(*) from notify.messages") == [(0,)]


def test_refused(campaigns: Command, mailing: Mailing, metadata: Session, tmp_path: Path) -> None:
    """What cannot be done is refused with what can be, nothing is recorded of it; files are told by name."""
    number = mailing.write(csv=csv_of(1))
    assert "Generate its messages first" in refused(campaigns("send", number))
    assert "There is no campaign 9." in refused(campaigns("pause", 9))
    assert "--at is of use only with --send" in refused(campaigns("generate", number, "--at", "PT1H"))
    assert "must be a time with its zone" in refused(campaigns("generate", number, "--send", "--at", "soon"))
    assert "* recipients: " in refused(campaigns("test", number, "no address"))
    assert "groups: there is no group 'ghosts'" in refused(campaigns("create", written(tmp_path, groups="ghosts")))
    assert "subjct: there is no such field" in refused(campaigns("create", written(tmp_path, subjct="Hi")))
    (tmp_path / "list.json").write_text("[]")
    assert "holds no JSON object" in refused(campaigns("create", tmp_path / "list.json"))
    (tmp_path / "none.json").write_text("{")
    assert "is no JSON" in refused(campaigns("create", tmp_path / "none.json"))
    assert "cannot be read" in refused(campaigns("create", tmp_path / "missing.json"))
    assert logged(metadata) == []
    assert mailing.rows("select id, status from notify.campaigns") == [(number, "draft")]
