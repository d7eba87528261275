"""The shipped mails about events, and the digest, in every language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html

from notify.domain.digest import Entry, arrange
from notify.domain.kind import BUILT_IN, DIGEST
from notify.exceptions import TemplateFieldMissing
from notify.rendering.library import Rendered, TemplateLibrary

SHIPPED = TemplateLibrary(Path(__file__).parents[2] / "include" / "templates")
LANGUAGES = ("en", "pl", "sk")
KINDS = tuple(BUILT_IN)

TITLE = "Invoice from Nordwind"
URL = "https://cases.example.com/INV-2041"
CASE = {
    "id": "INV-2041",
    "title": TITLE,
    "url": URL,
    "process": "Purchase invoices",
    "stage": "Approval",
    "owner": {"login": "jan", "name": "Jan Kowalski"},
}
BARE_CASE = {"id": "INV-2041", "title": "", "url": None, "process": None, "stage": None, "owner": None}
AT = datetime(2026, 3, 20, 23, 5, tzinfo=UTC)  # the next day, 00:05, in Warsaw
DUE = datetime(2026, 3, 21, 13, tzinfo=UTC)

CHANGES = [
    {"what": "comment_added", "text": "Please check page 2.\n\nIt differs from the order.", "name": None},
    {"what": "document_added", "text": None, "name": "order.pdf"},
    {"what": "document_version", "text": None, "name": "contract.pdf"},
    {"what": "document_removed", "text": None, "name": "draft.pdf"},
    {"what": "collaborator_added", "text": None, "name": "Peter Novák"},
    {"what": "closed", "text": None, "name": None},
]
FULL: dict[str, dict[str, Any]] = {
    "case_received": {"comment": "Please approve\nby Friday."},
    "case_changed": {"changes": CHANGES},
    "deadline_approaching": {"due_at": DUE},
    "deadline_exceeded": {"due_at": DUE.isoformat()},
    "deadline_escalated": {"due_at": DUE, "escalation": 2},
    "reminder": {"due_at": DUE, "note": "Call Nordwind"},
}
LEAST: dict[str, dict[str, Any]] = {
    **FULL,
    "case_received": {},
    "case_changed": {"changes": [{"what": "closed"}]},
    "reminder": {"due_at": DUE, "note": ""},
}


def event(own: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "kind": "…",
        "case": CASE,
        "actor": {"login": "anna", "name": "Anna Nowak"},
        "occurred_at": AT,
        "recipient": {"login": "reader", "name": "Reader Name", "address": "reader@example.com"},
        "site_name": "Halden Trading",
        **own,
        **changes,
    }


def full(kind: str, **changes: Any) -> dict[str, Any]:
    return event(FULL[kind], **changes)


def least(kind: str, case: Mapping[str, Any] | None) -> dict[str, Any]:
    return event(LEAST[kind], case=case, actor=None, site_name=None)


def render(kind: str, language: str, data: Mapping[str, Any]) -> Rendered:
    return SHIPPED.render(kind, language=language, timezone="Europe/Warsaw", data=data, fallback=False)


def summary(kind: str, language: str, data: Mapping[str, Any]) -> str:
    return SHIPPED.summary(kind, language=language, timezone="Europe/Warsaw", data=data)


def page(rendered: Rendered) -> lxml_html.HtmlElement:
    assert rendered.html is not None
    return lxml_html.document_fromstring(rendered.html)


def words(rendered: Rendered) -> str:
    """All that a reader of the page sees, with one blank between words."""
    return " ".join(page(rendered).find("body").text_content().split())


def links(rendered: Rendered) -> list[str]:
    return [link.get("href") for link in page(rendered).iter("a")]


EACH = pytest.mark.parametrize(("kind", "language"), [(kind, language) for kind in KINDS for language in LANGUAGES])
IN_EACH_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)


# --- Mails about one event ------------------------------------------------------------------------------------------


@EACH
def test_full(kind: str, language: str) -> None:
    """With all that can be told, both parts tell the case, its process, stage and owner, and lead to it."""
    rendered = render(kind, language, full(kind))
    told = [TITLE, "INV-2041", "Purchase invoices", "Approval", "Jan Kowalski", "Halden Trading"]
    assert all(word in words(rendered) and word in rendered.text for word in told)
    assert links(rendered) == [URL]
    assert URL in rendered.text
    tree = page(rendered)
    assert tree.get("lang") == language
    assert len(list(tree.iter("h1"))) == 1
    assert {table.get("role") for table in tree.iter("table")} == {"presentation"}


@EACH
@pytest.mark.parametrize("case", [None, BARE_CASE], ids=["no case", "bare case"])
def test_least(kind: str, language: str, case: Mapping[str, Any] | None) -> None:
    """With no case, or a bare one, and nobody who did it, there is still a mail, a subject and a summary; no link."""
    data = least(kind, case)
    rendered = render(kind, language, data)
    assert len(list(page(rendered).iter("h1"))) == 1
    assert not links(rendered)
    for text in (rendered.subject, rendered.text, words(rendered), summary(kind, language, data)):
        assert "None" not in text
        assert not re.search(r": *$|^[:,.]| ,|“”|„”", text, re.MULTILINE)
    assert ("INV-2041" in rendered.text) == (case is not None)


@EACH
def test_subject(kind: str, language: str) -> None:
    """The subject names the case by its title and leaves its id to the caller."""
    subject = render(kind, language, full(kind)).subject
    assert TITLE in subject
    assert "INV-2041" not in subject


@EACH
def test_nobody_is_greeted(kind: str, language: str) -> None:
    """No built-in kind asks for the recipient, so readers of a language and zone share a rendering."""
    rendered = render(kind, language, full(kind))
    assert not rendered.personal
    assert "Reader" not in words(rendered) + rendered.text


@EACH
def test_text_is_tidy(kind: str, language: str) -> None:
    """The text part has no gaps of more than one line before its footer, and no markup."""
    body, _, footer = render(kind, language, full(kind)).text.partition("\n\n\n--\n")
    assert footer
    assert "\n\n\n" not in body
    assert not re.search(r"[<{}]|&\w+;", body)


@EACH
def test_without_the_house(kind: str, language: str) -> None:
    """Without the house template the mail still tells what happened and leads to the case."""
    rendered = SHIPPED.render(kind, language=language, timezone="UTC", data=full(kind), house=False)
    assert TITLE in words(rendered)
    assert links(rendered) == [URL]


@pytest.mark.parametrize("kind", ["case_received", "case_changed"])
@pytest.mark.parametrize(("language", "when"), [("en", "Mar 21, 2026, 12:05 AM"), ("pl", "21 mar 2026, 00:05")])
def test_who_and_when(kind: str, language: str, when: str) -> None:
    """Both parts say who did it and when, in the reader's zone; a person without a name is called by login."""
    rendered = render(kind, language, full(kind))
    nameless = render(kind, language, full(kind, actor={"login": "anna", "name": ""}))
    for text in (words(rendered), " ".join(rendered.text.split())):
        assert "Anna Nowak" in text
        assert when in text.replace("\u202f", " ")
    assert "anna" in words(nameless)
    assert "anna" in nameless.text


