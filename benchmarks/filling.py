"""People, and notifications that wait for them, as many as one likes and within seconds.

Some events are really published, to one person of each language and zone. What stands in the database then is copied:
everybody else waits for rows that :func:`notify.publishing.publish_event` has made for a reader like them.
:func:`verify` holds both together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.person import Person
from notify.domain.preference import ANY_KIND, Frequency, Preference
from notify.publishing import publish_event
from notify.settings import HandOverSettings, SenderIdentity, templates_root
from notify.storage import people
from notify.storage.engine import engine_for

#: What people read, and where they live: one of these each, in turn.
READERS = (
    ("en", "Europe/London"),
    ("pl", "Europe/Warsaw"),
    ("sk", "Europe/Bratislava"),
    ("pl", "Europe/London"),
    ("en", "America/New_York"),
    ("sk", "Europe/Prague"),
)

#: Events that are really published.
SAMPLES = 200

#: Events of one case, one after the other.
_OF_A_CASE = 4

#: When the first of them happened.
_BEGIN = datetime(2026, 3, 2, 6, tzinfo=UTC)

#: Where the numbers of copies begin.
_FIRST = 1_000_000

_NAMES = ("Anna Nowak", "Brian Walsh", "Zuzana Kováčová", "Łukasz Wiśniewski", "Emma Clarke", "Ján Horváth", "Eva Żak")
_TITLES = ("Office lease 2026", "Umowa najmu – aneks nr 3", "Faktúra za október", "Travel to Bratislava")
_COMMENTS = (
    "Please check the amount on page 2: it differs from the order, and the supplier asks for a new due date.",
    "Proszę o akceptację. Załączam poprawiony dokument; zmienił się tylko numer rachunku bankowego.",
    "Dobrý deň, doplnil som chýbajúce prílohy. Schváľte to, prosím, do konca týždňa.\n\nĎakujem!",
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Notifications to put aside.

    :param people: how many people they are for
    :param each: how many each of them has
    :param together: so many people are the recipients of the same events
    """

    people: int
    each: int
    together: int = 1

    @property
    def total(self) -> int:
        """How many notifications that makes."""
        return self.people * self.each


def settings() -> HandOverSettings:
    """Those of hand-over with the shipped templates."""
    return HandOverSettings(
        senders=("smtp_default",),
        templates=templates_root(),
        identity=lambda _sender: SenderIdentity("example.com", "Example Ltd"),
        case_url="https://cases.example.com/{case_id}",
    )


def add_people(connection: Connection, count: int, frequency: Frequency, *, prefix: str, group: str = "all") -> None:
    """Store people who want to hear of everything that often.

    :param prefix: of their logins, which end with their position
    """
    said = {ANY_KIND: Preference(frequency=frequency)}
    people.save(connection, [_person(f"{prefix}{number:06}", number, said, group) for number in range(count)])


def _person(login: str, number: int, said: dict[str, Preference], group: str) -> Person:
    language, zone = READERS[number % len(READERS)]
    return Person(
        login=login,
        name=_NAMES[number % len(_NAMES)],
        email=f"{login}@example.com",
        language=language,
        timezone=zone,
        groups=[group],
        preferences=said,
    )


def event(number: int, recipients: str | list[str], occurred_at: datetime) -> dict[str, Any]:
    """The fields of an event, as a producer hands them over.

    :param number: which one; the events of a case follow each other
    """
    case, step = divmod(number, _OF_A_CASE)
    described = {
        "id": f"INV-{2026_0000 + case}",
        "title": _TITLES[case % len(_TITLES)],
        "process": "Invoices" if case % 3 else "Contracts",
        "stage": "Approval",
    }
    common = {"case": described, "actor": "invoice-robot", "recipients": recipients, "occurred_at": occurred_at}
    if step == 0:
        return {"kind": "case_received", **common}
    return {"kind": "case_changed", **common, "data": {"changes": [_change(number, step)]}}


def _change(number: int, step: int) -> Mapping[str, str]:
    if step == 1:
        return {"what": "document_added", "name": f"Invoice {number}.pdf"}
    return {"what": "comment_added", "text": _COMMENTS[number % len(_COMMENTS)]}


def _moment(number: int) -> datetime:
    """When an event happened: so long ago that whoever hears of it daily should have by now."""
    return _BEGIN + timedelta(minutes=number)


# --- Copying ---------------------------------------------------------------------------------------------------------

