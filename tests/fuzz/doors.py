# ruff: noqa: E501 - lists of what breaks programs are best read as tables
"""The doors, what is tried at each, and how what was stored is read back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from hypothesis import strategies as st

import notify
from notify import deadlines, enqueuing, publishing, schedules
from notify import settings as notify_settings
from notify.cli.people import read_people
from notify.domain.address import CONTROL
from notify.domain.deadline import Deadline
from notify.domain.person import Person
from notify.domain.schedule import parse_schedule
from notify.domain.working_time import read_calendars
from notify.exceptions import ConfigurationError, TemplateError
from notify.operators import NotifyOperator, SendMessageOperator, sync_people
from notify.operators.notify import EVENT_FIELDS
from notify.operators.send_message import FIELDS
from notify.rendering.library import TemplateLibrary
from notify.storage import people, preferences
from notify.storage.engine import normal_url
from tests import dsn_fuzzer
from tests.fuzz import campaigns, task, templates
from tests.fuzz.given import FILES, Given, damaged, of_json, plain, secret, spoiled
from tests.fuzz.judge import Door
from tests.fuzz.mails import REACHED, STORED, bodies, mails_whole
from tests.fuzz.stage import Stage, replaced, variable_of
from tests.fuzz.values import (
    ANY,
    CLOCKS,
    CONCERNED,
    DURATIONS,
    JSON,
    LANGUAGES,
    LINKS,
    MOMENTS,
    NAMES,
    SECRET,
    TEXT,
    WILD,
    WORDS,
    ZONES,
    Names,
)


def _case_fields(draw: st.DrawFn) -> Any:
    return draw(
        st.none()
        | WORDS
        | st.fixed_dictionaries(
            {"id": WORDS | st.integers(0, 10**6)},
            optional={
                "title": WORDS,
                "url": st.sampled_from(("https://x.example/1",) * 20 + LINKS),
                "process": WORDS,
                "stage": WORDS,
                "owner": st.sampled_from(("anna", "bob", "eve", "nobody", "x\0")),
            },
        )
        | st.dictionaries(st.sampled_from(("id", "title", "url", "process", "stage", "owner", "x")), TEXT, max_size=4)
    )


# --- Messages --------------------------------------------------------------------------------------------------------

_DATA = st.fixed_dictionaries(
    {"word": secret(WORDS)},
    optional={
        "things": JSON,
        "when": st.sampled_from(MOMENTS),
        "count": JSON,
        "link": st.sampled_from(LINKS),
        "deep": JSON,
    },
)
_DATA_OF_JSON = st.dictionaries(st.sampled_from(("word", "things", "count", "deep")), JSON).map(
    lambda data: {"word": SECRET, **data, "text": SECRET} | {"word": f"{SECRET} word"}
)
_DATA_OF_PYTHON = st.fixed_dictionaries(
    {"word": secret(WORDS) | ANY}, optional={"things": ANY, "when": ANY, "count": ANY, "link": ANY, "deep": ANY}
) | st.dictionaries(TEXT, ANY, max_size=3)


def _message(draw: st.DrawFn, values: st.SearchStrategy[Any], data: st.SearchStrategy[Any]) -> Given:
    fields: dict[Any, Any] = {}
    written: dict[str, Names] = {}
    for name in ("recipient", "cc", "bcc"):
        if name == "recipient" or draw(st.integers(0, 5)) == 5:
            found = draw(NAMES)
            written[name] = found
            fields[name] = sorted(found.written) if isinstance(found.written, frozenset) else found.written
    if draw(st.integers(0, 2)):
        fields |= {"subject": draw(WORDS | TEXT), "message": draw(secret(WORDS | TEXT))}
        fields["html"] = draw(st.booleans())
    else:
        fields |= {
            "template": draw(st.sampled_from(("fuzz", "fuzz", "fuzz", "welcome", "house", "../en"))),
            "data": draw(data),
        }
    more = {
        "add_template": st.booleans(),
        "language": st.sampled_from(LANGUAGES),
        "sender": st.sampled_from(("smtp_default", "smtp_second", "smtp_none", "notify_db", "")),
        "reply_to": st.sampled_from(
            ("anna@example.com", "Jürgen <j@example.com>", "x", "anna@example.com\r\nX: 1", "team")
        ),
        "attachments": FILES,
        "case_id": WORDS | TEXT,
        "case_url": st.sampled_from(LINKS),
        "priority": st.sampled_from(("urgent", "bulk", "Urgent", "")),
        "guarantee": st.sampled_from(("at_most_once", "never")),
        "send_after": st.sampled_from((*DURATIONS, *MOMENTS) if values is ANY else of_json((*DURATIONS, *MOMENTS))),
        "expires_after": st.sampled_from((*DURATIONS, *MOMENTS) if values is ANY else of_json((*DURATIONS, *MOMENTS))),
        "idempotency_key": WORDS | TEXT,
        "add_url": st.booleans(),
        "add_case_id_to_subject": st.booleans(),
    }
    for name in draw(st.lists(st.sampled_from(sorted(more)), max_size=2, unique=True)):
        fields[name] = draw(more[name])
    fields["one_mail"] = draw(st.sampled_from((False, False, True)))
    if draw(st.integers(0, 9)) == 9:
        del fields[draw(st.sampled_from(sorted(fields)))]
    named = [found for name, found in written.items() if name in fields]
    wrong = spoiled(draw, FIELDS, values)
    fields |= wrong
    refused = any(one.meant is None and one.written for one in named) or not any(one.written for one in named)
    meant = None if refused else frozenset[str]().union(*(one.meant or () for one in named))
    if wrong.keys() & {"recipient", "cc", "bcc"}:
        meant = frozenset()
    return Given(fields, meant, frozenset(wrong))


_messages = st.composite(_message)
MESSAGES = _messages(values=ANY, data=_DATA | _DATA_OF_PYTHON)
CONFS = _messages(values=JSON, data=_DATA_OF_JSON)


def _enqueue(stage: Stage, example: Given) -> Any:
    return enqueuing.enqueue_fields(example.fields, connection=stage.connection, settings=stage.settings)


def _send_message(stage: Stage, example: Given) -> Any:
    return _executed(stage, task.filled(SendMessageOperator(task_id="tell"), FIELDS, example.fields), task.context())


def _executed(stage: Stage, operator: Any, about: Any) -> Any:
    given = {"connection": stage.connection, "settings": stage.settings}
    with (
        replaced(enqueuing, enqueue_fields=partial(enqueuing.enqueue_fields, **given)),
        replaced(publishing, publish_fields=partial(publishing.publish_fields, **given)),
    ):
        return task.execute(operator, about)


def _trigger(stage: Stage, example: Given) -> Any:
    """As Airflow does it: the conf, as JSON, over the defaults; the schemas; then the task."""
    operator = SendMessageOperator(task_id="SendMessage", from_params=True)
    return _executed(stage, operator, task.triggered("SendMessage", example.fields))


_FILES_OF = """
    select f.message_id, f.filename, a.sha256, a.content from notify.message_attachments f
    join notify.attachments a on a.sha256 = f.sha256 where f.message_id = any(:ids) order by f.message_id, f.position
