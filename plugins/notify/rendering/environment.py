"""The Jinja environment of the templates: sandboxed, strict about fields, with the reader's formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

from jinja2 import (
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateRuntimeError,
    TemplateSyntaxError,
    UndefinedError,
    pass_context,
)
from jinja2 import TemplateError as JinjaError
from jinja2.filters import do_format
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from notify.exceptions import TemplateBroken, TemplateError, TemplateFieldMissing, TemplateTooSlow
from notify.rendering import bounds, formats, html
from notify.rendering.bounds import MAX_CHARACTERS, MAX_STEPS
from notify.rendering.formats import UnusableValueError

#: Under this key a rendering's context keeps the set of names that its templates asked for. The blank keeps the key
#: out of their reach, and whatever is included, imported with context or extended gets it on.
ASKED = "asked for"


class Field(StrictUndefined):
    """A field that the data does not have: an error as soon as the template uses it."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        # With a hint Jinja speaks of blocks and imports: then the template is at fault, not the data.
        at_fault = TemplateRuntimeError if hint and exc is UndefinedError else exc
        super().__init__(hint, obj, name, at_fault)

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        return f"there is no field {self._undefined_name!r}{_beside(self._undefined_obj)}"


def _beside(owner: object) -> str:
    if owner is missing:
        return " in the data"
    if isinstance(owner, Mapping):
        return f"; the fields there are: {', '.join(map(str, owner)) or 'none'}"
    return " in an empty value (None)" if owner is None else f" in a value of type {type(owner).__name__}"


class Steps:
    """``range`` for one rendering: its loops share one limit, so nested ones cannot run for ever."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def __call__(self, *args: int) -> range:
        """Count, like Python's own ``range``."""
        steps = range(*args)
        self._left -= len(steps)
        if self._left < 0:
            raise OverflowError(f"the template counts more than {MAX_STEPS} steps")
        return steps


class NotingContext(Context):
    """A context that notes which names templates ask for, whether or not they then use them."""

    def __init__(self, environment: Any, parent: dict[str, Any], *rest: Any, **more: Any) -> None:
        super().__init__(environment, parent, *rest, **more)
        noted: set[str] | None = parent.get(ASKED)
        self._note = (set[str]() if noted is None else noted).add

    def resolve_or_missing(self, key: str) -> Any:
        """Look a name up; every way that Jinja has to one leads here.

        :param key: the name
        """
        self._note(key)
        if key in self.vars:
            return self.vars[key]
        return self.parent.get(key, missing)


