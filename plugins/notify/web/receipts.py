"""Where gateways push receipts to: for programs, without a login, and so with little to be done by it.

The token in the address is the credential, see :mod:`notify.domain.push`. A receipt is not believed, only taken as a
reason to ask: it has at most one row marked, once, and the next run of DeliveryReports asks the gateway itself. Who is
told ``ok`` learns nothing from it, for that is the answer to any part.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse

from notify.domain import push
from notify.exceptions import NotifyError
from notify.storage import pushes
from notify.web.outbox import changing_as
from notify.web.rights import anybody

router = APIRouter(prefix="/receipts", dependencies=[anybody()])

#: No receipt is longer.
MOST = 8 * 1024

#: No connection's id is longer.
_LONGEST_SENDER = 250


@router.get("/{sender}/{token}", response_class=PlainTextResponse)
def take(request: Request, sender: str, token: str) -> PlainTextResponse:
    """Note that a part should be asked for."""
    if len(request.scope["query_string"]) > MOST:
        return _said("This is too long for a receipt.", 414)
    if not push.looks_right(token) or len(sender) > _LONGEST_SENDER or not sender.isprintable():
        return _nowhere()
    reference = push.read_reference(request.query_params)
    if reference is None:
        return _said("This is no receipt: it has no sms_uuid.", 400)
    try:
        with changing_as("pushed receipt") as connection:
            if not pushes.is_token(connection, sender, token):
                return _nowhere()
            pushes.note(connection, sender, reference)
    except NotifyError:  # the log has it; and the gateway says again what it was not told ok for
        return _said("Not now; say it again later.", 503)
    return _said(push.answer(reference), 200)


def _nowhere() -> PlainTextResponse:
    return _said("There is nothing here.", 404)


def _said(text: str, status: int) -> PlainTextResponse:
    return PlainTextResponse(text, status)
