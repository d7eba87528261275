"""What the local stack puts into Airflow's database: what is missing, and nothing over what people wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from airflow.models import Variable
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import delete

from dev import prepare
from dev.stack import Stack

NAME = "notify_base_url"

#: Variables in; what was done, a line each.
Put = Callable[[Mapping[str, str]], list[str]]


@pytest.fixture
def put(tmp_path: Path) -> Iterator[Put]:
    """Start a stack that wants these Variables."""
    initdb()

    def call(wanted: Mapping[str, str]) -> list[str]:
        with create_session() as session:
            return prepare._variables(session, wanted, tmp_path / "record.json")

    yield call
    with create_session() as session:
        session.execute(delete(Variable).where(Variable.key == NAME))


def value() -> str | None:
    with create_session() as session:
        found = session.query(Variable).where(Variable.key == NAME).one_or_none()
        return None if found is None else str(found.get_val())


def test_it_follows_the_port(put: Put) -> None:
    """The address of Airflow is there at the first start, and follows when the port is another one."""
    assert put({NAME: "http://localhost:8080"}) == [f"variable {NAME} created"]
    assert put({NAME: "http://localhost:8080"}) == []
    assert put({NAME: "http://localhost:9090"}) == [f"variable {NAME} moved along: http://localhost:9090"]
    assert value() == "http://localhost:9090"
    assert put({NAME: "http://localhost:9090"}) == []


def test_what_a_person_wrote(put: Put, tmp_path: Path) -> None:
    """What a person wrote stays, before the first start and after it; what others have put down is kept."""
    (tmp_path / "record.json").write_text(json.dumps({"smtp_default": ["127.0.0.1", 1025]}))
    with create_session() as session:
        Variable.set(NAME, "https://air.example.com", session=session)
    assert put({NAME: "http://localhost:8080"}) == []
    with create_session() as session:
        session.execute(delete(Variable).where(Variable.key == NAME))
    put({NAME: "http://localhost:8080"})
    with create_session() as session:
        Variable.update(NAME, "https://air.example.com", session=session)
    assert put({NAME: "http://localhost:9090"}) == []
    assert value() == "https://air.example.com"
    assert json.loads((tmp_path / "record.json").read_text())["smtp_default"] == ["127.0.0.1", 1025]


def test_the_stack_wants_it(tmp_path: Path) -> None:
    """A stack tells mails where it is reached, whatever else it is given."""
    stack = Stack(tmp_path, port=8123, mail_port=1125, variables={"notify_timezone": "Europe/Vienna"})
    assert stack.initial_variables == {NAME: "http://localhost:8123", "notify_timezone": "Europe/Vienna"}
