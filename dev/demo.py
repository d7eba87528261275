"""`make demo`: from hand-over to the mailbox, on a stack of its own, without a person.

First the main job. The pool's limit is set to five messages an hour, twelve are handed over, and Notifications
runs: five arrive, seven wait. The limit is raised, Notifications runs again, and the rest arrives. Then what arrived
is compared with what was handed over. The other parts are modules of their own: :mod:`dev.demo_events` does the same
with events, :mod:`dev.demo_sms` with SMS. The exit status is 0 only if all agrees.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev.catcher import Mail
from dev.demo_campaign import CampaignDemo
from dev.demo_events import VARIABLES, EventsDemo
from dev.demo_sms import SmsDemo
from dev.errors import StackError
from dev.ports import free_ports
from dev.stack import MAIL_SENDER, Stack
from dev.steps import Steps, complain, say
from dev.table import short, table
from dev.up import stopped_by_signals

FIRST_LIMIT = 5
NEXT_LIMIT = 100

# The demo starts the jobs itself; by the clock they would run once a year.
JOBS = ("notifications", "user_notifications", "reminders", "mass_mailing", "delivery_reports", "housekeeping")
NEVER = {f"notify_schedule_{job}": "0 0 1 1 *" for job in JOBS}

REPORT = base64.b64encode("měsíc;suma\nříjen;1 204,50\n".encode()).decode()


@dataclass(frozen=True, slots=True)
class Letter:
    """One run of SendMessage.

    :param conf: what is handed over
    :param envelopes: the recipients of each mail that must come of it
    """

    conf: Mapping[str, Any]
    envelopes: Sequence[tuple[str, ...]]


@dataclass(slots=True)
class Expected:
    """One mail that must arrive.

    :param arrived: every mail with this Message-ID; it ought to be one
    """

    id: int
    message_id: str
    recipients: tuple[str, ...]
    handed_over: datetime
    urgent: bool = False
    arrived: list[Mail] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``once``, or what is wrong."""
        if not self.arrived:
            return "MISSING"
        if len(self.arrived) > 1:
            return f"{len(self.arrived)} TIMES"
        if set(self.arrived[0].recipients) != set(self.recipients):
            return "OTHER RECIPIENTS"
        return "once"


def one(recipient: str, **conf: Any) -> Letter:
    """A message to one recipient."""
    return Letter({"recipient": recipient, **conf}, [(recipient,)])


LETTERS = (
    one("anna@example.com", subject="Good morning", message="The nightly load has finished.\nNothing to do."),
    one(
        "lukasz@example.com",
        subject="Dzień dobry – nocne ładowanie zakończone",
        message="Załadowano 1 204 wierszy.",
        language="pl",
    ),
    one(
        "zuzana@example.com",
        subject="Dobré ráno – nočné načítanie je hotové",
        message="<p>Načítaných <b>1 204</b> riadkov, <i>žiadna chyba</i>.</p>",
        html=True,
        language="sk",
    ),
    Letter(
        {
            "recipient": "bruno@example.com; carla@example.com",
            "cc": ["dora@example.com"],
            "one_mail": True,
            "subject": "One mail to all three",
            "message": "You see each other in To and Cc.",
        },
        [("bruno@example.com", "carla@example.com", "dora@example.com")],
    ),
    Letter(
        {
            "recipient": "emil@example.com",
            "bcc": ["audit@example.com"],
            "subject": "With a blind copy",
            "message": "The auditor gets this too; nobody sees it.",
        },
        [("emil@example.com", "audit@example.com")],
    ),
    one(
        "finance@example.com",
        subject="The monthly report",
        message="Attached.",
        attachments=[{"filename": "report-říjen.csv", "content_base64": REPORT}],
    ),
    one(
        "gita@example.com",
        template="welcome",
        data={"catcher": "the demo's own", "ui_url": "http://localhost"},
    ),
    one("hana@example.com", subject="Case closed", message="Thank you.", case_id="HR-7", priority="urgent"),
    Letter(
        {
            "recipient": ["ivan@example.com", "jana@example.com", "karl@example.com"],
            "subject": "One mail each",
            "message": "You do not see the others.",
        },
        [("ivan@example.com",), ("jana@example.com",), ("karl@example.com",)],
    ),
    one(
        "lena@example.com",
        subject="Only once",
        message="The producer is run twice, its mail leaves once.",
        idempotency_key="demo-invoice-4711",
        guarantee="at_most_once",
    ),
)

#: The letter that is handed over a second time.
REPEATED = LETTERS[-1]


def main() -> int:
    """Run the demo; the exit status says whether what arrived is what was handed over."""
    steps = Steps()
    try:
        with stopped_by_signals(steps):
            wrong = _in_a_home_of_its_own(steps)
    except KeyboardInterrupt:
        steps("Interrupted; everything that was started is stopped and the temporary home is removed")
        return 130
    except StackError as error:
        complain(f"\n{error}")
        return 1
    say()
    say("\n".join(f"WRONG: {each}" for each in wrong) or "Everybody got what they had to, each mail and each SMS once.")
    return 1 if wrong else 0


