"""The templates that admins edit, and messages made from them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from jinja2 import Template

from notify.domain.address import CONTROL
from notify.domain.link import PLACEHOLDER
from notify.exceptions import TemplateBroken, TemplateError, TemplateNotFound
from notify.rendering import formats, html
from notify.rendering.environment import ASKED, Environment, Field, run, typed

FALLBACK = "en"
HOUSE = "house"

#: A line of a digest; longer ones are cut.
LONGEST_SUMMARY = 300
_LONG_WORD = 40

#: The files of a template in a language.
SUBJECT, HTML, TEXT, SUMMARY = "subject.txt.j2", "body.html.j2", "body.txt.j2", "summary.txt.j2"
SMS = "sms.txt.j2"
_BARE = {HTML: "bare.html.j2", TEXT: "bare.txt.j2"}

#: What the folders of templates, and of their languages, are called.
NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Typed:
    """A template that an author typed, compiled.

    :param name: of the field
    """

    name: str
    template: Template


@dataclass(frozen=True, slots=True)
class Filled:
    """What a typed template became.

    :param asked: all names that it asked for
    """

    text: str
    asked: frozenset[str]


@dataclass(frozen=True, slots=True)
class RenderedText:
    """The text of an SMS, made from a template.

    :param language: of the template that was used
    :param personal: whether it asked for ``recipient``, see :class:`Rendered`
    :param asked: all that it asked for
    """

    text: str
    language: str
    personal: bool = False
    asked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message made from a template.

    :param subject: one line
    :param html: a whole page with its styles inlined, None where the kind has text only
    :param text: plain text
    :param language: of the template that was used, e.g. ``pl``
    :param personal: whether a template asked for ``recipient``; if not, all readers of this language and time zone
        get the same, given the same data but for the recipient
    :param asked: all that the templates asked for; who differs from its reader in nothing of this gets the same
    """

    subject: str
    html: str | None
    text: str
    language: str
    personal: bool = False
    asked: frozenset[str] = field(default=frozenset(), compare=False)


