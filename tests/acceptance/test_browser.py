"""The page inside Airflow, in a real browser, as an operator uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from dev.browser import PATIENCE
from dev.stack import Stack
from notify.web.pages.layout import MENU
from tests.acceptance.browser import DESKTOP, PHONE, Spy, Theme, Visitor, overflow, serious
from tests.acceptance.conftest import NEVER
from tests.acceptance.observing import Mailbox, dag, hand_over, query, run, wait_until

pytestmark = pytest.mark.usefixtures("empty")

#: Whatever a mail may try: scripts, forms, foreign pictures and frames, styles that cover the page, a way out.
HOSTILE = """
<html><head><style>
  body { position: fixed; inset: 0; z-index: 99999; background: url(SPY/background.png) }
  @import url("SPY/style.css");
</style><meta http-equiv="refresh" content="0; url=SPY/away"><base target="_top"></head>
<body onload="top.hacked = true; parent.document.title = 'hacked'">
  <script>top.hacked = true; parent.hacked = true; alert(1); fetch("SPY/fetched")</script>
  <p id="words">Your invoice</p>
  <img src="SPY/pixel.gif" onerror="top.hacked = true">
  <iframe src="SPY/frame"></iframe>
  <object data="SPY/object"></object>
  <link rel="stylesheet" href="SPY/linked.css">
  <form action="SPY/login"><input name="password"><button>Log in</button></form>
  <a href="javascript:top.hacked = true">Click</a>
  <svg onload="top.hacked = true"><image href="SPY/svg.png"/></svg>
</body></html>
"""


#: Opens a window of a size and a theme, in which somebody has logged in.
Opened = Callable[..., Visitor]


@pytest.fixture
def opened(stack: Stack, browser: Browser) -> Iterator[Opened]:
    """Windows of a test; they are closed with it, and nothing may have gone wrong in them."""
    open_ones: list[Visitor] = []

    def a_window(size: tuple[int, int] = DESKTOP, theme: Theme = "light") -> Visitor:
        visitor = Visitor.at(stack.url, browser, size, theme)
        open_ones.append(visitor)
        visitor.log_in(stack.password)
        return visitor

    yield a_window
    for visitor in open_ones:
        visitor.close()


def send(stack: Stack, subject: str, recipient: str = "anna@example.com", **fields: object) -> int:
    """Hand a message over and send it; its number in the register."""
    number = hand_over(stack, subject, recipient, **fields)
    run(stack, "Notifications", "smtp_default")
    return number


def test_two_clicks_to_what_became_of_a_mail(stack: Stack, opened: Opened) -> None:
    """From Airflow's navigation to a message, and the message sent once more, which arrives."""
    number = send(stack, "Seen in the browser")
    mailbox = Mailbox(stack)
    visitor = opened()
    visitor.page.get_by_role("link", name="Notify").first.click()
    frame = visitor.page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Overview")).to_be_visible()
    expect(frame.get_by_role("heading", name="smtp_default")).to_be_visible()

    frame.get_by_role("link", name="Messages", exact=True).click()
    frame.get_by_label("Recipient", exact=True).fill("anna@example.com")
    frame.get_by_role("button", name="Filter").click()
    frame.get_by_role("link", name="Seen in the browser").click()
    expect(frame.get_by_role("heading", name=f"Message {number}")).to_be_visible()
    expect(frame.get_by_role("cell", name="anna@example.com")).to_be_visible()

    frame.locator("summary", has_text="Resend").click()
    frame.get_by_role("button", name="Yes, resend").click()
    expect(frame.locator(".answer .state")).to_have_text("queued")
    run(stack, "Notifications", "smtp_default")
    wait_until(lambda: mailbox.letters() == [("anna@example.com", "Seen in the browser")], "the mail")


def test_the_tab_of_a_run(stack: Stack, opened: Opened) -> None:
    """The tab Messages of a run shows what it handed over; a link there leads back to Airflow's page of the run."""
    letter = {"recipient": "anna@example.com", "subject": "Of this run", "message": "Hello."}
    run_id = stack.run("SendMessage", letter)
    visitor = opened()
    visitor.page.goto(f"{stack.url}/dags/SendMessage/runs/{run_id}")
    visitor.page.get_by_role("link", name="Messages").click()
    frame = visitor.page.frame_locator("iframe")
    # Whoever clicks at once must not be led into the frame: the script that may come late is held up for good.
    visitor.page.route("**/static/notify.js", lambda _: None)
    frame.get_by_role("link", name="Of this run").click()
    frame.get_by_role("link", name="SendMessage", exact=True).click()
    visitor.page.wait_for_url(re.compile(r"/dags/SendMessage/runs/[^/]+$"), wait_until="commit")