@pytest.mark.parametrize("kind", ["deadline_approaching", "deadline_exceeded", "deadline_escalated", "reminder"])
@pytest.mark.parametrize(
    ("language", "when"),
    [
        ("en", "Saturday, March 21, 2026, 2:00 PM"),
        ("pl", "sobota, 21 marca 2026, 14:00"),
        ("sk", "sobota 21. marca 2026, 14:00"),
    ],
)
def test_deadline(kind: str, language: str, when: str) -> None:
    """Mails about deadlines name the day of the week, too."""
    rendered = render(kind, language, full(kind))
    for text in (words(rendered), " ".join(rendered.text.split())):
        assert when in text.replace("\u202f", " ")


@IN_EACH_LANGUAGE
def test_escalation_is_numbered(language: str) -> None:
    """An escalation's number stands in its subject, its parts and its summary."""
    data = full("deadline_escalated", escalation=7)
    rendered = render("deadline_escalated", language, data)
    for text in (rendered.subject, rendered.text, words(rendered), summary("deadline_escalated", language, data)):
        assert "7" in text


@IN_EACH_LANGUAGE
def test_comments_keep_their_shape(language: str) -> None:
    """A comment's paragraphs are paragraphs of the page, and quoted lines of the text."""
    changed = render("case_changed", language, full("case_changed"))
    assert [p.text_content() for p in page(changed).iterfind(".//div[@class='quote']/p")] == [
        "Please check page 2.",
        "It differs from the order.",
    ]
    assert "\n\n> Please check page 2.\n>\n> It differs from the order.\n\n" in changed.text
    assert "\n\n> Please approve\n> by Friday.\n\n" in render("case_received", language, full("case_received")).text
    assert "\n\n> Call Nordwind\n\n" in render("reminder", language, full("reminder")).text


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            [
                "New comment",
                "New document",
                "New version of a document",
                "Document removed",
                "New collaborator",
                "closed",
            ],
        ),
        (
            "pl",
            ["Nowy komentarz", "Nowy dokument", "Nowa wersja", "Usunięty dokument", "Nowa osoba", "Sprawa zamknięta"],
        ),
        (
            "sk",
            ["Nový komentár", "Nový dokument", "Nová verzia", "Odstránený dokument", "Nová osoba", "Prípad uzavretý"],
        ),
    ],
)
def test_changes(language: str, said: Sequence[str]) -> None:
    """Each change is said in the reader's language, with the name that belongs to it."""
    rendered = render("case_changed", language, full("case_changed"))
    for text in (words(rendered), rendered.text):
        assert all(word in text for word in said)
        assert all(change["name"] in text for change in CHANGES if change["name"])


