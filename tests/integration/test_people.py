"""People in a real PostgreSQL: how they come, change and go, and the commands about them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from notify.domain.person import Person
from notify.domain.preference import Frequency, Preference
from notify.exceptions import ConfigurationError
from notify.storage import people, preferences, suppressions
from notify.storage.people import ImportCounts

CHECKOUT = Path(__file__).resolve().parents[2]
HR = "sync:hr"

DAILY = Preference(frequency=Frequency.DAILY)


def team(*logins: str, **fields: Any) -> list[Person]:
    """People with the same fields."""
    return [Person(login=login, email=f"{login}@example.com", **fields) for login in logins]


def active(connection: Connection) -> set[str]:
    """Who is active."""
    return {person.login for person in people.listed(connection)}


def versions(connection: Connection) -> dict[str, str]:
    """The version of each row, which any write changes."""
    rows = connection.execute(sa.text("select login, ctid::text from notify.people")).all()
    return dict(rows)  # type: ignore[arg-type]  # rows of two


# --- Saving ----------------------------------------------------------------------------------------------------------


def test_saving_people(connection: Connection) -> None:
    """People are added with groups and preferences, and a second time only what differs is written."""
    anna, bob = team("anna", "bob", groups=["clerks"], preferences="daily")
    assert people.save(connection, [anna, bob]) == ImportCounts(2, 0, 0, 1, preferences=2)
    before = versions(connection)
    changed = bob.model_copy(update={"name": "Bob", "groups": ["readers"], "preferences": {}})
    assert people.save(connection, [anna, changed]) == ImportCounts(0, 1, 1, 2, preferences=1)
    after = versions(connection)
    assert (after["anna"] == before["anna"], after["bob"] == before["bob"]) == (True, False)
    members = people.members(connection, ["clerks", "readers"])
    assert {name: [one.login for one in found] for name, found in members.items()} == {
        "clerks": ["anna"],
        "readers": ["bob"],
    }
    assert preferences.find(connection, ["anna", "bob"]) == {"anna": {"*": DAILY}}


def test_what_is_not_given_stays(connection: Connection) -> None:
    """Groups and preferences that a list does not speak of stay as they are."""
    people.save(connection, team("anna", groups=["clerks"], preferences="daily"))
    assert people.save(connection, team("anna", name="Anna")) == ImportCounts(0, 1, 0, 0)
    assert [one.login for one in people.members(connection, ["clerks"])["clerks"]] == ["anna"]
    assert preferences.find(connection, ["anna"]) == {"anna": {"*": DAILY}}


def test_the_source_is_the_last_one(connection: Connection) -> None:
    """Somebody belongs to the source that brought them last; a list without a source leaves that as it is."""
    people.save(connection, team("anna"), source=HR)
    people.save(connection, team("anna", name="Anna"))
    record = people.read(connection, "anna")
    assert record is not None
    assert (record.source, record.person.name) == (HR, "Anna")
    people.save(connection, team("anna", name="Anna"), source="import")
    record = people.read(connection, "anna")
    assert record is not None
    assert record.source == "import"


def test_supervisors(connection: Connection) -> None:
    """A supervisor may stand further down the list or be known already; who is neither is told."""
    people.save(connection, team("boss"))
    listed = [*team("anna", supervisor="bob"), *team("bob", supervisor="boss"), *team("carl", supervisor="nobody")]
    assert people.unknown_supervisors(connection, listed, whole="the list") == [
        "carl: supervisor: 'nobody' is neither in the list nor known"
    ]
    people.save(connection, listed[:2])
    connection.commit()
    assert active(connection) == {"anna", "bob", "boss"}


def test_reading_somebody(connection: Connection) -> None:
    """A record has groups and preferences; of nobody there is none."""
    people.save(connection, team("anna", groups=["readers", "clerks"], preferences="daily"), source=HR)
    record = people.read(connection, "anna")
    assert record is not None
    assert record.person == team("anna", groups=["clerks", "readers"], preferences="daily")[0]
    assert (record.source, record.put_aside, record.next_due) == (HR, 0, None)
    assert people.read(connection, "nobody") is None


# --- Keeping in step -------------------------------------------------------------------------------------------------


def step(connection: Connection, *listed: Person, most_missing: float = 0.5, source: str = HR) -> ImportCounts:
    """Keep people in step with a list."""
    return people.keep_in_step(connection, listed, source=source, most_missing=most_missing)


def test_who_is_missing_becomes_inactive(connection: Connection) -> None:
    """Who is missing in the list of their source becomes inactive, loses nothing, and is active when back."""
    step(connection, *team("anna", "bob", "carl", groups=["clerks"], preferences="daily"))
    assert step(connection, *team("anna", "bob")) == ImportCounts(0, 0, 2, 0, deactivated=1)
    assert active(connection) == {"anna", "bob"}
    carl = people.read(connection, "carl")
    assert carl is not None
    assert (carl.person.groups, carl.person.preferences) == (["clerks"], {"*": DAILY})
    assert step(connection, *team("anna", "bob", "carl")) == ImportCounts(0, 1, 2, 0)
    assert active(connection) == {"anna", "bob", "carl"}


def test_others_are_none_of_its_business(connection: Connection) -> None:
    """People of another source, or of none, stay active however many are missing."""
    people.save(connection, team("dora"))
    people.save(connection, team("eve"), source="import")
    step(connection, *team("anna", "bob"))
    assert step(connection, *team("anna")).deactivated == 1
    assert active(connection) == {"anna", "dora", "eve"}


def test_who_moved_to_another_source_stays(connection: Connection) -> None:
    """Who was brought by another source since is not missed by the first."""
    step(connection, *team("anna", "bob"))
    people.save(connection, team("bob"), source="import")
    assert step(connection, *team("anna")).deactivated == 0
    assert active(connection) == {"anna", "bob"}


@pytest.mark.parametrize(
    ("listed", "most_missing", "numbers"),
    [
        ([], 0.5, ["names 0 people", "4 of the 4", "50%"]),
        ([], 0.99, ["names 0 people", "4 of the 4", "99%"]),
        (team("anna"), 0.5, ["names 1 people", "3 of the 4", "50%"]),
        (team("anna", "bob", "carl"), 0, ["names 3 people", "1 of the 4", "0%"]),
        ([*team("anna"), *team("bob", "carl", "dora", active=False)], 0.5, ["names 4 people", "3 of the 4"]),
        (team(*(f"new{number}" for number in range(100))), 0.5, ["names 100 people", "4 of the 4"]),
    ],
)
def test_a_list_that_cannot_be_true(
    connection: Connection, listed: list[Person], most_missing: float, numbers: list[str]
) -> None:
    """A list that would make too many inactive is refused with its numbers and the way out; nothing is changed."""
    step(connection, *team("anna", "bob", "carl", "dora"))
    before = versions(connection)
    with pytest.raises(ConfigurationError) as refused:
        step(connection, *listed, most_missing=most_missing)
    assert all(number in str(refused.value) for number in [*numbers, "most_missing=1", "--most-missing 1", HR])
    assert versions(connection) == before


def test_allowing_it_this_once(connection: Connection) -> None:
    """With a share of 1 any list is taken, an empty one too."""
    step(connection, *team("anna", "bob", "carl"))
    assert step(connection, *team("anna"), most_missing=1).deactivated == 2
    assert step(connection, most_missing=1).deactivated == 1
    assert active(connection) == set()


def test_an_empty_first_list(connection: Connection) -> None:
    """A source that has brought nobody yet may not begin with an empty list."""
    with pytest.raises(ConfigurationError, match="no list may be empty"):
        step(connection)


_LOGINS = st.sets(st.sampled_from("abcdefgh"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=_LOGINS, second=_LOGINS, elsewhere=_LOGINS, share=st.sampled_from([0, 0.25, 0.5, 1]))
def test_in_step(connection: Connection, first: set[str], second: set[str], elsewhere: set[str], share: float) -> None:
    """Whatever lists come: of a source, active are exactly those of its last list, unless too many would have gone."""
    connection.rollback()  # what the example before did
    step(connection, *team(*first), most_missing=1)
    people.save(connection, team(*elsewhere), source="import")
    mine = first - elsewhere
    too_many = share < 1 and (not second or len(mine - second) > share * len(mine))
    if too_many:
        with pytest.raises(ConfigurationError):
            step(connection, *team(*second), most_missing=share)
        second = mine
    else:
        step(connection, *team(*second), most_missing=share)
    assert active(connection) == second | elsewhere


def test_two_lists_at_once(engine: Engine) -> None:
    """Two lists take turns, instead of undoing each other or waiting for each other for ever."""
    with engine.begin() as first:
        step(first, *team("anna", "bob", "carl"))
    with engine.begin() as first, engine.connect() as second:
        step(first, *team("anna", "bob"))
        second.execute(sa.text("set lock_timeout = '100ms'"))
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            step(second, *team("anna", "carl"))


def test_who_is_unchanged_is_not_locked(engine: Engine) -> None:
    """A merge may have everybody whom a list leaves as they are, while the list is taken in."""
    with engine.begin() as first:
        step(first, *team("anna", "bob", preferences="daily"))
    with engine.begin() as first, engine.connect() as merge:
        step(first, *team("anna", preferences="daily"), *team("bob", preferences="hourly"))
        free = merge.scalars(sa.text("select login from notify.people for no key update skip locked"))
        assert list(free) == ["anna"]


# --- Commands --------------------------------------------------------------------------------------------------------

#: Arguments in; exit status, output and errors out.
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def notify(notify: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, with a kind of ours and a zone."""
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_KINDS", '{"invoice_paid": {"choices": ["daily"], "default": "daily"}}')
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_TIMEZONE", "Europe/Vienna")
    return notify