def test_a_hostile_mail_is_shown_harmless(stack: Stack, opened: Opened) -> None:
    """A mail with scripts, forms, foreign pictures and styles that want the whole page is shown, and does nothing."""
    visitor = opened()
    with Spy() as spy:
        visitor.page.goto(f"{spy.url}/seen")
        assert "/seen" in spy.asked  # it would notice
        number = send(
            stack, "Hostile", message=HOSTILE.replace("SPY", f"{spy.url}/mail"), html=True, add_template=False
        )
        _look_at(visitor, number)
        assert [path for path in spy.asked if path.startswith("/mail")] == []
    # What the policy says of it is the proof that the mail has tried.
    tried = [fault for fault in visitor.faults if fault.split(": ")[0].endswith("/html")]
    assert tried
    visitor.faults[:] = [fault for fault in visitor.faults if fault not in tried]


def _look_at(visitor: Visitor, number: int) -> None:
    """Look at the hostile mail, and do all that it asks for."""
    dialogs: list[str] = []
    visitor.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page = visitor.open(f"messages/{number}")
    mail = page.frame_locator("iframe.mail")
    expect(mail.get_by_text("Your invoice")).to_be_visible()
    mail.get_by_role("button", name="Log in").click()
    mail.get_by_role("link", name="Click").click()
    expect(page.get_by_role("heading", name=f"Message {number}")).to_be_visible()
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert dialogs == []


def test_the_theme_follows_airflow(opened: Opened) -> None:
    """Within Airflow the page has the theme that Airflow has, and changes with it."""
    visitor = opened()
    visitor.page.goto(f"{visitor.url}/plugin/notify")
    theme = visitor.page.frame_locator("iframe").locator("html")
    expect(theme).to_have_attribute("data-theme", "light")
    visitor.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    expect(theme).to_have_attribute("data-theme", "dark")


def test_a_schedule_is_changed(stack: Stack, opened: Opened) -> None:
    """A schedule that is none is refused with the reason; of one that is the next runs are shown, and it is obeyed."""
    try:
        page = opened().open("settings")
        card = page.locator("#notify_schedule_reminders")
        card.get_by_label("New schedule").fill("every now and then")
        card.get_by_role("button", name="Preview").click()
        expect(card.get_by_role("alert")).to_be_visible()
        card.get_by_label("New schedule").fill("15 6 * * 1")
        card.get_by_role("button", name="Preview").click()
        expect(card.locator(".runs").last.get_by_role("listitem")).to_have_count(5)
        card.get_by_role("button", name="Save 15 6 * * 1").click()
        expect(card.get_by_text("Last change here")).to_be_visible()
        assert stack.api("GET", "/variables/notify_schedule_reminders")["value"] == "15 6 * * 1"
        wait_until(lambda: "06:15" in str(dag(stack, "Reminders")["timetable_description"]), "the schedule")
    finally:
        stack.set_variable("notify_schedule_reminders", NEVER)


@pytest.fixture
def anna(stack: Stack) -> None:
    """A person who has said nothing of what they want."""
    file = stack.home / "people.json"
    file.write_text(json.dumps([{"login": "anna", "name": "Anna", "email": "anna@example.com"}]))
    stack.produce([], file)


def said(stack: Stack) -> list[tuple[object, ...]]:
    """What Anna said of each kind of event: how often, and when."""
    return query(stack, "select kind, frequency, to_char(hour, 'HH24:MI') from notify.preferences where login = 'anna'")


def states(stack: Stack, *numbers: int) -> list[str]:
    """The states of messages."""
    found = dict(query(stack, "select id, status from notify.messages"))
    return [found[number] for number in numbers]


