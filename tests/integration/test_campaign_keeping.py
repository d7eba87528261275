"""What Housekeeping leaves of campaigns."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine

from notify.channels.memory import MemoryChannel
from notify.erasing import erase
from notify.housekeeping import Housekeeper, HousekeepingResult
from notify.settings import HandOverSettings
from notify.storage import campaign_keeping
from tests.mailing import Mailing, csv_of

TABLES = ("campaigns", "campaign_rows", "campaign_recipients", "campaign_attachments", "messages", "attachments")
FILE = [{"filename": "a.txt", "content": "a"}]


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings, monkeypatch: pytest.MonkeyPatch) -> Mailing:
    """Somebody who writes campaigns, beside a Housekeeping whose batches are small."""
    monkeypatch.setattr(campaign_keeping, "SIZE", 2)
    return Mailing(engine, hand_over_settings)


def sent(mailing: Mailing) -> int:
    """A campaign that is done."""
    number = mailing.write(csv=csv_of(5), attachments=FILE)
    mailing.generate(number)
    mailing.tell("send", number)
    mailing.drain(MemoryChannel())
    mailing.follow(number)
    return number


def age(mailing: Mailing, days: int) -> None:
    """Let time pass for all that there is."""
    moments = {
        "campaigns": ("ended_at",),
        "messages": ("created_at", "sent_at", "not_before"),
        "message_events": ("at",),
        "attempts": ("claimed_at", "begun_at", "ended_at"),
        "contents": ("created_at",),
    }
    for table, names in moments.items():
        changes = ", ".join(f"{name} = {name} - interval '{days} days'" for name in names)
        mailing.do(f"update notify.{table} set {changes}")


def clean(mailing: Mailing) -> HousekeepingResult:
    return Housekeeper(mailing.engine).run()


def sizes(mailing: Mailing) -> dict[str, int]:
    return {table: mailing.rows(f"select count(*) from notify.{table}")[0][0] for table in TABLES}


def test_what_is_over(mailing: Mailing) -> None:
    """Recipients go with the texts of the messages, and the campaign with the last of its messages' rows."""
    sent(mailing)
    age(mailing, 100)
    first = clean(mailing)
    assert (first.campaign_rows, first.campaigns) == (5, 0)
    assert sizes(mailing) == dict.fromkeys(TABLES, 1) | {"campaign_rows": 0, "campaign_recipients": 5, "messages": 5}
    age(mailing, 700)
    assert clean(mailing).campaigns == 1
    clean(mailing)  # the file was still the campaign's when files were looked at
    assert sizes(mailing) == dict.fromkeys(TABLES, 0)


def test_what_is_not(mailing: Mailing) -> None:
    """Nothing is removed of a campaign that is not over, however old it is, nor of one that has just ended."""
    number = mailing.write(csv=csv_of(3), attachments=FILE)
    mailing.generate(number)
    age(mailing, 1_000)
    sent(mailing)
    before = sizes(mailing)
    assert clean(mailing).counts == "nothing"
    assert sizes(mailing) == before


def test_erased(mailing: Mailing) -> None:
    """Who is erased stands in no list of recipients any more, gets nothing of a campaign, and comes back into none."""
    lines = [csv_of(3), "r4@example.com,see R1@example.com"]
    number = mailing.write(csv="\n".join(lines))
    mailing.generate(number)
    erased = erase(mailing.engine, "r1@example.com", region=lambda: "")
    assert (erased.left, erased.cancelled) == ({}, 1)
    others = [f"r{n}@example.com" for n in (2, 3, 4)]
    assert mailing.rows("select array_agg(recipient order by number) from notify.campaign_rows") == [(others,)]
    assert not mailing.rows("select 1 from notify.campaign_rows where fields::text ilike '%r1@example%'")
    mailing.tell("send", number)
    channel = MemoryChannel()
    mailing.drain(channel)
    assert sorted(mail.recipients[0] for mail in channel.outbox) == others


def test_erased_however_they_are_written(mailing: Mailing) -> None:
    """A row goes with all its fields however its author wrote the mailbox or the number; who is called alike stays."""
    mailing.write(csv='email,city\nAnna Nowak <Anna@Example.com>,Warsaw\n"joanna@example.com",Lodz\n')
    mailing.write(
        channel="sms",
        subject=None,
        message="Hello",
        csv="phone,city\n0903 622 237,Warsaw\n00421-903-622237,Warsaw\n+421 905 622 237,Lodz\n",
    )
    erase(mailing.engine, "anna@example.com", region=lambda: "SK")
    erase(mailing.engine, "+421903622237", region=lambda: "SK")
    assert mailing.rows("select recipient, fields ->> 'city' from notify.campaign_rows order by campaign_id") == [
        ("joanna@example.com", "Lodz"),
        ("+421 905 622 237", "Lodz"),
    ]


def test_erased_as_author_and_as_member(mailing: Mailing) -> None:
    """Neither who wrote a campaign nor where a member of a group stands tells the login of who is erased."""
    mailing.do("insert into notify.people (login, email, name, active) values ('anna', null, 'Anna', true)")
    mailing.do("insert into notify.groups (name) values ('readers')")
    mailing.do("insert into notify.memberships (group_name, login) values ('readers', 'anna')")
    number = mailing.write(groups=["readers"], recipients=["r1@example.com"], message="Hello", subject="Hello")
    mailing.do("update notify.campaigns set created_by = 'anna (API)'")
    mailing.generate(number)
    told = "select created_by from notify.campaigns union all select place from notify.campaign_recipients order by 1"
    assert [one for (one,) in mailing.rows(told)] == ["anna", "anna (API)", "typed 1"]
    erase(mailing.engine, "anna", region=lambda: "")
    assert not [one for (one,) in mailing.rows(told) if "anna" in one]
