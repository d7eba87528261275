"""The fields of an event, as far as they can be checked by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.address import CONTROL
from notify.domain.change import NAMED, Change, What
from notify.domain.event import Case, EventDraft, read_event

COMMENT = {"what": "comment_added", "text": "Please check page 2."}
CHANGED = {"kind": "case_changed", "recipients": "anna", "data": {"changes": [COMMENT]}}


def faults(**fields: Any) -> dict[str, str]:
    """What is wrong, by field, with an event that would be right but for these fields."""
    return {fault.field: fault.problem for fault in read_event(CHANGED | fields)[1]}


def read(**fields: Any) -> EventDraft:
    """An event in which nothing is wrong."""
    draft, wrong = read_event(CHANGED | fields)
    assert wrong == []
    return draft


# --- Fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_as", "known_as"),
    [
        ("INV-7", Case(id="INV-7")),
        (" INV-7 ", Case(id="INV-7")),
        (7, Case(id="7")),
        ({"id": 7, "title": "Seven"}, Case(id="7", title="Seven")),
        ({"id": "INV-7", "title": " Seven ", "stage": " ", "owner": ""}, Case(id="INV-7", title="Seven")),
        ({"id": "INV-7", "title": None}, Case(id="INV-7")),
        (Case(id="INV-7", owner="anna"), Case(id="INV-7", owner="anna")),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_case(given_as: object, known_as: Case | None) -> None:
    """A case is its id, a number too, or a mapping; what is blank in it was not told, and a blank id is no case."""
    assert read(case=given_as).case == known_as


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ({}, "case.id"),
        ({"title": "Seven"}, "case.id"),
        ({"id": ""}, "case.id"),
        ({"id": " "}, "case.id"),
        ({"id": True}, "case.id"),
        ({"id": "x" * 201}, "case.id"),
        ({"id": "7", "title": "x" * 501}, "case.title"),
        ({"id": "7", "title": ["Seven"]}, "case.title"),
        ({"id": "7", "url": "javascript:alert(1)"}, "case.url"),
        ({"id": "7", "url": "https://x.example/a b"}, "case.url"),
        ({"id": "7", "url": "ftp://x.example/"}, "case.url"),
        ({"id": "7", "url": "https://x.example/" + "x" * 2000}, "case.url"),
        ({"id": "7", "colour": "red"}, "case.colour"),
        (True, "case"),
        (1.5, "case"),
        (["INV-7"], "case"),
        ("x" * 201, "case.id"),
    ],
)
def test_faulty_case(case: object, field: str) -> None:
    """What cannot be a case is refused, with the field inside it that is wrong."""
    assert list(faults(case=case)) == [field]


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("field", ["case.id", "case.title", "case.process", "case.owner", "actor", "idempotency_key"])
def test_header_injection(field: str, control: str) -> None:
    """What may stand in a header takes no line break and no control character, in the middle or at the end."""
    for text in (f"seven{control}Bcc: eve@example.com", f"seven{control}"):
        outer, _, inner = field.partition(".")
        given_one = {"id": "7", inner: text} if inner else text
        assert list(faults(**{outer: given_one})) == [field]


@given(st.text(min_size=1, max_size=60))
def test_titles(text: str) -> None:
    """Every title without a control character is taken, and kept but for the blanks around it."""
    wrong = faults(case={"id": "7", "title": text})
    if CONTROL.search(text):
        assert list(wrong) == ["case.title"]
    else:
        case = read(case={"id": "7", "title": text}).case
        assert case is not None
        assert case.title == text.strip()


@pytest.mark.parametrize("field", ["kind", "actor", "idempotency_key"])
@pytest.mark.parametrize("text", ["\ud800", "anna\udcff"])
def test_half_characters(field: str, text: str) -> None:
    """Half of a surrogate pair, which no database and no mail can carry, is refused with its field."""
    assert list(faults(**{field: text})) == [field]


@pytest.mark.parametrize(
    ("recipients", "names"),
    [
        ("anna; finance, x@example.com", ["anna", "finance", "x@example.com"]),
        (["anna", "finance; bob"], ["anna", "finance", "bob"]),
        (("anna",), ["anna"]),
        ('"Doe, John" <john@example.com>', ['"Doe, John" <john@example.com>']),
    ],
)
def test_recipients(recipients: object, names: list[str]) -> None:
    """Recipients are a list, or a text separated by semicolons or commas; quoted names stay whole."""
    assert read(recipients=recipients).recipients == names


@pytest.mark.parametrize("recipients", ["", " ; , ", [], [""], None, 7, {"anna": 1}, [7], [None]])
def test_no_recipients(recipients: object) -> None:
    """Nobody, and what names nobody, is refused."""
    assert [name.partition("[")[0] for name in faults(recipients=recipients)] == ["recipients"]


# --- When it happened ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 1, 12),  # noqa: DTZ001 - without a zone: that is the fault
        "2026-03-01T12:00:00",
        "2026-03-01",
        "yesterday",
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(9001, 1, 1, tzinfo=UTC),
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_faulty_moment(moment: object) -> None:
    """A time without a zone, no time at all, and one beyond all lives are refused."""
    assert list(faults(occurred_at=moment)) == ["occurred_at"]


@pytest.mark.parametrize("moment", [1, 0, 1.5, True, "20260301", "1760000000", 1760000000])
def test_numbers_are_no_moments(moment: object) -> None:
    """A number could be seconds, milliseconds or a date without dashes: it is refused, and not taken for 1970."""
    assert list(faults(occurred_at=moment)) == ["occurred_at"]


FIRST, LAST = (datetime(*day, tzinfo=UTC).replace(tzinfo=None) for day in ((1970, 1, 2), (8999, 12, 30)))


@given(st.datetimes(FIRST, LAST, timezones=st.timezones()))
def test_moments(moment: datetime) -> None:
    """Every moment of our lives in every zone is kept, as an object and as its ISO 8601 text."""
    assert read(occurred_at=moment).occurred_at == moment
    offset = moment.utcoffset()
    assert offset is not None
    whole = moment.replace(tzinfo=timezone(timedelta(minutes=offset // timedelta(minutes=1))))
    assert read(occurred_at=whole.isoformat()).occurred_at == whole


# --- Changes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", list(What))
def test_each_change(what: What) -> None:
    """Each sort of change is told with what it needs, and without it is refused: a name, or a comment's text."""
    told = {"what": what.value, "text": "Look.", "name": "plan.pdf"}
    assert Change.model_validate(told).what is what
    read(data={"changes": [told]})
    needs = {"name"} if what in NAMED else {"text"} if what is What.COMMENT_ADDED else set()
    for missing in ("name", "text"):
        wrong = faults(data={"changes": [told | {missing: None}]})
        assert bool(wrong) == (missing in needs)
        assert set(wrong) <= {"data.changes[0]"}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (None, "data.changes"),
        ({}, "data.changes"),
        ({"changes": []}, "data.changes"),
        ({"changes": "comment_added"}, "data.changes"),
        ({"changes": [{"what": "comment_removed"}]}, "data.changes[0].what"),
        ({"changes": [COMMENT, {"text": "x"}]}, "data.changes[1].what"),
        ({"changes": [COMMENT | {"colour": "red"}]}, "data.changes[0].colour"),
        ({"changes": [COMMENT | {"text": "x" * 100_001}]}, "data.changes[0].text"),
        ({"changes": [None]}, "data.changes[0]"),
    ],
)
def test_faulty_changes(data: object, field: str) -> None:
    """What changed is told in the words there are; whatever is wrong is told with its place."""
    assert list(faults(data=data)) == [field]


