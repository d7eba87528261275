# ruff: noqa: E501, RUF003, DTZ001, DTZ901 - lists of what breaks programs are best read as tables
"""Values that break programs: strategies of hypothesis, biased to what has hurt somebody before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

#: Stands in bodies, in a template's data and in passwords: no log and no error's text may ever hold it.
SECRET = "geheim7f3a"

#: Stands in addresses that are in order: no log may hold it.
PRIVATE = "privat7f3a"


class Spiteful:
    """An object that cannot be written down."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__


NASTY = (
    "", " ", "\t", "\n", "\r\n", "\0", "a\0b", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe", "\ud800",
    "a\udfffb", "\U0010ffff", "\u202egnp.exe", "\u2066x\u2069", "e\u0301\u0327" * 5, "ﷺ", "İ", "ß", "ﬁ", "  two  blanks  ", "'", '"', "\\",
    "Subject\r\nBcc: eve@example.com", "x\nX-Injected: 1", "x\r\n\r\n<b>body</b>", "\r\n.\r\n", ".\r\nQUIT\r\n", "From me\n>From",
    "=?utf-8?q?a?=", "=?utf-8?b?////?= =?x?q?", "=?", "?=", "<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}", "{% raw %}", "{{ self.__init__ }}", "{#", "%s%n%(x)s", "$(id)", "`id`", "'; drop table notify.messages; --",
    "../../etc/passwd", "C:\\x", "nul", "None", "null", "true", "NaN", "-1", "1e999", "9" * 400, "٣", "{}", "[]", '{"a":',
    "x" * 300, "ž" * 1_000, "w" * 5_000, "line\n" * 500, "a b " * 300, "x" * 1_000_000, "😀" * 200, "\N{NO-BREAK SPACE}", "\u200b", "-" * 80,
)  # fmt: skip

#: Any text at all, halves of surrogate pairs among it.
WILD = st.text(st.characters(exclude_categories=()), max_size=30)

TEXT = st.sampled_from(NASTY) | WILD | st.tuples(WILD, st.sampled_from(NASTY[:60]), WILD).map("".join)

#: Text as people write it.
WORDS = st.sampled_from(
    (
        "Faktúra 7",
        "Invoice 7",
        "Wieści: żółć",
        "a",
        "Two  blanks",
        "naïve 😀 text",
        "x" * 200,
        "Sehr geehrte Damen",
        "1",
        "=?x?=",
    )
) | st.text(
    st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60
).filter(lambda text: bool(text.strip()))

DURATIONS = (
    "PT2H", "P1D", "P3660D", "P3661D", "P999999999D", "P99999999999999999999D", "-P1D", "P", "PT", "PT0S", "P1Y", "P1W",
    "PT1.5S", "p1d", "P1DT25H", "PT99999999999H", "PT-1H", "P1M", "1 day", "PT1e9H", timedelta.max, timedelta.min, timedelta(0),
    timedelta(microseconds=-1), timedelta(days=3),
)  # fmt: skip

MOMENTS = (
    "2027-01-31T08:00+01:00", "2027-01-31T08:00", "2027-01-31", "0001-01-01T00:00Z", "9999-12-31T23:59:59.999999+00:00",
    "9000-12-31T23:59:59-23:59", "9000-12-31T23:59:59+23:59", "1970-01-01T00:00+14:00", "1969-12-31T23:59Z",
    "2027-02-30T00:00Z", "2027-01-31T24:00Z", "2027-01-31T08:00+99:99", "2027-01-31T23:59:60Z", "1800000000", "2027-13-01", "now",
    "2027-03-28T02:30+01:00", "20270131T080000Z", "2027-W05-1", "8999-01-01T00:00Z", 1_800_000_000, 10**30, 1.5, math.inf,
    datetime.min, datetime.max, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC),
    datetime(9000, 12, 31, 23, tzinfo=timezone(timedelta(hours=-23))), datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=23))),
    datetime(2027, 1, 31), date(2027, 1, 31), time(8),
)  # fmt: skip

ZONES = (
    "Europe/Warsaw",
    "UTC",
    "Europe/Atlantis",
    "utc",
    "../etc/passwd",
    "/etc/localtime",
    "EST5EDT",
    "+01:00",
    "posixrules",
    "\0",
)
LANGUAGES = (
    "en",
    "pl",
    "sk",
    "de",
    "pl-PL",
    "xx",
    "EN",
    "e",
    "en_" + "x" * 9,
    "../en",
    "en\n",
    "house",
    "zh-Hant-TW",
    "_",
)
CLOCKS = (
    "17:30",
    "7:30",
    "24:00",
    "23:59",
    "17:30:01",
    "17:30+01:00",
    "noon",
    17,
    62_000,
    -1,
    1e9,
    time(8),
    time(8, tzinfo=UTC),
    "٠٨:٠٠",
)
LINKS = (
    "https://x.example/1",
    "http://x",
    "javascript:alert(1)",
    "https://",
    "https://x y",
    "//x",
    "HTTPS://X",
    "https://x\n",
    "ftp://x",
    "https://\u202e",
)

NUMBERS = st.sampled_from(
    (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**50, 10**5000, math.nan, math.inf, -math.inf, -0.0, 1e308, 5e-324, True, False,
     Decimal("NaN"), Decimal("sNaN"), Decimal("1e999999"), Decimal(7), 1j)
)  # fmt: skip


