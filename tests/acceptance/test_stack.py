"""The local stack: what `make up` promises to those who start it, stop it and start it again."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import sqlalchemy

from dev import samples
from dev.catcher import Catcher
from dev.demo import Expected
from dev.demo_events import found_of
from dev.demo_sms import LONG, TEXTS, finding, promise
from dev.errors import StackError
from dev.eurosms import Sms, signature
from dev.eurosms.book import Part
from dev.eurosms.rules import Flag
from dev.ports import HOST, free_ports
from dev.processes import ProcessTree, is_alive
from dev.settings import CHECKOUT, PASSWORDS, ensure_keys, environment
from dev.stack import Stack
from tests.acceptance.observing import in_a_shell

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_stack(home: Path) -> Stack:
    port, mail_port, sms_port = free_ports(3)
    return Stack(home, port=port, mail_port=mail_port, sms_port=sms_port)


@contextmanager
def services(stack: Stack) -> Iterator[Stack]:
    """All of the stack but Airflow: enough for most promises, and started in a second."""
    try:
        stack.start_services()
        yield stack
    finally:
        stack.stop()


def postgres_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return is_alive(psutil.Process(pid))
    return False


# --- Ports and the lock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "attribute"), [("PORT", "port"), ("MAIL_PORT", "mail_port"), ("SMS_PORT", "sms_port")]
)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_taken_port_is_an_error_that_names_the_variable(home, variable, attribute, family):
    stack = a_stack(home)
    address = "::1" if family is socket.AF_INET6 else HOST
    with socket.socket(family) as other:
        try:
            other.bind((address, getattr(stack, attribute)))
        except OSError:
            pytest.skip("this machine has no IPv6")
        other.listen()
        with pytest.raises(StackError, match=rf"make up {variable}=\d+"), services(stack):
            pass


def test_what_was_started_before_an_error_is_stopped(home):
    with services(a_stack(home)) as first:
        second = Stack(home, port=first.port, mail_port=first.mail_port, sms_port=first.sms_port)
        with pytest.raises(StackError, match="already"), services(second):
            pass
        assert runs(postgres_pid(home)), "the second one must not stop the first one's server"
    with services(a_stack(home)):
        pass


def test_one_home_runs_one_stack(home):
    with (
        services(a_stack(home)),
        pytest.raises(StackError, match=rf"running in {home} already \(process {os.getpid()}\)"),
        services(a_stack(home)),
    ):
        pass


def test_two_stacks_run_side_by_side(home, tmp_path):
    with services(a_stack(home)) as one, services(a_stack(home / "other")) as other:
        with psycopg.connect(one.outbox_conninfo) as connection:
            connection.execute("CREATE TABLE only_here ()")
        with psycopg.connect(other.outbox_conninfo) as connection:
            assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)


# --- Data -----------------------------------------------------------------------------------------------------


def test_the_next_start_finds_the_data_again(home):
    with services(a_stack(home)) as stack, psycopg.connect(stack.outbox_conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'Żółć' AS word")
    with services(a_stack(home)) as stack, psycopg.connect(stack.outbox_conninfo) as connection:
        assert connection.execute("SELECT lower(word) FROM kept").fetchone() == ("żółć",)


@pytest.mark.parametrize("name", ["with a space", "žluťoučký", "long-" * 25], ids=["space", "accents", "too long"])
def test_a_home_may_have_any_name(home, name):
    """Too long a name for a Unix socket, among others."""
    with services(a_stack(home / name)) as stack:
        with psycopg.connect(stack.outbox_conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with sqlalchemy.create_engine(stack.postgres.uri("notify", "postgresql+psycopg")).connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT 1")) == 1


def test_the_socket_is_its_owners_and_commits_are_synced(home):
    with services(a_stack(home)) as stack:
        mode = (stack.postgres.socket_dir / ".s.PGSQL.5432").stat().st_mode
        assert mode & 0o777 == 0o700
        with psycopg.connect(stack.outbox_conninfo) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_a_server_left_by_a_killed_run_is_taken_over_and_stopped(home):
    program = (
        "import os, signal, sys; from pathlib import Path; from dev.stack import Stack;"
        "Stack(Path(sys.argv[1]), port=int(sys.argv[2]), mail_port=int(sys.argv[3])).start_services();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ports = [str(port) for port in free_ports(2)]
    killed = subprocess.run([sys.executable, "-c", program, str(home), *ports], cwd=CHECKOUT, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = postgres_pid(home)
    assert runs(left)
    lines: list[str] = []
    stack = a_stack(home)
    stack.report = lines.append
    with services(stack):
        assert postgres_pid(home) == left
        assert "PostgreSQL was still running, taken over" in lines
    assert not runs(left)


def test_a_dead_servers_number_that_another_program_has_now_is_no_obstacle(home):
    with services(a_stack(home)):
        pid_file = (home / "postgres" / "postmaster.pid").read_text()
    another = pid_file.replace(pid_file.splitlines()[0], str(os.getpid()), 1)
    (home / "postgres" / "postmaster.pid").write_text(another)
    with services(a_stack(home)):
        assert postgres_pid(home) != os.getpid()


# --- Processes ------------------------------------------------------------------------------------------------

# A program that starts two others: one in a process group of its own, as Airflow's tasks are, and one that
# ignores the request to end.
FAMILY = """
import os, signal, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import os, time; os.setpgid(0, 0); time.sleep(600)"])
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", stubborn])
print("started", flush=True)
time.sleep(600)
"""


def start_family(folder: Path) -> tuple[ProcessTree, list[int]]:
    tree = ProcessTree(folder / "record.json")
    log = folder / "log"
    tree.start([sys.executable, "-c", FAMILY], env=dict(os.environ), cwd=folder, log=log)
    leader = json.loads((folder / "record.json").read_text())["pid"]
    while "started" not in log.read_text():
        assert tree.ended() is None
    return tree, [leader, *(child.pid for child in psutil.Process(leader).children())]


def test_stopping_leaves_no_process_behind(tmp_path):
    tree, pids = start_family(tmp_path)
    assert len(pids) == 3
    tree.stop()
    assert [pid for pid in pids if runs(pid)] == []


def test_processes_left_by_a_killed_run_are_stopped_by_the_next(tmp_path):
    _, pids = start_family(tmp_path)
    os.kill(pids[0], signal.SIGKILL)
    os.waitpid(pids[0], 0)
    assert ProcessTree(tmp_path / "record.json").stop_left_over() == 2
    assert [pid for pid in pids if runs(pid)] == []


def test_a_number_that_another_program_has_now_is_left_alone(tmp_path):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        (tmp_path / "record.json").write_text(json.dumps({"pid": bystander.pid, "started": 1.0}))
        assert ProcessTree(tmp_path / "record.json").stop_left_over() == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


# --- Airflow's settings ---------------------------------------------------------------------------------------


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path):
    ensure_keys(tmp_path)
    first = (tmp_path / "airflow.cfg").read_text()
    ensure_keys(tmp_path)
    assert (tmp_path / "airflow.cfg").read_text() == first
    for name in ("airflow.cfg", PASSWORDS):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_an_airflow_cfg_without_keys_is_an_error_that_names_them(tmp_path):
    (tmp_path / "airflow.cfg").write_text("[core]\nfernet_key = x\n")
    with pytest.raises(StackError, match=r"no \[api\] secret_key, \[api_auth\] jwt_secret"):
        ensure_keys(tmp_path)


def test_what_tasks_inherit_by_environment_holds_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", "postgresql://me:secret@elsewhere/notify")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    ensure_keys(tmp_path)
    config = configparser.RawConfigParser()
    config.read(tmp_path / "airflow.cfg")
    keys = {value for section in config.sections() for value in dict(config[section]).values()}
    env = environment(tmp_path, port=1, database="postgresql+psycopg:///airflow", dags_folder=tmp_path)
    assert len(keys) == 3
    assert not keys & set(env.values())
    assert not [name for name, value in env.items() if name.startswith("AIRFLOW") and "secret" in value]


# --- The mail catcher -----------------------------------------------------------------------------------------


def test_the_catcher_keeps_the_envelope_and_the_mail(tmp_path):
    port = free_ports(1)[0]
    catcher = Catcher(tmp_path / "mail", port)
    catcher.start()
    try:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "Dobrý deň"
        message["Message-ID"] = "<1@example.com>"
        message.set_content("Žltý kôň\n.\nA dot stood alone above.")
        with smtplib.SMTP(HOST, port) as client:
            client.send_message(message, to_addrs=["b@example.com", "blind@example.com"])
    finally:
        catcher.stop()
    (mail,) = catcher.maildir.mails()
    assert mail.recipients == ("b@example.com", "blind@example.com")
    assert (mail.subject, mail.message_id) == ("Dobrý deň", "<1@example.com>")
    assert mail.message.get_content() == "Žltý kôň\n.\nA dot stood alone above.\n"


# --- The demo's verdict ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("copies", "recipients", "verdict"),
    [
        (1, ("b@example.com", "a@example.com"), "once"),
        (0, (), "MISSING"),
        (2, ("a@example.com", "b@example.com"), "2 TIMES"),
        (1, ("a@example.com",), "OTHER RECIPIENTS"),
    ],
)
def test_the_demo_sees_what_is_missing_doubled_or_misdirected(tmp_path, copies, recipients, verdict):
    catcher = Catcher(tmp_path, free_ports(1)[0])
    for _ in range(copies):
        catcher.maildir.add(b"".join(f"X-Envelope-To: {each}\r\n".encode() for each in recipients) + b"\r\nHi")
    expected = Expected(1, "<1@example.com>", ("a@example.com", "b@example.com"), NOW, arrived=catcher.maildir.mails())
    assert expected.verdict == verdict


@pytest.mark.parametrize(
    ("copies", "recipients", "words", "verdict"),
    [
        (1, ["a@example.com"], "the news", "digest"),
        (0, [], "", "digest, MISSING"),
        (2, ["a@example.com"], "the news", "digest, 2 TIMES"),
        (1, ["a@example.com", "b@example.com"], "the news", "digest, OTHER RECIPIENTS"),
        (1, ["a@example.com"], "old news", "digest, NOT IN IT"),
    ],
)
def test_the_demo_sees_what_is_wrong_with_a_digest(tmp_path, copies, recipients, words, verdict):
    """A digest that is missing, doubled, misdirected, or does not tell of the event, is no digest to the demo."""
    catcher = Catcher(tmp_path, free_ports(1)[0])
    for _ in range(copies):
        envelope = "".join(f"X-Envelope-To: {each}\n" for each in recipients)
        catcher.maildir.add(f"{envelope}Subject: Digest\n\nHere is {words}.\n".encode())
    row = {"home": "digest", "reason": None, "address": "a@example.com"}
    assert found_of(row, catcher.maildir.mails(), "the news") == verdict


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        ({}, []),
        ({"address": "+421903000004"}, ["numbers"]),
        ({"named": 3}, ["parts"]),
        ({"status": "sent"}, ["states"]),
        ({"flags": Flag.RECEIPT}, ["alphabet"]),
        ({"text": "Vazeny"}, ["shown"]),
        ({"states": ("UNDELIV",)}, ["states"]),
    ],
)
def test_the_demo_sees_what_is_wrong_with_an_sms(seen, wrong):
    """Another number, a part without a name, another state, alphabet or text, a gateway that says otherwise."""
    promised = promise(THE_LONG_ONE)
    row = {"address": THE_LONG_ONE.number, "parts": 4, "named": 4, "status": "delivered"}
    sms = an_sms(**{name: value for name, value in seen.items() if name not in row})
    found = finding(THE_LONG_ONE, {**row, **seen}, sms)
    assert [name for name in promised if promised[name] != found[name]] == wrong


THE_LONG_ONE = TEXTS[-1]


def an_sms(*, text=LONG, flags=Flag.RECEIPT | Flag.LONG | Flag.DIACRITICS, states=("DELIVRD",)) -> Sms:
    """The demo's longest, as the gateway took it."""
    parts = tuple(Part(f"part-{number}", number, states, 0, times=[NOW]) for number in range(1, 5))
    number = int(THE_LONG_ONE.number)
    return Sms("demo", number, "Airflow", text, text, "1-0-0", flags, Decimal("0.20"), 1001, NOW, parts)


