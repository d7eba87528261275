"""A scenario's world: a database, the SMTP server, the proxy, and the workers between them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from dev.postgres import Postgres
from notify.handover import hand_over
from notify.settings import HandOverSettings, SenderIdentity
from tests.chaos.forge import CHECKOUT, Forge
from tests.chaos.judge import Evidence, Handed, Verdict, judge
from tests.chaos.loop import Loop
from tests.chaos.proxy import Gate, Proxy
from tests.chaos.sink import Arrival, Door, Mode, Sink
from tests.chaos.strikes import Action, Strike, When
from tests.chaos.worker import SENDER, Orders
from tests.connections import postgres_connection

#: How long to wait for what must come, in seconds.
DEADLINE = 60.0

#: Between two looks, in seconds.
PAUSE = 0.03


class Stuck(AssertionError):
    """What was waited for did not come."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a scenario is played with.

    :param sessions: of each worker
    :param blows: how many workers are struck, one after another
    :param once_every: of so many messages one may be sent at most once
    :param limit: messages per window, -1 is none
    :param lease: seconds
    :param delay: seconds before the SMTP server answers a message
    :param timeout: of the SMTP client, in seconds
    :param calm: whether no lease may be lost that no blow explains
    :param deadline: when something that is waited for will not come any more, in seconds
    :param mutant: a fault to build into every worker
    """

    mode: Mode = Mode.PLAIN
    sessions: int = 4
    messages: int = 24
    blows: int = 3
    once_every: int = 3
    limit: int = -1
    window: float = 3600.0
    lease: float = 0.7
    delay: float = 0.005
    timeout: int = 10
    calm: bool = False
    deadline: float = DEADLINE
    mutant: str | None = None


@dataclass(slots=True)
class Worker:
    """A process under observation.

    :param struck: set when the blow fell
    """

    number: int
    strike: Strike | None
    struck: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    pid: int = 0
    door: Door | None = None
    gate: Gate | None = None

    @property
    def state(self) -> str:
        """What the system says of it."""
        return str(psutil.Process(self.pid).status())

    @property
    def dead(self) -> bool:
        """Whether it has ended, and only waits to be reaped."""
        return self.state == psutil.STATUS_ZOMBIE

    @property
    def stands_still(self) -> bool:
        """Whether all of its threads are stopped."""
        threads = Path(f"/proc/{self.pid}/task")
        if not threads.exists():  # no Linux
            return self.state == psutil.STATUS_STOPPED
        states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads.iterdir()]
        return all(state in "tT" for state in states)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; its PID is nobody else's until it is reaped."""
        os.kill(self.pid, number)

    def fire(self, strike: Strike) -> None:
        """Let a blow fall that comes from outside."""
        self.started.wait(DEADLINE)
        self.struck.set()  # before it: who finds the process dead must know of what
        if strike.action is Action.KILL:
            self.signal(signal.SIGKILL)
        elif strike.action is Action.FREEZE:
            self.signal(signal.SIGSTOP)
            while not self.stands_still:  # its threads stop one after another, and on a busy machine not at once
                time.sleep(0.001)


@dataclass(frozen=True, slots=True)
class World:
    """What a scenario needs.

    :param url: of a database with our schema and nothing else
    :param postgres: its server
    """

    url: URL
    postgres: Postgres
    forge: Forge
    loop: Loop


