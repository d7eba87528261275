"""A large campaign under fire: whoever makes and sends its messages is killed, while it is paused and goes on.

``python -m tests.large_campaign --recipients 100000`` tells what came of it; the exit status is 1 where the promise was
not kept. What CI tries with some hundred recipients is in ``tests/integration/test_campaigns_killed.py``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.forked import parent_of, tell
from tests.fuzz import server

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from tests.mailing import Mailing

#: Recipients of one transaction of those who make messages, and messages that one moves.
STRETCH, STEP = 1_000, 2_000

#: Seconds between two lines that tell how far it is.
TOLD = 10.0


class Trial:
    """One campaign, those who work on it, and who kills them.

    :param chance: decides who is killed, and when
    """

    def __init__(self, mailing: Mailing, url: str, options: argparse.Namespace, chance: random.Random) -> None:
        self.mailing = mailing
        self.url = url
        self.options = options
        self.chance = chance
        self.begun = time.monotonic()
        self.faults: list[str] = []

    def say(self, what: str) -> None:
        """Tell how far it is."""
        print(f"[{time.monotonic() - self.begun:6.1f} s] {what}", flush=True)

    def expect(self, kept: bool, promise: str) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.faults.append(promise)

    def run(self, record: Path) -> list[str]:
        """Make and send; the promises that were not kept.

        :param record: where the SMTP server writes what it took
        """
        from tests.mailing import csv_of

        number = self.mailing.write(csv=csv_of(self.options.recipients), guarantee=self.options.guarantee)
        with _makers(self.url) as makers:
            self._make(number, makers)
            self._send(number, makers, record)
        self._judge(number, record)
        return self.faults

    # --- Made --------------------------------------------------------------------------------------------------------

    def _make(self, number: int, makers: subprocess.Popen[str]) -> None:
        """Have its messages made by somebody who is killed at moments spread over the whole of it."""
        from notify.campaigns import steering
        from notify.domain.campaign import CampaignStatus

        with self.mailing.engine.begin() as connection:
            steering.generate(connection, number)
        maker = tell(makers, "start")
        moments = [*sorted(self.chance.sample(range(self.options.recipients), self.options.making_kills))]
        while self.mailing.read(number).status is not CampaignStatus.GENERATED:
            time.sleep(0.05)
            [[made]] = self.mailing.rows("select count(*) from notify.messages")
            if moments and made >= moments[0]:
                moments.pop(0)
                tell(makers, f"kill {maker}")
                self.say(f"who made the messages was killed at {made:,}")
                maker = tell(makers, "start")
        [row] = self.mailing.rows("select count(*), count(distinct address) from notify.recipients")
        self.say(
            f"made {row[0]:,} messages for {row[1]:,} recipients in {self.mailing.read(number).number_of_pass} passes"
        )
        self.expect(set(row) == {self.options.recipients}, "each recipient has one message")

    # --- Sent --------------------------------------------------------------------------------------------------------

    def _send(self, number: int, makers: subprocess.Popen[str], record: Path) -> None:
        """Have it sent by two who are killed now and then, pausing it some times."""
        from notify.campaigns import steering
        from notify.domain.campaign import CampaignStatus
        from tests.integration.test_campaigns_killed import forget_back_offs
        from tests.integration.test_limit_across_processes import line_of, python

        with self.mailing.engine.begin() as connection:
            steering.send(connection, number)
        with python("tests.smtp_sink", "--record", record) as sink:
            options = {"url": self.url, "port": int(line_of(sink).split()[1]), "lease": 2, "connections": 4}
            with python("tests.drain_worker", *(f"--{name}={value}" for name, value in options.items())) as drains:
                assert line_of(drains) == "ready"
                alive = [tell(drains, "start") for _ in range(2)]
                kills, told = 0, 0.0
                pauses = self.options.pauses
                while self.mailing.read(number).status is not CampaignStatus.DONE:
                    time.sleep(self.chance.uniform(1, 5))
                    forget_back_offs(self.mailing)
                    if kills < self.options.sending_kills:
                        tell(drains, f"kill {alive.pop(self.chance.randrange(2))}")
                        alive.append(tell(drains, "start"))
                        kills += 1
                    if pauses and self._pause(number):
                        pauses -= 1
                    if time.monotonic() - told > TOLD:
                        told = time.monotonic()
                        self.say(f"{kills} killed: {_states(self.mailing.progress(number).states)}")

    def _pause(self, number: int) -> bool:
        """Pause it for a while, if it is being sent; nothing may leave meanwhile."""
        from notify.campaigns import steering
        from notify.exceptions import CampaignError

        try:
            with self.mailing.engine.begin() as connection:
                steering.pause(connection, number)
        except CampaignError:
            return False
        [[since]] = self.mailing.rows("select clock_timestamp()")
        time.sleep(self.chance.uniform(1, 3))
        claimed = self.mailing.rows("select count(*) from notify.attempts where claimed_at > :since", since=since)
        self.expect(claimed == [(0,)], "nothing of a paused campaign leaves")
        with self.mailing.engine.begin() as connection:
            steering.resume(connection, number)
        self.say("paused, and let go on")
        return True

    # --- Judged ------------------------------------------------------------------------------------------------------

    def _judge(self, number: int, record: Path) -> None:
        """Hold what the server took against what the register says."""
        taken = [json.loads(line) for line in record.read_text().splitlines()]
        copies = Counter(mail["message_id"] for mail in taken)
        readers = Counter(address for mail in taken for address in mail["rcpts"])
        rows = self.mailing.rows("select message_id, status from notify.messages where campaign_id = :id", id=number)
        by_state: dict[str, set[str]] = {}
        for message_id, status in rows:
            by_state.setdefault(status, set()).add(message_id)
        sent, doubtful = by_state.get("sent", set()), by_state.get("uncertain", set())
        self.say(f"register: {_states({state: len(found) for state, found in by_state.items()})}")
        self.say(f"server: {copies.total():,} copies of {len(copies):,} messages, to {len(readers):,} recipients")
        self.say(f"of the {len(doubtful):,} uncertain ones {len(doubtful & copies.keys()):,} had arrived")
        self.expect(set(by_state) <= {"sent", "uncertain"}, "everything is settled")
        self.expect(sent <= copies.keys(), "what is called sent has arrived")
        self.expect(copies.keys() <= sent | doubtful, "what has arrived is called sent, or uncertain")
        if self.options.guarantee == "at_most_once":
            self.expect(max(readers.values()) == 1, "nobody has it twice")
        else:
            self.expect(not doubtful and len(readers) == self.options.recipients, "everybody has it")


@contextmanager
def _makers(url: str) -> Iterator[subprocess.Popen[str]]:
    """The parent of those who run as MassMailing does."""
    options = {"url": url, "stretch": STRETCH, "step": STEP, "silence": 1.5}
    with parent_of("tests.campaign_worker", *(f"--{name}={value}" for name, value in options.items())) as process:
        yield process


def _states(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size:,} {state}" for state, size in sizes.items())


def main(arguments: list[str] | None = None) -> int:
    """Try, and tell.

    :returns: 1 where a promise was not kept
    """
    parser = argparse.ArgumentParser(prog="python -m tests.large_campaign", description=__doc__)
    parser.add_argument("--recipients", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--guarantee", choices=["at_most_once", "at_least_once"], default="at_most_once")
    parser.add_argument("--making-kills", type=int, default=6, help="while messages are made (default: %(default)s)")
    parser.add_argument("--sending-kills", type=int, default=25, help="while they are sent (default: %(default)s)")
    parser.add_argument("--pauses", type=int, default=4, help="while they are sent (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (default: %(default)s)")
    options = parser.parse_args(arguments)
    with server.home(), server.database() as url, tempfile.TemporaryDirectory(prefix="notify-large-") as folder:
        faults = _tried(url, options, Path(folder) / "record.jsonl")
    print("Every promise was kept." if not faults else "\n".join(f"NOT KEPT: {fault}" for fault in faults))
    return 1 if faults else 0


def _tried(url: URL, options: argparse.Namespace, record: Path) -> list[str]:
    import sqlalchemy as sa

    from tests.campaign_worker import settings_of
    from tests.mailing import Mailing

    engine = sa.create_engine(url, connect_args={"options": "-c timezone=UTC"})
    try:
        text = url.render_as_string(hide_password=False)
        return Trial(Mailing(engine, settings_of()), text, options, random.Random(options.seed)).run(record)
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