def test_preferences_are_changed(stack: Stack, opened: Opened, anna: None) -> None:
    """What is chosen on a person's page applies to them, and Airflow's audit log says who chose it."""
    page = opened().open("people")
    page.get_by_role("link", name="anna", exact=True).click()
    page.get_by_label("How often, case_changed").select_option("daily")
    page.get_by_label("Time of the day, case_changed").fill("17:30")
    page.get_by_role("button", name="Save preferences").click()
    expect(page.get_by_role("cell", name="daily at 17:30")).to_be_visible()
    assert said(stack) == [("case_changed", "daily", "17:30")]
    (noted,) = stack.api("GET", "/eventLogs?event=notify.set_preferences&order_by=-event_log_id&limit=1")["event_logs"]
    assert (noted["owner"], json.loads(noted["extra"])["login"]) == ("admin", "anna")


def test_an_address_is_suppressed_and_lifted(stack: Stack, opened: Opened) -> None:
    """An address that is put on the list gets nothing, of what waits and of what comes; and mail again when lifted."""
    waiting = hand_over(stack, "Before")
    page = opened().open("people")
    page.get_by_role("link", name="Suppression list").click()
    page.locator("summary", has_text="Add an address").click()
    adding = page.locator("details.confirm form")
    adding.get_by_label("Address").fill("anna@example.com")
    adding.get_by_label("Reason").fill("asked by phone")
    adding.get_by_role("button", name="Yes, suppress").click()
    expect(page.locator(".notice")).to_contain_text("1 queued message was suppressed")
    expect(page.get_by_role("cell", name="asked by phone")).to_be_visible()
    assert states(stack, waiting, hand_over(stack, "Meanwhile")) == ["suppressed", "suppressed"]

    page.get_by_label("Select anna@example.com").check()
    page.get_by_role("button", name="Lift…").click()
    expect(page.get_by_role("heading", name="Send to 1 address again?")).to_be_visible()
    page.get_by_role("button", name="Yes, lift 1").click()
    expect(page.locator(".notice")).to_contain_text("anna@example.com is not on the list")
    assert states(stack, hand_over(stack, "After")) == ["queued"]


def test_several_messages_are_held(stack: Stack, opened: Opened) -> None:
    """Of those ticked, the page tells with how many it can be done and with which it cannot, and does no more."""
    one, two, three, other = (hand_over(stack, subject) for subject in ("One", "Two", "Three", "Other"))
    stack.client.request("POST", f"/notify/api/v1/messages/{two}/cancel").raise_for_status()
    page = opened().open("messages?address=anna@example.com")
    hold = page.get_by_role("button", name="Hold…")
    expect(hold).to_be_disabled()
    page.get_by_label("All on this page").check()
    expect(page.get_by_text("4 selected")).to_be_visible()
    page.get_by_label(f"Select message {other}").uncheck()
    expect(page.get_by_text("3 selected")).to_be_visible()
    hold.click()
    expect(page.get_by_role("heading", name="Hold: 3 messages")).to_be_visible()
    refused = page.get_by_role("region", name="Messages with which it is not possible").locator("tbody tr")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text(f"Message {two} is cancelled")
    page.get_by_role("button", name="Yes, hold 2 messages").click()
    expect(page.locator(".notice")).to_have_text("2 messages are held.")
    expect(page.get_by_label("Recipient", exact=True)).to_have_value("anna@example.com")
    assert states(stack, one, two, three, other) == ["held", "cancelled", "held", "queued"]


def press(page: Page, name: str, yes: str) -> None:
    """Press a button of a campaign, and say yes."""
    page.locator("#actions summary", has_text=re.compile(f"^{name}$")).click()
    page.get_by_role("button", name=yes, exact=True).click()


def is_usable(page: Page) -> None:
    """A view fits its window, and axe-core finds nothing serious."""
    assert (overflow(page), serious(page)) == (0, [])


