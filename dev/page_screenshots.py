"""Take the pictures of the page that the README and the docs show: ``python -m dev.page_screenshots``.

``python -m dev.page_screenshots FOLDER`` takes pictures of every view instead, on a desk and on a phone, in light and
in dark: to look at after a change.

It starts a stack of its own, brings the samples and a day of messages, and needs Chromium.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psycopg
from playwright.sync_api import Browser, Page, expect

from dev import samples
from dev.browser import log_in, started
from dev.errors import StackError
from dev.ports import HOST, free_ports
from dev.settings import CHECKOUT
from dev.stack import Stack
from dev.steps import Steps, complain

IMAGES = CHECKOUT / "docs" / "images"

#: Window sizes: Airflow's navigation beside the page, the page by itself, a phone.
FRAMED, DESK, PHONE = (1360, 900), (1200, 900), (390, 844)

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

#: What is handed over: how many, to whom, about what. Some addresses are refused by the mail catcher.
LETTERS = (
    (38, "reader{}@example.com", "Your order {} is on its way"),
    (17, "clerk{}@example.com", "Invoice INV-{} waits for your approval"),
    (9, "team{}@example.com", "Minutes of meeting {}"),
)

#: What goes to many: the last ones cannot be reached.
READERS = 120
CAMPAIGN = {
    "description": "Spring sale",
    "classification": "sales",
    "subject": "{{ first_name }}, spring has come",
    "message": "Dear {{ first_name }},\n\nall garden tools are 20 % off until Sunday.",
    "csv": "\n".join(
        [
            "email,first_name",
            *(f"reader{number}@example.com,Reader {number}" for number in range(1, READERS + 1)),
            "nobody,Nobody",
            "reader7@example.com,Reader 7",
        ]
    ),
}

#: The sender of a branch, whose server is away.
DEAD = "smtp_branch"

#: How soon Airflow must have read a DAG anew, or a campaign's messages must be made.
PATIENCE_SECONDS = 90

#: An hour's slots in the picture, so that the gauge has something to show.
SLOTS = 80

# What is past is a day's work in the picture, and not that of a minute; what waits has just come.
_SPREAD = """
    with days as (
        select id, make_interval(mins => (60 + (id * 487) % 1320)::int) as ago
        from notify.messages where status <> 'queued' and id % 4 <> 0
    ), attempt as (
        update notify.attempts a set claimed_at = claimed_at - ago, begun_at = begun_at - ago, ended_at = ended_at - ago
        from days where days.id = a.message_id
    ), event as (
        update notify.message_events e set at = at - ago from days where days.id = e.message_id
    )
    update notify.messages m set created_at = created_at - ago, sent_at = sent_at - ago, not_before = not_before - ago
    from days where days.id = m.id
