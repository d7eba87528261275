"""The kinds of event that there are, and those that an admin registers."""

from __future__ import annotations

import json
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.kind import BUILT_IN, RESERVED, Kind, read_kinds
from notify.domain.preference import AT_ONCE, Frequency, Preference, Quiet, Wish
from notify.exceptions import ConfigurationError

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name not in BUILT_IN and name not in RESERVED
)


# --- The built-in ones -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("case_received", {"immediately", "hourly", "daily", "never"}),
        ("case_changed", {"immediately", "hourly", "daily", "weekly", "never"}),
        ("deadline_approaching", {"immediately", "never"}),
        ("deadline_exceeded", set()),
        ("deadline_escalated", set()),
        ("reminder", set()),
    ],
)
def test_built_in(name: str, choices: set[str]) -> None:
    """Each built-in kind leaves to people what is documented, and is immediate for whoever says nothing."""
    kind = BUILT_IN[name]
    assert (kind.name, set(kind.choices), kind.mandatory) == (name, choices, not choices)
    assert kind.wish(None, None) == AT_ONCE


def test_no_others_are_built_in() -> None:
    """Without own kinds there are six, whether the Variable is empty, blank or an empty object."""
    assert len(BUILT_IN) == 6
    assert read_kinds("") == read_kinds(" \n") == read_kinds("{}") == BUILT_IN


def test_deadlines_ask_nobody() -> None:
    """That a deadline has passed is told at once, to who wants never to hear of anything and at night as well."""
    never = Preference(frequency=Frequency.NEVER, quiet_from=time(22), quiet_until=time(7))
    assert BUILT_IN["deadline_exceeded"].wish(never, never) == AT_ONCE
    assert BUILT_IN["deadline_approaching"].wish(never, None).frequency is Frequency.NEVER


def test_a_general_wish_may_not_fit_a_kind() -> None:
    """Who wants a weekly mail of everything hears immediately of cases received, which knows no weekly mail."""
    weekly = Preference(frequency=Frequency.WEEKLY, quiet_from=time(22), quiet_until=time(7))
    quiet = Quiet(time(22), time(7))
    assert BUILT_IN["case_changed"].wish(None, weekly) == Wish(Frequency.WEEKLY, time(8), quiet=quiet)
    assert BUILT_IN["case_received"].wish(None, weekly) == Wish(Frequency.IMMEDIATELY, quiet=quiet)


# --- An admin's own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Kind("paid", tuple(Frequency), Frequency.IMMEDIATELY, "paid")),
        (
            {"choices": ["daily", "never"], "default": "daily"},
            Kind("paid", (Frequency.DAILY, Frequency.NEVER), Frequency.DAILY, "paid"),
        ),
        (
            {"choices": ["daily", "never", "daily"], "default": "never"},
            Kind("paid", (Frequency.DAILY, Frequency.NEVER), Frequency.NEVER, "paid"),
        ),
        ({"choices": "mandatory"}, Kind("paid", (), Frequency.IMMEDIATELY, "paid")),
        ({"template": "case_changed"}, Kind("paid", tuple(Frequency), Frequency.IMMEDIATELY, "case_changed")),
    ],
)
def test_registered(given: dict[str, object], expected: Kind) -> None:
    """An own kind has its choices once each, its default and its template; what is left out is the usual."""
    assert read_kinds(json.dumps({"paid": given})) == {**BUILT_IN, "paid": expected}


@given(NAMES, st.lists(st.sampled_from(Frequency), min_size=1), st.data())
def test_any_choices_can_be_registered(name: str, choices: list[Frequency], data: st.DataObject) -> None:
    """Any choices with any default among them can be registered, and the default applies to who says nothing."""
    default = data.draw(st.sampled_from(choices))
    kind = read_kinds(json.dumps({name: {"choices": choices, "default": default}}))[name]
    assert set(kind.choices) == set(choices)
    assert not kind.mandatory
    assert kind.wish(None, None).frequency is default


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "the whole: Invalid JSON"),
        ("[]", "the whole: Input should be an object"),
        ('{"Paid": {}}', "Paid: String should match"),
        ('{"2nd": {}}', "2nd: String should match"),
        ('{"../etc": {}}', "../etc: String should match"),
        ('{"paid": "daily"}', "paid: Input should be an object"),
        ('{"paid": {"choice": []}}', "paid.choice: Extra inputs"),
        ('{"paid": {"choices": []}}', 'paid.choices: must be a list of frequencies, or "mandatory"'),
        ('{"paid": {"choices": "daily"}}', 'paid.choices: must be a list of frequencies, or "mandatory"'),
        ('{"paid": {"choices": ["daily", "yearly"]}}', "paid.choices.1: Input should be 'immediately'"),
        ('{"paid": {"choices": ["daily"]}}', "paid: the default 'immediately' is not among the choices"),
        ('{"paid": {"choices": "mandatory", "default": "daily"}}', "paid: a mandatory kind is always immediate"),
        ('{"paid": {"default": "yearly"}}', "paid.default: Input should be 'immediately'"),
        ('{"paid": {"template": "../secret"}}', "paid.template: String should match"),
    ],
)
def test_a_broken_variable(text: str, problem: str) -> None:
    """A Variable that cannot be used names itself, the place, what is wrong and an example that can be used."""
    with pytest.raises(ConfigurationError) as caught:
        read_kinds(text)
    message = str(caught.value)
    assert message.startswith(f"The Variable notify_kinds cannot be used: {problem}")
    example = message.partition("for example, ")[2].removesuffix(" (Admin → Variables).")
    assert "invoice_paid" in read_kinds(example)


@pytest.mark.parametrize("name", ["case_received", "reminder", "digest", "send_message", "house"])
def test_taken_names(name: str) -> None:
    """A built-in kind cannot be registered again, nor can what messages are called that are no events."""
    with pytest.raises(ConfigurationError, match=f"names {name}, which cannot be registered"):
        read_kinds(json.dumps({name: {}, "paid": {}}))