"""


def _messages_whole(stage: Stage, example: Given, answer: Any) -> Iterator[str]:
    ids = [one["id"] for one in answer["messages"]] if isinstance(answer, dict) else [one.id for one in answer.messages]
    if not ids:
        yield "there is no message"
    yield from mails_whole(stage, ids)
    reached = {row.address.lower() for row in stage.rows(REACHED, ids=ids)}
    if example.meant is None:
        yield "whom it is for is no recipient"
    elif example.meant and reached != example.meant:
        yield "it is not for those whom it was for"
    if not example.spoiled & {
        "subject",
        "message",
        "template",
        "html",
        "add_template",
        "case_id",
        "data",
        "add_case_id_to_subject",
    }:
        yield from _says(stage, example.fields, ids)
    if "attachments" not in example.spoiled:
        yield from _carries(stage, example.fields.get("attachments") or [], ids)


def _says(stage: Stage, fields: Mapping[Any, Any], ids: list[int]) -> Iterator[str]:
    for row in stage.rows(STORED, ids=ids):
        subject = str(fields.get("subject") or "").strip()
        case = str(fields.get("case_id") or "").strip() if fields.get("add_case_id_to_subject", True) else ""
        wanted = f"[{case}] {subject}" if case else subject
        if "template" not in fields and row.subject != wanted:
            yield "its subject is not the one given"
        text, page = bodies(row)
        told = str(fields["message"] if "template" not in fields else fields["data"].get("word"))
        for part in filter(None, (text, page)):
            if SECRET in told and SECRET not in part:
                yield "its text is not the one given"
        if "template" not in fields and not fields.get("html") and _flat(fields["message"]) not in _flat(text):
            yield "its plain text is not the one given"


def _flat(text: str) -> str:
    """A text but for its line ends, and for blanks at the ends of lines: what a plain text has to keep."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _carries(stage: Stage, files: Iterable[Any], ids: list[int]) -> Iterator[str]:
    from base64 import b64decode

    wanted = [(one["filename"].strip(), b64decode(one["content_base64"])) for one in files]
    found: dict[int, list[tuple[str, bytes]]] = {number: [] for number in ids}
    for row in stage.rows(_FILES_OF, ids=ids):
        found[row.message_id].append((row.filename, bytes(row.content)))
        if sha256(row.content).digest() != bytes(row.sha256):
            yield "an attachment is stored under another one's name"
    if any(one != wanted for one in found.values()):
        yield "its attachments are not those given"


