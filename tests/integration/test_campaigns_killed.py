"""The promise of campaigns under fire: whoever makes, moves and sends their messages is killed, again and again.

``NOTIFY_BLOWS=500`` makes each of these tests a long one.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, Engine

from notify.campaigns import steering
from notify.domain.campaign import CampaignStatus
from notify.domain.person import Person
from notify.exceptions import CampaignError
from notify.storage import people
from tests.campaign_worker import settings_of
from tests.forked import parent_of, tell
from tests.integration.test_limit_across_processes import line_of, python
from tests.mailing import Mailing, csv_of

#: How often somebody is killed, of each test.
BLOWS = int(os.environ.get("NOTIFY_BLOWS") or 15)

#: The longest that a worker lives after it has begun, in seconds: some stretches' time.
LIFE = 0.2

#: When a test that waits gives up, in seconds.
DEADLINE = 120.0


@pytest.fixture
def chance() -> random.Random:
    """All chance; pytest shows its seed when the test fails. Give it as NOTIFY_SEED to have the same again."""
    seed = int(os.environ.get("NOTIFY_SEED") or random.randrange(2**32))
    print(f"NOTIFY_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def mailing(engine: Engine) -> Mailing:
    """Somebody who writes campaigns."""
    return Mailing(engine, settings_of())


@pytest.fixture
def parent(database: URL) -> Iterator[subprocess.Popen[str]]:
    """The parent of those who run as MassMailing does; none of them may end in any other way than being killed."""
    with parent_of("tests.campaign_worker", f"--url={database.render_as_string(hide_password=False)}") as process:
        yield process
    assert process.returncode == 0, "a worker did not end well; its cause is on stderr"


class Crowd:
    """Two of them at a time, of whom one is killed with each blow."""

    def __init__(self, mailing: Mailing, parent: subprocess.Popen[str], chance: random.Random) -> None:
        self.mailing = mailing
        self.parent = parent
        self.chance = chance
        self.alive = [tell(parent, "start") for _ in range(2)]
        self.in_the_middle = 0  # killed in a transaction

    def strike(self) -> None:
        """Kill one in a while; another takes its place."""
        time.sleep(self.chance.uniform(0, LIFE))
        victim = self.alive.pop(self.chance.randrange(2))
        query = "select count(*) from pg_stat_activity where application_name = :name and xact_start is not null"
        [[open_ones]] = self.mailing.rows(query, name=f"campaign {victim}")
        tell(self.parent, f"kill {victim}")
        self.in_the_middle += open_ones
        self.alive.append(tell(self.parent, "start"))


# --- Made ------------------------------------------------------------------------------------------------------------

#: Of a file: who gets a message, beside those of the group; and who is named twice.
GOOD, TWICE = 400, 40

#: Members of a group, of whom some are in the file too, and some have left.
MEMBERS, IN_FILE, GONE = 60, 20, 5


def a_list(chance: random.Random) -> str:
    """A file of recipients in any order: good ones, some of them twice, suppressed, unsubscribed, and no addresses."""
    header, *lines = csv_of(GOOD).split("\n")
    doubles = [line.replace("r", "R", 1) for line in chance.sample(lines, TWICE)]
    others = [f"s{number}@example.com,Sue" for number in range(7)]
    others += [f"u{number}@example.com,Uwe" for number in range(5)]
    others += ["no address,Nobody", "nor this,Nobody", "nor this,Nobody"]
    rows = lines + doubles + others
    chance.shuffle(rows)
    return "\n".join([header, *rows])


def prepare(mailing: Mailing) -> None:
    """Who is known, and who wants nothing."""
    known = [
        Person(login=f"m{number}", name=f"M {number}", email=f"r{number + 1}@example.com", groups=["crew"])
        if number < IN_FILE
        else Person(login=f"m{number}", email=f"m{number}@example.com", groups=["crew"], active=number < MEMBERS - GONE)
        for number in range(MEMBERS)
    ]
    with mailing.engine.begin() as connection:
        people.save(connection, known)
    mailing.do(
        "insert into notify.suppressions (address, reason) "
        "select 's' || n || '@example.com', 'bounced' from generate_series(0, 6) n"
    )
    mailing.do(
        "insert into notify.unsubscriptions (address, scope, actor) "
        "select 'u' || n || '@example.com', 'bulk-mail', 'x' from generate_series(0, 4) n"
    )


def test_generating_killed(mailing: Mailing, parent: subprocess.Popen[str], chance: random.Random) -> None:
    """Two make the same campaigns and are killed all along: everybody has one message in the end, all counts right."""
    prepare(mailing)
    text = "Hello {{ first_name | default('you') }}"
    numbers = [mailing.write(csv=a_list(chance), groups="crew", subject=text, message=text) for _ in range(2)]
    crowd = Crowd(mailing, parent, chance)
    again = 0
    for _ in range(BLOWS):
        again += ask(mailing, numbers)
        crowd.strike()
    wait_until(mailing, numbers, CampaignStatus.GENERATED)
    print(f"{BLOWS} kills, {crowd.in_the_middle} in a transaction; asked for {again} times")
    assert crowd.in_the_middle >= BLOWS // 8, "most were killed while they did nothing"
    crowd_of_all = {f"r{number}@example.com" for number in range(1, GOOD + 1)}
    crowd_of_all |= {f"m{number}@example.com" for number in range(IN_FILE, MEMBERS - GONE)}
    for number in numbers:
        [[passes]] = mailing.rows("select pass from notify.campaigns where id = :id", id=number)
        assert passes > 2
        made = "select lower(r.address), m.status, m.parked from notify.recipients r join notify.messages m "
        made += "on m.id = r.message_id where m.campaign_id = :id"
        rows = mailing.rows(made, id=number)
        assert Counter(rows) == Counter({(one, "held", True): 1 for one in crowd_of_all})
        progress = mailing.progress(number)
        assert progress.created == progress.states["held"] == len(crowd_of_all)
        assert progress.left_out == {
            "suppressed": 7,
            "unsubscribed": 5,
            "invalid": 2,
            "unreachable": GONE,
            "doubled": TWICE + IN_FILE + 1,
        }
        assert mailing.read(number).rows_read == GOOD + TWICE + 7 + 5 + 3 + MEMBERS


def ask(mailing: Mailing, numbers: list[int]) -> int:
    """Have made once more what is made already: nobody gets another for it."""
    asked = 0
    for number in numbers:
        with mailing.engine.begin() as connection:
            try:
                steering.generate(connection, number)
                asked += 1
            except CampaignError:
                pass  # it is under way
    return asked


def wait_until(mailing: Mailing, numbers: list[int], *statuses: CampaignStatus) -> None:
    """Until all of them are so, by what the workers do."""
    deadline = time.monotonic() + DEADLINE
    while any(mailing.read(number).status not in statuses for number in numbers):
        assert time.monotonic() < deadline, [mailing.read(number) for number in numbers]
        time.sleep(0.05)


# --- Moved -----------------------------------------------------------------------------------------------------------

#: What a person may tell, by the state.
WISHES = {"generated": ["send"], "sending": [*["pause"] * 9, "cancel"], "paused": [*["resume"] * 9, "cancel"]}


def test_following_killed(mailing: Mailing, parent: subprocess.Popen[str], chance: random.Random) -> None:
    """Whoever moves messages is killed between steps, and nobody else is told: all are where their campaign is."""
    numbers = [mailing.write(csv=csv_of(300)) for _ in range(4)]
    for number in numbers:
        mailing.generate(number)
    crowd = Crowd(mailing, parent, chance)
    for _ in range(BLOWS):
        number = chance.choice(numbers)
        if wishes := WISHES.get(mailing.read(number).status):
            with mailing.engine.begin() as connection:
                getattr(steering, chance.choice(wishes))(connection, number)
        crowd.strike()
    wanted = {"generated": ("held", True), "sending": ("queued", False), "paused": ("held", True)}
    deadline = time.monotonic() + DEADLINE
    while any(mailing.read(number).unsettled for number in numbers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for number in numbers:
        status = mailing.read(number).status
        rows = mailing.rows("select status, parked from notify.messages where campaign_id = :id", id=number)
        assert Counter(rows) == {wanted.get(status, ("cancelled", False)): 300}
    print(f"{BLOWS} kills, {crowd.in_the_middle} in a transaction")
    assert crowd.in_the_middle, "all were killed while they did nothing"


# --- Sent ------------------------------------------------------------------------------------------------------------


def test_sending_killed(
    database: URL, mailing: Mailing, parent: subprocess.Popen[str], chance: random.Random, tmp_path: Path
) -> None:
    """Drains are killed while campaigns pause and go on: each message leaves as promised, and none meanwhile."""
    record = tmp_path / "record.jsonl"
    size = BLOWS * 8
    once = mailing.write(csv=csv_of(size), guarantee="at_most_once")
    often = mailing.write(csv=csv_of(size, first=size + 1))
    for number in (once, often):
        mailing.generate(number)
        mailing.tell("send", number)
    tell(parent, "start")
    url = database.render_as_string(hide_password=False)
    with python("tests.smtp_sink", "--record", record, "--delay", 0.05) as sink:
        port = int(line_of(sink).split()[1])
        options = {"url": url, "port": port, "lease": 0.5, "connections": 2}
        with python("tests.drain_worker", *(f"--{name}={value}" for name, value in options.items())) as drains:
            assert line_of(drains) == "ready"
            paused = pause_and_kill(mailing, [once, often], drains, chance)
            wait_until_over(mailing, [once, often])
        assert drains.returncode == 0, "a drain did not end well"
    received = [json.loads(line) for line in record.read_text().splitlines()]
    judge(mailing, once, often, received, size)
    assert nothing_left(mailing, paused) > BLOWS // 8, "hardly anything was paused"


#: A campaign, and when it was paused and told to go on, by the database's clock: after the one, before the other.
Paused = tuple[int, object, object]

_CLOCK = "select clock_timestamp()"


def pause_and_kill(
    mailing: Mailing, numbers: list[int], drains: subprocess.Popen[str], chance: random.Random
) -> list[Paused]:
    """Pause campaigns and let them go on, with a drain killed each time; returns when nothing was to leave."""
    alive = [tell(drains, "start") for _ in range(2)]
    since: dict[int, object] = {}
    paused: list[Paused] = []
    for _ in range(BLOWS):
        forget_back_offs(mailing)
        number = chance.choice(numbers)
        if number in since:
            [[until]] = mailing.rows(_CLOCK)
            paused.append((number, since.pop(number), until))
            _steer(mailing, "resume", number)
        elif mailing.read(number).status is CampaignStatus.SENDING and _steer(mailing, "pause", number):
            [[since[number]]] = mailing.rows(_CLOCK)
        time.sleep(chance.uniform(0, LIFE))
        victim = alive.pop(chance.randrange(2))
        tell(drains, f"kill {victim}")
        alive.append(tell(drains, "start"))
    for number, begun in since.items():
        [[until]] = mailing.rows(_CLOCK)
        paused.append((number, begun, until))
        _steer(mailing, "resume", number)
    return paused


def _steer(mailing: Mailing, what: str, number: int) -> bool:
    """Tell a campaign what to do, and move none of its messages; returns False where it was over."""
    with mailing.engine.begin() as connection:
        try:
            getattr(steering, what)(connection, number)
        except CampaignError:
            return False
    return True


def forget_back_offs(mailing: Mailing) -> None:
    """What waits a minute after a doubt need not wait in a test."""
    mailing.do(
        "update notify.messages set not_before = now() where id in (select id from notify.messages "
        "where status in ('queued', 'held') and not_before > now() for update skip locked)"
    )


def wait_until_over(mailing: Mailing, numbers: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE
    while any(mailing.read(number).status is not CampaignStatus.DONE for number in numbers):
        forget_back_offs(mailing)
        assert time.monotonic() < deadline, [mailing.progress(number) for number in numbers]
        time.sleep(0.05)


def judge(mailing: Mailing, once: int, often: int, received: list[dict[str, object]], size: int) -> None:
    """Hold what the server saw against the promise."""
    copies = Counter(mail["message_id"] for mail in received)
    print(f"{len(copies)} messages, {copies.total()} came in")
    query = "select r.address, m.message_id, m.status from notify.messages m join notify.recipients r "
    query += "on r.message_id = m.id where m.campaign_id = :id"
    for number in (once, often):
        rows = mailing.rows(query, id=number)
        assert len({address for address, _, _ in rows}) == len(rows) == size
        for _, message_id, status in rows:
            if number == often:
                assert status == "sent"
                assert copies[message_id] >= 1, "lost"
            else:
                assert copies[message_id] <= 1
                assert status in ({"sent", "uncertain"} if copies[message_id] else {"uncertain"})
    by_address: dict[str, set[object]] = {}
    for mail in received:
        for address in mail["rcpts"]:  # type: ignore[attr-defined]
            by_address.setdefault(address, set()).add(mail["message_id"])
    assert all(len(ids) == 1 for ids in by_address.values()), "a repetition is another message"
    assert copies.total() - len(copies) <= 4 * BLOWS


def nothing_left(mailing: Mailing, paused: list[Paused]) -> int:
    """Nothing was claimed and begun while its campaign was paused; returns how often one was paused."""
    # A claim that began before the campaign went on may have waited until it did.
    query = """
        select count(*) from notify.attempts a join notify.messages m on m.id = a.message_id
        where m.campaign_id = :id and a.claimed_at > :since and a.claimed_at < :until and a.begun_at < :until
    """
    for number, since, until in paused:
        assert mailing.rows(query, id=number, since=since, until=until) == [(0,)]
    return len(paused)
