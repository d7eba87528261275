"""Forms, as a browser sends them before the page's script has come: with all their fields, the empty ones too."""

from __future__ import annotations

import pytest
from lxml import html
from sqlalchemy.orm import Session

from tests.web_client import As


@pytest.mark.parametrize("path", ["messages", "put-aside", "people", "suppressions", "explain", "deadlines"])
def test_a_filter_that_is_left_empty_filters_nothing(logged_in: As, metadata: Session, path: str) -> None:
    """A form for searching, sent as it comes, is answered by the same list."""
    client = logged_in("admin")
    [form] = html.fromstring(client.get(f"/notify/{path}").text).xpath("//form[@role='search']")
    fields = form.form_values()
    assert "" in dict(fields).values()
    answer = client.get(form.action, params=fields)
    assert answer.status_code == 200, answer.text