# --- Events ----------------------------------------------------------------------------------------------------------

_CHANGES = st.lists(
    st.fixed_dictionaries(
        {"what": st.sampled_from(("comment_added", "document_added", "document_removed", "closed", "eaten"))},
        optional={"text": secret(WORDS | TEXT), "name": WORDS | TEXT, "x": TEXT},
    ),
    max_size=3,
)


@st.composite
def events(draw: st.DrawFn) -> Given:
    """Events."""
    named = draw(CONCERNED)
    kind = draw(
        st.sampled_from(
            ("fuzz", "fuzz", "case_changed", "case_received", "reminder", "deadline_exceeded", "none", "digest")
        )
    )
    data = draw({"case_changed": st.fixed_dictionaries({"changes": _CHANGES})}.get(kind, _DATA | _DATA_OF_PYTHON))
    fields: dict[Any, Any] = {"kind": kind, "recipients": named.written, "data": data}
    more = {
        "actor": st.sampled_from(("anna", "anna@example.com", "nobody", "x@", "\0", "y" * 300)),
        "occurred_at": st.sampled_from(MOMENTS),
        "idempotency_key": WORDS | TEXT | st.just("deadline:1"),
    }
    for name in draw(st.lists(st.sampled_from(sorted(more)), max_size=2, unique=True)):
        fields[name] = draw(more[name])
    if (case := _case_fields(draw)) is not None or kind != "fuzz":
        fields["case"] = case
    wrong = spoiled(draw, EVENT_FIELDS, ANY)
    fields |= wrong
    meant = frozenset[str]() if "recipients" in wrong else named.meant if named.written else None
    return Given(fields, meant, frozenset(wrong))


def _publish(stage: Stage, example: Given) -> Any:
    return publishing.publish_fields(example.fields, connection=stage.connection, settings=stage.settings)


def _notify(stage: Stage, example: Given) -> Any:
    operator = NotifyOperator(task_id="tell", kind=None, recipients=None)
    return _executed(stage, task.filled(operator, EVENT_FIELDS, example.fields), task.context())


