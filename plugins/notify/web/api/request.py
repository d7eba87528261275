"""What a request of the API brings: who asks, by what right, the JSON, and the key by which nothing is done twice.

Who asks comes first: of a request that its sender has no right to, nothing is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, TypeVar

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Depends, Header
from fastapi.dependencies.utils import get_flat_dependant
from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import Connection
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from notify.domain.faults import faults_of
from notify.storage import requests
from notify.storage.requests import Answered
from notify.web import forgery
from notify.web.api.answer import Answer
from notify.web.outbox import changing
from notify.web.problems import InProgress, InvalidRequest, KeyReused, Malformed, UnusableQuery, WrongMedia
from notify.web.rights import Right, requires

#: Says that an answer is that to an earlier request with the same key.
REPLAYED = "Idempotency-Replayed"

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII | re.IGNORECASE)

#: As the draft has it, a string in quotes (RFC 9651, 3.3.3); quotes that are left out are no reason to refuse it.
_KEY = re.compile(r'"?([\x21\x23-\x5b\x5d-\x7e][\x20\x21\x23-\x5b\x5d-\x7e]{0,253})"?')

Model = TypeVar("Model", bound=BaseModel)

#: By what door somebody changes something, for the history.
DOOR = "API"


def reads(right: Right) -> Any:
    """Let only those in who have a right, and who ask for what there is; the user, for the route.

    :returns: a FastAPI dependency
    """
    allowed = requires(right)

    async def reader(request: Request, user: BaseUser = allowed) -> BaseUser:
        _refuse_strangers(request)
        return user

    return Depends(reader)


def changes(right: Right) -> Any:
    """Let only those in who have a right and do not act for another site; the change that they ask for, for the route.

    :returns: a FastAPI dependency
    """
    allowed = requires(right)

    async def change(
        request: Request,
        user: BaseUser = allowed,
        idempotency_key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                description="The same key again, with the same request, gives the first answer and does nothing",
            ),
        ] = None,
        x_csrf_token: Annotated[
            str | None,
            Header(alias=forgery.HEADER, description="Of a page; needed only where the browser's cookie logs in"),
        ] = None,
    ) -> Change:
        _refuse_strangers(request)
        forgery.require_token(request, user, x_csrf_token)
        key = _key_of(user, idempotency_key)
        return Change(user, request.headers.get("content-type", ""), await _body(request), key, _said(request))

    return Depends(change)


def _refuse_strangers(request: Request) -> None:
    """A parameter that is misspelt must not be taken for none: what is cleared or listed would be more than meant."""
    dependant = get_flat_dependant(request.scope["route"].dependant, skip_repeats=True)
    known = sorted({field.alias for field in dependant.query_params})
    for name in request.query_params:
        if name not in known:
            others = f"; there are {', '.join(known)}" if known else ", nor any other"
            raise UnusableQuery(f"There is no parameter {name!r}{others}.")


def _key_of(user: BaseUser, given: str | None) -> bytes | None:
    """The hash under which the answer is kept; keys are each user's own."""
    if given is None:
        return None
    found = _KEY.fullmatch(given.strip())
    if found is None:
        raise UnusableQuery("Idempotency-Key: write 1 to 254 visible characters, such as a UUID.")
    return sha256(f"{user.get_id()}\0{found[1]}".encode()).digest()


def _said(request: Request) -> bytes:
    """What is asked for, the body aside."""
    # Not of request.url: that is made with the header Host, and fails where the query is no UTF-8.
    query: bytes = request.scope["query_string"]
    return f"{request.method} {request.scope['path']}?".encode() + query + b"\n"


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise Malformed("The body ends in the middle.") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


@dataclass(frozen=True, slots=True)
class Change:
    """A change that somebody asks for.

    :param media: what the body says that it is
    :param body: as it came
    :param key: under which the answer is kept, None where it is not
    :param said: what is asked for, the body aside
    """

    user: BaseUser
    media: str
    body: bytes
    key: bytes | None
    said: bytes

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is JSON."""
        return _JSON.fullmatch(self.media.partition(";")[0].strip()) is not None

    def fields(self) -> dict[str, Any]:
        """The JSON object in the body.

        :raises WrongMedia, Malformed: there is none
        """
        if not self.is_json:
            raise WrongMedia
        try:
            found = json.loads(self.body, parse_constant=_no_number)
        except RecursionError:
            raise Malformed("The body is nested too deeply.") from None
        except ValueError as error:
            raise Malformed(f"The body is no JSON: {error}.") from None
        if not isinstance(found, dict):
            raise Malformed("The body must be a JSON object, {…}.")
        return found

    def read(self, model: type[Model], *, required: bool = True, nested: bool = True) -> Model:
        """The body, as a small document that is checked whole.

        :param required: whether no body at all is a fault; else it stands for an object without fields
        :param nested: see :func:`notify.domain.faults.faults_of`
        :raises InvalidRequest: something is wrong with it; the error names every fault
        """
        try:
            return model.model_validate(self.fields() if required or self.body else {})
        except ValidationError as error:
            raise InvalidRequest(faults_of(error, model, nested=nested)) from None

    def once(self, work: Callable[[Connection], Answer | None], status: int = 200) -> Response:
        """Do it, unless it was done before.

        :param work: does it in a transaction, and answers with numbers alone; None: there is nothing to tell
        :param status: of the answer
        :raises InProgress: another request with the same key is under way
        :raises KeyReused: another request had the same key
        """
        with changing(self.user, DOOR) as connection:
            earlier = self._earlier(connection)
            if earlier is not None:
                return _response(earlier.answer, earlier.status, {REPLAYED: "true"})
            found = work(connection)
            answer = None if found is None else found.model_dump(mode="json")
            if self.key is not None:
                requests.add(connection, self.key, Answered(self._fingerprint(), status, answer))
        return _response(answer, status)

    def _earlier(self, connection: Connection) -> Answered | None:
        if self.key is None:
            return None
        if not requests.lock(connection, self.key):
            raise InProgress
        found = requests.find(connection, self.key)
        if found is not None and found.fingerprint != self._fingerprint():
            raise KeyReused
        return found

    def _fingerprint(self) -> bytes:
        return sha256(self.said + self.body).digest()


def _response(answer: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status_code=204, headers=headers) if answer is None else JSONResponse(answer, status, headers)
