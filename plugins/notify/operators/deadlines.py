"""Deadlines: tasks set and clear the terms of stages, and the reminders of people."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from notify.operators.task import key_of, origin_of, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

    from notify.domain.deadline import Deadline

log = logging.getLogger(__name__)

#: All terms of a case, see :data:`notify.domain.deadline.ANY_STAGE`.
ANY_STAGE = "*"

#: A field as an author may write it: a value, a Jinja string, or a callable that gets the context.
Field = Any


class SetDeadlineOperator(BaseOperator):
    """Set the term of a case's stage, or move it; the DAG Reminders tells of it in time.

    The term belongs to the stage that ``case`` tells; without one, to the whole case. What ``case`` tells is remembered
    as the case's present state. A task that is retried or cleared moves nothing: a delay counts from its first run.
    It fails, without a retry changing anything, when something is wrong; the error names every fault. Every field is
    templated.

    :param case: its id, or a mapping of ``id``, ``title``, ``url``, ``process``, ``stage``, ``owner``,
        ``site``
    :param due: a time with its zone, or a delay from now: an aware datetime, a timedelta, or ISO 8601
    :param advance: delays before it, at which the owner is told; each a delay, or ``{"before": …, "calendar": …}``
    :param escalations: list of ``{"after": …, "to": [people, groups, "@owner", "@supervisor"], "calendar": …}``, or of
        delays alone, after which the owner's supervisor is told
    :param calendar: of working time, by which all these delays are counted unless they name another
    """

    template_fields: Sequence[str] = ("case", "due", "advance", "escalations", "calendar")
    template_fields_renderers = {"case": "json", "advance": "json", "escalations": "json"}  # noqa: RUF012 - Airflow's
    ui_color = "#fee2e2"

    def __init__(
        self,
        *,
        case: Field,
        due: Field,
        advance: Field = None,
        escalations: Field = None,
        calendar: Field = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.due = due
        self.advance = advance
        self.escalations = escalations
        self.calendar = calendar

    def execute(self, context: Context) -> dict[str, Any]:
        """Set.

        :returns: ``{"id", "due_at", "ended": why it has ended since it was set, else None}``
        """
        from notify.deadlines import set_deadline_fields

        fields = {name: getattr(self, name) for name in self.template_fields}
        with refusals_told():
            return _answer(set_deadline_fields(fields, set_by=key_of(origin_of(context))))


class SetReminderOperator(BaseOperator):
    """Remind a person, and nobody else, of a case; setting it again moves it.

    It fires if the case is still in the stage and with the owner that it has now. A task that is retried or cleared
    moves nothing. Every field is templated.

    :param login: who is reminded
    :param case: as for :class:`SetDeadlineOperator`
    :param at: a time with its zone, or a delay from now
    :param note: what the mail says
    :param name: a person has one reminder on a case under each name
    """

    template_fields: Sequence[str] = ("login", "case", "at", "note", "name")
    template_fields_renderers = {"case": "json"}  # noqa: RUF012 - Airflow's
    ui_color = "#fee2e2"

    def __init__(
        self, *, login: Field, case: Field, at: Field, note: Field = "", name: Field = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.login = login
        self.case = case
        self.at = at
        self.note = note
        self.name = name

    def execute(self, context: Context) -> dict[str, Any]:
        """Set.

        :returns: as :meth:`SetDeadlineOperator.execute`
        """
        from notify.deadlines import set_reminder_fields

        fields = {name: getattr(self, name) for name in self.template_fields}
        with refusals_told():
            return _answer(set_reminder_fields(fields, set_by=key_of(origin_of(context))))


def _answer(deadline: Deadline) -> dict[str, Any]:
    ended = deadline.closed_reason and deadline.closed_reason.value
    log.info(
        "deadline %s of case %s is due at %s%s",
        deadline.id,
        deadline.case_id,
        deadline.due_at.isoformat(),
        f"; it has ended since this task set it ({ended})" if ended else "",
    )
    for step in deadline.open_steps:
        log.info("  %s at %s to %s", step.kind, step.fires_at.isoformat(), ", ".join(step.recipients))
    return {"id": deadline.id, "due_at": deadline.due_at.isoformat(), "ended": ended}


class ClearDeadlineOperator(BaseOperator):
    """Take the terms of a case back; nobody is told of them any more. Every field is templated.

    :param case: its id, or a mapping with ``id``
    :param stage: of this stage only; empty: of the whole case only. By default all of them
    """

    template_fields: Sequence[str] = ("case", "stage")
    template_fields_renderers = {"case": "json"}  # noqa: RUF012 - Airflow's
    ui_color = "#f1f5f9"

    def __init__(self, *, case: Field, stage: Field = ANY_STAGE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.stage = stage

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow names it
        """Clear.

        :returns: ``{"cleared": [ids of those that were open]}``
        """
        from notify.deadlines import clear_deadline

        with refusals_told():
            return _cleared(clear_deadline(self.case, stage=self.stage))


class ClearReminderOperator(BaseOperator):
    """Take a person's reminder on a case back. Every field is templated.

    :param login: whose it is
    :param case: its id, or a mapping with ``id``
    :param name: that it was set under
    """

    template_fields: Sequence[str] = ("login", "case", "name")
    template_fields_renderers = {"case": "json"}  # noqa: RUF012 - Airflow's
    ui_color = "#f1f5f9"

    def __init__(self, *, login: Field, case: Field, name: Field = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.login = login
        self.case = case
        self.name = name

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow names it
        """Clear.

        :returns: ``{"cleared": [its id]}``, or an empty list where there was none
        """
        from notify.deadlines import clear_reminder

        with refusals_told():
            return _cleared(clear_reminder(self.login, self.case, name=self.name))


def _cleared(ids: list[int]) -> dict[str, Any]:
    log.info("cleared: %s", ", ".join(map(str, ids)) or "none was open")
    return {"cleared": ids}
