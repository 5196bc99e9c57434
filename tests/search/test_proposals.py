"""Configurations of a cell: sized to the budget, or rejected with the reason."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from harness.errors import BudgetError, PluginError
from harness.plugin.registry import Registry
from harness.search import proposals, suggestion
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.search.scheduler import TrialScheduler
from harness.seeds import derive
from harness.study.plan import make_plan
from tests.conftest import MakeStudy
from tests.support.plans import only_cell, with_model
from tests.support.trials import (
    MakeStates,
    any_resources,
    run_trials,
    suggested,
)
from tests.testing.attention_models import Attention, Divisible, Lazy


def test_every_configuration_meets_the_budget(states_of: MakeStates) -> None:
    (state,) = states_of(models=["toy-stack"], tasks=[{"name": "toy-ragged", "parameters": 300}], budget={"trials": 20})
    for trial in run_trials(TrialScheduler([state]), stop_after=20):
        size = state.plan.size(trial.build)
        assert (trial.widths, trial.parameters) == (size.widths, size.count.parameters)
        assert size.met
        assert trial.optimisation == state.plan.space.optimisation(trial.params, state.plan.schedule)
        assert trial.build == state.plan.space.build_params(trial.params)
        assert trial.training == state.plan.training


def test_rejected_draws_are_counted_with_their_reasons(states_of: MakeStates) -> None:
    """The receptive field of one layer is too short, and no widths of two meet the budget.  Neither is a trial."""
    (state,) = states_of(models=["toy-stack"], tasks=[{"name": "toy-ragged", "parameters": 75}], budget={"trials": 12})
    trials = run_trials(TrialScheduler([state]), stop_after=12)
    place = -1
    for trial in trials:
        assert trial.draw == place + len(trial.rejections) + 1
        place = trial.draw or 0
    reasons = Counter(reason.partition(":")[0] for trial in trials for reason in trial.rejections)
    assert reasons.keys() == {"1 layers reach 2 steps, but 3 are needed", "toy-stack"}
    assert {trial.build["layers"] for trial in trials} == {3}
    drawn = [suggested("random", state.plan.space.dimensions, seed=_cell_seed(state), draw=d) for d in range(place + 1)]
    assert [drawn[trial.draw or 0] for trial in trials] == [trial.params for trial in trials]


def _cell_seed(state: CellState) -> int:
    return derive(state.proposer.seed, "search", str(state.plan.cell))


def test_cell_whose_draws_are_all_rejected_is_an_error(states_of: MakeStates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.search.proposals.DRAWS", 20)
    (state,) = states_of(
        models=[{"name": "toy-stack", "space": {"layers": 1}}], tasks=[{"name": "toy-ragged", "parameters": 200}]
    )
    message = (
        r"^toy-ragged/toy-stack-layers-1: 20 configurations in a row were rejected; last reason: "
        r"1 layers reach 2 steps, but 3 are needed; change the task's parameters, the model's space or budget\.tol"
    )
    with pytest.raises(BudgetError, match=message):
        TrialScheduler([state]).ask(any_resources)


def test_other_study_seed_gives_other_parameters(states_of: MakeStates) -> None:
    trials = [run_trials(TrialScheduler(states_of(search={"seed": seed})), stop_after=1)[0] for seed in range(5)]
    assert len({json.dumps(trial.params) for trial in trials}) == 5
    assert len({trial.seeds for trial in trials}) == 5


def test_cells_of_a_study_draw_independently(states_of: MakeStates) -> None:
    models = [{"name": "toy-ema", "as": label} for label in "abcde"]
    trials = run_trials(TrialScheduler(states_of(models=models)), at_once=5, stop_after=5)
    assert len({json.dumps(trial.params) for trial in trials}) == 5


@pytest.mark.parametrize("model", [Divisible(), Lazy()])
def test_model_that_no_draw_can_use_is_refused_after_one(
    model: Attention, toy_registry: Registry, toy_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = only_cell(make_plan(toy_study(models=[model.name]), with_model(toy_registry, model)))
    draws: list[object] = []

    def counted(*arguments: Any, **facts: Any) -> Any:  # as `suggest`
        draws.append(facts)
        return suggestion.suggest(*arguments, **facts)

    monkeypatch.setattr(proposals, "suggest", counted)
    with pytest.raises(PluginError, match=f"toy-sum/{model.name}"):
        Proposer(cell, seed=0).propose(())
    assert len(draws) == 1


@pytest.mark.parametrize(("sampler", "told"), [("random", 0), ("quasi-random", 0), ("tpe", 6)])
def test_history_is_told_only_to_samplers_that_read_it(
    states_of: MakeStates, monkeypatch: pytest.MonkeyPatch, sampler: str, told: int
) -> None:
    """So a draw of the others costs the same at any number of trials."""
    (state,) = states_of(models=["toy-ema"], search={"sampler": sampler}, budget={"trials": 9, "repetitions": 1})
    run_trials(TrialScheduler([state]), stop_after=6)
    given: list[int] = []

    def counted(factory: Any, draw: Any, trials: Any) -> Any:  # as `suggest`
        given.append(len(trials))
        return suggestion.suggest(factory, draw, trials)

    monkeypatch.setattr(proposals, "suggest", counted)
    state.search_trial(6)
    assert set(given) == {told}
