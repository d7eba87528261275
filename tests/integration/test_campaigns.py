"""Campaigns, from what their author writes to what has left, on a real database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.engine import Engine

from notify.campaigns import attaching
from notify.campaigns.stretch import MOST_BROKEN
from notify.channels.memory import MemoryChannel
from notify.domain.campaign import CampaignStatus
from notify.domain.message import Attachment
from notify.exceptions import CampaignError, InvalidCampaign, TransitionError
from notify.settings import HandOverSettings
from notify.storage import outbox
from tests.mailing import SENDER, Mailing, csv_of


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns."""
    return Mailing(engine, hand_over_settings)


def test_the_whole_way(mailing: Mailing) -> None:
    """A campaign is generated, then sent: each recipient gets their own text, once, and then it is done."""
    number = mailing.write(csv=csv_of(3))
    result = mailing.generate(number, stretch=2)
    assert (result.rows, result.created, result.status) == (3, 3, "generated")
    channel = MemoryChannel()
    mailing.drain(channel)
    assert not channel.outbox
    assert mailing.progress(number).states == {"held": 3}
    mailing.tell("send", number)
    assert mailing.progress(number).states == {"queued": 3}
    mailing.drain(channel)
    assert sorted((mail.to[0], mail.subject) for mail in channel.outbox) == [
        (f"r{n}@example.com", f"Hello Name{n}") for n in (1, 2, 3)
    ]
    followed = mailing.follow(number)
    assert followed.status is CampaignStatus.DONE
    progress = mailing.progress(number)
    assert (progress.sent, progress.waiting, progress.share) == (3, 0, 1.0)


def test_generated_again(mailing: Mailing) -> None:
    """Generating once more makes nothing twice; who is new gets a message, whoever has left has theirs taken back."""
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    again = mailing.generate(number)
    assert (again.created, again.kept) == (0, 3)
    mailing.do("delete from notify.campaign_rows where place = 2")
    mailing.do("update notify.campaign_rows set recipient = 'new@example.com' where place = 3")
    changed = mailing.generate(number)
    assert (changed.created, changed.kept, changed.left) == (1, 1, 2)
    assert mailing.progress(number).states == {"held": 2, "cancelled": 2}


def test_left_out(mailing: Mailing) -> None:
    """Who is doubled, suppressed, unsubscribed or no address gets none, and each is counted by the reason."""
    mailing.do("insert into notify.suppressions (address, reason) values ('r1@example.com', 'bounced')")
    mailing.do("insert into notify.unsubscriptions (address, scope, actor) values ('r2@example.com', 'bulk-mail', 'x')")
    lines = [csv_of(4), "R4@example.com,Doubled", "nobody,Nobody", "r3@example.com,Doubled"]
    number = mailing.write(csv="\n".join(lines))
    for stretch in (2, 1_000):
        mailing.generate(number, stretch=stretch)
        progress = mailing.progress(number)
        assert progress.left_out == {"suppressed": 1, "unsubscribed": 1, "invalid": 1, "doubled": 2}
        assert progress.states == {"held": 2}


