"""`make up`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dev import samples
from dev.errors import StackError
from dev.ports import HOST
from dev.settings import CHECKOUT
from dev.stack import MAIL_SENDER, SMS_SENDER, Stack
from dev.steps import Steps, complain, say

STOPPING = (signal.SIGINT, signal.SIGTERM)
WELCOME_TO = "you@example.com"


def main() -> int:
    """Start, welcome, run until a signal, stop."""
    steps = Steps()
    try:
        with stopped_by_signals(steps):
            _run(_stack(steps), steps)
    except KeyboardInterrupt:
        steps("Everything that was started is stopped; the data stays for the next make up")
        return 0
    except StackError as error:
        complain(f"\n{error}")
        return 1
    return 0


@contextmanager
def stopped_by_signals(steps: Steps) -> Iterator[None]:
    """Turn the first signal to stop into a KeyboardInterrupt; more of them change nothing."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        say()
        steps(f"{signal.Signals(number).name}: stopping")
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _stack(steps: Steps) -> Stack:
    home = Path(os.environ.get("AIRFLOW_HOME") or CHECKOUT / ".airflow")
    return Stack(
        home,
        port=_port("PORT", 8080),
        mail_port=_port("MAIL_PORT", 1025),
        sms_port=_port("SMS_PORT", 8090),
        report=steps,
    )


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isascii() or not text.isdigit():
        raise StackError(f"{variable}={text} is no port.", f"Set {variable} to a number from 1 to 65535.")
    return int(text)


def _run(stack: Stack, steps: Steps) -> None:
    steps(f"Starting in {stack.home}")
    with stack:
        say(_sign(stack))
        _welcome(stack, steps)
        _samples(stack, steps)
        steps("Running; Ctrl-C stops everything")
        while True:
            time.sleep(1)
            stack.airflow.require_alive()


def _sign(stack: Stack) -> str:
    return f"""
  Airflow   {stack.url}
  Login     admin / {stack.password}
  Mail      lands in {stack.catcher.maildir.path} (port {stack.mail_port}); nothing leaves this machine
  SMS       {_sms(stack)}
  Commands  in another shell: . {shlex.quote(str(stack.shell))}
            then, for example: python -m notify messages list
"""


def _sms(stack: Stack) -> str:
    return f"show at {stack.sms.url}/ ; a number's last digit decides what becomes of it" if stack.sms else "none"


def _welcome(stack: Stack, steps: Steps) -> None:
    """Send one message the way users do; what keeps it from arriving is told, and stops nothing."""
    with _told(steps, "The welcome message has not arrived"):
        if reason := _no_mail(stack, "SendMessage", "Notifications"):
            steps(f"No welcome message: {reason}")
            return
        steps("Handing over a welcome message: a run of SendMessage, then one of Notifications")
        _send_welcome(stack, steps)


def _samples(stack: Stack, steps: Steps) -> None:
    """Bring samples the first time; what keeps them from arriving is told, and stops nothing."""
    with _told(steps, "Not all samples have arrived"):
        if not samples.are_wanted(stack):
            return
        if reason := _no_mail(stack, *samples.JOBS) or _other_sender(stack):
            steps(f"No samples: {reason}")
            return
        if why := _no_sms(stack):
            steps(f"No sample SMS: {why}")
        samples.bring(stack, steps, sms=not why)


@contextmanager
def _told(steps: Steps, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the stack itself runs and is of use
        steps(f"{what}. {error if isinstance(error, StackError) else repr(error)}")


def _no_mail(stack: Stack, *dags: str) -> str | None:
    """Why no mail of ours is to be sent, None if it may be."""
    if not _leads_to(stack, MAIL_SENDER, stack.mail_port):
        return f"the connection {MAIL_SENDER} points at a server of yours"
    return _paused(stack, *dags)


def _other_sender(stack: Stack) -> str | None:
    """Why mails about events would not go to the catcher; unlike the welcome, they leave by the first sender."""
    if not _senders(stack).startswith(f'["{MAIL_SENDER}"'):
        return f"{MAIL_SENDER} is not the first of notify_senders"
    return None


def _no_sms(stack: Stack) -> str | None:
    """Why no SMS of ours is to be sent, None if it may be."""
    if f'"{SMS_SENDER}"' not in _senders(stack):
        return f"{SMS_SENDER} is not among notify_senders"
    if stack.sms is None or not _leads_to(stack, SMS_SENDER, stack.sms.port):
        return f"the connection {SMS_SENDER} points at a gateway of yours"
    return _paused(stack, samples.REPORTS)


def _senders(stack: Stack) -> str:
    """The Variable, without its blanks; as if it were the default where there is none."""
    answer = stack.client.request("GET", "/api/v2/variables/notify_senders")
    return str(answer.json()["value"]).replace(" ", "") if answer.is_success else f'["{MAIL_SENDER}"]'


def _leads_to(stack: Stack, sender: str, port: int) -> bool:
    """Whether a sender's connection still points at this machine."""
    connection = stack.api("GET", f"/connections/{sender}")
    return (connection["host"], connection["port"]) == (HOST, port)


def _paused(stack: Stack, *dags: str) -> str | None:
    paused = [dag for dag in dags if stack.api("GET", f"/dags/{dag}")["is_paused"]]
    return f"{' and '.join(paused)} paused" if paused else None


def _send_welcome(stack: Stack, steps: Steps) -> None:
    begin = time.monotonic()
    conf = {
        "recipient": WELCOME_TO,
        "sender": MAIL_SENDER,  # the catcher, whoever is first in notify_senders by now
        "template": "welcome",
        "data": {"catcher": str(stack.catcher.maildir.path), "ui_url": stack.url},
    }
    message = stack.xcom("SendMessage", stack.run("SendMessage", conf))["messages"][0]
    drained = stack.xcom("Notifications", stack.run("Notifications"), MAIL_SENDER)
    if drained["held_back"] and message["message_id"] not in {mail.message_id for mail in stack.mail()}:
        steps(f"It waits in the outbox: the hourly limit, the pool smtp_default, is {drained['limit']}")
        return
    mail = stack.wait_for_mail(message["message_id"])
    steps(f"It arrived {time.monotonic() - begin:.1f} seconds after it was handed over:")
    say(f"""
  From      {mail.sender}
  To        {", ".join(mail.recipients)}
  Subject   {mail.subject}
  File      {mail.path}
""")


if __name__ == "__main__":
    sys.exit(main())