def test_unknown_change() -> None:
    """A change that there is no word for is refused with the words that there are."""
    with pytest.raises(TemplateFieldMissing, match="no field 'renamed'; the fields there are: comment_added"):
        render("case_changed", "en", full("case_changed", changes=[{"what": "renamed"}]))


@pytest.mark.parametrize(
    ("language", "count", "subject"),
    [
        ("en", 1, "Case closed: "),
        ("en", 2, "2 changes: "),
        ("pl", 1, "Sprawa zamknięta: "),
        ("pl", 3, "3 zmiany: "),
        ("pl", 5, "5 zmian: "),
        ("pl", 12, "12 zmian: "),
        ("pl", 22, "22 zmiany: "),
        ("sk", 1, "Prípad uzavretý: "),
        ("sk", 4, "4 zmeny: "),
        ("sk", 5, "5 zmien: "),
        ("sk", 22, "22 zmien: "),
    ],
)
def test_number_of_changes(language: str, count: int, subject: str) -> None:
    """One change is named; several are counted in the right form."""
    made = render("case_changed", language, full("case_changed", changes=[{"what": "closed"}] * count)).subject
    assert made == subject + TITLE


TYPED = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
    | st.sampled_from(["<script>", "<b>", "</p>", '"', "'", "&lt;", "{{ 7 * 7 }}", "\n", "\n\n", "www.", "> "]),
    max_size=8,
).map(lambda parts: "x" + "".join(parts))


def typed_everywhere(typed: str) -> dict[str, Any]:
    person = {"login": typed, "name": typed}
    return {
        "case": {"id": typed, "title": typed, "url": URL, "process": typed, "stage": typed, "owner": person},
        "actor": person,
        "site_name": typed,
    }


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from(LANGUAGES), TYPED)
def test_escaped_everywhere(kind: str, language: str, typed: str) -> None:
    """Names, titles and notes, whatever they hold, never add an element to the page but their own paragraphs."""
    changes = [{"what": "comment_added", "text": typed}, {"what": "document_added", "name": typed}]
    own = {"changes": changes} if kind == "case_changed" else {"comment": typed, "note": typed}
    elements = [
        [element.tag for element in page(render(kind, language, full(kind, **typed_everywhere(text), **own))).iter()]
        for text in ("x", typed)
    ]
    assert _outside_quotes(elements[1]) == _outside_quotes(elements[0])


