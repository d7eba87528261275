"""How the suites compare, and the goals: what each suite cannot know alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import drain, email_operator, post_office, raw
from benchmarks.results import Figure, Results

#: The goals: how many times as fast the drain is at least.
AS_FAST_AS_POST_OFFICE = 4.0
AS_FAST_AS_RAW_SMTPLIB = 0.6
AS_FAST_AS_EMAIL_OPERATOR = 500.0

#: The share of what the sessions could send, if each did nothing but wait for the server's answers.
SHARE_OF_THE_BOUND = 0.9

_MOST = max(drain.MESSAGES)

Figures = Mapping[str, Figure]


def compare(results: Results) -> None:
    """Put down what can be compared of what was measured."""
    ours = results.figures.get(drain.SUITE, {})
    if not ours:
        return
    _goal_of_the_bound(results, ours)
    for suite, comparison in _COMPARISONS.items():
        if theirs := results.figures.get(suite):
            comparison(results, ours, theirs)


def _goal_of_the_bound(results: Results, ours: Figures) -> None:
    for name, figure in ours.items():
        if "share_of_the_bound" in figure:
            results.ratio(f"drain_{name}_vs_bound", figure["share_of_the_bound"])
    share = ours[drain.figure_name(_MOST, 20)]["share_of_the_bound"]
    results.goal("drain_vs_bound_20ms", share, least=SHARE_OF_THE_BOUND)


def _with_post_office(results: Results, ours: Figures, theirs: Figures) -> None:
    """Our most sessions with whatever of its settings is the fastest; none of them has more sessions."""
    for delay in drain.DELAYS:
        best = max(_rate(figure) for figure in theirs.values() if figure["delay_ms"] == delay)
        usual = _rate(theirs[f"1_process_5_threads_as_it_comes_{delay}ms"])
        our = _rate(ours[drain.figure_name(_MOST, delay)])
        results.ratio(f"drain_vs_post_office_{delay}ms", our / best)
        results.ratio(f"drain_vs_post_office_as_it_comes_{delay}ms", our / usual)
        results.goal(f"drain_vs_post_office_{delay}ms", our / best, least=AS_FAST_AS_POST_OFFICE)


def _with_raw_smtplib(results: Results, ours: Figures, theirs: Figures) -> None:
    for sessions in drain.MESSAGES:
        for delay in drain.DELAYS:
            name = drain.figure_name(sessions, delay)
            results.ratio(f"drain_vs_raw_smtplib_{name}", _rate(ours[name]) / _rate(theirs[name]))
    for delay in drain.DELAYS:
        name = drain.figure_name(_MOST, delay)
        by_verbs = drain.Way(_MOST, pipelining=False).name(delay)
        results.ratio(f"drain_verb_by_verb_vs_raw_smtplib_{delay}ms", _rate(ours[by_verbs]) / _rate(theirs[name]))
    name = drain.figure_name(_MOST, 0)
    ratio = _rate(ours[name]) / _rate(theirs[name])
    results.ratio("drain_vs_raw_smtplib", ratio)
    results.goal("drain_vs_raw_smtplib", ratio, least=AS_FAST_AS_RAW_SMTPLIB)


def _with_email_operator(results: Results, ours: Figures, theirs: Figures) -> None:
    (figure,) = theirs.values()
    ratio = _rate(ours[drain.figure_name(_MOST, 0)]) / _rate(figure)
    results.ratio("drain_vs_email_operator", ratio)
    results.goal("drain_vs_email_operator", ratio, least=AS_FAST_AS_EMAIL_OPERATOR)


def _rate(figure: Figure) -> float:
    return float(figure["messages_per_second"])


_COMPARISONS: dict[str, Callable[[Results, Figures, Figures], None]] = {
    post_office.SUITE: _with_post_office,
    raw.SUITE: _with_raw_smtplib,
    email_operator.SUITE: _with_email_operator,
}
