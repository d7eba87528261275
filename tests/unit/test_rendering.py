from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2.utils import urlize
from lxml import html as lxml_html

from notify.domain.address import CONTROL
from notify.domain.kind import BUILT_IN
from notify.exceptions import (
    TemplateBroken,
    TemplateError,
    TemplateFieldMissing,
    TemplateNotFound,
)
from notify.rendering import html as markup
from notify.rendering.library import Rendered, TemplateLibrary

SHIPPED = TemplateLibrary(Path(__file__).parents[2] / "include" / "templates")
LANGUAGES = ("en", "pl", "sk")
MESSAGE: dict[str, Any] = {
    "subject": "Invoice INV-2041",
    "message": "Please look.",
    "html": False,
    "case": {"id": "INV-2041", "url": "https://cases.example.com/INV-2041"},
}
WELCOME = {"catcher": "caught-mail", "ui_url": "http://localhost:8080"}
CAME_BACK: dict[str, Any] = {
    "number": 42,
    "subject": "[INV-2041] Approved <at last>",
    "written_at": "2026-11-10T08:00:00+00:00",
    "name": "Anna Nowak",
    "address": "anna@customer.example",
    "words": "550 5.1.1 <anna@customer.example>: no such mailbox",
    "suppressed": True,
    "suppressed_until": "2027-02-08T08:00:00+00:00",
}
DATA = {"send_message": MESSAGE, "welcome": WELCOME, "undelivered": {"mails": [CAME_BACK], "more": 0}}

#: What people and attackers type: any characters, and bits that mean something in HTML or in Jinja.
TYPED = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
    | st.sampled_from(
        [
            "<b>",
            "</p>",
            "<script>",
            '"',
            "'",
            "&",
            "&lt;",
            "{{ 7 * 7 }}",
            "{% raw %}",
            "https://",
            "www.",
            "\n",
            "\n\n",
        ]
    ),
    max_size=12,
).map("".join)


def shipped(kind: str = "send_message", language: str | None = "en", **changes: Any) -> Rendered:
    house = changes.pop("house", True)
    return SHIPPED.render(
        kind, language=language, timezone="Europe/Warsaw", data={**DATA[kind], **changes}, house=house
    )


def page(rendered: Rendered) -> lxml_html.HtmlElement:
    assert rendered.html is not None
    return lxml_html.document_fromstring(rendered.html)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A library of our own, with the barest house."""
    (tmp_path / "house" / "en").mkdir(parents=True)
    for body in ("html", "txt"):
        (tmp_path / "house" / f"bare.{body}.j2").write_text("{% block content %}{% endblock %}")
        (tmp_path / "house" / "en" / f"body.{body}.j2").write_text("house {% block content %}{% endblock %}")
    return tmp_path


def write(root: Path, kind: str, language: str = "en", **files: str) -> None:
    folder = root / kind / language
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in {"subject": "Subject", **files}.items():
        suffix = {"html": "body.html", "text": "body.txt"}.get(name, f"{name}.txt")
        (folder / f"{suffix}.j2").write_text(source)


def render(root: Path, text: str, timezone: str = "Europe/Warsaw", language: str = "en", **data: Any) -> str:
    write(root, "note", text=text)
    return TemplateLibrary(root).render("note", language=language, timezone=timezone, data=data).text.strip()


# --- Choosing a template ------------------------------------------------------------------------------------


def test_shipped_kinds():
    """Each built-in kind of event, the digest and our own messages are shipped in three languages."""
    assert SHIPPED.kinds() == tuple(sorted({*BUILT_IN, "digest", "send_message", "undelivered", "welcome"}))
    assert {kind: SHIPPED.languages(kind) for kind in SHIPPED.kinds()} == dict.fromkeys(SHIPPED.kinds(), LANGUAGES)


@pytest.mark.parametrize("tag", ["pl", "pl-PL", "pl_PL", "PL-pl"])
def test_regional_language(tag):
    """A regional language tag finds the language's template."""
    assert shipped(language=tag).language == "pl"


@pytest.mark.parametrize("language", [None, "de", "", "../pl", "no such"])
def test_fallback_to_english(language):
    """A language that a kind lacks, or none, falls back to English."""
    assert shipped(language=language).language == "en"


def test_no_fallback():
    """Without fallback a missing language is an error that names kind, language and what there is."""
    with pytest.raises(TemplateNotFound, match=r"'welcome' is not written in 'de'.*en, pl, sk"):
        SHIPPED.render("welcome", language="de", timezone="UTC", data=WELCOME, fallback=False)


