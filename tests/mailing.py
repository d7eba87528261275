"""A place to write campaigns in tests: what people do with them, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify.campaigns import authoring, following, steering
from notify.campaigns.following import Followed
from notify.campaigns.generating import Generating, GeneratingResult
from notify.channels.memory import MemoryChannel
from notify.domain.campaign import Campaign, Progress
from notify.drain import Drainer, DrainResult
from notify.settings import HandOverSettings
from notify.storage import campaign_messages, campaigns

SENDER = "smtp_default"

#: A campaign that is in order.
PLAIN: Mapping[str, Any] = {
    "description": "Spring sale",
    "subject": "Hello {{ first_name }}",
    "message": "Dear {{ first_name }}, come and see.",
}


def csv_of(count: int, *, first: int = 1) -> str:
    """A file of so many recipients, each with a first name."""
    lines = [f"r{number}@example.com,Name{number}" for number in range(first, first + count)]
    return "\n".join(["email,first_name", *lines])


@dataclass
class Mailing:
    """Campaigns, as people and runs see them."""

    engine: Engine
    settings: HandOverSettings

    def write(self, **fields: Any) -> int:
        """Store a campaign."""
        with self.engine.begin() as connection:
            return authoring.create(connection, {**PLAIN, **fields}, self.settings)[0]

    def edit(self, number: int, **fields: Any) -> Campaign:
        """Change it."""
        with self.engine.begin() as connection:
            return authoring.edit(connection, number, fields, self.settings)

    def tell(self, what: str, number: int, **more: Any) -> Followed:
        """Tell a campaign what to do, and let its messages follow."""
        with self.engine.begin() as connection:
            getattr(steering, what)(connection, number, **more)
        return self.follow(number)

    def follow(self, number: int) -> Followed:
        """Let its messages follow."""
        return following.follow(self.engine, number)

    def generate(self, number: int, *, stretch: int = 1_000) -> GeneratingResult:
        """Make its messages."""
        with self.engine.begin() as connection:
            steering.generate(connection, number)
        [result] = Generating(self.engine, self.settings, stretch=stretch).run()
        return result

    def generate_what_waits(self) -> list[GeneratingResult]:
        """Make the messages of all campaigns that wait for it, as a run does."""
        return Generating(self.engine, self.settings).run()

    def drain(self, channel: MemoryChannel, limit: int = -1, sender: str = SENDER) -> DrainResult:
        """Run Notifications over a sender's queue."""
        return Drainer(self.engine, channel, sender, limit=limit).run()

    def read(self, number: int) -> Campaign:
        """The campaign as it is."""
        with self.engine.connect() as connection:
            return campaigns.read(connection, number)

    def progress(self, number: int) -> Progress:
        """How far it is."""
        with self.engine.connect() as connection:
            return campaign_messages.progress(connection, campaigns.read(connection, number))

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """What the database says."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement), values)]

    def do(self, statement: str, **values: Any) -> None:
        """Change something in the database."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)
