"""django-post_office: queue mails, or send what is queued.

``python django_sender.py fill|send ARGUMENTS`` with the arguments as JSON, see :class:`Arguments`. To send it prints
``ready``, waits for a line, and reports as JSON, as :mod:`benchmarks.worker` does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import django  # type: ignore[import-not-found]  # it lives in another environment
from django.conf import settings as django_settings  # type: ignore[import-not-found]  # as above
from django.core.management import call_command  # type: ignore[import-not-found]  # as above


@dataclass(frozen=True)
class Arguments:
    """What is wanted.

    :param database: Django's description of it
    :param count: mails to queue
    :param text: their text, likewise subject and HTML
    :param port: of the mail server
    :param processes: of ``send_queued_mail``; likewise threads, the batch's size and what is logged in the database
    """

    database: dict[str, str]
    count: int = 0
    subject: str = ""
    text: str = ""
    html: str = ""
    port: int = 25
    processes: int = 1
    threads: int = 5
    batch: int = 100
    log_level: int = 2


def main() -> None:
    """Queue or send."""
    arguments = Arguments(**json.loads(sys.argv[2]))
    _configure(arguments)
    if sys.argv[1] == "fill":
        _fill(arguments)
    else:
        _send(arguments)


def _configure(arguments: Arguments) -> None:
    django_settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **arguments.database}},
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="none",  # noqa: S106 - nothing is signed
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=arguments.port,
        POST_OFFICE={
            "BATCH_SIZE": arguments.batch,
            "THREADS_PER_PROCESS": arguments.threads,
            "LOG_LEVEL": arguments.log_level,
            "BATCH_DELIVERY_TIMEOUT": 1200,
        },
        LOGGING_CONFIG=None,
    )
    django.setup()
    logging.disable(logging.INFO)


def _fill(arguments: Arguments) -> None:
    from post_office import mail  # type: ignore[import-not-found]  # it wants Django to be set up

    call_command("migrate", verbosity=0)
    for first in range(0, arguments.count, 1000):
        mail.send_many(
            [
                {
                    "recipients": [f"person{number:07}@example.com"],
                    "sender": "Example Ltd <notify@example.com>",
                    "subject": arguments.subject,
                    "message": arguments.text,
                    "html_message": arguments.html,
                }
                for number in range(first, min(first + 1000, arguments.count))
            ]
        )


def _send(arguments: Arguments) -> None:
    from django.db import connection  # type: ignore[import-not-found]  # it wants Django to be set up
    from post_office.mail import send_queued_mail_until_done  # type: ignore[import-not-found]  # as above
    from post_office.models import STATUS, Email  # type: ignore[import-not-found]  # as above

    connection.ensure_connection()
    with tempfile.TemporaryDirectory() as folder:
        print("ready", flush=True)
        sys.stdin.readline()
        began, cpu = time.perf_counter(), sum(os.times()[:4])
        send_queued_mail_until_done(str(Path(folder) / "lock"), arguments.processes)
        seconds, cpu_seconds = time.perf_counter() - began, sum(os.times()[:4]) - cpu
    report = {
        "done": {"accepted": Email.objects.filter(status=STATUS.sent).count()},
        "seconds": round(seconds, 3),
        "python_cpu_seconds": round(cpu_seconds, 3),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
