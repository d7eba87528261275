# ruff: noqa: E501 - lists of what breaks programs are best read as tables
"""Doors of campaigns: ordered by tasks and forms, taken in from files, and what becomes of them when they are made."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from notify import databases
from notify.campaigns import exchange, steering
from notify.campaigns.generating import Generating, GeneratingResult
from notify.campaigns.ordering import Wish, order
from notify.cli import arguments
from notify.domain import sms
from notify.domain.campaign import Campaign, CampaignDraft, CampaignStatus, Fate
from notify.domain.channel import ChannelName
from notify.domain.link import PLACEHOLDER
from notify.exceptions import ConfigurationError, legible
from notify.operators import CampaignOperator
from notify.operators import campaigns as operators
from notify.operators.campaigns import CAMPAIGN_FIELDS
from notify.settings import HandOverSettings, SenderIdentity
from notify.storage import attachments, campaigns
from notify.table import Format, harmless
from tests.fuzz import task
from tests.fuzz.given import FILES, Given, damaged, of_json, plain, rarely, secret, spoiled
from tests.fuzz.judge import Door
from tests.fuzz.lists import MARK, PHONES, Answer, Listing, answers, listings, records
from tests.fuzz.mails import HEADERS, REACHED, STORED, bodies, mails_whole
from tests.fuzz.stage import Stage, replaced
from tests.fuzz.values import ANY, ATOMS, DURATIONS, JSON, LANGUAGES, MOMENTS, NAMES, SECRET, TEXT, WORDS

#: Only here files may be read, and only this connection may be asked.
_PLACES = ("file:///notify-fuzz", "memory://notify-fuzz", "weird://notify-fuzz")
SHOP = "shop"

_SMS = "eurosms_default"


def settings_of(stage: Stage) -> HandOverSettings:
    """Those of the stage, with what campaigns need beside."""

    def identity(sender: str) -> SenderIdentity:
        channel = ChannelName.SMS if sender == _SMS else ChannelName.EMAIL
        return SenderIdentity("example.com", channel=channel, site="Bratislava" if sender == "smtp_second" else None)

    return replace(
        stage.settings,
        senders=(*stage.settings.senders, _SMS),
        identity=identity,
        region="SK",
        base_url="https://notify.example.com",
        attachment_sources=(stage.folder.as_uri(), *_PLACES),
        campaign_connections=frozenset({SHOP}),
    )


# --- What an author writes -------------------------------------------------------------------------------------------

#: What authors put into texts, well and badly.
_PERSONAL = st.sampled_from(
    (
        "Hello {{ first_name }}", "{{ recipient.name }} {{ recipient.address }} {{ recipient.login }}", "{{ order_no }}",
        "{{ język }}", "{{ missing }}", "{{ first_name.a.b }}", "{{ first_name[0] }}", "{{ recipient.a.b }}",
        "{% for one in things %}{{ one }};{% endfor %}", "{{ when | datetime }} {{ when | day }}", "{{ count | number }}",
        "{{ count | plural(one='x', other='y') }}", "{{ link | url }}", "{{ word | upper | truncate(5) }}", "{{ word * 3 }}",
        "{{ 7 // count | int }}", "{% if first_name is defined %}{{ first_name }}{% endif %}", "{{ range(3) | list }}",
        "{{ deep.a.b }}{{ deep }}", "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(word) }}", "{{ word | tojson }}", "{{ word | safe }}",
        "{{ language }} {{ timezone }} {{ locale }} {{ site_name }} {{ case }} {{ subject }} {{ message }} {{ html }}",
        "{% extends layout %}", "{% include 'house/en/body.txt.j2' %}", "{{ '{{' }}", PLACEHOLDER, "{{ word | paragraphs }}",
        "{% for", "{{", "{% endif %}", "{{ word }", "{{ 1 / 0 }}", "{{ word.__class__ }}", "{{ self }}", "{{ word | nothing }}",
        "{{ name | default('you') }}", "{{ ('%' ~ '9' * 9 ~ 's') % 1 }}", "{{ recipient | pprint }}", "{{ word | to_text }}",
    )
)  # fmt: skip
_TEXTS = rarely(TEXT, WORDS | _PERSONAL | st.tuples(WORDS, _PERSONAL).map(" ".join))

#: Stands in texts whose readers tell by it whether they got their own: see :func:`_own`.
_OWN = f" [{{{{ {MARK} }}}}.]"
_OWN_FOUND = re.compile(rf"\[{MARK}(\d+)\.\]")

_DATA = st.fixed_dictionaries(
    {"word": st.just(f"{SECRET} word"), "first_name": WORDS, "język": WORDS},
    optional={"things": JSON, "count": JSON, "deep": JSON, "when": JSON},
)
_DATA_OF_PYTHON = st.dictionaries(TEXT, ANY, max_size=2).map(lambda data: {**data, "text": SECRET})

_URIS = (
    *(f"{place}/{rest}" for place in _PLACES for rest in ("x.csv", "../x", "%00", "a\0b", "\ud800", "x" * 5_000, "")),
    *("file:///etc/passwd", "s3://x/y", "x", " ", "\n"),
)


@dataclass(frozen=True, slots=True)
class Order(Given):
    """A campaign that is ordered.

    :param listing: the file in ``csv``
    """

    listing: Listing | None = None


def _written(draw: st.DrawFn, data: st.SearchStrategy[Any]) -> dict[Any, Any]:
    """What it says, by mail or SMS."""
    fields: dict[Any, Any] = {"description": draw(rarely(TEXT, WORDS))}
    if by_sms := draw(st.integers(0, 4)) == 4:
        fields["channel"] = "sms"
    if draw(st.integers(0, 3)):
        fields["message"] = draw(secret(_TEXTS)) + draw(st.sampled_from(("", _OWN)))
        if not by_sms:
            fields |= {"subject": draw(_TEXTS), "html": draw(st.booleans())}
    else:
        fields["template"] = draw(st.sampled_from(("fuzz", "fuzz", "fuzz", "welcome", "house", "../en", "none")))
    if "template" in fields or draw(st.booleans()):
        fields["data"] = draw(data)
    return fields


#: What few campaigns have.
_MORE = {
    "add_template": st.booleans(),
    "language": st.sampled_from(LANGUAGES),
    "transliterate": st.booleans(),
    "guarantee": st.sampled_from(("at_most_once", "at_least_once", "never")),
    "sender": st.sampled_from(("smtp_default", "smtp_second", _SMS, "smtp_none", "notify_db", "")),
    "site": st.sampled_from(("Bratislava", "Bratislava ", "bratislava", "x\ny", "")),
    "reply_to": st.sampled_from(("anna@example.com", "Jürgen <j@example.com> ", "x", "a@example.com\r\nX: 1", "team")),
    "attachments": FILES,
    "groups": st.sampled_from(("team", ["team"], "leavers; team", ["team", "team"], "ghosts", "\0", "anna", [], "")),
    "query": st.sampled_from(("select 1", "drop table x", "\0", " ", "ž" * 200_000)),
    "note": rarely(TEXT, WORDS),
    "classification": rarely(TEXT, WORDS),
}  # fmt: skip


def _campaign(draw: st.DrawFn, data: st.SearchStrategy[Any]) -> dict[Any, Any]:
    """A campaign, all but its recipients."""
    fields = _written(draw, data)
    for name in draw(st.lists(st.sampled_from(sorted(_MORE)), max_size=2, unique=True)):
        fields[name] = draw(_MORE[name])
    if "query" in fields:
        fields["query_connection"] = draw(st.sampled_from((SHOP, SHOP, "notify_db", "a\0", "")))
    return fields


@st.composite
def orders(draw: st.DrawFn, values: st.SearchStrategy[Any], data: st.SearchStrategy[Any]) -> Order:
    """Campaigns that are ordered."""
    fields = _campaign(draw, data)
    meant: frozenset[str] | None = frozenset()
    if draw(st.booleans()):
        if fields.get("channel") == "sms":
            fields["recipients"] = draw(st.lists(st.sampled_from((*PHONES, "anna", "12", "+0", "x@y")), max_size=3))
        else:
            found = draw(NAMES)
            meant = found.meant if found.written else meant
            fields["recipients"] = sorted(found.written) if isinstance(found.written, frozenset) else found.written
    listing = draw(st.none() | listings())
    if listing is not None:
        fields["csv"] = listing.text
    moments = (*DURATIONS, *MOMENTS) if values is ANY else of_json((*DURATIONS, *MOMENTS))
    wishes = {
        "csv_uri": st.sampled_from(_URIS),
        "send": st.booleans(),
        "send_after": st.sampled_from(("PT2H", "2027-01-31T08:00+01:00", *moments)),
        "idempotency_key": rarely(TEXT, WORDS) | st.just("task:x"),
    }
    for name in draw(st.lists(st.sampled_from(sorted(wishes)), max_size=2, unique=True)):
        fields[name] = draw(wishes[name])
    if "send_after" in fields and draw(st.integers(0, 3)):
        fields["send"] = True
    wrong = spoiled(draw, CAMPAIGN_FIELDS, values)
    if "recipients" in wrong:
        meant = frozenset()
    return Order(fields | wrong, meant, frozenset(wrong), listing)


ORDERS = orders(values=ANY, data=_DATA | _DATA_OF_PYTHON)
CONFS = orders(values=JSON, data=_DATA)


# --- Ordered ---------------------------------------------------------------------------------------------------------


def _executed(stage: Stage, operator: CampaignOperator, about: Any) -> Any:
    def ordered(fields: Mapping[str, Any], _actor: str) -> Any:
        return order(stage.connection, fields, settings_of(stage))

    with replaced(operators, _order=ordered):
        return task.execute(operator, about)


def _order(stage: Stage, example: Order) -> Any:
    operator = CampaignOperator(task_id="tell")
    return _executed(stage, task.filled(operator, CAMPAIGN_FIELDS, example.fields), task.context())


def _trigger(stage: Stage, example: Order) -> Any:
    operator = CampaignOperator(task_id="order", from_params=True)
    return _executed(stage, operator, task.triggered("MassMailing", example.fields))


def _ordered_whole(stage: Stage, example: Order, answer: Mapping[str, Any]) -> Iterator[str]:
    number = answer["campaign"]
    campaign = campaigns.read(stage.connection, number)
    if campaign.status is not CampaignStatus.GENERATING or answer["duplicate"]:
        yield "it does not wait for its messages"
    yield from _reads_as(campaign, example.fields, example.spoiled)
    if not example.spoiled & {"recipients", "csv", "csv_uri"}:
        yield from _rows_whole(stage, number, example)
    if "attachments" not in example.spoiled:
        yield from _carries(stage, number, example.fields.get("attachments") or [])
    yield from _as_wished(stage, campaign, example)


#: What stands in a campaign's own row, and of this what has no blanks around it.
_OWN_FIELDS = frozenset(CampaignDraft.model_fields) - {"attachments", "recipients", "csv"}
_LINES = frozenset({"description", "subject", "reply_to", "classification", "site"})


def _reads_as(campaign: Campaign, fields: Mapping[Any, Any], odd: Collection[Any] = ()) -> Iterator[str]:
    """What of a campaign reads differently than it was written."""
    for name in sorted(_OWN_FIELDS - set(odd)):
        given = fields.get(name)
        if name == "data" and not plain(given):
            continue
        stored = getattr(campaign, name)
        found, wanted = (_names(stored), _names(given)) if name == "groups" else (stored, _meant(name, given))
        if found != wanted:
            yield f"its {name} reads differently"


def _names(given: object) -> set[str]:
    return set(re.split(r"[;\s]+", given)) - {""} if isinstance(given, str) else set(given or ())


def _meant(name: str, given: object) -> object:
    if given is None or (isinstance(given, str) and not given.strip() and name not in {"message", "subject"}):
        return CampaignDraft.model_fields[name].get_default(call_default_factory=True)
    return given.strip() if isinstance(given, str) and name in _LINES else given


def _rows(stage: Stage, number: int) -> list[Any]:
    found: list[Any] = []
    while some := campaigns.rows_after(stage.connection, number, found[-1][0] if found else 0):
        found += some
    return [row for _, row in found]


def _rows_whole(stage: Stage, number: int, example: Order) -> Iterator[str]:
    rows = _rows(stage, number)
    typed = [row.recipient for row in rows if row.place.startswith("typed")]
    listed = tuple((row.place, row.recipient, row.fields) for row in rows if not row.place.startswith("typed"))
    if example.meant is None:
        yield "whom it is for is no recipient"
    elif example.meant and frozenset[str]().union(*map(ATOMS.__getitem__, typed)) != example.meant:
        yield "it is not for those whom it was for"
    if example.listing is not None and example.listing.rows is None:
        yield "its file holds what no database can"
    elif listed != (() if example.listing is None else example.listing.rows):
        yield "its file reads differently"


def _carries(stage: Stage, number: int, files: Sequence[Any]) -> Iterator[str]:
    found = [(one.kept.filename, one.kept.read()) for one in attachments.of_campaign(stage.connection, number)]
    if found != [(one["filename"].strip(), b64decode(one["content_base64"])) for one in files]:
        yield "its attachments are not those given"


def _as_wished(stage: Stage, campaign: Campaign, example: Order) -> Iterator[str]:
    """What is wanted of it beside what its author wrote."""
    [row] = stage.rows("select idempotency_key as key from notify.campaigns where id = :id", id=campaign.id)
    wished = {name: example.fields.get(name) for name in Wish.model_fields}
    if "send" not in example.spoiled and campaign.send_when_generated != bool(wished["send"]):
        yield "it is sent when nobody wants it, or not when somebody does"
    if "send_after" not in example.spoiled and (campaign.send_after is None) != (wished["send_after"] is None):
        yield "its time is another"
    key = str(wished["idempotency_key"] or "").strip()
    if "idempotency_key" not in example.spoiled and (row.key != key if key else not row.key.startswith("task:")):
        yield "its key is another"


# --- A file of recipients --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file of recipients, as bytes.

    :param listing: what stands in it; None: nobody knows, it is damaged
    """

    raw: bytes
    listing: Listing | None


