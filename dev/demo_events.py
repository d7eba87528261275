"""The demo's second part: what happens to cases, told to each person at the time they chose.

Eight people with different preferences; events that happened up to nine days ago; deadlines that passed while nobody
looked. UserNotifications, Reminders and Notifications run once. Then, for each person and each event, what arrived is
compared with what had to, and with the balance that ``python -m notify check`` draws up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from dev.catcher import Mail
from dev.errors import StackError
from dev.samples import run_jobs
from dev.stack import Stack
from dev.steps import Steps, say
from dev.table import short, table

#: A process whose cases nobody is told of on receipt.
BLOCKING = "Onboarding"
VARIABLES = {"notify_blocked": json.dumps({BLOCKING: ["case_received"]})}

MAIL = "mail"
DIGEST = "digest"
WAITING = "waiting"


def people(now: datetime) -> list[dict[str, Any]]:
    """The people, their times so chosen that nothing which happens now becomes due while the demo runs."""
    zone = calm_zone(now)
    there = now.astimezone(ZoneInfo(zone)) + timedelta(hours=12)
    hour = f"{there:%H}:00"
    return [
        _person("ada", "Ada Immediately", supervisor="sven", groups="team"),
        _person("hugo", "Hugo Hourly", zone, preferences="hourly"),
        _person("dora", "Dora Denná", zone, language="sk", preferences={"*": {"frequency": "daily", "hour": hour}}),
        _person(
            "wanda",
            "Wanda Tygodniowa",
            zone,
            language="pl",
            preferences={"case_changed": {"frequency": "weekly", "weekday": f"{there:%A}".lower(), "hour": hour}},
        ),
        _person("sam", "Sam Single", zone, preferences={"*": {"frequency": "daily", "hour": hour}}),
        _person("nina", "Nina Never", preferences="never"),
        _person("ivan", "Ivan Inactive", active=False),
        _person("sven", "Sven Supervisor", groups="team"),
    ]


def calm_zone(now: datetime) -> str:
    """A zone whose next full hour is more than a quarter of an hour away."""
    return "Europe/Prague" if now.minute < 40 else "Asia/Kolkata"  # the latter's full hours are half an hour later


def _person(login: str, name: str, timezone: str = "Europe/Prague", **fields: Any) -> dict[str, Any]:
    return {"login": login, "name": name, "email": f"{login}@example.com", "timezone": timezone, **fields}


@dataclass(frozen=True, slots=True)
class Story:
    """Something that happens, or that Reminders is to tell of.

    :param what: a line for the table
    :param calls: what is handed over, see :mod:`dev.produce`
    :param homes: what must become of it, by person: ``mail``, ``digest``, ``waiting``, or the reason why not
    :param words: what the mail, or the digest, must have in it
    """

    what: str
    calls: Sequence[Mapping[str, Any]]
    homes: Mapping[str, str]
    words: str


def _changed(case: str, text: str, to: str, *, ago: str | None = None, **fields: Any) -> dict[str, Any]:
    """Somebody wrote a comment."""
    data = {"changes": [{"what": "comment_added", "text": text}]}
    moment = {"occurred_at": f"{ago} ago"} if ago else {}
    return {"publish": {"kind": "case_changed", "case": case, "recipients": to, "data": data, **moment, **fields}}


def _case(number: str, stage: str = "Review", owner: str = "ada") -> dict[str, str]:
    return {"id": number, "title": "A contract", "stage": stage, "owner": owner}


ALL = "ada; hugo; dora; wanda; nina; ivan"

STORIES = (
    Story(
        "a comment, nine days ago",
        [_changed("C-1", "The first comment.", ALL, ago="P9D", idempotency_key="demo-comment")],
        {"ada": MAIL, "hugo": DIGEST, "dora": DIGEST, "wanda": DIGEST, "nina": "never", "ivan": "inactive"},
        "The first comment.",
    ),
    Story(
        "a comment, eight days ago",
        [_changed("C-2", "The second comment.", ALL, ago="P8D")],
        {"ada": MAIL, "hugo": DIGEST, "dora": DIGEST, "wanda": DIGEST, "nina": "never", "ivan": "inactive"},
        "The second comment.",
    ),
    Story(
        "the first again, with its key",
        [_changed("C-1", "The first comment.", ALL, ago="P9D", idempotency_key="demo-comment")],
        {},
        "",
    ),
    Story(
        "a comment, just now",
        [_changed("C-1", "The third comment.", "hugo; dora; wanda; boss@example.com")],
        {"hugo": WAITING, "dora": WAITING, "wanda": WAITING, "boss@example.com": MAIL},
        "The third comment.",
    ),
    Story("sam's only one", [_changed("C-3", "For Sam.", "sam", ago="P9D")], {"sam": MAIL}, "For Sam."),
    Story(
        "ada writes to her own group",
        [_changed("C-2", "From Ada.", "team", actor="ada")],
        {"ada": "own_action", "sven": MAIL},
        "From Ada.",
    ),
    Story(
        "received, where that is blocked",
        [{"publish": {"kind": "case_received", "case": {"id": "C-4", "process": BLOCKING}, "recipients": "ada"}}],
        {"ada": "blocked"},
        "",
    ),
    Story(
        "a term, three days over",
        [{"set_deadline": {"case": _case("C-5"), "due": "P3D ago", "escalations": ["P1D", "P2D"]}}],
        {"sven": MAIL},  # the second escalation; the first, and that it has passed, are old news
        "C-5",
    ),
    Story(
        "a term, an hour over",
        [{"set_deadline": {"case": _case("C-6", owner="hugo"), "due": "PT1H ago", "escalations": ["P1D"]}}],
        {"hugo": MAIL},
        "C-6",
    ),
    Story(
        "a reminder",
        [{"set_reminder": {"login": "nina", "case": _case("C-7"), "at": "PT1M ago", "note": "Call back."}}],
        {"nina": MAIL},
        "Call back.",
    ),
    Story(
        "a reminder, whose stage is over",
        [
            {"set_reminder": {"login": "dora", "case": _case("C-8", "Draft"), "at": "PT1M ago", "note": "Too late."}},
            {"publish": {"kind": "case_received", "case": _case("C-8", "Signature"), "recipients": "sven"}},
        ],
        {"sven": MAIL},
        "Signature",
    ),
)

#: What Reminders must say of its run: of each deadline the latest step, once.
REMINDED = {
    "approaching": 0,
    "exceeded": 1,
    "escalated": 1,
    "reminders": 1,
    "superseded": 2,
    "closed": {"done": 2, "stage_changed": 1},
}

#: What UserNotifications must say: hugo's, dora's and wanda's digests of two, and sam's only one.
MERGED = {"moved": 1, "digests": 3, "in_digests": 6, "closed": 0, "waiting": 3}

HEAD = ("what happened", "person", "expected", "found", "subject")

_HOMES = """
    select e.id as event_id, d.id as deadline_id, coalesce(n.login, n.address) as person,
           n.home, n.reason, n.address, m.message_id
    from notify.notifications n join notify.events e on e.id = n.event_id
    left join notify.deadline_steps s on s.event_id = e.id
    left join notify.deadlines d on d.id = s.deadline_id
    left join notify.messages m on m.id = n.message_id
    order by e.id, n.position
