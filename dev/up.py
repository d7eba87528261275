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
from dev.stack import Stack
from dev.steps import Steps, complain, say

STOPPING = (signal.SIGINT, signal.SIGTERM)
WELCOME_TO = "you@example.com"
SENDER = "smtp_default"


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
    return Stack(home, port=_port("PORT", 8080), mail_port=_port("MAIL_PORT", 1025), report=steps)


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
  Commands  in another shell: . {shlex.quote(str(stack.shell))}
            then, for example: python -m notify messages list
"""


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
        samples.bring(stack, steps)


@contextmanager
def _told(steps: Steps, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the stack itself runs and is of use
        steps(f"{what}. {error if isinstance(error, StackError) else repr(error)}")


def _no_mail(stack: Stack, *dags: str) -> str | None:
    """Why no mail of ours is to be sent, None if it may be."""
    sender = stack.api("GET", f"/connections/{SENDER}")
    if (sender["host"], sender["port"]) != (HOST, stack.mail_port):
        return f"the connection {SENDER} points at a server of yours"
    paused = [dag for dag in dags if stack.api("GET", f"/dags/{dag}")["is_paused"]]
    if paused:
        return f"{' and '.join(paused)} paused"
    return None


def _other_sender(stack: Stack) -> str | None:
    """Why mails about events would not go to the catcher; unlike the welcome, they leave by the first sender."""
    answer = stack.client.request("GET", "/api/v2/variables/notify_senders")
    if answer.is_success and not answer.json()["value"].replace(" ", "").startswith(f'["{SENDER}"'):
        return f"{SENDER} is not the first of notify_senders"
    return None


def _send_welcome(stack: Stack, steps: Steps) -> None:
    begin = time.monotonic()
    conf = {
        "recipient": WELCOME_TO,
        "sender": SENDER,  # the catcher, whoever is first in notify_senders by now
        "template": "welcome",
        "data": {"catcher": str(stack.catcher.maildir.path), "ui_url": stack.url},
    }
    message = stack.xcom("SendMessage", stack.run("SendMessage", conf))["messages"][0]
    drained = stack.xcom("Notifications", stack.run("Notifications"), SENDER)
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
