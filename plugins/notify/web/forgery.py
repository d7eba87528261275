"""Cross-site request forgery: another site must not use the cookie of who is logged in here.

Airflow's cookie goes along with every request of the browser (SameSite=Lax keeps it from most foreign ones, not from
all). So each page carries a token, made for its user, and what changes something must bring it back. A program that
brings its own credential in the header ``Authorization`` needs none: no foreign page can write that.
"""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request

from notify.web.problems import Forged

#: The name of the form's field, and of the header.
FIELD = "csrf_token"
HEADER = "X-CSRF-Token"

#: For how long a page may stand open, in seconds.
_LIFE = 24 * 3600


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="notify.web.forgery")


def token_for(user: BaseUser) -> str:
    """A token for the forms of a page."""
    return str(_signer().dumps(user.get_id()))


def require_token(request: Request, user: BaseUser, given: str | None) -> None:
    """Make sure that a request which changes something comes from a page of ours.

    :param given: what the form's field or the header says
    :raises Forged: it does not
    """
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():  # an empty one leaves it to the cookie to log in
        return
    try:
        owner = _signer().loads(given or "", max_age=_LIFE)
    except BadSignature:
        raise Forged from None
    if owner != user.get_id():
        raise Forged
