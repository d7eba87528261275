"""What a run decides about a deadline, and how a deadline is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.deadline import (
    Closed,
    Deadline,
    DeadlineType,
    Decision,
    Step,
    StepOutcome,
    decide,
    read_reminder,
    read_term,
    steps_of_term,
)

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class State:
    """Where a case stands."""

    stage: str | None = "Approval"
    owner: str | None = "anna"
    closed_at: datetime | None = None


def deadline(*hours: int, **fields: object) -> Deadline:
    """A deadline with steps so many hours after noon."""
    steps = tuple(
        Step(position, "deadline_escalated", NOON + hour * HOUR, ("@owner",)) for position, hour in enumerate(hours)
    )
    made = Deadline(
        id=1,
        type=DeadlineType.TERM,
        case_id="C-1",
        stage="Approval",
        owner="anna",
        login=None,
        name="",
        due_at=NOON,
        plan={"advance": []},
        set_by=None,
        created_at=NOON,
        closed_at=None,
        closed_reason=None,
        steps=steps,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def settle(one: Deadline, decision: Decision, now: datetime) -> Deadline:
    """What the database makes of a decision; who settles a step twice fails."""
    outcomes = dict.fromkeys(decision.superseded, StepOutcome.SUPERSEDED)
    if decision.fire:
        outcomes[decision.fire] = StepOutcome.FIRED
    assert all(step.outcome is None for step in outcomes)
    if decision.close:
        assert one.closed_reason is None
        outcomes |= {step: StepOutcome.CLOSED for step in one.open_steps if step not in outcomes}
    steps = tuple(replace(step, outcome=outcomes.get(step, step.outcome)) for step in one.steps)
    return replace(one, steps=steps, closed_reason=decision.close)


# --- Deciding --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=12), st.lists(st.integers(-100, 100), max_size=20))
def test_every_step_is_settled_once(hours: list[int], runs: list[int]) -> None:
    """Whenever steps and runs are: a run tells the latest step that is due, no other; in the end all are settled."""
    one = deadline(*sorted(hours))
    fired = []
    for run in [*sorted(runs), 100]:
        if one.closed_reason is not None:
            break
        now = NOON + run * HOUR
        due = [step for step in one.open_steps if step.fires_at <= now]
        decision = decide(one, State(), now)
        assert (decision.fire is not None) == bool(due)
        if decision.fire:
            assert decision.fire == due[-1]
            assert set(decision.superseded) == set(due[:-1])
            fired.append(decision.fire.position)
        one = settle(one, decision, now)
        assert all((step.outcome is None) == (step.fires_at > now) for step in one.steps)
    assert one.closed_reason is Closed.DONE
    assert one.open_steps == ()
    assert fired == [step.position for step in one.steps if step.outcome is StepOutcome.FIRED]
    assert fired == sorted(set(fired))


@given(
    st.builds(State, st.sampled_from([None, "Approval", "Payment"]), st.sampled_from([None, "anna", "brian"])),
    st.sampled_from([None, "Approval"]),
    st.sampled_from([None, "anna"]),
    st.sampled_from(DeadlineType),
    st.booleans(),
)
def test_where_the_case_stands(
    state: State, stage: str | None, owner: str | None, kind: DeadlineType, closed: bool
) -> None:
    """A step is told only while the case runs, in its stage, with its owner; what is not known is no difference."""
    one = deadline(0, 5, type=kind, stage=stage, owner=owner)
    state = replace(state, closed_at=NOON if closed else None)
    decision = decide(one, state, NOON)
    elsewhere = bool(stage and state.stage and stage != state.stage)
    others = bool(owner and state.owner and owner != state.owner)
    assert (decision.fire is not None) == (not closed and not elsewhere and not others)
    reasons = [Closed.CASE_CLOSED] * closed + [Closed.STAGE_CHANGED] * elsewhere + [Closed.OWNER_CHANGED] * others
    assert decision.close == (reasons[0] if reasons else None)
    handed_on = decision.close is Closed.OWNER_CHANGED and kind is DeadlineType.TERM
    assert decision.hand_on_to == (state.owner if handed_on else None)


def test_nothing_due() -> None:
    """While nothing is due nothing is decided, wherever the case stands: it may come back in time."""
    assert decide(deadline(1), State("Payment", "brian", NOON), NOON) == Decision()


def test_what_was_settled_is_left_alone() -> None:
    """Steps that were told, or had passed when the deadline was set, do not come up again."""
    one = deadline(-3, -2, -1)
    steps = (replace(one.steps[0], outcome=StepOutcome.PAST), replace(one.steps[1], outcome=StepOutcome.FIRED))
    decision = decide(replace(one, steps=(*steps, one.steps[2])), State(), NOON)
    assert decision == Decision(fire=one.steps[2], close=Closed.DONE)


# --- Steps -----------------------------------------------------------------------------------------------------------


def shift(moment: datetime, delay: timedelta, calendar: str | None) -> datetime:
    """By the clock; by the one calendar there is, twice as long."""
    return moment + delay * (1 if calendar is None else 2)


@given(st.lists(st.integers(1, 90), max_size=5), st.lists(st.integers(1, 90), max_size=5), st.integers(-100, 100))
def test_steps_of_a_term(before: list[int], after: list[int], now: int) -> None:
    """However they are written, the notices come before the passing, the escalations after it, each by its time."""
    fields = {"case": "C-1", "due": NOON, "advance": [f"PT{hours}H" for hours in before]}
    draft, faults = read_term({**fields, "escalations": [timedelta(hours=hours) for hours in after]})
    assert faults == []
    steps = steps_of_term(draft, NOON, NOON + now * HOUR, shift)
    hours = [(step.fires_at - NOON) / HOUR for step in steps]
    assert hours == [*sorted(-one for one in before), 0, *sorted(after)]
    assert [step.position for step in steps] == list(range(len(steps)))
    past = [step.outcome is StepOutcome.PAST for step in steps]
    assert past == [
        step.kind == "deadline_approaching" and hour <= now for step, hour in zip(steps, hours, strict=True)
    ]
    made = deadline(steps=steps, plan=draft.plan())
    escalations = [made.escalation(step) for step in steps]
    assert escalations == [0] * (len(before) + 1) + list(range(1, len(after) + 1))


def test_calendars_of_a_term() -> None:
    """A delay counts by its own calendar, where it names one or none; else by the deadline's."""
    advance = ["PT1H", {"before": "PT2H", "calendar": None}, {"before": "PT3H", "calendar": "PL"}]
    draft, faults = read_term({"case": "C-1", "due": NOON, "advance": advance, "calendar": "warsaw"})
    assert faults == []
    named = [one["calendar"] for one in draft.plan()["advance"]]
    assert named == ["warsaw", None, "PL"]
    steps = steps_of_term(draft, NOON, NOON - 9 * HOUR, shift)
    assert [(NOON - step.fires_at) / HOUR for step in steps] == [6, 2, 2, 0]


