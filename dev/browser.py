"""Chromium, led by Playwright: for the pictures of the page, and for its tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

from dev.errors import StackError

#: What Debian and others call it.
_NAMES = ("chromium", "chromium-browser", "google-chrome")

#: Its own wishes to call home are in the way; as root it has no sandbox.
_FLAGS = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update")

#: How soon something must be there, in milliseconds; Airflow's first page is large, and the machine may be busy.
PATIENCE = 30_000


def chromium() -> str | None:
    """Where it is, if it is."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def started(*flags: str) -> Iterator[Browser]:
    """A browser that runs.

    :param flags: more of Chromium's
    :raises StackError: there is none
    """
    program = chromium()
    if program is None:
        raise StackError("Chromium is not installed.", "apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_FLAGS, *flags])
        yield browser
        browser.close()


def log_in(page: Page, url: str, password: str) -> None:
    """Log in to Airflow as ``admin``, by its form."""
    page.goto(url)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Dags", exact=True)).to_be_visible()