@pytest.mark.parametrize("kind", ["house", "nope", "../templates/welcome", "welcome/en", "Welcome", "", "_x", "a\n"])
def test_unknown_kind(kind):
    """A kind that is none, a path among them, is an error that names the kinds there are."""
    with pytest.raises(TemplateNotFound, match=r"There are: case_changed, .*, send_message, undelivered, welcome"):
        SHIPPED.render(kind, language="en", timezone="UTC", data={})
    with pytest.raises(TemplateNotFound):
        SHIPPED.languages(kind)


def test_no_folder(tmp_path):
    """A folder that does not exist has no kinds, and says so."""
    with pytest.raises(TemplateNotFound, match="There are: none"):
        TemplateLibrary(tmp_path / "nowhere").render("x", language=None, timezone="UTC", data={})


def test_body_is_needed(root):
    """A folder with a subject alone is no template."""
    write(root, "note")
    assert TemplateLibrary(root).kinds() == ()


def test_subject_is_needed(root):
    """A template without a subject is broken, and the error names the file to add."""
    write(root, "note", text="x")
    (root / "note" / "en" / "subject.txt.j2").unlink()
    with pytest.raises(TemplateBroken, match=r"note/en/subject\.txt\.j2 is missing"):
        TemplateLibrary(root).render("note", language="en", timezone="UTC", data={})


def test_house_in_english_for_a_new_language(root):
    """A kind in a language that the house does not speak is wrapped in the English house."""
    write(root, "note", "de", text="{% extends layout %}{% block content %}Hallo{% endblock %}")
    rendered = TemplateLibrary(root).render("note", language="de", timezone="UTC", data={})
    assert (rendered.text, rendered.language) == ("house Hallo\n", "de")


def test_edit_takes_effect(root):
    """What an admin edits shows in the next message, without a restart."""
    write(root, "note", text="before")
    library = TemplateLibrary(root)
    texts = [library.render("note", language="en", timezone="UTC", data={}).text]
    write(root, "note", text="after")
    os.utime(root / "note" / "en" / "body.txt.j2", (time.time() + 5,) * 2)
    texts.append(library.render("note", language="en", timezone="UTC", data={}).text)
    assert texts == ["before\n", "after\n"]


# --- One rendering for many readers --------------------------------------------------------------------------------

READER = {"login": "anna", "name": "Anna", "address": "anna@example.com"}


def personal(root: Path, **files: str) -> bool:
    write(root, "note", **{"text": "x", **files})
    data = {"recipient": READER, "shown": False}
    return TemplateLibrary(root).render("note", language="en", timezone="UTC", data=data).personal


@pytest.mark.parametrize(
    "files",
    [
        {"subject": "For {{ recipient.name }}"},
        {"text": "{{ recipient.name }}"},
        {"html": "{{ recipient['name'] }}"},
        {"text": "{% if recipient %}x{% endif %}"},
        {"text": "{% if recipient is defined %}x{% endif %}"},
        {"text": "{% set you = recipient %}x"},
        {"text": "{% for n in [1] %}{{ recipient.name }}{% endfor %}"},
        {"text": "{% include 'house/greeting.txt.j2' %}"},
        {"text": "{% for n in [1] %}{% include 'house/greeting.txt.j2' %}{% endfor %}"},
        {"text": "{% import 'house/greeting.txt.j2' as greeting with context %}{{ greeting.hello() }}"},
        {"text": "{% macro hello() %}{{ recipient.name }}{% endmacro %}{{ hello() }}"},
        {"text": "{% extends layout %}{% block content %}{{ recipient.name }}{% endblock %}"},
        {"html": "{% extends 'house/letter.html.j2' %}"},
    ],
)
def test_personal(root, files):
    """A rendering is personal if any template of it asks for the recipient: itself, included, imported or extended."""
    (root / "house" / "greeting.txt.j2").write_text(
        "Hi{% macro hello() %}Dear {{ recipient.name }}{% endmacro %}{{ hello() }}"
    )
    (root / "house" / "letter.html.j2").write_text("<p>Dear {{ recipient.name }}</p>{% block content %}{% endblock %}")
    assert personal(root, **files)


@pytest.mark.parametrize(
    "files",
    [
        {"text": "{# {{ recipient }} #}"},
        {"text": "the recipient, {{ 'recipient' }}, {{ {'recipient': 1}.recipient }}"},
        {"text": "{% extends layout %}{% block content %}x{% endblock %}{% block unused %}{% endblock %}"},
        {"text": "{% set recipient = 1 %}x"},
    ],
)
def test_not_personal(root, files):
    """A rendering that never asks for the recipient is not personal."""
    assert not personal(root, **files)