def test_changed_after_it_was_generated(mailing: Mailing) -> None:
    """Whoever changes what a generated campaign says has its messages made anew; what was made before is gone."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    assert mailing.edit(number, subject="Other").status is CampaignStatus.DRAFT
    mailing.generate(number)
    assert mailing.rows("select distinct subject from notify.messages") == [("Other",)]
    assert mailing.rows("select count(*) from notify.messages") == [(2,)]


def test_recipients_are_changed_one_sort_at_a_time(mailing: Mailing) -> None:
    """Whoever types others keeps those of the file, and a new file leaves those who were typed."""
    number = mailing.write(csv=csv_of(2), recipients=["a@example.com"], message="Hi", subject="Hi")

    def rows() -> list[object]:
        return [one for [one] in mailing.rows("select recipient from notify.campaign_rows order by number")]

    mailing.edit(number, recipients=["b@example.com", "c@example.com"])
    assert rows() == ["b@example.com", "c@example.com", "r1@example.com", "r2@example.com"]
    mailing.edit(number, csv=csv_of(1, first=7))
    assert rows() == ["b@example.com", "c@example.com", "r7@example.com"]
    mailing.edit(number, description="Other")
    mailing.edit(number, recipients=None)
    assert rows() == ["r7@example.com"]
    mailing.edit(number, csv=None, recipients=["d@example.com"])
    assert rows() == ["d@example.com"]


def test_paused(mailing: Mailing) -> None:
    """What is paused does not leave, even before its messages have followed; resumed, all of it does, once each."""
    number = mailing.write(csv=csv_of(10))
    mailing.generate(number)
    mailing.tell("send", number)
    channel = MemoryChannel()
    mailing.drain(channel, limit=5)
    first = len(channel.outbox)
    mailing.do("update notify.campaigns set status = 'paused'")
    mailing.drain(channel)
    assert len(channel.outbox) == first
    assert mailing.follow(number).moved == 10 - first
    assert mailing.progress(number).states == {"held": 10 - first, "sent": first}
    mailing.tell("resume", number)
    mailing.drain(channel)
    assert sorted(one.recipients[0] for one in channel.outbox) == sorted(f"r{n}@example.com" for n in range(1, 11))


def test_cancelled(mailing: Mailing) -> None:
    """What is cancelled does not leave, and is never taken up again."""
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    mailing.tell("send", number)
    followed = mailing.tell("cancel", number)
    assert followed.settled
    assert mailing.progress(number).states == {"cancelled": 3}
    with pytest.raises(CampaignError, match="Copy it to begin anew"):
        mailing.tell("resume", number)


def test_postponed(mailing: Mailing) -> None:
    """What is sent for a time to come is in the queue, and leaves from then on."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    [[later]] = mailing.rows("select now() + interval '1 hour'")
    mailing.tell("send", number, send_after=later)
    assert mailing.rows("select status, not_before from notify.messages") == [("queued", later)] * 2
    channel = MemoryChannel()
    mailing.drain(channel)
    assert not channel.outbox


def test_a_held_one_stays_held(mailing: Mailing) -> None:
    """What a person holds is not released with its campaign; what the campaign holds is not released by a person."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    [[first], [second]] = mailing.rows("select id from notify.messages order by id")
    with mailing.engine.begin() as connection, pytest.raises(TransitionError, match="belongs to a campaign"):
        outbox.release(connection, first)
    mailing.tell("send", number)
    with mailing.engine.begin() as connection:
        outbox.hold(connection, second)
    mailing.tell("pause", number)
    mailing.tell("resume", number)
    assert mailing.rows("select id, status from notify.messages order by id") == [(first, "queued"), (second, "held")]


def test_one_that_was_cancelled_waits_too(mailing: Mailing) -> None:
    """A single message that a person took back is not sent again before its campaign; after that it is."""
    number = mailing.write(csv=csv_of(2))
    mailing.generate(number)
    [[first], [second]] = mailing.rows("select id from notify.messages order by id")
    with mailing.engine.begin() as connection:
        outbox.cancel(connection, first)
        told = outbox.obstacle(connection, outbox.Action.RESEND, first)
    assert told is not None
    assert f"campaigns show {number}" in told
    mailing.tell("send", number)
    with mailing.engine.begin() as connection:
        outbox.resend(connection, first)
    mailing.drain(channel := MemoryChannel())
    assert sorted(mail.to[0] for mail in channel.outbox) == ["r1@example.com", "r2@example.com"]
    assert mailing.rows("select distinct status from notify.messages where id in (:a, :b)", a=first, b=second) == [
        ("sent",)
    ]


def test_suppressed_between(mailing: Mailing) -> None:
    """Who unsubscribes or is suppressed between generating and sending gets nothing."""
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    mailing.do("insert into notify.suppressions (address, reason) values ('r1@example.com', 'bounced')")
    mailing.do("insert into notify.unsubscriptions (address, scope, actor) values ('r2@example.com', 'bulk-mail', 'x')")
    mailing.tell("send", number)
    assert mailing.progress(number).states == {"queued": 1, "suppressed": 2}


def test_nobody(mailing: Mailing) -> None:
    """A campaign that nobody would get stays a draft, and says why."""
    number = mailing.write(csv="email,first_name\nnobody,Nobody")
    assert mailing.generate(number).status == "draft"
    assert "1 invalid" in (mailing.read(number).fault or "")


def test_a_missing_field(mailing: Mailing) -> None:
    """Whose field is missing gets nothing; the author is told of the first."""
    number = mailing.write(csv=csv_of(1), recipients="plain@example.com")
    result = mailing.generate(number)
    assert (result.created, result.left_out) == (1, {"incomplete": 1})
    assert "there is no field 'first_name'" in (mailing.read(number).fault or "")


def test_refused(mailing: Mailing) -> None:
    """What is wrong is told by its field, all of it at once, and nothing is stored."""
    with pytest.raises(InvalidCampaign) as error:
        mailing.write(
            message="{% if %}",
            sender="nobody",
            groups="ghosts",
            recipients="ghost",
            csv="name\nAnna",
            query="select 1",
            query_connection="secret",
            reply_to="x",
        )
    assert {fault.field for fault in error.value.faults} == {
        *("message", "sender", "groups", "recipients", "csv", "query_connection", "reply_to"),
    }
    assert mailing.rows("select count(*) from notify.campaigns") == [(0,)]


def test_bulk(mailing: Mailing) -> None:
    """A campaign takes at most four fifths of an hour's slots, and can be unsubscribed from."""
    number = mailing.write(csv=csv_of(10))
    mailing.generate(number)
    mailing.tell("send", number)
    channel = MemoryChannel()
    mailing.drain(channel, limit=5)
    assert len(channel.outbox) == 4
    assert mailing.rows("select distinct priority, sender from notify.messages") == [("bulk", SENDER)]


