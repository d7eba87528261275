"""What is left on an account at EuroSMS."""

from __future__ import annotations

import re
from contextlib import closing
from decimal import Decimal
from urllib.parse import quote

from notify.channels.eurosms_client import EuroSmsClient
from notify.channels.eurosms_settings import EuroSmsSettings
from notify.domain.credit import Credit
from notify.exceptions import SenderFault, SenderRefused

#: As it is told: 80.693 EUR.
_TOLD = re.compile(r"(-?[0-9]{1,9}(?:[.,][0-9]{1,6})?)(?: ?[A-Za-z€]{1,5})?")

#: Stands in an answer to an integration ID that it does not know.
_UNKNOWN = "BAD_INT"


def ask(settings: EuroSmsSettings) -> Credit:
    """Ask.

    :raises SenderFault: there is no answer that can be understood
    """
    with closing(EuroSmsClient(settings)) as client:
        said = client.read(f"/api/v2/balance?i={quote(settings.login, safe='')}")
    if _UNKNOWN in said:
        raise SenderRefused(
            f"{settings.url} does not know the integration ID: {said}.",
            f"Check Login, the integration ID, in Admin → Connections → {settings.conn_id}.",
        )
    found = _TOLD.fullmatch(said)
    if found is None:
        raise SenderFault(
            f"{settings.url} does not say what is left on the account: {said[:100] or 'an empty answer'}.",
            "The next run asks again; if it stays so, ask EuroSMS.",
        )
    return Credit(said, Decimal(found[1].replace(",", ".")), settings.credit_warning)
