"""The witness outside of the outbox: what stands in Airflow about the last run that sent from it.

Nothing within a snapshot tells that it was put back; so after each run a mark stays outside, and the next run compares
(:mod:`notify.domain.identity`). It is written only after the outbox has committed, so it is never ahead of it; one
that is behind does no harm. It stands in a Variable, and in a file of the worker's ``AIRFLOW_HOME`` as well: where
Airflow's own database lies on the outbox's server, the Variable goes back in time together with the outbox.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from notify.domain.identity import Mark, read_mark
from notify.settings import variable

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

log = logging.getLogger(__name__)

#: The Airflow Variable that holds the mark.
MARK = "notify_outbox_mark"

_DESCRIPTION = "Written by Notifications: tells a restored copy of the outbox from the original. Leave it as it is."


class Witness:
    """Reads the mark, and writes it."""

    def read(self) -> Mark | None:
        """The mark; None where there is none, or none that can be read."""
        text = variable("notify_outbox_mark")
        mark = read_mark(text)
        if text and mark is None:
            log.warning("The Variable %s is %r, which is no mark; the next run writes it anew.", MARK, text)
        kept = self._kept()
        # The file of a worker may be old, or of another outbox: it only adds to what the Variable says.
        return kept if mark and kept and kept.outbox == mark.outbox and kept.counter > mark.counter else mark

    def write(self, mark: Mark) -> None:
        """Leave a mark, unless a later one stands there. Never fails: the next run writes another."""
        from airflow.sdk import Variable

        try:
            if mark.succeeds(read_mark(variable("notify_outbox_mark"))):
                Variable.set(MARK, str(mark), description=_DESCRIPTION)
            if mark.succeeds(self._kept()):
                self._keep(mark)
        except Exception as error:  # noqa: BLE001 - Airflow's API, a secrets backend, a disk: each has its own
            log.warning(
                "The mark of this run could not be left in the Variable %s (%s: %s). Nothing is lost by that; but if "
                "the outbox is restored from an old copy now, it may not know that it is one.",
                MARK,
                type(error).__name__,
                error,
            )

    def _kept(self) -> Mark | None:
        try:
            return read_mark(self._file.read_text(encoding="utf-8"))
        except OSError:
            return None

    def _keep(self, mark: Mark) -> None:
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(str(mark), encoding="utf-8")
        fresh.replace(self._file)

    @property
    def _file(self) -> Path:
        return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / f"{MARK}.json"


@contextmanager
def watched(engine: Engine) -> Iterator[Mark]:
    """Send from the outbox within this: it is the original, and a mark is left before and after.

    :returns: the mark of the beginning
    :raises RestoredCopy: it is a copy; nothing was sent
    """
    from sqlalchemy.exc import SQLAlchemyError

    from notify.storage import identity

    witness = Witness()
    require_original(engine, witness)
    try:
        with engine.begin() as connection:
            mark = identity.advance(connection)
        witness.write(mark)
        yield mark
    finally:
        try:
            with engine.begin() as connection:
                mark = identity.advance(connection)
            witness.write(mark)
        except SQLAlchemyError as error:  # what the run itself met comes first
            log.warning("No mark of this run's end was left: %s", error)


def require_original(engine: Engine, witness: Witness | None = None) -> None:
    """Make sure that the outbox is no restored copy; let it know itself, if it is.

    :raises RestoredCopy: it is; the message says why, and how to confirm it
    """
    from notify.exceptions import RestoredCopy
    from notify.storage import identity, schema

    mark = (witness or Witness()).read()  # first: what is read later can only be ahead of it
    try:
        with engine.begin() as connection:
            schema.require(connection)
            identity.require_original(connection, mark)
    except RestoredCopy as refusal:
        identity.remember_refusal(engine, refusal)
        raise
