"""Events by SMS: who chose it gets it, and whoever cannot have it is told by mail, with the reason on record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from dev.eurosms.server import EuroSms
from notify import explaining
from notify.domain.home import BECAUSE, Reason
from notify.erasing import erase
from notify.exceptions import InvalidPreference
from notify.merge import preview
from notify.preferences import clear_preference, set_preference
from notify.publishing import Published
from notify.settings import HandOverSettings
from notify.storage import preferences, register, schema, suppressions
from tests.conftest import Command
from tests.integration.test_erasure import found
from tests.integration.test_sms import drain
from tests.newsroom import LONG_AGO, SMS_SENDER, Newsroom, with_sms, write_templates

ANNA, BOB = "+421903622237", "+421905123456"
HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> HandOverSettings:
    """Settings with a sender of SMS."""
    return with_sms(write_templates(tmp_path / "templates"))


@pytest.fixture
def room(engine: Engine, settings: HandOverSettings) -> Iterator[Newsroom]:
    """Anna and Bob, who have telephones, and Carl, who has none."""
    made = Newsroom(engine, settings)
    made.hire("anna", phone="0903 622 237")
    made.hire("bob", phone=BOB)
    made.hire("carl")
    yield made
    engine.dispose()


def rows(room: Newsroom) -> list[tuple[str, ...]]:
    """Each notification: whose, through which channel, its home or reason, and why it is no SMS."""
    return room.rows(
        "select login, channel, coalesce(reason, home), coalesce(not_by_sms, '') from notify.notifications order by id"
    )


def sent(room: Newsroom) -> list[tuple[str, list[str]]]:
    """What is in the outbox: where it goes, and the events that it tells of."""
    return [(mail.to, mail.words) for mail in room.mails()]


# --- At once ---------------------------------------------------------------------------------------------------------


def test_by_sms(room: Newsroom) -> None:
    """Who chose SMS gets one and no mail; it is sent at most once, and counts its parts."""
    room.choose("anna", "immediately", channel="sms")
    published = room.publish("anna; bob", word="żółw", case="7")
    assert (published.mails, published.refused) == (2, {})
    assert rows(room) == [("anna", "sms", "mail", ""), ("bob", "email", "mail", "")]
    assert sent(room) == [(ANNA, ["zolw"]), ("bob@example.com", ["żółw"])]
    with room.engine.connect() as connection:
        message = register.read(connection, room.mails()[0].id)
    assert (message.channel, message.guarantee, message.parts, message.kind) == ("sms", "at_most_once", 1, "news")
    assert (message.sender, message.case_id) == (SMS_SENDER, "7")
    assert room.balance().even


def test_by_both(room: Newsroom) -> None:
    """Who chose both has two notifications, each with a home of its own."""
    room.choose("anna", "immediately", channel="both")
    assert room.publish("anna", word="one").mails == 2
    assert rows(room) == [("anna", "email", "mail", ""), ("anna", "sms", "mail", "")]
    assert sent(room) == [("anna@example.com", ["one"]), (ANNA, ["one"])]
    balance = room.balance()
    assert (balance.even, balance.expected, balance.mails) == (True, 2, 2)


def test_said_of_a_kind_or_of_all(room: Newsroom) -> None:
    """What is said of a kind goes before what is said of all; field by field, as everything that is said."""
    room.choose("anna", None, channel="sms")
    room.choose("anna", "daily", "news")
    room.choose("bob", None, channel="sms")
    room.choose("bob", None, "news", channel="email")
    room.publish("anna; bob", "news")
    room.publish("anna; bob", "letter")
    assert rows(room) == [
        ("anna", "sms", "waiting", ""), ("bob", "email", "mail", ""), ("anna", "sms", "mail", ""),
        ("bob", "sms", "mail", ""),
    ]  # fmt: skip


def test_personal_texts(room: Newsroom) -> None:
    """A text that names its reader is made for each of them."""
    room.hire("bob", phone=BOB, language="pl")
    for login in ("anna", "bob"):
        room.choose(login, None, channel="sms")
    room.publish("anna; bob", "letter", word="hi")
    assert [mail.body for mail in room.mails()] == [b"Anna, hi", b"Bob, hi"]


def test_mandatory(room: Newsroom) -> None:
    """Of a mandatory kind a person may choose the channel, and nothing else; what they say of all kinds applies."""
    with room.engine.begin() as connection:
        with pytest.raises(InvalidPreference, match="nothing but the channel can be chosen"):
            set_preference(
                "anna", "alarm", frequency="daily", channel="sms", connection=connection, settings=room.settings
            )
        set_preference("anna", "alarm", channel="sms", connection=connection, settings=room.settings)
        set_preference("bob", "*", channel="both", frequency="never", connection=connection, settings=room.settings)
    room.publish("anna; bob; carl", "alarm", word="fire")
    assert sent(room) == [
        (ANNA, ["fire"]), ("bob@example.com", ["fire"]), (BOB, ["fire"]), ("carl@example.com", ["fire"]),
    ]  # fmt: skip
    with room.engine.begin() as connection:
        assert clear_preference("anna", "alarm", connection=connection, settings=room.settings)
        assert preferences.find(connection, ["anna"]) == {}


def test_what_is_no_channel(room: Newsroom) -> None:
    """What is no channel is refused with those there are."""
    for wrong in ("fax", 7, ""):
        with room.engine.begin() as connection, pytest.raises(InvalidPreference) as caught:
            set_preference("anna", "news", channel=wrong, connection=connection, settings=room.settings)
        [fault] = caught.value.faults
        assert fault.field == "channel"
        assert "email" in fault.problem
        assert "both" in fault.problem


@pytest.mark.parametrize("channel", ["sms", "both"])
@pytest.mark.parametrize("why", ["no_number", "suppressed", "no_sender", "no_template", "unfit"])
def test_who_cannot_have_it_gets_a_mail(room: Newsroom, notify: Command, why: str, channel: str) -> None:
    """Where there can be no SMS the event goes by mail, and the record says why."""
    room.choose("anna", None, channel=channel)
    word = "word"
    match why:
        case "no_number":
            room.hire("anna", phone="reception, ext. 5")
        case "suppressed":
            with room.engine.begin() as connection:
                suppressions.add(connection, ANNA, "asked", None)
        case "no_sender":
            room.settings = replace(room.settings, senders=("smtp_default",))
        case "no_template":
            (room.settings.templates / "news" / "en" / "sms.txt.j2").unlink()
        case "unfit":
            word = "x" * 1600
    number = room.publish("anna", word=word).event_id
    assert rows(room) == [("anna", "email", "mail", why)]
    assert [to for to, _ in sent(room)] == ["anna@example.com"]
    assert room.balance().even
    assert "chosen was SMS, but" in notify("explain", "--event", number)[1]


def test_obstacles(room: Newsroom) -> None:
    """Who is told nothing for another reason has one notification, whatever channel they chose."""
    for login in ("anna", "bob", "carl"):
        room.choose(login, "never" if login == "bob" else None, channel="both")
    room.hire("carl", active=False, phone=ANNA)
    room.publish("anna; bob; carl", actor="anna")
    assert rows(room) == [
        ("anna", "email", "own_action", ""), ("bob", "email", "never", ""), ("carl", "email", "inactive", ""),
    ]  # fmt: skip


def test_no_address_but_a_number(room: Newsroom) -> None:
    """Who has a telephone only hears by SMS where they chose it."""
    room.hire("anna", "bob", email=None, phone=ANNA)
    room.choose("anna", None, channel="both")
    room.publish("anna; bob")
    assert rows(room) == [
        ("anna", "email", "no_address", ""), ("anna", "sms", "mail", ""), ("bob", "email", "no_address", ""),
    ]  # fmt: skip


def test_one_number_for_two(room: Newsroom) -> None:
    """Whoever shares a telephone is told once; a mail beside it goes to each."""
    room.hire("bob", phone=ANNA)
    room.choose("anna", None, channel="sms")
    room.choose("bob", None, channel="both")
    room.publish("anna; bob")
    assert rows(room) == [
        ("anna", "sms", "mail", ""), ("bob", "email", "mail", ""), ("bob", "sms", "duplicate", ""),
    ]  # fmt: skip


def test_a_broken_template(room: Newsroom) -> None:
    """A mistake in the text for SMS is told to whoever publishes, as in that of a mail; nobody else pays for it."""
    (room.settings.templates / "news" / "en" / "sms.txt.j2").write_text("{{ nothing.of_that }}")
    room.publish("anna")
    room.choose("anna", None, channel="sms")
    with pytest.raises(Exception, match=r"sms\.txt\.j2"):
        room.publish("anna")
    assert len(rows(room)) == 1


def test_nobody_pays_a_statement(room: Newsroom) -> None:
    """To publish takes as many statements for those who chose SMS as for all others."""
    statements: list[str] = []
    sa.event.listen(room.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    def counted() -> int:
        statements.clear()
        room.publish("anna; bob; carl")
        return len(statements)

    before = counted()
    room.choose("anna", None, channel="sms")
    assert counted() <= before
    room.choose("bob", None, channel="both")
    assert counted() <= before


def test_sent_and_delivered(room: Newsroom) -> None:
    """An event's SMS leaves through the gateway like any other, and within its limit."""
    room.choose("anna", None, channel="both")
    room.publish("anna", word="hello")
    with EuroSms() as gateway:
        result = drain(room.engine, gateway, limit=1)
        assert result.accepted == 1
    states = dict(room.rows("select channel, status from notify.messages"))
    assert states == {"email": "queued", "sms": "sent"}


