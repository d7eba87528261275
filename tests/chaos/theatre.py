"""Where scenarios are played: each on a database of its own, several at the same time."""

from __future__ import annotations

import random
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import URL

from dev.postgres import Postgres
from notify.storage import schema
from notify.storage.engine import normal_url
from tests.chaos.catalogue import Scenario
from tests.chaos.forge import Forge
from tests.chaos.judge import Verdict
from tests.chaos.loop import Loop
from tests.chaos.stage import Stage, Stuck, World

#: Scenarios mostly wait for leases to run out, so some can do that together.
JOBS = 4

#: Alembic is for one thread at a time.
_UPGRADING = threading.Lock()


@dataclass(slots=True)
class Theatre:
    """What all scenarios share.

    :param postgres: a running server
    :param template: a database with our schema and nothing else, to which nobody is connected
    """

    postgres: Postgres
    template: str
    forge: Forge
    loop: Loop

    def play(self, scenario: Scenario, seed: int) -> Verdict:
        """Play a scenario, and judge; one that gets stuck is judged as well."""
        with ExitStack() as stack:
            if scenario.own_server:
                postgres = stack.enter_context(server())
                url = normal_url(postgres.uri(template_on(postgres)))
            else:
                postgres = self.postgres
                url = stack.enter_context(self._database())
            world = World(url, postgres, self.forge, self.loop)
            stage = stack.enter_context(Stage(world, scenario.settings, random.Random(f"{seed} {scenario.name}")))
            try:
                scenario.play(stage)
            except Stuck as stuck:
                stage.faults.append(f"stuck: {stuck}")
            return stage.judge()

    def play_all(
        self,
        scenarios: Iterable[Scenario],
        seed: int,
        *,
        jobs: int = JOBS,
        done: Callable[[Scenario, Verdict], None] = lambda _scenario, _verdict: None,
    ) -> dict[str, Verdict]:
        """Play many.

        :param done: is told of each
        :returns: the verdict on each by its name
        """

        def play(scenario: Scenario) -> tuple[str, Verdict]:
            try:
                verdict = self.play(scenario, seed)
            except Exception:  # noqa: BLE001 - the others are to be played as well
                verdict = Verdict(faults=[traceback.format_exc()])
            done(scenario, verdict)
            return scenario.name, verdict

        pool = ThreadPoolExecutor(jobs)
        try:
            return dict(pool.map(play, scenarios))
        finally:
            pool.shutdown(cancel_futures=True)  # who is interrupted waits for what is being played only

    @contextmanager
    def _database(self) -> Iterator[URL]:
        name = f"chaos_{uuid4().hex}"
        self._run("create database {} template {}", name, self.template)
        try:
            yield normal_url(self.postgres.uri(name))
        finally:
            self._run("drop database {} with (force)", name)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.postgres.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def theatre(postgres: Postgres, template: str) -> Iterator[Theatre]:
    """A theatre on a running server."""
    with (
        tempfile.TemporaryDirectory(prefix="notify-chaos-") as folder,
        Forge(Path(folder) / "log") as forge,
        Loop() as loop,
    ):
        yield Theatre(postgres, template, forge, loop)


@contextmanager
def server() -> Iterator[Postgres]:
    """A PostgreSQL server with a data directory of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="notify-chaos-") as folder:
        postgres = Postgres(Path(folder) / "data")
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


def template_on(postgres: Postgres) -> str:
    """Make a database with our schema and nothing else.

    :returns: its name
    """
    name = "chaos_template"
    postgres.create_database(name)
    engine = sa.create_engine(normal_url(postgres.uri(name)))
    with _UPGRADING:
        schema.upgrade(engine)
    with engine.begin() as connection:  # or each copy of it would know that it is one
        connection.execute(sa.text("update notify.identity set system_identifier = null, database_oid = null"))
    engine.dispose()
    return name


def faults(verdicts: Mapping[str, Verdict]) -> list[str]:
    """All that was found, by scenario."""
    return [f"{name}: {fault}" for name, verdict in verdicts.items() for fault in verdict.faults]
