"""What the documentation names exists."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from notify.bouncing import BounceResult
from notify.campaigns.generating import GeneratingResult
from notify.campaigns.ordering import Wish
from notify.checks.running import CHECKS
from notify.cli import parser
from notify.domain.blame import BY_DETAIL, BY_SUBJECT, HARD_EXPIRY, SOFT_BOUNCES, SOFT_EXPIRY, SOFT_WINDOW, Blame
from notify.domain.bounce import Sort
from notify.domain.campaign import STARTS, CampaignAction, CampaignDraft, CampaignStatus, Fate
from notify.domain.event import EventDraft
from notify.domain.home import Reason
from notify.domain.keeping import KEEP_BODIES, KEEP_ROWS, LONGEST, SHORTEST
from notify.domain.kind import BUILT_IN
from notify.domain.message import Draft
from notify.domain.preference import Frequency
from notify.domain.status import RESENDABLE, TRANSITIONS, Status
from notify.drain import DrainResult
from notify.housekeeping import HousekeepingResult
from notify.mailboxes.imap_settings import Extras
from notify.merge import MergeResult
from notify.operators.notify import EVENT_FIELDS
from notify.operators.send_message import FIELDS
from notify.receiving import ReceivingResult
from notify.storage import campaign_messages, outbox
from notify.witness import MARK, Witness

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)

#: Named in a page as something that a reader must put in.
PLACEHOLDERS = {"ID": "1"}


def code(text: str) -> str:
    """All that is set as code."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page exists."""
    links = re.findall(r"\]\(([^)#]+)|src=\"([^\"]+)", page.read_text())
    for target in {one or other for one, other in links}:
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_make_targets_exist() -> None:
    """Every `make …` that is named is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", code(TEXT)))
    assert named
    assert named <= targets


def test_commands_exist() -> None:
    """Every `python -m notify …` that is named is understood, with its arguments."""
    named = set(re.findall(r"python -m notify ([^`\n]+)", code(TEXT)))
    assert named
    for command in named:
        for words in variants(command.strip(" .")):
            parser().parse_args(words)


def variants(command: str) -> list[list[str]]:
    """A command, or one for each alternative in `a|b`; placeholders filled in."""
    own, _, _ = command.replace("$(cat held)", "1").partition(" | ")  # of what the shell makes of it, our part
    words = [PLACEHOLDERS.get(word, word) for word in own.split()]
    for position, word in enumerate(words):
        if "|" in word:
            extra = {"downgrade": ["0001"]}
            return [[*words[:position], one, *extra.get(one, [])] for one in word.split("|")]
    return [words]


def test_modules_and_files_exist() -> None:
    """Every file of the package that is named exists."""
    package = CHECKOUT / "plugins" / "notify"
    for name in set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", TEXT)):
        assert (package / name).exists() or (CHECKOUT / name).exists(), name


def first_column(table: str) -> set[str]:
    """All names set as code in the first column of a table."""
    rows = (line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    return {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


def test_the_table_of_fields_is_complete() -> None:
    """docs/sending.md tells of each field, the operator takes each, and hand-over knows no other."""
    table = (CHECKOUT / "docs" / "sending.md").read_text().split("## The fields")[1].split("##")[0]
    told = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert told == set(FIELDS) == set(Draft.model_fields)


def test_the_numbers_of_a_run_exist() -> None:
    """docs/operations.md explains each number of a run's result."""
    table = (CHECKOUT / "docs" / "operations.md").read_text().split("## Reading a run")[1].split("## A red")[0]
    told = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert told == {field.name for field in dataclasses.fields(DrainResult)} - {"sender"}


def test_the_states_are_those_there_are() -> None:
    """docs/operations.md tells of each state of a message what it means and what to do."""
    table = (CHECKOUT / "docs" / "operations.md").read_text().split("| state |")[1].split("\n\n")[0]
    assert first_column(table) == {status.value for status in Status}


def test_what_campaigns_hold_is_known_by_its_reason() -> None:
    """docs/operations.md leaves out what campaigns hold by the words that the code gives as the reason."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    [words] = re.findall(r"messages export --status held \| grep -v ',(.*?)'", page)
    assert outbox._PARKED.startswith(words)
    assert f"status = 'held', parked = true, status_reason = '{words}" in campaign_messages._PARK.text


def test_the_diagram_of_states_is_the_code() -> None:
    """docs/architecture.md draws exactly the ways that a message may go, and names those that are a person's resend."""
    diagram = (CHECKOUT / "docs" / "architecture.md").read_text().split("stateDiagram-v2")[1].split("```")[0]
    drawn = re.findall(r"^ +(\w+) --> (\w+): (.*)$", diagram, flags=re.MULTILINE)
    assert {(before, after) for before, after, _ in drawn} == {
        (before.value, after.value) for before, after in TRANSITIONS
    }
    resent = {before for before, after, how in drawn if after == "queued" and "resend" in how}
    assert resent == {status.value for status in RESENDABLE}


