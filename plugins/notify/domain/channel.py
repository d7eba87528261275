"""The ways that a message may travel."""

from __future__ import annotations

from enum import StrEnum


class ChannelName(StrEnum):
    """How a message travels; the values stand in the database."""

    EMAIL = "email"
    SMS = "sms"
