"""Processes of the stack: started in a session of their own, recorded, and stopped to the last one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]


class ProcessTree:
    """A program and all that it starts.

    The program leads a session of its own, so that a Ctrl-C in the terminal reaches it only through
    :meth:`stop`. Its number is kept in a file: should this process be killed, the next one finds it.

    :param record: the file that remembers the program
    :param essential: words in the command lines of those processes whose own end is worth waiting for
    """

    def __init__(self, record: Path, essential: Sequence[str] = ()) -> None:
        self._record = record
        self._essential = tuple(essential)
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        """Start the program; what it prints is appended to the log."""
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = psutil.Process(self._popen.pid).create_time()
        self._record.write_text(json.dumps({"pid": self._popen.pid, "started": started}))

    def ended(self) -> int | None:
        """The program's exit status, if it has ended."""
        return None if self._popen is None else self._popen.poll()

    def stop(self, patience: float = 30) -> None:
        """Ask the program to end, wait for what is essential in it, and end the rest.

        :param patience: how many seconds the essential processes have
        """
        if self._popen is None:
            return
        members = _family(self._popen.pid)
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGINT)
            wait_for([process for process in members if self._is_essential(process)], patience)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(1)
        end({*members, *_family(self._popen.pid)}, patience=3)
        self._popen.wait(5)
        self._popen = None
        self._record.unlink(missing_ok=True)

    def _is_essential(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            return any(word in words for word in self._essential)
        return False

    def stop_left_over(self) -> int:
        """End what an earlier run left behind because it was killed.

        :return: how many processes there were
        """
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(self._record.read_text())
            members = _left_over(int(record["pid"]), float(record["started"]))
            end(members)
            self._record.unlink(missing_ok=True)
            return len(members)
        return 0


def end(processes: Iterable[psutil.Process], patience: float = 10) -> None:
    """End processes: ask first, insist later. psutil checks that a number still means the same process."""
    alive = _signal(processes, psutil.Process.terminate)
    stubborn = _signal(wait_for(alive, patience), psutil.Process.kill)
    wait_for(stubborn, 5)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM meanwhile, so that what is being stopped is stopped to the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; one that has ended and waits for its parent to notice does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> list[psutil.Process]:
    alive = [process for process in processes if is_alive(process)]
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            send(process)
    return alive


def wait_for(processes: list[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait until processes have ended.

    :return: those that have not
    """
    deadline = time.monotonic() + patience
    while (alive := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return alive


def _family(leader: int) -> set[psutil.Process]:
    """The leader's session, and all descendants of its members."""
    family = _session(leader)
    for member in tuple(family):
        with suppress(psutil.NoSuchProcess):
            family.update(member.children(recursive=True))
    return family


def _session(leader: int) -> set[psutil.Process]:
    members = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                members.add(process)
    return members


def _left_over(leader: int, started: float) -> set[psutil.Process]:
    """The session of a leader that may be dead, unless another process leads under its number by now."""
    members = _family(leader)
    for process in members:
        with suppress(psutil.NoSuchProcess):
            if process.pid == leader and abs(process.create_time() - started) > 1:
                return set()
    return {process for process in members if _is_since(process, started)}


def _is_since(process: psutil.Process, started: float) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.create_time() >= started - 1)
    return False