@pytest.mark.parametrize(
    ("kind", "changes", "closes"),
    [
        ("case_changed", [COMMENT], False),
        ("case_changed", [COMMENT, {"what": "closed"}], True),
        ("case_changed", [{"what": What.CLOSED}], True),
        ("case_changed", [Change(what=What.CLOSED)], True),
        ("case_changed", ({"what": "closed"},), True),
        ("invoice_paid", [{"what": "closed"}], False),
    ],
)
def test_closing(kind: str, changes: object, *, closes: bool) -> None:
    """A case ends when ``case_changed`` says so, in whatever form it does; other kinds say nothing of it."""
    assert read(kind=kind, data={"changes": changes}).closes_case is closes


def test_changes_of_other_kinds_are_theirs() -> None:
    """A field named ``changes`` of an own kind holds whatever that kind wants."""
    assert read(kind="invoice_paid", data={"changes": 7}).data == {"changes": 7}
    assert not read(kind="invoice_paid", data={"changes": 7}).closes_case


# --- All at once -----------------------------------------------------------------------------------------------------


def test_all_faults_at_once() -> None:
    """Every fault is told, each with its field, and what is right remains to be checked further."""
    draft, wrong = read_event(
        {
            "kind": "case_changed",
            "case": {"id": "7\n", "url": "x"},
            "actor": "a\r\nb",
            "recipients": "anna",
            "data": {"changes": []},
            "occurred_at": "noon",
            "colour": "red",
        }
    )
    assert {fault.field for fault in wrong} == {
        "case.id",
        "case.url",
        "actor",
        "occurred_at",
        "colour",
        "data.changes",
    }
    assert draft.recipients == ["anna"]
    assert draft.case is None


@pytest.mark.parametrize("kind", [None, "", 7, ["case_changed"]])
def test_no_kind(kind: object) -> None:
    """An event needs the name of a kind."""
    assert list(faults(kind=kind)) == ["kind"]


@pytest.mark.parametrize("data", ["text", 7, [1], {1: 2}])
def test_data_are_fields(data: object) -> None:
    """``data`` is a mapping with names."""
    assert [name.partition(".")[0].partition("[")[0] for name in faults(kind="invoice_paid", data=data)] == ["data"]


@given(st.dictionaries(st.sampled_from(sorted(EventDraft.model_fields)), st.none() | st.integers() | st.text() |
                       st.lists(st.text()) | st.dictionaries(st.text(), st.text()), max_size=7))  # fmt: skip
def test_whatever_comes(fields: dict[str, Any]) -> None:
    """Whatever is in the fields: a draft comes back with the faults of the others, and nothing is raised."""
    draft, wrong = read_event(fields)
    assert draft.kind or [fault for fault in wrong if fault.field == "kind"]
    assert draft.recipients or [fault for fault in wrong if fault.field.startswith("recipients")]
