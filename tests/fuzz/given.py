# ruff: noqa: E501 - lists of what breaks programs are best read as tables
"""What is handed over, by whatever door: fields, some of them spoiled, and files, some of them damaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.fuzz.values import ANY, SECRET, TEXT, WORDS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Given:
    """What is handed over.

    :param fields: by name
    :param meant: whom it is for; None: it must be refused; empty: nobody knows
    :param spoiled: the names of fields that hold anything at all
    """

    fields: Mapping[Any, Any]
    meant: frozenset[str] | None
    spoiled: frozenset[Any]


def secret(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The same texts, each with something in it that no log may hold."""
    return values.map(lambda text: f"{SECRET} {text}")


def rarely(odd: st.SearchStrategy[T], usual: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Usual values, and one of ten times an odd one."""
    return st.integers(0, 9).flatmap(lambda dice: odd if dice == 9 else usual)


def spoiled(draw: st.DrawFn, names: Iterable[str], values: st.SearchStrategy[Any]) -> dict[Any, Any]:
    """Some fields with anything at all in them; in one of twenty hand-overs, one of a name that nobody knows."""
    known = sorted(names)
    wrong = draw(st.dictionaries(st.sampled_from(known), values, max_size=2)) if draw(st.booleans()) else {}
    if draw(st.integers(0, 19)) == 19:
        wrong[draw(TEXT | (st.integers() | st.none() if values is ANY else TEXT))] = draw(values)
    return wrong


#: Attachments, and what is none.
FILES = st.lists(
    st.fixed_dictionaries(
        {"filename": WORDS | TEXT, "content_base64": st.sampled_from(("", "aGk=", "aGk", "????", "a\nGk=", "ž"))},
        optional={"content_type": st.sampled_from(("text/plain", "x", "text/plain\r\nX: y", "a/b; c=d", ""))},
    )
    | st.sampled_from(("file:///etc/passwd", "s3://x/y", "http://x/", "../x", "", "file://", "x:y", "//")),
    max_size=2,
)


def of_json(values: Iterable[Any]) -> tuple[Any, ...]:
    """Those that JSON can say."""
    return tuple(value for value in values if isinstance(value, str | int | float))


def damaged(raw: bytes) -> st.SearchStrategy[bytes]:
    """A file as it is, or cut, broken, or of another encoding."""
    whole = (raw, raw, raw, raw, b"\xef\xbb\xbf" + raw)
    broken = (
        raw[: len(raw) // 2], raw + raw, raw.replace(b",", b";"), raw.replace(b'"', b""), raw.decode("utf-8", "replace").encode("utf-16"),
        b"[" * 100_000, b"[" * 2_000 + b"]" * 2_000, b'[{"login": "a", "active": ' + b"9" * 5_000 + b"}]", b"\xff" + raw, b"",
        b"login\n" + b"x" * 200_000, b'login\n"', raw.replace(b"\r\n", b"\r"), b"login,login\na,b\n", b"[NaN, Infinity]", b",\n,\n",
    )  # fmt: skip
    return st.sampled_from(whole) | st.sampled_from((*whole, *broken))


def plain(value: Any) -> bool:
    """Whether a value is what JSON says as it is."""
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(plain, value.values()))
    return value is None or type(value) in {str, int, bool}
