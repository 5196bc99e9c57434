from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.statistics import (
    FEWEST_GROUPS,
    SamplingError,
    Scale,
    highest_rate,
    holm,
    mean_interval,
    median_interval,
    proportion,
    summarise,
)


def test_mean_interval_of_two_values_is_the_closed_form() -> None:
    # With one degree of freedom t is Cauchy, whose 97.5 % point is tan(0.475 pi); the standard error of 0 and 2 is 1.
    reach = math.tan(0.475 * math.pi)
    interval = mean_interval([0.0, 2.0])
    assert interval is not None
    assert (interval.low, interval.high, interval.level) == pytest.approx((1 - reach, 1 + reach, 0.95))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_mean_interval_agrees_with_scipy(level: float) -> None:
    values = [3.1, 2.7, 4.4, 3.9, 2.2]
    low, high = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    interval = mean_interval(values, level)
    assert interval is not None
    assert (interval.low, interval.high, interval.level) == pytest.approx((low, high, level))


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("n", [5, 10])
def test_mean_interval_covers_the_truth_as_often_as_it_says(n: int, scale: Scale) -> None:
    # 2000 samples: the share that covers has a standard error of 0.5 %.
    draws = np.random.default_rng(11).normal(1.0, 0.5, size=(2000, n))
    samples = draws if scale == "linear" else np.exp(draws)
    intervals = [mean_interval(sample, scale=scale) for sample in samples.tolist()]
    truth = 1.0 if scale == "linear" else math.e
    covered = np.mean([interval is not None and interval.low <= truth <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_log_interval_is_the_linear_one_of_the_logarithms() -> None:
    values = [1e-5, 3e-4, 2e-3]
    logs = mean_interval([math.log(value) for value in values])
    interval = mean_interval(values, scale="log")
    assert logs is not None
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((math.exp(logs.low), math.exp(logs.high)))


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=8), st.floats(1e-3, 1e3))
def test_log_interval_scales_with_its_unit(values: list[float], unit: float) -> None:
    interval, rescaled = (
        mean_interval(values, scale="log"),
        mean_interval([unit * value for value in values], scale="log"),
    )
    assert interval is not None
    assert rescaled is not None
    assert (rescaled.low, rescaled.high) == pytest.approx((unit * interval.low, unit * interval.high), rel=1e-6)


def test_mean_interval_of_one_value_is_none() -> None:
    assert mean_interval([1.0]) is None


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_log_scale_refuses_values_that_are_not_positive(value: float) -> None:
    with pytest.raises(ValueError, match="positive values only"):
        mean_interval([1.0, value], scale="log")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        summarise([1.0, value])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_outside_zero_and_one_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        mean_interval([1.0, 2.0], level)


def test_summary_of_known_values_is_exact() -> None:
    summary = summarise([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert (summary.n, summary.mean, summary.median) == (8, 5.0, 4.5)
    assert summary.std == pytest.approx(math.sqrt(32 / 7))
    assert summary.interval == mean_interval([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])


def test_log_summary_has_geometric_mean_and_spread_of_logarithms() -> None:
    summary = summarise([1e-4, 1e-2], scale="log")
    assert summary.mean == pytest.approx(1e-3)
    assert summary.median == pytest.approx(5.05e-3)
    assert summary.std == pytest.approx(math.log(100) / math.sqrt(2))


def test_summary_of_one_value_has_no_spread() -> None:
    summary = summarise([3.0])
    assert (summary.n, summary.mean, summary.std, summary.interval) == (1, 3.0, None, None)


def test_summary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        summarise([])


@pytest.mark.parametrize("n", [1, 5, 30])
def test_proportion_of_all_or_none_has_the_closed_form(n: int) -> None:
    low, high = 0.025 ** (1 / n), 1 - 0.025 ** (1 / n)
    assert (proportion(n, n).interval.low, proportion(n, n).interval.high) == pytest.approx((low, 1.0))
    assert (proportion(0, n).interval.low, proportion(0, n).interval.high) == pytest.approx((0.0, high))


def test_proportion_interval_is_that_of_clopper_and_pearson() -> None:
    # The equations that define it: either tail at the limit holds 2.5 %.
    result = proportion(7, 20)
    assert result.share == 0.35
    assert stats.binom.sf(6, 20, result.interval.low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 20, result.interval.high) == pytest.approx(0.025)
    exact = stats.binomtest(7, 20).proportion_ci(0.95, method="exact")
    assert (result.interval.low, result.interval.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("n", [5, 10, 30])
def test_proportion_interval_covers_every_probability(n: int) -> None:
    intervals = [proportion(happened, n).interval for happened in range(n + 1)]
    for probability in np.linspace(0.005, 0.995, 199):
        weights = stats.binom.pmf(np.arange(n + 1), n, probability)
        covers = [interval.low <= probability <= interval.high for interval in intervals]
        assert float(np.dot(weights, covers)) >= 0.95


@pytest.mark.parametrize(("happened", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_what_is_no_proportion_is_refused(happened: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no proportion"):
        proportion(happened, n)


@pytest.mark.parametrize("n", [6, 10, 11, 30, 101])
def test_interval_of_a_median_agrees_with_scipy(n: int) -> None:
    values = np.random.default_rng(n).exponential(size=n).tolist()
    known = np.asarray(stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)).tolist()
    interval = median_interval(values)
    assert interval is not None
    assert [interval.low, interval.high] == known
    assert interval.level >= 0.95


def test_interval_of_a_median_of_five_values_is_their_range_and_says_what_it_holds() -> None:
    # All five on one side of the median: twice a half to the fifth.
    interval = median_interval([3.0, 1.0, 9.0, 2.0, 4.0])
    assert interval is not None
    assert (interval.low, interval.high, interval.level) == pytest.approx((1.0, 9.0, 1 - 2 * 0.5**5))
    assert median_interval([1.0, 2.0, 3.0, 4.0]) is None


@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=40))
def test_interval_of_a_median_holds_that_of_the_sample_and_follows_any_rising_map(values: list[float]) -> None:
    interval, mapped = median_interval(values), median_interval([math.log(value) for value in values])
    assert interval is not None
    assert mapped is not None
    assert interval.low <= np.median(values) <= interval.high
    assert (mapped.low, mapped.high) == (math.log(interval.low), math.log(interval.high))


@pytest.mark.parametrize(("happened", "n"), [(0, 10), (3, 29), (28, 29)])
def test_the_highest_rate_leaves_the_error_below(happened: int, n: int) -> None:
    assert stats.binom.cdf(happened, n, highest_rate(happened, n, 0.01)) == pytest.approx(0.01)
    assert highest_rate(n, n, 0.01) == 1


def test_holms_adjusted_p_values_are_those_of_the_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_between_bonferroni_and_no_correction(values: list[float], level: float) -> None:
    for value, adjusted in zip(values, holm(values), strict=True):
        assert value <= adjusted <= min(1, len(values) * value) + 1e-12


def test_sampling_error_reaches_as_far_as_two_of_students_intervals() -> None:
    assert SamplingError(12, 2.0).reach(0.01) == pytest.approx(2 * 2.0 * float(stats.t.ppf(0.99, 11)))
    assert SamplingError(FEWEST_GROUPS, 0.0).reach(0.01) == 0
    assert SamplingError(FEWEST_GROUPS - 1, 0.0).reach(0.01) == math.inf  # all right, which may be chance


def test_summary_has_the_interval_of_its_median() -> None:
    values = [3.0, 1.0, 9.0, 2.0, 4.0]
    assert summarise(values, "linear").median_interval == median_interval(values) is not None