def test_personal_in_threads(root):
    """Renderings that run side by side do not mix up what they asked for."""
    write(root, "note", text="{% for n in range(50) %}{{ n }}{% endfor %}{{ recipient.name }}")
    write(root, "news", text="{% for n in range(50) %}{{ n }}{% endfor %}")
    library = TemplateLibrary(root)
    kinds = ["note", "news"] * 200

    def asked(kind: str) -> bool:
        return library.render(kind, language="en", timezone="UTC", data={"recipient": READER}).personal

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(asked, kinds)) == [kind == "note" for kind in kinds]


# --- Summaries ------------------------------------------------------------------------------------------------


def summary(root: Path, language: str | None = "en", **data: Any) -> str:
    return TemplateLibrary(root).summary("note", language=language, timezone="Europe/Warsaw", data=data)


def test_summary(root):
    """A summary is one line in the language and zone of the reader."""
    write(root, "note", text="x", summary="{{ what }}\n  at {{ at | time }}\n")
    write(root, "note", "pl", text="x", summary="{{ what }} o {{ at | time }}")
    at = datetime(2026, 3, 20, 13, 5, tzinfo=UTC)
    assert summary(root, "pl-PL", what="Koniec", at=at) == "Koniec o 14:05"
    assert re.sub(r"\s", " ", summary(root, "de", what="a\x00\u2028 b", at=at)) == "a b at 2:05 PM"


def test_summary_of_a_kind_without_one(root):
    """Where a kind has no summary its subject stands in, of the language that the mail has."""
    write(root, "note", subject="About {{ what }}", text="x")
    write(root, "note", "pl", subject="O {{ what }}", text="x")
    write(root, "note", "sk", subject="x", summary="never chosen: no body")
    assert [summary(root, language, what="y") for language in ("en", "pl", "sk", None)] == [
        "About y",
        "O y",
        "About y",
        "About y",
    ]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("word " * 100, "word " * 58 + "word…"), ("x" * 400, "x" * 299 + "…"), ("a " + "x" * 400, "a " + "x" * 297 + "…")],
)
def test_long_summary(root, typed, shown):
    """A long summary is cut, at a word where there is one."""
    write(root, "note", text="x", summary="{{ typed }}")
    assert summary(root, typed=typed) == shown


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400))
def test_summary_is_one_short_line(typed):
    """Whatever is typed, a summary is one line of at most 300 characters without control characters."""
    made = SHIPPED.summary("send_message", language="en", timezone="UTC", data={"subject": typed})
    assert len(made) <= 300
    assert len(made.splitlines()) <= 1
    assert not CONTROL.search(made)


def test_summary_names_no_reader(root):
    """A summary is shared by its readers: its template cannot name one, and says so."""
    write(root, "note", text="x", summary="for {{ recipient.name }}")
    with pytest.raises(TemplateBroken, match=r"note/en/summary\.txt\.j2, line 1: .*shared by all readers"):
        summary(root, recipient=READER)


def test_summary_of_an_unknown_kind(root):
    """A summary of no kind is the error that its mail would be."""
    with pytest.raises(TemplateNotFound):
        summary(root)


# --- Errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("{{ owner }}", "'owner' in the data"),
        ("{{ case.owner }}", "'owner'; the fields there are: id, url"),
        ("{{ case['owner'] }}", "'owner'; the fields there are: id, url"),
        ("{{ nothing.owner }}", r"'owner' in an empty value \(None\)"),
        ("{% if owner %}{% endif %}", "'owner' in the data"),
        ("{% for x in owner %}{% endfor %}", "'owner' in the data"),
        ("{{ owner | datetime }}", "'owner' in the data"),
        ("{{ owner | paragraphs }}", "'owner' in the data"),
        ("{{ owner | to_text }}", "'owner' in the data"),
        ("{{ owner | url }}", "'owner' in the data"),
    ],
)
def test_missing_field(root, source, field):
    """A field that the data lacks is an error that names the field, the file and the line."""
    with pytest.raises(TemplateFieldMissing, match=rf"^note/en/body\.txt\.j2, line 2: there is no field {field}"):
        render(root, f"first line\n{source}", case={"id": 1, "url": None}, nothing=None)


def test_place_in_the_parent(root):
    """An error in the house is placed in the house, not in the kind that extends it."""
    (root / "house" / "en" / "body.txt.j2").write_text("\n\n{{ owner }}")
    with pytest.raises(TemplateFieldMissing, match=r"^house/en/body\.txt\.j2, line 3: "):
        render(root, "{% extends layout %}")


