"""What a profile says, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.processes import Report

#: Functions named as the hottest.
MOST = 15


def shares(report: Report, parts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The share of the whole time that each part took, 0 to 1.

    :param report: of a worker that was profiled
    :param parts: of each, the functions that do it, as ``file.py:function``; none may call another
    :returns: by part; what belongs to none of them is the rest
    """
    whole = report["seconds"]
    found = {part: sum(_seconds(report, name) for name in names) / whole for part, names in parts.items()}
    found["the rest"] = 1 - sum(found.values())
    return {part: round(share, 3) for part, share in found.items()}


def hottest(report: Report) -> dict[str, float]:
    """The functions that take most themselves, with their share of the whole time."""
    own = {name: one["own_seconds"] for name, one in report["functions"].items()}
    names = sorted(own, key=own.__getitem__, reverse=True)[:MOST]
    return {_short(name): round(own[name] / report["seconds"], 3) for name in names}


def _short(name: str) -> str:
    """A function's name with its file's, and the folder of that."""
    return "/".join(name.rsplit("/", 2)[-2:]).removeprefix("~:")


def _seconds(report: Report, name: str) -> float:
    functions = report["functions"]
    return float(sum(one["seconds"] for path, one in functions.items() if path.endswith(f"/{name}")))