@pytest.mark.usefixtures("sample")
def test_without_airflow_s_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that knows the outbox alone reads what the command says, with the defaults, and nothing else."""
    monkeypatch.delenv("AIRFLOW_VAR_NOTIFY_KINDS")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/none.db")
    monkeypatch.delenv("AIRFLOW__LOGGING__NAMESPACE_LEVELS", raising=False)
    command = [sys.executable, "-m", "notify", "preferences", "show", "anna"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("anna, time zone Europe/Warsaw\nWhat applies\n  case_received ")
    assert "invoice_paid" not in done.stdout
    assert done.stderr == ""


@pytest.fixture
def sample(notify: Command) -> Command:
    """The command line, with the shipped people imported."""
    status, out, _ = notify("people", "import", CHECKOUT / "include" / "sample" / "people.csv")
    told = "5 people imported: 5 added, 0 changed, 0 unchanged; 4 groups; preferences of 4 changed.\n"
    assert (status, out) == (0, told)
    return notify


def test_complete_import(notify: Command, connection: Connection, tmp_path: Path) -> None:
    """Only a complete file takes people out, only those of an earlier import, and never most of them unasked."""
    people.save(connection, team("hanna"), source=HR)
    connection.commit()
    file = tmp_path / "people.csv"

    def importing(*logins: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        file.write_text("\n".join(["login", *logins]))
        return notify("people", "import", file, *options)

    importing("anna", "bob", "carl")
    assert importing("anna")[1] == "1 people imported: 0 added, 0 changed, 1 unchanged; 0 groups.\n"
    status, out, err = importing("anna", options=("--complete",))
    assert (status, out) == (1, "")
    assert "2 of the 3 active ones" in err
    assert importing("anna", options=("--complete", "--most-missing", "0.7"))[1] == (
        "1 people imported: 0 added, 0 changed, 1 unchanged; 0 groups; 2 missing, and inactive now.\n"
    )
    assert active(connection) == {"anna", "hanna"}


@pytest.mark.parametrize("share", ["half", "-0.1", "1.1", "nan"])
def test_share_that_is_none(notify: Command, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no share is refused before anything is read."""
    with pytest.raises(SystemExit):
        notify("people", "import", "people.csv", "--complete", f"--most-missing={share}")
    assert "write a number from 0 to 1" in capsys.readouterr().err