@pytest.mark.parametrize(
    "source",
    [
        "{% if %}",
        "{{ 1 | nofilter }}",
        "{% extends 'house/gone.j2' %}",
        "{% include '../../secret.txt' %}",
        "{{ 1 / 0 }}",
        "{{ super() }}",
        "{{ [].__class__.__mro__ }}",
        "{{ things.append(1) }}",
        "{{ lipsum(n=5) }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ 10 ** 9 * [1] }}",
        "{{ 9 ** 999999 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% include 'note/en/body.txt.j2' %}",
        "{{ 'x' | center(10 ** 10) }}",
        "{{ 'x\ny' | indent(width=10 ** 10) }}",
        "{{ 'x'.ljust(10 ** 10) }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ '%*d' % (10 ** 10, 1) }}",
        "{{ '%10000000000d' | format(1) }}",
        "{{ '{:10000000000}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=10 ** 10) }}",
        "{{ ((9 ** 99) ** 99) ** 99 ** 9 }}",
        "{{ (1).to_bytes(10 ** 10) }}",
        "{% set all = namespace(s='x') %}{% for i in range(40) %}{% set all.s = all.s ~ all.s %}{% endfor %}",
        "{% set all = namespace(s='x') %}{% for i in range(40) %}{% set all.s = all.s + all.s %}{% endfor %}",
    ],
)
def test_broken_template(root, source):
    """A template's own error, a break-out or an explosion ends in an error that names file and line."""
    with pytest.raises((TemplateBroken, TemplateFieldMissing), match=r"^note/en/body\.txt\.j2, line \d+: "):
        render(root, f"first line\n{source}", things=[])


def test_endless_output(root, monkeypatch):
    """A template that writes more than any mail holds is stopped."""
    monkeypatch.setattr("notify.rendering.environment.MAX_CHARACTERS", 1000)
    with pytest.raises(TemplateBroken, match="more than 1000 characters"):
        render(root, "{% for i in range(200) %}0123456789{% endfor %}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in things %}{% for b in things %}{% for c in things %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in things recursive %}{% if loop.depth < 4 %}{{ loop(things) }}{% endif %}{% endfor %}",
        "{% macro more(n) %}{% if n %}{{ more(n - 1) }}{{ more(n - 1) }}{% endif %}{% endmacro %}{{ more(60) }}",
        "{% import 'house/loops.j2' as house %}{{ house.loops(things) }}",
    ],
)
def test_endless_work(root, monkeypatch, source):
    """A template that would run for hours, by loops within loops or by macros that call each other, is stopped."""
    (root / "house" / "loops.j2").write_text(
        "{% macro loops(all) %}{% for a in all %}{% for b in all %}{% for c in all %}{% endfor %}{% endfor %}"
        "{% endfor %}{% endmacro %}"
    )
    monkeypatch.setattr("notify.rendering.bounds.SLOWEST", 0.05)
    with pytest.raises(TemplateBroken, match=r"line 1: .*takes longer than 0\.05 seconds"):
        render(root, source, things=["x"] * 20_000)


def test_all_that_loops_tell(root):
    """Loops tell what they always do: how long they are, their first and last turn, what is deeper, and what else."""
    source = (
        "{% for a in things %}{{ loop.index }}/{{ loop.length }}{{ a }}{{ '.' if loop.last else ',' }}{% endfor %}"
        "{% for a in [] %}x{% else %}none{% endfor %}"
        "{% for name, value in {'k': 1}.items() if value %}{{ name }}{{ value }}{% endfor %}"
        "{% for a in tree recursive %}({{ a.name }}{{ loop(a.below) }}){% endfor %}"
    )
    tree = [{"name": "r", "below": [{"name": "s", "below": []}]}]
    assert render(root, source, things=("a", "b"), tree=tree) == "1/2a,2/2b.nonek1(r(s))"


def test_usual_sizes(root):
    """What templates do with widths, formats and large numbers goes on."""
    source = (
        "{{ 'x' | center(5) | length }} {{ '%05.1f' % 2.25 }} {{ '%s %d' | format('a', 1234567) }} "
        "{{ '{:,}'.format(1234567) }} {{ 7654321 | round }} {{ 1234567 * 7654321 }} {{ 7654321 % 10 }} "
        "{{ {9999999: 1}.get(9999999) }} {{ '{}: 1234567'.format('b') }} {{ 'No 1234567, 5%% %s' % 'off' }}"
    )
    told = "5 002.2 a 1234567 1,234,567 7654321 9449772114007 1 1 b: 1234567 No 1234567, 5% off"
    assert render(root, source) == told