class Stage:
    """Where one scenario is played.

    :param chance: decides what is left to chance
    """

    def __init__(self, world: World, settings: Settings, chance: random.Random) -> None:
        url = world.url
        self.world = world
        self.settings = settings
        self.chance = chance
        self.engine: Engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"options": "-c timezone=UTC"})
        self.handed: list[Handed] = []
        self.workers: list[Worker] = []
        self.blows = 0
        self.bound = 0
        self.doubts = 0
        self.faults: list[str] = []
        self.kills = 0
        self._frozen: dict[int, tuple[float, Worker]] = {}
        self._struck: set[int] = set()
        self._alive: list[Worker] = []
        self._statuses: list[int] = []
        self._forge = world.forge
        self._loop = world.loop
        self.sink = Sink(settings.mode, settings.delay)
        self._proxy = Proxy(f"{url.query['host']}/.s.PGSQL.5432", _conninfo(url))
        self._folder = tempfile.TemporaryDirectory(prefix="notify-chaos-")
        self._journal = Path(self._folder.name) / "journal.jsonl"
        self._journal.touch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in list(self._alive):
            worker.signal(signal.SIGKILL)
            self._reap(worker)
        self._loop.run(self.sink.close())
        self._loop.run(self._proxy.close())
        self.engine.dispose()
        self._folder.cleanup()

    # --- Messages ----------------------------------------------------------------------------------------------------

    def hand_over(self, count: int) -> None:
        """Hand messages over."""
        with self.engine.begin() as connection:
            for _ in range(count):
                number = len(self.handed)
                once = number % self.settings.once_every == self.settings.once_every - 1
                recipients = tuple(f"r{one}@example.com" for one in range(self.chance.randint(1, 3)))
                fields = {
                    "recipient": list(recipients),
                    "one_mail": True,
                    "subject": f"chaos {number}",
                    "message": "Hello",
                    "priority": self.chance.choice(["urgent", "normal", "bulk"]),
                    "guarantee": "at_most_once" if once else "at_least_once",
                }
                (stored,) = hand_over(connection, fields, _HAND_OVER).messages
                self.handed.append(Handed(stored.message_id, f"chaos {number}", once, recipients))

    def left(self) -> int:
        """How many are still on their way; what waits for its next try is made due, since nobody has the time."""
        with self.engine.begin() as connection:
            connection.execute(_NO_BACK_OFF)
            return connection.scalar(_LEFT) or 0

    def drain(self, workers: int = 1) -> None:
        """Let fresh workers bring it to its end, and end all politely."""
        for _ in range(workers):
            self.start()
        self.wait_until_empty()
        self.end_all()

    def wait_until_empty(self) -> None:
        """Wait until nothing is on its way."""
        self.wait(lambda: not self.left(), "empty queue")

    def end_all(self) -> None:
        """End all workers politely."""
        for worker in list(self._alive):
            self.end(worker)

    # --- Workers -----------------------------------------------------------------------------------------------------

    def start(self, strike: Strike | None = None) -> Worker:
        """Start a worker, with a blow that waits for it."""
        worker = Worker(len(self.workers), strike)
        worker.door = Door(worker.number, strike if strike and strike.at_server else None, worker.fire)
        worker.gate = Gate(strike if strike and strike.by_proxy else None, worker.fire)
        smtp_port = self._loop.run(self.sink.open(worker.door))
        database_port = self._loop.run(self._proxy.open(worker.gate))
        settings = self.settings
        orders = Orders(
            worker.number,
            _by_proxy(self.world.url, database_port),
            smtp_port,
            str(self._journal),
            settings.sessions,
            settings.limit,
            settings.window,
            settings.lease,
            settings.timeout,
            None if strike is None or strike.at_server else strike,
            settings.mutant,
        )
        worker.pid = self._forge.start(asdict(orders))
        worker.started.set()
        self.workers.append(worker)
        self._alive.append(worker)
        return worker

    def strike(self, strike: Strike, *, bound: int | None = None, copies: int | None = None) -> Worker:
        """Start a worker and wait until the blow has fallen on it.

        :param bound: how many messages it may leave in doubt; one for each session, if nothing else is known
        :param copies: how many of them may arrive twice; all, if nothing else is known
        """
        worker = self.start(strike)
        if strike.polite:
            self.wait(lambda: bool(self.arrived(worker)), f"anything that worker {worker.number} sent")
            worker.signal(signal.SIGTERM)
        self.wait(lambda: self.has_fallen(worker), f"{strike} at worker {worker.number}")
        self.blow(self.settings.sessions if bound is None else bound, worker, copies=copies)
        if strike.action is Action.KILL:
            self.kills += 1
            self._reap(worker)
        return worker

    def has_fallen(self, worker: Worker) -> bool:
        """Whether its blow has fallen."""
        if not worker.struck.is_set():
            dead = worker.dead  # asked first: what it has written is there
            if not any(line["event"] == "struck" for line in self.journal(worker)):
                if dead and not worker.struck.is_set():
                    raise Stuck(f"worker {worker.number} ended before its blow fell: {self.journal()[-3:]}")
                return False
            worker.struck.set()
        strike = worker.strike
        if strike and strike.action is Action.FREEZE:
            return worker.stands_still
        return strike is None or strike.action is not Action.KILL or worker.dead

    def blow(self, bound: int, *workers: Worker, copies: int | None = None) -> None:
        """Count a blow, and how many messages it may have left in doubt.

        :param workers: who may lose a lease by it
        :param copies: how many of them may arrive twice; all, if nothing else is known
        """
        self.blows += 1
        self.doubts += bound
        self.bound += bound if copies is None else copies
        self._struck.update(worker.number for worker in workers)

    def kill(self, worker: Worker) -> None:
        """Kill it, wherever it is."""
        worker.signal(signal.SIGKILL)
        self.kills += 1
        self.blow(self.settings.sessions, worker)
        self._reap(worker)

    def freeze(self, worker: Worker, seconds: float) -> None:
        """Stop it for a while; see :meth:`thaw_due`."""
        worker.signal(signal.SIGSTOP)
        self.blow(self.settings.sessions, worker)
        self._frozen[worker.number] = (time.monotonic() + seconds, worker)

    def thaw_due(self, *, everybody: bool = False) -> None:
        """Let those go on that have stood still for long enough."""
        for until, worker in list(self._frozen.values()):
            if everybody or time.monotonic() >= until:
                worker.signal(signal.SIGCONT)
                del self._frozen[worker.number]

    @property
    def awake(self) -> list[Worker]:
        """The workers that live and do not stand still."""
        return [worker for worker in self._alive if worker.number not in self._frozen]

    def busy(self) -> list[Worker]:
        """Those of them that have a message under way."""
        with self.engine.connect() as connection:
            numbers = set(map(int, connection.scalars(_BUSY)))
        return [worker for worker in self.awake if worker.number in numbers]

    def hang_up(self, worker: Worker) -> None:
        """Have the SMTP server break the connection after the next message that it takes."""
        assert worker.door
        worker.door.seen = 0
        worker.door.strike = Strike("END", When.TAKEN, Action.CUT)
        self.blow(1)

    def end(self, worker: Worker) -> None:
        """Have it end politely."""
        worker.signal(signal.SIGCONT)
        worker.signal(signal.SIGTERM)
        self.wait(lambda: worker.dead, f"the end of worker {worker.number}")
        self._statuses.append(self._reap(worker))

    def thaw(self, worker: Worker) -> None:
        """Let one go on whose messages another has sent since; hold it against its right to act."""
        before = len(self.arrived(worker))
        woken_at = time.monotonic()
        worker.signal(signal.SIGCONT)
        ended = self._ended_since(worker, woken_at)
        self.wait(lambda: bool(ended()), f"end of the run that stood still in worker {worker.number}")
        if (error := ended()[0].get("error")) not in _DISOWNED:
            self.faults.append(f"fencing: the woken worker's run ended with {error or 'success'}")
        if late := len(self.arrived(worker)) - before:
            self.faults.append(f"fencing: the woken worker sent {late} messages that were taken from it")

    def _ended_since(self, worker: Worker, moment: float) -> Callable[[], list[dict[str, Any]]]:
        return lambda: [line for line in self.journal(worker) if line["event"] in _RUN_ENDS and line["at"] > moment]

    def cut_database(self, worker: Worker) -> None:
        """Break its connections to PostgreSQL."""
        assert worker.gate
        self.blow(self.settings.sessions, worker)
        self._loop.run(self._proxy.cut(worker.gate))

    def terminate(self, worker: Worker) -> None:
        """Have PostgreSQL end its sessions."""
        assert worker.gate
        self.blow(self.settings.sessions, worker)
        self._loop.run(self._proxy.terminate(worker.gate))

    def kill_backend(self) -> None:
        """Kill the process of one session of PostgreSQL's: it takes that for memory gone bad, and starts anew."""
        with self.engine.connect() as connection:
            pid = connection.scalar(sa.text("select pg_backend_pid()"))
            psutil.Process(pid).kill()
            connection.invalidate()
        self.engine.dispose()
        self.wait(self._database_answers, "PostgreSQL after its recovery")

    def stop_at_once(self) -> None:
        """PostgreSQL's "immediate" stop."""
        server = psutil.Process(int((self.world.postgres.data / "postmaster.pid").read_text().split()[0]))
        server.send_signal(signal.SIGQUIT)
        self.wait(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "end of PostgreSQL")

    def _database_answers(self) -> bool:
        try:
            with psycopg.connect(_conninfo(self.world.url), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _reap(self, worker: Worker) -> int:
        self._alive.remove(worker)
        return self._forge.reap(worker.pid)

    def arrived(self, worker: Worker) -> list[Arrival]:
        """What came from a worker."""
        return [arrival for arrival in self.sink.arrivals if arrival.worker == worker.number]

    # --- Looking -----------------------------------------------------------------------------------------------------

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is true."""
        deadline = self.settings.deadline
        until = time.monotonic() + deadline
        while not true():
            if time.monotonic() > until:
                raise Stuck(f"no {what} within {deadline:.0f} s; the last words: {self.journal()[-5:]}")
            time.sleep(PAUSE)

    def journal(self, worker: Worker | None = None) -> list[dict[str, Any]]:
        """What the workers wrote down."""
        lines = map(json.loads, self._journal.read_text().splitlines())
        return [line for line in lines if worker is None or line["worker"] == worker.number]

    def taken_over(self, worker: Worker) -> bool:
        """Whether somebody has taken over from all drains of a worker."""
        with self.engine.connect() as connection:
            return not connection.scalar(_OPEN_DRAINS, {"number": str(worker.number)})

    def check_by_command(self) -> None:
        """Have the command say whether the balance is even."""
        connection = postgres_connection(self.world.url)
        done = subprocess.run(
            [sys.executable, "-m", "notify", "check"],
            env=os.environ | {"AIRFLOW_CONN_NOTIFY_DB": connection, "PYTHONPATH": str(CHECKOUT / "plugins")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self.faults.append(f"check: {done.stdout}{done.stderr}")

    def judge(self) -> Verdict:
        """What became of it all."""
        unspent = [str(worker.strike) for worker in self.workers if worker.strike and not worker.struck.is_set()]
        evidence = Evidence(
            handed=self.handed,
            arrivals=self.sink.arrivals,
            journal=self.journal(),
            kills=self.kills,
            blows=self.blows,
            bound=self.bound,
            doubts=self.doubts,
            calm=self.settings.calm,
            sessions=self.settings.sessions,
            struck=frozenset(self._struck),
            limit=self.settings.limit,
            window=self.settings.window,
            unspent=unspent,
            statuses=self._statuses,
            faults=self.faults,
        )
        return judge(self.engine, evidence)


#: How a run may end from which was taken what it had: it learns so, or PostgreSQL has ended its session meanwhile.
_DISOWNED = {"LeaseLost", "OperationalError", "InternalError"}
_RUN_ENDS = {"run", "ended", "failed"}

_NO_BACK_OFF = sa.text("""
    update notify.messages set not_before = now() where id in (
        select id from notify.messages where status = 'queued' and not_before > now() for update skip locked)
""")
_LEFT = sa.text("select count(*) from notify.messages where status in ('queued', 'sending')")
_BUSY = sa.text("""
    select distinct d.run_id from notify.drains d join notify.attempts a on a.drain_id = d.id
    where d.dag_id = 'chaos' and a.begun_at is not null and a.ended_at is null and d.ended_at is null
""")
_OPEN_DRAINS = sa.text("""
    select exists (select from notify.drains where dag_id = 'chaos' and run_id = :number and ended_at is null)
""")

_HAND_OVER = HandOverSettings(
    senders=(SENDER,),
    templates=CHECKOUT / "include" / "templates",
    identity=lambda _sender: SenderIdentity("example.com"),
)


def _conninfo(url: URL) -> str:
    return f"host={url.query['host']} user={url.username} dbname={url.database}"


def _by_proxy(url: URL, port: int) -> str:
    query = {"sslmode": "disable", "gssencmode": "disable"}
    return url.set(host="127.0.0.1", port=port, query=query).render_as_string(hide_password=False)
