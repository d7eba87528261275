"""What EuroSMS's answers mean: whose fault it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from notify.domain.outcome import Verdict

#: The only success.
ENQUEUED = "ENQUEUED"


@dataclass(frozen=True, slots=True)
class Meaning:
    """A refusal that holds for every message of the sender.

    :param remedy: with a place for ``conn_id``
    """

    remedy: str


_LOGIN = Meaning("Check Login, the integration ID, in Admin → Connections → {conn_id}.")
_KEY = Meaning(
    "Check Password, the integration key, in Admin → Connections → {conn_id}; and the extra algorithm, if it is set."
)
_FROM = Meaning(
    "Check the extra sender in Admin → Connections → {conn_id}: EuroSMS takes those that the account has registered."
)

#: Refusals for good are the message's own fault; the rest may pass.
_CODES: dict[str, Verdict | Meaning] = {
    "NO_IID": _LOGIN,
    "WRONG_IID": _LOGIN,
    "BAD_INT": _LOGIN,
    "NO_SGN": _KEY,
    "WRONG_SIGNATURE": _KEY,
    "WRONG_KEY": _KEY,
    "NO_BALANCE": Meaning("Top up the account at EuroSMS; its messages wait, and leave with the next run."),
    "NO_SNDR": _FROM,
    "WRONG_SENDER": _FROM,
    **dict.fromkeys(
        ("NO_MSG", "NO_TXT", "EMPTY_MESSAGE", "MSG_TOO_LONG", "NO_RCPT", "WRONG_NUMBER", "WRONG_SCH"),
        Verdict.PERMANENT,
    ),
    **dict.fromkeys(("TOO_MANY_MESSAGES", "FAIL", "FAILED", "ERR_OTHER"), Verdict.TEMPORARY),
    "SYSTEM_ERROR": Verdict.IN_DOUBT,
}


def meaning_of(code: str) -> Verdict | Meaning:
    """What an ``err_code`` means; one that nobody knows leaves the message in doubt."""
    if code.startswith("IM_"):
        return Verdict.PERMANENT
    return _CODES.get(code, Verdict.IN_DOUBT)