def nested(levels: int, *, of: type = list) -> Any:
    """Something so deep in lists or objects."""
    found: Any = SECRET
    for _ in range(levels):
        found = [found] if of is list else {"a": found}
    return found


def _ring() -> list[Any]:
    ring: list[Any] = [SECRET]
    ring.append(ring)
    return ring


#: Whatever JSON can say, and more of it than anybody needs.
JSON = (
    st.recursive(
        st.none() | st.booleans() | TEXT | st.sampled_from((0, -1, 2**63, 10**50, 1.5, 1e308, SECRET)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=8,
    )
    | st.sampled_from((30, 200, 900)).map(nested)
    | st.sampled_from((30, 200, 900)).map(lambda n: nested(n, of=dict))
)

#: What only Python can hand over.
OBJECTS = NUMBERS | st.builds(Spiteful) | st.builds(object) | st.sampled_from(
    (b"", b"\xff\xfe", bytearray(b"x"), {1}, frozenset({"a"}), ("a", 1), range(3), range(10**9), UUID(int=7), SECRET.encode(), type, len,
     {1: 2}, {None: 1}, {("a", 1): 2}, {b"x": 1}, {"": ""}, {"self": 1, "range": 2, "locale": "x", "timezone": "x"}, ...)
) | st.builds(lambda: {Spiteful(): 1}) | st.builds(_ring) | st.sampled_from((5_000, 20_000)).map(nested) | st.builds(
    lambda: iter(["x"])
) | st.builds(lambda: {"a": Spiteful()})  # fmt: skip

ANY = JSON | OBJECTS | st.sampled_from(MOMENTS) | st.sampled_from(DURATIONS)


# --- Recipients whose meaning is known -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Names:
    """Recipients as they are written.

    :param written: as handed over
    :param meant: the addresses that are meant, or logins of people without; None: it must be refused
    """

    written: Any
    meant: frozenset[str] | None


#: The people and groups that are known: see :mod:`tests.fuzz.stage`.
ATOMS: Mapping[str, frozenset[str]] = {
    "anna@example.com": frozenset({"anna@example.com"}),
    "ANNA@Example.COM": frozenset({"anna@example.com"}),
    "Anna Nowak <anna@example.com>": frozenset({"anna@example.com"}),
    '"Doe, John; \\"Jr\\" <x>" <john@example.com>': frozenset({"john@example.com"}),
    "=?utf-8?q?Eve?= <eva@example.com>": frozenset({"eva@example.com"}),
    "Żaneta \u202e Ćma <z@example.com>": frozenset({"z@example.com"}),
    f"{PRIVATE}@example.com": frozenset({f"{PRIVATE}@example.com"}),
    f"Ján <{PRIVATE}+x@sub.example.org>": frozenset({f"{PRIVATE}+x@sub.example.org"}),
    "root@localhost": frozenset({"root@localhost"}),
    "x@bücher.example": frozenset({"x@xn--bcher-kva.example"}),
    "jürgen@example.com": frozenset({"jürgen@example.com"}),
    "аnna@example.com": frozenset({"аnna@example.com"}),  # a Cyrillic а
    "anna@example.com <bob@example.com>": frozenset({"bob@example.com"}),
    "l" * 64 + "@example.com": frozenset({"l" * 64 + "@example.com"}),
    "N" * 200 + " <n@example.com>": frozenset({"n@example.com"}),
    "anna": frozenset({"anna@example.com"}),
    "bob": frozenset({"bob@example.com"}),
    "team": frozenset({"anna@example.com", "bob@example.com", "carl@example.com"}),
}

NOBODY = (
    "anna@", "@example.com", "anna@@example.com", "a..b@example.com", "anna@-x.com", "anna@example..com", "a@" + "b" * 300 + ".com",
"anna@example.com\0", "an\x1bna@example.com", "\ud800@example.com", "anna@ex\ud800.com", "nobody",
    "anna@example.com\r\nBcc: eve@example.com", "<<anna@example.com>>", "anna <anna@example.com> x", "a b@example.com", "\u202eanna@example.com",
    '"', "<", "<>", "N" * 201 + " <n@example.com>", "anna@xn--.com", "anna@xn--\xff.com", "x" * 100_000, '"' * 5_000, "@owner",
    "anna@ex\u2028ample.com",
)  # fmt: skip

#: Found to be nobody at hand-over, though an event takes them: they get no mail, and that is recorded.
GONE = ("eve", "dora")


@st.composite
def _written(draw: st.DrawFn, nobody: tuple[str, ...]) -> Names:
    good = draw(st.lists(st.sampled_from(sorted(ATOMS)), max_size=4))
    bad = draw(st.lists(st.sampled_from(nobody), max_size=2)) if draw(st.integers(0, 3)) == 3 else []
    names = draw(st.permutations([*good, *bad])) if good or bad else []
    forms = [
        names,
        tuple(names),
        frozenset(names),
        "; ".join(names),
        ",".join(names),
        " ;; ".join(names),
        "\r\n".join(names),
    ]
    # A quote or bracket left open swallows the separator behind it: what then is meant only a list can tell.
    written = draw(st.sampled_from(forms[:3] if bad else forms))
    meant = frozenset[str]().union(*(ATOMS[name] for name in good)) if good and not bad else None
    return Names(written, meant)


NAMES = _written((*NOBODY, *GONE))
CONCERNED = _written(NOBODY)