def test_the_mark_is_named_as_it_is() -> None:
    """docs/operations.md names the Variable and the file that a restored copy is known by."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    assert f"the Variable `{MARK}`" in page
    assert f"`{Witness()._file.name}`" in page


def test_the_times_of_keeping_are_those_there_are() -> None:
    """docs/configuration.md names the default, the shortest and the longest time to keep bodies and rows."""
    page = (CHECKOUT / "docs" / "configuration.md").read_text()
    for name, default in (("notify_keep_bodies", KEEP_BODIES), ("notify_keep_rows", KEEP_ROWS)):
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        assert f"| `P{default.days}D` |" in row
        assert f"`P{SHORTEST.days}D` to `P{LONGEST.days}D`" in row


def test_the_numbers_of_a_merge_exist() -> None:
    """docs/operations.md explains each number of a run of UserNotifications."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    table = page.split("## Reading a run of UserNotifications")[1].split("\n## ")[0]
    assert first_column(table) == {field.name for field in dataclasses.fields(MergeResult)}


def test_the_numbers_of_housekeeping_exist() -> None:
    """docs/operations.md explains each number of a run of Housekeeping."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    table = page.split("## Housekeeping")[1].split("\n## ")[0]
    assert first_column(table) == {field.name for field in dataclasses.fields(HousekeepingResult)}


def test_the_numbers_of_delivery_reports_exist() -> None:
    """docs/bounces.md explains each number of a run of DeliveryReports, and each sort of mail."""
    page = (CHECKOUT / "docs" / "bounces.md").read_text()
    table = page.split("## Reading a run of DeliveryReports")[1].split("\n## ")[0]
    assert first_column(table) == {field.name for field in dataclasses.fields(BounceResult)}
    assert all(f"`{sort}`" in table for sort in [*Sort, "not_ours"])


def test_the_numbers_of_receipts_exist() -> None:
    """docs/sms.md explains each number of a run of sms_receipts."""
    page = (CHECKOUT / "docs" / "sms.md").read_text()
    table = page.split("### Reading a run of sms_receipts")[1].split("\n#")[0]
    assert first_column(table) == {field.name for field in dataclasses.fields(ReceivingResult)}


@pytest.mark.parametrize(
    ("title", "module"), [("## The connection", "eurosms_settings"), ("### Another gateway", "template_gateway")]
)
def test_the_extras_of_gateways_are_those_that_are_read(title: str, module: str) -> None:
    """docs/sms.md tells of each extra of a connection to a gateway, and of no other."""
    section = (CHECKOUT / "docs" / "sms.md").read_text().split(f"{title}\n")[1].split("\n#")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| extra")]
    source = (CHECKOUT / "plugins" / "notify" / "channels" / f"{module}.py").read_text()
    read = set(re.findall(r'\bextras(?:(?:\.\w+)+\(|, )"(\w+)"', source))
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == read


def test_the_extras_of_the_mailbox_exist() -> None:
    """docs/bounces.md explains each extra of the connection imap_bounces, with its default."""
    table = (CHECKOUT / "docs" / "bounces.md").read_text().split("| extra |")[1].split("\n\n")[0]
    assert first_column(table) == set(Extras.model_fields)
    given = {row.split("|")[1].strip(" `"): row.split("|")[2].strip(" `") for row in table.splitlines() if "| `" in row}
    for name in ("mailbox", "processed", "timeout", "ssl_context", "auth_type"):
        assert given[name] == str(Extras.model_fields[name].default)


def test_the_table_of_blame_is_complete() -> None:
    """docs/bounces.md says of each status code what the code makes of it, and why; and the same times."""
    page = (CHECKOUT / "docs" / "bounces.md").read_text()
    rows = [line.split(" | ") for line in page.split("### Hard, soft")[1].splitlines() if line.startswith("| `5.")]
    told = {row[0].strip("| `"): (row[1], row[2].removesuffix(" |")) for row in rows}
    meant = {f"5.{detail}": (blame.value, reason) for detail, (blame, reason) in BY_DETAIL.items()}
    others = {f"5.{subject}.*": (blame.value, reason) for subject, (blame, reason) in BY_SUBJECT.items()}
    assert told == meant | {code: found for code, found in others.items() if found[0] != Blame.SOFT}
    assert f"suppressed for {HARD_EXPIRY.days} days" in page
    three = f"when {SOFT_BOUNCES} different messages came back so within {SOFT_WINDOW.days} days"
    assert f"for {SOFT_EXPIRY.days} days, {three}" in page


def test_the_table_of_event_fields_is_complete() -> None:
    """docs/events.md tells of each field, the operator takes each, and publishing knows no other."""
    table = (CHECKOUT / "docs" / "events.md").read_text().split("## The fields")[1].split("\n## ")[0]
    assert first_column(table) == set(EVENT_FIELDS) == set(EventDraft.model_fields)


def test_the_tables_of_campaigns_are_complete() -> None:
    """docs/campaigns.md tells of each field of a campaign, of what an order may have beside, of numbers and reasons."""
    page = (CHECKOUT / "docs" / "campaigns.md").read_text()
    told = [first_column(page.split(f"## {title}")[1].split("\n#")[0]) for title in ("The fields", "From a DAG")]
    assert told == [set(CampaignDraft.model_fields), set(Wish.model_fields)]
    numbers = page.split("| number | meaning |")[1].split("\n\n")[0]
    assert first_column(numbers) == {field.name for field in dataclasses.fields(GeneratingResult)}
    reasons = page.split("| reason | why |")[1].split("\n\n")[0]
    assert first_column(reasons) == {fate.value for fate in Fate if fate is not Fate.CREATED}


def test_the_diagram_of_campaigns_is_the_code() -> None:
    """docs/campaigns.md draws for each action exactly the states from which it may be done."""
    page = (CHECKOUT / "docs" / "campaigns.md").read_text()
    diagram = page.split("stateDiagram-v2")[1].split("```")[0]
    drawn = re.findall(r"^ +(\w+) --> (\w+): (\w+)", diagram, flags=re.MULTILINE)
    assert {name for before, after, _ in drawn for name in (before, after)} == {one.value for one in CampaignStatus}
    for action in (CampaignAction.SEND, CampaignAction.PAUSE, CampaignAction.RESUME, CampaignAction.CANCEL):
        assert {before for before, _, how in drawn if how == action} == {one.value for one in STARTS[action]}


def test_the_reasons_are_those_there_are() -> None:
    """docs/events.md explains each reason why a notification makes no mail."""
    table = (CHECKOUT / "docs" / "events.md").read_text().split("What makes no mail")[1].split("Mandatory kinds")[0]
    assert first_column(table) == {reason.value for reason in Reason}


def test_the_built_in_kinds_are_those_there_are() -> None:
    """docs/events.md tells of each built-in kind, and of what may be chosen for it."""
    table = (CHECKOUT / "docs" / "events.md").read_text().split("## Kinds")[1].split("Kinds of your own")[0]
    assert first_column(table) == set(BUILT_IN)
    for line in table.splitlines():
        for name in re.findall(r"`(\w+)`", line.split("|")[1]) if line.startswith("| `") else ():
            told = line.split("|")[3]
            assert [one for one in Frequency if one.value in told] == list(BUILT_IN[name].choices)


def test_the_checks_are_those_there_are() -> None:
    """docs/health.md tells of each check what it means and what to do, in the words of the check itself."""
    page = (CHECKOUT / "docs" / "health.md").read_text()
    rows = [
        tuple(cell.strip(" `") for cell in line.split("|")[1:-1]) for line in page.splitlines() if "| `notify." in line
    ]
    assert rows == sorted((check.id, check.title, check.meaning, check.remedy) for check in CHECKS)


def test_variables_are_those_that_are_read() -> None:
    """docs/configuration.md lists exactly the Variables that the code reads."""
    sources = [*(CHECKOUT / "plugins").rglob("*.py"), *(CHECKOUT / "dags").glob("*.py")]
    read = set(re.findall(r'(?:variable|dag_settings)\(\s*"(notify_\w+)"', "\n".join(map(Path.read_text, sources))))
    table = (CHECKOUT / "docs" / "configuration.md").read_text().split("## Variables")[1].split("##")[0]
    assert set(re.findall(r"^\| `(notify_\w+)`", table, flags=re.MULTILINE)) == read


def test_direct_dependencies_have_their_reason() -> None:
    """docs/dependencies.md names each package of requirements.txt and requirements-dev.txt."""
    reasons = (CHECKOUT / "docs" / "dependencies.md").read_text()
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (CHECKOUT / file).read_text().splitlines():
            name = re.match(r"[a-z][a-z0-9-]*", line)
            if name:
                assert name.group() in reasons, name.group()
