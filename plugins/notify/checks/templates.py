"""The templates: each is tried with its sample data."""

from __future__ import annotations

from collections.abc import Iterator

from notify import settings
from notify.checks import ids
from notify.checks.check import Check, Found, Place
from notify.checks.surroundings import Surroundings
from notify.domain.kind import BUILT_IN, DIGEST, UNDELIVERED
from notify.doors.base import PLAIN_KIND
from notify.exceptions import ConfigurationError, TemplateNotFound
from notify.rendering.library import library
from notify.rendering.samples import Samples, Standing, State

#: What is made of no event: a hand-over of plain text, a digest, a word that a mail came back.
_OURS = frozenset({PLAIN_KIND, DIGEST, UNDELIVERED})

#: All templates in all languages, compiled and tried anew; where none has changed, they are not tried again.
_LONGER = 20.0


def _tried(_around: Surroundings) -> Iterator[Found]:
    try:
        standings = _samples().standings()
    except ConfigurationError as error:
        yield Found(str(error))
        return
    for name in sorted(_OURS - {standing.name for standing in standings}):
        yield Found(_missing(name))
    for standing in standings:
        place = Place(f"templates#{standing.name}", "Templates", ours=True)
        for problem in _problems(standing):
            yield Found(problem, place=place)


def _missing(name: str) -> str:
    try:
        library(settings.templates_root()).languages(name)
    except TemplateNotFound as error:
        return str(error)
    return ""


def _samples() -> Samples:
    """The samples; a Variable that cannot be used is told by another check."""
    try:
        zone, kinds = settings.timezone(), settings.kinds()
    except ConfigurationError:
        zone, kinds = settings.DEFAULT_TIMEZONE, dict(BUILT_IN)
    return Samples.of(settings.templates_root(), zone, kinds)


def _problems(standing: Standing) -> Iterator[str]:
    if standing.problem:
        yield standing.problem
    for one in standing.tried:
        if one.state is State.BROKEN:
            yield f"The template {standing.name} is broken in {one.language}: {one.problem}"


CHECKS = (
    Check(
        id=ids.TEMPLATE,
        title="The templates make mails",
        meaning="What the template speaks of cannot be handed over, published or made a digest of in that language.",
        remedy="Correct or add the file, in the same folder on all machines of Airflow; it takes effect with the next "
        "message.",
        look=_tried,
        place=Place("templates", "Templates", ours=True),
        patience=_LONGER,
    ),
)
