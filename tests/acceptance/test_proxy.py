"""Airflow behind a reverse proxy with TLS, in a folder of its host, as its documentation tells admins to run it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser, expect

from dev.stack import Stack
from notify.web.pages.layout import MENU
from tests.acceptance.browser import Visitor
from tests.acceptance.observing import Mailbox, hand_over, query, run, text_of
from tests.acceptance.proxy import FOLDER, ReverseProxy, proxied
from tests.web_client import API

pytestmark = pytest.mark.usefixtures("empty", "nothing_strays")

#: Where everything on a page leads to, and comes from.
PLACES = """["href", "src", "action"].flatMap((name) => [...document.querySelectorAll(`[${name}]`)]
    .map((one) => new URL(one.getAttribute(name), location.href).href))"""


@pytest.fixture(scope="module")
def proxy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReverseProxy]:
    """The proxy, and readers of mails who are led to it."""
    with proxied(stack, tmp_path_factory.mktemp("proxied")) as found:
        stack.set_variable("notify_base_url", found.url)
        yield found
        stack.set_variable("notify_base_url", stack.url)


@pytest.fixture
def nothing_strays(proxy: ReverseProxy) -> Iterator[None]:
    """What is asked for during a test is all below Airflow's folder."""
    proxy.strays.clear()
    yield
    assert proxy.strays == []


@pytest.fixture
def visitor(proxy: ReverseProxy, browser: Browser) -> Iterator[Visitor]:
    """Somebody who comes by the proxy, at night."""
    found = Visitor.at(proxy.url, browser, theme="dark")
    yield found
    found.close()


@pytest.fixture
def program(stack: Stack, proxy: ReverseProxy) -> Iterator[httpx.Client]:
    """A program that comes by the proxy, with a token."""
    with httpx.Client(verify=False, timeout=60, trust_env=False) as client:
        answer = client.post(f"{proxy.url}/auth/token", json={"username": "admin", "password": stack.password})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


def test_inside_airflow(stack: Stack, proxy: ReverseProxy, visitor: Visitor) -> None:
    """From a run's tab to its message, which is sent again, and out to the run; and by the menu, found by a filter."""
    run_id = stack.run("SendMessage", {"recipient": "anna@example.com", "subject": "Proxied", "message": "Hello."})
    run(stack, "Notifications", "smtp_default")
    visitor.log_in(stack.password)
    page, frame = visitor.page, visitor.page.frame_locator("iframe")
    page.goto(f"{proxy.url}/dags/SendMessage/runs/{run_id}")
    page.get_by_role("link", name="Messages").click()
    frame.get_by_role("link", name="Proxied").click()
    frame.locator("summary", has_text="Resend").click()
    frame.get_by_role("button", name="Yes, resend").click()
    expect(frame.locator(".answer .state")).to_have_text("queued")
    frame.get_by_role("link", name="SendMessage", exact=True).click()
    page.wait_for_url(re.compile(rf"{re.escape(proxy.url)}/dags/SendMessage/runs/[^/]+$"), wait_until="commit")

    page.get_by_role("link", name="Notify").first.click()
    expect(frame.get_by_role("heading", name="Overview")).to_be_visible()
    frame.get_by_role("link", name="Messages", exact=True).click()
    frame.get_by_label("Recipient", exact=True).fill("nobody@example.com")
    frame.get_by_role("button", name="Filter").click()
    expect(frame.get_by_text("There are no such messages.")).to_be_visible()
    page.wait_for_url(re.compile("address=nobody"), wait_until="commit")  # Airflow has noticed where its frame is
    page.reload()
    expect(frame.get_by_label("Recipient", exact=True)).to_have_value("nobody@example.com")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    page.evaluate("document.documentElement.classList.replace('dark', 'light')")
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")


def test_by_itself(stack: Stack, visitor: Visitor) -> None:
    """Each view has its style and its script, and leads nowhere outside of the folder."""
    number = hand_over(stack, "Looked at")
    visitor.log_in(stack.password)
    for path in [path for path, _, _ in MENU] + [f"messages/{number}"]:
        page = visitor.open(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert page.locator(".bar nav").evaluate("nav => getComputedStyle(nav).display") == "flex"
        assert [place for place in page.evaluate(PLACES) if not place.startswith(f"{visitor.url}/")] == []


def test_links_in_mails(stack: Stack, visitor: Visitor) -> None:
    """Their readers come by the proxy: one click unsubscribes, and the settings say so and take it back."""
    mailbox = Mailbox(stack)
    hand_over(stack, "To many", priority="bulk")
    run(stack, "Notifications", "smtp_default")
    (mail,) = mailbox.mails()
    one_click = str(mail.message["List-Unsubscribe"]).strip(" <>")
    assert one_click.startswith(f"{visitor.url}/notify/unsubscribe/")
    stopped = httpx.post(one_click, data={"List-Unsubscribe": "One-Click"}, verify=False, trust_env=False)
    assert stopped.status_code == httpx.codes.OK

    found = re.search(rf"{re.escape(visitor.url)}/notify/my/\S+", text_of(mail))
    assert found
    page = visitor.page
    page.goto(found[0])
    expect(page.get_by_label("Mail that is sent to many people")).to_have_value("no")
    page.get_by_label("Mail that is sent to many people").select_option("yes")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text(re.compile("Saved"))
    assert query(stack, "select count(*) from notify.unsubscriptions") == [(0,)]


def test_a_program(proxy: ReverseProxy, program: httpx.Client) -> None:
    """The API says where it is, and its pages lead to each other."""
    for subject in ("first", "second"):
        letter = {"recipient": "anna@example.com", "subject": subject, "message": "Hello."}
        program.post(f"{proxy.url}{API}/messages", json=letter).raise_for_status()
    newest = program.get(f"{proxy.url}{API}/messages?limit=1").json()
    older = program.get(urljoin(proxy.url, newest["next"])).json()
    assert [one["subject"] for one in newest["messages"] + older["messages"]] == ["second", "first"]
    described = program.get(f"{proxy.url}/notify/openapi.json").json()
    assert described["servers"][0]["url"] == f"{FOLDER}/notify"
