"""A window of a real browser on Airflow, and what goes wrong in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Frame, Page

from dev.browser import PATIENCE, chromium, log_in
from dev.browser import started as started_browser
from dev.ports import HOST

#: A laptop's window, and a phone's.
DESKTOP, PHONE = (1300, 900), (390, 844)

Theme = Literal["light", "dark"]

#: What axe-core calls these stops somebody from using the page.
_SERIOUS = frozenset({"serious", "critical"})


#: Where a hostile mail calls home; in the browser of the tests that is this machine.
SPY = "spy.example.com"


@contextmanager
def started() -> Iterator[Browser]:
    """A browser; without Chromium the test is skipped at home, and fails in CI, which installs it."""
    if chromium() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed: apt-get install chromium")
    with started_browser(f"--host-resolver-rules=MAP {SPY} {HOST}") as browser:
        yield browser


@dataclass
class Visitor:
    """Somebody's window.

    :param url: of the Airflow that they visit
    :param faults: errors of our pages' scripts, and of what they fetched
    """

    url: str
    context: BrowserContext
    page: Page
    faults: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, url: str, browser: Browser, size: tuple[int, int] = DESKTOP, theme: Theme = "light") -> Visitor:
        """Open a window of a size, on a system of a theme; nobody has logged in."""
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=theme,
            ignore_https_errors=True,  # a certificate is one that the tests have made
        )
        context.set_default_timeout(PATIENCE)
        visitor = cls(url, context, context.new_page())
        context.on("console", visitor._heard)
        context.on("weberror", lambda error: visitor.faults.append(str(error.error)))
        return visitor

    def log_in(self, password: str) -> None:
        """Log in to Airflow as ``admin``."""
        log_in(self.page, self.url, password)

    def _heard(self, message: ConsoleMessage) -> None:
        place = message.location.get("url", "")
        if message.type == "error" and "/notify/" in place:  # Airflow's own are none of ours
            self.faults.append(f"{place}: {message.text}")

    def open(self, path: str) -> Page:
        """Open a view of ours by itself."""
        self.page.goto(f"{self.url}/notify/{path}")
        return self.page

    def close(self) -> None:
        """Close the window; nothing may have gone wrong in it."""
        self.context.close()
        assert self.faults == []


class Spy:
    """A web server that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"asked")

            do_POST = do_GET  # noqa: N815 - http.server's way to name them

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{SPY}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def serious(page: Page | Frame) -> Sequence[str]:
    """What axe-core finds on a page that stops somebody from using it."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found
        if one["impact"] in _SERIOUS
        for node in one["nodes"]
    ]


def overflow(page: Page | Frame) -> int:
    """By how many pixels a page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width
