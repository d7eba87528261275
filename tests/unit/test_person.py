"""People as they are imported."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notify.domain.address import CONTROL
from notify.domain.person import Person


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
