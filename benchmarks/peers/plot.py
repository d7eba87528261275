"""The figures as a picture: ``python plot.py RESULTS FOLDER`` writes ``benchmarks-light`` and ``-dark``, SVG and PNG.

Its letters are large: in a page on a telephone it is shown 390 pixels wide.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]  # it lives in another environment

mpl.use("Agg")
import matplotlib.pyplot as plt  # type: ignore[import-not-found]

#: Width in inches, and dots per inch of the PNG: twice as many as a page shows.
WIDTH = 5.6
DPI = 200

LETTERS = 12.5


@dataclass(frozen=True)
class Theme:
    """Colours of a picture.

    :param ours: of our bars; those of the limit and of others follow
    """

    paper: str
    ink: str
    faint: str
    ours: str
    limit: str
    others: str


THEMES = {
    "light": Theme("#ffffff", "#1f2328", "#59636e", "#1d4ed8", "#7c8fb8", "#b4bbc5"),
    "dark": Theme("#0d1117", "#e6edf3", "#9ea7b3", "#6ea8fe", "#56689a", "#4d5663"),
}


@dataclass(frozen=True)
class Bar:
    """A bar.

    :param whose: ``ours``, ``limit`` or ``others``
    :param form: how its value is written
    """

    label: str
    value: float
    whose: str
    form: str = "{:,.0f}"


@dataclass(frozen=True)
class Panel:
    """Bars with a title."""

    title: str
    bars: list[Bar]


def panels(figures: dict[str, Any]) -> Iterator[Panel]:
    """What is shown."""
    for delay, title in ((0, "Mails a second"), (20, "Mails a second, each answer 20 ms away")):
        yield Panel(title, list(_senders(figures, delay)))
    claims = (("none", "no history"), ("1m_rows", "1 million rows"), ("5m_rows", "5 million rows"))
    yield Panel(
        "Milliseconds to claim 100 messages",
        [Bar(label, figures["claim"][name]["median_ms"], "ours", "{:.1f}") for name, label in claims],
    )


def _senders(figures: dict[str, Any], delay: int) -> Iterator[Bar]:
    def rate(figure: dict[str, Any]) -> float:
        return float(figure["messages_per_second"])

    for sessions, label in ((16, "this outbox, 16 sessions"), (4, "4 sessions")):
        yield Bar(label, rate(figures["drain"][f"{sessions}_sessions_{delay}ms"]), "ours")
    yield Bar("raw smtplib, 16 sessions", rate(figures["raw_smtplib"][f"16_sessions_{delay}ms"]), "limit")
    theirs = [figure for figure in figures["post_office"].values() if figure["delay_ms"] == delay]
    yield Bar("post_office, best settings", max(map(rate, theirs)), "others")
    yield Bar("post_office, as it comes", rate(_as_it_comes(figures, delay)), "others")
    if delay == 0:
        yield Bar("EmailOperator, mapped", rate(figures["email_operator"]["mapped"]), "others", "{:.1f}")


def _as_it_comes(figures: dict[str, Any], delay: int) -> dict[str, Any]:
    found: dict[str, Any] = figures["post_office"][f"1_process_5_threads_as_it_comes_{delay}ms"]
    return found


def draw(shown: list[Panel], theme: Theme) -> Any:
    """Draw the panels below each other; a bar is as thick everywhere."""
    heights = [len(panel.bars) + 1.5 for panel in shown]
    figure, axes = plt.subplots(
        len(shown),
        1,
        figsize=(WIDTH, 0.36 * sum(heights)),
        gridspec_kw={"height_ratios": heights},
        facecolor=theme.paper,
        layout="constrained",
    )
    for panel, axis in zip(shown, axes, strict=True):
        _draw(panel, axis, theme)
    return figure


def _draw(panel: Panel, axis: Any, theme: Theme) -> None:
    axis.set_facecolor(theme.paper)
    _title(panel.title, axis, theme)
    places = range(len(panel.bars))
    values = [bar.value for bar in panel.bars]
    axis.barh(places, values, height=0.66, color=[getattr(theme, bar.whose) for bar in panel.bars])
    axis.set_yticks(places, [bar.label for bar in panel.bars], fontsize=LETTERS, color=theme.ink)
    axis.invert_yaxis()
    axis.set_xlim(0, max(values) * 1.22)  # room for the numbers
    axis.tick_params(length=0)
    axis.xaxis.set_visible(False)
    for place, bar in zip(places, panel.bars, strict=True):
        text = f" {bar.form.format(bar.value)}"
        axis.text(bar.value, place, text, va="center", fontsize=LETTERS, color=theme.ink)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _title(text: str, axis: Any, theme: Theme) -> None:
    """Write a title at the picture's edge: beside the bars' names there is not the room for one."""
    axis.set_title(" ", fontsize=LETTERS + 4)  # it keeps the place
    axis.annotate(
        text,
        xy=(0.02, 1),
        xycoords=("figure fraction", "axes fraction"),
        xytext=(0, 6),
        textcoords="offset points",
        color=theme.ink,
        fontsize=LETTERS + 1,
        fontweight="bold",
        annotation_clip=False,
        in_layout=False,
    )


def main() -> None:
    """Draw it in both themes."""
    figures = json.loads(Path(sys.argv[1]).read_text())["figures"]
    folder = Path(sys.argv[2])
    plt.rcParams.update({"svg.hashsalt": "benchmarks", "font.family": "DejaVu Sans"})
    for name, theme in THEMES.items():
        figure = draw(list(panels(figures)), theme)
        figure.savefig(folder / f"benchmarks-{name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"benchmarks-{name}.png", dpi=DPI, metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