def _outside_quotes(tags: Sequence[object]) -> list[object]:
    return [tag for tag in tags if tag not in {"p", "br", "a"}]


@EACH
def test_script_in_a_title(kind: str, language: str) -> None:
    """A script typed as a title is shown as typed, and never runs."""
    evil = "<script>alert(1)</script>"
    rendered = render(kind, language, full(kind, case={**CASE, "title": evil, "stage": evil, "process": evil}))
    assert evil in words(rendered)
    assert not list(page(rendered).iter("script"))
    assert evil in rendered.subject


# --- Summaries -------------------------------------------------------------------------------------------------------


@EACH
def test_summary(kind: str, language: str) -> None:
    """A summary is one short line that leaves the case's id and title to its section."""
    line = summary(kind, language, full(kind))
    assert 0 < len(line) <= 200
    assert "\n" not in line
    assert "INV-2041" not in line
    assert TITLE not in line


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS), st.sampled_from(LANGUAGES), st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
)
def test_summary_is_one_line(kind: str, language: str, typed: str) -> None:
    """Whatever is typed, the summary is one line."""
    own = {"changes": [{"what": "comment_added", "text": typed}], "comment": typed, "note": typed}
    line = summary(kind, language, full(kind, **own))
    assert line
    assert len(line.splitlines()) == 1
    assert len(line) <= 300


@pytest.mark.parametrize(
    ("language", "said", "alone", "unknown"),
    [
        (
            "en",
            "Anna Nowak added a comment: “Please check”; added a document: order.pdf",
            "Anna Nowak closed the case",
            "New comment: “Please check”; new document: order.pdf",
        ),
        (
            "pl",
            "Anna Nowak – nowy komentarz: „Please check”; nowy dokument: order.pdf",
            "Anna Nowak – sprawa zamknięta",
            "Nowy komentarz: „Please check”; nowy dokument: order.pdf",
        ),
        (
            "sk",
            "Anna Nowak – nový komentár: „Please check“; nový dokument: order.pdf",
            "Anna Nowak – prípad uzavretý",
            "Nový komentár: „Please check“; nový dokument: order.pdf",
        ),
    ],
)
def test_summary_of_changes(language: str, said: str, alone: str, unknown: str) -> None:
    """Who changed what, in a sentence; where nobody is known, what changed."""
    changes = [{"what": "comment_added", "text": "Please\ncheck"}, {"what": "document_added", "name": "order.pdf"}]
    assert summary("case_changed", language, full("case_changed", changes=changes)) == said
    assert summary("case_changed", language, full("case_changed", changes=[{"what": "closed"}])) == alone
    assert summary("case_changed", language, full("case_changed", changes=changes, actor=None)) == unknown


@IN_EACH_LANGUAGE
def test_long_summary(language: str) -> None:
    """A long comment is cut inside its quotes, and many changes are cut at about 160 characters."""
    long_comment = [{"what": "comment_added", "text": "many words " * 100}]
    assert re.search(r"…[“”]$", summary("case_changed", language, full("case_changed", changes=long_comment)))
    many = summary("case_changed", language, full("case_changed", changes=long_comment * 50))
    assert len(many) <= 180
    assert many.endswith("…")


# --- The digest ------------------------------------------------------------------------------------------------------

START = datetime(2026, 3, 20, 8, tzinfo=UTC)


def entry(minute: int, case: str | None, **changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "kind": "case_changed",
        "occurred_at": START + timedelta(minutes=minute),
        "summary": f"Summary {minute:03}.",
        "subject": f"Subject {minute:03}.",
        "case_id": case,
        "case_title": f"Title of {case}" if case else "",
        "case_url": f"https://cases.example.com/{case}" if case else None,
        "process": "Invoices" if case else None,
    }
    return Entry(**{**fields, **changes})


def digest(language: str, entries: Sequence[Entry]) -> Rendered:
    return render(DIGEST, language, {**event({}), "digest": arrange(entries)})