def test_template_not_in_utf8(root):
    """A template saved in another encoding is broken, and the error names the file."""
    write(root, "note", text="x")
    (root / "note" / "en" / "body.txt.j2").write_bytes("Żółw".encode("cp1250"))
    with pytest.raises(TemplateBroken, match=r"^note/en/body\.txt\.j2: UnicodeDecodeError"):
        TemplateLibrary(root).render("note", language="en", timezone="UTC", data={})


def test_errors_name_no_path_of_the_machine(root):
    """An error shows where in the templates, never where on the machine."""
    with pytest.raises(TemplateBroken) as caught:
        render(root, "{% if %}")
    assert str(root) not in str(caught.value)


@pytest.mark.parametrize("timezone", ["Nowhere/None", "", "../etc/passwd", "/etc/passwd"])
def test_unknown_timezone(timezone):
    """An unknown time zone is an error that names it."""
    with pytest.raises(TemplateError, match=r"timezone .* is not known"):
        SHIPPED.render("welcome", language="en", timezone=timezone, data=WELCOME)


def test_half_a_surrogate():
    """A character that no encoding knows is refused with the file's name, not with a bare Unicode error."""
    with pytest.raises(TemplateError, match="no mail can carry"):
        shipped(message="\ud800")


# --- Data is data -------------------------------------------------------------------------------------------


def test_data_is_no_template():
    """Braces in data stay braces."""
    rendered = shipped(message="{{ 7 * 7 }} {% if %}", subject="{{ subject }}")
    assert rendered.subject == "{{ subject }}"
    assert rendered.text.startswith("{{ 7 * 7 }} {% if %}\n")
    assert "{{ 7 * 7 }} {% if %}" in (rendered.html or "")


def test_library_wins(root):
    """Data cannot take the place of what the library sets."""
    source = "{{ language }} {{ timezone }} {{ layout }}"
    text = render(root, source, range="other", layout="other")
    assert text == "en Europe/Warsaw house/en/body.txt.j2"


def test_field_named_like_a_method(root):
    """A field called ``items`` is the field, not the method of its dict."""
    assert render(root, "{{ digest.items[0] }}", digest={"items": ["first"]}) == "first"


@settings(max_examples=150, deadline=None)
@given(TYPED)
def test_plain_message_stays_plain(message):
    """Whatever is typed as plain text, the mail has no markup but ours and shows the same words."""
    content = page(shipped(message=message)).find(".//div[@class='message']")
    assert {element.tag for element in content.iterdescendants()} <= {"p", "br", "a"}
    assert content.text_content().split() == message.split()


@settings(max_examples=100, deadline=None)
@given(TYPED)
def test_escaped_everywhere(typed):
    """Subject, case and site name, whatever they hold, never add an element to the page."""
    odd = shipped(subject=typed, site_name=f"x{typed}", case={"id": typed, "url": None})
    plain = shipped(subject="x", site_name="x", case={"id": "x", "url": None})
    assert [element.tag for element in page(odd).iter()] == [element.tag for element in page(plain).iter()]


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_subject_is_one_line(subject):
    """A subject never has a line break, whatever the data holds."""
    made = shipped(subject=subject, html=True, message="x", house=False).subject
    assert len(made.splitlines()) <= 1
    assert made.split() == subject.split()


def test_subject_is_not_escaped():
    """A subject is no HTML: an ampersand stays one."""
    assert shipped(subject="R&D <now>").subject == "R&D <now>"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "/cases/1", "https://x.example/a b", 5])
def test_address_that_leads_nowhere(address):
    """A link that a reader cannot follow from a mailbox is refused, with what would be right."""
    with pytest.raises(TemplateError, match="beginning with https://"):
        shipped(case={"id": "1", "url": address})


# --- The reader's formats -----------------------------------------------------------------------------------

MOMENT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # 00:30 of the next day in Warsaw


@pytest.mark.parametrize("value", [MOMENT, "2026-03-01T23:30:00Z", "2026-03-02T08:30+09:00"])
@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("en", "Mar 2, 2026, 12:30 AM / Mar 2, 2026 / 12:30 AM"),
        ("en-GB", "2 Mar 2026, 00:30 / 2 Mar 2026 / 00:30"),
        ("pl", "2 mar 2026, 00:30 / 2 mar 2026 / 00:30"),
        ("sk-SK", "2. 3. 2026 0:30 / 2. 3. 2026 / 0:30"),
    ],
)
def test_moments(root, value, tag, shown):
    """A moment is shown in the reader's zone and language, given as a datetime or as ISO 8601."""
    for language in ("pl", "sk"):
        write(root, "note", language, text="{{ at | datetime }} / {{ at | date }} / {{ at | time }}")
    text = render(root, "{{ at | datetime }} / {{ at | date }} / {{ at | time }}", language=tag, at=value)
    assert re.sub(r"\s", " ", text).replace(" 2026, 0:30", " 2026 0:30") == shown


