"""Compare models in rounds of paired repetitions: which models train on, and what may be claimed about test scores.

Plain numbers in, plain numbers out.  Validation scores decide which models train on, in rounds as in Maron & Moore
(1994) and Birattari et al. (2002).  Claims read test scores alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.analysis.sign_test import MINIMUM_PAIRS
from harness.recommendation.gains import Gains, Scores, Scoring, gains
from harness.recommendation.inference import best_probabilities
from harness.recommendation.pairwise import ErrorBudget, Learned, PairwiseComparison, RivalStatus, compare_pair, learned


@dataclass(frozen=True)
class InterimLook:
    """The state of a race at one look."""

    n: int
    """Repetitions of the leader."""
    leader: str
    comparisons: tuple[PairwiseComparison, ...]
    learned: Mapping[str, Learned]
    """Model → whether it is better than the floor by more than the margin; `yes` for all if no floor is known."""

    def of(self, *verdicts: RivalStatus) -> tuple[str, ...]:
        return tuple(pair.rival for pair in self.comparisons if pair.verdict in verdicts)

    @property
    def nothing_learned(self) -> bool:
        return all(value == "no" for value in self.learned.values())

    @property
    def over(self) -> bool:
        """Every rival is lost or equivalent, or no model learns anything."""
        return self.n >= MINIMUM_PAIRS and (self.nothing_learned or not self.of("open"))


def interim_look(field: Gains, budget: ErrorBudget) -> InterimLook:
    """Return the state of a race.  The leader has the best mean of the models with the most repetitions; of equal means
    the first in alphabetical order, so that the order of models has no effect."""
    most = max(len(values) for values in field.values.values())
    leader = min(
        (model for model, values in field.values.items() if len(values) == most),
        key=lambda model: (-float(field.counted(model, most).mean()), model),
    )
    comparisons = tuple(compare_pair(field, leader, rival, budget) for rival in field.values if rival != leader)
    if any(pair.verdict == "lost" for pair in comparisons):
        eased = replace(budget, pair=budget.pair * budget.step)
        again = [compare_pair(field, leader, pair.rival, eased) for pair in comparisons]
        comparisons = tuple(
            new if (pair.verdict, new.verdict) == ("open", "lost") else pair
            for pair, new in zip(comparisons, again, strict=True)
        )
    return InterimLook(most, leader, comparisons, {model: learned(field, model, budget) for model in field.values})


def probabilities(field: Gains, models: Sequence[str], *, seed: int = 0) -> dict[str, float]:
    """Return model → the probability that its mean is the best of these, given the repetitions that they share.

    See `best_probabilities`.  The order of models has no effect.
    """
    n, names = field.common(*models), list(models)
    probabilities = best_probabilities(np.stack([field.counted(model, n) for model in names]), seed=seed)
    return dict(zip(names, probabilities.tolist(), strict=True))


@dataclass(frozen=True)
class Step:
    """The next trainings that a race asks for."""

    repetitions: int
    """Number that each of `models` needs."""
    models: tuple[str, ...]
    """Models that have fewer; none if the race is over."""
    alive: tuple[str, ...]
    """Models that were in the race at the last look, in the order given."""
    lost: Mapping[str, int]
    """Model → repetitions at which it was clearly worse on validation."""
    reads: tuple[int, ...] = ()
    """Looks, in repetitions, at which test scores were read."""


def follow(validation: Scores, test: Scores, budget: ErrorBudget, *, on_validation: Scoring, on_test: Scoring) -> Step:
    """Replay a race from its start and return what it asks for next.  This depends on the scores alone.

    A model that is clearly worse on validation trains no further.  Where validation leaves nothing open, and at the
    last look, test scores are read.  The race ends there, unless test scores leave rivals open: these train on.

    validation, test: scores of the same repetitions.  Models that can have no repetition are not in them.
    """
    alive, lost, reads = tuple(validation), dict[str, int](), list[int]()
    held = dict.fromkeys(validation, 0)
    for n in budget.looks:
        lacking = tuple(model for model in alive if len(validation[model]) < n)
        if lacking:
            return Step(n, lacking, alive, lost, tuple(reads))
        held |= dict.fromkeys(alive, n)
        field = gains({model: validation[model][:n] for model in alive}, on_validation)
        if field is None:
            return Step(n, (), alive, lost, tuple(reads))
        now = interim_look(field, budget)
        lost = dict.fromkeys(now.of("lost"), n) | lost
        last = n == budget.looks[-1]
        if not (last or now.over):
            alive = tuple(model for model in alive if model not in now.of("lost"))
            continue
        reads.append(n)
        outcome, lacking = _read_test(test, held, n, on_test, budget)
        if lacking or last or outcome is None or outcome.over:
            return Step(n, lacking, alive, lost, tuple(reads))
        alive = _candidates(outcome, held)
    raise ValueError("a race without looks")


def _read_test(
    test: Scores, held: dict[str, int], n: int, scoring: Scoring, budget: ErrorBudget
) -> tuple[InterimLook | None, tuple[str, ...]]:
    """Return the look at test scores and the models that must train up to n repetitions for it.

    Models that left the race return if test scores leave them open.  Then `held`, the repetitions of each model, grows.
    """
    while True:
        field = gains({model: test[model][: held[model]] for model in held}, scoring)
        if field is None:
            return None, ()
        outcome = interim_look(field, budget)
        back = [model for model in _candidates(outcome, held) if held[model] < n]
        lacking = tuple(model for model in back if len(test[model]) < n)
        if outcome.nothing_learned or not back or lacking:
            return outcome, () if outcome.nothing_learned else lacking
        held |= dict.fromkeys(back, n)


def _candidates(outcome: InterimLook, models: Iterable[str]) -> tuple[str, ...]:
    """Return the leader and the models that are open against it, in the order given."""
    return tuple(model for model in models if model == outcome.leader or model in outcome.of("open"))
