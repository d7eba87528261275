"""What keeps a template from taking all time and memory of its process: also one that an author typed by mistake.

It stops what runs for ever, and what one expression would blow up. Whoever means to harm finds ways to use much memory
all the same: the right to write campaigns is for people who are trusted so far.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from time import thread_time
from types import BuiltinMethodType
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context, LoopContext

#: Seconds of the processor for one file, or one field that was typed: hundreds of times what a long digest needs.
SLOWEST = 10.0

#: Far beyond any mail, and far below what would hurt the machine.
MAX_CHARACTERS = 10_000_000
MAX_STEPS = 100_000
MAX_POWER = 100
MAX_BITS = 1_000_000

#: The filter through which all loops run. No template can name it, for its blank.
TURNS = "turns of a loop"

#: After so many of them the clock is looked at, which takes longer than a turn.
TURNS_AT_ONCE = 32

#: Filters that are told how wide, how deep or how many.
SIZED = ("batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap")

#: In formats: a width of more digits than any mail has columns, or one that stands elsewhere.
_WIDE = re.compile(r"%(?:\([^)]*\))?[-#0 +.0-9]*(?:[0-9]{6}|\*)|\{[^{}]*(?::[^{}]*[0-9]{6}|\{)")

#: What stands for itself in them.
_DOUBLED = re.compile(r"%%|\{\{|\}\}")

_until: ContextVar[float] = ContextVar("until")


@contextmanager
def limited_time() -> Iterator[None]:
    """Let a template run for so long and no longer."""
    token = _until.set(thread_time() + SLOWEST)
    try:
        yield
    finally:
        _until.reset(token)


class TooSlowError(OverflowError):
    """A template takes too long."""


def check_time() -> None:
    """Whether a template may go on.

    :raises TooSlowError: it may not
    """
    if thread_time() > _until.get(float("inf")):
        raise TooSlowError(f"the template takes longer than {SLOWEST:g} seconds")


class Generator(CodeGenerator):
    """Compiles templates so that each turn of a loop is one in which they may be stopped."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802 - Jinja's
        """Compile a template.

        :param node: all of it
        """
        for loop in node.find_all(nodes.For):
            counted = nodes.Filter(loop.iter, TURNS, [], [], None, None, lineno=loop.lineno)
            loop.iter = counted.set_environment(self.environment)
        super().visit_Template(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's
        """Compile ``~``, by which a text doubles with each turn of a loop.

        :param node: what is put together
        """
        self.write("environment.bounded(")
        super().visit_Concat(node, frame)
        self.write(")")


@pass_context
def turns(_context: Context, given: object) -> object:
    """What a loop runs over, so that it can be stopped."""  # with its context: Jinja asks for it when it runs
    return _stoppable(given) if isinstance(given, Iterable) else given


def _stoppable(given: Iterable[object]) -> Iterator[object]:
    for number, one in enumerate(given):
        if number % TURNS_AT_ONCE == 0:
            check_time()
        yield one


def arguments(called: object, given: Sequence[Any]) -> Sequence[Any]:
    """What a template calls something with; a loop that goes deeper can be stopped there as well.

    :raises OverflowError: the time is over, or the result would fill the memory
    """
    check_time()
    if isinstance(called, LoopContext) and given and isinstance(given[0], Iterable):
        return (_stoppable(given[0]), *given[1:])
    if isinstance(called, BuiltinMethodType) and isinstance(called.__self__, str | bytes | int):
        _check_sizes(given)
    return given


def sized(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses sizes which would fill the memory."""
    own = 2 if hasattr(function, "jinja_pass_arg") else 1  # the text itself, behind what Jinja passes

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _check_sizes([*args[own:], *kwargs.values()])
        return function(*args, **kwargs)

    return bounded


def _check_sizes(given: Iterable[object]) -> None:
    if any(isinstance(one, int) and abs(one) > MAX_STEPS for one in given):
        raise OverflowError(f"a size is above {MAX_STEPS}")


def check_format(pattern: object) -> None:
    """Whether a format may be used.

    :raises OverflowError: it could fill the memory
    """
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    if isinstance(text, str) and _WIDE.search(_DOUBLED.sub("", text)):
        raise OverflowError("a format has a width of six digits, or one that stands elsewhere")


def explodes(operator: str, left: Any, right: Any) -> bool:
    """Whether the result of an operator would fill the memory."""
    if operator == "+":
        return isinstance(left, Sequence) and isinstance(right, Sequence) and len(left) + len(right) > MAX_CHARACTERS
    if operator == "**":
        powers = isinstance(right, int | float) and abs(right) > MAX_POWER
        return powers or (isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_BITS)
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length() > MAX_BITS
    if isinstance(left, int) and isinstance(right, Sequence):
        left, right = right, left
    return isinstance(left, Sequence) and isinstance(right, int) and len(left) * right > MAX_STEPS
