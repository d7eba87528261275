"""Who gets what when, and the preview of it: what people see is what UserNotifications then does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from notify.domain.home import Reason
from notify.exceptions import TemplateError
from notify.merge import Preview, preview
from notify.settings import HandOverSettings
from notify.storage import deferred, outbox, suppressions
from notify.storage.deferred import Pile
from notify.web.mail import Mail
from tests.integration.test_plans import EVENTS, Plans
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates

DAY = timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> HandOverSettings:
    """Settings with kinds and templates of our own."""
    return settings_of(write_templates(tmp_path / "templates"))


@pytest.fixture
def room(engine: Engine, settings: HandOverSettings) -> Newsroom:
    """Anna, Bob and Carl, who hear of news once a day."""
    found = Newsroom(engine, settings)
    found.hire("anna", "bob", "carl")
    for login in ("anna", "bob", "carl"):
        found.choose(login, "daily")
    return found


def look(room: Newsroom, login: str) -> Preview:
    with room.engine.connect() as connection:
        found = preview(connection, room.settings, login)
    assert found
    return found


def pile_of(room: Newsroom, login: str) -> Pile:
    with room.engine.connect() as connection:
        found = deferred.pile(connection, login)
    assert found
    return found


def choose_a_later_day(room: Newsroom) -> None:
    """Have news for Anna once a week, on a day on which the daily mail has been before."""
    with room.engine.connect() as connection:
        later = outbox.now(connection) + 3 * DAY
    room.choose("anna", "weekly", "news", weekday=later.isoweekday())


# --- Who -------------------------------------------------------------------------------------------------------------


def test_a_pile(room: Newsroom) -> None:
    """Of a person: how many of each kind wait, when the first are due, and how many these are."""
    choose_a_later_day(room)
    room.publish("anna"), room.publish("anna")
    room.publish("anna", kind="chores")
    found = pile_of(room, "anna")
    assert (found.kinds, found.size, found.together) == ({"news": 2, "chores": 1}, 3, 1)
    [first] = room.rows("select min(due_at) from notify.deferred where kind = 'chores'")
    [weekly] = set(room.rows("select due_at from notify.deferred where kind = 'news'"))
    assert found.next_at == first < weekly
    room.pass_time(timedelta(days=8))  # all of it is long due
    assert pile_of(room, "anna").together == 3


def test_looked_at_again(room: Newsroom) -> None:
    """Who has changed a preference is told as somebody whom the next run looks at."""
    room.publish("anna")
    assert not pile_of(room, "anna").again
    room.choose("anna", "immediately")
    assert pile_of(room, "anna").again


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 8))
def test_pages(room: Newsroom, limit: int) -> None:
    """From page to page, everybody for whom something waits is seen once, by login."""
    if not room.published:
        room.hire("dora", *(f"p{number}" for number in range(6)), "idle")
        room.do("insert into notify.preferences (login, kind, frequency) select login, '*', 'daily' from notify.people "
                "on conflict do nothing")  # fmt: skip
        room.publish("anna; bob; dora; p0; p1; p2; p3; p4; p5")
        room.publish("bob")
    seen: list[str] = []
    after: str | None = ""
    with room.engine.connect() as connection:
        while after is not None:
            page = deferred.piles(connection, after=after, limit=limit)
            assert len(page.found) <= limit
            seen += [pile.login for pile in page.found]
            after = page.next_after
    assert seen == ["anna", "bob", "dora", "p0", "p1", "p2", "p3", "p4", "p5"]


def test_nobody(room: Newsroom, connection: Connection) -> None:
    """Where nothing is put aside, nobody is told of, and there is no preview."""
    assert deferred.piles(connection).found == ()
    assert deferred.pile(connection, "anna") is None
    assert preview(connection, room.settings, "anna") is None


def test_no_page_reads_all(connection: Connection, engine: Engine, tmp_path: Path) -> None:
    """A page, a person and a preview read neither all that is put aside nor the past."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(EVENTS)  # type: ignore[union-attr]  # several statements at once
    plans = Plans(engine, connection)
    with engine.connect() as asked:
        page = deferred.piles(asked, after="p00100", limit=20)
        assert [pile.login for pile in page.found][:2] == ["p00101", "p00102"]
        assert preview(asked, settings_of(write_templates(tmp_path)), "p00101")
    slow = plans.reads(["events", "notifications", "messages", "contents", "recipients", "deferred"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


# --- What ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_preview_is_what_comes(room: Newsroom, size: int) -> None:
    """The mail of a preview is the one that the next run makes, but for its number; nothing is stored by looking."""
    for number in range(size):
        room.publish("anna", word=f"word {number}", case=f"C{number % 2}", occurred_at=LONG_AGO)
    before = room.rows("select count(*) from notify.messages union all select count(*) from notify.contents")
    found = look(room, "anna")
    assert found.mail
    assert (found.count, found.digest, found.reasons) == (size, size > 1, {})
    assert before == room.rows("select count(*) from notify.messages union all select count(*) from notify.contents")
    room.merge()
    [sent] = room.mails("anna")
    shown = Mail.of(found.mail)
    headers = dict(shown.headers)
    assert (shown.text, headers["Subject"], headers["To"]) == (sent.text, sent.subject, sent.parsed["To"])


def test_only_what_is_due_together(room: Newsroom) -> None:
    """What is due later than the rest is in no preview of the next mail."""
    choose_a_later_day(room)
    room.publish("anna", word="later")
    room.publish("anna", kind="chores", word="first"), room.publish("anna", kind="chores", word="second")
    with room.engine.connect() as connection:
        now = outbox.now(connection)
    found = look(room, "anna")
    assert found.mail
    assert found.count == pile_of(room, "anna").together == 2
    assert found.at > now


def test_what_makes_no_mail(room: Newsroom) -> None:
    """Where no mail would be made, the reasons are told, as the run would find them."""
    for login, change in (("anna", None), ("bob", "active"), ("carl", "address")):
        room.publish(login, occurred_at=LONG_AGO), room.publish(login, occurred_at=LONG_AGO)
        if change == "active":
            room.hire(login, active=False)
        elif change == "address":
            with room.engine.begin() as connection:
                suppressions.add(connection, f"{login}@example.com", "they asked", None)
        else:
            room.choose(login, "never", "news")
    expected = {"anna": Reason.NEVER, "bob": Reason.INACTIVE, "carl": Reason.SUPPRESSED}
    for login, reason in expected.items():
        found = look(room, login)
        assert (found.mail, found.reasons) == (None, {reason: 2})
    room.merge()
    assert set(room.homes().values()) == {reason.value for reason in expected.values()}


def test_a_digest_that_cannot_be_made(room: Newsroom, tmp_path: Path) -> None:
    """A template that is broken is told with its name."""
    room.publish("anna", occurred_at=LONG_AGO), room.publish("anna", occurred_at=LONG_AGO)
    (tmp_path / "templates" / "digest" / "en" / "body.txt.j2").write_text("{{ digest.nothing_of_that_name }}")
    with pytest.raises(TemplateError, match=r"digest/en/body\.txt\.j2"):
        look(room, "anna")


def test_looking_holds_nobody_up(room: Newsroom) -> None:
    """While somebody looks, a run moves what is due."""
    room.publish("anna", occurred_at=LONG_AGO), room.publish("anna", occurred_at=LONG_AGO)
    with room.engine.connect() as connection:
        assert preview(connection, room.settings, "anna")
        modes = "select distinct mode from pg_locks where pid = pg_backend_pid() and locktype <> 'virtualxid'"
        assert connection.scalars(sa.text(modes)).all() == ["AccessShareLock"]
        assert room.merge().digests == 1