"""


@dataclass(frozen=True, slots=True)
class Notification:
    """An event for one person, and what became of it.

    :param story: the number of the story that it belongs to
    :param found: as :attr:`Story.homes` has it, or what is wrong
    :param mail: that tells of it, None where there is none
    """

    story: int
    person: str
    found: str
    mail: Mail | None


class EventsDemo:
    """The scenario; what is wrong gathers on the way."""

    def __init__(self, stack: Stack, steps: Steps) -> None:
        self.stack = stack
        self.steps = steps
        self.wrong: list[str] = []
        self.stories: dict[tuple[str, int], int] = {}

    def run(self) -> list[str]:
        """Play all of it.

        :return: what was not as promised
        """
        before = {mail.path for mail in self.stack.mail()}
        self._hand_over()
        self._run_jobs()
        mails = [mail for mail in self.stack.mail() if mail.path not in before]
        found = list(self._notifications(mails))
        self._compare(found, mails)
        self._check_balance(found)
        return self.wrong

    def _hand_over(self) -> None:
        file = self.stack.home / "people.json"
        known = people(datetime.now(UTC))
        file.write_text(json.dumps(known))
        calls = [(story, call) for story, each in enumerate(STORIES) for call in each.calls]
        numbers = self.stack.produce([call for _, call in calls], file)
        for (story, call), number in zip(calls, numbers, strict=True):
            what = "event" if "publish" in call else "deadline"
            self.stories.setdefault((what, number), story)
        events = sum(what == "event" for what, _ in self.stories)
        self.steps(
            f"Handed over: {len(known)} people, {events} events, {len(self.stories) - events} deadlines and reminders"
        )

    def _run_jobs(self) -> None:
        runs = run_jobs(self.stack)
        merged = self.stack.xcom("UserNotifications", runs["UserNotifications"])
        reminded = self.stack.xcom("Reminders", runs["Reminders"])
        self.steps(
            f"UserNotifications ran: its XCom says moved {merged['moved']}, digests {merged['digests']} with "
            f"{merged['in_digests']}, waiting {merged['waiting']}"
        )
        told = {name: count for name, count in reminded.items() if name in REMINDED and name != "closed" and count}
        self.steps(f"Reminders ran: its XCom says {_counts(told)}; closed: {_counts(reminded['closed'])}")
        self._check("UserNotifications, in its XCom", MERGED, {name: merged[name] for name in MERGED})
        self._check("Reminders, in its XCom", REMINDED, {name: reminded[name] for name in REMINDED})

    def _notifications(self, mails: Sequence[Mail]) -> Iterator[Notification]:
        with psycopg.connect(self.stack.outbox_conninfo, row_factory=dict_row) as outbox:
            rows = outbox.execute(_HOMES).fetchall()
        for row in rows:
            deadline = row["deadline_id"]
            story = self.stories[("deadline", deadline) if deadline else ("event", row["event_id"])]
            arrived = [mail for mail in mails if row["message_id"] and mail.message_id == row["message_id"]]
            found = found_of(row, arrived, STORIES[story].words)
            yield Notification(story, row["person"], found, arrived[0] if arrived else None)

    def _compare(self, found: Sequence[Notification], mails: Sequence[Mail]) -> None:
        expected = {
            (number, person): home for number, story in enumerate(STORIES) for person, home in story.homes.items()
        }
        by_place = {(each.story, each.person): each for each in found}
        self._check("notifications", len(expected), len(found))
        for place in sorted(expected.keys() | by_place.keys()):
            one = by_place.get(place)
            what = f"{STORIES[place[0]].what}, for {place[1]}"
            self._check(what, expected.get(place, "nothing"), one.found if one else "nothing")
        say(table(HEAD, list(_rows(by_place))))
        self._check("mails in the mailbox", {each.mail.message_id for each in found if each.mail}, _ids(mails))
        self._check("mails in the mailbox", len(mails), len(_ids(mails)))

    def _check_balance(self, found: Sequence[Notification]) -> None:
        try:
            answer = self.stack.program("python -m notify check says no", ["-m", "notify", "check", "--json"])
        except StackError as error:
            self.wrong.append(str(error))
            return
        balance = json.loads(answer)
        refused = sum(balance["refused"].values())
        tally = Counter(each.found if each.found in {MAIL, DIGEST, WAITING} else "refused" for each in found)
        self._check(
            "python -m notify check",
            {MAIL: tally[MAIL], DIGEST: tally[DIGEST], WAITING: tally[WAITING], "refused": tally["refused"]},
            {MAIL: balance["mails"], DIGEST: balance["in_digests"], WAITING: balance["waiting"], "refused": refused},
        )
        self.steps(
            f"python -m notify check, even: {balance['expected']} notifications = {balance['mails']} mails + "
            f"{balance['in_digests']} in digests + {balance['waiting']} waiting + {refused} refused"
        )

    def _check(self, what: str, promised: object, found: object) -> None:
        if promised != found:
            self.wrong.append(f"{what}: promised {promised}, found {found}")


def found_of(row: Mapping[str, Any], arrived: Sequence[Mail], words: str) -> str:
    """What became of a notification, or what is wrong with it.

    :param row: its home, the reason why there is no mail, and the address that it went to
    :param arrived: the mails with its message's Message-ID; it ought to be one
    :param words: what must stand in it
    """
    home = str(row["home"])
    if home not in {MAIL, DIGEST}:
        return str(row["reason"] or home)
    if len(arrived) != 1:
        return f"{home}, {len(arrived)} TIMES" if arrived else f"{home}, MISSING"
    mail = arrived[0]
    if mail.recipients != (row["address"],):
        return f"{home}, OTHER RECIPIENTS"
    body = mail.message.get_body(("plain",))
    return home if body and words in f"{mail.subject} {body.get_content()}" else f"{home}, NOT IN IT"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _ids(mails: Sequence[Mail]) -> set[str]:
    return {mail.message_id for mail in mails}


def _rows(found: Mapping[tuple[int, str], Notification]) -> Iterator[tuple[str, ...]]:
    for number, story in enumerate(STORIES):
        persons = dict.fromkeys([*story.homes, *(person for of, person in found if of == number)])
        for position, person in enumerate(persons or [""]):
            one = found.get((number, person))
            yield (
                "" if position else story.what,
                person,
                story.homes.get(person, "nothing"),
                one.found if one else "nothing",
                short(one.mail.subject, 52) if one and one.mail else "",
            )