_EVENT = "select kind, recipients, data, case_id from notify.events where id = :id"
_HOMES = "select home, login, address, message_id from notify.notifications where event_id = :id"


def _event_whole(stage: Stage, example: Given, answer: Any) -> Iterator[str]:
    told = answer if isinstance(answer, dict) else asdict(answer)
    rows = stage.rows(_EVENT, id=told["event_id"])
    homes = stage.rows(_HOMES, id=told["event_id"])
    if len(rows) != 1:
        yield "the event is not there"
        return
    count = told["mails"] + told["waiting"] + sum(told["refused"].values())
    if not count == rows[0].recipients == len(homes):
        yield "not every notification has a home"
    if example.meant is None:
        yield "whom it concerns is no recipient"
    elif example.meant and {(row.address or "").lower() for row in homes} != example.meant:
        yield "it is not for those whom it concerns"
    if "data" not in example.spoiled and plain(example.fields["data"]) and rows[0].data != example.fields["data"]:
        yield "its data reads differently"
    yield from mails_whole(stage, [row.message_id for row in homes if row.message_id])
    waiting = stage.rows("select count(*) as n from notify.deferred d join notify.notifications n on n.id = d.notification_id "
                         "where n.event_id = :id", id=told["event_id"])  # fmt: skip
    if waiting[0].n != told["waiting"]:
        yield "what is put aside does not wait"


# --- Deadlines, reminders, preferences -------------------------------------------------------------------------------

_DISTANCE = st.sampled_from(DURATIONS)
_TERM_FIELDS = frozenset({"case", "due", "advance", "escalations", "calendar"})
_REMINDER_FIELDS = frozenset({"login", "case", "at", "note", "name"})


@st.composite
def terms(draw: st.DrawFn) -> Given:
    """Terms of stages."""
    case = {"id": draw(WORDS), "owner": draw(st.sampled_from(("anna", "bob", "eve"))), "stage": draw(WORDS)}
    fields: dict[Any, Any] = {
        "case": case if draw(st.integers(0, 3)) != 3 else _case_fields(draw),
        "due": draw(st.sampled_from((*DURATIONS, *MOMENTS, "P3D", "P1D", "2027-01-31T08:00Z"))),
    }
    more = {
        "advance": st.lists(
            _DISTANCE | st.fixed_dictionaries({"before": _DISTANCE}, optional={"calendar": WORDS}), max_size=3
        )
        | st.sampled_from(("PT2H", ["P1D"] * 51, ["P1D", "PT1H"])),
        "escalations": st.lists(
            _DISTANCE
            | st.fixed_dictionaries(
                {"after": _DISTANCE},
                optional={
                    "to": st.sampled_from((["@supervisor"], "team; anna", ["nobody"], [], ["@x"], ["\0"])),
                    "calendar": TEXT,
                },
            ),
            max_size=3,
        )
        | st.sampled_from(("P1D", ["P1D", "P3D"])),
        "calendar": st.sampled_from(("PL", "SK", "XX", "", "\0", "pl", "US")) | TEXT,
    }
    for name in draw(st.lists(st.sampled_from(sorted(more)), max_size=2, unique=True)):
        fields[name] = draw(more[name])
    wrong = spoiled(draw, _TERM_FIELDS, ANY)
    return Given(fields | wrong, None, frozenset(wrong))


@st.composite
def reminders(draw: st.DrawFn) -> Given:
    """Reminders."""
    fields: dict[Any, Any] = {
        "login": draw(st.sampled_from(("anna", "bob", "anna", "carl", "eve", "nobody", "\0"))),
        "case": draw(WORDS) if draw(st.integers(0, 3)) != 3 else _case_fields(draw),
        "at": draw(st.sampled_from(("P3D", "PT1H", *DURATIONS, *MOMENTS))),
        "note": draw(secret(WORDS | TEXT)),
    }
    wrong = spoiled(draw, _REMINDER_FIELDS, ANY)
    return Given(fields | wrong, None, frozenset(wrong))