# --- Put aside -------------------------------------------------------------------------------------------------------


def put_aside(room: Newsroom, *words: str, login: str = "anna", kind: str = "news") -> Published:
    """Publish what is due by now."""
    return [room.publish(login, kind, word=word, occurred_at=LONG_AGO) for word in words][-1]


def test_only_one_is_moved_as_it_is(room: Newsroom) -> None:
    """One that is due becomes the SMS that it was."""
    room.choose("anna", "daily", channel="sms")
    assert put_aside(room, "one").waiting == 1
    room.merge()
    assert rows(room) == [("anna", "sms", "mail", "")]
    [sms] = room.mails()
    assert (sms.to, sms.body, sms.kind) == (ANNA, b"Short: one", "news")
    assert room.rows("select count(*) from notify.notifications where sms_text is not null") == [0]
    assert room.balance().even


def test_more_become_one_short_sms(room: Newsroom) -> None:
    """Several that are due become one SMS that says how many; their mails beside it one digest."""
    room.choose("anna", "daily", channel="both")
    room.choose("bob", "daily", channel="sms")
    put_aside(room, "one", "two", "three", login="anna; bob")
    result = room.merge()
    assert (result.digests, result.in_digests) == (3, 9)
    assert sorted(sent(room)) == [
        (ANNA, ["one", "two", "three"]), (BOB, ["one", "two", "three"]), ("anna@example.com", ["one", "two", "three"]),
    ]  # fmt: skip
    assert [mail.kind for mail in room.mails()] == ["digest"] * 3
    balance = room.balance()
    assert (balance.even, balance.in_digests, balance.digests, balance.expected) == (True, 9, 3, 9)


