"""Simulated worlds: the distribution of scores, the truth, and whether a claim is false."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Random = np.random.Generator


@dataclass(frozen=True)
class Draw:
    """The scores of one race, (models, repetitions) each, and the truth behind them."""

    validation: Array
    test: Array
    truth: Sequence[float]
    """Model → expected test score on the metric's scale, with the sign for which more is better."""
    floor: float | None = None
    validation_floor: float | None = None
    answers: int | None = None
    """Held-out answers, if their number matters."""
    standard_errors: Sequence[float] = ()
    """Model → mean standard error of its test scores over the held-out answers."""


Drawing = Callable[[Random, int], Draw]
"""Draws a race with at most this number of repetitions."""


@dataclass(frozen=True)
class Outcome:
    """The claims of one race."""

    verdict: str
    leader: int
    places: Mapping[int, str]
    """Rival → lost, equivalent or open."""
    learned: bool
    """Whether the race claims that the leader is better than the floor."""
    repetitions: float
    """Mean over models."""
    reads: int

    @classmethod
    def of(
        cls, leader: int, places: Mapping[int, str], learned: bool, nothing: bool, repetitions: float, reads: int
    ) -> Outcome:
        said = set(places.values())
        if nothing:
            verdict = "nothing-learned"
        elif "open" in said or not learned:
            verdict = "undecided"
        else:
            verdict = "equivalent" if "equivalent" in said else "best"
        return cls(verdict, leader, places, learned, repetitions, reads)

    def false_claim(self, truth: Sequence[float], margin: float, *, learns: bool) -> bool:
        """Return whether any claim is false.  A race in which nothing was learned claims nothing about its models."""
        if self.verdict == "nothing-learned":
            return learns
        gaps = {rival: truth[self.leader] - truth[rival] for rival in self.places}
        lost = any(place == "lost" and gaps[rival] <= 0 for rival, place in self.places.items())
        equal = any(place == "equivalent" and abs(gaps[rival]) >= margin for rival, place in self.places.items())
        best = self.verdict == "best" and any(gap <= 0 or abs(gap) < margin for gap in gaps.values())
        return lost or equal or best or (self.learned and not learns)


@dataclass(frozen=True)
class World:
    name: str
    draw: Drawing
    right: str
    """The right verdict."""
    better: Literal["lower", "higher"] = "higher"
    margin: float = 0.0
    scale: Literal["linear", "log"] = "linear"
    learns: bool = True
    most: int = 29
    extended: tuple[int, ...] = ()
    """Repetitions to which the race is extended, one after another, until it says `best`."""
    note: str = ""
    """Why the guarantee is approximate; '' if it is exact."""


Noise = Callable[[Random, tuple[int, ...]], Array]


def _normal(random: Random, shape: tuple[int, ...]) -> Array:
    return random.standard_normal(shape)


def _heavy(random: Random, shape: tuple[int, ...]) -> Array:
    return random.standard_t(3, size=shape) / math.sqrt(3)


def _long_bad_tail(random: Random, shape: tuple[int, ...]) -> Array:
    return 1 - random.exponential(size=shape)


def _opposite_tails(random: Random, shape: tuple[int, ...]) -> Array:
    """Return a long bad tail for the first model and long good tails for the others."""
    drawn = random.exponential(size=shape) - 1
    return np.concatenate([-drawn[:1], drawn[1:]])


def _grid(random: Random, shape: tuple[int, ...]) -> Array:
    return random.integers(0, 2, size=shape).astype(float)


def scores(*means: float, noise: Noise = _normal, transfer: float = 0.8, drift: Sequence[float] = ()) -> Drawing:
    """Return a function that draws scores of spread 1.  Models of one seed share 30 % of a normal variance.

    transfer: correlation of validation and test.  drift: added to the means on validation.
    """

    def draw(random: Random, most: int) -> Draw:
        shape, level = (len(means), most), np.asarray(means)[:, None]
        own = noise(random, shape)
        if noise is _normal:
            own = math.sqrt(0.3) * random.standard_normal((1, most)) + math.sqrt(0.7) * own
        other = math.sqrt(1 - transfer) * random.standard_normal(shape)
        validation = level + math.sqrt(transfer) * own + other
        shift = np.asarray(drift)[:, None] if drift else 0.0
        return Draw(validation + shift, level + own, means)

    return draw


def failing(rate: float, gap: float, others: int = 0) -> Drawing:
    """Return a function that draws squared errors of models; all except the last fail at this rate.

    If they do not fail, they are better than the last by a factor of exp(gap).  A failure scores the floor.
    """

    def draw(random: Random, most: int) -> Draw:
        models = 1 + others
        failed = np.where(random.random((models, most)) < rate, -1.8, -10.0) + 0.1 * random.normal(size=(models, most))
        steady = gap - 10 + 0.1 * random.normal(size=(1, most))
        test = np.exp(np.concatenate([failed, steady]))
        truth = (*[10 - 8.2 * rate] * models, 10 - gap)
        return Draw(test * np.exp(0.05 * random.normal(size=test.shape)), test, truth, 1 / 6, 1 / 6)

    return draw


