"""Searching the register: what is found, and what a page costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from notify.domain.status import Status
from notify.storage import search as searching
from notify.storage.search import Page, Search, lines, search
from tests.integration.test_plans import FILL as PAST
from tests.integration.test_plans import Plans

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

FILL = sa.text("""
    insert into notify.contents (body) values ('text');
    insert into notify.campaigns (description, channel) values ('Sale', 'email');
    insert into notify.messages (message_id, status, sender, kind, subject, headers, content_id, size, sent_at,
                                 created_at, case_id, campaign_id, guarantee)
    select 'm' || n, (array['queued','sent','failed','held','sent'])[n % 5 + 1], (array['one','two'])[n % 2 + 1],
           case when n % 7 = 0 then 'rare' else 'news' end, 's' || n, '', (select min(id) from notify.contents), 1,
           case when n % 5 in (1, 4) then cast(:noon as timestamptz) end,
           cast(:noon as timestamptz) + make_interval(mins => n), 'C' || n % 3, case when n % 4 = 0 then 1 end,
           'at_least_once'
    from generate_series(1, :count) n;
    insert into notify.recipients (message_id, position, role, address)
    select id, p, 'to', 'reader' || id % 10 || '@Example.com' from notify.messages, generate_series(0, 1) p
""")


@pytest.fixture
def register(connection: Connection) -> Connection:
    """Three hundred messages, one a minute from noon on."""
    for statement in FILL.text.split(";\n"):
        names = {name: value for name, value in {"noon": NOON, "count": 300}.items() if f":{name}" in statement}
        connection.execute(sa.text(statement), names)
    connection.commit()
    return connection


def all_of(connection: Connection, wanted: Search, limit: int) -> list[int]:
    """Every message found, from page to page."""
    numbers: list[int] = []
    page: Page | None = None
    while page is None or page.next_before is not None:
        page = search(connection, wanted, before=page.next_before if page else None, limit=limit)
        assert len(page.found) <= limit
        numbers += [one.id for one in page.found]
    return numbers


SEARCHES = st.builds(
    Search,
    statuses=st.frozensets(st.sampled_from([Status.QUEUED, Status.SENT, Status.FAILED, Status.HELD]), max_size=2),
    sender=st.sampled_from([None, "one", "three"]),
    kind=st.sampled_from([None, "rare"]),
    address=st.sampled_from([None, "READER3@example.com"]),
    case_id=st.sampled_from([None, "C1"]),
    campaign=st.sampled_from([None, 1, 2]),
    since=st.sampled_from([None, NOON + timedelta(minutes=100), NOON + timedelta(days=9)]),
    until=st.sampled_from([None, NOON + timedelta(minutes=200), NOON]),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=SEARCHES, limit=st.integers(1, 60), window=st.sampled_from([3, 40, 50_000]))
def test_pages_hold_what_is_wanted(register: Connection, wanted: Search, limit: int, window: int) -> None:
    """Whatever is looked for, the pages together have each message that fits, once, newest first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "WINDOW", window)
        found = all_of(register, wanted, limit)
    query = """
        select m.id from notify.messages m
        where (cardinality(cast(:statuses as text[])) = 0 or status = any(cast(:statuses as text[])))
          and (cast(:sender as text) is null or sender = :sender) and (cast(:kind as text) is null or kind = :kind)
          and (cast(:address as text) is null or exists (
                select from notify.recipients r where r.message_id = m.id and lower(r.address) = lower(:address)))
          and (cast(:case_id as text) is null or case_id = :case_id)
          and (cast(:campaign as bigint) is null or campaign_id = :campaign)
          and (cast(:since as timestamptz) is null or created_at >= :since)
          and (cast(:until as timestamptz) is null or created_at < :until)
        order by id desc
    """
    names = ("sender", "kind", "address", "case_id", "campaign", "since", "until")
    values = {name: getattr(wanted, name) for name in names}
    expected = register.scalars(sa.text(query), values | {"statuses": [one.value for one in wanted.statuses]}).all()
    assert found == list(expected)


def test_what_a_page_tells(register: Connection) -> None:
    """A message in a page has its first recipient and their number; the page says how far it looked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "WINDOW", 10)
        page = search(register, Search(sender="three"))
    assert page.found == ()
    assert page.searched_to == NOON + timedelta(minutes=290)
    [newest] = search(register, Search(), limit=1).found
    assert (newest.address, newest.recipients, newest.status) == ("reader0@Example.com", 2, Status.QUEUED)


def test_of_a_run(register: Connection) -> None:
    """What a run handed over, and what a run sent, is found by that run."""
    register.execute(sa.text("update notify.messages set origin_dag_id = 'Up', origin_run_id = 'r1' where id < 4"))
    drain = "insert into notify.drains (id, sender, worker, dag_id, run_id, hourly_limit, lease_until) values ("
    register.execute(sa.text(f"{drain}gen_random_uuid(), 'one', 'w', 'Notifications', 'r2', -1, now())"))
    register.execute(
        sa.text("""
            insert into notify.attempts (message_id, number, sender, bulk, drain_id, begun_at)
            select m.id, 1, 'one', false, d.id, case when m.id <> 9 then now() end
            from notify.messages m, notify.drains d where m.id between 8 and 10
        """)
    )
    assert all_of(register, Search(dag_id="Up", run_id="r1"), 2) == [3, 2, 1]
    assert all_of(register, Search(dag_id="Notifications", run_id="r2"), 2) == [10, 8]


def test_what_an_index_finds(connection: Connection, engine: Engine) -> None:
    """However long the register is, a case, an address and a state that few are in are found without looking around."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(PAST)  # type: ignore[union-attr]  # several statements at once
        filling.execute(sa.text("update notify.messages set case_id = 'C' || id % 1000 where id % 2 = 0"))
        filling.execute(
            sa.text("update notify.messages set status = 'held' where id % 10000 = 7 and status = 'queued'")
        )
        filling.execute(sa.text("insert into notify.campaigns (description, channel) values ('Sale', 'email')"))
        filling.execute(sa.text("update notify.messages set campaign_id = 1 where id < 500"))  # an old one
        filling.execute(sa.text("update notify.recipients set address = 'b@example.com' where message_id % 5000 = 1"))
        filling.execute(sa.text("analyze"))
    plans = Plans(engine, connection)
    with engine.connect() as asked, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "WINDOW", 100)
        for wanted in (
            Search(case_id="C4"),
            Search(campaign=1),
            Search(address="B@example.com"),
            Search(statuses=frozenset({Status.HELD})),
        ):
            page = search(asked, wanted)
            assert page.found
            assert page.searched_to is None
    for index in ("messages_case_id_idx", "messages_campaign_idx"):
        assert any(index in plan for plan in plans.found.values())
    slow = plans.reads(["messages", "recipients"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


def test_lines(register: Connection) -> None:
    """Certain messages are found by their numbers, newest first; those that there are not are left out."""
    assert [one.id for one in lines(register, [7, 4711, 9])] == [9, 7]
    assert lines(register, []) == []