def test_long_import(notify: Command, connection: Connection, tmp_path: Path) -> None:
    """A long import tells how far it is, and stores everybody with their groups and preferences."""
    file = tmp_path / "people.csv"
    rows = (f"p{n},p{n}@example.com,p{n // 10},everybody; team{n // 20},hourly" for n in range(6000))
    file.write_text("\n".join(["login,email,supervisor,groups,preferences", *rows]))
    status, out, err = notify("people", "import", file, "--complete")
    assert (status, out) == (
        0,
        "6000 people imported: 6000 added, 0 changed, 0 unchanged; 301 groups; preferences of 6000 changed.\n",
    )
    assert err.startswith("notify: 5000 people read\nnotify: all 6000 are in order; storing them\n")
    assert len(people.members(connection, ["everybody"])["everybody"]) == 6000


def test_people_list(sample: Command, connection: Connection) -> None:
    """The list names who is active, who is not, or who is in a group."""
    _, out, _ = sample("people", "list")
    assert [line.split()[0] for line in out.splitlines()] == ["anna", "brian", "kenji", "maria", "zuzana"]
    assert [line.split()[0] for line in sample("people", "list", "--group", "finance")[1].splitlines()] == [
        "anna",
        "brian",
        "maria",
    ]
    assert sample("people", "list", "--inactive")[1] == "There are no such people.\n"
    people.save(connection, [Person(login="brian", active=False)])
    connection.commit()
    assert sample("people", "list", "--inactive", "--group", "leads")[1].split() == ["brian", "no", "address"]
    assert sample("people", "list", "--group", "nobodies") == (1, "", "notify: There is no group 'nobodies'.\n")


