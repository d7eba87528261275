"""Templates tried with their sample data: all that are shipped, and what an admin may get wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from notify.domain.kind import BUILT_IN, read_kinds
from notify.exceptions import ConfigurationError, TemplateFieldMissing, UnusableSample
from notify.rendering import samples as trying
from notify.rendering.samples import Samples, Standing, State

SHIPPED = Path(__file__).parents[2] / "include" / "templates"
LANGUAGES = ["en", "pl", "sk"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The shipped templates, to be changed."""
    copied = tmp_path / "templates"
    shutil.copytree(SHIPPED, copied)
    return copied


def write(root: Path, place: str, text: str) -> None:
    file = root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def samples_of(root: Path, kinds: str = "") -> Samples:
    return Samples.of(root, "Europe/Warsaw", read_kinds(kinds))


def standing(root: Path, name: str, kinds: str = "") -> Standing:
    (found,) = (one for one in samples_of(root, kinds).standings() if one.name == name)
    return found


def states(one: Standing) -> dict[str, State]:
    return {tried.language: tried.state for tried in one.tried}


# --- What is shipped -------------------------------------------------------------------------------------------------


def test_shipped() -> None:
    """Every shipped template makes a message of its sample data in each language, and none is missing one."""
    found = samples_of(SHIPPED).standings()
    assert {one.name for one in found} == {*BUILT_IN, "digest", "send_message", "undelivered", "welcome"}
    for one in found:
        assert states(one) == dict.fromkeys(LANGUAGES, State.FINE), one
        assert (one.missing, one.problem, one.broken) == ((), "", False)
        assert one.kinds == ((one.name,) if one.name in BUILT_IN else ())


@pytest.mark.parametrize("kind", BUILT_IN)
def test_previews_of_events(kind: str) -> None:
    """The preview of an event's template tells the sample's case, in both parts, and has a line for the digest."""
    preview = samples_of(SHIPPED).preview(kind, "pl")
    for text in (preview.rendered.html or "", preview.rendered.text):
        assert "Nordwind" in text
        assert "INV-2041" in text
    assert preview.summary
    assert preview.rendered.language == "pl"


def test_preview_of_a_digest() -> None:
    """The sample's entries are arranged as in a run: by case, and what has none at the end."""
    preview = samples_of(SHIPPED).preview("digest", "en")
    assert preview.rendered.subject == "4 notifications about 2 cases"
    assert preview.summary is None
    text = preview.rendered.text
    assert text.index("Damaged delivery") < text.index("Invoice 2041") < text.index("The price list")


# --- An admin's own --------------------------------------------------------------------------------------------------

PAID = '{"invoice_paid": {}}'


def test_own_kind(root: Path) -> None:
    """A kind made by an admin appears by itself, with its sample data, and with what it is not written in."""
    write(root, "invoice_paid/en/subject.txt.j2", "Invoice {{ number }} is paid, {{ case.id }}, {{ kind }}")
    write(root, "invoice_paid/en/body.txt.j2", "{{ occurred_at.year }}")
    write(root, "invoice_paid/sample.json", '{"number": 7}')
    found = standing(root, "invoice_paid", PAID)
    assert (states(found), found.missing, found.kinds) == ({"en": State.FINE}, ("pl", "sk"), ("invoice_paid",))
    assert found.tried[0].files == ("body.txt.j2", "subject.txt.j2")
    preview = samples_of(root, PAID).preview("invoice_paid", "en")
    assert preview.rendered.subject == preview.summary == "Invoice 7 is paid, INV-2041, invoice_paid"
    assert preview.rendered.text == "2026\n"


def test_no_sample_data(root: Path) -> None:
    """A template without sample data that needs a field is untried, not broken; it is told which field, and where."""
    write(root, "invoice_paid/en/subject.txt.j2", "Invoice {{ number }} is paid")
    write(root, "invoice_paid/en/body.txt.j2", "Paid.")
    found = standing(root, "invoice_paid")
    assert (states(found), found.broken) == ({"en": State.UNTRIED}, False)
    for part in ("'number'", "invoice_paid/en/subject.txt.j2, line 1", "invoice_paid/sample.json"):
        assert part in found.tried[0].problem


def test_field_missing_in_the_sample(root: Path) -> None:
    """A field that the sample data lacks is named with its place: either the one or the other has to be corrected."""
    write(root, "reminder/sample.json", '{"note": "Call"}')
    found = standing(root, "reminder")
    assert states(found) == dict.fromkeys(LANGUAGES, State.BROKEN)
    assert "'due_at'" in found.tried[0].problem
    assert "reminder/sample.json" in found.tried[0].problem
    with pytest.raises(TemplateFieldMissing, match="due_at"):
        samples_of(root).preview("reminder", "en")


