"""Pages of a list: each goes on where the one before it ended, whatever was added meanwhile."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query
from starlette.requests import Request

#: Entries of a page, unless the request says otherwise, and the most.
USUAL = 50
MOST = 500

Limit = Annotated[int, Query(description="How many at most", ge=1, le=MOST)]

#: Where a page goes on.
After = Annotated[str, Query(description="Where to go on; the link `next` of the page before has it", max_length=2000)]


def link(request: Request, **place: object) -> str:
    """The address of the next page: that of this one, at another place."""
    root = request.scope["root_path"]
    path = request.scope["path"].removeprefix(root)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in place]
    return f"{root}{path}?{urlencode([*kept, *place.items()])}"
