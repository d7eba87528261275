"""The ids of the checks. They stay: people search for them, and look them up in the documentation."""

from __future__ import annotations

from notify.exceptions import NotifyError, RestoredCopy, SchemaError, SenderFault

NO_DATABASE = "notify.E001"
SCHEMA = "notify.E002"
RESTORED_COPY = "notify.E003"
SENDERS = "notify.E004"
CONNECTION = "notify.E005"
NOTIFICATIONS = "notify.E006"
HAND_OVER = "notify.E007"
TEMPLATE = "notify.E008"
CLOCK_FAR_OFF = "notify.E009"
NO_TIME_ZONES = "notify.E010"
LAST_RUN = "notify.E011"

SCHEDULE = "notify.W001"
OTHER_DAGS = "notify.W002"
POOL = "notify.W003"
LISTENER = "notify.W004"
OVERDUE = "notify.W005"
CLOCK_OFF = "notify.W006"
VARIABLES = "notify.W007"
BASE_URL = "notify.W008"
UNSERVED = "notify.W009"
SECRETS = "notify.W010"
TRIAL = "notify.W011"
METADATA = "notify.W012"
MAILBOX = "notify.W013"
SITES = "notify.W014"
CREDIT = "notify.W015"
CAMPAIGNS = "notify.W016"
NOT_MADE = "notify.W099"


def of(error: NotifyError) -> str | None:
    """The id of the check that tells of an error, for logs; None where there is none."""
    kinds = ((RestoredCopy, RESTORED_COPY), (SchemaError, SCHEMA), (SenderFault, LAST_RUN))
    return next((told for kind, told in kinds if isinstance(error, kind)), None)
