"""Looking through people, the suppression list and deadlines: what is found, and how far a page looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from notify.domain.deadline import Closed
from notify.storage import deadlines, directory, suppressions, walk
from notify.storage.suppressions import Source

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

EACH = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

#: Pages that look at few rows have to go on where an ordinary one would be done.
WINDOWS = st.sampled_from([3, 40, 50_000])


#: No search here has so many pages.
ENDLESS = 1000


def fill(connection: Connection, *statements: str) -> Connection:
    for statement in statements:
        connection.execute(sa.text(statement), {"noon": NOON} if ":noon" in statement else {})
    connection.commit()
    return connection


# --- People ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def company(connection: Connection) -> Connection:
    """Three hundred people; every seventh has left, every fifth is in a group, and two share an address."""
    return fill(
        connection,
        """
        insert into notify.people (login, name, email, active)
        select 'p' || n, (array['Anna_Nowak','Brian Walsh','50% Zuzana'])[n % 3 + 1],
               case when n % 4 > 0 then 'P' || n / 2 || '@Example.com' end, n % 7 > 0
        from generate_series(1, 300) n
        """,
        "insert into notify.groups (name) values ('team')",
        "insert into notify.memberships select 'team', login from notify.people where substr(login, 2)::int % 5 = 0",
    )


def everybody(connection: Connection, wanted: directory.Wanted, limit: int) -> list[str]:
    """All who are found, from page to page."""
    logins: list[str] = []
    pages = 0
    page: directory.Page | None = None
    while page is None or page.next_after is not None:
        page = directory.search(connection, wanted, after=page.next_after if page else None, limit=limit)
        logins += [one.login for one in page.found]
        pages += 1
        assert pages < ENDLESS
    return logins


PEOPLE = st.builds(
    directory.Wanted,
    text=st.sampled_from(
        ["", "anna_", "NOWAK", "p1", "P7", "@example", "p3@example.com", "P6@EXAMPLE.com", "%", "_", "\\", "/"]
    ),
    group=st.sampled_from([None, "team", "nobody"]),
    active=st.sampled_from([None, True, False]),
)


@EACH
@given(wanted=PEOPLE, limit=st.integers(1, 60), window=WINDOWS)
def test_pages_have_all_people(company: Connection, wanted: directory.Wanted, limit: int, window: int) -> None:
    """Whoever is looked for, the pages together have each of them, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "WINDOW", window)
        found = everybody(company, wanted, limit)
    query = """
        select login from notify.people p
        where (strpos(lower(login), lower(:text)) > 0 or strpos(lower(name), lower(:text)) > 0
               or strpos(lower(coalesce(email, '')), lower(:text)) > 0)
          and (cast(:group as text) is null
               or exists (select from notify.memberships m where m.login = p.login and m.group_name = :group))
          and (cast(:active as boolean) is null or active = :active)
    """
    values = {"text": wanted.text, "group": wanted.group, "active": wanted.active}
    assert sorted(found) == sorted(company.scalars(sa.text(query), values))
    assert len(set(found)) == len(found)


def test_whole_ones_stand_first(company: Connection) -> None:
    """Whose login or address is just what was looked for stands first, however far down the list they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "WINDOW", 5)
        by_login = directory.search(company, directory.Wanted("p9")).found
        by_address = directory.search(company, directory.Wanted("P49@example.COM")).found
    assert by_login[0].login == "p9"
    assert len(by_login) > 1
    assert [one.login for one in by_address] == ["p98", "p99"]


def test_who_begins_so_is_found_at_once(company: Connection) -> None:
    """Logins and addresses that begin with what was looked for stand on the first page, however far down they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "WINDOW", 5)
        logins = [one.login for one in directory.search(company, directory.Wanted("p29")).found]
        active = directory.search(company, directory.Wanted("p149@", active=True)).found
    assert logins[0] == "p29"
    assert {f"p{number}" for number in range(290, 300)} <= set(logins)
    assert [one.login for one in active] == ["p298", "p299"]