def summaries(text: str) -> list[str]:
    return re.findall(r"Summary \d+\.", text)


@IN_EACH_LANGUAGE
def test_digest(language: str) -> None:
    """Both parts show each case with its id, process and address, and each entry once, in the same order."""
    rendered = digest(language, [entry(1, "A"), entry(2, "B"), entry(3, "A"), entry(4, None)])
    expected = ["Summary 001.", "Summary 003.", "Summary 002.", "Summary 004."]
    assert summaries(words(rendered)) == summaries(rendered.text) == expected
    assert links(rendered) == ["https://cases.example.com/A", "https://cases.example.com/B"]
    assert "https://cases.example.com/A\n" in rendered.text
    for text in (words(rendered), rendered.text):
        assert "Title of A" in text
        assert re.search(r"A(,| ·) Invoices", text)
    assert [h2.text_content() for h2 in page(rendered).iter("h2")][:2] == ["Title of A", "Title of B"]
    assert len(list(page(rendered).iter("h2"))) == 3
    assert not rendered.personal
    assert not list(page(rendered).iter("img", "link", "script"))


@pytest.mark.parametrize(
    ("language", "count", "cases", "subject"),
    [
        ("en", 1, 0, "1 notification"),
        ("en", 2, 1, "2 notifications about 1 case"),
        ("en", 12, 3, "12 notifications about 3 cases"),
        ("en", 1200, 2, "1,200 notifications about 2 cases"),
        ("pl", 1, 1, "1 powiadomienie o 1 sprawie"),
        ("pl", 3, 2, "3 powiadomienia o 2 sprawach"),
        ("pl", 5, 5, "5 powiadomień o 5 sprawach"),
        ("pl", 22, 21, "22 powiadomienia o 21 sprawach"),
        ("pl", 112, 1, "112 powiadomień o 1 sprawie"),
        ("sk", 1, 1, "1 upozornenie o 1 prípade"),
        ("sk", 4, 2, "4 upozornenia o 2 prípadoch"),
        ("sk", 5, 5, "5 upozornení o 5 prípadoch"),
        ("sk", 22, 1, "22 upozornení o 1 prípade"),
    ],
)
def test_subject_of_a_digest(language: str, count: int, cases: int, subject: str) -> None:
    """The subject counts notifications and cases in the right forms, and the mail begins with it."""
    rendered = digest(language, [entry(n, f"C-{n % cases}" if cases else None) for n in range(count)])
    assert rendered.subject == subject
    assert page(rendered).findtext(".//h1") == subject
    assert rendered.text.startswith(f"{subject}\n")


@pytest.mark.parametrize(
    ("language", "earlier", "beyond", "total"),
    [
        ("en", "and 1 earlier notification", "and 1 more case with 1 notification", "This mail shows 40 of 42"),
        ("pl", "i jeszcze 1 wcześniejsze powiadomienie", "i jeszcze 1 sprawa (1 powiadomienie)", "pokazano 40 z 42"),
        ("sk", "a ešte 1 skoršie upozornenie", "a ešte 1 prípad (1 upozornenie)", "ukazuje 40 z 42 upozornení"),
    ],
)
def test_what_is_left_out_is_counted(language: str, earlier: str, beyond: str, total: str) -> None:
    """Older entries of a case, further cases and the whole are counted where they are left out."""
    busy = [entry(100 + n, "busy") for n in range(11)]
    rendered = digest(language, [*busy, *(entry(n, f"C-{n}") for n in range(30)), entry(200, None)])
    for text in (words(rendered), rendered.text):
        assert earlier in text
        assert beyond in text
        assert total in text


@pytest.mark.parametrize(
    ("language", "of_case", "of_cases"),
    [
        ("en", "and 15 earlier notifications", "and 5 more cases with 5 notifications"),
        ("pl", "i jeszcze 15 wcześniejszych powiadomień", "i jeszcze 5 spraw (5 powiadomień)"),
        ("sk", "a ešte 15 skorších upozornení", "a ešte 5 prípadov (5 upozornení)"),
    ],
)
def test_many_are_left_out(language: str, of_case: str, of_cases: str) -> None:
    """What is left out is counted in the right forms."""
    rendered = digest(language, [entry(100 + n, "busy") for n in range(25)] + [entry(n, f"C-{n}") for n in range(34)])
    assert of_case in words(rendered)
    assert of_cases in words(rendered)


