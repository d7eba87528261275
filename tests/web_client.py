"""Who looks at the page in tests: the roles of Airflow's own auth manager, each in a browser of its own."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient

#: SimpleAuthManager's roles, from the least to the most.
ROLES = ("viewer", "user", "op", "admin")

#: A role in, a browser out in which somebody with it has logged in; None: nobody has.
As = Callable[[str | None], TestClient]

#: Where the API is.
API = "/notify/api/v1"
