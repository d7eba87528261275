"""The demo's third part: SMS, from hand-over to the telephone, and to the receipt.

Five SMS are handed over, their pool has six slots, and Notifications runs: four of them leave; the long one, of four
parts, waits until as many slots are free. The pool is raised, and it leaves as well. DeliveryReports asks what became
of them. Then the register, what the gateway took, and what it charged are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dev.eurosms import EuroSms, Sms
from dev.eurosms.rules import Flag
from dev.stack import SMS_SENDER, Stack
from dev.steps import Steps, say
from dev.table import short, table

FIRST_LIMIT = 6
NEXT_LIMIT = 100

LONG = (
    "Vážený zákazník, Vaša objednávka číslo 4711 je pripravená na vyzdvihnutie v predajni na Obchodnej ulici. "
    "Čakať na Vás bude do piatku, potom ju vrátime do skladu. Ak ju chcete doručiť domov, zavolajte nám, prosím. "
    "Ďakujeme Vám za nákup, želáme príjemný deň."
)
#: How its transliteration begins on the telephone.
PLAIN = "Vazeny zakaznik, Vasa objednavka"

GSM = "GSM"
UCS2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class Text:
    """One run of SendMessage.

    :param conf: what is handed over, beside the channel
    :param number: whom it must reach
    :param parts: how many it must have
    :param alphabet: that it must travel in
    :param state: what the register must say in the end
    :param shown: how the text begins on the telephone
    """

    conf: Mapping[str, Any]
    number: str
    parts: int
    alphabet: str
    state: str
    shown: str


#: The last digit of a number decides what becomes of it, see :data:`dev.eurosms.BY_LAST_DIGIT`.
TEXTS = (
    Text(
        {"recipient": "+421 903 000 001", "message": "Your parcel is here."},
        "+421903000001",
        1,
        GSM,
        "delivered",
        "Your parcel",
    ),
    Text(
        {"recipient": "0903 000 006", "message": "This telephone is no more."},
        "+421903000006",
        1,
        GSM,
        "undelivered",
        "This telephone",
    ),
    Text(
        {"recipient": "0903 000 009", "message": "This telephone is switched off."},
        "+421903000009",
        1,
        GSM,
        "sent",
        "This telephone",
    ),
    Text(
        {"recipient": "0903 000 002", "message": LONG, "transliterate": True},
        "+421903000002",
        2,
        GSM,
        "delivered",
        PLAIN,
    ),
    Text({"recipient": "0903 000 003", "message": LONG}, "+421903000003", 4, UCS2, "delivered", LONG),
)

#: How the gateway says what the register says.
STATES = {"delivered": "DELIVRD", "undelivered": "UNDELIV", "sent": "ENROUTE"}

HEAD = ("id", "number", "on the telephone", "alphabet", "parts", "EUR", "run", "gateway", "register")

_REGISTER = """
    select m.id, m.status, m.parts, r.address, count(p.reference) as named, sum(p.price) as price
    from notify.messages m join notify.recipients r on r.message_id = m.id
    left join notify.sms_parts p on p.message_id = m.id
    where m.channel = 'sms' group by m.id, r.address order by m.id
