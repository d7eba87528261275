"""The body of a request: how large it may be, and in which charset; made sure of before anybody reads it."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notify.exceptions import NotifyError
from notify.settings import LARGEST_MESSAGE
from notify.web.problems import TooLarge, WrongCharset

#: Of all that is no hand-over of messages.
MOST = 1024 * 1024

#: Of a hand-over: as much as a mail may have.
MOST_HANDED_OVER = LARGEST_MESSAGE

#: All that a form may say of its charset.
_UTF_8 = re.compile(r';\s*charset\s*=\s*"?utf-?8"?\s*(?=;|\Z)', re.ASCII)

#: A number in a path.
_IN_PATH = re.compile(r"/[0-9]+(?=/|\Z)")

#: An error in, what it is answered with out.
Tell = Callable[[Request, Exception], Response]


class BodyLimit:
    """Refuses what is too large: by its Content-Length, and, where that says nothing, when too much has come in.

    And forms in any other charset than UTF-8. Starlette hands them to whichever of Python's codecs they name, before
    anybody asks who it is: some of these take minutes for a megabyte, and some make texts that no database holds.

    :param tell: what an error is answered with
    :param larger: paths, below the app's root, to which as much as a mail may come; ``{number}`` stands for any number
    """

    def __init__(self, app: ASGIApp, *, tell: Tell, larger: frozenset[str]) -> None:
        self._app = app
        self._tell = tell
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _in_another_charset(headers.get("content-type", "")):
            await self._refuse(scope, receive, send, WrongCharset())
            return
        path = _IN_PATH.sub("/{number}", scope["path"].removeprefix(scope.get("root_path", "")))
        meter = _Meter(MOST_HANDED_OVER if path in self._larger else MOST, receive, send)
        if not meter.announced(headers.get("content-length")):
            try:
                await self._app(scope, meter.receive, meter.send)
            except TooLarge:
                if not meter.over:
                    raise
        if meter.over and not meter.answered:
            await self._refuse(scope, receive, send, TooLarge(meter.most))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: NotifyError) -> None:
        refusal = self._tell(Request(scope), error)
        refusal.headers["Connection"] = "close"  # nobody reads the rest
        await refusal(scope, receive, send)


def _in_another_charset(content_type: str) -> bool:
    """Whether a form names another charset than UTF-8, in whatever spelling; it need not name any (RFC 7578, 5.1.2)."""
    said = content_type.lower()
    return "multipart/" in said and "charset" in _UTF_8.sub("", said)


class _Meter:
    """Counts what comes in; once that is too much, nothing goes out but the refusal."""

    def __init__(self, most: int, receive: Receive, send: Send) -> None:
        self.most = most
        self.over = False
        self.answered = False
        self._read = 0
        self._receive = receive
        self._send = send

    def announced(self, length: str | None) -> bool:
        """Whether the request says itself that it is too large."""
        self.over = length is not None and length.isdecimal() and int(length[:20]) > self.most
        return self.over

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self.most:
            self.over = True
            raise TooLarge(self.most)
        return message

    async def send(self, message: Message) -> None:
        if self.over and not self.answered:
            return  # whatever the app makes of a body that ends in the middle
        self.answered = True
        await self._send(message)