def _in_a_home_of_its_own(steps: Steps) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="airflow-notify-demo-") as name:
        port, mail_port, sms_port = free_ports(3)
        steps(f"The demo's own home is {name}, Airflow's port {port}, the mail catcher's {mail_port}")
        with Stack(
            Path(name),
            port=port,
            mail_port=mail_port,
            sms_port=sms_port,
            variables={**NEVER, **VARIABLES},
            report=steps,
        ) as stack:
            wrong = [each for part in PARTS for each in part(stack, steps).run()]
    steps("Everything is stopped, the home is removed")
    return wrong


class MailDemo:
    """The scenario; what is wrong gathers on the way."""

    def __init__(self, stack: Stack, steps: Steps) -> None:
        self.stack = stack
        self.steps = steps
        self.wrong: list[str] = []
        self.expected: list[Expected] = []
        self.runs: list[set[Path]] = []

    def run(self) -> list[str]:
        """Play all of it.

        :return: what was not as promised
        """
        self._limit(FIRST_LIMIT)
        self._hand_over(LETTERS)
        self._hand_over_again(REPEATED)
        total = len(self.expected)
        self._drain(accepted=FIRST_LIMIT, waiting=total - FIRST_LIMIT)
        self._limit(NEXT_LIMIT)
        self._drain(accepted=total - FIRST_LIMIT, waiting=0)
        self._compare()
        return self.wrong

    def _limit(self, slots: int) -> None:
        self.stack.set_pool(MAIL_SENDER, slots)
        self.steps(f"Pool {MAIL_SENDER} set to {slots} slots: messages per rolling hour")

    def _hand_over(self, letters: Sequence[Letter]) -> None:
        self.steps(f"Handing over: {len(letters)} runs of SendMessage")
        now = datetime.now(UTC)
        runs = [(letter, self.stack.trigger("SendMessage", letter.conf)) for letter in letters]
        for letter, run_id in runs:
            messages = self._result(run_id)["messages"]
            self._check("messages of one hand-over", len(letter.envelopes), len(messages))
            for message, recipients in zip(messages, letter.envelopes, strict=False):
                urgent = letter.conf.get("priority") == "urgent"
                self.expected.append(Expected(message["id"], message["message_id"], recipients, now, urgent))
        self.expected.sort(key=lambda each: each.id)
        self.steps(f"In the outbox: {len(self.expected)} messages; in the mailbox: {len(self.stack.mail())}")

    def _hand_over_again(self, letter: Letter) -> None:
        result = self._result(self.stack.trigger("SendMessage", letter.conf))
        self._check("duplicate, for a repeated idempotency_key", True, result["duplicate"])
        known = {each.message_id for each in self.expected}
        self._check(
            "Message-ID known, for a repeated idempotency_key",
            True,
            result["messages"][0]["message_id"] in known,
        )
        self.steps("Handed over once more with the same idempotency_key: recognised, nothing added")

    def _result(self, run_id: str) -> Any:
        self.stack.require_success("SendMessage", run_id)
        return self.stack.xcom("SendMessage", run_id)

    def _drain(self, *, accepted: int, waiting: int) -> None:
        before = {mail.path for mail in self.stack.mail()}
        result = self.stack.xcom("Notifications", self.stack.run("Notifications"), MAIL_SENDER)
        arrived = {mail.path for mail in self.stack.mail()} - before
        self.runs.append(arrived)
        self.steps(
            f"Notifications ran: {len(arrived)} mails arrived; its XCom says limit {result['limit']}, "
            f"accepted {result['accepted']}, waiting {result['waiting']}"
        )
        self._check("mails that arrived in this run", accepted, len(arrived))
        self._check("accepted, in the run's XCom", accepted, result["accepted"])
        self._check("waiting, in the run's XCom", waiting, result["waiting"])

    def _compare(self) -> None:
        mails = self.stack.mail()
        for each in self.expected:
            each.arrived = [mail for mail in mails if mail.message_id == each.message_id]
        say(table(HEAD, [_row(each, self._run_of(each)) for each in self.expected]))
        self._check("different Message-IDs", len(self.expected), len({mail.message_id for mail in mails}))
        self._check("mails in the mailbox", len(self.expected), len(mails))
        verdicts = Counter(each.verdict for each in self.expected)
        self._check("mails that arrived exactly once, to the right recipients", len(self.expected), verdicts["once"])

        late = [each.id for each in self.expected if each.urgent and self._run_of(each) != 1]
        self._check("urgent messages that the first run left behind", [], late)

    def _run_of(self, each: Expected) -> int | None:
        """Which run of Notifications delivered it, counted from 1."""
        paths = {mail.path for mail in each.arrived}
        return next((number for number, arrived in enumerate(self.runs, start=1) if paths & arrived), None)

    def _check(self, what: str, promised: object, found: object) -> None:
        if promised != found:
            self.wrong.append(f"{what}: promised {promised}, found {found}")


#: In their order; each is given the stack, and returns what was not as promised.
PARTS = (MailDemo, EventsDemo, SmsDemo, CampaignDemo)

HEAD = ("id", "recipient", "subject", "handed over", "arrived", "run", "Message-ID")


def _row(each: Expected, run: int | None) -> tuple[str, ...]:
    mail = each.arrived[0] if each.arrived else None
    first, *others = each.recipients
    return (
        str(each.id),
        f"{first} and {len(others)} more" if others else first,
        short(mail.subject if mail else "", 42),
        f"{each.handed_over:%H:%M:%S}",
        f"{mail.arrived:%H:%M:%S}" if mail else "",
        str(run or ""),
        each.verdict,
    )


if __name__ == "__main__":
    sys.exit(main())