@IN_EACH_LANGUAGE
def test_whole_digest(language: str) -> None:
    """Where everything is shown, nothing is said of more."""
    rendered = digest(language, [entry(n, f"C-{n % 3}") for n in range(12)])
    assert not page(rendered).xpath("//p[@class='more' or @class='beyond' or @class='total']")


@pytest.mark.parametrize(("cases", "there"), [(8, False), (9, True)])
def test_contents(cases: int, there: bool) -> None:
    """A digest of more than eight cases begins with a table of their titles and counts."""
    rendered = digest("en", [entry(n, f"C-{n % cases}") for n in range(2 * cases)])
    rows = page(rendered).xpath("//table[@class='contents']//tr")
    assert len(rows) == (cases if there else 0)
    assert ("- Title of C-0 (2)\n" in rendered.text) == there


@pytest.mark.parametrize(
    ("minutes", "period", "when"),
    [
        ((0, 0), "Mar 20, 2026, 9:00 AM", "9:00 AM"),
        ((0, 90), "Mar 20, 2026, 9:00 AM – 10:30 AM", "9:00 AM"),
        ((0, 900), "Mar 20, 2026, 9:00 AM – Mar 21, 2026, 12:00 AM", "Mar 20, 9:00 AM"),
    ],
    ids=["moment", "day", "days"],
)
def test_period(minutes: tuple[int, int], period: str, when: str) -> None:
    """The period is told in the reader's zone; entries tell their day only where there are several."""
    rendered = digest("en", [entry(minute, "A") for minute in minutes])
    shown = page(rendered).findtext(".//p[@class='period']").replace("\u202f", " ")
    assert shown == period
    assert page(rendered).find(".//span[@class='when']").text.replace("\u202f", " ") == when
    lines = rendered.text.replace("\u202f", " ").splitlines()
    assert lines[1] == period
    assert f"* {when}: Summary 000." in lines


def test_untitled_case() -> None:
    """A case without a title is called by its id, once; without an address its name is no link."""
    rendered = digest("en", [entry(1, "INV-7", case_title="", case_url=None, process=None)])
    assert words(rendered).count("INV-7") == 2  # the preheader and the heading
    assert not links(rendered)


def test_without_summary() -> None:
    """Where an entry has no summary its subject stands in."""
    rendered = digest("en", [entry(1, "A", summary="")])
    assert "Subject 001." in words(rendered)
    assert "Subject 001." in rendered.text


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LANGUAGES), TYPED)
def test_digest_is_escaped(language: str, typed: str) -> None:
    """Titles, processes and summaries, whatever they hold, never add an element to the digest."""
    pages = [
        digest(language, [entry(1, text, case_title=text, process=text, summary=text, case_url=URL), entry(2, None)])
        for text in ("x", typed)
    ]
    plain, odd = ([element.tag for element in page(one).iter()] for one in pages)
    assert odd == plain


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from(LANGUAGES))
def test_any_digest(count: int, cases: int, language: str) -> None:
    """A digest of 1 to 500 notifications shows at most a hundred, the same in both parts."""
    entries = [entry(n, f"C-{n % cases}" if n % 7 else None) for n in range(count)]
    rendered = digest(language, entries)
    shown = summaries(words(rendered))
    assert shown == summaries(rendered.text)
    assert len(shown) == len(set(shown)) == arrange(entries).shown
    assert len(shown) <= 100


@IN_EACH_LANGUAGE
def test_biggest_digest(language: str) -> None:
    """The biggest digest stays below 102 kB, where Gmail cuts a mail off."""
    entries = [entry(n, f"C-{n % 30}", summary="s" * 160, case_title="t" * 80) for n in range(500)]
    assert len((digest(language, entries).html or "").encode()) < 102_000
