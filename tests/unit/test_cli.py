"""``python -m notify`` as a process: who reads its answer, and that nothing else stands beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_whoever_reads_has_seen_enough() -> None:
    """A reader that goes away before the end, as head does, gets no traceback; the status is that of a broken pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "notify", "sms", "parts", "Hello"]
    env = os.environ | {"PYTHONPATH": str(PLUGINS)}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=env, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_short_variables_are_no_secrets() -> None:
    """What Airflow's masker says of a short Variable, and to stdout, does not stand before an answer."""
    program = "from notify import cli, settings; cli._hush(); print(settings.phone_region())"
    env = os.environ | {"PYTHONPATH": str(PLUGINS), "AIRFLOW_VAR_NOTIFY_PHONE_REGION": "SK"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    assert (done.stdout, done.stderr) == ("SK\n", "")