"""


def main(arguments: Sequence[str]) -> int:
    """Take pictures."""
    steps = Steps()
    port, mail_port = free_ports(2)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="airflow-notify-pictures-") as home,
            Stack(Path(home), port=port, mail_port=mail_port, report=steps) as stack,
            started() as browser,
        ):
            _bring(stack, steps)
            if arguments:
                _every_view(stack, browser, Path(arguments[0]))
            else:
                _for_the_docs(stack, browser)
    except StackError as error:
        complain(f"\n{error}")
        return 1
    return 0


def _bring(stack: Stack, steps: Steps) -> None:
    samples.bring(stack, steps)
    _add_a_dead_sender(stack)
    for count, address, subject in LETTERS:
        for number in range(1, count + 1):
            letter = {"recipient": address.format(number), "subject": subject.format(2000 + number)}
            _hand_over(stack, letter | {"message": "Please have a look."})
    _hand_over(
        stack, {"sender": DEAD, "recipient": "branch@example.com", "subject": "Delivery note 77", "message": "…"}
    )
    stack.set_pool("smtp_default", SLOTS)
    stack.wait_for_run("Notifications", stack.trigger("Notifications"))  # red: one of its senders cannot send
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        outbox.execute(_SPREAD.encode())


def _add_a_dead_sender(stack: Stack) -> None:
    """A sender whose server does not answer: what an operator then sees is worth a picture."""
    (nowhere,) = free_ports(1)
    extra = {"from_email": "branch@example.com", "disable_ssl": True, "disable_tls": True}
    server = {"conn_type": "smtp", "host": HOST, "port": nowhere, "extra": json.dumps(extra)}
    stack.api("POST", "/connections", {"connection_id": DEAD, **server})
    stack.api("POST", "/pools", {"name": DEAD, "slots": 30})
    stack.set_variable("notify_senders", json.dumps(["smtp_default", DEAD]))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while DEAD not in {task["task_id"] for task in stack.api("GET", "/dags/Notifications/tasks")["tasks"]}:
        if time.monotonic() > deadline:
            raise StackError("Airflow does not read the DAG Notifications anew.", "Look at its log.")
        time.sleep(1)


def _hand_over(stack: Stack, letter: dict[str, str]) -> None:
    stack.client.request("POST", "/notify/api/v1/messages", letter).raise_for_status()


def _for_the_docs(stack: Stack, browser: Browser) -> None:
    number = _a_message(stack)
    for theme in THEMES:
        page = _window(stack, browser, FRAMED, theme)
        for name, path in (("overview", ""), ("message", f"messages/{number}")):
            _within_airflow(page, stack, path)
            page.screenshot(path=IMAGES / f"page-{name}-{theme}.png")
    page = _window(stack, browser, PHONE, "light")
    page.goto(f"{stack.url}/notify/")
    page.screenshot(path=IMAGES / "page-overview-phone.png")
    _of_a_campaign(stack, browser, _a_campaign(stack))


def _of_a_campaign(stack: Stack, browser: Browser, number: int) -> None:
    """The pictures of a campaign that is being sent."""
    for theme in THEMES:
        page = _window(stack, browser, FRAMED, theme)
        _within_airflow(page, stack, f"campaigns/{number}")
        page.screenshot(path=IMAGES / f"page-campaign-{theme}.png")
    page = _window(stack, browser, PHONE, "light")
    page.goto(f"{stack.url}/notify/campaigns/{number}")
    page.screenshot(path=IMAGES / "page-campaign-phone.png")


def _every_view(stack: Stack, browser: Browser, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    campaign = _a_campaign(stack)
    more = [f"messages/{_a_message(stack)}", "campaigns/new", f"campaigns/{campaign}", f"campaigns/{campaign}/edit"]
    for (width, height), theme in itertools.product((DESK, PHONE), THEMES):
        page = _window(stack, browser, (width, height), theme)
        page.goto(f"{stack.url}/notify/")
        menu = [link.get_attribute("href") or "" for link in page.locator(".bar nav a").all()]
        for path in [*menu, *(f"/notify/{path}" for path in more)]:
            page.goto(f"{stack.url}{path}")
            name = path.removeprefix("/notify/").strip("/").replace("/", "-") or "overview"
            page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)


def _a_message(stack: Stack) -> int:
    """One that a digest was made of, with all there is to see."""
    with psycopg.connect(stack.outbox_conninfo) as outbox:
        row = outbox.execute("select max(id) from notify.messages where kind = 'digest'").fetchone()
    assert row is not None
    return int(row[0])


def _a_campaign(stack: Stack) -> int:
    """One of which a part is sent; the rest waits for the limit."""
    written = stack.client.request("POST", "/notify/api/v1/campaigns", CAMPAIGN)
    number = int(written.raise_for_status().json()["id"])
    stack.client.request("POST", f"/notify/api/v1/campaigns/{number}/generate", {"send": True}).raise_for_status()
    deadline = time.monotonic() + PATIENCE_SECONDS  # that has a run of MassMailing triggered
    while stack.client.request("GET", f"/notify/api/v1/campaigns/{number}").json()["status"] != "sending":
        if time.monotonic() > deadline:
            raise StackError("The messages of a campaign are not made.", "Look at the log of MassMailing.")
        time.sleep(1)
    stack.wait_for_run("Notifications", stack.trigger("Notifications"))
    return number


def _window(stack: Stack, browser: Browser, size: tuple[int, int], theme: Theme) -> Page:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    page = context.new_page()
    log_in(page, stack.url, stack.password)
    return page


def _within_airflow(page: Page, stack: Stack, path: str) -> None:
    """Have a view in Airflow's frame."""
    page.goto(f"{stack.url}/plugin/notify")
    frame = page.locator("iframe").element_handle().content_frame()
    assert frame is not None
    frame.goto(f"{stack.url}/notify/{path}")
    expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