def test_channels_of_different_kinds(room: Newsroom) -> None:
    """What goes by mail and what goes by SMS are put together each for itself."""
    room.choose("anna", "daily")
    room.choose("anna", "daily", "letter", channel="sms")
    put_aside(room, "one", "two")
    put_aside(room, "three", kind="letter")
    room.merge()
    assert [(home, channel) for _, channel, home, _ in rows(room)] == [
        ("digest", "email"), ("digest", "email"), ("mail", "sms"),
    ]  # fmt: skip
    assert room.balance().even


@pytest.mark.parametrize("why", ["no_number", "suppressed", "no_sender", "no_template"])
@pytest.mark.parametrize("channel", ["sms", "both"])
def test_what_cannot_be_an_sms_any_more(room: Newsroom, notify: Command, why: str, channel: str) -> None:
    """What waits for an SMS that there can no longer be goes by mail; where a mail tells of it anyway, it is closed."""
    room.choose("anna", "daily", channel=channel)
    put_aside(room, "one", "two")
    match why:
        case "no_number":
            room.hire("anna", phone=None)
        case "suppressed":
            with room.engine.begin() as connection:
                suppressions.add(connection, ANNA, "asked", None)
        case "no_sender":
            room.settings = replace(room.settings, senders=("smtp_default",))
        case "no_template":
            (room.settings.templates / "digest" / "en" / "sms.txt.j2").unlink()
    room.merge()
    assert sent(room) == [("anna@example.com", ["one", "two"])]
    if channel == "sms":
        assert rows(room) == [("anna", "email", "digest", why)] * 2
    else:
        assert rows(room) == [("anna", "email", "digest", ""), ("anna", "sms", "no_sms", why)] * 2
        told = notify("explain", "--person", "anna", "--since", "P7D")[1]
        assert f"no SMS, reason no_sms: {BECAUSE[Reason.NO_SMS]}; chosen was SMS, but" in told
    assert room.balance().even


