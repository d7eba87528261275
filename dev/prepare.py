"""Bring Airflow's metadata database up to date and add what is missing: connections, pools, Variables.

Run inside Airflow's environment, as ``python -m dev.prepare``: one process, where Airflow's own commands
would take a start of several seconds each. It reads a request (JSON) from stdin and prints what it did.

What exists is left as it is, with one exception: where a connection still points at the very host and port
that an earlier run gave it, and that part of the stack has moved, its host and port follow. So does a Variable that
still has the value which an earlier run gave it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models import Connection
    from sqlalchemy.orm import Session

Address = list[str | int | None]


def main() -> None:
    """Do what the request on stdin asks for."""
    request = json.load(sys.stdin)
    stdout = os.dup(1)
    os.dup2(2, 1)  # Airflow logs to stdout; the report must stay readable
    done = prepare(request)
    with os.fdopen(stdout, "w") as report:
        report.writelines(f"{line}\n" for line in done)


def prepare(request: Mapping[str, Any]) -> list[str]:
    """Migrate, then add what is missing.

    :return: what was done, a line each
    """
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        done = _connections(session, request["connections"], Path(request["record"]))
        done += _pools(session, request["pools"])
        done += _variables(session, request["variables"], Path(request["record"]))
    return done


def _connections(session: Session, wanted: Mapping[str, dict[str, Any]], record: Path) -> list[str]:
    from airflow.models import Connection
    from sqlalchemy import select

    made = json.loads(record.read_text()) if record.exists() else {}
    done = []
    for name, fields in wanted.items():
        new = Connection(conn_id=name, **fields)
        found = session.scalar(select(Connection).where(Connection.conn_id == name))
        if found is None:
            session.add(new)
            done.append(f"connection {name} created")
        elif _address(found) == made.get(name) != _address(new):
            found.host, found.port = new.host, new.port
            done.append(f"connection {name} moved along with its server: {new.host} {new.port or ''}".rstrip())
        made[name] = _address(new)
    record.write_text(json.dumps(made))
    return done


def _address(connection: Connection) -> Address:
    return [connection.host, connection.port]


def _pools(session: Session, wanted: list[dict[str, Any]]) -> list[str]:
    from airflow.models import Pool
    from sqlalchemy import select

    existing = set(session.scalars(select(Pool.pool)))
    missing = [fields for fields in wanted if fields["pool"] not in existing]
    session.add_all(Pool(include_deferred=False, **fields) for fields in missing)
    return [f"pool {fields['pool']} created: {fields['slots']} slots" for fields in missing]


def _variables(session: Session, wanted: Mapping[str, str], record: Path) -> list[str]:
    from airflow.models import Variable
    from sqlalchemy import select

    made = json.loads(record.read_text()) if record.exists() else {}
    existing = {
        variable.key: variable.get_val()  # type: ignore[no-untyped-call]  # it is Airflow's
        for variable in session.scalars(select(Variable))
    }
    done = []
    for key, value in wanted.items():
        if key not in existing:
            done.append(f"variable {key} created")
        elif existing[key] == made.get(f"variable {key}") != value:
            done.append(f"variable {key} moved along: {value}")
        else:
            continue
        Variable.set(key, value, session=session)
        made[f"variable {key}"] = value
    record.write_text(json.dumps(made))
    return done


if __name__ == "__main__":
    main()
