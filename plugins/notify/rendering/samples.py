"""Sample data of templates: to preview each, and to find what is broken before a message needs it.

What a template is given stands in ``<kind>/sample.json``, below the root of the templates; what all of them are given
beside (case, actor, recipient) in ``house/sample.json``. An admin's own kind brings its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from notify.domain.digest import Entry, arrange
from notify.domain.faults import first_of
from notify.domain.kind import DIGEST, Kind
from notify.domain.sms import Content, parse_text
from notify.exceptions import (
    ConfigurationError,
    InvalidText,
    TemplateBroken,
    TemplateError,
    TemplateFieldMissing,
    TemplateNotFound,
    UnusableSample,
)
from notify.rendering.library import (
    FALLBACK,
    HOUSE,
    HTML,
    LANGUAGE,
    NAME,
    SMS,
    SUBJECT,
    SUMMARY,
    TEXT,
    Rendered,
    library,
)

SAMPLE = "sample.json"

#: A folder that has none of these is for no language.
_PARTS = frozenset({SUBJECT, HTML, TEXT})

_MOMENT = TypeAdapter(AwareDatetime)
_ENTRIES = TypeAdapter(list[Entry])


class State(StrEnum):
    """How a template stands in a language."""

    FINE = "fine"  #: it makes a message of its sample data
    BROKEN = "broken"  #: it does not
    UNTRIED = "untried"  #: it needs fields that no sample data has, so nobody knows


@dataclass(frozen=True, slots=True)
class Tried:
    """A template in a language, tried with its sample data.

    :param files: its own, by name
    :param problem: where and why it does not make a message, and what to do; empty where it does
    """

    language: str
    files: tuple[str, ...]
    state: State
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a template stands in all languages.

    :param name: of its folder
    :param kinds: kinds of event that it speaks of
    :param missing: languages that it is not written in, and another template is
    :param problem: of the template as a whole, and what to do; empty where there is none
    """

    name: str
    kinds: tuple[str, ...]
    tried: tuple[Tried, ...]
    missing: tuple[str, ...]
    problem: str = ""

    @property
    def broken(self) -> bool:
        """Whether some message would not be made."""
        return bool(self.problem) or any(one.state is State.BROKEN for one in self.tried)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a template makes of its sample data.

    :param summary: its line in a digest, None where it has none
    :param sms: its text as an SMS, None where it has none
    """

    rendered: Rendered
    summary: str | None
    sms: Content | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """The templates below a root, with their sample data.

    :param root: of the templates
    :param timezone: of the readers, an IANA name
    :param spoken: each kind of event after the template that speaks of it
    """

    root: Path
    timezone: str
    spoken: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, root: Path, timezone: str, kinds: Mapping[str, Kind]) -> Samples:
        """With the kinds of events that there are."""
        return cls(root, timezone, tuple((kind.template, name) for name, kind in kinds.items()))

    def standings(self) -> tuple[Standing, ...]:
        """Try each template in each language; the broken ones come first. What has not changed is not tried again.

        :raises ConfigurationError: the folder is not there or cannot be read
        """
        try:
            files = tuple(sorted(_files(self.root)))
        except OSError as error:
            raise ConfigurationError(
                f"The folder of the templates, {self.root}, cannot be read: {error.strerror}. No mail can be made. "
                "Put include/templates beside the plugins folder, or name the folder in the environment variable "
                "NOTIFY_TEMPLATES, for API server, scheduler and workers alike."
            ) from None
        return _standings(self, files)

    def kinds_of(self, name: str) -> tuple[str, ...]:
        """The kinds of events that a template speaks of."""
        return tuple(sorted(kind for template, kind in self.spoken if template == name))

    def data(self, name: str) -> dict[str, Any]:
        """The sample data of a template: its own, and what all are given.

        :raises UnusableSample: it cannot be read
        """
        own = self._read(name)
        data = {**self._read(HOUSE), "kind": next(iter(self.kinds_of(name)), name), **own}
        with suppress(ValidationError):  # a text that is no moment is what the template makes of it
            data["occurred_at"] = _MOMENT.validate_python(data.get("occurred_at"))
        if name == DIGEST and "entries" in own:
            data["digest"] = _digest(own["entries"])
        return data

    def preview(self, name: str, language: str, **instead: Any) -> Preview:
        """What a template makes of its sample data, in one language.

        :param instead: fields that are given instead of the sample's
        :raises TemplateError: it makes nothing; the message says where, why, and what to do
        """
        templates, data = library(self.root), {**self.data(name), **instead}
        try:
            rendered = templates.render(name, language=language, timezone=self.timezone, data=data, fallback=False)
            summary = None
            if self.kinds_of(name) or (self.root / name / language / SUMMARY).is_file():
                summary = templates.summary(name, language=language, timezone=self.timezone, data=data)
            sms = self._sms(name, language, data)
        except TemplateFieldMissing as error:
            raise TemplateFieldMissing(
                f"{error} What the preview and the check hand over is {name}/{SAMPLE}: add the field there."
            ) from None
        return Preview(rendered, summary, sms)

    def _sms(self, name: str, language: str, data: Mapping[str, Any]) -> Content | None:
        place = f"{name}/{language}/{SMS}"
        if not (self.root / place).is_file():
            return None
        made = library(self.root).sms(name, language=language, timezone=self.timezone, data=data, fallback=False)
        try:
            return parse_text(made.text)
        except InvalidText as error:
            raise TemplateBroken(f"{place}: of its sample data it makes no SMS: {error}.") from None

    def _read(self, name: str) -> dict[str, Any]:
        """What a file of sample data says; nothing where there is none."""
        place = f"{name}/{SAMPLE}"
        try:
            data = json.loads((self.root / place).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UnusableSample(f"{place} cannot be read: {error.strerror}. Let Airflow's user read it.") from None
        except (ValueError, RecursionError) as error:
            raise UnusableSample(f"{place} is no JSON: {error}. Correct it.") from None
        if not isinstance(data, dict):
            raise UnusableSample(f"{place} is no JSON object. Write the fields of the template, each with a value.")
        return data


def _digest(entries: object) -> object:
    """A digest is arranged, as in a run, and so no text of JSON."""
    try:
        return arrange(_ENTRIES.validate_python(entries))
    except ValidationError as error:
        raise UnusableSample(f"{DIGEST}/{SAMPLE}: entries: {first_of(error)}. Correct it.") from None
    except (ValueError, TypeError) as error:  # none at all, or moments with and without a zone
        raise UnusableSample(f"{DIGEST}/{SAMPLE}: entries: {error}. Correct it.") from None


#: A file with what changes when it does: path, time of the last change, size.
_File = tuple[str, int, int]


def _files(root: Path) -> Iterator[_File]:
    """The files of a root, three folders deep: no root that was named by mistake takes for ever."""
    outer = _folders(root)
    for folder in (root, *outer, *(inner for parent in outer for inner in _folders(parent))):
        for entry in os.scandir(folder):
            if entry.is_file():
                found = entry.stat()
                yield os.path.relpath(entry.path, root), found.st_mtime_ns, found.st_size


def _folders(parent: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(parent) if entry.is_dir() and not entry.name.startswith("."))


@lru_cache(maxsize=4)
def _standings(samples: Samples, files: tuple[_File, ...]) -> tuple[Standing, ...]:
    written = _written(files)
    languages = {language for found in written.values() for language in found if LANGUAGE.fullmatch(language)}
    found = []
    for name in written.keys() | {template for template, _ in samples.spoken}:
        own = written.get(name, {})
        tried = tuple(_tried(samples, name, language, tuple(own[language])) for language in sorted(own))
        problem = _problem(samples.root, name, own)
        found.append(Standing(name, samples.kinds_of(name), tried, tuple(sorted(languages - own.keys())), problem))
    return tuple(sorted(found, key=lambda one: (not one.broken, one.name)))


def _written(files: tuple[_File, ...]) -> dict[str, dict[str, list[str]]]:
    """The files by template and language. A folder without any part of a mail is meant for something else."""
    found: dict[str, dict[str, list[str]]] = {}
    for path, _, _ in files:
        name, _, rest = path.partition(os.sep)
        language, _, file = rest.partition(os.sep)
        if name != HOUSE and file:
            found.setdefault(name, {}).setdefault(language, []).append(file)
    mails = {
        name: {language: own for language, own in languages.items() if not _PARTS.isdisjoint(own)}
        for name, languages in found.items()
    }
    return {name: languages for name, languages in mails.items() if languages}


def _problem(root: Path, name: str, languages: Mapping[str, list[str]]) -> str:
    if not NAME.fullmatch(name):
        return (
            f"{name} is not used: the folder of a template has a name of lower-case letters, digits and underscores. "
            "Rename it."
        )
    if FALLBACK in languages:
        return ""
    try:
        library(root).languages(name)
    except TemplateNotFound as error:
        return str(error)
    return f"{name} is not written in {FALLBACK!r}, which readers of all other languages get. Add {name}/{FALLBACK}."


def _tried(samples: Samples, name: str, language: str, files: tuple[str, ...]) -> Tried:
    if not LANGUAGE.fullmatch(language):
        problem = f"{name}/{language} is not used: a language is written as in {FALLBACK!r}. Rename the folder."
        return Tried(language, files, State.BROKEN, problem)
    try:
        samples.preview(name, language)
    except TemplateFieldMissing as error:
        state = State.BROKEN if (samples.root / name / SAMPLE).is_file() else State.UNTRIED
        return Tried(language, files, state, str(error))
    except TemplateError as error:
        return Tried(language, files, State.BROKEN, str(error))
    return Tried(language, files, State.FINE)
