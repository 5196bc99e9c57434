"""The checks of samplers find each way in which a suggestion depends on something else."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness import Draw, SamplerFactory, SpaceError
from harness.samplers import CORE_SAMPLERS
from harness.testing import SAMPLER_CHECKS, CheckError, SamplerSubject, check_sampler, parametrize_checks
from harness.testing.outcomes import run_checks


@parametrize_checks(*(SamplerSubject(name, CORE_SAMPLERS[name]) for name in ("random", "quasi-random", "tpe", "cmaes")))
def test_samplers_of_the_core_pass(check: Callable[[], None]) -> None:
    check()


def seeded_once(draw: Draw) -> BaseSampler:
    return RandomSampler(0)


def from_global_state(draw: Draw) -> BaseSampler:
    return RandomSampler(random.getrandbits(32))


def from_number_alone(draw: Draw) -> BaseSampler:
    return RandomSampler(draw.number)


def from_process(draw: Draw) -> BaseSampler:
    return RandomSampler(draw.seed ^ int(os.environ.get("PYTHONHASHSEED") == "1"))


def from_calls(draw: Draw, calls: list[int] = []) -> BaseSampler:  # noqa: B006
    calls.append(draw.number)
    return RandomSampler(draw.seed + len(calls))


class _BestOfAll(RandomSampler):
    """Reads the value of every trial that ended, which a pruned one does not have."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        min((trial.value for trial in ended), default=None)  # type: ignore[type-var]  # the planted defect
        return {}


def without_rungs(draw: Draw) -> BaseSampler:
    return _BestOfAll(draw.seed)


class _TooLarge(RandomSampler):
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # value of a parameter
        return 1e6 if param_name == "rate" else super().sample_independent(study, trial, param_name, param_distribution)


def too_large(draw: Draw) -> BaseSampler:
    return _TooLarge(draw.seed)


def forgetful(draw: Draw) -> BaseSampler:
    RandomSampler(draw.seed)
    return None  # type: ignore[return-value]  # the planted defect


def refusing(draw: Draw) -> BaseSampler:
    raise SpaceError("sampler 'refusing' samples nothing")


def broken(draw: Draw) -> BaseSampler:
    raise ValueError("no sampler today")


@pytest.mark.parametrize(
    ("factory", "check", "reason"),
    [
        (seeded_once, "check_draws_differ", "20 draws give only 1 different suggestions"),
        (from_number_alone, "check_cells_differ", "cells with different seeds draw the same"),
        (from_global_state, "check_suggestion_repeats", "a draw after 0 trials gives"),
        (from_calls, "check_suggestion_repeats", "a draw after 0 trials gives"),
        (from_process, "check_suggestion_in_another_process", "another process suggests"),
        (refusing, "check_suggestion_space", "sampler 'refusing' samples nothing"),
        (without_rungs, "check_suggestion_space", "TypeError: '<' not supported"),
        (too_large, "check_suggestion_space", "rate = 1000000.0 is outside"),
        (forgetful, "check_suggestion_space", "the function returned NoneType; it must return a sampler of Optuna"),
        (broken, "check_suggestion_space", "ValueError: no sampler today"),
    ],
)
def test_planted_defect_is_found_by_its_check(
    factory: SamplerFactory, check: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    checks = [each for each in SAMPLER_CHECKS if each.__name__ == check]
    (result,) = run_checks(SamplerSubject("planted", factory), "planted", checks)
    assert (result.check, result.status) == (check, "failed")
    assert reason in result.reason


def test_every_check_runs_though_others_fail() -> None:
    results = check_sampler("refusing", refusing)
    assert [result.check for result in results] == [each.__name__ for each in SAMPLER_CHECKS]
    assert {result.status for result in results[:3]} == {"failed"}


def test_single_check_raises() -> None:
    with pytest.raises(CheckError, match="only 1 different"):
        SAMPLER_CHECKS[2](SamplerSubject("seeded-once", seeded_once))
