"""Operators: thin skins over hand-over, publishing and runs. Importing them loads neither drivers nor templates."""

from __future__ import annotations

from notify.operators.notifications import NotificationsOperator
from notify.operators.notify import NotifyOperator
from notify.operators.send_message import SendMessageOperator
from notify.operators.user_notifications import UserNotificationsOperator

__all__ = ["NotificationsOperator", "NotifyOperator", "SendMessageOperator", "UserNotificationsOperator"]