def factors(*values: float, spread: float) -> Drawing:
    """Return a function that draws squared errors around these values, far from a floor of 1/6."""

    def draw(random: Random, most: int) -> Draw:
        test = np.exp(np.log(np.asarray(values))[:, None] + spread * random.normal(size=(len(values), most)))
        return Draw(test, test, [-math.log(value) for value in values], 1 / 6, 1 / 6)

    return draw


def close(models: int, spread: float) -> Drawing:
    """Return a function that draws models whose true means are themselves drawn."""

    def draw(random: Random, most: int) -> Draw:
        means = spread * random.standard_normal(models)
        return replace(scores(*means.tolist())(random, most), truth=tuple(means.tolist()))

    return draw


def answered(models: int, answers: int, learned: float = 0.0) -> Drawing:
    """Return a function that draws accuracies on two classes of 40 sequences each; labels are permuted.

    The answers of a model depend mostly on the sequence and little on the seed.  The floor is the most common training
    class.  The true difference between models is that of these test answers.  learned: share of the answers that a
    model knows.
    """

    def draw(random: Random, most: int) -> Draw:
        labels = random.permutation(np.repeat([0, 1], max(40, 2 * answers)))
        splits = labels[:answers], labels[answers : 2 * answers]
        common = int(labels[2 * answers :].mean() > 0.5)
        floors = [100 * float((split == common).mean()) for split in splits]
        right, truth = [], []
        for split in splits:
            leaning = random.beta(0.3, 0.3, size=(models, 1, answers))
            known = random.random(leaning.shape) < learned
            leaning = np.where(known, split, leaning)
            said = random.random((models, most, answers)) < leaning
            right.append(100.0 * (said == split))
            truth.append((100 * np.where(split == 1, leaning, 1 - leaning).mean(axis=2)[:, 0]).tolist())
        errors = right[0].std(axis=2, ddof=1).mean(axis=1) / math.sqrt(answers)
        validation, test = right[1].mean(axis=2), right[0].mean(axis=2)
        return Draw(validation, test, truth[0], floors[0], floors[1], answers, errors.tolist())

    return draw


def harder(shift: float) -> Drawing:
    """Return a function that draws errors of two models whose validation split is harder by `shift`."""

    def draw(random: Random, most: int) -> Draw:
        test = np.array([0.80, 0.85])[:, None] + 0.08 * random.normal(size=(2, most))
        return Draw(test + shift, test, (-0.80, -0.85), 1.0, 1.0 + shift)

    return draw


_T = "The t test is exact for normal scores; here it is approximate, and the simulation is the evidence."
_F = "A model with failures in fewer than 10 % of trainings may be called equivalent (`EQUIVALENT_PAIRS`)."
_LOG2 = math.log(2)
_LOG: Any = {"better": "lower", "scale": "log"}  # arguments of World, hence Any