def _set_deadline(stage: Stage, example: Given) -> Any:
    return deadlines.set_deadline_fields(example.fields, connection=stage.connection, settings=stage.settings)


def _set_reminder(stage: Stage, example: Given) -> Any:
    return deadlines.set_reminder_fields(example.fields, connection=stage.connection)


def _deadline_whole(stage: Stage, example: Given, answer: Deadline) -> Iterator[str]:
    rows = stage.rows("select case_id, due_at, plan, closed_at from notify.deadlines where id = :id", id=answer.id)
    if len(rows) != 1 or rows[0].due_at != answer.due_at or rows[0].plan != answer.plan or rows[0].closed_at:
        yield "the deadline reads differently"
    steps = stage.rows("select fires_at from notify.deadline_steps where deadline_id = :id", id=answer.id)
    plan = answer.plan
    if len(steps) != 1 + len(plan.get("advance", ())) + len(plan.get("escalations", ())):
        yield "not every step is there"
    for name in ("advance", "escalations"):
        given = example.fields.get(name)
        if isinstance(given, list) and len(plan[name]) != len(given):
            yield f"not every one of {name} is there"
    if "note" not in example.spoiled and plan.get("note", "") != example.fields.get("note", ""):
        yield "the note reads differently"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a public function."""

    name: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


def _mostly(good: Iterable[Any]) -> st.SearchStrategy[Any]:
    """Usual values, and now and then anything."""
    usual = st.sampled_from(tuple(good))
    return st.integers(0, 9).flatmap(lambda dice: ANY if dice == 9 else usual)


_LOGINS = _mostly(("anna", "anna", "anna", "bob", "carl", "nobody", "\0", "\ud800"))
_KINDS = _mostly(("*", "*", "fuzz", "fuzz", "case_changed", "case_received", "reminder", "none", "\0"))
_WISHES = st.fixed_dictionaries(
    {"frequency": _mostly(("daily", "hourly", "never", "immediately", "weekly", "Daily", ""))},
    optional={
        "hour": _mostly((*CLOCKS, "17:30", "08:00", "12:15")),
        "weekday": _mostly(("monday", "m", "t", "7", 0, 1, 8, True, "1.0")),
        "quiet_from": _mostly(("22:00", "22:00", *CLOCKS)),
        "quiet_until": _mostly(("07:00", "07:00", *CLOCKS)),
    },
)


def _call(stage: Stage, example: Call) -> Any:
    given = {"connection": stage.connection}
    if "preference" in example.name:
        given["settings"] = stage.settings
    return getattr(notify, example.name)(*example.arguments, **{**example.named, **given})


def _preference_whole(stage: Stage, example: Call, answer: Any) -> Iterator[str]:
    login, kind = example.arguments
    if preferences.find(stage.connection, [login])[login][kind] != answer:
        yield "the preference reads differently"
    for name, value in example.named.items():
        if type(value) is str and name == "frequency" and answer.frequency != value:
            yield "another frequency than the one given"


PREFERENCES = st.builds(Call, st.just("set_preference"), st.tuples(_LOGINS, _KINDS), _WISHES)
CLEARINGS = (
    st.builds(Call, st.just("clear_preference"), st.tuples(_LOGINS, _KINDS), st.just({}))
    | st.builds(
        Call,
        st.just("clear_deadline"),
        st.tuples(WORDS | ANY),
        st.fixed_dictionaries({}, optional={"stage": TEXT | ANY}),
    )
    | st.builds(
        Call,
        st.just("clear_reminder"),
        st.tuples(_LOGINS, WORDS | ANY),
        st.fixed_dictionaries({}, optional={"name": TEXT | ANY}),
    )
)


# --- People ----------------------------------------------------------------------------------------------------------

_PERSON = {
    "login": st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=6) | TEXT,
    "name": WORDS | TEXT,
    "email": st.sampled_from(("x@example.com", "X@Example.com", "x@", "a <x@example.com>", "\u202ex@example.com", "")) | TEXT,
    "phone": st.sampled_from(("+48 123", "")) | TEXT,
    "language": st.sampled_from(LANGUAGES),
    "timezone": st.sampled_from(ZONES),
    "supervisor": st.sampled_from(("anna", "nobody", "x", "")) | TEXT,
    "active": st.sampled_from(("true", "false", "1", "0", "yes", "", "maybe")),
    "groups": st.sampled_from(("team", "team; new", "", ";;", "a@b", "x" * 3_000, "y\0", "žž; žž")) | TEXT,
    "preferences": st.sampled_from(
        ("daily", "", "{}", '{"case_changed": "daily"}', '{"*": {"hour": "25:00"}}', '{"x": 1}', "[1]", '{"*": null}', "NaN", '{"fuzz": "daily"}')
    )
    | TEXT,
}  # fmt: skip
_COLUMNS = st.lists(st.sampled_from(sorted(_PERSON.keys() - {"login"})), unique=True, max_size=3).map(
    lambda names: ["login", *names]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Rows of another system's table."""
    columns = draw(_COLUMNS)
    values = [_PERSON[name] if draw(st.integers(0, 9)) else ANY for name in columns]
    rows = draw(st.lists(st.tuples(*values), max_size=3))
    if draw(st.integers(0, 19)) == 19:
        columns = [*columns[:-1], draw(TEXT)]
    return columns, rows


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """CSV files, some of them cut, broken or of another encoding."""
    columns, rows = draw(tables())
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))))
    writer.writerow(columns)
    for row in rows:
        writer.writerow([value if isinstance(value, str | int | float) else "x" for value in row])
    raw = text.getvalue().encode("utf-8", "surrogatepass")
    return draw(damaged(raw))


