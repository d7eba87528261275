"""People as they are imported."""

from __future__ import annotations

import json
from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notify.domain.address import CONTROL
from notify.domain.kind import BUILT_IN
from notify.domain.person import Person, check_people, fault_of_choice, told
from notify.domain.preference import Frequency, Preference


def person(**fields: Any) -> Person:
    """Anna, with changes."""
    return Person.model_validate({"login": "anna", **fields})


def fields_at_fault(**fields: Any) -> set[object]:
    """The fields that an import would name."""
    with pytest.raises(ValidationError) as caught:
        person(**fields)
    return {item["loc"][0] for item in caught.value.errors()}


def test_login_is_enough() -> None:
    """All but the login may be left out, and a new person is active."""
    anna = person()
    assert (anna.login, anna.name, anna.email, anna.active, anna.groups) == ("anna", "", None, True, None)


@pytest.mark.parametrize("login", ["", " ", "a@b", "a;b", "a,b", "a\nb", "<a>", 'a"b', "x" * 201, None, 5])
def test_login_is_no_list_and_no_address(login: object) -> None:
    """A login that a recipient field would read as something else is refused."""
    assert fields_at_fault(login=login) == {"login"}


@given(st.text(max_size=30))
def test_accepted_login_survives_a_recipient_field(login: str) -> None:
    """Any login that is accepted is read back as itself from a list of recipients."""
    from notify.domain.address import split_names

    try:
        accepted = person(login=login).login
    except ValidationError:
        return
    assert split_names(f"x; {accepted}, y") == ["x", accepted, "y"]
    assert "@" not in accepted
    assert not CONTROL.search(accepted)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"),
        ("email", "a@b.example\r\nBcc: c@d.example"),
        ("name", "Anna\nBcc: x"),
        ("name", "x" * 201),
        ("language", "polish!"),
        ("timezone", "Mars/Olympus"),
        ("groups", ["a@b"]),
        ("groups", ["a\nb"]),
        ("groups", [""]),
        ("active", "perhaps"),
        ("phone", "1" * 41),
        ("shoe_size", 42),
        ("preferences", "often"),
        ("preferences", "{"),
        ("preferences", "[]"),
        ("preferences", "1"),
        ("preferences", "[" * 100_000),
        ("preferences", 5),
        ("preferences", {"case_changed": "often"}),
        ("preferences", {"case_changed": ["daily"]}),
        ("preferences", {"case_changed": {"when": "later"}}),
        ("preferences", {"*": {"quiet_from": "22:00"}}),
    ],
)
def test_fault_names_the_field(field: str, value: object) -> None:
    """What is wrong is refused under the name of its field, unknown fields among them."""
    assert fields_at_fault(**{field: value}) == {field}


@pytest.mark.parametrize("field", ["email", "phone", "language", "timezone", "supervisor"])
@pytest.mark.parametrize("blank", ["", "  ", None])
def test_blank_is_not_given(field: str, blank: str | None) -> None:
    """An empty column of a CSV file is no value."""
    assert getattr(person(**{field: blank}), field) is None


def test_email_is_kept_as_a_mailbox() -> None:
    """An address is stored as SMTP wants it: without a display name, its domain in ASCII."""
    assert person(email=" Anna <Anna@BÜCHER.example> ").email == "Anna@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("given", "kept"), [("sales; audit", ["sales", "audit"]), (["sales"], ["sales"]), ("", []), (None, None)]
)
def test_groups(given: object, kept: list[str] | None) -> None:
    """Groups come as a list or a string; an empty one takes all away, none at all leaves them as they are."""
    assert person(groups=given).groups == kept


# --- What they said of events ----------------------------------------------------------------------------------------

DAILY = Preference(frequency=Frequency.DAILY)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("{}", {}),
        ({}, {}),
        ("daily", {"*": DAILY}),
        (" daily ", {"*": DAILY}),
        ('"daily"', {"*": DAILY}),
        ('{"case_changed": "daily"}', {"case_changed": DAILY}),
        ({"case_changed": "daily"}, {"case_changed": DAILY}),
        ({"case_changed": {"frequency": "daily"}}, {"case_changed": DAILY}),
        ({"case_changed": DAILY}, {"case_changed": DAILY}),
        ({"case_changed": {}, "*": {"frequency": None}}, {}),
        (
            '{"*": {"quiet_from": "22:00", "quiet_until": "07:00"}, "case_changed": "daily"}',
            {"*": Preference(quiet_from=time(22), quiet_until=time(7)), "case_changed": DAILY},
        ),
    ],
)
def test_preferences(given: object, kept: object) -> None:
    """What somebody said comes as a mapping, as JSON or as one frequency; not given leaves it as it is."""
    assert person(preferences=given).preferences == kept


@given(
    st.dictionaries(
        st.sampled_from(["*", *BUILT_IN]), st.builds(Preference, frequency=st.sampled_from(Frequency)), max_size=4
    )
)
def test_preferences_as_json(said: dict[str, Preference]) -> None:
    """What is written as JSON is read back as it was."""
    text = json.dumps({kind: one.model_dump(mode="json") for kind, one in said.items()})
    assert person(preferences=text).preferences == said


@pytest.mark.parametrize(
    ("kind", "frequency", "field"),
    [
        ("*", Frequency.WEEKLY, None),
        ("case_changed", Frequency.WEEKLY, None),
        ("case_received", None, None),
        ("case_received", Frequency.WEEKLY, "frequency"),
        ("deadline_exceeded", None, "kind"),
        ("deadline_exceeded", Frequency.IMMEDIATELY, "kind"),
        ("case_lost", Frequency.DAILY, "kind"),
    ],
)
def test_what_may_be_chosen(kind: str, frequency: Frequency | None, field: str | None) -> None:
    """Only a known kind that leaves a choice may be spoken of, and only its own frequencies may be chosen."""
    fault = fault_of_choice(kind, frequency, BUILT_IN)
    assert (fault.field if fault else None) == field


# --- Lists of people -------------------------------------------------------------------------------------------------


def test_list_of_people() -> None:
    """Every fault of a list is told with its place and field, whoever is in order is read."""
    records: list[tuple[str, object]] = [
        ("row 1", {"login": "anna"}),
        ("row 2", {"login": "bob", "email": "nobody", "phone": "1" * 41}),
        ("row 3", "carl"),
        ("row 4", {"login": "anna"}),
        ("row 5", {"login": "eve", "preferences": {"case_lost": "daily"}}),
        ("row 6", {"login": "fay", "nick": "F"}),
    ]
    people, faults = check_people(records, lambda: BUILT_IN, whole="the list")
    assert {one.login for one in people} >= {"anna"}
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["row 2", "email"],
        ["row 2", "phone"],
        ["row 3", "is no object"],
        ["row 4", "login"],
        ["row 5", "preferences.case_lost"],
        ["row 6", "nick"],
    ]
    assert "'anna' stands in the list twice" in faults[3]


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (20, 20), (21, 21), (1000, 21)])
def test_faults_for_reading(count: int, lines: int) -> None:
    """Twenty faults are shown, a line each; how many more there are is said in one more."""
    text = told([f"fault {number}" for number in range(count)])
    assert len(text.splitlines()) - 1 == lines
    assert text.endswith(f"… and {count - 20} more") == (count > 20)
