"""Operators: thin skins over hand-over, publishing and runs. Importing them loads neither drivers nor templates."""

from __future__ import annotations

from notify.operators.campaigns import CampaignActionOperator, CampaignOperator
from notify.operators.deadlines import (
    ClearDeadlineOperator,
    ClearReminderOperator,
    SetDeadlineOperator,
    SetReminderOperator,
)
from notify.operators.delivery_reports import DeliveryReportsOperator, SmsReceiptsOperator
from notify.operators.housekeeping import HousekeepingOperator
from notify.operators.mass_mailing import MassMailingOperator
from notify.operators.notifications import NotificationsOperator
from notify.operators.notify import NotifyOperator
from notify.operators.reminders import RemindersOperator
from notify.operators.send_message import SendMessageOperator
from notify.operators.sync_people import SyncPeopleOperator
from notify.operators.user_notifications import UserNotificationsOperator

__all__ = [
    "CampaignActionOperator",
    "CampaignOperator",
    "ClearDeadlineOperator",
    "ClearReminderOperator",
    "DeliveryReportsOperator",
    "HousekeepingOperator",
    "MassMailingOperator",
    "NotificationsOperator",
    "NotifyOperator",
    "RemindersOperator",
    "SendMessageOperator",
    "SetDeadlineOperator",
    "SetReminderOperator",
    "SmsReceiptsOperator",
    "SyncPeopleOperator",
    "UserNotificationsOperator",
]
