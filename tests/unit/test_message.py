"""What a producer hands over, checked field by field and together."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notify.domain.address import CONTROL
from notify.domain.channel import ChannelName
from notify.domain.message import (
    LONGEST_DELAY,
    Draft,
    Guarantee,
    Priority,
    moment_after,
    read_draft,
)
from notify.exceptions import Fault, InvalidMessage
from notify.operators.send_message import FIELDS

GOOD: dict[str, Any] = {"recipient": "anna@example.com", "subject": "Hello", "message": "How are you?"}


def read(**fields: Any) -> Draft:
    """A good message with changes, which must be good as well."""
    draft, faults = read_draft({**GOOD, **fields})
    assert faults == []
    return draft


def faults_of(**fields: Any) -> dict[str, str]:
    """What is wrong with a good message with changes, by field."""
    _, faults = read_draft({**GOOD, **fields})
    named = {fault.field: fault.problem for fault in faults}
    assert len(named) == len(faults), "a field is blamed twice"
    return named


@pytest.mark.parametrize(("channel", "promise"), [("email", "at_least_once"), ("sms", "at_most_once")])
def test_the_promise_of_a_channel(channel: str, promise: str) -> None:
    """Unless a guarantee is given, a mail is sent again when in doubt, and an SMS is not."""
    assert Draft(channel=channel).promise.value == promise
    assert Draft(channel=channel, guarantee="at_least_once").promise is Guarantee.AT_LEAST_ONCE


# --- The fields, one by one ------------------------------------------------------------------------------------------


def test_defaults() -> None:
    """What is not given has the documented default."""
    draft = read()
    given_fields = {"recipient": ["anna@example.com"], "subject": "Hello", "message": "How are you?"}
    assert (
        draft.model_dump()
        == {
            "recipient": [],
            "cc": [],
            "bcc": [],
            "one_mail": False,
            "subject": None,
            "message": None,
            "html": False,
            "template": None,
            "data": {},
            "add_template": True,
            "language": None,
            "sender": None,
            "site": None,
            "reply_to": None,
            "attachments": [],
            "case_id": None,
            "case_url": None,
            "add_case_id_to_subject": True,
            "add_url": True,
            "priority": Priority.NORMAL,
            "guarantee": None,
            "channel": ChannelName.EMAIL,
            "transliterate": False,
            "send_after": None,
            "expires_after": None,
            "idempotency_key": None,
        }
        | given_fields
    )


def test_fields_are_those_of_the_operator() -> None:
    """The operator and the door know the same fields."""
    assert set(FIELDS) == set(Draft.model_fields)


@pytest.mark.parametrize("field", sorted(set(Draft.model_fields) - GOOD.keys()))
def test_none_is_not_given(field: str) -> None:
    """None in any field means its default."""
    assert read(**{field: None}) == read()


@pytest.mark.parametrize(
    "field", ["template", "language", "sender", "reply_to", "case_id", "case_url", "idempotency_key"]
)
@pytest.mark.parametrize("blank", ["", "   ", "\n"])
def test_blank_is_not_given(field: str, blank: str) -> None:
    """A text left blank in a form means its default."""
    assert read(**{field: blank}) == read()


@pytest.mark.parametrize("field", ["send_after", "expires_after"])
def test_blank_moment_is_not_given(field: str) -> None:
    """A time left blank in a form is none."""
    assert read(**{field: " "}) == read()


@pytest.mark.parametrize("field", ["recipient", "cc", "bcc"])
@pytest.mark.parametrize(
    "value",
    ["anna; bob@example.com", "anna, bob@example.com", ["anna", "bob@example.com"], ("anna;bob@example.com",)],
)
def test_names(field: str, value: object) -> None:
    """Recipients come as a string, a list, or a list of strings with separators."""
    assert getattr(read(**{field: value}), field) == ["anna", "bob@example.com"]


def test_names_in_a_set() -> None:
    """Recipients may come as a set."""
    assert sorted(read(recipient={"anna", "bob"}).recipient) == ["anna", "bob"]


@pytest.mark.parametrize("field", ["recipient", "cc", "bcc"])
@pytest.mark.parametrize("value", [5, {"a": 1}, [5], [["anna"]], [None], b"anna", True])
def test_what_is_no_name(field: str, value: object) -> None:
    """A number, a mapping or a nested list names nobody."""
    assert {name.partition("[")[0] for name in faults_of(**{field: value})} == {field}


@pytest.mark.parametrize("field", ["one_mail", "html", "add_template", "add_case_id_to_subject", "add_url"])
@pytest.mark.parametrize(
    ("value", "meant"), [(True, True), (False, False), ("true", True), ("false", False), (0, False)]
)
def test_flags(field: str, value: object, meant: bool) -> None:
    """A flag is a boolean, or the word for one that a template or a form makes of it."""
    assert getattr(read(**{field: value}), field) is meant


@pytest.mark.parametrize("field", ["one_mail", "html", "add_template", "add_case_id_to_subject", "add_url"])
@pytest.mark.parametrize("value", ["perhaps", "", 2, [], "None"])
def test_what_is_no_flag(field: str, value: object) -> None:
    """A flag that is neither true nor false is a fault, never a guess."""
    assert set(faults_of(**{field: value})) == {field}


@pytest.mark.parametrize("copies", [{"cc": "bob"}, {"bcc": "bob"}, {"one_mail": True}])
def test_copies_make_it_one_mail(copies: dict[str, Any]) -> None:
    """A copy or a blind copy makes it one mail to all, as asking for it does."""
    assert read(**copies).to_all
    assert not read().to_all


@pytest.mark.parametrize("field", ["subject", "reply_to", "case_id", "idempotency_key"])
@pytest.mark.parametrize(
    "evil", ["a\nBcc: eve@example.com", "a\r\n\r\nbody", "a\x00b", "a\x0bBcc : x", "a\x85b", "a\u2028b"]
)
def test_no_header_is_smuggled_in(field: str, evil: str) -> None:
    """A line break or control character in what becomes a header is refused under its field."""
    assert "line break or control character" in faults_of(**{field: evil})[field]


@given(st.text(max_size=30))
def test_accepted_headers_are_one_line(text: str) -> None:
    """Whatever is accepted as a subject, a case or a key has no control character and can be encoded."""
    draft, _ = read_draft({**GOOD, "subject": text, "case_id": text, "idempotency_key": text})
    for kept in (draft.subject, draft.case_id, draft.idempotency_key):
        assert not CONTROL.search(kept or "")
        assert (kept or "").encode("utf-8").decode("utf-8") == (kept or "")


@pytest.mark.parametrize("field", ["subject", "message", "case_id", "sender", "language", "case_url", "recipient"])
def test_half_a_surrogate_pair(field: str) -> None:
    """Text that no encoding can carry is refused under its field."""
    assert {name.partition("[")[0] for name in faults_of(**{field: "a\ud800"})} == {field}


def test_nul_in_the_message() -> None:
    """A NUL, which the database cannot store, is refused under its field."""
    assert set(faults_of(message="a\x00b", subject="c\x00d")) == {"message", "subject"}


@pytest.mark.parametrize(("field", "length"), [("subject", 900), ("case_id", 200), ("idempotency_key", 500)])
def test_lengths(field: str, length: int) -> None:
    """A text may be as long as documented, and no longer."""
    read(**{field: "x" * length})
    assert set(faults_of(**{field: "x" * (length + 1)})) == {field}


@pytest.mark.parametrize("field", ["subject", "message", "template", "sender", "case_id", "reply_to"])
@pytest.mark.parametrize("value", [5, ["x"], {"a": 1}, True])
def test_what_is_no_text(field: str, value: object) -> None:
    """A number or a list is no text; nothing is turned into one in silence."""
    assert field in faults_of(**{field: value})


@pytest.mark.parametrize("language", ["en", "pl-PL", "pt_BR", "zh-Hant-TW", "SK"])
def test_languages(language: str) -> None:
    """A language is a tag with or without a region."""
    assert read(language=language).language == language


@pytest.mark.parametrize("language", ["english!", "p", "../en", "pl\n", "en/../.."])
def test_what_is_no_language(language: str) -> None:
    """What is no tag of a language is refused: it will name a folder."""
    assert set(faults_of(language=language)) == {"language"}


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "/cases/1", "https://", "https://x y", "ftp://x", "https://x\n"]
)
def test_what_is_no_case_url(url: str) -> None:
    """A case's address is a web address; a script is none."""
    assert set(faults_of(case_id="1", case_url=url)) == {"case_url"}


