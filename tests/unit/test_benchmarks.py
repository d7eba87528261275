"""The benchmarks' page says what their results say, and what they compare is what they say they compare."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import comparisons, drain, email_operator, pages, post_office, raw
from benchmarks.__main__ import KEPT, SUITES
from benchmarks.results import Results

RESULTS = json.loads(KEPT.read_text())


def test_the_page_says_what_the_results_say() -> None:
    """Every table in docs/benchmarks.md is what benchmarks/results.json makes of it: `make bench ARGS=--page`."""
    page = pages.PAGE.read_text()
    assert page.count("<!-- figures: ") > 10
    assert pages.filled(page, RESULTS) == page


def test_another_figure_changes_the_page() -> None:
    """The test above would notice: a figure that differs makes another page."""
    page = pages.PAGE.read_text()
    changed = json.loads(KEPT.read_text())
    changed["figures"]["merge"]["one_process"]["notifications_per_second"] += 1
    assert pages.filled(page, changed) != page


def test_the_kept_results_are_of_a_whole_run() -> None:
    """What is kept is no tenth of the work, and of all suites, or says why one is missing."""
    assert not RESULTS["quick"]
    assert set(RESULTS["figures"]) | set(RESULTS["missing"]) == set(SUITES)


def figure(rate: float, **more: Any) -> dict[str, Any]:
    return {"messages_per_second": rate, **more}


@pytest.fixture
def results() -> Results:
    """Made up: the drain sends 1,000 a second at once and 400 with a delay, by verbs half as many."""
    found = Results(quick=False, repeat=1, server={})
    for delay, rate in ((0, 1000.0), (20, 400.0)):
        for way in drain.WAYS[delay]:
            mine = figure(rate if way.pipelining else rate / 2, **({"share_of_the_bound": 0.95} if delay else {}))
            found.add(drain.SUITE, way.name(delay), mine)
        for sessions in drain.MESSAGES:
            found.add(raw.SUITE, drain.figure_name(sessions, delay), figure(2000.0 if delay == 0 else 100.0))
        for settings in post_office.SETTINGS:
            theirs = {("1", 5): 100.0, ("2", 8): 200.0}.get((str(settings.processes), settings.threads), 150.0)
            found.add(post_office.SUITE, f"{settings.name}_{delay}ms", figure(theirs, delay_ms=delay))
    found.add(email_operator.SUITE, "mapped", figure(2.0))
    comparisons.compare(found)
    return found


def test_post_office_is_taken_at_its_best(results: Results) -> None:
    """The ratio is to the fastest of its settings, and the one to what it comes with has another name."""
    assert results.ratios["drain_vs_post_office_0ms"] == 5.0
    assert results.ratios["drain_vs_post_office_20ms"] == 2.0
    assert results.ratios["drain_vs_post_office_as_it_comes_0ms"] == 10.0
    assert results.goals["drain_vs_post_office_0ms"]["met"]
    assert not results.goals["drain_vs_post_office_20ms"]["met"]


def test_nobody_has_more_sessions_than_we(results: Results) -> None:
    """No settings of post_office have more SMTP sessions than our largest drain, which they are compared with."""
    assert max(one.processes * one.threads for one in post_office.SETTINGS) == max(drain.MESSAGES)


def test_raw_smtplib_has_as_many_sessions(results: Results) -> None:
    """The ratio to raw smtplib is that of sixteen sessions to sixteen, without a delay."""
    assert results.ratios["drain_vs_raw_smtplib"] == results.ratios["drain_vs_raw_smtplib_16_sessions_0ms"] == 0.5
    assert not results.goals["drain_vs_raw_smtplib"]["met"]


def test_the_other_goals(results: Results) -> None:
    """EmailOperator is compared by mails a second, the bound with the share that the drain reached."""
    assert results.ratios["drain_vs_email_operator"] == 500.0
    assert results.goals["drain_vs_email_operator"]["met"]
    assert results.goals["drain_vs_bound_20ms"] == {"measured": 0.95, "least": 0.9, "met": True}


def test_a_run_follows_only_one_that_measured_the_same(results: Results) -> None:
    """The ratios of the run before are kept beside these, unless it measured something else."""
    same = {"taken_at": "2026-11-21", "ratios": {"x": 1.0}, "figures": dict.fromkeys(results.figures)}
    results.follow({**same, "figures": {"merge": {}}})
    assert results.run_before is None
    results.follow(same)
    assert results.run_before == {"taken_at": "2026-11-21", "ratios": {"x": 1.0}}