def test_refreshed_files_fit_into_a_mail(mailing: Mailing) -> None:
    """Files are refused as other files are where a message with them would be more than a server takes."""
    number = mailing.write(csv=csv_of(2), attachments=[{"filename": "a.txt", "content": "old"}])
    mailing.generate(number)
    many = [Attachment(filename=f"{one}.txt", content=f"{one}" * 600) for one in "ab"]
    less = replace(mailing.settings, largest=1_500)
    with mailing.engine.begin() as connection, pytest.raises(InvalidCampaign, match="have more than the 1,500 bytes"):
        attaching.refresh(connection, number, less, many)
    with mailing.engine.begin() as connection:
        assert attaching.refresh(connection, number, less, many[:1]).messages == 2


def test_fields_that_break_a_text_are_their_own(mailing: Mailing) -> None:
    """Whose fields a text cannot be made of gets none, and is named; all others get theirs."""
    rows = "\n".join(f"r{number}@example.com,{number}" for number in range(3, -1, -1))
    number = mailing.write(csv=f"email,count\n{rows}", subject="Hello", message="{{ 12 / count | int }} each")
    result = mailing.generate(number)
    assert (result.status, result.created, result.left_out) == ("generated", 3, {"incomplete": 1})
    fault = mailing.read(number).fault
    assert fault is not None
    assert fault.startswith("row 5: message: ZeroDivisionError")


def test_a_text_that_can_be_made_of_nobody_s_fields(mailing: Mailing) -> None:
    """A text that fails all is not tried on thousands; the fault names where it began."""
    number = mailing.write(csv=csv_of(100), subject="Hello", message="{{ 12 / 0 }}")
    result = mailing.generate(number)
    assert (result.status, result.created, result.rows) == ("draft", 0, 0)
    assert result.fault is not None
    assert result.fault.startswith(f"row {MOST_BROKEN + 1}: message: ZeroDivisionError")


def test_a_text_that_takes_too_long(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that would run for hours is tried once, and not for each recipient."""
    monkeypatch.setattr("notify.rendering.bounds.SLOWEST", 0.05)
    loops = "{% for a in all %}{% for b in all %}{% for c in all %}{% endfor %}{% endfor %}{% endfor %}"
    number = mailing.write(csv=csv_of(3), subject="Hello", message=loops, data={"all": ["x"] * 10_000})
    result = mailing.generate(number)
    assert (result.status, result.created) == ("draft", 0)
    assert result.fault is not None
    assert result.fault.startswith("message: the template takes longer than 0.05 seconds")
