"""Telephone numbers where addresses are: suppressed, unsubscribed, explained and erased, in whatever spelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import explaining, unsubscribing
from notify.domain.channel import ChannelName
from notify.domain.kind import BUILT_IN
from notify.domain.person import Person
from notify.erasing import erase
from notify.exceptions import ConfigurationError, InvalidSuppression, InvalidUnsubscription, NothingKnown
from notify.handover import hand_over
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import directory, people, register, suppressions, unsubscriptions
from notify.storage.directory import Wanted
from notify.suppressing import suppress
from tests.conftest import Command
from tests.integration.test_erasure import found

ANNA, BOB = "+421903622237", "+421905123456"
SENDER = "eurosms_default"

#: Other ways to write Anna's.
WRITTEN = ("0903 622 237", "00421 903 622 237", "+421 903/622 237", ANNA)

Give = Callable[..., int]


@pytest.fixture(autouse=True)
def slovakia(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers without the code of a country are Slovak ones."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_PHONE_REGION", "SK")


@pytest.fixture
def give(connection: Connection, hand_over_settings: HandOverSettings) -> Give:
    """Hand an SMS over, and commit; its number in the register."""

    def identity(sender: str) -> SenderIdentity:
        return SenderIdentity("example.com", None, ChannelName.SMS if sender == SENDER else ChannelName.EMAIL)

    settings = replace(hand_over_settings, senders=("smtp_default", SENDER), identity=identity, region="SK")

    def call(recipient: str = ANNA, **fields: Any) -> int:
        text = {"message": "Hello"} if fields.get("channel", "sms") == "sms" else {"message": "Hello", "subject": "s"}
        given = {"channel": "sms", "recipient": recipient} | text | fields
        number = hand_over(connection, given, settings).messages[0].id
        connection.commit()
        return number

    return call


def status(connection: Connection, number: int) -> str:
    return register.read(connection, number).status.value


# --- Suppressed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", WRITTEN)
def test_a_suppressed_number_gets_nothing(connection: Connection, give: Give, written: str) -> None:
    """Whatever way it is written, the list has it as E.164: what is queued is suppressed, and what comes later, too."""
    queued, other = give(), give(BOB)
    done = suppress(connection, written, "asked to be left alone")
    assert (done.address, done.changed, done.withheld) == (ANNA, True, 1)
    assert [status(connection, one) for one in (queued, other, give("0903 622 237"))] == [
        "suppressed", "queued", "suppressed",
    ]  # fmt: skip
    assert suppressions.lift(connection, ANNA)
    assert status(connection, give()) == "queued"


@pytest.mark.parametrize("written", ["0903", "anna", "+421 1"])
def test_what_is_no_address_is_refused(connection: Connection, written: str) -> None:
    """What is neither a mailbox nor a number is refused by one error that names both forms."""
    with pytest.raises(InvalidSuppression, match=r"write a mailbox, such as .*, or a telephone number, such as \+421"):
        suppress(connection, written, "r")


def test_on_the_command_line(notify: Command, connection: Connection, give: Give) -> None:
    """Commands take a number in any spelling, and tell it as the list has it."""
    queued = give()
    assert notify("suppressions", "add", "0903 622 237", "--reason", "asked")[1] == (
        f"{ANNA} gets nothing until you lift it. 1 queued message was suppressed.\n"
    )
    assert f"{ANNA}  for good, by a person: asked" in notify("suppressions", "list", "--address", "0903622237")[1]
    listed = notify("messages", "list", "--address", "0903 622 237", "--status", "suppressed")[1]
    assert [int(line.split()[0]) for line in listed.splitlines()] == [queued]
    assert notify("suppressions", "lift", "+421 903 622 237")[1].startswith(f"{ANNA} gets SMS again.\n")


def test_a_setting_that_is_wrong(notify: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the country of numbers is set wrong, a number that needs it is refused by the setting's name."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_PHONE_REGION", "Slovakia")
    status, _, error = notify("messages", "list", "--address", "0903 622 237")
    assert status == 1
    assert "notify_phone_region" in error


# --- Unsubscribed ----------------------------------------------------------------------------------------------------


def test_a_number_gets_no_more_bulk(connection: Connection, give: Give) -> None:
    """On its reader's word a number gets no more bulk SMS, queued or handed over later; all others it does get."""
    bulk, normal = give(priority="bulk"), give()
    done = unsubscribing.stop(connection, "0903 622 237", unsubscriptions.BULK, "boss (API)", BUILT_IN)
    assert (done.address, done.changed, done.withheld) == (ANNA, True, 1)
    assert [status(connection, one) for one in (bulk, normal, give(priority="bulk"), give())] == [
        "suppressed", "queued", "suppressed", "queued",
    ]  # fmt: skip
    assert unsubscriptions.remove(connection, ANNA, unsubscriptions.BULK)
    assert status(connection, give(priority="bulk")) == "queued"


