"""The view Health, and what the overview tells of it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy.orm import Session

from notify.checks.running import CHECKS
from tests.metadata import add_dag
from tests.web_client import As


def shown(client: object) -> str:
    answer = client.get("/notify/health")  # type: ignore[attr-defined]
    assert answer.status_code == 200
    return unescape(answer.text)


def test_health(logged_in: As, metadata: Session) -> None:
    """Errors come first, each with its id, what happened, what to do, and where; a finding goes when it is mended."""
    client = logged_in("viewer")
    page = shown(client)
    assert page.index('id="bad"') < page.index('id="warn"') < page.index('id="fine"')
    findings = re.findall(r'<article class="notice bad">.*?</article>', page, re.DOTALL)
    [finding] = [one for one in findings if "notify.E006" in one]
    assert "Airflow does not know the DAG Notifications." in finding
    assert "What to do: See that dags/Notifications.py lies in the DAG folder" in finding
    assert re.search(r'<a data-airflow href="[^"]*/dags">', finding)
    add_dag(metadata, "Notifications")
    page = shown(client)
    assert "<code>notify.E006</code> Notifications is there, and runs." in page
    assert "does not know the DAG Notifications" not in page


def test_all_are_told(logged_in: As, metadata: Session) -> None:
    """Each check stands on the page, whatever came of it."""
    page = shown(logged_in("viewer"))
    assert {check.id for check in CHECKS} == set(re.findall(r"<code>(notify\.[EW]\d+)</code>", page))


def test_no_database(logged_in: As, metadata: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outbox is away, the view still answers, and says so first; nothing of the inside is told."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgres://notify:s3cret@127.0.0.1:1/outbox")
    page = shown(logged_in("viewer"))
    assert re.findall(r"<code>(notify\.[EW]\d+)</code>", page)[0] == "notify.E001"
    assert "Cannot be told: notify.E001 comes first." in page
    assert "s3cret" not in page
    assert "Traceback" not in page


def test_the_overview_tells(logged_in: As, metadata: Session) -> None:
    """The overview says how many errors and warnings were found last, and leads to them."""
    client = logged_in("viewer")
    page = shown(client)
    errors = len(re.findall(r'<article class="notice bad"', page))
    warnings = len(re.findall(r'<article class="notice warn"', page))
    assert errors
    assert warnings
    overview = " ".join(client.get("/notify/").text.split())
    counted = f"{errors} {'error' if errors == 1 else 'errors'} and {warnings} warnings"
    assert f'<p>{counted}: see <a href="/notify/health">Health</a>.</p>' in overview


def test_the_menu(logged_in: As) -> None:
    """Who may see settings finds both views in the menu."""
    page = logged_in("viewer").get("/notify/messages").text
    assert '<a href="/notify/health"' in page
    assert '<a href="/notify/settings"' in page
