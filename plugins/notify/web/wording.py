"""What the public pages say, in their reader's language: one file for each in ``languages``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LANGUAGES = Path(__file__).parent / "languages"
FALLBACK = "en"

#: A language that a browser asks for, and how much it is wanted (RFC 9110, 12.5.4).
_ASKED = re.compile(r"([A-Za-z]{2,3})(?:-[A-Za-z0-9]+)*(?:\s*;\s*q=([01](?:\.[0-9]{0,3})?))?\s*(?:,|\Z)")

#: The longest Accept-Language that is read.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Wording:
    """All that is said in a language.

    :param language: its code, e.g. ``pl``
    :param texts: by section and name, e.g. ``my.title``
    """

    language: str
    texts: Mapping[str, str]

    def __call__(self, name: str, **values: str) -> str:
        """A text, with values in the places of their names."""
        return self.texts[name].format(**values)

    def kind(self, name: str) -> str:
        """What a kind of event is called; an admin's own by its name."""
        return self.texts.get(f"kinds.{name}") or name.replace("_", " ").capitalize()


@cache
def _all() -> dict[str, Wording]:
    return {file.stem: Wording(file.stem, dict(_flat(file))) for file in sorted(LANGUAGES.glob("*.toml"))}


def _flat(file: Path) -> Iterator[tuple[str, str]]:
    for section, texts in tomllib.loads(file.read_text(encoding="utf-8")).items():
        for name, text in texts.items():
            yield f"{section}.{name}", text


def languages() -> tuple[str, ...]:
    """The languages there are."""
    return tuple(_all())


def wording(*wanted: str | None, asked: str = "") -> Wording:
    """The first language that there is.

    :param wanted: a person's, a mail's; e.g. ``pl`` or ``pl-PL``
    :param asked: by the browser, its Accept-Language; counts where nothing else is known
    """
    names = [re.split("[-_]", one)[0].lower() for one in wanted if one]
    found = (_all().get(name) for name in [*names, *_preferred(asked), FALLBACK])
    return next(one for one in found if one is not None)


def _preferred(asked: str) -> list[str]:
    """The languages that a browser asks for, the most wanted first."""
    ranked = [(float(weight or 1), name.lower()) for name, weight in _ASKED.findall(asked[:_LONGEST])]
    return [name for weight, name in sorted(ranked, key=lambda one: -one[0]) if weight > 0]