class Environment(ImmutableSandboxedEnvironment):
    """What templates may do.

    :param root: the folder of the templates
    """

    context_class = NotingContext
    code_generator_class = bounds.Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(
            loader=FileSystemLoader(root),
            undefined=Field,
            autoescape=_escapes,
            auto_reload=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        del self.globals["lipsum"]
        self.filters.update({name: bounds.sized(self.filters[name]) for name in bounds.SIZED})
        self.filters[bounds.TURNS] = bounds.turns
        self.filters.update(
            format=_format,
            datetime=formats.format_datetime,
            date=formats.format_date,
            time=formats.format_time,
            number=formats.format_number,
            day=_day,
            plural=_plural,
            paragraphs=html.paragraphs,
            to_text=html.to_text,
            url=_url,
        )

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up a field; one named ``items`` is not the method of its owner.

        :param obj: what the template has in hand
        :param attribute: what it asks for after the dot
        """
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call something, a macro above all, unless the time is over.

        :param context: of the rendering
        :param called: what is called
        """
        return super().call(context, called, *bounds.arguments(called, args), **kwargs)

    def wrap_str_format(self, value: Any) -> Any:
        """Let templates use a text as a format, unless the result would fill the memory.

        :param value: what a template has looked up
        """
        found = super().wrap_str_format(value)
        if found is not None:
            bounds.check_format(value.__self__)
        return found

    def bounded(self, text: str) -> str:
        """A text that was put together, unless it would fill the memory.

        :param text: as it is by now
        """
        if len(text) > MAX_CHARACTERS:
            raise OverflowError("the result of ~ is too big for a mail")
        return text

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Add, multiply, or use a text as a format, unless the result would fill the memory.

        :param context: of the rendering
        :param operator: ``+``, ``*``, ``**`` or ``%``
        :param left: operand
        :param right: operand
        """
        if operator == "%":
            bounds.check_format(left)
        elif bounds.explodes(operator, left, right):
            raise OverflowError(f"the result of {operator} is too big for a mail")
        return super().call_binop(context, operator, left, right)


def typed(environment: Environment, name: str, source: str) -> Template:
    """A template that an author typed, in the same sandbox as the files.

    :param name: of the field that it was typed into; one that ends as those of HTML files do is escaped as these are
    :raises TemplateBroken: it is none; the error names the line
    """
    try:
        code = environment.compile(source, name, name)
    except Exception as error:  # noqa: BLE001 - as in run
        raise _explain(error, environment.root, name) from (error if _speaks_of_template(error) else None)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def run(environment: Environment, name: str, context: Mapping[str, Any], template: Template | None = None) -> str:
    """Render one template file; whatever goes wrong becomes an error that names the file and the line.

    :param environment: where the file is
    :param name: the file, relative to the root of the templates
    :param context: the fields it may use
    :param template: instead of the file, one that was typed, see :func:`typed`
    """
    try:
        chosen = template or environment.get_template(name)
        with bounds.limited_time():
            return "".join(_limited(chosen.generate({**context, "range": Steps()})))
    except Exception as error:  # noqa: BLE001 - a template may raise anything; all of it becomes a TemplateError
        # A chained error is in the log as well, with its own words.
        raise _explain(error, environment.root, name) from (error if _speaks_of_template(error) else None)


def _escapes(name: str | None) -> bool:
    return name is not None and name.endswith(".html.j2")


def _format(pattern: str, *args: Any, **kwargs: Any) -> str:
    """Use a text as a format, as Jinja's own filter does."""
    bounds.check_format(pattern)
    return do_format(pattern, *args, **kwargs)


def _url(value: object) -> str:
    if isinstance(value, str) and html.is_address(value):
        return value
    formats.check_defined(value)
    raise UnusableValueError(
        f"{formats.kind_of(value)} is no address for a link. Give it whole, beginning with https://"
    )


@pass_context
def _day(context: Context, value: object) -> str:
    """Write the day and month of a moment, in the reader's zone: for lists, where the year is plain.

    :param value: an aware datetime, a date, or either as ISO 8601 text
    """
    pattern = formats.locale_of(str(context.resolve("locale"))).datetime_skeletons["MMMd"]
    return formats.format_date(context, value, pattern.pattern)


@pass_context
def _plural(context: Context, count: object, **forms: str) -> str:
    """Choose the form that the language has for a count, which is not written itself.

    :param count: a whole number
    :param forms: ``other``, and where they differ ``one``, ``few`` and so on: Unicode's names, as the language has them
    """
    if not isinstance(count, int):
        formats.check_defined(count)
        raise UnusableValueError(f"{formats.kind_of(count)} is no whole number. A plural form needs one")
    if "other" not in forms:
        raise TypeError("plural needs the form `other`")
    return forms.get(formats.locale_of(str(context.resolve("locale"))).plural_form(count), forms["other"])


def _limited(chunks: Iterable[str]) -> Iterator[str]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > MAX_CHARACTERS:
            raise OverflowError(f"the template makes more than {MAX_CHARACTERS} characters")
        yield chunk


#: Errors that tell of types and of the template. Of others, a ValueError above all, nobody knows what they quote.
_SPEAK_OF_TEMPLATE = (
    JinjaError,
    UnusableValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    OSError,
)


def _speaks_of_template(error: Exception) -> bool:
    return isinstance(error, _SPEAK_OF_TEMPLATE)


def _explain(error: Exception, root: Path, name: str) -> TemplateError:
    place = _place(error, root, name)
    if isinstance(error, UndefinedError):
        return TemplateFieldMissing(
            f"{place}: {error.message}. Hand the field over in data, or give it a default in the template."
        )
    if isinstance(error, UnusableValueError):
        return TemplateError(f"{place}: {error}.")
    words = f"{error}" if _speaks_of_template(error) else "its words may quote the data, which belongs in no log"
    what = f"{type(error).__name__}: {words}".rstrip(": .")
    if isinstance(error, bounds.TooSlowError):
        return TemplateTooSlow(f"{place}: {error}. Correct the template.")
    return TemplateBroken(f"{place}: {what}. Correct the template.")


def _place(error: Exception, root: Path, name: str) -> str:
    """Where it happened: the innermost frame that lies in a template, which Jinja puts into the traceback."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or name}, line {error.lineno}"
    frames = [(Path(frame.f_code.co_filename), line) for frame, line in walk_tb(error.__traceback__)]
    inside = [(file, line) for file, line in frames if file.is_relative_to(root)]
    return f"{inside[-1][0].relative_to(root).as_posix()}, line {inside[-1][1]}" if inside else name