def test_no_number_hears_of_events_by_itself(connection: Connection) -> None:
    """A kind of event cannot be unsubscribed from by a number: only people are told of events by SMS."""
    with pytest.raises(InvalidUnsubscription, match="bulk-mail is"):
        unsubscribing.stop(connection, ANNA, "case_changed", "boss", BUILT_IN)
    assert unsubscriptions.of(connection, ANNA) == set()


# --- Looked for ------------------------------------------------------------------------------------------------------


@pytest.fixture
def team(connection: Connection) -> None:
    """Anna's number is stored without the code of its country, Bob's with it, and Carl has none."""
    known = [
        Person(login="anna", email="anna@example.com", phone="0903 / 622 237"),
        Person(login="bob", phone="(+421) 905-123-456"),
        Person(login="carl", email="carl@example.com", phone="reception"),
    ]
    people.save(connection, known)
    connection.commit()


@pytest.mark.parametrize(
    ("text", "logins"),
    [(ANNA, ["anna"]), ("421903622237", ["anna"]), ("903 62", ["anna"]), ("0905 123", ["bob"]), ("+4219", ["bob"]),
     ("0903", ["anna"]), ("999999", [])],
)  # fmt: skip
def test_people_by_number(connection: Connection, team: None, text: str, logins: list[str]) -> None:
    """A person is found by their number, or a part of it, however it is stored."""
    found_people = directory.search(connection, Wanted(text)).found
    assert [one.login for one in found_people] == logins


@pytest.mark.parametrize("written", WRITTEN)
def test_explained_by_number(connection: Connection, team: None, give: Give, written: str) -> None:
    """Somebody is asked about by a number, and is told what was written to it."""
    number = give()
    told = explaining.of_person(connection, written)
    assert told.login == "anna"
    assert [explaining.Thing(explaining.Sort.MESSAGE, str(number)) in one for one in told.direct] == [True]


def test_a_number_that_nobody_has(connection: Connection, notify: Command) -> None:
    """Of a number that is nobody's that is told, with the way to what was written to it."""
    with pytest.raises(NothingKnown, match=r"No person has the telephone number \+421903622237"):
        explaining.of_person(connection, "0903 622 237")
    assert "messages list --address '0903 622 237'" in notify("explain", "--person", "0903 622 237")[2]


# --- Erased ----------------------------------------------------------------------------------------------------------


def everywhere(connection: Connection, give: Give) -> None:
    """Anna's number in every place where one can be."""
    give()
    give("anna")
    give(BOB, message="Call Anna: 0903 622 237, or +421\u00a0903\u00a0622\u00a0237!")
    give(BOB, message="č" * 20 + " 00421 903 622 237")
    mail = {"channel": "email", "recipient": "bob@example.com", "subject": "Anna has +421 903 622 237"}
    give(**mail, message="żółć " * 30 + "+421 903 622 237 " + "ż" * 40)
    give(**mail, message="<p>Tel. <a href='tel:+421903622237'>0903/622&nbsp;237</a></p>", html=True)
    give(**mail, idempotency_key="welcome:0903622237", case_id="call 0903 622 237")
    suppress(connection, ANNA, "the reader of 0903622237 asked")
    suppress(connection, BOB, "not 0903622237, but this one")
    unsubscriptions.add(connection, ANNA, unsubscriptions.BULK, "boss")
    connection.execute(
        sa.text("""
            insert into notify.events (kind, recipients, occurred_at, data, case_id)
            values ('k', 1, now(), '{"rcpt": 421903622237, "call": "x\\n0903 622 237"}', 'call 0903622237')
        """)
    )
    connection.execute(
        sa.text("update notify.messages set status_reason = 'WRONG_NUMBER 421903622237', reply_to = null")
    )
    connection.execute(sa.text("update notify.recipients set response = 'no such number +421 903 622 237'"))
    connection.execute(sa.text("update notify.message_events set reason = '421903622237 is unknown'"))
    connection.execute(sa.text("insert into notify.groups (name) values ('phone 0903 622 237')"))
    connection.commit()


