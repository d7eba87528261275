"""Operators: thin skins over hand-over and drain. Importing them loads no database driver and no template engine."""

from __future__ import annotations

from notify.operators.notifications import NotificationsOperator
from notify.operators.send_message import SendMessageOperator

__all__ = ["NotificationsOperator", "SendMessageOperator"]