# Who gets a copy of what. Those who are together get the same ones; each case's events stay together.
_PLAN = """
    create temporary table planned on commit drop as
    select p.login, p.email, p.name, p.place, p.place % :readers as reader,
           :first + p.place / :together * :each + n as event_id, p.place % :together as position,
           (p.place / :together * 7 + n) % :samples as sample
    from (
        select *, row_number() over (order by login) - 1 as place from notify.people where login like :prefix || '%'
    ) p
    cross join generate_series(0, :each - 1) n
"""
_EVENTS = """
    insert into notify.events (id, kind, case_id, case_title, case_url, process, stage, owner, actor, data, recipients,
                               occurred_at, created_at)
    select g.event_id, e.kind, e.case_id, e.case_title, e.case_url, e.process, e.stage, e.owner, e.actor, e.data,
           g.size, e.occurred_at, e.created_at
    from (select event_id, sample, count(*) as size from planned group by event_id, sample) g
    join sampled s on s.sample = g.sample and s.reader = 0 join notify.events e on e.id = s.event_id
"""
_CONTENTS = """
    create temporary table copied on commit drop as
    select event_id, reader, sample, :first + row_number() over (order by event_id, reader) as content_id
    from planned group by event_id, reader, sample;
    insert into notify.contents (id, body, created_at) overriding system value
    select c.content_id, b.body, b.created_at
    from copied c join sampled s using (sample, reader) join notify.contents b on b.id = s.content_id
    order by c.content_id
"""
_NOTIFICATIONS = """
    create temporary table made on commit drop as
    select :first + row_number() over (order by p.event_id, p.position) as id, p.*, c.content_id
    from planned p join copied c using (event_id, reader);
    insert into notify.notifications (id, event_id, position, login, name, address, home, language, subject, summary,
                                      content_id, content_fields, routed_at)
    select m.id, m.event_id, m.position, m.login, m.name, m.email, n.home, n.language, n.subject, n.summary,
           m.content_id, n.content_fields, n.routed_at
    from made m join sampled s using (sample, reader) join notify.notifications n on n.id = s.id order by m.id;
    insert into notify.deferred (notification_id, login, kind, due_at, look_at)
    select m.id, m.login, d.kind, d.due_at, d.look_at
    from made m join sampled s using (sample, reader) join notify.deferred d on d.notification_id = s.id order by m.id
"""
_NUMBERS = """
    select setval(pg_get_serial_sequence('notify.' || t, 'id'), 100 * :first)
    from unnest(array['events', 'notifications', 'contents']) t
"""
_FORGET = """
    delete from notify.events where id in (select event_id from sampled);
    delete from notify.contents where id in (select content_id from sampled);
    drop table sampled;
    delete from notify.people where login like 'sample%'
"""


def put_aside(url: str, waiting: Waiting, *, prefix: str = "p") -> None:
    """Fill a database that has our schema and nothing else with people and what waits for them, all of it due.

    :param prefix: of their logins
    """
    with engine_for(url).begin() as connection:
        add_people(connection, waiting.people, Frequency.DAILY, prefix=prefix)
        _publish_samples(connection)
        values = {
            "first": _FIRST,
            "prefix": prefix,
            "readers": len(READERS),
            "samples": SAMPLES,
            "each": waiting.each,
            "together": waiting.together,
        }
        for script in (_PLAN, _EVENTS, _CONTENTS, _NOTIFICATIONS, _NUMBERS, _FORGET):
            for statement in script.split(";"):
                wanted = {name: value for name, value in values.items() if f":{name}" in statement}
                connection.execute(sa.text(statement), wanted)


def _publish_samples(connection: Connection) -> None:
    """Publish events to a reader of each sort, and note what came of it in the table ``sampled``."""
    add_people(connection, len(READERS), Frequency.DAILY, prefix="sample")
    logins = [f"sample{number:06}" for number in range(len(READERS))]
    connection.execute(
        sa.text(
            "create temporary table sampled (sample int, reader int, id bigint, event_id bigint, content_id bigint)"
        )
    )
    for number in range(SAMPLES):
        published = publish_event(connection, event(number, logins, _moment(number)), settings())
        connection.execute(
            sa.text(
                "insert into sampled select :sample, position, id, event_id, content_id from notify.notifications "
                "where event_id = :event"
            ),
            {"sample": number, "event": published.event_id},
        )


# --- The same as published -------------------------------------------------------------------------------------------

_ROWS = sa.text("""
    select n.position, n.login, n.name, n.address, n.channel, n.home, n.reason, n.message_id, n.language, n.subject,
           n.summary, n.content_fields, n.moved_at, c.body, d.login as waits, d.kind, d.due_at, d.look_at,
           e.kind as event_kind, e.case_id, e.case_title, e.case_url, e.process, e.stage, e.owner, e.actor, e.data,
           e.recipients, e.occurred_at
    from notify.notifications n join notify.events e on e.id = n.event_id
    join notify.contents c on c.id = n.content_id join notify.deferred d on d.notification_id = n.id
    where n.event_id = :event order by n.position
""")

_BOUNDARY = re.compile(rb"=_[0-9a-f]{32}")


def verify(url: str, waiting: Waiting, *, prefix: str = "p") -> None:
    """Make sure that what was copied is what publishing the same events to the same people makes.

    :raises AssertionError: it differs
    """
    logins = [f"{prefix}{number:06}" for number in range(waiting.together)]
    with engine_for(url).connect() as connection:
        for number in range(min(waiting.each, 2 * _OF_A_CASE)):
            published = publish_event(connection, event(number, logins, _moment(number)), settings())
            made, copied = _rows(connection, published.event_id), _rows(connection, _FIRST + number)
            if not made or made != copied:
                raise AssertionError(f"what is put aside of event {number} is not what publishing it makes")
        connection.rollback()


def _rows(connection: Connection, number: int) -> list[dict[str, object]]:
    """An event's rows without their numbers; two bodies never have the same boundary."""
    found = connection.execute(_ROWS, {"event": number}).mappings()
    return [
        {name: _BOUNDARY.sub(b"=_", bytes(value)) if isinstance(value, bytes) else value for name, value in row.items()}
        for row in found
    ]