@st.composite
def files(draw: st.DrawFn) -> File:
    """Files of recipients, some of them damaged."""
    listing = draw(listings())
    raw = listing.text.encode("utf-8", "surrogatepass")
    found = draw(damaged(raw))
    return File(found, listing if found == raw else None)


def _order_with_file(stage: Stage, example: File) -> Any:
    path = stage.folder / "recipients.csv"
    path.write_bytes(example.raw)
    fields = {"description": "Sale", "subject": "Sale", "message": "Come", "csv_uri": path.as_uri()}
    return order(stage.connection, fields, settings_of(stage)).campaign


def _file_whole(stage: Stage, example: File, number: int) -> Iterator[str]:
    if example.listing is not None:
        yield from _rows_whole(stage, number, Order({}, frozenset(), frozenset(), example.listing))


# --- Campaigns in a file ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exported:
    """A file of campaigns.

    :param records: what stands in it; None: nobody knows, it is damaged
    """

    format: Format
    raw: bytes
    records: Sequence[Mapping[str, Any]] | None


@st.composite
def record(draw: st.DrawFn) -> dict[str, Any]:
    """A campaign as a file has it."""
    found = _campaign(draw, _DATA) | {exchange.ROWS: draw(records())}
    for name in draw(st.lists(st.sampled_from(exchange.FIGURES), max_size=1)):
        found[name] = draw(JSON)
    return found | spoiled(draw, {*CampaignDraft.model_fields, exchange.ROWS}, JSON)