# --- Airflow's database ---------------------------------------------------------------------------------------

POINTS_AT = "SELECT host, port, extra FROM connection WHERE conn_id = 'smtp_default'"
SMS_POINTS_AT = "SELECT host, port, login FROM connection WHERE conn_id = 'eurosms_default'"


def test_connections_and_pools_that_exist_are_left_alone_but_follow_parts_that_moved(home):
    """Made by the stack: they follow. Changed by an admin: they stay. Deleted by an admin: made again."""
    with services(a_stack(home)) as stack:
        stack.prepare_databases()
        with psycopg.connect(stack.postgres.conninfo("airflow")) as airflow:
            host, port, extra = airflow.execute(POINTS_AT).fetchone()
            assert (host, port) == (HOST, stack.mail_port)
            assert airflow.execute(SMS_POINTS_AT).fetchone() == (HOST, stack.sms_port, "demo")
            known = set(airflow.execute("SELECT pool FROM slot_pool UNION SELECT key FROM variable").fetchall())
            assert known >= {("smtp_default",), ("eurosms_default",), ("notify_senders",), ("notify_phone_region",)}
            airflow.execute("UPDATE slot_pool SET slots = 7 WHERE pool = 'smtp_default'")
            airflow.execute("DELETE FROM connection WHERE conn_id = 'notify_db'")
    with services(a_stack(home)) as moved:
        moved.prepare_databases()
        with psycopg.connect(moved.postgres.conninfo("airflow")) as airflow:
            assert airflow.execute(POINTS_AT).fetchone() == (HOST, moved.mail_port, extra)
            assert airflow.execute(SMS_POINTS_AT).fetchone() == (HOST, moved.sms_port, "demo")
            assert airflow.execute("SELECT slots FROM slot_pool WHERE pool = 'smtp_default'").fetchone() == (7,)
            made_again = airflow.execute("SELECT count(*) FROM connection WHERE conn_id = 'notify_db'")
            assert made_again.fetchone() == (1,)
            airflow.execute("UPDATE connection SET host = 'mail.example.com' WHERE conn_id = 'smtp_default'")
    with services(a_stack(home)) as again:
        again.prepare_databases()
        with psycopg.connect(again.postgres.conninfo("airflow")) as airflow:
            assert airflow.execute(POINTS_AT).fetchone() == ("mail.example.com", moved.mail_port, extra)


