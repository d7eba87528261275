"""Install the locked packages into the environment that runs this, and show that it goes on.

Run by make before anything is installed: nothing but the standard library may be imported here.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path

from dev.steps import Steps, complain

CHECKOUT = Path(__file__).resolve().parent.parent
PIP = (
    sys.executable,
    "-m",
    "pip",
    "install",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar",
    "off",
)

STEPS = (
    ("packages", ("-r", "requirements-dev.txt", "-c", "constraints.txt")),
    ("airflow-notify", ("--no-deps", "--editable", ".")),
)

EVERY = 25


def main() -> int:
    """Install everything; the exit status is pip's."""
    steps = Steps()
    steps(f"Installing with Python {sys.version.split()[0]}; the first time takes about a minute")
    for what, arguments in STEPS:
        if status := _pip(arguments, steps):
            complain(
                f"pip could not install {what} (exit status {status}); its last lines are above. "
                "Mend what they name, then run make again."
            )
            return status
        steps(f"Installed {what}")
    return 0


def _pip(arguments: tuple[str, ...], steps: Steps) -> int:
    last: deque[str] = deque(maxlen=15)
    collected = 0
    with subprocess.Popen(
        [*PIP, *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            last.append(line.rstrip())
            if line.startswith("Collecting "):
                collected += 1
                if collected % EVERY == 0:
                    steps(f"... {collected} packages found")
            elif line.startswith("Installing collected packages"):
                steps("... unpacking them")
    if pip.returncode:
        complain("\n".join(last))
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main())