def test_no_field_needed(root: Path) -> None:
    """A template that needs no field of its own needs no sample data."""
    write(root, "hello/en/subject.txt.j2", "Hello {{ recipient.name }}")
    write(root, "hello/en/body.txt.j2", "It works.")
    assert states(standing(root, "hello")) == {"en": State.FINE}


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        ("reminder/pl/subject.txt.j2", "a\n{% if %}", "reminder/pl/subject.txt.j2, line 2"),
        ("reminder/pl/body.html.j2", "{{ 1 / 0 }}", "reminder/pl/body.html.j2, line 1: ZeroDivisionError"),
        ("reminder/pl/summary.txt.j2", "{{ recipient.name }}", "cannot name the recipient"),
        ("reminder/pl/body.html.j2", "{% extends 'house/gone.html.j2' %}", "house/gone.html.j2"),
    ],
)
def test_broken(root: Path, place: str, text: str, said: str) -> None:
    """A broken file is told with its line, in its language alone, and its template stands first."""
    write(root, place, text)
    found = samples_of(root).standings()
    assert [one.name for one in found if one.broken] == [found[0].name] == ["reminder"]
    assert states(found[0]) == {"en": State.FINE, "pl": State.BROKEN, "sk": State.FINE}
    assert said in found[0].tried[1].problem


def test_house_broken(root: Path) -> None:
    """What breaks the house breaks all that stand in it, and nothing is taken from a former look."""
    assert not any(one.broken for one in samples_of(root).standings())
    write(root, "house/layout.html.j2", "{% block %}")
    assert all(one.broken for one in samples_of(root).standings())


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("hello/pt_BR", "hello/pt_BR is not used"),
        ("Hello/en", "Hello is not used"),
        ("hello/pl", "hello is not written in 'en'"),
    ],
)
def test_folders_that_nobody_finds(root: Path, folder: str, said: str) -> None:
    """A folder that is named so that no mail finds it is told, and so is a template that most readers lack."""
    write(root, f"{folder}/subject.txt.j2", "Hi")
    write(root, f"{folder}/body.txt.j2", "Hi.")
    found = standing(root, folder.partition("/")[0])
    assert found.broken
    assert said in " ".join([found.problem, *(tried.problem for tried in found.tried)])


def test_no_body(root: Path) -> None:
    """A language with a subject alone makes no message."""
    write(root, "hello/en/subject.txt.j2", "Hi")
    assert states(standing(root, "hello")) == {"en": State.BROKEN}


def test_registered_without_files(root: Path) -> None:
    """A kind of event whose template is nowhere is told as broken, with what would be one."""
    found = standing(root, "invoice_paid", PAID)
    assert found.broken
    assert "There is no template 'invoice_paid'" in found.problem


def test_other_folders(root: Path) -> None:
    """A folder of shared parts is no template, and what is hidden is nothing."""
    write(root, "shared/css/colours.css.j2", "a")
    write(root, ".git/en/subject.txt.j2", "a")
    write(root, "notes.txt", "a")
    assert {one.name for one in samples_of(root).standings()} == {one.name for one in samples_of(SHIPPED).standings()}


# --- Sample data -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("welcome", "{", "welcome/sample.json is no JSON"),
        ("welcome", "[1]", "welcome/sample.json is no JSON object"),
        ("house", "7", "house/sample.json is no JSON object"),
        ("digest", '{"entries": []}', "at least one entry"),
        ("digest", '{"entries": [{"kind": "k"}]}', "digest/sample.json: entries: 0.occurred_at"),
        ("digest", '{"entries": 7}', "digest/sample.json: entries"),
    ],
)
def test_unusable_samples(root: Path, name: str, text: str, said: str) -> None:
    """Sample data that cannot be read is told by its file, and breaks no other template than those it is for."""
    write(root, f"{name}/sample.json", text)
    with pytest.raises(UnusableSample, match=said.replace(".", r"\.")):
        samples_of(root).data("welcome" if name == "house" else name)
    broken = {one.name for one in samples_of(root).standings() if one.broken}
    assert broken == ({one.name for one in samples_of(root).standings()} if name == "house" else {name})


def test_own_fields_win(root: Path) -> None:
    """What a template's own sample says wins over what all are given."""
    write(root, "welcome/sample.json", '{"site_name": "Halden", "catcher": "c", "ui_url": "https://a.example"}')
    assert samples_of(root).data("welcome")["site_name"] == "Halden"
    assert "recipient" in samples_of(root).data("welcome")


# --- The folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [None, "file"])
def test_no_folder(tmp_path: Path, there: str | None) -> None:
    """Where there is no folder of templates, the error names it and what to do."""
    if there:
        (tmp_path / "templates").write_text("")
    with pytest.raises(ConfigurationError, match=r"templates, cannot be read: .*NOTIFY_TEMPLATES"):
        samples_of(tmp_path / "templates").standings()


def test_tried_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not changed is not tried again; one edited file is enough for a new look."""
    before = samples_of(root).standings()
    tried: list[str] = []
    preview = Samples.preview

    def counted(self: Samples, name: str, language: str, **instead: object) -> trying.Preview:
        tried.append(name)
        return preview(self, name, language, **instead)

    monkeypatch.setattr(Samples, "preview", counted)
    assert samples_of(root).standings() == before
    assert tried == []
    write(root, "welcome/sample.json", json.dumps({"catcher": "c", "ui_url": "https://a.example"}))
    samples_of(root).standings()
    assert "welcome" in tried