def test_the_next_start_knows_what_the_gateway_took(home):
    """An SMS whose receipt nobody has asked for yet is not lost with the gateway's process."""
    with services(a_stack(home)) as stack:
        account = stack.sms.account()
        signed = signature(account.key, "Airflow", 421903000001, "Hello.")
        body = {"iid": account.iid, "sgn": signed, "rcpt": 421903000001, "sndr": "Airflow", "txt": "Hello.", "flgs": 1}
        answer = httpx.post(f"{stack.sms.url}/api/v3/send/one", json=body, trust_env=False).json()
    with services(a_stack(home)) as again:
        assert [sms.uuids for sms in again.sms.taken] == [answer["uuid"]]


# --- All of it ------------------------------------------------------------------------------------------------

#: What the samples of SMS become, by the last digit of their numbers.
SAMPLE_SMS = {"+421903000001": "delivered", "+421903000006": "undelivered", "+421903000009": "sent"}


def test_make_up_welcomes_runs_until_it_is_told_to_stop_and_leaves_nothing_running(home):
    """The process behind `make up`, beside the Airflow of the other tests: URL, login, mails, a clean end."""
    ports = dict(zip(("PORT", "MAIL_PORT", "SMS_PORT"), map(str, free_ports(3)), strict=True))
    env = {**os.environ, **ports, "AIRFLOW_HOME": str(home)}
    command = [sys.executable, "-m", "dev.up"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, text=True) as up:
        printed = ""
        for line in up.stdout:
            printed += line
            if "Running; Ctrl-C stops everything" in line:
                break
        try:
            listed = in_a_shell(home, "python -m notify messages list && airflow version")
            told = in_a_shell(home, f"python -m notify explain --person {samples.SOMEBODY} && python -m notify check")
            leader = json.loads((home / "stack" / "airflow.json").read_text())["pid"]
            pids = [leader, *(child.pid for child in psutil.Process(leader).children(recursive=True))]
            pids.append(postgres_pid(home))
        finally:
            up.send_signal(signal.SIGINT)  # whatever went wrong: leaving this block waits for its end
        printed += up.stdout.read()
    assert up.returncode == 0, printed
    password = json.loads((home / PASSWORDS).read_text())["admin"]
    for promised in (
        f"http://localhost:{ports['PORT']}",
        f"admin / {password}",
        str(home / "mail"),
        f"http://127.0.0.1:{ports['SMS_PORT']}/",
        "you@example.com",
    ):
        assert promised in printed
    for number, became in SAMPLE_SMS.items():
        assert re.search(rf"{re.escape(number)}  .+ {became}$", printed, re.MULTILINE)
    assert "It works: your first message has arrived" in listed
    quiet = listed.count("  queued  ")  # where it is night in Tokyo, kenji's mail waits for the morning
    assert quiet <= 1
    assert len(list((home / "mail" / "new").iterdir())) == 1 + 8 - quiet
    for sample in ("case_received", "digest of ", "reminder", "deadline_exceeded", "deadline_escalated"):
        assert sample in printed
    assert "waiting until" in told
    assert "The balance is even." in told
    assert len(pids) > 6
    assert [pid for pid in pids if runs(pid)] == []
    with services(a_stack(home)) as again:
        assert not samples.are_wanted(again)
