"""The page in a real Airflow: mounted, in the navigation, and shut to who has not logged in."""

from __future__ import annotations

import urllib.parse

import httpx
import pytest

from dev.stack import Stack

pytestmark = pytest.mark.usefixtures("empty")


def test_the_page(stack: Stack) -> None:
    """A message that a run handed over is in that run's tab; who is not logged in sees nothing of it."""
    letter = {"recipient": "anna@example.com", "subject": "Seen on the page", "message": "Hello."}
    run = stack.run("SendMessage", letter)
    views = [view for plugin in stack.api("GET", "/plugins")["plugins"] for view in plugin["external_views"]]
    places = {view["destination"]: view["href"] for view in views if view["href"].startswith("notify/")}
    assert set(places) == {"nav", "dag_run", "task_instance"}
    tab = places["dag_run"].replace("{DAG_ID}", "SendMessage").replace("{RUN_ID}", urllib.parse.quote(run, safe=""))
    shown = stack.client.request("GET", f"/{tab}")
    assert shown.status_code == 200
    assert "Seen on the page" in shown.text
    assert "Overview" in stack.client.request("GET", f"/{places['nav']}").text
    assert httpx.get(f"{stack.url}/{tab}").status_code == 401
