"""What the shipped kinds of event say by SMS."""

from __future__ import annotations

from pathlib import Path

import pytest

from notify.domain import sms
from notify.domain.kind import BUILT_IN, DIGEST
from notify.rendering.library import library
from notify.rendering.samples import Samples

TEMPLATES = Path(__file__).resolve().parents[2] / "include" / "templates"
LANGUAGES = ("en", "pl", "sk")


def said(name: str, language: str, **more: object) -> str:
    """What the template says of the sample data, as it is sent."""
    data = Samples(TEMPLATES, "Europe/Warsaw").data(name) | more
    found = library(TEMPLATES).sms(name, language=language, timezone="Europe/Warsaw", data=data)
    assert found.language == language
    assert not found.personal
    return sms.parse_text(found.text, transliterated=True).text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [*BUILT_IN, DIGEST])
def test_one_part_in_gsm(name: str, language: str) -> None:
    """Each kind, and the digest, fits into one part of the GSM alphabet, and names the case."""
    text = said(name, language)
    size = sms.count(text)
    assert (size.encoding, size.parts) == (sms.Encoding.GSM, 1), text
    assert "INV-2041" in text
    assert "\n" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", BUILT_IN)
def test_long_and_missing_fields(name: str, language: str) -> None:
    """A long title, and one that is missing, as well as no case at all, make no more than three parts, and a text."""
    case = {"id": "č" * 200, "title": "Ž" * 500, "url": None, "process": None, "stage": None, "owner": None}
    for fields in ({"case": case}, {"case": {**case, "title": ""}}, {"case": None, "actor": None}):
        assert sms.count(said(name, language, **fields)).parts <= 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_changed(language: str) -> None:
    """One change is named, more of them are counted."""
    changes = [{"what": "document_added", "text": None, "name": "order.pdf"}, {"what": "closed"}]
    assert "order.pdf" in said("case_changed", language, changes=changes[:1])
    assert " 2 " in said("case_changed", language, changes=changes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_digest_names_three_cases(language: str) -> None:
    """A digest says how many things happened, since when, and where: it names three cases, and that there are more."""
    from datetime import UTC, datetime

    from notify.domain.digest import Entry, arrange

    at = datetime(2026, 11, 10, 8, tzinfo=UTC)
    entries = [Entry("case_changed", at, "s", "s", f"C-{n}", "", None, None) for n in range(5)]
    text = said(DIGEST, language, digest=arrange(entries))
    assert "5" in text
    assert "C-0, C-1, C-2 ..." in text
    alone = said(DIGEST, language, digest=arrange([Entry("k", at, "s", "s", None, "", None, None)] * 2))
    assert "C-" not in alone