WORLDS = (
    World("normal, 2 models, 3 spreads apart", scores(3, 0), "best", margin=0.1),
    World("normal, 2 models, 1 spread apart", scores(1, 0), "best", margin=0.1),
    World("normal, 4 models, one better by 1", scores(1, 0, 0, 0), "best", margin=0.1),
    World("normal, 9 models, one better by 1.5", scores(1.5, *[0.0] * 8), "best", margin=0.1),
    World("equal, 2 models", scores(0, 0), "undecided"),
    World("equal, 4 models", scores(*[0.0] * 4), "undecided"),
    World("equal, 9 models", scores(*[0.0] * 9), "undecided"),
    World("equal, 3 models, margin 2 spreads", scores(0, 0, 0), "equivalent", margin=2.0),
    World("close, 5 models", close(5, 0.3), "undecided"),
    World("heavy tails (t, 3 df), equal, 2 models", scores(0, 0, noise=_heavy), "undecided", note=_T),
    World("heavy tails (t, 3 df), equal, 6 models", scores(*[0.0] * 6, noise=_heavy), "undecided", note=_T),
    World("heavy tails (t, 3 df), 1 spread apart", scores(1, 0, noise=_heavy), "best", margin=0.1, note=_T),
    World("skewed, equal, 2 models", scores(0, 0, noise=_long_bad_tail), "undecided", note=_T),
    World("skewed, equal, 6 models", scores(*[0.0] * 6, noise=_long_bad_tail), "undecided", note=_T),
    World("skewed in opposite directions, equal, 2 models", scores(0, 0, noise=_opposite_tails), "undecided", note=_T),
    World("skewed in opposite directions, equal, 6 models", scores(*[0.0] * 6, noise=_opposite_tails), "undecided",
          note=_T),
    World("two-point scores, equal, 2 models", scores(0, 0, noise=_grid, transfer=1), "undecided", note=_T),
    World("two-point scores, equal, 6 models", scores(*[0.0] * 6, noise=_grid, transfer=1), "undecided", note=_T),
    World("fails in 5 %, else better by 0.2", failing(0.05, 0.2), "equivalent", margin=_LOG2, **_LOG),
    World("fails in 10 %, else better by 0.4", failing(0.1, 0.4), "equivalent", margin=_LOG2, **_LOG),
    World("fails in 20 %, else better by 0.8", failing(0.2, 0.8), "best", margin=_LOG2, **_LOG),
    World("fails in 5 %, else better by 0.2, no margin", failing(0.05, 0.2), "best", **_LOG),
    World("fails in 10 %, else better by 0.4, no margin", failing(0.1, 0.4), "best", **_LOG),
    World("fails in 20 %, else better by 0.8, no margin", failing(0.2, 0.8), "best", **_LOG),
    World("three of four fail in 10 %, else better by 0.4, no margin", failing(0.1, 0.4, 2), "best", **_LOG),
    World("fails in 10 %, else equal", failing(0.1, 0.0), "best", margin=_LOG2, note=_F, **_LOG),
    World("fails in 5 %, 100 repetitions, no margin", failing(0.05, 0.2), "best", most=100, **_LOG),
    World("within the margin: 99.0 and 98.9, margin 1",
          lambda random, most: replace(d := scores(1, 0)(random, most), test=99 + 0.05 * d.test,
                                       validation=99 + 0.05 * d.validation, truth=(99.05, 99.0)),
          "equivalent", margin=1.0),
    World("within the margin: 5.8e-5 and 1e-4, margin a factor of 2", factors(5.8e-5, 1e-4, spread=0.15), "equivalent",
          margin=_LOG2, **_LOG),
    World("noise: permuted labels, 12 answers, 1 model", answered(1, 12), "nothing-learned", margin=1.0, learns=False),
    World("noise: permuted labels, 12 answers, 4 models", answered(4, 12), "nothing-learned", margin=1.0, learns=False),
    World("learned: 9 of 10 known, 40 answers, 1 model", answered(1, 40, 0.9), "best", margin=1.0),
    World("drift: validation prefers the worse by 1", scores(0.5, 0, drift=(0, 1.5)), "best", margin=0.1),
    World("drift: equal on test, 1 apart on validation", scores(0, 0, drift=(1, 0)), "undecided"),
    World("validation as hard as test, 80 repetitions", harder(0.0), "best", better="lower", margin=0.02, most=80),
    World("validation harder by 0.4, 80 repetitions", harder(0.4), "best", better="lower", margin=0.02, most=80),
    World("equal, 2 models, extended to 300 repetitions", scores(0, 0), "undecided",
          extended=(10, 20, 29, 50, 80, 120, 200, 300)),
)  # fmt: skip


@dataclass(frozen=True)
class ReportWorld:
    """Models whose report is read at some numbers of repetitions.  Lower is better; the first model may be ahead."""

    name: str
    models: int
    looks: tuple[int, ...]
    margin: float = 0.0
    ahead: bool = False
    """Whether the first model is better than each other by the margin."""

    @property
    def false(self) -> set[str]:
        """The verdicts, of an earlier model against a later, that are false."""
        return {"worse", "equivalent"} if self.ahead else {"better", "worse"}

    def draw(self, random: Random) -> Array:
        """Return scores, (models, repetitions)."""
        scores = random.normal(size=(self.models, self.looks[-1]))
        scores[0] -= self.margin if self.ahead else 0.0
        return scores


_ADDED = (10, 17, 29, 40, 60, 80, 100)
REPORTS = (
    ReportWorld("9 equal models, 29 repetitions", 9, (29,)),
    ReportWorld("9 equal models, 29 repetitions, margin 0.2", 9, (29,), 0.2),
    ReportWorld("2 equal models, pairs added until decided", 2, _ADDED),
    ReportWorld("2 models, one better by the margin 1, pairs added until decided", 2, _ADDED, 1.0, ahead=True),
)


@dataclass(frozen=True)
class Case:
    """Models whose true means are drawn with `tau` times the spread over seeds."""

    models: int
    n: int
    tau: float

    @property
    def name(self) -> str:
        return f"{self.models}, {self.n}, {self.tau:g}"

    def draw(self, random: Random) -> tuple[Array, int]:
        """Return scores, (models, n), and the index of the best model."""
        means = self.tau * random.standard_normal(self.models)
        seeds = random.standard_normal(self.n)
        return means[:, None] + seeds + random.standard_normal((self.models, self.n)), int(means.argmax())


CASES = tuple(
    Case(*values)
    for values in ((2, 10, 0.3), (2, 10, 1.0), (3, 10, 0.3), (3, 10, 1.0), (5, 10, 0.3), (9, 5, 0.3), (9, 10, 0.3),
                 (9, 29, 0.1), (9, 29, 0.3))
)  # fmt: skip
