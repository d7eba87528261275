"""Campaigns as files on the command line, where Airflow's own commands work as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from notify.cli.database import user
from notify.settings import HandOverSettings
from tests.mailing import PLAIN, Mailing, csv_of
from tests.web import test_campaigns_cli
from tests.web.test_campaigns_cli import Command, done, logged, refused

campaigns = test_campaigns_cli.campaigns


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Campaigns in the outbox."""
    return Mailing(engine, hand_over_settings)


@pytest.mark.parametrize("end", ["json", "jsonl", "csv"])
def test_there_and_back(campaigns: Command, mailing: Mailing, metadata: Session, tmp_path: Path, end: str) -> None:
    """A file is what its name says; it comes back as drafts, once; the audit log says who took and who brought it."""
    mailing.write(csv=csv_of(2))
    mailing.write(description="Autumn sale")
    file = tmp_path / f"sales.{end}"
    assert done(campaigns("export", "--output", file)) == f"2 campaigns are in {file}.\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "There is a file" in refused(campaigns("export", "--output", file))
    tried = done(campaigns("import", file, "--dry-run"))
    assert tried == "It would be stored: Autumn sale\nIt would be stored: Spring sale\n"
    assert mailing.rows("select count(*) from notify.campaigns") == [(2,)]
    said = done(campaigns("import", file)).splitlines()
    autumn, spring = [int(line.split()[1]) for line in said]
    assert said == [f"Campaign {autumn} is a draft: Autumn sale", f"Campaign {spring} is a draft: Spring sale"]
    assert mailing.rows("select count(*) from notify.campaign_rows where campaign_id = :id", id=spring) == [
        (0 if end == "csv" else 2,)
    ]
    assert done(campaigns("import", file)).startswith(f"Campaign {autumn} is the same already: Autumn sale\n")
    recipients = end != "csv"
    about = {"door": "cli", "format": end, "bodies": True, "recipients": recipients, "filters": {}}
    imported = {"door": "cli", "imported": True}
    assert logged(metadata) == [
        ("export_campaigns", user(), about),
        ("create_campaign", user(), {**imported, "campaign": autumn}),
        ("create_campaign", user(), {**imported, "campaign": spring}),
    ]
    assert mailing.read(autumn).created_by == f"{user()} (command line)"


def test_which(campaigns: Command, mailing: Mailing) -> None:
    """Campaigns are named, or filtered as in a list; the newest first; one that is not there is no file."""
    first, second = mailing.write(csv=csv_of(1)), mailing.write(classification="north")
    mailing.tell("cancel", first)

    def found(*given: object) -> list[int]:
        return [one["id"] for one in json.loads(done(campaigns("export", *given)))]

    assert found() == [second, first]
    assert found(first) == [first]
    assert found("--status", "cancelled") == [first]
    assert found("--find", "NORTH") == [second]
    assert found("--find", "south") == []
    assert "There is no campaign 99" in refused(campaigns("export", first, 99))
    assert "not both" in refused(campaigns("export", first, "--find", "north"))


def test_recipients(campaigns: Command, mailing: Mailing) -> None:
    """Recipients can be left out, and cannot be had as CSV."""
    mailing.write(csv=csv_of(1), attachments=[{"filename": "a.txt", "content": b"a"}])
    [whole] = json.loads(done(campaigns("export")))
    assert whole["rows"] == [{"recipient": "r1@example.com", "fields": {"first_name": "Name1"}}]
    [less] = json.loads(done(campaigns("export", "--no-recipients")))
    assert less == {name: value for name, value in whole.items() if name != "rows"}
    assert "CSV has no room" in refused(campaigns("export", "--format", "csv", "--recipients"))
    text = done(campaigns("export", "--format", "csv", "--bom", "--no-recipients"))
    assert text.startswith("\ufeffid,status,")
    assert "r1@example.com" not in text


def test_refused(campaigns: Command, mailing: Mailing, metadata: Session, tmp_path: Path) -> None:
    """What is wrong with a file is told by campaign and field, and nothing of it is stored, nor put down."""
    file = tmp_path / "sales.json"
    file.write_text(json.dumps([PLAIN, {**PLAIN, "reply_to": "nobody"}]))
    for more in ((), ("--dry-run",)):
        assert "campaigns[1].reply_to" in refused(campaigns("import", file, *more))
    assert "is no CSV" in refused(campaigns("import", file, "--format", "csv"))
    assert "say --format" in refused(campaigns("import", tmp_path / "sales"))
    assert "cannot be read" in refused(campaigns("import", tmp_path / "none.json"))
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]
    assert logged(metadata) == []
    file.write_text("[]")
    assert done(campaigns("import", file)) == f"{file} has no campaigns.\n"