@pytest.mark.parametrize("value", [date(2026, 3, 1), "2026-03-01"])
def test_calendar_day(root, value):
    """A day without an hour is the same day in every zone."""
    assert render(root, "{{ at | date }}", timezone="Pacific/Kiritimati", at=value) == "Mar 1, 2026"


def test_own_style(root):
    """A template may ask for another of Unicode's styles."""
    text = render(root, "{{ at | datetime('full') }} / {{ at | date('EEEE') }}", timezone="UTC", at=MOMENT)
    assert "Coordinated Universal Time" in text
    assert text.endswith("/ Sunday")


@pytest.mark.parametrize("value", [datetime(2026, 3, 1), "2026-03-01T09:00:00"])  # noqa: DTZ001 - the claim
def test_naive_moment(root, value):
    """A moment that does not say its zone is refused with the remedy, the file and the line."""
    with pytest.raises(TemplateError, match=r"line 1: .* does not say in which time zone.*with an offset"):
        render(root, "{{ at | datetime }}", at=value)


@pytest.mark.parametrize("value", ["tomorrow", 5, None, date(2026, 3, 1)])
def test_no_moment(root, value):
    """What is no moment is refused."""
    with pytest.raises(TemplateError, match="is no moment"):
        render(root, "{{ at | time }}", at=value)


@pytest.mark.parametrize("value", [1234567.5, "1234567.5", Decimal("1234567.5")])
@pytest.mark.parametrize(("language", "shown"), [("en", "1,234,567.5"), ("pl", "1 234 567,5")])
def test_number(root, value, language, shown):
    """A number has the reader's signs."""
    write(root, "note", "pl", text="{{ n | number }}")
    assert re.sub(r"\s", " ", render(root, "{{ n | number }}", language=language, n=value)) == shown


@pytest.mark.parametrize("value", ["many", None, True, float("nan"), float("inf")])
def test_no_number(root, value):
    """What is no number is refused."""
    with pytest.raises(TemplateError, match="is no number"):
        render(root, "{{ n | number }}", n=value)


@pytest.mark.parametrize(("language", "shown"), [("en", "Mar 2"), ("en-GB", "2 Mar"), ("pl", "2 mar"), ("sk", "2. 3.")])
def test_day(root, language, shown):
    """A day can be written without its year, in the reader's zone and language."""
    for own in ("pl", "sk"):
        write(root, "note", own, text="{{ at | day }}")
    assert render(root, "{{ at | day }}", language=language, at=MOMENT) == shown


@pytest.mark.parametrize(
    ("language", "forms"),
    [
        ("en", {1: "one", 0: "other", 2: "other", 5: "other", 21: "other"}),
        (
            "pl",
            {1: "one", 2: "few", 4: "few", 0: "other", 5: "other", 12: "other", 21: "other", 22: "few", 112: "other"},
        ),
        ("sk", {1: "one", 2: "few", 4: "few", 0: "other", 5: "other", 12: "other", 21: "other", 22: "other"}),
    ],
)
def test_plural(root, language, forms):
    """A count takes the plural form of the reader's language; a form not given is that of `other`."""
    source = "{{ n | plural(one='one', few='few', other='other') }}"
    for own in ("pl", "sk"):
        write(root, "note", own, text=source)
    assert {n: render(root, source, language=language, n=n) for n in forms} == forms


@pytest.mark.parametrize("value", [1.5, "1", None])
def test_no_count(root, value):
    """What is no whole number has no plural form."""
    with pytest.raises(TemplateError, match="is no whole number"):
        render(root, "{{ n | plural(other='x') }}", n=value)


def test_plural_without_other(root):
    """Plural forms without `other` are the template's fault."""
    with pytest.raises(TemplateBroken, match="needs the form `other`"):
        render(root, "{{ 1 | plural(one='x') }}")