def test_a_campaign(stack: Stack, opened: Opened) -> None:
    """On a phone: written, corrected, looked at, tried, generated, sent, paused, resumed, cancelled."""
    stack.set_pool("smtp_default", 5)
    mailbox = Mailbox(stack)
    visitor = opened(PHONE)
    page = visitor.open("campaigns")
    page.get_by_role("link", name="New campaign").click()
    page.get_by_label("Description").fill("Spring sale")
    page.get_by_label("Message", exact=True).fill("Dear {{ first_name }}, come and see.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("subject: is missing")
    expect(page.get_by_label("Subject")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Dear {{ first_name }}, come and see.")
    is_usable(page)
    assert [fault.partition("status of ")[2][:3] for fault in visitor.faults] == ["422"]  # of the refused form
    visitor.faults.clear()
    page.get_by_label("Subject").fill("Hello {{ first_name }}")
    lines = ["email,first_name", *(f"r{number}@example.com,Anna{number}" for number in range(1, 7))]
    file = FilePayload(name="list.csv", mimeType="text/csv", buffer="\n".join(lines).encode())
    page.get_by_label("File of recipients (CSV)").set_input_files(file)
    page.get_by_role("button", name="Save").click()
    state = page.locator(".answer .state")
    expect(state).to_have_text("draft")
    preview = page.frame_locator("iframe").get_by_role("paragraph")
    expect(preview.filter(has_text="Dear Anna1, come and see.")).to_be_visible()
    is_usable(page)

    page.locator("#actions summary", has_text="Test").click()
    page.get_by_label("Recipients: addresses or logins").fill("me@example.com")
    page.get_by_role("button", name="Send the test").click()
    expect(page.get_by_role("status").first).to_contain_text("The test was handed over")
    press(page, "Generate", "Yes, generate")
    expect(state).to_have_text("generated", timeout=2 * PATIENCE)  # by itself, when MassMailing has run
    press(page, "Send", "Yes, send")
    expect(state).to_have_text("sending")
    assert mailbox.letters() == []
    run(stack, "Notifications", "smtp_default")
    # The hour has five slots, of which bulk may use four, and the test took one; this, too, comes by itself.
    expect(page.get_by_text("4 of 6 sent")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "4")
    is_usable(page)

    press(page, "Pause", "Yes, pause")
    expect(state).to_have_text("paused")
    expect(page.get_by_role("link", name="2 held")).to_be_visible()
    press(page, "Resume", "Yes, resume")
    expect(state).to_have_text("sending")
    press(page, "Cancel", "Yes, cancel it")
    expect(state).to_have_text("cancelled")
    page.get_by_role("link", name="2 cancelled").click()
    expect(page.get_by_role("region", name="Messages found").locator("tbody tr")).to_have_count(2)
    sent = [("me@example.com", "[Test] Hello Anna1")]
    sent += [(f"r{number}@example.com", f"Hello Anna{number}") for number in range(1, 5)]
    wait_until(lambda: mailbox.letters() == sent, "the mails")


def test_settings_by_the_link_in_a_mail(stack: Stack, browser: Browser, anna: None) -> None:
    """The link at the end of a mail opens its reader's settings without a login; what they choose there is stored."""
    mailbox = Mailbox(stack)
    send(stack, "With a link")
    (text,) = mailbox.texts("anna@example.com")
    link = re.search(r"\S+/notify/my/\S+", text)
    assert link
    reader = Visitor.at(stack.url, browser, PHONE)
    reader.page.goto(link[0])
    expect(reader.page.get_by_text("For mail to a•••@example.com")).to_be_visible()
    assert (overflow(reader.page), serious(reader.page)) == (0, [])
    reader.page.get_by_label("Change in a case").select_option("Once a day")
    reader.page.get_by_label("Time of the daily and the weekly mail").fill("17:30")
    reader.page.get_by_role("button", name="Save").click()
    expect(reader.page.get_by_role("status")).to_contain_text("Saved.")
    expect(reader.page.get_by_label("Change in a case")).to_have_value("daily")
    assert sorted(said(stack)) == [("*", None, "17:30"), ("case_changed", "daily", None)]
    assert reader.context.cookies() == []
    reader.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_view_is_usable(stack: Stack, opened: Opened, size: tuple[int, int], theme: Theme) -> None:
    """Each view fits its window, and axe-core finds nothing serious: names, contrast, order, roles."""
    number = send(stack, "Looked at by everybody", case_id="CASE-7")
    visitor = opened(size, theme)
    for path in [path for path, _, _ in MENU] + [f"messages/{number}", "campaigns/new"]:
        page = visitor.open(path)
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert overflow(page) <= 0, f"/{path} is wider than its window"
        assert serious(page) == [], f"/{path}"


def test_by_keyboard(opened: Opened) -> None:
    """The first stop of the keyboard skips the menu, and every stop shows where it is."""
    page = opened().open("messages")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    outline: str = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
