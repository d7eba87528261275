"""The demo's last part: a campaign of 500 by e-mail, and one of 500 by SMS, under pools that make them wait.

MassMailing is triggered with its form for each: the messages are made, and in the queue. The first run of
Notifications sends four fifths of what the pools allow, for a campaign never takes the rest from others. The pools are
raised, and the second run sends the rest. Then what the mailbox and the gateway hold is compared with what was ordered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dev.stack import MAIL_SENDER, SMS_SENDER, Stack
from dev.steps import Steps, say
from dev.table import table

SIZE = 500

#: Slots of each pool at first, and what a campaign takes of them: 80 %.
FIRST_LIMIT = 300
FIRST_SHARE = 240
NEXT_LIMIT = 1_000

#: In each file also stand so many lines that are there twice, and so many that are no recipient.
DOUBLED = 3
INVALID = 2

MAILS, TEXTS = "Spring sale by e-mail", "Spring sale by SMS"

HEAD = ("campaign", "recipients read", "messages", "left out", "first run", "second run", "state")

_REGISTER = """
    select c.id, c.description, c.status, c.rows_read, c.doubled, count(m.id) as messages,
           count(m.id) filter (where m.sent_at is not null) as sent,
           (select coalesce(jsonb_object_agg(fate, size), '{}') from (
               select fate, count(*) as size from notify.campaign_recipients r
               where r.campaign_id = c.id and fate <> 'created' group by fate) f) as left_out
    from notify.campaigns c left join notify.messages m on m.campaign_id = c.id
    where c.id = any(%s) group by c.id order by c.id