"""


class SmsDemo:
    """The scenario; what is wrong gathers on the way."""

    def __init__(self, stack: Stack, steps: Steps) -> None:
        assert stack.sms is not None
        self.stack = stack
        self.gateway: EuroSms = stack.sms
        self.steps = steps
        self.wrong: list[str] = []
        self.texts: dict[int, Text] = {}
        self.runs: list[set[int]] = []

    def run(self) -> list[str]:
        """Play all of it.

        :return: what was not as promised
        """
        balance = self.gateway.account().balance
        *short_ones, long = TEXTS
        self._limit(FIRST_LIMIT)
        self._hand_over(short_ones)
        self._hand_over([long])
        self._drain(accepted=len(short_ones), waiting=1)
        self._limit(NEXT_LIMIT)
        self._drain(accepted=1, waiting=0)
        self._ask()
        self._compare(balance)
        return self.wrong

    def _limit(self, slots: int) -> None:
        self.stack.set_pool(SMS_SENDER, slots)
        self.steps(f"Pool {SMS_SENDER} set to {slots} slots: parts of SMS per rolling hour")

    def _hand_over(self, texts: Sequence[Text]) -> None:
        runs = [(text, self.stack.trigger("SendMessage", {"channel": "sms", **text.conf})) for text in texts]
        for text, run_id in runs:
            self.stack.require_success("SendMessage", run_id)
            messages = self.stack.xcom("SendMessage", run_id)["messages"]
            self._check("messages of one hand-over", 1, len(messages))
            self.texts[messages[0]["id"]] = text
        self.steps(
            f"Handed over: {len(texts)} SMS of {', '.join(str(text.parts) for text in texts)} parts; "
            f"at the gateway: {len(self.gateway.taken)}"
        )

    def _drain(self, *, accepted: int, waiting: int) -> None:
        before = set(self._taken())
        result = self.stack.xcom("Notifications", self.stack.run("Notifications"), SMS_SENDER)
        left = set(self._taken()) - before
        self.runs.append(left)
        self.steps(
            f"Notifications ran: {len(left)} SMS left; its XCom says limit {result['limit']}, "
            f"accepted {result['accepted']}, waiting {result['waiting']}"
        )
        self._check("SMS that left in this run", accepted, len(left))
        self._check("accepted, in the run's XCom", accepted, result["accepted"])
        self._check("waiting, in the run's XCom", waiting, result["waiting"])

    def _ask(self) -> None:
        """Have the gateway asked for receipts."""
        run_id = self.stack.run("DeliveryReports")
        (result,) = self.stack.xcom("DeliveryReports", run_id, "sms_receipts")
        states = [text.state for text in TEXTS]
        self.steps(
            f"DeliveryReports ran: its XCom says receipts {result['receipts']}, delivered {result['delivered']}, "
            f"undelivered {result['undelivered']}"
        )
        for state in ("delivered", "undelivered"):
            self._check(f"{state}, in the run's XCom", states.count(state), result[state])

    def _compare(self, balance: Decimal) -> None:
        taken = self._taken()
        with psycopg.connect(self.stack.outbox_conninfo, row_factory=dict_row) as outbox:
            register = outbox.execute(_REGISTER.encode()).fetchall()
        say(table(HEAD, [_row(row, taken.get(row["id"]), self._run_of(row["id"])) for row in register]))
        self._check("SMS in the register", set(self.texts), {row["id"] for row in register})
        self._check("SMS at the gateway", set(self.texts), set(taken))
        self._check("SMS that the gateway took twice", [], self.gateway.doubles())
        for row in register:
            if (text := self.texts.get(row["id"])) and (sms := taken.get(row["id"])):
                self._check(f"SMS {row['id']}", promise(text), finding(text, row, sms))
        charged = balance - self.gateway.account().balance
        self._check("charged", sum(sms.price for sms in taken.values()), charged)
        parts = sum(len(sms.parts) for sms in taken.values())
        self.steps(
            f"The register has {len(register)} SMS of {sum(row['parts'] for row in register)} parts; the gateway took "
            f"{len(self.gateway.taken)} of {parts}, charged {charged} EUR, and took {len(self.gateway.doubles())} twice"
        )

    def _taken(self) -> dict[int, Sms]:
        """What the gateway took, by the number in the register: the key that travels with each SMS begins with it."""
        return {int((sms.key or "0").partition("-")[0]): sms for sms in self.gateway.taken}

    def _run_of(self, number: int) -> int | None:
        """Which run of Notifications sent it, counted from 1."""
        return next((count for count, left in enumerate(self.runs, start=1) if number in left), None)

    def _check(self, what: str, promised: object, found: object) -> None:
        if promised != found:
            self.wrong.append(f"{what}: promised {promised}, found {found}")


def promise(text: Text) -> dict[str, object]:
    """What must be so in the end, see :func:`finding`."""
    return {
        "numbers": (text.number, text.number),
        "parts": (text.parts, text.parts, text.parts),
        "alphabet": text.alphabet,
        "shown": text.shown,
        "states": (text.state, STATES[text.state]),
    }


def finding(text: Text, row: Mapping[str, Any], sms: Sms) -> dict[str, object]:
    """What is so.

    :param row: what the register says
    :param sms: what the gateway took
    """
    return {
        "numbers": (row["address"], f"+{sms.number}"),
        "parts": (row["parts"], row["named"], len(sms.parts)),
        "alphabet": _alphabet(sms),
        "shown": sms.text[: len(text.shown)],
        "states": (row["status"], " ".join(dict.fromkeys(sms.states))),
    }


def _alphabet(sms: Sms) -> str:
    return UCS2 if Flag.DIACRITICS in sms.flags else GSM


def _row(row: Mapping[str, Any], sms: Sms | None, run: int | None) -> tuple[str, ...]:
    number, state = str(row["id"]), str(row["status"])
    if sms is None:
        return (number, row["address"], "", "", str(row["parts"]), "", "", "MISSING", state)
    return (
        number,
        row["address"],
        short(sms.text, 44),
        _alphabet(sms),
        str(row["parts"]),
        f"{sms.price:.2f}",
        str(run or ""),
        " ".join(dict.fromkeys(sms.states)),
        state,
    )
