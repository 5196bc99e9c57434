from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import get_args

import numpy as np
import optuna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats
from torch import nn

from harness.api.distributions import at_unit
from harness.api.model import Model
from harness.api.signature import Signature
from harness.api.task import Task
from harness.errors import SpaceError
from harness.plugin.registry import Registry
from harness.records import Optimisation, ParamValue, Schedule
from harness.study.schema import SpaceOverride
from harness.study.space import (
    REFERENCE_RATES,
    CellSpace,
    cell_space,
    common_space,
    contains,
    describe,
    restrict,
)

UNITS = st.floats(0, 1, exclude_max=True)
LAST = math.nextafter(1, 0)
CHOICES = st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-1e3, 1e3), st.text()), min_size=1)


@st.composite
def ints(draw: st.DrawFn) -> IntDistribution:
    low, span = draw(st.integers(1, 50)), draw(st.integers(0, 60))
    if draw(st.booleans()):
        return IntDistribution(low, low + span, log=True)
    step = draw(st.integers(1, 7))
    return IntDistribution(low, low + span // step * step, step=step)


@st.composite
def floats(draw: st.DrawFn) -> FloatDistribution:
    low, span = draw(st.floats(1e-6, 1e3)), draw(st.floats(0, 1e3))
    kind = draw(st.sampled_from(["plain", "log", "step"]))
    if kind == "step":
        step = draw(st.sampled_from([0.1, 0.05, 0.3, 1.0]))
        return FloatDistribution(0.0, round(draw(st.integers(1, 30)) * step, 9), step=step)
    return FloatDistribution(low, low + span, log=kind == "log")


DIMENSIONS: st.SearchStrategy[BaseDistribution] = st.one_of(ints(), floats(), CHOICES.map(CategoricalDistribution))


class _Odd(BaseDistribution):
    """A kind of distribution that the harness does not know."""

    def single(self) -> bool:
        return True

    def _contains(self, param_value_in_internal_repr: float) -> bool:
        return True

    def to_internal_repr(self, param_value_in_external_repr: object) -> float:
        return 0.0


@example(FloatDistribution(0.0, 0.3, step=0.1), LAST)  # 3 · 0.1 is a little over 0.3 in binary
@given(DIMENSIONS, st.one_of(UNITS, st.sampled_from([0.0, 0.5, LAST])))
def test_at_unit_is_always_contained(dimension: BaseDistribution, unit: float) -> None:
    assert contains(dimension, at_unit(dimension, unit))


@given(DIMENSIONS, st.integers(0, 2**32 - 1))
def test_what_optuna_draws_is_contained(dimension: BaseDistribution, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    assert contains(dimension, study.ask({"x": dimension}).params["x"])


@given(CHOICES)
def test_at_unit_reaches_every_choice_equally_often(choices: list[ParamValue]) -> None:
    dimension = CategoricalDistribution(choices)
    per_choice = 7
    drawn = [at_unit(dimension, (k + 0.5) / (per_choice * len(choices))) for k in range(per_choice * len(choices))]
    assert drawn == [choice for choice in choices for _ in range(per_choice)]


@pytest.mark.parametrize("dimension", [IntDistribution(2, 11), IntDistribution(1, 28, step=3)])
def test_at_unit_reaches_every_integer_equally_often(dimension: IntDistribution) -> None:
    counts = Counter(at_unit(dimension, (k + 0.5) / 1000) for k in range(1000))
    assert sorted(counts, key=str) == sorted(range(dimension.low, dimension.high + 1, dimension.step), key=str)
    assert set(counts.values()) == {100}


@pytest.mark.parametrize(
    ("dimension", "law"),
    [
        (FloatDistribution(-2.0, 3.0), stats.uniform(-2, 5)),
        (FloatDistribution(0.01, 10.0, log=True), stats.loguniform(0.01, 10)),
    ],
)
def test_at_unit_of_a_float_is_its_quantile(dimension: FloatDistribution, law: stats.rv_continuous) -> None:
    for unit in np.linspace(0, 0.999, 50):
        assert at_unit(dimension, float(unit)) == pytest.approx(law.ppf(unit))


def test_at_unit_of_a_logarithmic_integer_has_logarithmic_odds() -> None:
    # Each integer holds the span half a unit around it: P(1) = ln(1.5 / 0.5) / ln(8.5 / 0.5).
    drawn = [at_unit(IntDistribution(1, 8, log=True), (k + 0.5) / 5000) for k in range(5000)]
    for value in range(1, 9):
        share = math.log((value + 0.5) / (value - 0.5)) / math.log(17)
        assert drawn.count(value) / 5000 == pytest.approx(share, abs=1e-3)


def test_at_unit_refuses_an_unknown_kind_of_dimension() -> None:
    with pytest.raises(SpaceError, match="unknown kind of dimension; use Optuna's IntDistribution"):
        at_unit(_Odd(), 0.5)


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (IntDistribution(1, 9), [1, 9], [0, 10, 3.0, 2.5, True, "3", None, math.inf, math.nan]),
        (IntDistribution(1, 9, step=2), [1, 9, 5], [2, 8]),
        (FloatDistribution(0.5, 2.0), [0.5, 2, 1, 1.25], [0.49, 2.01, True, "1", None, math.inf, math.nan]),
        (FloatDistribution(0.0, 0.3, step=0.1), [0, 0.1, 0.2, 0.3], [0.05, 0.25, 0.4]),
        (CategoricalDistribution([True, False]), [True, False], [0, 1, 1.0, "true"]),
        (CategoricalDistribution([0, 1]), [0, 1], [True, 1.0, 0.0]),
        (CategoricalDistribution([0.25, 1.0, None]), [0.25, 1.0, 1, None], [0.5, True, "none", math.nan]),
        (_Odd(), [], [1, "x", None]),
    ],
)
def test_contains_tells_values_and_their_types(
    dimension: BaseDistribution, inside: list[ParamValue], outside: list[ParamValue]
) -> None:
    assert [value for value in inside if not contains(dimension, value)] == []
    assert [value for value in outside if contains(dimension, value)] == []


