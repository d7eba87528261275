"""What a campaign would say, before its messages are made."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine

from notify.campaigns import previewing
from notify.campaigns.previewing import Preview
from notify.exceptions import InvalidCampaign
from notify.settings import HandOverSettings
from notify.storage import people
from tests.mailing import Mailing, csv_of
from tests.newsroom import person


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns."""
    return Mailing(engine, hand_over_settings)


def preview(mailing: Mailing, number: int) -> Preview:
    """The preview of a campaign."""
    with mailing.engine.connect() as connection:
        return previewing.preview(connection, number, mailing.settings)


def test_the_first_who_can_be_reached(mailing: Mailing) -> None:
    """It is made for the first recipient whom a message can reach, with what belongs to them; nothing is stored."""
    number = mailing.write(csv="email,first_name\nnobody,X\nanna@example.com,Anna\nbrian@example.com,Brian")
    found = preview(mailing, number)
    assert (found.place, found.message.subject) == ("row 3", "Hello Anna")
    assert b"Dear Anna, come and see." in found.message.body
    assert mailing.rows("select count(*) from notify.messages") == [(0,)]


def test_a_member_of_a_group(mailing: Mailing) -> None:
    """Without rows it is made for a member of a group, in their language."""
    with mailing.engine.begin() as connection:
        people.save(connection, [person("anna", name="Anna N", email="a@example.com", language="pl", groups=["all"])])
    number = mailing.write(groups=["all"], subject="Hi {{ recipient.name }}", message="Hi")
    found = preview(mailing, number).message
    assert (found.subject, found.language) == ("Hi Anna N", "pl")


def test_nobody_is_known_yet(mailing: Mailing) -> None:
    """Where recipients are only known later, it is made for somebody; a field that they bring is told to be missing."""
    number = mailing.write(subject="Hi", message="Hello {{ recipient.address }}")
    assert preview(mailing, number).place == ""
    other = mailing.write(subject="Hi", message="Hello {{ city }}")
    with pytest.raises(InvalidCampaign, match=r"message: .*city"):
        preview(mailing, other)


def test_a_row_that_lacks_a_field(mailing: Mailing) -> None:
    """What is wrong names the row."""
    number = mailing.write(csv=csv_of(1), message="Hello {{ city }}")
    with pytest.raises(InvalidCampaign, match=r"message: row 2: .*city"):
        preview(mailing, number)