# --- Text from HTML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('<a href="https://x.example/1">here</a>', "here <https://x.example/1>"),
        ('<a href="https://x.example/1"><b>here</b> now</a>', "here now <https://x.example/1>"),
        ('<a href="https://x.example/1">https://x.example/1</a>', "https://x.example/1"),
        ('<a href="mailto:a@example.com">a@example.com</a>', "a@example.com"),
        ('<a href="https://x.example/1"></a>', "https://x.example/1"),
        ('<a href="#top">up</a> <a href="javascript:x()">run</a> <a>none</a>', "up run none"),
        ("<p>one<p>two<br>three", "one\n\ntwo\nthree"),
        ("<ul><li>a<li>b</ul>", "  * a\n  * b"),
        ('<p style="display: none">hidden</p>seen', "seen"),
        ('<img src="x.png" alt="Logo"> <!-- note --><style>p {}</style>x', "[Logo] x"),
        ('<table role="presentation"><tr><td>a</td><td>b</td></tr></table>', "a\nb"),
        ("one<hr>two", "one\n\n---\n\ntwo"),
        ('<?xml version="1.0" encoding="latin-1"?><p>Żółw', "Żółw"),
        ("a&nbsp;b", "a b"),
        ("<!-- nothing -->", ""),
        ("  ", ""),
    ],
)
def test_to_text(source, text):
    """HTML becomes text that reads well and whose links can be followed."""
    assert markup.to_text(source) == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_of_a_kind_without_text(root, language):
    """Where a kind has HTML only, its text keeps the button's address and shows no preheader."""
    source = (
        "{% extends layout %}{% from 'house/parts.html.j2' import button %}"
        "{% block preheader %}Peek{% endblock %}{% block content %}<p>Body</p>{% endblock %}"
        "{% block button %}{{ button('https://x.example/1', 'Go') }}{% endblock %}"
    )
    library = TemplateLibrary(with_shipped_house(root))
    write(root, "note", language, html=source)
    text = library.render("note", language=language, timezone="UTC", data={}).text
    assert "Body" in text
    assert "Go <https://x.example/1>" in text
    assert "Peek" not in text


def with_shipped_house(root: Path) -> Path:
    for file in (SHIPPED._root / "house").rglob("*.j2"):
        target = root / "house" / file.relative_to(SHIPPED._root / "house")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    return root


def test_text_only(root):
    """A kind with text only has no HTML."""
    write(root, "note", text="hello")
    assert TemplateLibrary(root).render("note", language="en", timezone="UTC", data={}) == Rendered(
        subject="Subject", html=None, text="hello\n", language="en"
    )


def test_too_deep(root):
    """HTML nested beyond reason is refused, never cut without a word."""
    write(root, "note", html="{{ body | safe }}")
    with pytest.raises(TemplateBroken, match="nested too deeply"):
        TemplateLibrary(root).render("note", language="en", timezone="UTC", data={"body": "<div>" * 5000 + "x"})


# --- The shipped mails --------------------------------------------------------------------------------------


@pytest.mark.parametrize("house", [True, False])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", sorted(DATA))
def test_shipped_page(kind, language, house):
    """Each shipped page states its language and title, lays out by presentation tables and loads nothing."""
    rendered = shipped(kind, language, house=house)
    tree = page(rendered)
    assert tree.get("lang") == language == rendered.language
    assert tree.findtext(".//title") == rendered.subject
    assert {table.get("role") for table in tree.iter("table")} <= {"presentation"}
    assert not list(tree.iter("img", "link", "script"))
    assert tree.xpath("//meta[@name='color-scheme']")
    assert len(list(tree.iter("h1"))) == house


def test_styles_are_inlined():
    """Rules stand on the elements; only those for dark mode and phones stay in a style element."""
    tree = page(shipped())
    rules = tree.findtext(".//style")
    assert "prefers-color-scheme: dark" in rules
    assert "max-width: 600px" in rules
    assert not rules.partition("@media")[0].strip()
    assert "border-radius" in tree.find(".//td[@class='card']").get("style")


def test_nothing_is_fetched(tmp_path):
    """A stylesheet that a message points to is neither read from disk nor fetched."""
    (tmp_path / "x.css").write_text("p { color: pink }")
    link = f'<link rel="stylesheet" href="{(tmp_path / "x.css").as_uri()}">'
    assert "pink" not in (shipped(html=True, message=f"{link}<p>x</p>").html or "")


def test_odd_style_of_a_message(caplog):
    """A style attribute that is no CSS does not fail a message; the log says what became of it."""
    assert 'style="red"' in (shipped(html=True, message='<p style="red">x</p>').html or "")
    assert "stay in its style element" in caplog.text


@pytest.mark.parametrize(
    ("language", "button", "name"),
    [
        ("en", "Open case INV-2041", "Notifications"),
        ("pl", "Otwórz sprawę INV-2041", "Powiadomienia"),
        ("sk", "Otvoriť prípad INV-2041", "Upozornenia"),
    ],
)
def test_case_and_names(language, button, name):
    """Button, header and footer speak the reader's language; the text has the case's address too."""
    rendered = shipped(language=language)
    links = {link.text_content(): link.get("href") for link in page(rendered).iter("a")}
    assert links == {button: "https://cases.example.com/INV-2041"}
    assert page(rendered).find(".//td[@class='header']").text_content() == name
    assert "INV-2041: https://cases.example.com/INV-2041" in rendered.text
    assert f"\n--\n{name}\n" in rendered.text


