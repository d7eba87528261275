"""Cases: what events and deadlines are about, as the latest of them told it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.event import Case
from notify.storage.models import cases

#: What a producer may tell of a case, or leave as it is known.
_TOLD = ("title", "url", "process", "stage", "owner", "site")

# As text: SQLAlchemy 2.0 compiles an upsert anew each time (2026-11), which takes longer than PostgreSQL needs for it.
_SEE = sa.text("""
    insert into notify.cases as known (id, title, url, process, stage, owner, site, closed_at, seen_at)
    values (:id, :title, :url, :process, :stage, :owner, :site, case when :closed then :seen_at end, :seen_at)
    on conflict (id) do update set
        title = coalesce(nullif(excluded.title, ''), known.title),
        url = coalesce(nullif(excluded.url, ''), known.url),
        process = coalesce(nullif(excluded.process, ''), known.process),
        stage = coalesce(nullif(excluded.stage, ''), known.stage),
        owner = coalesce(nullif(excluded.owner, ''), known.owner),
        site = coalesce(nullif(excluded.site, ''), known.site),
        closed_at = case when not :reopened then coalesce(known.closed_at, excluded.closed_at) end,
        seen_at = excluded.seen_at
    where excluded.seen_at >= known.seen_at
""")

# A bare id locks no case that is known: whoever else tells of it, and a run of Reminders, has nothing to wait for.
_MEET = sa.text("insert into notify.cases (id, seen_at) values (:id, :seen_at) on conflict do nothing")

#: Before any event; a moment that every time zone can write.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class KnownCase:
    """What is known of a case.

    :param closed_at: when it ended, None while it runs
    :param seen_at: when what is known was told
    """

    id: str
    title: str
    url: str | None
    process: str | None
    stage: str | None
    owner: str | None
    site: str | None
    closed_at: datetime | None
    seen_at: datetime


def see(connection: Connection, case: Case, *, at: datetime, closed: bool = False, reopened: bool = False) -> bool:
    """Remember what is told of a case.

    What is not told stays as it is known. What is older than the latest that was told changes nothing: events may
    come out of order. A bare id tells nothing, so what happened before it is still news when it comes.

    :param case: as it was told; what is known beside it does not belong here
    :param at: when it was so
    :param closed: it ended then
    :param reopened: it runs again, whatever was known
    :returns: whether anything was told, and is the latest
    """
    if not (closed or reopened or any(getattr(case, name) for name in _TOLD)):
        connection.execute(_MEET, {"id": case.id, "seen_at": _NEVER})
        return False
    values = {"seen_at": at, "closed": closed and not reopened, "reopened": reopened}
    return connection.execute(_SEE, case.model_dump() | values).rowcount > 0


def lock(connection: Connection, case_id: str) -> KnownCase | None:
    """A case, kept from changing until the transaction ends; None where it is unknown."""
    row = connection.execute(sa.select(cases).where(cases.c.id == case_id).with_for_update()).mappings().one_or_none()
    return KnownCase(**row) if row else None


def find(connection: Connection, case_ids: Iterable[str]) -> dict[str, KnownCase]:
    """Cases by id; what is unknown is left out."""
    wanted = sa.any_(sa.literal(list(case_ids), ARRAY(sa.Text)))
    rows = connection.execute(sa.select(cases).where(cases.c.id == wanted)).mappings()
    return {row["id"]: KnownCase(**row) for row in rows}