@st.composite
def exports(draw: st.DrawFn) -> Exported:
    """Files of campaigns, some of them damaged."""
    format_ = draw(st.sampled_from(Format))
    found = draw(st.lists(record(), min_size=1, max_size=2))
    if format_ is Format.CSV:
        found = [{name: one[name] for name in one if name not in exchange.APART} for one in found]
        text = as_csv(found)
        found = [{name: value for name, value in one.items() if _cell(value)} for one in found]
    elif format_ is Format.JSONL:
        text = "\n".join(map(json.dumps, found))
    else:
        text = json.dumps(found, ensure_ascii=draw(st.booleans()))
    raw = text.encode("utf-8", "surrogatepass")
    damage = draw(rarely(damaged(raw), st.just(raw)))
    return Exported(format_, damage, found if damage == raw else None)


def as_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """A table as spreadsheets have it."""
    names = list(dict.fromkeys(name for one in found for name in one))
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *([harmless(_cell(one.get(name))) for name in names] for one in found)])
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, list | dict):
        listed = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return "; ".join(value) if listed else json.dumps(value).replace(SECRET, "x")  # names may be told
    return "" if value is None else str(value)


def _take_in(stage: Stage, example: Exported) -> list[exchange.TakenIn]:
    path = stage.folder / f"campaigns.{example.format}"
    path.write_bytes(example.raw)
    read = exchange.read_file(arguments.text_in(path), example.format)
    return exchange.take_in(stage.connection, read, settings_of(stage))