@pytest.mark.parametrize("value", ["urgent", "normal", "bulk"])
def test_priorities(value: str) -> None:
    """Each priority is known by its documented word."""
    assert read(priority=value).priority.value == value


@pytest.mark.parametrize("value", ["at_least_once", "at_most_once"])
def test_guarantees(value: str) -> None:
    """Each guarantee is known by its documented word."""
    assert read(guarantee=value).guarantee.value == value


@pytest.mark.parametrize(("field", "value"), [("priority", "Bulk"), ("priority", ""), ("guarantee", "exactly_once")])
def test_unknown_choice_names_the_choices(field: str, value: str) -> None:
    """A word that is no choice is answered with the choices."""
    assert (" or '" in faults_of(**{field: value})[field]) is True


# --- Times -----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("field", ["send_after", "expires_after"])
@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2027-01-31T08:00:00+01:00", datetime(2027, 1, 31, 7, tzinfo=UTC)),
        ("2027-01-31T08:00Z", datetime(2027, 1, 31, 8, tzinfo=UTC)),
        (" 2027-01-31 08:00:00Z ", datetime(2027, 1, 31, 8, tzinfo=UTC)),
        (datetime(2027, 1, 31, 8, tzinfo=UTC), datetime(2027, 1, 31, 8, tzinfo=UTC)),
        ("PT2H", NOON + timedelta(hours=2)),
        (" p1dt1m ", NOON + timedelta(days=1, minutes=1)),
        (timedelta(minutes=5), NOON + timedelta(minutes=5)),
        (timedelta(0), NOON),
    ],
)
def test_moments(field: str, value: object, moment: datetime) -> None:
    """A time is given with its zone, or as a delay from now."""
    assert moment_after(getattr(read(**{field: value}), field), NOON) == moment


