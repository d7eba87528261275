"""What the public pages say: the same in each language, and in the language that the reader has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from notify.domain.kind import BUILT_IN
from notify.domain.preference import Frequency
from notify.storage.unsubscriptions import BULK
from notify.web.wording import languages, wording

WEB = Path(__file__).parents[2] / "plugins" / "notify" / "web"
TEMPLATES = Path(__file__).parents[2] / "include" / "templates"


def names(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_the_languages_of_the_mails() -> None:
    """The pages speak every language that the house template is written in."""
    assert set(languages()) == {folder.name for folder in (TEMPLATES / "house").iterdir() if folder.is_dir()}


@pytest.mark.parametrize("language", languages())
def test_each_says_all(language: str) -> None:
    """Each language has all texts, none is empty, and each text has the names that it has in English."""
    english, other = wording("en").texts, wording(language).texts
    assert other.keys() == english.keys()
    assert all(other.values())
    assert {key: names(text) for key, text in other.items()} == {key: names(text) for key, text in english.items()}


@pytest.mark.parametrize("language", languages())
def test_each_knows_what_there_is(language: str) -> None:
    """Each language has words for every built-in kind, for bulk mail, every frequency and every day."""
    texts = wording(language).texts
    assert {f"kinds.{name}" for name in (*BUILT_IN, BULK)} <= texts.keys()
    assert {f"frequencies.{one}" for one in Frequency} <= texts.keys()
    assert {f"weekdays.{day}" for day in range(1, 8)} <= texts.keys()


def test_all_texts_are_used() -> None:
    """Each text is named by a template or by the code, and nothing else is."""
    files = [*(WEB / "templates" / "public").iterdir(), WEB / "pages" / "public.py", WEB / "wording.py"]
    source = "\n".join(file.read_text() for file in files)
    sections = {key.partition(".")[0] for key in wording("en").texts}
    used = {
        found for found in re.findall(r'"([a-z]+\.(?!html)\w+)"', source) if found.partition(".")[0] in sections
    } | {"faults.quiet", "faults.hour", "faults.other", "gone.title", "trouble.title", "trouble.later", "trouble.asked"}
    chosen = ("kinds.", "frequencies.", "channels.", "weekdays.")
    listed = {key for key in wording("en").texts if not key.startswith(chosen)}
    assert listed == {one for one in used if not one.startswith(chosen)}


def test_own_kinds() -> None:
    """An admin's own kind is shown by its name, made legible."""
    assert wording("pl").kind("invoice_paid") == "Invoice paid"
    assert wording("pl").kind("case_received") == "Nowa sprawa"


@pytest.mark.parametrize(
    ("wanted", "asked", "language"),
    [
        (["pl"], "sk", "pl"),
        (["pl-PL"], "", "pl"),
        (["SK_sk"], "", "sk"),
        ([None, "sk"], "pl", "sk"),
        (["de", "pl"], "", "pl"),
        ([None, None], "pl-PL,pl;q=0.9,en;q=0.5", "pl"),
        ([], "de-CH, sk;q=0.3, pl;q=0.7", "pl"),
        ([], "pl;q=0, sk;q=0.1", "sk"),
        ([], "de, fr", "en"),
        ([], "*", "en"),
        ([], "", "en"),
        ([], "q=;;,pl;q=9, \x00" * 50, "en"),
        (["", ".."], "", "en"),
    ],
)
def test_the_language(wanted: list[str | None], asked: str, language: str) -> None:
    """The reader's own language counts, then the mail's, then what the browser asks for; at last English."""
    assert wording(*wanted, asked=asked).language == language