def _taken_whole(stage: Stage, example: Exported, answer: Sequence[exchange.TakenIn]) -> Iterator[str]:
    if example.records is None:
        return
    if len(answer) != len(example.records):
        yield "not every campaign is there"
    for taken, given in zip(answer, example.records, strict=False):
        campaign = campaigns.read(stage.connection, taken.number)
        spreadsheet = {"data"} if example.format is Format.CSV else set()  # where a text may look like a number
        yield from _reads_as(
            campaign, given, {*spreadsheet, *(name for name in given if not _usual(name, given[name]))}
        )
        listed = [(row.recipient, row.fields) for row in _rows(stage, taken.number)]
        rows = given.get(exchange.ROWS) or []
        typed = given.get("recipients") or given.get("csv")
        if not typed and plain(rows) and listed != [(row["recipient"], row.get("fields") or {}) for row in rows]:
            yield "its recipients read differently"


def _usual(name: str, value: object) -> bool:
    """Whether a field holds what it should: others may be read as something else, a 1 as a yes."""
    return value is None or isinstance(value, str | bool) or (name == "data" and isinstance(value, dict))


# --- Made ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mailshot:
    """A campaign whose messages are made.

    :param record: as a file has it
    :param answer: what the database says that its query asks
    :param stretch: so many recipients at once
    """

    record: Mapping[str, Any]
    answer: Answer
    stretch: int


