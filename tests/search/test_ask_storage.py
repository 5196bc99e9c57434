"""The storage of an ask, compared with that of Optuna: the same suggestions, and earlier trials do not change."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from harness.api.sampler import Draw, SamplerFactory
from harness.ledger.journal import TrialEntry
from harness.records import ParamValue, TrialResult
from harness.samplers import CORE_SAMPLERS
from harness.search.ask_storage import AskStorage, numbered
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.search.scheduler import TrialScheduler
from harness.search.suggestion import draw_of, suggest, told_trial
from harness.study.space import Space
from tests.conftest import make_trial
from tests.support.trials import MakeStates, any_resources, complete, end, rate_of, suggested

SPACE: dict[str, BaseDistribution] = {
    "zoom": FloatDistribution(0.0, 1.0),
    "rate": FloatDistribution(0.1, 10.0, log=True),
    "clip": CategoricalDistribution([0.25, 1.0, None]),
    "fixed": CategoricalDistribution(["adam"]),
}
"""Not in the order of the names."""
RESULTS: tuple[TrialResult | None, ...] = (
    complete(0.4),
    TrialResult(outcome="diverged", score=0.3),
    None,
    TrialResult(outcome="failed", reason="x"),
    complete(0.1),
    TrialResult(outcome="pruned", score=0.2, updates=4),
)


def plain_tpe(draw: Draw) -> BaseSampler:
    return TPESampler(seed=draw.seed, multivariate=True, constant_liar=True)


def plain(factory: SamplerFactory, draw: Draw, told: Sequence[FrozenTrial]) -> dict[str, ParamValue]:
    """Return the suggestion with Optuna's storage."""
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=factory(draw))
    for trial in told:
        storage.create_new_trial(storage.get_study_id_from_name(study.study_name), template_trial=trial)
    return study.ask(dict(draw.space)).params


def history(space: Space, results: Sequence[TrialResult | None]) -> list[FrozenTrial]:
    entries = [
        TrialEntry(make_trial(number=n, params=suggested("random", space, seed=1, draw=n)), 1, (), result)
        for n, result in enumerate(results)
    ]
    return [told_trial(entry, space, "lower") for entry in entries]


@pytest.mark.parametrize("results", [(), (None, None), RESULTS[2:4], RESULTS * 6])
@pytest.mark.parametrize("name", ["random", "quasi-random", "tpe", "gp"])
def test_suggestions_are_those_with_the_storage_of_optuna(name: str, results: Sequence[TrialResult | None]) -> None:
    told = history(SPACE, results)
    reference = {"tpe": plain_tpe, "gp": lambda draw: GPSampler(seed=draw.seed)}.get(name, CORE_SAMPLERS[name])
    for number in (0, 40, 41):
        draw = draw_of(SPACE, cell_seed=3, number=number)
        assert suggest(CORE_SAMPLERS[name], draw, told) == plain(reference, draw, told)


def test_sampler_that_writes_changes_no_earlier_trial() -> None:
    told = [numbered(trial, number) for number, trial in enumerate(history(SPACE, RESULTS))]
    before = copy.deepcopy(told)
    storage = AskStorage(told)
    study = optuna.create_study(storage=storage)
    storage.set_trial_system_attr(2, "state", [1])
    storage.set_trial_intermediate_value(2, 5, 0.5)
    study.set_user_attr("seen", True)
    asked = study.ask(SPACE)
    study.tell(asked, 0.25)
    assert told == before
    assert storage.get_trial(2).system_attrs == {"state": [1]}
    assert (asked.number, len(study.trials), study.user_attrs) == (len(told), len(told) + 1, {"seen": True})
    assert (study.trials[-1].state, study.trials[-1].value) == (TrialState.COMPLETE, 0.25)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(0, "late", 1)


def test_sampler_that_changes_its_copies_of_trials_changes_no_later_ask() -> None:
    """Optuna permits it: `Study.trials` are deep copies."""
    told = [numbered(trial, number) for number, trial in enumerate(history(SPACE, RESULTS))]
    before = copy.deepcopy(told)
    study = optuna.create_study(storage=AskStorage(told))
    for trial in study.trials:
        trial.params.clear()
        trial.system_attrs["seen"] = True
    assert told == before


def test_proposer_that_has_seen_a_search_proposes_as_a_new_one(states_of: MakeStates) -> None:
    """Trials end in another order than they start, so entries of the middle change."""
    (state,) = states_of(search={"sampler": "tpe"}, budget={"trials": 24, "repetitions": 1})
    scheduler = TrialScheduler([state])
    running = [scheduler.ask(any_resources) for _ in range(4)]
    for number in range(4, 24):
        trial = running.pop(number % 4)
        assert trial is not None
        end(scheduler, trial, None if number % 7 == 0 else rate_of(trial))
        fresh = CellState(Proposer(state.plan, seed=state.proposer.seed), study_id="s")
        fresh.entries.update(state.entries)
        running.append(scheduler.ask(any_resources))
        assert running[-1] == fresh.search_trial(number)