def left(engine: Engine) -> list[str]:
    """Where the digits of Anna's number still stand, in whatever spelling: any column of any table, and any mail."""
    spellings = ("903622237", "903 622 237", "903/622", "903\u00a0622", "903&nbsp;622", "622&nbsp;237", "622 237")
    return found(engine, *spellings)


@pytest.mark.parametrize("who", [*WRITTEN, "anna"])
def test_nothing_of_a_number_is_left(engine: Engine, connection: Connection, team: None, give: Give, who: str) -> None:
    """After an erasure by number or login no column of any table, and no mail, holds the number in any spelling."""
    everywhere(connection, give)
    assert left(engine)
    connection.rollback()
    result = erase(engine, who)
    assert (result.logins, result.left) == (("anna",), {})
    assert set(result.addresses) == {ANNA, "anna@example.com"}
    assert left(engine) == []
    assert [one.login for one in people.listed(connection)] == ["bob", "carl"]


def test_the_number_of_a_login(engine: Engine, connection: Connection, team: None, give: Give) -> None:
    """By login what was written to the person's number goes as well, also where only the number was known then."""
    number = give(message="secret")
    assert erase(engine, "anna").addresses == (ANNA, "anna@example.com")
    assert status(connection, number) == "cancelled"
    assert found(engine, "secret", "903622237") == []


def test_a_hidden_suppression_still_counts(engine: Engine, connection: Connection, team: None, give: Give) -> None:
    """Who wanted no SMS gets none after an erasure either; the list has a hash of the number, and lifts it by that."""
    suppress(connection, ANNA, "asked")
    unsubscriptions.add(connection, ANNA, unsubscriptions.BULK, "boss")
    connection.commit()
    erase(engine, ANNA)
    assert status(connection, give()) == "suppressed"
    assert unsubscriptions.of(connection, ANNA) == {unsubscriptions.BULK}
    assert suppressions.lift(connection, ANNA)
    assert status(connection, give()) == "queued"


def test_a_number_of_nobody_we_know(engine: Engine, connection: Connection, give: Give) -> None:
    """What was written to a number by hand is emptied; one of which nothing is known is an error."""
    number = give("+421905999888", message="secret")
    erase(engine, "0905 999 888")
    assert status(connection, number) == "cancelled"
    assert found(engine, "secret", "905999888") == []
    with pytest.raises(ConfigurationError, match="Nothing is known of"):
        erase(engine, "+421905999777")


def test_an_office_number(engine: Engine, connection: Connection, team: None, give: Give) -> None:
    """A number that somebody else has as well is left to them; by the number itself, both are erased."""
    people.save(connection, [Person(login="dora", email="dora@example.com", phone=ANNA)])
    connection.commit()
    mine, text = give("anna"), give(BOB, message=f"Call {ANNA}")
    result = erase(engine, "anna")
    assert result.addresses == ("anna@example.com",)
    assert status(connection, mine) == "cancelled"
    assert found(engine, ANNA) == ["contents.body: " + ANNA] or ANNA in register.text(connection, text).body.decode()
    connection.rollback()
    assert erase(engine, ANNA).logins == ("dora",)
    assert left(engine) == []


def test_erased_on_the_command_line(notify: Command, engine: Engine, connection: Connection, team: None) -> None:
    """The command takes a number, with the country that is set."""
    assert (
        "Logins: anna. Addresses: +421903622237, anna@example.com."
        in notify("person", "erase", "0903 622 237", "--dry-run")[1]
    )
    assert notify("person", "erase", "0903 622 237")[0] == 0
    assert left(engine) == []