@st.composite
def json_files(draw: st.DrawFn) -> bytes:
    """JSON files, some of them cut, broken, deep or of another encoding."""
    found = draw(
        st.lists(
            st.fixed_dictionaries(
                {"login": _PERSON["login"]},
                optional={name: values | JSON for name, values in _PERSON.items() if name != "login"},
            ),
            max_size=3,
        )
        | JSON
    )
    raw = json.dumps(found, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(damaged(raw))


def _import(stage: Stage, raw: bytes, *, suffix: str) -> list[Person]:
    path = stage.folder / f"people.{suffix}"
    path.write_bytes(raw)
    with replaced(notify_settings, variable=variable_of({})):
        found = read_people(path)
    if strange := people.unknown_supervisors(stage.connection, found, whole="the file"):
        raise ConfigurationError(strange[0])
    people.save(stage.connection, found, source="import")
    return found


def _sync(stage: Stage, example: tuple[list[str], list[tuple[Any, ...]]]) -> list[Person]:
    with replaced(notify_settings, variable=variable_of({})):
        found = sync_people._people(*example)
    if strange := people.unknown_supervisors(stage.connection, found, whole=sync_people.WHOLE):
        sync_people._refuse(strange)
    people.save(stage.connection, found, source="sync:x")
    return found


def _people_whole(stage: Stage, _example: Any, answer: list[Person]) -> Iterator[str]:
    known = people.find(stage.connection, [one.login for one in answer])
    for one in answer:
        if known.get(one.login) != one.model_copy(update={"groups": None, "preferences": None}):
            yield "a person reads differently"
        if one.groups is not None:
            record = people.read(stage.connection, one.login)
            if record is None or set(record.person.groups or ()) != set(one.groups):
                yield "a person's groups read differently"


# --- What admins write -----------------------------------------------------------------------------------------------

VARIABLES = {
    "notify_senders": st.lists(st.sampled_from(("smtp_default", "a b", "", "x" * 300, "\n")) | JSON, max_size=3).map(json.dumps),
    "notify_kinds": st.dictionaries(
        st.sampled_from(("news", "case_changed", "digest", "*", "a b", "x" * 300)),
        st.fixed_dictionaries({}, optional={"choices": st.lists(st.sampled_from(("daily", "never", "x")), max_size=3) | JSON,
                                            "default": st.sampled_from(("daily", "x")) | JSON, "template": TEXT | JSON}) | JSON,
        max_size=2,
    ).map(json.dumps),
    "notify_calendars": st.dictionaries(
        st.sampled_from(("warsaw", "PL", "", "a b")),
        st.fixed_dictionaries({}, optional={"country": st.sampled_from(("PL", "XX", "pl", "")), "subdivision": TEXT | JSON,
                                            "hours": st.sampled_from(("08:00-16:00", "16:00-08:00", "08:00", "24:00-25:00", "00:00-24:00")) | JSON,
                                            "weekdays": st.lists(st.sampled_from(("monday", "m", 7, 8)), max_size=3) | JSON,
                                            "timezone": st.sampled_from(ZONES)}) | JSON,
        max_size=2,
    ).map(json.dumps),
    "notify_blocked": st.dictionaries(TEXT, st.lists(st.sampled_from(("case_received", "reminder", "x")), max_size=2) | JSON, max_size=2).map(json.dumps),
    "notify_timezone": st.sampled_from(ZONES),
    "notify_case_url": st.sampled_from((*LINKS, "https://x/{case_id}", "https://{0}/{case_id}", "{case_id}")),
    "notify_attachment_sources": st.lists(st.sampled_from(("s3://x", "x", "file:///", 1)), max_size=2).map(json.dumps),
    "notify_base_url": st.sampled_from((*LINKS, "http://[::1", "http://[x]/", "http://\u2100.example")),
    "notify_bounce_hard_days": TEXT,
    "notify_keep_bodies": st.sampled_from([one for one in DURATIONS if isinstance(one, str)]),
}  # fmt: skip


@st.composite
def variables(draw: st.DrawFn) -> dict[str, str]:
    """Airflow Variables."""
    names = draw(st.lists(st.sampled_from(sorted(VARIABLES)), min_size=1, max_size=2, unique=True))
    return {name: draw(VARIABLES[name] | TEXT | WILD) for name in names}


def _configure(_stage: Stage, example: dict[str, str]) -> Any:
    identity = replaced(notify_settings, variable=variable_of(example), connection=lambda _id: None)
    with identity:
        found = notify_settings.hand_over_settings()
        notify_settings.bounce_settings()
        notify_settings.keep()
        found.identity("smtp_default")
        calendars = read_calendars(found.calendars, found.timezone)
        schedules.known_senders()
        schedules.dag_settings("notify_kinds", "@hourly")
    return found, calendars


def _configured(_stage: Stage, example: dict[str, str], answer: Any) -> Iterator[str]:
    found, _calendars = answer
    url = found.url_of_case("a/b ž")
    if url and ("{case_id}" in url or CONTROL.search(url)):
        yield "the URL of a case is none"
    senders = example.get("notify_senders", "").strip()
    if senders and list(dict.fromkeys(json.loads(senders))) != list(found.senders):
        yield "the senders are not those given"


_CRON = st.lists(
    st.sampled_from(("*", "*/5", "0", "59", "60", "1-5", "mon", "L", "#", "?", "H", "R", "31", "2", "*/0", "1/2/3", "-", "٣", "5-1", "9" * 50)), min_size=4, max_size=6
).map(" ".join)  # fmt: skip
SCHEDULES = _CRON | st.sampled_from([one for one in DURATIONS if isinstance(one, str)]) | st.sampled_from(
    ("@hourly", "@once", "@", "@HOURLY ", "P1D P1D", "0 0 30 2 *", "0 0 29 2 *")
) | TEXT  # fmt: skip


def _scheduled(_stage: Stage, _example: str, answer: Any) -> Iterator[str]:
    if (answer.cron is None) == (answer.every is None):
        yield "it is not one schedule"


_PARTS = (
    "postgres",
    "postgresql",
    "mysql",
    "sqlite",
    "://",
    ":",
    "@",
    "/",
    "?",
    "#",
    "[",
    "]",
    "%",
    "%zz",
    "host",
    "5432",
    "x=1",
    "99999999",
    " ",
    "\0",
    "&",
    "é",
)
ADDRESSES = st.lists(st.sampled_from(_PARTS), max_size=10).map("".join).map(lambda text: text.replace("://", f"://u:{SECRET}@", 1)) | st.builds(
    lambda user, rest: f"postgresql://{user}:{SECRET}{rest}", WILD, st.sampled_from(("@h:x/d", "@h:5432/d?a", "", "@", "@[::1/d", "/@h", "@h:-1/", "@h:٣/"))
)  # fmt: skip


def _nothing(_stage: Stage, _example: Any, _answer: Any) -> Iterator[str]:
    yield from ()


# --- Templates -------------------------------------------------------------------------------------------------------


def _render(stage: Stage, example: Mapping[str, str]) -> Any:
    folder = stage.folder / "written" / "own" / "en"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in example.items():
        (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    shelf = TemplateLibrary(stage.folder / "written")
    data = {"word": f"{SECRET} <b>", "things": ["a", {"b": [1, None]}], "count": 3, "text": "x" * 50, "none": None}
    return shelf.render("own", language="en", timezone="UTC", data=data, house=False)


def _rendered(_stage: Stage, _example: Any, answer: Any) -> Iterator[str]:
    if len(answer.text) > 30_000_000:
        yield "it has no bound"
    if templates.ESCAPED in answer.text + answer.subject:
        yield "it came out of the sandbox"


def _report(_stage: Stage, number: int) -> str:
    return dsn_fuzzer.look(next(dsn_fuzzer.inputs(number, 1)))


_MESSAGE_FIELDS = frozenset(FIELDS)
_EVENT_FIELDS = frozenset(EVENT_FIELDS)
_PREFERENCE_FIELDS = frozenset({"login", "kind", "frequency", "hour", "weekday", "quiet_from", "quiet_until"})

DOORS = {
    door.name: door
    for door in (
        Door("enqueue", MESSAGES, _enqueue, _messages_whole, _MESSAGE_FIELDS),
        Door("SendMessageOperator", MESSAGES, _send_message, _messages_whole, _MESSAGE_FIELDS),
        Door("params", CONFS, _trigger, _messages_whole, _MESSAGE_FIELDS),
        Door("publish", events(), _publish, _event_whole, _EVENT_FIELDS),
        Door("NotifyOperator", events(), _notify, _event_whole, _EVENT_FIELDS),
        Door("set_deadline", terms(), _set_deadline, _deadline_whole, _TERM_FIELDS),
        Door("set_reminder", reminders(), _set_reminder, _deadline_whole, _REMINDER_FIELDS),
        Door("set_preference", PREFERENCES, _call, _preference_whole, _PREFERENCE_FIELDS),
        Door("clear", CLEARINGS, _call, _nothing, _PREFERENCE_FIELDS | _TERM_FIELDS | _REMINDER_FIELDS | {"stage"}),
        Door("people.csv", csv_files(), partial(_import, suffix="csv"), _people_whole, secretive=False),
        Door("people.json", json_files(), partial(_import, suffix="json"), _people_whole, secretive=False),
        Door("SyncPeople", tables(), _sync, _people_whole, refuse=(AirflowFailException,), secretive=False),
        Door("Variables", variables(), _configure, _configured, secretive=False),
        Door("schedule", SCHEDULES, lambda _stage, text: parse_schedule(text), _scheduled),
        Door("database URL", ADDRESSES, lambda _stage, text: normal_url(text), _nothing),
        Door("delivery report", st.integers(0, 2**32), _report, _nothing),
        Door("template", templates.TEMPLATES, _render, _rendered, refuse=(TemplateError,)),
        *campaigns.DOORS,
    )
}