def test_how_far_was_looked(company: Connection) -> None:
    """A page that has not looked at all says up to whom, and the next one goes on from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "WINDOW", 10)
        page = directory.search(company, directory.Wanted("nothing like it"))
    assert page.found == ()
    assert page.searched_to == page.next_after == sorted(f"p{number}" for number in range(1, 301))[10]


def test_what_a_page_tells(company: Connection) -> None:
    """A person in a page has their name, address, state and supervisor."""
    company.execute(sa.text("update notify.people set supervisor = 'p2' where login = 'p7'"))
    [found] = directory.search(company, directory.Wanted("p7"), limit=1).found[:1]
    assert found == directory.Entry("p7", "Brian Walsh", "P3@Example.com", active=False, supervisor="p2")


# --- The suppression list --------------------------------------------------------------------------------------------


@pytest.fixture
def unwanted(connection: Connection) -> Connection:
    """A hundred addresses, some put there by bounces."""
    return fill(
        connection,
        """
        insert into notify.suppressions (address, reason, source, expires_at)
        select 'reader' || n || '@example.com', 'r' || n, case when n % 3 = 0 then 'bounce' else 'person' end,
               case when n % 2 = 0 then cast(:noon as timestamptz) end
        from generate_series(1, 100) n
        """,
    )


@EACH
@given(
    text=st.sampled_from(["", "READER1", "reader7@example.com", "%", "r_ader"]),
    source=st.sampled_from([None, *Source]),
    limit=st.integers(1, 30),
    window=WINDOWS,
)
def test_pages_have_the_whole_list(
    unwanted: Connection, text: str, source: Source | None, limit: int, window: int
) -> None:
    """The pages together have each address that fits, once."""
    found: list[str] = []
    pages = 0
    page: suppressions.Page | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "WINDOW", window)
        while page is None or page.next_after is not None:
            after = page.next_after if page else None
            page = suppressions.search(unwanted, text, source=source, after=after, limit=limit)
            found += [one.address for one in page.found]
            pages += 1
            assert pages < ENDLESS
    query = """
        select address from notify.suppressions
        where strpos(address, lower(:text)) > 0 and (cast(:source as text) is null or source = :source)
    """
    assert sorted(found) == sorted(unwanted.scalars(sa.text(query), {"text": text, "source": source}))


def test_addresses_that_begin_so(unwanted: Connection) -> None:
    """Addresses that begin with what was looked for stand on the first page, however far down they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "WINDOW", 5)
        found = suppressions.search(unwanted, "Reader9").found
    assert {one.address for one in found} >= {f"reader{number}@example.com" for number in (9, *range(90, 100))}


def test_an_erased_address(unwanted: Connection) -> None:
    """The address of somebody who was erased is found by the whole of it alone."""
    suppressions.hide(unwanted, "reader5@example.com")
    assert suppressions.search(unwanted, "reader5@").found == ()
    [found] = suppressions.search(unwanted, "Reader5@example.com").found
    assert found.address.startswith("sha256:")


# --- Deadlines -------------------------------------------------------------------------------------------------------


@pytest.fixture
def terms(connection: Connection) -> Connection:
    """A hundred and twenty deadlines with three steps each, every fourth of them ended, every third a reminder."""
    return fill(
        connection,
        "insert into notify.cases (id, seen_at) select 'C' || n, now() from generate_series(0, 6) n",
        "insert into notify.people (login, name) select 'p' || n, '' from generate_series(0, 3) n",
        """
        insert into notify.deadlines (type, case_id, stage, owner, login, name, due_at, plan, closed_at, closed_reason)
        select case when n % 3 = 0 then 'reminder' else 'term' end, 'C' || n % 7, 's' || n, 'p' || n % 2,
               case when n % 3 = 0 then 'p' || n % 4 end, 'n' || n, cast(:noon as timestamptz), '{}',
               case when n % 4 = 0 then now() end, case when n % 4 = 0 then 'done' end
        from generate_series(1, 120) n
        """,
        """
        insert into notify.deadline_steps (deadline_id, position, kind, fires_at, recipients, outcome, settled_at)
        select d.id, p, 'deadline_exceeded',
               cast(:noon as timestamptz) + make_interval(hours => (d.id * 37 % 50)::int + p), '{@owner}',
               case when d.closed_at is not null or p < d.id % 3 then 'closed' end,
               case when d.closed_at is not null or p < d.id % 3 then now() end
        from notify.deadlines d, generate_series(0, 2) p
        """,
    )


@EACH
@given(
    wanted=st.builds(
        deadlines.Wanted,
        case_id=st.sampled_from([None, "C3", "nothing"]),
        person=st.sampled_from([None, "p1", "p3"]),
        ended=st.booleans(),
    ),
    limit=st.integers(1, 60),
    window=WINDOWS,
)
def test_pages_have_all_deadlines(terms: Connection, wanted: deadlines.Wanted, limit: int, window: int) -> None:
    """The pages together have each deadline that fits, once: open ones by their next step, others newest first."""
    found: list[int] = []
    pages = 0
    page: deadlines.Page | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadlines, "WINDOW", window)
        while page is None or page.after is not None:
            page = deadlines.search(terms, wanted, after=page.after if page else None, limit=limit)
            assert len(page.found) <= limit
            found += [one.id for one in page.found]
            pages += 1
            assert pages < ENDLESS
    query = """
        select d.id from notify.deadlines d
        where (closed_at is not null) = :ended and (cast(:case_id as text) is null or case_id = :case_id)
          and (cast(:person as text) is null or case when type = 'term' then owner else login end = :person)
        order by case when not :ended then (select min(fires_at) from notify.deadline_steps s
                                            where s.deadline_id = d.id and s.outcome is null) end,
                 case when :ended then -d.id else d.id end
    """
    values = {"ended": wanted.ended, "case_id": wanted.case_id, "person": wanted.person}
    assert found == list(terms.scalars(sa.text(query), values))


def test_a_deadline_in_a_page(terms: Connection) -> None:
    """A deadline comes with all its steps, and those that have ended with the reason."""
    [found] = deadlines.search(terms, deadlines.Wanted(ended=True), limit=1).found
    assert found.closed_reason is Closed.DONE
    assert len(found.steps) == 3
    [first] = deadlines.search(terms, deadlines.Wanted(), limit=1).found
    assert first.open_steps[0].fires_at < NOON + timedelta(days=3)