@pytest.mark.parametrize("field", ["send_after", "expires_after"])
@pytest.mark.parametrize(
    "value",
    [
        "2027-01-31T08:00:00",
        datetime(2027, 1, 31, 8),  # noqa: DTZ001 - naive on purpose
        "2027-01-31",
        "tomorrow",
        "08:00",
        3600,
        "3600",
        1.5,
        True,
        "-PT2H",
        timedelta(seconds=-1),
        LONGEST_DELAY + timedelta(days=1),
        timedelta.max,
        "P999999999D",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+14:00",
        "P",
        [],
    ],
)
def test_what_is_no_moment(field: str, value: object) -> None:
    """A time without its zone, a bare number, a negative or an endless delay is a fault of its field."""
    assert set(faults_of(**{field: value})) == {field}


@given(st.timedeltas() | st.datetimes(timezones=st.timezones()))
def test_accepted_moments_can_be_reckoned_with(value: timedelta | datetime) -> None:
    """Whatever time is accepted, the moment that it means exists in UTC."""
    draft, faults = read_draft({**GOOD, "send_after": value})
    moment = moment_after(draft.send_after, NOON)
    assert (moment is None) == bool(faults)
    assert moment is None or moment.astimezone(UTC).year < 9999


# --- Attachments -----------------------------------------------------------------------------------------------------


