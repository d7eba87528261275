"""Environments for programs whose packages are none of ours: made when they are needed, below ``build/``.

What belongs into one, with exact versions, stands beside the program, in ``benchmarks/peers/NAME.txt``.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import CHECKOUT

_LISTS = CHECKOUT / "benchmarks" / "peers"
_BUILD = CHECKOUT / "build" / "peers"


class NotToBeHad(Exception):
    """A package index was not reached, or has not what a peer needs; what is measured without it stays out."""


def python_of(name: str) -> Path:
    """The interpreter of an environment, which is made if there is none.

    :raises NotToBeHad: it cannot be made
    """
    wanted = _LISTS / f"{name}.txt"
    version = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = _BUILD / f"{name}-{version}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted))
        (folder / "complete").touch()
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise NotToBeHad(" ".join(last))