_PIECES = ["www.", "http://", "https://", "mailto:", "a.b", "nic.sk", "x@y.sk", ".", ",", "(", ")", "<", "%", "@y"]


@given(st.lists(st.sampled_from([*_PIECES, " ", "\n", "/", ":", "@", "ž", "1", "localhost", "[::1]"]), max_size=12))
@example(["see ", "https://localhost"])
@example(["see ", "example.com,"])
@example(["see ", "x@y.sk"])
def test_every_link_is_found(pieces: list[str]) -> None:
    """A text that is not looked at word by word, since it can have no link, has none."""
    text = "".join(pieces)
    assert markup._linked(text) == urlize(text, rel="noopener")


@pytest.mark.parametrize("house", [True, False])
@pytest.mark.parametrize(("case", "shows"), [({"id": "CASE-1", "url": None}, True), (None, False)])
def test_case_without_address(case, shows, house):
    """A case without an address has its line and no button; no case, neither."""
    rendered = shipped(case=case, house=house)
    assert not list(page(rendered).iter("a"))
    assert ("Case CASE-1" in (rendered.html or ""), "Case CASE-1" in rendered.text) == (shows, shows)


def test_site_and_footer_links():
    """The site's name and the footer's links are shown in both parts."""
    rendered = shipped(site_name="Mills & Sons", footer_links=[{"label": "Settings", "url": "https://x.example/s"}])
    assert page(rendered).find(".//td[@class='header']").text_content() == "Mills & Sons"
    assert "https://x.example/s" in (rendered.html or "")
    assert rendered.text.endswith("\nSettings: https://x.example/s\n")
    assert "\nMills & Sons\n" in rendered.text


def test_bare_message():
    """Without the house there is the message, and no header, heading or footer of ours."""
    rendered = shipped(house=False, case=None)
    assert rendered.text == "Please look.\n"
    assert page(rendered).find("body").text_content().split() == ["Please", "look."]


def test_html_message():
    """An HTML message is inserted as it is, and its text part is made from it."""
    rendered = shipped(html=True, message='<p>Look <a href="https://x.example/1">here</a></p>', case=None)
    assert [p.text_content() for p in page(rendered).iterfind(".//div[@class='message']/p")] == ["Look here"]
    assert rendered.text.startswith("Look here <https://x.example/1>\n")


def test_plain_message_keeps_its_shape():
    """Paragraphs, line breaks and aligned columns survive; addresses can be clicked."""
    message = "Dear all,\r\n\r\nNet:    10\n  Tax:  2\n\n\nsee https://x.example/a?b=1&c=2."
    content = page(shipped(message=message)).find(".//div[@class='message']")
    assert [p.text_content().replace("\xa0", " ") for p in content.iterfind("p")] == [
        "Dear all,",
        "Net:    10\n  Tax:  2",
        "see https://x.example/a?b=1&c=2.",
    ]
    assert content.find(".//a").get("href") == "https://x.example/a?b=1&c=2"


@pytest.mark.parametrize("language", LANGUAGES)
def test_welcome(language):
    """The first message names what delivered it, where it lies, and how to go on, in both parts."""
    rendered = shipped("welcome", language)
    for part in (page(rendered).text_content(), rendered.text):
        assert all(word in part for word in ("SendMessage", "Notifications", "smtp_default", "caught-mail"))
    assert len(list(page(rendered).iter("li"))) == 3
    assert "http://localhost:8080" in rendered.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_undelivered(language):
    """A mail about what came back names mail, recipient and the server's words, and what follows, in both parts."""
    rendered = shipped("undelivered", language)
    assert rendered.subject.endswith(": [INV-2041] Approved <at last>")
    for part in (page(rendered).text_content(), rendered.text):
        assert all(str(CAME_BACK[name]) in part for name in ("number", "subject", "name", "address", "words"))
        assert "2027" in part


@pytest.mark.parametrize("language", LANGUAGES)
def test_several_undelivered(language):
    """Of several, the subject counts them; what is not named is counted as well, and an address may stay usable."""
    lifted = CAME_BACK | {"suppressed": True, "suppressed_until": None, "name": ""}
    usable = CAME_BACK | {"suppressed": False}
    rendered = shipped("undelivered", language, mails=[lifted, usable], more=40)
    assert "42" in rendered.subject
    assert CAME_BACK["subject"] not in rendered.subject
    assert "40" in rendered.text
    assert "2027" not in rendered.text