def attachment_fault(attachment: object) -> str:
    """What is wrong with the second of two attachments."""
    good = {"filename": "a.txt", "content": b"a"}
    [(field, problem)] = faults_of(attachments=[good, attachment]).items()
    assert field == "attachments[1]"
    return problem


@given(st.binary(max_size=200))
def test_base64_is_read_back(content: bytes) -> None:
    """Content handed over as base64, in one line or several, is what is attached."""
    text = b64encode(content).decode()
    folded = "\r\n".join(text[start : start + 10] for start in range(0, len(text), 10))
    for written in (text, folded):
        [attachment] = read(attachments=[{"filename": "a.bin", "content_base64": written}]).attachments
        assert attachment.inline == content


@pytest.mark.parametrize("damaged", ["!!", "YQ", "YQ==x", "YQ=", "data:text/plain;base64,YQ==", "é"])
def test_damaged_base64(damaged: str) -> None:
    """Damaged base64 is a fault, never another file."""
    assert "no base64" in attachment_fault({"filename": "a", "content_base64": damaged})


@pytest.mark.parametrize(
    ("attachment", "name"),
    [
        ({"filename": "Rechnung Łódź.pdf", "content": b"x"}, "Rechnung Łódź.pdf"),
        ("s3://reports/2026/june.pdf", "june.pdf"),
        ({"uri": "s3://reports/june.pdf"}, "june.pdf"),
        ({"uri": "s3://reports/june.pdf", "filename": "july.pdf"}, "july.pdf"),
        ({"uri": "s3://reports"}, "reports"),
        ({"uri": "/"}, "attachment"),
    ],
)
def test_attachment_names(attachment: object, name: str) -> None:
    """An attachment has the name it was given, else its URI's last part."""
    assert read(attachments=[attachment]).attachments[0].name == name


@pytest.mark.parametrize(
    ("attachment", "problem"),
    [
        (5, "dictionary"),
        ({}, "exactly one of content, content_base64, uri"),
        ({"filename": "a"}, "exactly one of content, content_base64, uri"),
        ({"filename": "a", "content": b"", "uri": "s3://x"}, "exactly one"),
        ({"content": b"x"}, "needs a filename"),
        ({"filename": "a/b", "content": b""}, "plain file name"),
        ({"filename": "a\\b", "content": b""}, "plain file name"),
        ({"filename": "..", "content": b""}, "plain file name"),
        ({"filename": "", "content": b""}, "plain file name"),
        ({"filename": "a\r\nX: y", "content": b""}, "line break"),
        ({"filename": "a", "content": b"", "content_type": "text/plain\r\nX: y"}, "match pattern"),
        ({"filename": "a", "content": b"", "content_type": "text"}, "match pattern"),
        ({"filename": "x" * 256, "content": b""}, "255"),
        ({"filename": "a", "content": b"", "size": 1}, "has no field 'size'"),
    ],
)
def test_attachment_faults(attachment: object, problem: str) -> None:
    """What is wrong with an attachment is told with its place in the list."""
    assert problem in attachment_fault(attachment)


# --- The fields together ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({}, {"recipient", "subject", "message"}),
        ({"recipient": "anna"}, {"subject", "message"}),
        ({"recipient": " ; "}, {"recipient", "subject", "message"}),
        ({"cc": "anna", "subject": "a", "message": "b"}, set()),
        ({"recipient": "anna", "template": "welcome"}, set()),
        ({"recipient": "anna", "template": "welcome", "subject": "Own"}, set()),
        ({"recipient": "anna", "template": "welcome", "message": "b"}, {"message"}),
        ({"recipient": "anna", "subject": "a", "message": "b", "data": {"x": 1}}, {"data"}),
        ({"recipient": 5}, {"recipient", "subject", "message"}),
        ({"recipient": "anna", "template": 5}, {"template"}),
    ],
)
def test_fields_that_belong_together(fields: dict[str, Any], faulty: set[str]) -> None:
    """Somebody to write to, and either a text or a template: what is missing or too much is named."""
    _, faults = read_draft(fields)
    assert {fault.field for fault in faults} == faulty