def test_people_show(sample: Command, connection: Connection) -> None:
    """A person is shown with their record, groups, what applies to each kind, and how much is put aside."""
    for offset in (2, 3):
        connection.execute(
            sa.text("""
                with event as (
                    insert into notify.events (kind, recipients, occurred_at) values ('k', 1, now()) returning id
                ), content as (
                    insert into notify.contents (body) values ('') returning id
                ), kept as (
                    insert into notify.notifications
                        (event_id, position, login, home, subject, summary, content_id, content_fields)
                    select event.id, 0, 'kenji', 'waiting', '', '', content.id, '' from event, content returning id
                )
                insert into notify.deferred select id, 'kenji', 'k', due, due
                from kept, cast(make_date(2040, 1, :day) as timestamptz) as due
            """),
            {"day": offset},
        )
    connection.commit()
    status, out, _ = sample("people", "show", "kenji")
    assert status == 0
    for line in (
        "kenji: active",
        "  Time zone   Asia/Tokyo",
        "  Groups      everybody, logistics",
        "  Came from   import",
        "  Put aside   2, the first due 2040-01-02 00:00Z",
        "  Suppressed  -",
        "  case_changed          daily at 18:00, quiet 22:00-07:00",
        "  deadline_exceeded     immediately, mandatory",
        "  invoice_paid          daily at 18:00, quiet 22:00-07:00",
        "  all kinds             quiet 22:00-07:00",
    ):
        assert line in out.splitlines()
    assert "There is no person 'nobody'" in sample("people", "show", "nobody")[2]
    suppressions.add(connection, "Kenji@Example.com", "asked for it", None)
    connection.commit()
    assert "  Suppressed  for good: asked for it" in sample("people", "show", "kenji")[1].splitlines()


