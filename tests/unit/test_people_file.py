"""Files of people: what is read from them, and what is refused."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from notify.cli.people import read_people
from notify.domain.preference import Frequency, Preference
from notify.exceptions import ConfigurationError

CHECKOUT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_sample() -> None:
    """The shipped sample is people of several languages, zones and wishes; its group everybody is everybody."""
    people = {person.login: person for person in read_people(CHECKOUT / "include" / "sample" / "people.csv")}
    assert {login: person.language for login, person in people.items()} == {
        "anna": "pl",
        "brian": "en",
        "zuzana": "sk",
        "kenji": "en",
        "maria": "en",
    }
    assert len({person.timezone for person in people.values()}) == 5
    assert people["anna"].groups == ["finance", "everybody"]
    assert all("everybody" in (person.groups or ()) for person in people.values())
    said = {login: person.preferences for login, person in people.items()}
    assert said["anna"] == {"*": Preference(frequency=Frequency.HOURLY)}
    assert said["brian"] is None
    assert said["zuzana"] == {"*": Preference(frequency=Frequency.DAILY, hour=time(17))}
    assert (said["kenji"] or {})["*"] == Preference(quiet_from=time(22), quiet_until=time(7))


def test_groups_column(tmp_path: Path) -> None:
    """An empty cell in the column of groups means none; without the column they stay as they are."""
    [with_column] = read_people(write(tmp_path, "login,groups\nanna,\n"))
    [without] = read_people(write(tmp_path, "login\nanna\n"))
    assert (with_column.groups, without.groups) == ([], None)


def test_preferences_column(tmp_path: Path) -> None:
    """A cell may hold a frequency or JSON; an empty one, or no column at all, leaves what was said as it is."""
    cells = ["daily", '"{""case_changed"": ""hourly"", ""*"": {""hour"": ""17:00""}}"', "{}", "", " "]
    text = "login,preferences\n" + "".join(f"p{number},{cell}\n" for number, cell in enumerate(cells))
    assert [person.preferences for person in read_people(write(tmp_path, text))] == [
        {"*": Preference(frequency=Frequency.DAILY)},
        {"case_changed": Preference(frequency=Frequency.HOURLY), "*": Preference(hour=time(17))},
        {},
        None,
        None,
    ]


def test_preferences_of_unknown_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preference for a kind that nobody registered, or that leaves no choice, is refused with its line and kind."""
    text = """login,preferences
anna,"{""invoice_paid"": ""daily""}"
bob,"{""case_lost"": ""daily"", ""reminder"": ""never""}"
carl,"{""case_received"": ""weekly"", ""case_changed"": ""weekly""}"
"""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", '{"invoice_paid": {}}')
    with pytest.raises(ConfigurationError) as refused:
        read_people(write(tmp_path, text))
    assert [line.split(": ")[:2] for line in str(refused.value).splitlines()[1:]] == [
        ["  * line 3", "preferences.case_lost"],
        ["  * line 3", "preferences.reminder"],
        ["  * line 4", "preferences.case_received"],
    ]


def test_variable_is_read_only_where_it_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preferences for built-in kinds need no Variable, and so no database of Airflow's."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", "broken")
    read_people(write(tmp_path, 'login,preferences\nanna,"{""case_changed"": ""daily"", ""*"": ""never""}"\n'))
    with pytest.raises(ConfigurationError, match="notify_kinds"):
        read_people(write(tmp_path, 'login,preferences\nanna,"{""invoice_paid"": ""daily""}"\n'))


def test_many_faults(tmp_path: Path) -> None:
    """Of many faults twenty are shown, and the rest is counted."""
    with pytest.raises(ConfigurationError) as refused:
        read_people(write(tmp_path, "login,email\n" + "".join(f"p{number},nobody\n" for number in range(50))))
    lines = str(refused.value).splitlines()
    assert (len(lines), lines[-1]) == (22, "  … and 30 more")


def test_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A long file tells how far it is, a short one does not."""
    read_people(write(tmp_path, "login\n" + "".join(f"p{number}\n" for number in range(4999))))
    assert capsys.readouterr().err == ""
    read_people(write(tmp_path, "login\n" + "".join(f"p{number}\n" for number in range(10001))))
    assert capsys.readouterr().err == "notify: 5000 people read\nnotify: 10000 people read\n"


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
        ("people.csv", "login\n" + "x" * 200_000, "is no CSV: line 1: field larger"),
        ("people.csv", "login,\nanna,x\n", "line 2: .*there is no such field"),
        ("people.xlsx", "", "neither .csv nor .json"),
    ],
)
def test_refused(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """What is no file of people is refused, with what it should be."""
    with pytest.raises(ConfigurationError, match=problem):
        read_people(write(tmp_path, text, name))