def test_restrict_makes_a_choice_of_what_is_given() -> None:
    assert restrict(IntDistribution(2, 9), [3, 5], "here") == CategoricalDistribution([3, 5])
    assert restrict(IntDistribution(2, 9), 3, "here") == CategoricalDistribution([3])
    assert restrict(CategoricalDistribution([1.0, None]), "none", "here") == CategoricalDistribution([None])


@pytest.mark.parametrize(
    ("dimension", "given", "message"),
    [
        (IntDistribution(2, 9), [3, 10], r"^here is 10, outside its space \[2, 9\]$"),
        (FloatDistribution(0.1, 10, log=True), 0.0, r"^here is 0.0, outside its space \[0.1, 10.0\] log$"),
        (FloatDistribution(0, 0.5), "none", r"^here is none, outside its space \[0.0, 0.5\]$"),
        (CategoricalDistribution(["adam", None]), "sgd", r"^here is 'sgd', outside its space \{adam, none\}$"),
        (CategoricalDistribution([True, False]), 1, r"^here is 1, outside its space \{True, False\}$"),
    ],
)
def test_restrict_refuses_what_lies_outside(
    dimension: BaseDistribution, given: ParamValue | list[ParamValue], message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        restrict(dimension, given, "here")


@given(DIMENSIONS, st.lists(UNITS, min_size=1, max_size=4))
def test_restricted_space_stays_within_the_space(dimension: BaseDistribution, units: list[float]) -> None:
    values = [at_unit(dimension, unit) for unit in units]
    if any(value == "none" for value in values):
        return
    narrowed = restrict(dimension, values, "here")
    assert all(contains(dimension, at_unit(narrowed, unit)) for unit in (0.0, 0.3, LAST))


def test_describe_of_a_dimension() -> None:
    assert describe(CategoricalDistribution([0.25, None])) == "{0.25, none}"
    assert describe(IntDistribution(1, 8, log=True)) == "[1, 8] log"
    assert describe(FloatDistribution(0, 0.5)) == "[0.0, 0.5]"


def _space(
    registry: Registry, model: Model | str, *, shared: SpaceOverride | None = None, own: SpaceOverride | None = None
) -> CellSpace:
    task = registry.make_task("toy-sum", {})
    model = registry.model(model).value if isinstance(model, str) else model
    return cell_space(task, model, task.signature(), shared=shared or {}, own=own or {}, where="study 's', a/b")


def test_common_space_is_the_same_for_every_model(toy_registry: Registry) -> None:
    first, second = _space(toy_registry, "toy-ema"), _space(toy_registry, "toy-stack")
    assert first.common == second.common == common_space(toy_registry.make_task("toy-sum", {}))
    assert first.common.keys() == {"optimizer", "learning_rate_factor", "clip", "dropout"}
    assert second.architecture.keys() == {"layers", "scale"}


def test_dimensions_are_in_the_order_of_their_names(toy_registry: Registry) -> None:
    names = list(_space(toy_registry, "toy-stack").dimensions)
    assert names == sorted(names)
    assert set(names) == {"optimizer", "learning_rate_factor", "clip", "dropout", "layers", "scale"}


class _Greedy(Model):
    name = "greedy"

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return {"clip": FloatDistribution(0, 1)}

    def build(self, signature: Signature, widths: tuple[int, ...], **params: object) -> nn.Module:
        raise NotImplementedError


def test_model_that_searches_a_shared_dimension_is_refused(toy_registry: Registry) -> None:
    with pytest.raises(SpaceError, match=r"study 's', a/b: model 'greedy' searches 'clip', which all models share"):
        _space(toy_registry, _Greedy())


def test_shared_dimensions_are_set_for_all_alone(toy_registry: Registry) -> None:
    with pytest.raises(SpaceError, match=r"'optimizer' is the same for every model; set it under search\.space"):
        _space(toy_registry, "toy-ema", own={"optimizer": "adam"})
    restricted = _space(toy_registry, "toy-ema", shared={"optimizer": "adam", "clip": "none"})
    assert restricted.common["optimizer"] == CategoricalDistribution(["adam"])
    assert restricted.common["clip"] == CategoricalDistribution([None])


def test_error_on_an_unknown_shared_dimension_suggests_close_names(toy_registry: Registry) -> None:
    message = r"a/b: no model shares a dimension 'optimiser'; did you mean 'optimizer'\? Shared: optimizer, learning"
    with pytest.raises(SpaceError, match=message):
        _space(toy_registry, "toy-ema", shared={"optimiser": "adam"})


def test_own_dimension_is_restricted(toy_registry: Registry) -> None:
    space = _space(toy_registry, "toy-stack", own={"layers": [1, 2]})
    assert space.architecture["layers"] == CategoricalDistribution([1, 2])
    with pytest.raises(SpaceError, match=r"a/b: 'layers' is 4, outside its space \[1, 3\]"):
        _space(toy_registry, "toy-stack", own={"layers": [2, 4]})


def test_keyword_that_is_not_searched_may_be_given_a_value(toy_registry: Registry) -> None:
    space = _space(toy_registry, "toy-ema", own={"fault": "raise"})
    assert space.architecture["fault"] == CategoricalDistribution(["raise"])
    drawn: Mapping[str, ParamValue] = {name: at_unit(of, 0.5) for name, of in space.dimensions.items()}
    assert space.build_params(drawn)["fault"] == "raise"


def test_build_params_are_the_architecture_and_dropout(toy_registry: Registry) -> None:
    space = _space(toy_registry, "toy-stack")
    drawn = {name: at_unit(dimension, 0.5) for name, dimension in space.dimensions.items()}
    assert space.build_params(drawn).keys() == {"layers", "scale", "dropout"}


RATES = {"adam": 2e-3, "rmsprop": 1e-3, "sgd": 0.1, "adagrad": 1e-2}
"""Adam: Bai et al. 2018, Table 2.  RMSprop: their Table 3, the LSTM on MNIST.  SGD: He et al. 2015 (arXiv:1512.03385),
section 3.4.  Adagrad: PyTorch's default."""


def test_reference_rates_are_the_usual_ones() -> None:
    assert REFERENCE_RATES == RATES


@given(UNITS)
def test_the_rate_factor_is_log_uniform_around_one(unit: float) -> None:
    """As likely to divide the reference rate as to multiply it, by a tenth to ten."""
    factor = common_space(_Base())["learning_rate_factor"]
    assert factor == FloatDistribution(0.1, 10.0, log=True)
    value = at_unit(factor, unit)
    assert isinstance(value, float)
    assert math.log10(value) == pytest.approx(2 * unit - 1, abs=1e-9)


def test_samplers_draw_half_of_the_rate_factors_below_one() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    space = {"learning_rate_factor": common_space(_Base())["learning_rate_factor"]}
    draws = [study.ask(space).params["learning_rate_factor"] for _ in range(400)]
    below = sum(draw < 1 for draw in draws)
    assert abs(below - 200) < 50  # five standard deviations; a linear range has 36 of 400 below


@pytest.mark.parametrize(("optimizer", "rate"), REFERENCE_RATES.items())
def test_factor_of_one_is_the_optimisers_own_rate(toy_registry: Registry, optimizer: str, rate: float) -> None:
    space = _space(toy_registry, "toy-ema")
    params: dict[str, ParamValue] = {"optimizer": optimizer, "learning_rate_factor": 1.0, "clip": None}
    schedule = Schedule(kind="cosine")
    optimisation = space.optimisation(params, schedule)
    assert (optimisation.optimizer, optimisation.learning_rate, optimisation.clip) == (optimizer, rate, None)
    assert optimisation.schedule == schedule
    tenfold = space.optimisation({**params, "learning_rate_factor": 10.0}, schedule)
    assert tenfold.learning_rate == pytest.approx(10 * rate)


def test_regularisation_of_a_task_is_shared() -> None:
    class Strict(_Base):
        def regularisation(self) -> dict[str, BaseDistribution]:
            return {}

    assert "dropout" not in common_space(Strict())
    assert common_space(_Base())["dropout"] == FloatDistribution(0.0, 0.5)


class _Base(Task):
    name = "base"

    def signature(self) -> Signature:
        raise NotImplementedError

    def metrics(self) -> tuple[()]:
        return ()

    def training_sequences(self) -> int:
        return 1

    def load(self, *_: object) -> object:  # type: ignore[override]  # never called
        raise NotImplementedError

    def loss(self, *_: object) -> dict[str, object]:  # type: ignore[override]  # never called
        raise NotImplementedError


def test_reference_rates_name_every_optimiser() -> None:
    assert set(get_args(Optimisation.model_fields["optimizer"].annotation)) == REFERENCE_RATES.keys()
