"""All routes of the API."""

from __future__ import annotations

from fastapi import APIRouter

from notify.web.api import (
    PREFIX,
    actions,
    campaign_exchange,
    campaign_steering,
    campaigns,
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
    campaign_exchange.router,  # /campaigns/export is no number
    campaigns.router,
    campaign_steering.router,
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

_LARGER = (
    *("messages", "messages/batch", "messages/preview"),
    *("campaigns", "campaigns/{number}", "campaigns/{number}/refresh", "campaigns/import"),
)

#: To these as much may come as a mail may have; below the app.
LARGER = frozenset(f"{PREFIX}/{place}" for place in _LARGER)
