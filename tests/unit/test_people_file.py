"""Files of people: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from notify.cli.people import read_people
from notify.exceptions import ConfigurationError

CHECKOUT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_sample() -> None:
    """The shipped sample is three people in three languages and zones, each in their groups."""
    people = read_people(CHECKOUT / "include" / "sample" / "people.csv")
    assert {person.login: person.language for person in people} == {"anna": "pl", "brian": "en", "zuzana": "sk"}
    assert len({person.timezone for person in people}) == 3
    assert people[0].groups == ["finance", "everybody"]


def test_groups_column(tmp_path: Path) -> None:
    """An empty cell in the column of groups means none; without the column they stay as they are."""
    [with_column] = read_people(write(tmp_path, "login,groups\nanna,\n"))
    [without] = read_people(write(tmp_path, "login\nanna\n"))
    assert (with_column.groups, without.groups) == ([], None)


def test_short_row(tmp_path: Path) -> None:
    """A row with fewer cells than columns leaves the last ones empty."""
    [person] = read_people(write(tmp_path, "login,name,email,groups\nanna,Anna\n"))
    assert (person.name, person.email, person.groups) == ("Anna", None, [])


def test_long_row(tmp_path: Path) -> None:
    """A row with more cells than columns is refused: something is in the wrong place."""
    with pytest.raises(ConfigurationError, match=r"line 2: more cells than columns"):
        read_people(write(tmp_path, "login,name\nanna,Anna,anna@example.com\n"))


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    """A quoted cell may hold a line break; the line named is the one where the row ends."""
    with pytest.raises(ConfigurationError) as refused:
        read_people(
            write(tmp_path, 'login,name,email\r\nanna,"Anna\r\nNowak",anna@example.com\r\nbob,Bob,nonsense\r\n')
        )
    assert "line 3: name: a line break" in str(refused.value)
    assert "line 4: email: 'nonsense' is no e-mail address" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("people.csv", "login\nanna\nanna\n", "stands in the file twice"),
        ("people.json", "{}", "must hold a list"),
        ("people.json", "[1]", "entry 1"),
        ("people.json", "[", "is no JSON"),
        ("people.xlsx", "", "neither .csv nor .json"),
    ],
)
def test_refused(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """What is no file of people is refused, with what it should be."""
    with pytest.raises(ConfigurationError, match=problem):
        read_people(write(tmp_path, text, name))
