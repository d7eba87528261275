"""What page and API share of campaigns: how one stands, and what becomes of what it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models import Log
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from notify.channels.memory import MemoryChannel
from notify.domain.campaign import CampaignAction, CampaignStatus, Fate
from notify.exceptions import CampaignError
from notify.settings import HandOverSettings
from notify.storage import campaign_messages
from notify.web import campaigns
from notify.web.campaigns import CampaignView, Wish
from notify.web.outbox import reading
from tests.mailing import SENDER, Mailing, csv_of
from tests.metadata import add_dag

USER = SimpleAuthManagerUser(username="anna", role="user")


@pytest.fixture
def mailing(
    engine: Engine, hand_over_settings: HandOverSettings, outbox: URL, metadata: Session, airflow: object
) -> Mailing:
    """Somebody who writes campaigns; Notifications runs in two minutes."""
    add_dag(metadata, "Notifications", next_dagrun_create_after=datetime.now(UTC) + timedelta(minutes=2))
    return Mailing(engine, hand_over_settings)


def see(number: int) -> CampaignView:
    with reading() as connection:
        return campaigns.view(connection, number)


def recorded(metadata: Session) -> list[tuple[str, str | None, str | None]]:
    metadata.rollback()
    query = sa.select(Log.event, Log.owner, Log.extra).where(Log.event.startswith("notify.")).order_by(Log.id)
    return [tuple(row) for row in metadata.execute(query)]


def test_from_draft_to_done(mailing: Mailing) -> None:
    """A view says in every state how far a campaign is, when it is over, and what can be done."""
    number = mailing.write(csv=csv_of(3) + "\nnobody,Nobody", recipients=["typed@example.com"])
    draft = see(number)
    assert (draft.typed, draft.rows, draft.sender, draft.progress.created) == (1, 4, SENDER, 0)
    assert draft.outlook == campaigns.Outlook()
    assert set(draft.actions) == {"edit", "generate", "cancel", "refresh", "delete"}
    mailing.edit(number, message="Come and see.", subject="Hello")
    mailing.generate(number)
    generated = see(number)
    assert "send" in generated.actions
    assert generated.left_out == {Fate.INVALID: ["row 5"]}
    assert generated.outlook.expected
    campaigns.act(USER, "page", number, CampaignAction.SEND)
    sending = see(number)
    assert sending.progress.states == {"queued": 4}
    assert sending.outlook.expected == generated.outlook.expected
    assert "delete" not in sending.actions
    campaigns.act(USER, "page", number, CampaignAction.PAUSE)
    assert see(number).outlook.why == "it is paused"
    campaigns.act(USER, "page", number, CampaignAction.RESUME)
    mailing.drain(MemoryChannel())
    mailing.follow(number)
    done = see(number)
    assert (done.campaign.status, done.actions, done.outlook) == (CampaignStatus.DONE, (), campaigns.Outlook())


def test_what_cannot_be_told(mailing: Mailing, metadata: Session) -> None:
    """Where Notifications does not come, or the pool has no slots, the view says why."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    mailing.do(
        "insert into notify.senders (sender, hourly_limit) values ('smtp_default', 0) "
        "on conflict (sender) do update set hourly_limit = 0"
    )
    assert see(number).outlook.why == "the pool smtp_default has 0 slots, which holds everything"
    metadata.execute(sa.text("update dag set is_paused = true"))
    metadata.commit()
    outlook = see(number).outlook
    assert (outlook.why, outlook.stuck) == ("Notifications is paused", True)


def test_who_did_it(mailing: Mailing, metadata: Session) -> None:
    """The history of the messages and Airflow's audit log say who told a campaign what, and by what door."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    later = datetime(2041, 5, 6, 7, 8, tzinfo=UTC)
    campaigns.act(USER, "API", number, CampaignAction.SEND, Wish(send_after=later))
    assert mailing.rows("select distinct actor from notify.message_events") == [("anna (API)",)]
    with pytest.raises(CampaignError):
        campaigns.act(USER, "API", number, CampaignAction.SEND)
    campaigns.act(USER, "page", number, CampaignAction.CANCEL)
    assert recorded(metadata) == [
        ("notify.send_campaign", "anna", f'{{"campaign": {number}, "send_after": "{later.isoformat()}"}}'),
        ("notify.cancel_campaign", "anna", f'{{"campaign": {number}}}'),
    ]


def test_a_run_is_asked_for(mailing: Mailing, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a request has no time for, and what is to be made, is a run's: it is asked for at once, and only then."""
    add_dag(metadata, "MassMailing")
    monkeypatch.setattr(campaign_messages, "MOST", 1)
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    campaigns.act(USER, "API", number, CampaignAction.SEND)
    campaigns.act(USER, "API", number, CampaignAction.PAUSE)
    asked: list[str] = []
    monkeypatch.setattr("notify.web.campaigns.trigger_mass_mailing", lambda user: asked.append(user.get_name()))
    campaigns.act(USER, "API", number, CampaignAction.RESUME)
    assert asked == []
    monkeypatch.setattr(campaigns, "BUDGET", timedelta(0))
    campaigns.act(USER, "API", number, CampaignAction.PAUSE)
    assert asked == ["anna"]
    assert mailing.progress(number).states == {"held": 1, "queued": 2}
    second = mailing.write(csv=csv_of(3))
    campaigns.act(USER, "API", second, CampaignAction.GENERATE)
    assert asked == ["anna", "anna"]


def test_deleted(mailing: Mailing) -> None:
    """What was never sent can be forgotten, with its messages."""
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    assert campaigns.act(USER, "page", number, CampaignAction.DELETE) is None
    assert mailing.rows("select count(*) from notify.messages") == [(0,)]
