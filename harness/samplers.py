"""The samplers of the core.  They are used like those of a plugin: made anew for each draw."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.api.distributions import at_unit, unit_of
from harness.api.sampler import Draw, SamplerFactory
from harness.errors import SpaceError
from harness.seeds import derive


def random(draw: Draw) -> BaseSampler:
    """Independent draws."""
    return RandomSampler(draw.seed)


def quasi_random(draw: Draw) -> BaseSampler:
    """A scrambled Sobol sequence, which covers the space more evenly than independent draws."""
    return _Sobol(draw)


def tpe(draw: Draw) -> BaseSampler:
    """Optuna's tree-structured Parzen estimator."""
    return _Tpe(draw)


def gp(draw: Draw) -> BaseSampler:
    """Optuna's Gaussian process.  It learns from complete trials alone."""
    return GPSampler(seed=draw.seed)


def cmaes(draw: Draw) -> BaseSampler:
    """CMA-ES, in generations.  It needs the package cmaes and a space of two or more numbers."""
    choices = [
        name
        for name, dimension in draw.space.items()
        if isinstance(dimension, CategoricalDistribution) and not dimension.single()
    ]
    if choices:
        raise SpaceError(
            f"sampler 'cmaes' samples numbers only; fix the choices {', '.join(choices)} to one value each in "
            "[search.space] or in the model's space, or use another sampler"
        )
    if sum(not dimension.single() for dimension in draw.space.values()) < 2:
        raise SpaceError("sampler 'cmaes' needs at least two dimensions that are not fixed; use another sampler")
    if importlib.util.find_spec("cmaes") is None:
        raise SpaceError("sampler 'cmaes' needs the package cmaes, which is not installed; pip install cmaes")
    return _Generations(draw)


CORE_SAMPLERS: Mapping[str, SamplerFactory] = {
    "random": random,
    "quasi-random": quasi_random,
    "tpe": tpe,
    "gp": gp,
    "cmaes": cmaes,
}

WITHOUT_HISTORY: tuple[SamplerFactory, ...] = (random, quasi_random)
"""Those whose suggestions do not depend on earlier trials, so that a draw costs the same at any number of them."""


COMPLETE_ONLY: tuple[SamplerFactory, ...] = (gp,)
"""Those that read nothing but complete trials: under pruning they know of none when they draw."""


class _Tpe(TPESampler):
    """TPE that knows which dimensions the trials share: all of them.

    Optuna's own looks for them in every earlier trial, which takes most of the time of an ask.
    """

    def __init__(self, draw: Draw) -> None:
        super().__init__(seed=draw.seed, multivariate=True, constant_liar=True)
        self._space = draw.space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return {name: of for name, of in sorted(self._space.items()) if not of.single()} if ended else {}


class _WholeSpace(BaseSampler):
    """A sampler of all dimensions together."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._draw.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:  # values of parameters
        units = self._units([other for other in study.get_trials(deepcopy=False) if other.number < trial.number])
        return {
            name: at_unit(dimension, float(unit))
            for (name, dimension), unit in zip(self._draw.space.items(), units, strict=True)
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # value of a parameter
        return RandomSampler(self._draw.seed).sample_independent(study, trial, param_name, param_distribution)

    def _units(self, told: Sequence[FrozenTrial]) -> Sequence[float]:
        """Return the quantile of each dimension, in [0, 1).  told: the trials before this one."""
        raise NotImplementedError


class _Sobol(_WholeSpace):
    """The point of a scrambled Sobol sequence with the number of the draw.

    Optuna's QMCSampler keeps its position in a storage and draws the first point at random.
    """

    def _units(self, told: Sequence[FrozenTrial]) -> Sequence[float]:
        from scipy.stats import qmc  # takes 0.7 s to import, and most studies do not need it

        sobol = qmc.Sobol(d=len(self._draw.space), scramble=True, rng=derive(self._draw.cell_seed, "sobol") % 2**32)
        if self._draw.number:  # scipy cannot fast-forward by 0
            sobol.fast_forward(self._draw.number)
        units: Sequence[float] = sobol.random(1)[0]
        return units


class _Generations(_WholeSpace):
    """CMA-ES whose state is computed again from the trials before, generation by generation.

    Optuna's CmaEsSampler keeps its state in a storage.  A generation counts once all its trials have ended; a trial
    without a score has the worst score of its generation.
    """

    def _units(self, told: Sequence[FrozenTrial]) -> Sequence[float]:
        from cmaes import CMA  # an optional dependency

        free = {name: dimension for name, dimension in self._draw.space.items() if not dimension.single()}
        bounds = np.tile([0.0, 1.0], (len(free), 1))
        strategy = CMA(mean=np.full(len(free), 0.5), sigma=1 / 6, bounds=bounds, seed=self._draw.seed)
        size = strategy.population_size
        for start in range(0, len(told) - size + 1, size):
            generation = told[start : start + size]
            if any(trial.state is TrialState.RUNNING for trial in generation):
                break
            points = [np.array([unit_of(of, trial.params[name]) for name, of in free.items()]) for trial in generation]
            strategy.tell(list(zip(points, _scores(generation), strict=True)))
        drawn = dict(zip(free, strategy.ask(), strict=True))
        return [min(max(float(drawn.get(name, 0.0)), 0.0), 1 - 2**-53) for name in self._draw.space]


def _scores(trials: Sequence[FrozenTrial]) -> list[float]:
    """Return the scores of a generation, that of a pruned trial at its rung; the worst one where there is none."""
    known = [trial.value if trial.value is not None else _last(trial) for trial in trials]
    worst = max((score for score in known if score is not None), default=0.0)
    return [worst if score is None else score for score in known]


def _last(trial: FrozenTrial) -> float | None:
    return None if trial.last_step is None else trial.intermediate_values[trial.last_step]