@pytest.mark.parametrize("lifted", [True, False])
def test_the_mail_beside_was_refused(room: Newsroom, notify: Command, lifted: bool) -> None:
    """What waits for an SMS beside a mail that was refused is told by nothing else: without a number it goes by mail.

    If it can by then; if it still cannot, the reason says so.
    """
    room.choose("anna", "daily", channel="both")
    with room.engine.begin() as connection:
        suppressions.add(connection, "anna@example.com", "bounced", None)
    put_aside(room, "one", "two")
    assert rows(room) == [("anna", "email", "suppressed", ""), ("anna", "sms", "waiting", "")] * 2
    room.hire("anna", phone=None)
    if lifted:
        with room.engine.begin() as connection:
            suppressions.lift(connection, "anna@example.com")
    room.merge()
    told = notify("explain", "--person", "anna", "--since", "P7D")[1]
    assert "there is an e-mail beside it" not in told
    if lifted:
        assert rows(room) == [("anna", "email", "suppressed", ""), ("anna", "sms", "digest", "no_number")] * 2
        assert sent(room) == [("anna@example.com", ["one", "two"])]
        assert "digest of 2, message" in told
        assert "chosen was SMS, but the person has no telephone number" in told
    else:
        assert rows(room) == [("anna", "email", "suppressed", ""), ("anna", "sms", "suppressed", "no_number")] * 2
        assert "anna@example.com" in told
        assert ANNA not in told
        assert sent(room) == []
    assert room.balance().even


def test_a_change_of_mind(room: Newsroom) -> None:
    """What waits keeps the channel that was chosen when it happened; never closes it, at once moves it."""
    room.choose("anna", "weekly", channel="sms")
    room.choose("bob", "weekly", channel="sms")
    room.publish("anna; bob", word="one")
    room.choose("anna", "immediately", channel="email")
    room.choose("bob", "never", channel="sms")
    room.merge()
    assert rows(room) == [("anna", "sms", "mail", ""), ("bob", "sms", "never", "")]