@st.composite
def mailshots(draw: st.DrawFn) -> Mailshot:
    """Campaigns with odd texts, and recipients with odd fields."""
    found = _campaign(draw, _DATA) | {exchange.ROWS: draw(records())}
    if draw(st.booleans()):
        found["csv"] = draw(listings()).text
    if draw(st.booleans()):
        good = sorted(PHONES if found.get("channel") == "sms" else ATOMS)
        found["recipients"] = draw(st.lists(st.sampled_from(good), min_size=1, max_size=3))
    if not draw(st.integers(0, 3)):
        found |= {"query": "select 1", "query_connection": SHOP}
    return Mailshot(found, draw(answers()), draw(st.integers(1, 4)))


class Enclosed:
    """An engine whose transactions are points of another one's, so that what they commit can be taken back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction."""
        with self._connection.begin_nested():
            yield self._connection

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection that reads."""
        yield self._connection


def answering(answer: Answer) -> AbstractContextManager[None]:
    """Let every query have this answer."""

    @contextmanager
    def rows(_conn_id: str, _sql: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
        yield list(answer.columns), iter(answer.rows)

    return replaced(databases, rows=rows)


def _generate(stage: Stage, example: Mailshot) -> GeneratingResult:
    settings, connection = settings_of(stage), stage.connection
    [taken] = exchange.take_in(connection, [example.record], settings)
    steering.generate(connection, taken.number)
    engine: Any = Enclosed(connection)
    with answering(example.answer):
        [result] = Generating(engine, settings, stretch=example.stretch).run(only=taken.number)
    return result


def _generated(stage: Stage, example: Mailshot, answer: GeneratingResult) -> Iterator[str]:
    yield from made_whole(stage, answer.campaign)
    asked = answer.fault is None and "query" in example.record
    rows = _rows(stage, answer.campaign)
    members = stage.rows(
        """select m.login from notify.campaigns c cross join unnest(c.groups) named
           join notify.memberships m on m.group_name = named where c.id = :id""",
        id=answer.campaign,
    )
    if answer.fault is None and answer.rows != len(rows) + len(members) + (len(example.answer.rows) if asked else 0):
        yield "not every recipient was read"


_MET = "select fate, place, message_id from notify.campaign_recipients where campaign_id = :id"
_MADE = "select id, channel, status, parked, parts from notify.messages where campaign_id = :id order by id"

#: Of these, an author is told why.
_TOLD = frozenset({Fate.INCOMPLETE.value})

#: What bulk mail has beside.
BULK = HEADERS | {"list-unsubscribe", "list-unsubscribe-post"}


def made_whole(stage: Stage, number: int) -> Iterator[str]:
    """What is wrong with what was made of a campaign."""
    campaign = campaigns.read(stage.connection, number)
    met, made = stage.rows(_MET, id=number), stage.rows(_MADE, id=number)
    fault = campaign.fault
    if fault is not None and (SECRET in fault or not fault.strip() or legible(fault, len(fault)) != fault):
        yield "its fault tells a secret, nothing, or what a terminal would obey"
    if campaign.status is CampaignStatus.DRAFT:
        if fault is None:
            yield "it is a draft again, and nobody knows why"
        return
    if campaign.status not in {CampaignStatus.GENERATED, CampaignStatus.SENDING}:
        yield f"it is {campaign.status}"
    if fault is None and any(row.fate in _TOLD for row in met):
        yield "somebody is left out, and nobody knows why"
    if len(met) + campaign.doubled < campaign.rows_read:
        yield "somebody is lost"
    if Counter(row.message_id for row in met if row.fate == "created") != Counter(row.id for row in made):
        yield "not everybody has a message, or some have two"
    if any((row.status, row.parked) != ("held", True) for row in made):
        yield "a message is not held"
    yield from _messages_whole(stage, campaign, met, made)


def _messages_whole(stage: Stage, campaign: Campaign, met: Sequence[Any], made: Sequence[Any]) -> Iterator[str]:
    ids = [row.id for row in made]
    addresses = [row.address.lower() for row in stage.rows(REACHED, ids=ids)]
    if len(addresses) != len(ids) or len(set(addresses)) != len(ids):
        yield "somebody gets it twice, or a message is for several"
    if campaign.channel is ChannelName.EMAIL:
        yield from mails_whole(stage, ids, headers=BULK)
    places = {row.message_id: row.place for row in met}
    parts = {row.id: row.parts for row in made}
    for row in stage.rows(STORED, ids=ids):
        if campaign.channel is ChannelName.SMS:
            texts = [bytes(row.body).decode()]
            if sms.count(texts[0]).parts != parts[row.id] or sms.parse_text(texts[0]).text != texts[0]:
                yield "its SMS is not what a gateway gets"
        else:
            texts = list(filter(None, bodies(row)))
        if SECRET in (campaign.message or "") and not all(SECRET in text for text in texts):
            yield "its text is not the one given"
        yield from _own(places[row.id], texts)


def _own(place: str, texts: Sequence[str]) -> Iterator[str]:
    """Whether somebody got what belongs to somebody else."""
    number = place.rpartition(" ")[2]
    if any(found != number for text in texts for found in _OWN_FOUND.findall(text)):
        yield "somebody got another one's text"


_FIELDS = frozenset(CAMPAIGN_FIELDS)
_OF_FILES = _FIELDS | {"file", "campaign", exchange.ROWS}

DOORS = (
    Door("CampaignOperator", ORDERS, _order, _ordered_whole, _FIELDS),
    Door("MassMailing", CONFS, _trigger, _ordered_whole, _FIELDS, refuse=(AirflowSkipException,)),
    Door("recipients.csv", files(), _order_with_file, _file_whole, _FIELDS),
    Door("campaigns", exports(), _take_in, _taken_whole, _OF_FILES, refuse=(ConfigurationError,), checks_first=False),
    Door("generating", mailshots(), _generate, _generated, _OF_FILES),
)