# --- Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "written"),
    [
        ("p3d", "P3D"),
        (timedelta(days=3), "P3D"),
        ("2027-03-01T13:00+01:00", "2027-03-01T12:00:00+00:00"),
        (NOON, "2027-03-01T12:00:00+00:00"),
    ],
)
def test_the_plan_of_a_term(due: object, written: str) -> None:
    """The plan keeps what was written, a delay as a delay, and is the same for all ways of writing the same."""
    draft, faults = read_term({"case": 7, "due": due, "advance": "P1D", "escalations": {"after": "PT36H"}})
    assert (faults, draft.case and draft.case.id) == ([], "7")
    assert draft.plan() == {
        "due": written,
        "calendar": None,
        "advance": [{"before": "P1D", "calendar": None}],
        "escalations": [{"after": "P1DT12H", "to": ["@supervisor"], "calendar": None}],
    }


def test_missing_fields() -> None:
    """What must be there is asked for, all at once."""
    assert [one.field for one in read_term({})[1]] == ["case.id", "due"]
    assert [one.field for one in read_reminder({"at": " ", "case": ""})[1]] == ["login", "case.id", "at"]
    assert [str(one) for one in read_term({"case": "C-1", "due": "P1D", "until": 1})[1]] == [
        "until: there is no such field"
    ]


def test_good_fields_survive_bad_ones() -> None:
    """A faulty field does not hide the others, so that they can be checked in the same go."""
    draft, faults = read_term({"case": "C-1", "due": "P1D", "advance": ["x"], "calendar": "warsaw"})
    assert [one.field for one in faults] == ["advance[0]"]
    assert (draft.due, draft.calendar, draft.advance) == (timedelta(days=1), "warsaw", [])
