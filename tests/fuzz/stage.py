"""Where inputs are tried: one database, a savepoint for each input, and an ear on the log."""

from __future__ import annotations

import io
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from notify.domain.kind import read_kinds
from notify.domain.person import Person
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import people

SHIPPED = Path(__file__).resolve().parents[2] / "include" / "templates"

#: CPU seconds for one input; more is an endless loop, or as good as one.
LONGEST = 20.0

#: Inputs in one transaction of the database.
STRIDE = 250

TEAM = ["team"]
PEOPLE = (
    Person(login="anna", name="Anna Nowak", email="anna@example.com", language="pl", timezone="Europe/Warsaw",
           supervisor="bob", groups=TEAM),
    Person(login="bob", name="Bob", email="bob@example.com", language="sk", groups=TEAM, preferences={"*": "daily"}),
    Person(login="carl", name="Carl, the Third", email="carl@example.com", groups=TEAM),
    Person(login="dora", name="Dora"),
    Person(login="eve", name="Eve", email="eve@example.com", active=False, groups=["leavers"]),
)  # fmt: skip

#: Uses every filter, on whatever it is given.
EVERYTHING = (
    "{{ word }}{% if things is defined %}{% for one in things %}- {{ one }}\n{% endfor %}{% endif %}"
    "{% if when is defined %}{{ when | datetime }} {{ when | date }} {{ when | day }} {{ when | time }}{% endif %}"
    "{% if count is defined %}{{ count | number }} {{ count | plural(other='x') }}{% endif %}"
    "{% if link is defined %}{{ link | url }}{% endif %}{% if deep is defined %}{{ deep.a.b }}{% endif %}"
)
TEMPLATES = {
    "subject.txt.j2": "Word {{ word }}",
    "body.txt.j2": EVERYTHING,
    "body.html.j2": "{% extends layout %}{% block content %}<p>" + EVERYTHING + "</p>{% endblock %}",
    "summary.txt.j2": "{{ word }}",
}


class TooSlow(BaseException):
    """An input took longer than any may. No handler in the code under test shall take it for an error of its own."""


class Ear(logging.Handler):
    """Hears what every logger says, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.heard = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line down; one that cannot be written is a finding in itself."""
        self.heard.write(self.format(record) + "\n")

    def take(self) -> str:
        """What was heard since the last time."""
        said, self.heard = self.heard.getvalue(), io.StringIO()
        return said


@dataclass(slots=True)
class Stage:
    """What a door may use.

    :param connection: in a transaction that is never committed
    :param variables: what Airflow's Variables say; empty ones are not set
    """

    engine: Engine
    connection: Connection
    settings: HandOverSettings
    folder: Path
    ear: Ear
    variables: dict[str, str] = field(default_factory=dict)

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What a query finds."""
        return list(self.connection.execute(sa.text(query), values))

    def written(self) -> int:
        """Rows that this transaction has written so far, rolled back or not."""
        return int(self.connection.scalar(_WRITTEN) or 0)

    def anew(self) -> None:
        """Begin another transaction."""
        self.connection.rollback()


_WRITTEN = sa.text(
    "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_xact_user_tables where schemaname = 'notify'"
)


@contextmanager
def stage(url: URL) -> Iterator[Stage]:
    """A stage on a database with our schema and nothing else."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notify-fuzz-")))
        engine = sa.create_engine(url, hide_parameters=True, connect_args={"options": "-c timezone=UTC"})
        stack.callback(engine.dispose)
        with engine.begin() as connection:
            people.save(connection, PEOPLE)
        ear = stack.enter_context(_listening())
        stack.enter_context(_without_variables())
        yield Stage(engine, stack.enter_context(engine.connect()), _settings(folder), folder, ear)


def _settings(folder: Path) -> HandOverSettings:
    templates = folder / "templates"
    shutil.copytree(SHIPPED, templates)
    own = templates / "fuzz" / "en"
    own.mkdir(parents=True)
    for name, text in TEMPLATES.items():
        (own / name).write_text(text, encoding="utf-8")
    given = HandOverSettings(senders=("smtp_default", "smtp_second"), templates=templates)
    return replace(
        given,
        identity=lambda _sender: SenderIdentity("example.com"),
        kinds=read_kinds('{"fuzz": {}}'),
        case_url="https://cases.example.com/{case_id}",
        largest=3_000_000,
    )


@contextmanager
def _listening() -> Iterator[Ear]:
    """Listen to all loggers on all levels; SQLAlchemy's tell each statement, and hide its values by a setting."""
    ear, root = Ear(), logging.getLogger()
    others = list(root.handlers)
    before, loud = root.level, logging.getLogger("sqlalchemy").level
    root.handlers = [ear]
    root.setLevel(logging.DEBUG)
    logging.getLogger("sqlalchemy").setLevel(logging.WARNING)
    try:
        yield ear
    finally:
        root.handlers = others
        root.setLevel(before)
        logging.getLogger("sqlalchemy").setLevel(loud)


@contextmanager
def _without_variables() -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AIRFLOW_VAR_NOTIFY")}
    try:
        yield
    finally:
        os.environ.update(before)


@contextmanager
def patient(seconds: float = LONGEST) -> Iterator[None]:
    """Give a step so much CPU time; how busy the machine is makes no difference.

    :raises TooSlow: it takes more
    """

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"more than {seconds:.0f} s of CPU")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def replaced(owner: Any, **names: Any) -> Iterator[None]:
    """Put other values under some names for a while."""
    before = {name: getattr(owner, name) for name in names}
    for name, value in names.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def variable_of(values: Mapping[str, str]) -> Callable[[str, str], str]:
    """Stands in for :func:`notify.settings.variable`, which asks Airflow."""

    def variable(name: str, default: str = "") -> str:
        return values.get(name, "").strip() or default

    return variable
