"""A cell as a study of Optuna: the same trials, and every figure that applies."""

from __future__ import annotations

import math
from collections.abc import Iterator

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.visualization import matplotlib as figures

import harness
from harness.errors import UnknownNameError
from tests.support.toys import ToyEma, ToySum


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Results]:
    """Eight trials of a cell, and a second cell in which all fail."""
    folder = tmp_path_factory.mktemp("optuna")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")
        study = harness.Study(
            "toys",
            [ToyEma, {"name": ToyEma, "as": "fails", "space": {"fault": "raise"}}],
            [{"name": ToySum, "parameters": 161}],
            budget={"trials": 8, "repetitions": 1, "tolerance": 0.1},
            training={"updates": 8, "batch_size": 8, "evaluations": 4},
            search={"space": {"clip": 1.0}},
        )
        with pytest.warns(harness.IncompleteWarning):
            yield harness.run(study, executor="serial", progress=False, log_models=False)


def test_trials_are_those_of_the_frame(results: harness.Results) -> None:
    study = harness.optuna_study(results, "toy-sum/toy-ema")
    frame = results.trials
    frame = frame[(frame["model"] == "toy-ema") & (frame["phase"] == "search")]
    assert [trial.value for trial in study.trials] == frame["score"].tolist()
    assert study.best_value == frame["score"].min()
    assert study.best_trial.user_attrs["key"] == frame.sort_values("score")["key"].tolist()[0]
    assert len(study.trials[0].intermediate_values) == 4
    assert isinstance(study.trials[0].distributions["learning_rate_factor"], FloatDistribution)
    assert study.trials[0].distributions["clip"] in (
        CategoricalDistribution([0.25, 1.0, None]), CategoricalDistribution([1.0]),
    )  # fmt: skip


def test_failed_trials_are_failed_in_optuna(results: harness.Results) -> None:
    study = harness.optuna_study(results, "toy-sum/fails")
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.FAIL}
    assert {trial.params["fault"] for trial in study.trials} == {"raise"}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "ignore:Attempting to set identical")
@pytest.mark.parametrize(
    "name",
    [
        "plot_optimization_history", "plot_parallel_coordinate", "plot_slice", "plot_contour", "plot_edf",
        "plot_intermediate_values", "plot_rank", "plot_timeline", "plot_param_importances",
    ],
)  # fmt: skip
def test_every_figure_of_one_objective_is_drawn(results: harness.Results, name: str) -> None:
    drawn = getattr(figures, name)(harness.optuna_study(results, "toy-sum/toy-ema"))
    assert drawn is not None


def test_importances_are_shares(results: harness.Results) -> None:
    study = harness.optuna_study(results, "toy-sum/toy-ema")
    importances = optuna.importance.get_param_importances(study)
    assert math.isclose(sum(importances.values()), 1.0)


def test_unknown_cell_is_named_with_the_known_ones(results: harness.Results) -> None:
    with pytest.raises(UnknownNameError, match=r"no searched cell 'toy-sum/toy-em'; did you mean 'toy-sum/toy-ema'"):
        harness.optuna_study(results, "toy-sum/toy-em")
