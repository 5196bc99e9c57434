from __future__ import annotations

import math
from typing import Literal

import pytest

from harness.analysis.cell_result import summarize_cell
from harness.analysis.reproduction import ReproductionStatus, judge, reproduction
from harness.analysis.statistics import Interval
from harness.records import MetricFacts
from harness.report.formats import to_markdown
from harness.report.report import build_report
from tests.support.cells import ACCURACY, cell_of, facts, lines_of, repeated, searched, stored

LOSS = MetricFacts(name="loss", unit="nats", better="lower", margin=math.log(2), scale="log")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (89.8, 90.2, "reproduced"),
        (89.6, 91.5, "reproduced"),
        (90.6, 91.5, "better"),
        (90.2, 90.4, "reproduced"),  # better by less than the margin of 0.5
        (87.0, 89.4, "not reproduced"),
        (89.0, 90.2, "under-powered"),
        (80.0, 95.0, "under-powered"),
    ],
)
def test_verdict_depends_on_where_the_whole_interval_lies(low: float, high: float, verdict: ReproductionStatus) -> None:
    assert judge(Interval(low, high, 0.95), 90.0, ACCURACY) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.6e-4, 1.9e-4, "reproduced"),
        (1e-6, 0.4e-4, "better"),
        (2.1e-4, 5e-3, "not reproduced"),
        (1e-4, 3e-4, "under-powered"),
        (-1e-4, 2.1e-4, "under-powered"),  # a linear interval, since one score is 0
        (-1e-4, 1.9e-4, "reproduced"),
    ],
)
def test_tolerance_on_a_log_scale_is_a_factor(low: float, high: float, verdict: ReproductionStatus) -> None:
    assert judge(Interval(low, high, 0.95), 1e-4, LOSS) == verdict


def test_one_repetition_is_under_powered() -> None:
    assert judge(None, 1.0, LOSS) == "under-powered"


def test_published_value_without_a_logarithm_is_under_powered_on_a_log_scale() -> None:
    assert judge(Interval(1e-5, 1e-4, 0.95), 0.0, LOSS) == "under-powered"


@pytest.mark.parametrize(("protocol", "weights", "mean"), [("paper", "test-last3", 0.04), ("fair", "test", 0.02)])
def test_each_protocol_is_judged_by_its_own_rule(protocol: Literal["paper", "fair"], weights: str, mean: float) -> None:
    tcn = facts("tcn", trials=0)
    result = reproduction(summarize_cell(tcn, repeated(tcn.cell, None, [0.01, 0.04])), protocol)
    assert result is not None
    assert (result.weights, result.published, result.source) == (weights, 3.5e-5, "Table 1")
    assert result.ours.mean == pytest.approx(mean)


def test_cell_without_a_published_value_or_without_all_repetitions_has_no_verdict() -> None:
    tcn = facts("tcn", trials=0)
    unpublished = tcn.model_copy(update={"published": None})
    assert reproduction(summarize_cell(unpublished, repeated(tcn.cell, None, [0.1, 0.2])), "paper") is None
    assert reproduction(summarize_cell(tcn, repeated(tcn.cell, None, [0.1])), "paper") is None
    assert reproduction(summarize_cell(tcn, searched(tcn.cell, [0.1])), "fair") is None


def test_budget_of_another_size_than_published_has_no_verdict() -> None:
    tcn = facts("tcn").model_copy(update={"published": 0.02, "task_parameters": 6000})
    text = to_markdown(build_report(stored([tcn], cell_of(tcn, [0.0199, 0.0201]))))
    assert "Comparison with published values" not in text
    assert "- published values are for 6,000 parameters and this budget is 1,000: no verdict" in text


def test_report_shows_the_verdict_with_its_protocol() -> None:
    tcn = facts("tcn").model_copy(update={"published": 0.02})
    text = to_markdown(build_report(stored([tcn], cell_of(tcn, [0.0199, 0.0201]))))
    line = lines_of(text, "Comparison with published values")["tcn"]
    assert (line["published"], line["weights"], line["n"], line["verdict"]) == (
        "0.02000",
        "best validation score",
        "2",
        "reproduced",
    )
    assert "- Protocol fair. Trials and updates are the study's own, so the budget may explain a value" in text
    assert "Tolerance: a factor of 1.649, the task's margin." in text


def test_store_behind_its_ledger_has_no_verdict() -> None:
    tcn = facts("tcn").model_copy(update={"published": 0.02})
    entries = cell_of(tcn, [0.0199, 0.0201])
    assert "Comparison with published values" not in to_markdown(
        build_report(stored([tcn], entries, ledger=[*entries, *entries[:1]]))
    )