"""


class CampaignDemo:
    """The scenario; what is wrong gathers on the way."""

    def __init__(self, stack: Stack, steps: Steps) -> None:
        assert stack.sms is not None
        self.stack = stack
        self.gateway = stack.sms
        self.steps = steps
        self.wrong: list[str] = []
        self.runs: list[dict[str, int]] = []

    def run(self) -> list[str]:
        """Play all of it.

        :return: what was not as promised
        """
        self._limit(FIRST_LIMIT)
        numbers = [self._order(MAILS, self._mails()), self._order(TEXTS, self._texts())]
        mails_before, texts_before = len(self.stack.mail()), len(self.gateway.taken)
        self._drain(FIRST_SHARE)
        self._limit(NEXT_LIMIT)
        self._drain(SIZE - FIRST_SHARE)
        self._finish()
        self._compare(numbers)
        self._check_mailbox(mails_before)
        self._check_gateway(texts_before)
        return self.wrong

    def _limit(self, slots: int) -> None:
        for sender in (MAIL_SENDER, SMS_SENDER):
            self.stack.set_pool(sender, slots)
        self.steps(f"Pools {MAIL_SENDER} and {SMS_SENDER} set to {slots} slots each")

    def _mails(self) -> dict[str, Any]:
        lines = [f"reader{number}@example.com,Name{number}" for number in range(SIZE)]
        return {
            "subject": "A sale for {{ first_name }}",
            "message": "Dear {{ first_name }},\n\ncome and see what there is.",
            "csv": _file("email,first_name", lines, "reader"),
        }

    def _texts(self) -> dict[str, Any]:
        lines = [f"+42190310{number:04},Name{number}" for number in range(SIZE)]
        return {
            "channel": "sms",
            "message": "Dear {{ first_name }}, come and see what there is.",
            "csv": _file("phone,first_name", lines, "12"),
        }

    def _order(self, description: str, conf: Mapping[str, Any]) -> int:
        run_id = self.stack.run("MassMailing", {"description": description, "send": True, **conf})
        result = self.stack.xcom("MassMailing", run_id, "MassMailing")
        made: dict[str, Any] = next((one for one in result["generated"] if one["created"]), {})
        self.steps(
            f"MassMailing ran: its XCom says rows {made.get('rows')}, created {made.get('created')}, "
            f"doubled {made.get('doubled')}, left out {made.get('left_out')}"
        )
        self._check(f"{description}, messages made", SIZE, made.get("created"))
        return int(made["campaign"])

    def _drain(self, share: int) -> None:
        run_id = self.stack.run("Notifications")
        left = {}
        for sender in (MAIL_SENDER, SMS_SENDER):
            result = self.stack.xcom("Notifications", run_id, sender)
            left[sender] = result["accepted"]
            self._check(f"{sender}, accepted in the run's XCom", share, result["accepted"])
        self.runs.append(left)
        waiting = SIZE - sum(run[MAIL_SENDER] for run in self.runs)
        self.steps(f"Notifications ran: of each campaign {share} left, {waiting} wait")

    def _finish(self) -> None:
        """Ask for receipts, and have the campaigns follow their messages."""
        run_id = self.stack.run("DeliveryReports")
        (result,) = self.stack.xcom("DeliveryReports", run_id, "sms_receipts")
        self.stack.run("MassMailing")
        self.steps(
            f"DeliveryReports ran: its XCom says delivered {result['delivered']}, undelivered {result['undelivered']}"
        )

    def _compare(self, numbers: list[int]) -> None:
        with psycopg.connect(self.stack.outbox_conninfo, row_factory=dict_row) as outbox:
            register = outbox.execute(_REGISTER.encode(), [numbers]).fetchall()
        say(table(HEAD, [self._row(row) for row in register]))
        for row in register:
            found = {name: row[name] for name in ("status", "rows_read", "doubled", "messages", "sent", "left_out")}
            promised = {
                "status": "done",
                "rows_read": SIZE + DOUBLED + INVALID,
                "doubled": DOUBLED,
                "messages": SIZE,
                "sent": SIZE,
                "left_out": {"invalid": INVALID},
            }
            self._check(row["description"], promised, found)

    def _row(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        sender = MAIL_SENDER if row["description"] == MAILS else SMS_SENDER
        left_out = {"doubled": row["doubled"], **row["left_out"]}
        return (
            row["description"],
            str(row["rows_read"]),
            str(row["messages"]),
            ", ".join(f"{size} {reason}" for reason, size in left_out.items()),
            *(str(run[sender]) for run in self.runs),
            row["status"],
        )

    def _check_mailbox(self, before: int) -> None:
        """Each reader has one mail, with their own name, and a link to get no more."""
        mails = self.stack.mail()
        self._check("mails in the mailbox", before + SIZE, len(mails))
        named = {f"reader{number}@example.com": f"A sale for Name{number}" for number in range(SIZE)}
        arrived = Counter(address for mail in mails for address in mail.recipients if address in named)
        self._check("readers who have one mail", SIZE, list(arrived.values()).count(1))
        rightly = sum(named.get(mail.recipients[0]) == mail.subject for mail in mails if len(mail.recipients) == 1)
        self._check("mails with the reader's own name", SIZE, rightly)

    def _check_gateway(self, before: int) -> None:
        taken = self.gateway.taken
        self._check("SMS that the gateway took", before + SIZE, len(taken))
        self._check("SMS that the gateway took twice", [], self.gateway.doubles())
        named = {42190310_0000 + number: f"Dear Name{number}," for number in range(SIZE)}
        rightly = sum(sms.text.startswith(named[int(sms.number)]) for sms in taken if int(sms.number) in named)
        self._check("SMS with the reader's own name", SIZE, rightly)

    def _check(self, what: str, promised: object, found: object) -> None:
        if promised != found:
            self.wrong.append(f"{what}: promised {promised}, found {found}")


def _file(header: str, lines: list[str], nobody: str) -> str:
    """A file of recipients, as people have them."""
    wrong = [f"{nobody}{number},Nobody" for number in range(INVALID)]
    return "\n".join([header, *lines, *lines[:DOUBLED], *wrong])
