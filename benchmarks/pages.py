"""The kept figures in ``docs/benchmarks.md``: its tables, each between two marks, and the picture.

A test holds both together: what stands there is what :func:`filled` makes of ``benchmarks/results.json``.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.environments import python_of
from benchmarks.processes import CHECKOUT

PAGE = CHECKOUT / "docs" / "benchmarks.md"
IMAGES = CHECKOUT / "docs" / "images"

_SCRIPT = CHECKOUT / "benchmarks" / "peers" / "plot.py"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)

_NOTHING = "(Not measured yet.)"

_PICTURE = """<picture>
  <source media="(prefers-color-scheme: dark)" srcset="images/benchmarks-dark.svg">
  <img src="images/benchmarks-light.svg" alt="{told}" width="560">
</picture>

As PNG: [light](images/benchmarks-light.png), [dark](images/benchmarks-dark.png)."""

Document = Mapping[str, Any]
Row = Sequence[object]


def write(document: Document) -> None:
    """Bring page and picture up to date.

    :param document: what ``results.json`` holds
    :raises NotToBeHad: the picture cannot be drawn; the page is up to date nevertheless
    """
    PAGE.write_text(filled(PAGE.read_text(), document))
    if _complete(document):
        draw(document)


def filled(page: str, document: Document) -> str:
    """A page with its tables filled in."""
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_BLOCKS[block[2]](document)}\n\n{block[3]}", page)


def draw(document: Document) -> None:
    """Draw the picture: light and dark, SVG and PNG.

    :raises NotToBeHad: the plotter cannot be had
    """
    results = CHECKOUT / "build" / "picture.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(document))
    subprocess.run([str(python_of("plot")), str(_SCRIPT), str(results), str(IMAGES)], check=True)  # noqa: S603 - ours


def _complete(document: Document) -> bool:
    return {"drain", "raw_smtplib", "post_office", "email_operator", "claim"} <= set(document["figures"])


# --- Blocks ----------------------------------------------------------------------------------------------------------


def _taken(document: Document) -> str:
    machine = document["machine"]
    servers = {figure["mail_server"] for figure in _figures(document, "drain").values()}
    sink = f"; mail server: {' and '.join(sorted(servers))}" if servers else ""
    minutes = sum(document.get("suites_took_seconds", {}).values()) / 60
    return (
        f"Taken {document['taken_at'][:10]} on {machine['cores']} shared cores ({machine['cpu']}), Python "
        f"{machine['python']}, PostgreSQL {machine['postgresql']}, fsync {machine['fsync']}{sink}"
        f"{f'; {minutes:.0f} minutes' if minutes else ''}; load before: {machine['load_before']}."
    )


def _goals(document: Document) -> str:
    rows = [
        (
            f"`{name}`",
            _number(goal["measured"]),
            f"at least {_number(goal['least'])}" if "least" in goal else f"at most {_number(goal['most'])}",
            "met" if goal["met"] else "**MISSED**",
        )
        for name, goal in _drain_first(document["goals"])
    ]
    return _table(("goal", "measured", "wanted", ""), rows)


def _ratios(document: Document) -> str:
    ratios, before = _drain_first(document["ratios"]), document.get("run_before")
    if not before:
        return _table(("ratio", "value"), [(f"`{name}`", value) for name, value in ratios])
    rows = [(f"`{name}`", value, before["ratios"].get(name, "")) for name, value in ratios]
    return _table(("ratio", "value", "in the run before"), rows)


def _picture(document: Document) -> str:
    if not _complete(document):
        return _NOTHING
    ratios = document["ratios"]
    told = (
        f"Bars: mails a second. The drain sends {ratios['drain_vs_post_office_0ms']:.1f} times as many as post_office "
        f"with its best settings, and {ratios['drain_vs_raw_smtplib']:.2f} of what raw smtplib sends."
    )
    return _PICTURE.format(told=told)


def _drain(document: Document) -> str:
    head = ("figure", "mails a second", "round trips a mail", "share of the bound", *_SENDING)
    rows = [
        (
            f"`{name}`",
            _rate(figure),
            figure.get("round_trips_per_message", ""),
            figure.get("share_of_the_bound", ""),
            *_all_three(figure),
        )
        for name, figure in _figures(document, "drain").items()
    ]
    return _table(head, rows)


def _raw(document: Document) -> str:
    rows = [
        (f"`{name}`", _rate(figure), *_all_three(figure)) for name, figure in _figures(document, "raw_smtplib").items()
    ]
    return _table(("figure", "mails a second", *_SENDING), rows)


def _post_office(document: Document) -> str:
    rows = [
        (f"`{name}`", figure["sessions"], figure["batch"], _rate(figure), *_all_three(figure))
        for name, figure in _figures(document, "post_office").items()
    ]
    return _table(("figure", "sessions", "batch", "mails a second", *_SENDING), rows)


def _email_operator(document: Document) -> str:
    figures = _figures(document, "email_operator")
    if not figures:
        return _NOTHING
    figure = figures["mapped"]
    return f"{figure['messages']} mails in {figure['seconds']:.1f} seconds: {figure['messages_per_second']} a second."


def _handover(document: Document) -> str:
    rows = [
        (f"`{name}`", figure["calls"], figure["recipients_of_each"], _rate(figure))
        for name, figure in _figures(document, "handover").items()
    ]
    return _table(("figure", "calls", "recipients of each", "messages a second"), rows)


def _campaign(document: Document) -> str:
    rows: list[Row] = [
        (
            f"`{name}`",
            f"{figure['rows']:,}",
            f"{figure['seconds']:.1f}",
            f"{figure['rows_per_second']:,.0f}",
            *(_computed(figure) if "python_cpu_seconds" in figure else ("", "")),
            figure.get("rss_peak_mb", ""),
            figure.get("rss_growth_mb", ""),
        )
        for name, figure in _figures(document, "campaign").items()
    ]
    head = ("figure", "recipients", "seconds", "recipients a second", *_COMPUTED, "MB at most", "growth, MB")
    return _table(head, rows)


def _claim(document: Document) -> str:
    rows = [
        (f"`{name}`", f"{figure['rows']:,}", figure["median_ms"], figure["p95_ms"])
        for name, figure in _figures(document, "claim").items()
        if "median_ms" in figure
    ]
    return _table(("figure", "rows of history", "median, ms", "95 of 100 take no longer than, ms"), rows)


def _register(document: Document) -> str:
    rows = [
        (f"`{name}`", f"{figure['messages']:,}", figure["median_ms"], figure["p95_ms"])
        for name, figure in _figures(document, "register").items()
    ]
    return _table(("page", "messages in the register", "median, ms", "95 of 100 take no longer than, ms"), rows)


def _memory(document: Document) -> str:
    figures = _figures(document, "claim")
    found = [figure for figure in figures.values() if "rss_peak_mb" in figure]
    if not found:
        return _NOTHING
    rows = [
        (
            f"{figure['messages']:,}",
            _rate(figure),
            *(figure[f"rss_{when}_mb"] for when in ("start", "tenth", "end", "peak")),
        )
        for figure in found
    ]
    return _table(("messages", "mails a second", "MB at the start", "after a tenth", "at the end", "at most"), rows)


def _merge(document: Document) -> str:
    rows: list[Row] = [
        (
            f"`{name}`",
            f"{figure['notifications']:,}",
            f"{figure['seconds']:.1f}",
            f"{figure['notifications_per_second']:,}",
            f"{figure['digests_per_second']:,.0f}",
            *_computed(figure),
            figure["rss_growth_mb"],
        )
        for name, figure in _figures(document, "merge").items()
        if "notifications" in figure
    ]
    head = (
        "figure",
        "notifications",
        "seconds",
        "notifications a second",
        "digests a second",
        *_COMPUTED,
        "growth, MB",
    )
    return _table(head, rows)


def _publishing(document: Document) -> str:
    rows = [
        (
            f"`{name}`",
            figure["events"],
            figure["recipients_of_each"],
            f"{figure['events_per_second']:,.0f}",
            f"{figure['notifications_per_second']:,}",
        )
        for name, figure in _figures(document, "publishing").items()
    ]
    return _table(("figure", "events", "recipients of each", "events a second", "notifications a second"), rows)


def _time_of_drain(document: Document) -> str:
    return _shares(document, "drain")


def _time_of_merge(document: Document) -> str:
    return _shares(document, "merge")


def _time_of_campaign(document: Document) -> str:
    return _shares(document, "campaign")


def _statements(document: Document) -> str:
    statements = document["profiles"].get("drain", {}).get("statements", {})
    rows = [(f"`{name}`", f"{one['calls']:,}", f"{one['seconds']:.2f}") for name, one in statements.items()]
    return _table(("statement", "calls", "seconds in the server"), rows)


_BLOCKS: dict[str, Callable[[Document], str]] = {
    "taken": _taken,
    "goals": _goals,
    "ratios": _ratios,
    "picture": _picture,
    "drain": _drain,
    "raw": _raw,
    "post_office": _post_office,
    "email_operator": _email_operator,
    "handover": _handover,
    "campaign": _campaign,
    "claim": _claim,
    "memory": _memory,
    "register": _register,
    "merge": _merge,
    "publishing": _publishing,
    "time_of_drain": _time_of_drain,
    "time_of_campaign": _time_of_campaign,
    "time_of_merge": _time_of_merge,
    "statements": _statements,
}


# --- Parts -----------------------------------------------------------------------------------------------------------

_WHEN = ("start", "tenth", "end", "peak")
_SENDING = ("seconds", "CPU seconds of Python", "of PostgreSQL", "of the mail server")
_COMPUTED = ("CPU seconds of Python", "of PostgreSQL")


def _computed(figure: Mapping[str, Any]) -> tuple[object, object]:
    return figure["python_cpu_seconds"], figure["database_cpu_seconds"]


def _all_three(figure: Mapping[str, Any]) -> tuple[object, ...]:
    return (figure["seconds"], *_computed(figure), figure["mail_server_cpu_seconds"])


def _figures(document: Document, suite: str) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = document["figures"].get(suite, {})
    return found


def _drain_first(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What people look for comes first."""
    return sorted(found.items(), key=lambda item: not item[0].startswith("drain"))


def _shares(document: Document, suite: str) -> str:
    parts = document["profiles"].get(suite, {}).get("parts", {})
    return _table(("", "share"), [(part, f"{share:.0%}") for part, share in parts.items()])


def _rate(figure: Mapping[str, Any]) -> str:
    return _number(float(figure["messages_per_second"]))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def _table(head: Sequence[str], rows: Iterable[Row]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    if not lines:
        return _NOTHING
    return "\n".join(["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |", *lines])
