"""A local server of the EuroSMS HTTP interface: takes SMS, tells receipts, delivers nothing, and fails to order.

In a test: ``with EuroSms() as server: …``. By hand: ``python -m dev.eurosms --help``.
"""

from __future__ import annotations

from dev.eurosms.book import BY_LAST_DIGIT, Account, Fate, Sms
from dev.eurosms.gateway import Manner
from dev.eurosms.orders import Fault
from dev.eurosms.push import Push
from dev.eurosms.rules import signature
from dev.eurosms.server import EuroSms, Request

__all__ = ["BY_LAST_DIGIT", "Account", "EuroSms", "Fate", "Fault", "Manner", "Push", "Request", "Sms", "signature"]