def test_all_faults_at_once() -> None:
    """One answer names every fault; a faulty field hides no other."""
    _, faults = read_draft(
        {
            "recipient": [],
            "subject": "a\nb",
            "html": "perhaps",
            "priority": "loud",
            "send_after": "soon",
            "attachments": [{}, "s3://x", 5],
            "case_url": "nowhere",
            "colour": "red",
        }
    )
    fields = [fault.field for fault in faults]
    assert sorted(fields) == [
        "attachments[0]",
        "attachments[2]",
        "case_url",
        "colour",
        "html",
        "message",
        "priority",
        "recipient",
        "send_after",
        "subject",
    ]
    told = str(InvalidMessage(faults))
    assert told.startswith("The message was refused, nothing was stored: 10 faults.")
    assert all(f"\n  * {field}: " in told for field in fields)


def test_a_long_list_of_faults() -> None:
    """An error with thousands of faults has them all, and a text that a log can hold."""
    error = InvalidMessage(Fault("recipient", f"no {number}") for number in range(5000))
    assert len(error.faults) == 5000
    assert "5000 faults" in str(error)
    assert str(error).endswith("recipient: no 99\n  … and 4900 more")


def test_draft_keeps_what_is_good() -> None:
    """Beside faulty fields, the draft has the good ones, so that the rest of the message can be checked too."""
    draft, _ = read_draft({**GOOD, "html": "perhaps", "language": "pl"})
    assert (draft.recipient, draft.language, draft.html) == (["anna@example.com"], "pl", False)


@pytest.mark.parametrize("field", ["to", "Recipient", "body", "", "recipient[0]"])
def test_unknown_field(field: str) -> None:
    """A field that does not exist is named, never passed over."""
    assert faults_of(**{field: "x"}) == {field: "there is no such field"}


def test_faults_do_not_repeat_the_message() -> None:
    """An error that goes to a log repeats neither the text nor an attachment."""
    _, faults = read_draft(
        {**GOOD, "message": "secret\x00", "attachments": [{"content_base64": "c2VjcmV0"}], "data": ["secret"]}
    )
    assert len(faults) == 3
    assert "secret" not in str(faults)
    assert "secret" not in repr(read(message="secret", attachments=[{"filename": "a", "content": b"secret"}]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON))
def test_any_json_gets_an_answer(fields: dict[str, Any]) -> None:
    """Whatever JSON comes in a run's conf, the answer is a draft and a list of faults."""
    draft, faults = read_draft(fields)
    assert isinstance(draft, Draft)
    assert all(isinstance(fault, Fault) and fault.field is not None and fault.problem for fault in faults)


def test_json_forms() -> None:
    """A message as the form or the REST API hands it over, all values JSON, is read in full."""
    conf = {
        "recipient": ["anna", "bob@example.com"],
        "cc": "carl; dora",
        "bcc": None,
        "one_mail": True,
        "template": "welcome",
        "data": {"name": "Anna", "amount": 5.5, "items": [1, None]},
        "language": "pl",
        "sender": "smtp_default",
        "reply_to": "Help <help@example.com>",
        "attachments": [{"filename": "a.txt", "content_base64": "YQ=="}, "s3://reports/june.pdf"],
        "case_id": "INV-1",
        "case_url": "https://cases.example.com/INV-1",
        "priority": "bulk",
        "guarantee": "at_most_once",
        "send_after": "2027-01-31T08:00:00+01:00",
        "expires_after": "P1D",
        "idempotency_key": "INV-1/reminder",
    }
    draft, faults = read_draft(json.loads(json.dumps(conf)))
    assert faults == []
    assert draft.cc == ["carl", "dora"]
    assert draft.data == conf["data"]
    assert draft.attachments[0].inline == b"a"
    assert draft.expires_after == timedelta(days=1)
