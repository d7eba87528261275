"""All routes of the API."""

from __future__ import annotations

from fastapi import APIRouter

from notify.web.api import (
    PREFIX,
    actions,
    deadlines,
    events,
    handover,
    messages,
    operations,
    people,
    previews,
    senders,
    suppressions,
    unsubscriptions,
)

router = APIRouter(prefix=PREFIX)

for _one in (
    handover.router,
    previews.router,
    messages.router,
    actions.router,
    events.router,
    deadlines.router,
    deadlines.reminders,
    people.router,
    suppressions.router,
    unsubscriptions.router,
    senders.router,
    operations.router,
):
    router.include_router(_one)

#: To these as much may come as a mail may have; below the app.
LARGER = frozenset({f"{PREFIX}/messages", f"{PREFIX}/messages/batch", f"{PREFIX}/messages/preview"})
