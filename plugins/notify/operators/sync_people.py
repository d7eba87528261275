"""SyncPeople: a task keeps people in step with a table of another system."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from notify.operators.task import refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

    from notify.domain.person import Person
    from notify.storage.people import ImportCounts

log = logging.getLogger(__name__)

#: How faults speak of all rows together.
WHOLE = "the query's result"

_ADDRESS = re.compile(r"[^\s'\"<>;,]+@[^\s'\"<>;,]+")


class SyncPeopleOperator(BaseOperator):
    """Add people from any SQL database that Airflow knows, or bring them up to date; who is missing becomes inactive.

    The columns of the query are named as those of ``people import``, in whatever case: ``login``, and any of ``name``,
    ``email``, ``phone``, ``language``, ``timezone``, ``active``, ``supervisor``, ``groups``, ``preferences``. NULL is
    "not given". Everything is done in one transaction, or, where a row is faulty or too many are missing, nothing.

    :param conn_id: an Airflow connection to an SQL database
    :param sql: the query, or the name of a file ending in ``.sql``
    :param deactivate_missing: whether who came from this connection before and is missing now becomes inactive
    :param most_missing: share of these people that may become inactive at once, 0 to 1; more fails the task
    """

    template_fields: Sequence[str] = ("conn_id", "sql")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012 - Airflow's
    ui_color = "#ede9fe"

    def __init__(
        self, *, conn_id: str, sql: str, deactivate_missing: bool = True, most_missing: float = 0.5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.sql = sql
        self.deactivate_missing = deactivate_missing
        self.most_missing = most_missing

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow names it
        """Read, check and store.

        :returns: what changed, see :class:`notify.storage.people.ImportCounts`
        """
        with refusals_told():
            imported = _people(*_result(self.conn_id, self.sql))
            counts = self._store(imported)
        log.info(
            "%s people from %s: %s added, %s changed, %s unchanged, %s missing and inactive now",
            len(imported),
            self.conn_id,
            counts.added,
            counts.changed,
            counts.unchanged,
            counts.deactivated,
        )
        return asdict(counts)

    def _store(self, imported: list[Person]) -> ImportCounts:
        from notify import settings
        from notify.storage import people, schema
        from notify.storage.engine import engine_for, transaction

        source = f"sync:{self.conn_id}"
        with transaction(engine_for(settings.database_url()), actor=source) as connection:
            schema.require(connection)
            if strange := people.unknown_supervisors(connection, imported, whole=WHOLE):
                _refuse(strange)
            if self.deactivate_missing:
                return people.keep_in_step(connection, imported, source=source, most_missing=self.most_missing)
            return people.save(connection, imported, source=source)


def _refuse(faults: list[str]) -> NoReturn:
    """Fail for good: the same rows would be as faulty when they are read again."""
    from airflow.sdk.exceptions import AirflowFailException

    from notify.domain.person import told
    from notify.exceptions import LONGEST_TEXT, legible

    # Whoever reads a log need not be somebody who may read addresses.
    text = _ADDRESS.sub("…@…", f"The people were refused, nothing was changed.{told(faults)}")
    text = legible(text, LONGEST_TEXT)
    log.error("%s", text)
    raise AirflowFailException(text)


# --- From rows to people ---------------------------------------------------------------------------------------------


def _people(columns: list[str], rows: Iterable[Sequence[Any]]) -> list[Person]:
    from notify import settings
    from notify.domain.person import check_people

    if faults := _faults_of_columns(columns):
        _refuse(faults)
    found, faults = check_people(_records(columns, rows), cache(settings.kinds), whole=WHOLE)
    if faults:
        _refuse(faults)
    return found


def _faults_of_columns(columns: list[str]) -> list[str]:
    from notify.domain.person import Person

    known = ", ".join(Person.model_fields)
    faults = [
        f"column {name}: there is no such field; there are {known}"
        for name in columns
        if name not in Person.model_fields
    ]
    faults += [f"column {name}: stands there twice" for name in sorted(set(columns)) if columns.count(name) > 1]
    return faults if "login" in columns else ["column login: is missing", *faults]


def _records(columns: list[str], rows: Iterable[Sequence[Any]]) -> Iterator[tuple[str, dict[str, object]]]:
    for number, row in enumerate(rows, start=1):
        values = zip(columns, row, strict=True)
        yield f"row {number}", {name: _value(name, value) for name, value in values if value is not None}


def _value(column: str, value: object) -> object:
    """As Person takes it: a number is text with us (of personnel, of a telephone); of active, 1 and 0 are a bool."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    if isinstance(value, Decimal) and not value.is_finite():  # PostgreSQL's numeric has NaN and Infinity
        return str(value)
    if column == "active" and value in {0, 1}:
        return bool(value)
    number = Decimal(value)  # which, other than int, writes as many digits as a database may have
    return f"{number:.0f}" if number == number.to_integral_value() else str(number)


# --- The other database ----------------------------------------------------------------------------------------------


def _result(conn_id: str, sql: str) -> tuple[list[str], list[Sequence[Any]]]:
    """The columns of a query, in lower case, and all its rows."""
    from notify import databases

    with databases.rows(conn_id, sql) as (columns, found):
        return columns, list(found)
