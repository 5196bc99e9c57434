"""Metrics computed from totals, and the defaults of a task."""

from __future__ import annotations

import math

import pytest
from optuna.distributions import FloatDistribution
from pydantic import ValidationError

from harness import Sums, bits_of, mean_of, percent_of, perplexity_of
from tests.support.toys import ToySum

NATS: Sums = {"nll": (4 * math.log(8), 4.0)}
"""Four elements, each as uncertain as a uniform choice among 8."""


def test_mean_is_the_sum_over_the_count() -> None:
    assert mean_of("nll")(NATS) == pytest.approx(math.log(8))


def test_perplexity_and_bits_of_a_uniform_choice() -> None:
    assert perplexity_of("nll")(NATS) == pytest.approx(8)
    assert bits_of("nll")(NATS) == pytest.approx(3)


def test_percent_of_zeros_and_ones() -> None:
    assert percent_of("right")({"right": (3.0, 8.0)}) == 37.5


@pytest.mark.parametrize(("batch_size", "updates"), [(1, 10), (3, 4), (5, 2), (10, 1), (64, 1)])
def test_an_epoch_has_one_update_per_batch_and_the_last_batch_may_be_smaller(batch_size: int, updates: int) -> None:
    class Ten(ToySum):
        def training_sequences(self) -> int:
            return 10

    assert Ten().updates_per_epoch(batch_size) == updates


def test_tasks_with_equal_options_are_equal_and_unknown_options_are_rejected() -> None:
    assert ToySum() == ToySum()
    assert hash(ToySum()) == hash(ToySum())
    with pytest.raises(ValidationError, match="no_such_option"):
        ToySum(no_such_option=1)  # type: ignore[call-arg]


def test_first_metric_is_the_metric_of_a_task() -> None:
    assert ToySum().metric.name == ToySum().metrics()[0].name


def test_dropout_of_every_model_is_at_most_one_half() -> None:
    assert ToySum().regularisation() == {"dropout": FloatDistribution(0.0, 0.5)}