def test_quiet_hours(room: Newsroom) -> None:
    """In quiet hours no telephone rings: an SMS waits until they are over, as a mail does."""
    now = datetime.now(UTC)
    span = {"quiet_from": f"{now - HOUR:%H:%M}", "quiet_until": f"{now + HOUR:%H:%M}"}
    room.choose("anna", "immediately", channel="both", **span)
    room.publish("anna")
    assert rows(room) == [("anna", "email", "waiting", ""), ("anna", "sms", "waiting", "")]
    room.pass_time(2 * HOUR)
    room.merge()
    leaves = room.rows("select not_before > now() + interval '50 minutes' from notify.messages")
    assert leaves == [True, True]


@pytest.mark.parametrize("plan", [{}, {"people": 1}], ids=["together", "one-by-one"])
def test_a_number_that_two_have_by_now(room: Newsroom, plan: dict[str, int]) -> None:
    """Who has come to share a telephone with somebody is told once by it, in one transaction or in several."""
    for login in ("anna", "bob"):
        room.choose(login, "daily", channel="sms")
    put_aside(room, "one", login="anna; bob")
    room.hire("bob", phone="+421 903 622 237")
    room.merge(**plan)
    assert rows(room) == [("anna", "sms", "mail", ""), ("bob", "sms", "duplicate", "")]


def test_preview(room: Newsroom, engine: Engine) -> None:
    """Before it is moved it can be looked at: the mail, or, where there is none, the SMS."""
    room.choose("anna", "weekly", channel="sms")
    room.choose("bob", "weekly", channel="both")
    room.publish("anna; bob", word="one")
    with engine.connect() as connection:
        shown = {login: preview(connection, room.settings, login) for login in ("anna", "bob")}
    texts = {login: one.mail.body if one and one.mail else b"" for login, one in shown.items()}
    assert texts["anna"] == b"Short: one"
    assert b"It says one." in texts["bob"]


# --- What becomes of it ----------------------------------------------------------------------------------------------


def test_explained(room: Newsroom, notify: Command) -> None:
    """Who asks why is told of each channel."""
    room.choose("anna", "immediately", channel="both")
    number = room.publish("anna", word="one").event_id
    room.choose("bob", "weekly", channel="sms")
    room.publish("bob", word="two")
    lines = notify("explain", "--event", number)[1].splitlines()
    assert "mail, message" in lines[1]
    assert f"SMS, message 2 to {ANNA}: queued" in lines[2]
    assert "then UserNotifications moves it to an SMS" in notify("explain", "--person", "bob")[1]
    with room.engine.connect() as connection:
        assert explaining.of_person(connection, ANNA, region=lambda: "SK").count == 2


def test_erased(room: Newsroom) -> None:
    """Nothing of what was put aside for a telephone is left when its person is erased."""
    room.choose("anna", "weekly", channel="both")
    room.publish("anna", word="secret")
    room.choose("anna", "immediately", channel="both")
    room.publish("anna", word="secret")
    erase(room.engine, "0903 622 237", region=lambda: "SK")
    assert found(room.engine, "secret", "903622237", "anna") == []
    assert room.balance().even


def test_the_schema_before(room: Newsroom) -> None:
    """A downgrade leaves one notification for a person and an event; what waits for an SMS goes by mail then."""
    room.choose("anna", "daily", channel="both")
    room.choose("bob", "daily", channel="sms")
    put_aside(room, "one", "two", login="anna; bob")
    room.merge()
    room.publish("anna; bob", word="three")
    schema.downgrade(room.engine, "0017")
    assert (
        room.rows("""
        select e.recipients, count(*) from notify.events e join notify.notifications n on n.event_id = e.id
        group by e.id, e.recipients
    """)
        == [(2, 2)] * 3
    )
    schema.upgrade(room.engine)
    assert rows(room)[-2:] == [("anna", "email", "waiting", ""), ("bob", "email", "waiting", "")]
    assert room.balance().even
    room.pass_time(48 * HOUR)
    room.merge()
    assert room.balance().even
    assert ("bob@example.com", ["three"]) in sent(room)