class TemplateLibrary:
    """The templates under one folder; an edited file takes effect with the next message.

    :param root: the folder with one folder a kind, e.g. ``include/templates``
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._environment = Environment(root)

    def kinds(self) -> tuple[str, ...]:
        """List the kinds that a message can be made from."""
        return tuple(name for name in _folders(self._root) if self._usable(name))

    def languages(self, kind: str) -> tuple[str, ...]:
        """List the languages that this kind is written in.

        :param kind: one of :meth:`kinds`
        """
        if there := self._usable(kind):
            return there
        raise self._not_found(kind, FALLBACK)

    def render(
        self,
        kind: str,
        *,
        language: str | None,
        timezone: str,
        data: Mapping[str, Any],
        house: bool = True,
        fallback: bool = True,
        settings_link: str | None = None,
    ) -> Rendered:
        """Make a message.

        The template sees the fields of ``data``. ``language``, ``timezone``, ``locale``, ``range`` and, in
        the bodies, ``layout``, ``mail_subject`` and ``settings_link`` are set here and win over fields of the same
        name.

        :param kind: one of :meth:`kinds`
        :param language: the reader's, e.g. ``pl`` or ``pl-PL``; None means ``en``
        :param timezone: the reader's, an IANA name
        :param data: the fields that the template uses
        :param house: whether to wrap it in the house template
        :param fallback: whether ``en`` will do where the kind lacks the language
        :param settings_link: where the reader changes what they get, with a placeholder for a token; None: the house
            template has no such link
        """
        folder, context = self._begin(kind, language, timezone, data, fallback=fallback)
        subject = self._subject(folder, context)
        context["mail_subject"] = subject
        tokens = _Tokens()
        context["settings_link"] = tokens.hide(settings_link) if house and settings_link else None
        page = self._html(folder, context, house=house)
        text = self._text(folder, context, house=house, page=page)
        return Rendered(
            subject=subject,
            html=None if page is None else tokens.show(page),
            text=tokens.show(text),
            language=context["language"],
            personal="recipient" in context[ASKED],
            asked=frozenset(context[ASKED]),
        )

    def summary(self, kind: str, *, language: str | None, timezone: str, data: Mapping[str, Any]) -> str:
        """Say in one line of a digest what happened; a kind without ``summary.txt.j2`` is summed up by its subject.

        A summary is the same for all readers: its template has no ``recipient``. (Where the subject stands in,
        :attr:`Rendered.personal` tells whether it is.)

        :param kind: one of :meth:`kinds`
        :param language: as for :meth:`render`, and chosen alike
        :param timezone: the reader's, an IANA name
        :param data: the fields that the template uses
        """
        folder, context = self._begin(kind, language, timezone, data, fallback=True)
        name = f"{folder}/{SUMMARY}"
        if self._has(name):
            context["recipient"] = Field("a summary is shared by all readers and cannot name the recipient")
            line = _carried(name, run(self._environment, name, context))
        else:
            line = self._subject(folder, context)
        return _shortened(" ".join(CONTROL.sub(" ", line).split()))

    def sms(
        self, kind: str, *, language: str | None, timezone: str, data: Mapping[str, Any], fallback: bool = True
    ) -> RenderedText:
        """Make the text of an SMS; only a kind with ``sms.txt.j2`` has one, in the languages that have it.

        :param kind: one of :meth:`kinds`
        :param language: as for :meth:`render`, and chosen alike
        :param timezone: the reader's, an IANA name
        :param data: the fields that the template uses
        :param fallback: whether ``en`` will do where the kind lacks the language
        """
        folder, context = self._begin(kind, language, timezone, data, fallback=fallback)
        name = f"{folder}/{SMS}"
        if fallback and not self._has(name) and self._has(f"{kind}/{FALLBACK}/{SMS}"):
            folder, context = self._begin(kind, FALLBACK, timezone, data, fallback=False)
            name = f"{folder}/{SMS}"
        if not self._has(name):
            raise TemplateNotFound(f"The template {kind!r} has no text for an SMS. Add {name}, or send it as a mail.")
        text = _carried(name, html.tidy(run(self._environment, name, context)))
        return RenderedText(text, context["language"], "recipient" in context[ASKED], frozenset(context[ASKED]))

    def typed(self, name: str, source: str) -> Typed:
        """A template that an author typed into a field.

        :param name: the field's; one that ends in ``.html.j2`` is escaped
        :raises TemplateBroken: it is none; the error names the line
        """
        return Typed(name, typed(self._environment, name, source))

    def fill(self, template: Typed, *, language: str | None, timezone: str, data: Mapping[str, Any]) -> Filled:
        """Make a text of a template that was typed.

        :param language: the reader's, for its formats
        :param timezone: the reader's, an IANA name
        :param data: the fields that it may use
        """
        wanted = (language or FALLBACK).replace("-", "_")
        asked: set[str] = set()
        context = {**data, "language": _base(wanted), "timezone": _zone(timezone), "locale": wanted, ASKED: asked}
        text = run(self._environment, template.name, context, template.template)
        return Filled(_carried(template.name, text), frozenset(asked))

    def has_sms(self, kind: str) -> bool:
        """Whether a kind has a text for an SMS, in any language.

        :param kind: one of :meth:`kinds`
        """
        return any(self._has(f"{kind}/{language}/{SMS}") for language in self._usable(kind))

    def _begin(
        self, kind: str, language: str | None, timezone: str, data: Mapping[str, Any], *, fallback: bool
    ) -> tuple[str, dict[str, Any]]:
        """The folder of the templates to use, and what they see."""
        wanted = (language or FALLBACK).replace("-", "_")
        chosen = self._choose(kind, wanted, fallback)
        context = {
            **data,
            "language": chosen,
            "timezone": _zone(timezone),
            "locale": wanted if _base(wanted) == chosen else chosen,
            ASKED: set(),
        }
        return f"{kind}/{chosen}", context

    def _usable(self, kind: str) -> tuple[str, ...]:
        if kind == HOUSE or not NAME.fullmatch(kind):
            return ()
        return tuple(name for name in _folders(self._root / kind) if self._has_body(kind, name))

    def _choose(self, kind: str, wanted: str, fallback: bool) -> str:
        # Every message comes by here: look for the one language first, list folders only to explain.
        if kind != HOUSE and NAME.fullmatch(kind):
            for language in (_base(wanted), FALLBACK) if fallback else (_base(wanted),):
                if self._has_body(kind, language):
                    return language
        raise self._not_found(kind, wanted)

    def _not_found(self, kind: str, wanted: str) -> TemplateNotFound:
        if there := self._usable(kind):
            return TemplateNotFound(
                f"The template {kind!r} is not written in {wanted!r}. It is written in: {', '.join(there)}. "
                f"Ask for one of these, or add the folder {kind}/<language>."
            )
        return TemplateNotFound(
            f"There is no template {kind!r}. There are: {', '.join(self.kinds()) or 'none'}. "
            f"A new one is a folder <kind>/<language> with {SUBJECT} and {HTML} or {TEXT}."
        )

    def _has(self, name: str) -> bool:
        return os.path.isfile(f"{self._root}/{name}")  # noqa: PTH113 - half the cost, several times a message

    def _has_body(self, kind: str, language: str) -> bool:
        folder = f"{kind}/{language}"
        return bool(LANGUAGE.fullmatch(language)) and (self._has(f"{folder}/{HTML}") or self._has(f"{folder}/{TEXT}"))

    def _subject(self, folder: str, context: Mapping[str, Any]) -> str:
        name = f"{folder}/{SUBJECT}"
        if not self._has(name):
            raise TemplateBroken(f"{name} is missing. Add it: a message needs a subject.")
        return _carried(name, " ".join(run(self._environment, name, context).split()))

    def _html(self, folder: str, context: Mapping[str, Any], *, house: bool) -> str | None:
        name = f"{folder}/{HTML}"
        if not self._has(name):
            return None
        page = run(self._environment, name, {**context, "layout": self._layout(HTML, context, house=house)})
        try:
            return html.inline_styles(page)
        except UnicodeEncodeError as error:
            raise TemplateError(f"{name}: the data has a character that no mail can carry: {error}.") from error

    def _text(self, folder: str, context: Mapping[str, Any], *, house: bool, page: str | None) -> str:
        name = f"{folder}/{TEXT}"
        if self._has(name):
            layout = self._layout(TEXT, context, house=house)
            return _carried(name, html.tidy(run(self._environment, name, {**context, "layout": layout}))) + "\n"
        try:
            return html.to_text(page or "") + "\n"
        except RecursionError as error:
            raise TemplateBroken(
                f"{folder}/{HTML}: its HTML is nested too deeply for a text part. Flatten it or add {TEXT}."
            ) from error

    def _layout(self, body: str, context: Mapping[str, Any], *, house: bool) -> str:
        if not house:
            return f"{HOUSE}/{_BARE[body]}"
        own = f"{HOUSE}/{context['language']}/{body}"
        # A kind may come in more languages than the house; a greeting in English is better than no mail.
        return own if self._has(own) else f"{HOUSE}/{FALLBACK}/{body}"


class _Tokens:
    """Lets a placeholder of a token stand where the link is, and nowhere else.

    What producers and people write may hold one as well, in a link to somewhere else: whoever followed that would give
    their token away. So during a rendering something else stands for it, which nobody can know.
    """

    def __init__(self) -> None:
        self._instead = token_urlsafe(3 * len(PLACEHOLDER) // 4)

    def hide(self, link: str) -> str:
        """The link as templates see it."""
        return link.replace(PLACEHOLDER, self._instead)

    def show(self, text: str) -> str:
        """What was rendered, with the link as it will be."""
        return text.replace(PLACEHOLDER, PLACEHOLDER.upper()).replace(self._instead, PLACEHOLDER)


def _shortened(line: str) -> str:
    if len(line) <= LONGEST_SUMMARY:
        return line
    cut = line[: LONGEST_SUMMARY - 1]
    whole_words, _, rest = cut.rpartition(" ")
    return f"{whole_words if len(rest) < _LONG_WORD else cut}…"


@lru_cache(maxsize=8)
def library(root: Path) -> TemplateLibrary:
    """The templates below a root; compiled once per process, read again when they change."""
    return TemplateLibrary(root)


def _carried(name: str, text: str) -> str:
    """The text, if there are bytes for it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TemplateError(f"{name}: the data has a character that no mail can carry: {error}.") from error
    return text


def _folders(parent: Path) -> list[str]:
    return sorted(entry.name for entry in parent.iterdir() if entry.is_dir()) if parent.is_dir() else []


def _base(language: str) -> str:
    return language.partition("_")[0].lower()


def _zone(timezone: str) -> str:
    try:
        return formats.zone_of(timezone).key
    except formats.UnusableValueError as error:
        raise TemplateError(f"{error}.") from error
