"""The local stack: an embedded PostgreSQL, a mail catcher, an SMS gateway and Airflow standalone, in one home.

>>> with Stack(home, port=8080, mail_port=1025) as stack:
...     stack.run("SendMessage", {"recipient": "anna@example.com", "subject": "Hello", "message": "Hi"})
...     stack.run("Notifications")
...     stack.mail()
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from dev.catcher import Catcher, Mail
from dev.client import AirflowClient
from dev.errors import StackError
from dev.eurosms import BY_LAST_DIGIT, EuroSms
from dev.ports import HOST, require_free
from dev.postgres import Postgres
from dev.processes import undisturbed
from dev.settings import CHECKOUT, PASSWORDS, ensure_keys, ensure_local_settings, environment, shell_lines
from dev.standalone import Standalone

#: What the stack waits for before it says that it is ready.
OUR_DAGS = (
    "SendMessage",
    "Notifications",
    "UserNotifications",
    "Reminders",
    "MassMailing",
    "DeliveryReports",
    "Housekeeping",
)

MAIL_SENDER = "smtp_default"
SMS_SENDER = "eurosms_default"

#: What a slot of a sender's pool is.
SLOTS = {MAIL_SENDER: "messages", SMS_SENDER: "parts of SMS"}

#: Of which country numbers are that do not say: the gateway is at home there.
PHONE_REGION = "SK"

Report = Callable[[str], None]


class Stack:
    """PostgreSQL, mail catcher, SMS gateway and Airflow, started together and stopped together.

    :param home: Airflow's home; everything that the stack keeps is in there
    :param port: Airflow's port
    :param mail_port: the mail catcher's port
    :param sms_port: the SMS gateway's port; without one there is no gateway, and no sender of SMS
    :param dags_folder: the DAGs that Airflow runs
    :param more_dags: further folders of DAGs, each by a name
    :param expect_dags: the DAGs that must be there before the stack counts as started
    :param variables: Airflow Variables to create before Airflow starts, where they are missing; beside
        ``notify_base_url``, without which mails have no links, and what SMS need
    :param report: called with a line at each step
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int,
        mail_port: int,
        sms_port: int | None = None,
        dags_folder: Path = CHECKOUT / "dags",
        more_dags: Mapping[str, Path] | None = None,
        expect_dags: Sequence[str] = OUR_DAGS,
        variables: Mapping[str, str] | None = None,
        report: Report = lambda _line: None,
    ) -> None:
        self.home = home.expanduser().absolute()
        self.port = port
        self.mail_port = mail_port
        self.sms_port = sms_port
        self.dags_folder = dags_folder.absolute()
        self.more_dags = dict(more_dags or {})
        self.expect_dags = tuple(expect_dags)
        self.report = report
        self.postgres = Postgres(self.home / "postgres")
        self.catcher = Catcher(self.home / "mail", mail_port)
        self.sms = self._gateway(sms_port) if sms_port is not None else None
        self.client = AirflowClient(f"http://localhost:{port}", self.home / PASSWORDS)
        self.initial_variables = {"notify_base_url": self.client.url, **self._sms_variables(), **(variables or {})}
        self.airflow = Standalone(self.home, self.client, self._own / "airflow.json")
        self._env: dict[str, str] = {}
        self._started = ExitStack()

    # --- Life -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything, in order; if a part fails, stop what was started."""
        try:
            self.start_services()
            self.start_airflow()
        except BaseException:
            self.stop()
            raise

    def start_services(self) -> None:
        """Everything but Airflow itself: home, lock, ports, databases, mail catcher, SMS gateway."""
        self._own.mkdir(parents=True, exist_ok=True)
        self._started.enter_context(self._lock())
        if count := self.airflow.stop_left_over():
            self.report(f"Stopped {count} Airflow processes that an earlier run left behind")
        require_free(self.port, "PORT", "Airflow")
        self._start_catcher()
        if self.sms:
            self._start_sms(self.sms)
        self._start_postgres()
        ensure_keys(self.home)
        ensure_local_settings(self.home)

    def start_airflow(self) -> None:
        """Start Airflow on the services and wait until it is of use."""
        self.prepare_databases()
        self._started.callback(self._stop_airflow)
        self.airflow.start(self._env)
        self.report(f"Airflow starts, its log is {self.airflow.log}")
        self.airflow.wait_until_healthy(self.report)
        self.airflow.wait_for_dags(self.expect_dags)

    def prepare_databases(self) -> None:
        """Bring both databases up to date and add what is missing in Airflow's."""
        self._env = self._environment()
        self.shell.write_text(shell_lines(self._env))
        self._upgrade_outbox()
        self._prepare_airflow()

    def stop(self) -> None:
        """Stop what was started, last first."""
        with undisturbed():
            self._started.close()
            self.client.close()

    # --- What users do --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where Airflow answers."""
        return self.client.url

    @property
    def password(self) -> str:
        """The password of the user ``admin``."""
        return self.client.password

    @property
    def shell(self) -> Path:
        """What a shell reads to have ``airflow`` and ``python -m notify`` reach this stack."""
        return self.home / "env"

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Airflow's API; ``path`` is below ``/api/v2``."""
        return self.client.api(method, path, body)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        return self.client.trigger(dag_id, conf)

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 120) -> str:
        """Wait until a run has ended and return its state."""
        return self.client.wait_for_run(dag_id, run_id, timeout)

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = 120) -> str:
        """Start a run, wait until it has succeeded and return its id."""
        run_id = self.trigger(dag_id, conf)
        self.require_success(dag_id, run_id, timeout)
        return run_id

    def require_success(self, dag_id: str, run_id: str, timeout: float = 120) -> None:
        """Wait until a run has ended; if it did not succeed, raise with its tasks' logs."""
        state = self.wait_for_run(dag_id, run_id, timeout)
        if state != "success":
            raise StackError(
                f"The run {run_id} of {dag_id} ended as {state}.\n{self._logs(dag_id, run_id)}",
                f"See {self.url}/dags/{dag_id}/runs/{run_id}",
            )

    def xcom(self, dag_id: str, run_id: str, task_id: str | None = None, key: str = "return_value") -> Any:
        """What a task left behind; without ``task_id``, the run's only task."""
        return self.client.xcom(dag_id, run_id, task_id or self._only_task(dag_id, run_id), key)

    def set_pool(self, name: str, slots: int) -> None:
        """Give a pool another number of slots."""
        self.client.set_pool(name, slots)

    def set_variable(self, key: str, value: str) -> None:
        """Set an Airflow Variable."""
        self.client.set_variable(key, value)

    def produce(self, calls: Sequence[Mapping[str, Any]], people: Path | None = None) -> list[int]:
        """Hand over people, events, deadlines and preferences, as a program of a user does; see :mod:`dev.produce`.

        :param calls: in their order, e.g. ``{"publish": {"kind": …}}``
        :param people: a file of people to import first
        :return: for each call the number of its event or deadline, or 0
        """
        request = json.dumps({"people": str(people) if people else None, "calls": list(calls)})
        numbers = json.loads(self.program("The events cannot be handed over", ["-m", "dev.produce"], request))
        return [int(number) for number in numbers]

    def program(self, what: str, arguments: Sequence[str], stdin: str = "") -> str:
        """Run a Python program as in a shell that has read the file :attr:`shell`, and return what it printed.

        :param what: how an error begins if it does not succeed
        """
        return self._run_to_end(what, arguments, self._env, stdin)

    def mail(self) -> list[Mail]:
        """The mails that arrived, oldest first."""
        return self.catcher.maildir.mails()

    def wait_for_mail(self, message_id: str, timeout: float = 30) -> Mail:
        """Wait until the mail with this Message-ID has arrived."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for mail in self.mail():
                if mail.message_id == message_id:
                    return mail
            time.sleep(0.2)
        raise StackError(
            f"The mail {message_id} has not arrived within {timeout:.0f} seconds.",
            f"Look at the runs of Notifications: {self.url}/dags/Notifications",
        )

    @property
    def outbox_conninfo(self) -> str:
        """How psycopg reaches the outbox database."""
        return self.postgres.conninfo("notify")

    def _only_task(self, dag_id: str, run_id: str) -> str:
        tasks = {str(task["task_id"]) for task in self.client.tasks(dag_id, run_id)}
        if len(tasks) != 1:
            raise StackError(f"{dag_id} has {len(tasks)} tasks: {', '.join(sorted(tasks))}.", "Name one of them.")
        return tasks.pop()

    def _logs(self, dag_id: str, run_id: str) -> str:
        """The logs of a run's tasks that did not succeed."""
        failed = [task for task in self.client.tasks(dag_id, run_id) if task["state"] == "failed"]
        return "\n".join(
            self.client.task_log(dag_id, run_id, task["task_id"], max(task["try_number"], 1)) for task in failed
        )

    # --- Parts ----------------------------------------------------------------------------------------------

    @property
    def _own(self) -> Path:
        """Where the stack keeps what is neither Airflow's nor PostgreSQL's."""
        return self.home / "stack"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One stack per home."""
        with (self._own / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._already_running(file) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _already_running(self, file: IO[str]) -> StackError:
        file.seek(0)
        return StackError(
            f"A stack is running in {self.home} already (process {file.read().strip() or 'unknown'}).",
            "Use it, stop it with Ctrl-C, or start another with its own AIRFLOW_HOME, PORT and MAIL_PORT.",
        )

    def _start_catcher(self) -> None:
        self.catcher.start()
        self._started.callback(self.catcher.stop)
        self.report(f"Mail catcher listens on port {self.mail_port}")

    def _gateway(self, port: int) -> EuroSms:
        """A server of SMS that knows what an earlier start of this home sent."""
        return EuroSms(port=port, fates=BY_LAST_DIGIT, record=self._own / "sms.jsonl", recall=True)

    def _start_sms(self, server: EuroSms) -> None:
        server.start()
        self._started.callback(server.stop)
        self.report(f"EuroSMS server listens on port {server.port}")

    def _start_postgres(self) -> None:
        self._started.callback(self.postgres.stop)
        found = self.postgres.start()
        self.report("PostgreSQL was still running, taken over" if found else "PostgreSQL started")
        created = [name for name in ("notify", "airflow") if self.postgres.create_database(name)]
        if created:
            self.report(f"Databases created: {', '.join(created)}")

    def _stop_airflow(self) -> None:
        self.airflow.stop()
        self.report("Airflow stopped")

    def _environment(self) -> dict[str, str]:
        database = self.postgres.uri("airflow", "postgresql+psycopg")
        return environment(
            self.home, port=self.port, database=database, dags_folder=self.dags_folder, more_dags=self.more_dags
        )

    def _upgrade_outbox(self) -> None:
        env = {
            **self._env,
            "PYTHONPATH": str(CHECKOUT / "plugins"),
            "AIRFLOW_CONN_NOTIFY_DB": json.dumps(self._outbox_connection()),
        }
        self._run_to_end("The outbox database cannot be upgraded", ["-m", "notify", "db", "upgrade"], env)
        self.report("Outbox database is up to date")

    def _prepare_airflow(self) -> None:
        request = {
            "connections": self._connections(),
            "pools": [_pool(sender) for sender in self._senders()],
            "variables": self.initial_variables,
            "record": str(self._own / "connections.json"),
        }
        what = "Airflow's own database cannot be prepared"
        for line in self._run_to_end(what, ["-m", "dev.prepare"], self._env, json.dumps(request)).splitlines():
            self.report(f"Airflow: {line}")
        self.report("Airflow's own database is up to date")

    def _senders(self) -> list[str]:
        return [MAIL_SENDER, SMS_SENDER] if self.sms else [MAIL_SENDER]

    def _sms_variables(self) -> dict[str, str]:
        if self.sms is None:
            return {}
        return {"notify_senders": json.dumps(self._senders()), "notify_phone_region": PHONE_REGION}

    def _connections(self) -> dict[str, dict[str, Any]]:
        sms = {SMS_SENDER: _sms_connection(self.sms)} if self.sms else {}
        return {"notify_db": self._outbox_connection(), MAIL_SENDER: self._catcher_connection(), **sms}

    def _outbox_connection(self) -> dict[str, Any]:
        return {
            "conn_type": "postgres",
            "description": "The outbox. Made by make up: the embedded PostgreSQL, through its Unix socket.",
            "host": str(self.postgres.socket_dir),
            "login": "postgres",
            "schema": "notify",
        }

    def _catcher_connection(self) -> dict[str, Any]:
        extra = {
            "from_email": "notifications@example.com",
            "from_name": "Airflow Notifications",
            "disable_ssl": True,
            "disable_tls": True,
        }
        return {
            "conn_type": "smtp",
            "description": "The first sender. Made by make up: the mail catcher, which delivers nothing.",
            "host": HOST,
            "port": self.mail_port,
            "extra": json.dumps(extra),
        }

    def _run_to_end(self, what: str, arguments: Sequence[str], env: Mapping[str, str], stdin: str = "") -> str:
        """Run a Python program that must succeed, and return what it printed."""
        command = [sys.executable, *arguments]
        done = subprocess.run(command, input=stdin, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n    ".join((done.stderr or done.stdout).splitlines()[-20:])
            raise StackError(f"{what}:\n    {tail}", f"Mend what it names; the command was: {' '.join(command)}")
        return done.stdout


def _pool(sender: str) -> dict[str, Any]:
    description = f"Slots = {SLOTS[sender]} per rolling hour through {sender}; -1 = no limit, 0 = hold."
    return {"pool": sender, "slots": 100, "description": description}


def _sms_connection(server: EuroSms) -> dict[str, Any]:
    account = server.account()
    return {
        "conn_type": "http",
        "description": "The sender of SMS. Made by make up: a local EuroSMS server, which delivers nothing.",
        "host": HOST,
        "port": server.port,
        "schema": "http",
        "login": account.iid,
        "password": account.key,
        "extra": json.dumps({"sender": "Airflow"}),
    }