def test_preferences_by_command(sample: Command, connection: Connection) -> None:
    """Preferences are set, shown and cleared by command."""
    chosen = ("case_changed", "weekly", "--weekday", "fri", "--hour", "09:30")
    assert sample("preferences", "set", "brian", *chosen)[1] == "brian, case_changed: weekly, friday, at 09:30.\n"
    assert sample("preferences", "set", "brian", "*", "--quiet", "22:00-07:00")[1] == (
        "brian, all kinds: quiet 22:00-07:00.\n"
    )
    connection.execute(
        sa.text("insert into notify.preferences (login, kind, frequency) values ('brian', 'x', 'never')")
    )
    connection.commit()
    shown = sample("preferences", "show", "brian")[1].splitlines()
    assert shown[0] == "brian, time zone Europe/Dublin"
    assert "  case_changed          weekly, friday at 09:30, quiet 22:00-07:00" in shown
    assert "  x                     never (there is no such kind any more)" in shown
    assert sample("preferences", "clear", "brian", "x")[1] == "brian, x: what was said is forgotten.\n"
    assert sample("preferences", "clear", "brian", "case_received")[1] == "brian, case_received: nothing was said.\n"
    connection.commit()
    assert set(preferences.find(connection, ["brian"])["brian"]) == {"case_changed", "*"}


def test_faults_of_preferences_by_command(sample: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be chosen is refused with every fault, and so is somebody unknown."""
    status, _, err = sample("preferences", "set", "nobody", "reminder", "often", "--weekday", "someday")
    assert status == 1
    assert [line.split(":")[0] for line in err.splitlines()[1:]] == [
        "  * login",
        "  * kind",
        "  * frequency",
        "  * weekday",
    ]
    assert "There is no person 'nobody'" in sample("preferences", "show", "nobody")[2]
    with pytest.raises(SystemExit):
        sample("preferences", "set", "anna", "*", "--quiet", "22:00")
    assert "write 22:00-07:00" in capsys.readouterr().err


def test_default_zone_is_shown(sample: Command, connection: Connection) -> None:
    """Of somebody without a time zone the default one is shown, and that nothing was said."""
    people.save(connection, team("dora"))
    connection.commit()
    out = sample("preferences", "show", "dora")[1]
    assert out.startswith("dora, time zone Europe/Vienna, the default\n")
    assert out.endswith("Nothing was said: these are the defaults\n")


def test_suppressions_by_command(notify: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """An address is put on the list, shown there and lifted; one that is on it for longer stays."""
    add = ("suppressions", "add", "Anna@Example.com", "--reason", "asked for it")
    assert notify("suppressions", "list")[1] == "No address is on the list.\n"
    nothing = "No queued messages were suppressed."
    assert notify(*add, "--days", "7")[1] == f"Anna@example.com gets nothing for 7 days. {nothing}\n"
    assert notify(*add)[1] == f"Anna@example.com gets nothing until you lift it. {nothing}\n"
    assert "on the list already" in notify(*add, "--days", "7")[1]
    for one in ((), ("--address", "anna@EXAMPLE.com")):
        listed = notify("suppressions", "list", *one)[1]
        assert listed.endswith("  anna@example.com  for good, by a person: asked for it\n")
    for one in (("--address", "bob@example.com"), ("--address", "anna@example.com", "--source", "bounce")):
        assert notify("suppressions", "list", *one)[1] == "No such address is on the list.\n"
    lifted = notify("suppressions", "lift", "ANNA@example.com")[1]
    assert lifted.startswith("ANNA@example.com gets mail again; its bounces so far count no more.\n")
    assert "python -m notify messages list --status suppressed --address ANNA@example.com" in lifted
    assert notify("suppressions", "lift", "anna@example.com")[0] == 1
    for wrong in (("lift", "anna"), ("add", "anna@example.com", "--reason", "r", "--days", "0")):
        with pytest.raises(SystemExit):
            notify("suppressions", *wrong)
    assert "'anna' is neither an e-mail address nor a telephone number" in capsys.readouterr().err
