"""The link at the end of each mail: in the reader's language, where there is one, and never where others can get it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from notify.domain.link import PLACEHOLDER
from notify.rendering.library import Rendered, TemplateLibrary

SHIPPED = TemplateLibrary(Path(__file__).parents[2] / "include" / "templates")
LINK = f"https://air.example.com/notify/my/{PLACEHOLDER}"
WORDS = {
    "en": "Change your notification settings",
    "pl": "Zmień ustawienia powiadomień",
    "sk": "Zmeniť nastavenia upozornení",
}
DATA: dict[str, Any] = {"subject": "Hello", "message": "Please look.", "html": False, "case": None}


def render(language: str = "en", link: str | None = LINK, **more: Any) -> Rendered:
    house = more.pop("house", True)
    return SHIPPED.render(
        "send_message", language=language, timezone="UTC", data=DATA | more, settings_link=link, house=house
    )


@pytest.mark.parametrize("language", WORDS)
def test_the_link(language: str) -> None:
    """Text and HTML have the link once, with words in the reader's language; its token is still to come."""
    mail = render(language)
    assert mail.html is not None
    assert mail.text.endswith(f"\n\n{WORDS[language]}:\n{LINK}\n")
    assert mail.html.count(f'href="{LINK}"') == 1
    assert mail.html.count(PLACEHOLDER) == 1
    assert f">{WORDS[language]}</a>" in mail.html
    assert not mail.personal


@pytest.mark.parametrize("language", WORDS)
def test_without(language: str) -> None:
    """Without a link nothing is said of it, also where a template has a field of its own of that name."""
    for mail in (render(language, None), render(language, None, settings_link="https://evil.example")):
        assert WORDS[language] not in f"{mail.html}{mail.text}"
        assert "evil.example" not in f"{mail.html}{mail.text}"


def test_bare_mails() -> None:
    """A mail without the house template has no footer, and no link."""
    mail = render(house=False)
    assert PLACEHOLDER not in f"{mail.html}{mail.text}"
    assert "notify/my" not in f"{mail.html}{mail.text}"


def test_renderings_are_shared() -> None:
    """Two renderings of the same are the same: readers share a text in storage."""
    assert render() == render()


@pytest.mark.parametrize("html", [False, True])
def test_a_placeholder_that_somebody_wrote(html: bool) -> None:
    """Who writes the placeholder into a text, in whatever way, gets no token there: only our own link has one."""
    spelled = f"&#{ord(PLACEHOLDER[0])};{PLACEHOLDER[1:]}"
    evil = f"https://evil.example/{PLACEHOLDER} https://evil.example/{spelled}"
    message = f"<a href='https://evil.example/{spelled}'>Look</a> {evil}" if html else evil
    mail = render(message=message, html=html)
    assert mail.html is not None
    assert mail.text.count(PLACEHOLDER) == mail.html.count(PLACEHOLDER) == 1
    assert f"evil.example/{PLACEHOLDER}" not in mail.text + mail.html


def test_an_older_house(tmp_path: Path) -> None:
    """A house template of before, which knows no link, goes on working."""
    (tmp_path / "house" / "en").mkdir(parents=True)
    (tmp_path / "house" / "en" / "body.txt.j2").write_text("{% block content %}{% endblock %}\n\n-- \nUs")
    (tmp_path / "note" / "en").mkdir(parents=True)
    (tmp_path / "note" / "en" / "subject.txt.j2").write_text("Hi")
    (tmp_path / "note" / "en" / "body.txt.j2").write_text("{% extends layout %}{% block content %}Hi{% endblock %}")
    mail = TemplateLibrary(tmp_path).render("note", language="en", timezone="UTC", data={}, settings_link=LINK)
    assert mail.text == "Hi\n--\nUs\n"


def test_own_templates(tmp_path: Path) -> None:
    """A kind's own template may put the link elsewhere, but in the house alone."""
    for file in ("body.txt.j2", "bare.txt.j2"):
        folder = tmp_path / "house" / ("en" if file.startswith("body") else "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{% block content %}{% endblock %}")
    (tmp_path / "note" / "en").mkdir(parents=True)
    (tmp_path / "note" / "en" / "subject.txt.j2").write_text("Hi")
    body = "{% extends layout %}{% block content %}Link: {{ settings_link }}{% endblock %}"
    (tmp_path / "note" / "en" / "body.txt.j2").write_text(body)
    for house, shown in ((True, LINK), (False, None)):
        mail = TemplateLibrary(tmp_path).render(
            "note", language="en", timezone="UTC", data={}, settings_link=LINK, house=house
        )
        assert mail.text == f"Link: {shown}\n"
