"""Hand over people, messages, events, deadlines and preferences, as a user's program would: ``python -m dev.produce``.

Run inside Airflow's environment. It reads a request (JSON) from stdin:

* ``people``: a file for ``python -m notify people import``, or null;
* ``calls``: a list of ``{"enqueue": {…}}``, ``{"publish": {…}}``, ``{"set_deadline": {…}}``, ``{"set_reminder": {…}}``
  and ``{"set_preference": {…}}`` with the arguments of these functions of ours. ``"PT3H ago"`` is a time three hours
  ago.

It prints, in JSON, a number for each call: the (first) message's, the event's, the deadline's, or 0. All of it is one
transaction.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from notify import settings
from notify.cli.people import SOURCE, read_people
from notify.deadlines import set_deadline, set_reminder
from notify.enqueuing import enqueue
from notify.exceptions import NotifyError
from notify.preferences import set_preference
from notify.publishing import publish
from notify.settings import HandOverSettings
from notify.storage import people
from notify.storage.engine import engine_for, transaction

AGO = " ago"

_DELAY = TypeAdapter(timedelta)


def main() -> int:
    """Do what the request on stdin asks for."""
    # Outside a task, connections and Variables come from Airflow's own database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    request = json.load(sys.stdin)
    stdout = os.dup(1)
    os.dup2(2, 1)  # Airflow logs to stdout; the answer must stay readable
    try:
        numbers = produce(request)
    except NotifyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with os.fdopen(stdout, "w") as answer:
        json.dump(numbers, answer)
    return 0


def produce(request: Mapping[str, Any]) -> list[int]:
    """Hand everything over.

    :return: a number for each call
    """
    now = datetime.now(UTC)
    known = settings.hand_over_settings()
    with transaction(engine_for(settings.database_url()), actor="make") as connection:
        if request["people"]:
            people.save(connection, read_people(Path(request["people"])), source=SOURCE)
        return [
            _call(connection, known, name, {key: _moment(value, now) for key, value in arguments.items()})
            for call in request["calls"]
            for name, arguments in call.items()
        ]


def _call(connection: Connection, known: HandOverSettings, name: str, arguments: Mapping[str, Any]) -> int:
    if name == "enqueue":
        return enqueue(connection=connection, settings=known, **arguments).messages[0].id
    if name == "set_preference":
        set_preference(connection=connection, settings=known, **arguments)
        return 0
    if name == "set_reminder":
        return set_reminder(connection=connection, **arguments).id
    if name == "set_deadline":
        return set_deadline(connection=connection, settings=known, **arguments).id
    return publish(connection=connection, settings=known, **arguments).event_id


def _moment(value: Any, now: datetime) -> Any:
    if isinstance(value, str) and value.startswith("P") and value.endswith(AGO):
        return now - _DELAY.validate_python(value.removesuffix(AGO))
    return value


if __name__ == "__main__":
    sys.exit(main())
