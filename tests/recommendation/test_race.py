"""The rounds of a race; benchmarks/test_worlds.py simulates whole races."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.recommendation.gains import Scoring, gains
from harness.recommendation.pairwise import ErrorBudget, ladder
from harness.recommendation.race import Step, follow, interim_look
from tests.support.scores import HIGHER, apart


def raced(
    validation: np.ndarray, looks: Sequence[int], test: np.ndarray | None = None, scoring: Scoring = HIGHER
) -> Step:
    """Run every requested repetition.  validation, test: (models, repetitions)."""
    test = validation if test is None else test
    names = [str(index) for index in range(len(validation))]
    budget = ErrorBudget.of(0.95, looks=looks, models=len(names))
    held = dict.fromkeys(names, 0)
    while True:
        seen = [{name: list(each[int(name)][: held[name]]) for name in names} for each in (validation, test)]
        step = follow(seen[0], seen[1], budget, on_validation=scoring, on_test=scoring)
        if not step.models:
            return step
        assert all(held[name] < step.repetitions for name in step.models)
        held |= dict.fromkeys(step.models, step.repetitions)


def test_a_race_asks_all_first_and_drops_who_is_worse_on_validation() -> None:
    random = np.random.default_rng(1)
    world = random.normal(0, 1, (1, 29)) + random.normal(0, 0.1, (4, 29)) + np.asarray([[0.0], [0.02], [-9.0], [-9.0]])
    budget = ErrorBudget.of(0.95, looks=(5, 10, 15), models=4)

    def after(n: int) -> Step:
        scores = {str(k): list(world[k][:n]) for k in range(4)}
        return follow(scores, scores, budget, on_validation=HIGHER, on_test=HIGHER)

    assert (after(0).repetitions, after(0).models) == (5, ("0", "1", "2", "3"))
    assert (after(5).repetitions, after(5).models) == (10, ("0", "1", "2", "3"))
    assert (after(10).repetitions, after(10).models, after(10).lost) == (15, ("0", "1"), {"2": 10, "3": 10})


def test_leader_is_the_best_of_the_models_with_the_most_repetitions() -> None:
    scores = {"early": [9.0] * 5, "first": [2.0, 2.1] * 6, "second": [1.0, 1.1] * 6}  # "early" left after 5
    field = gains(scores, HIGHER)
    assert field is not None
    look = interim_look(field, ErrorBudget.of(0.95, looks=(5, 10), models=3))
    assert (look.leader, look.n) == ("first", 12)
    assert {one.rival: one.n for one in look.comparisons} == {"early": 5, "second": 12}


def test_a_race_of_one_ends_at_the_first_look_that_claims() -> None:
    assert raced(np.zeros((1, 29)), ladder(29)).repetitions == 10


def test_a_clear_race_ends_early_and_an_even_one_at_its_end() -> None:
    world = np.random.default_rng(2).normal(0, 1, (2, 29))
    clear, even = raced(world + np.asarray([[20.0], [0.0]]), ladder(29)), raced(world, ladder(29))
    assert (clear.repetitions, clear.reads) == (10, (10,))
    assert (even.repetitions, even.reads) == (29, (29,))


def test_a_model_that_test_leaves_open_trains_on_whatever_validation_says() -> None:
    random = np.random.default_rng(3)
    test = random.normal(0, 1, (2, 29))
    step = raced(test + np.asarray([[30.0], [0.0]]), ladder(29), test=test)
    assert (step.repetitions, step.lost["1"]) == (29, 10)
    assert step.reads == (10, 15, 20, 29)


def test_a_model_that_comes_back_is_judged_on_all_its_repetitions() -> None:
    """On validation `2` is out after 10 and `1` after 15; test needs 15 pairs for either."""
    world = np.stack([np.zeros(29), -apart(1.3, 29), -apart(1.3, 29)])
    validation = world.copy()
    validation[2] = -30 - 0.1 * apart(0, 29)
    step = raced(validation, ladder(29), test=world)
    assert (step.repetitions, step.lost, step.reads) == (15, {"1": 15, "2": 10}, (15,))


def test_a_race_in_which_no_model_learns_ends_at_ten() -> None:
    scoring = Scoring("higher", floor=100.0)
    world = np.random.default_rng(4).normal(0, 1, (3, 29))
    assert raced(world, ladder(29), scoring=scoring).repetitions == 10


def test_validation_scores_are_read_against_the_floor_of_validation() -> None:
    """Both models are better than the floor of either split; against the other split's floor they would not be."""
    random = np.random.default_rng(5)
    test = np.asarray([[0.5], [0.9]]) + 0.01 * random.normal(size=(2, 29))
    scores = [{str(k): list(each[k][:10]) for k in range(2)} for each in (test + 1, test)]
    budget = ErrorBudget.of(0.95, looks=ladder(29), models=2)
    of_test, of_validation = Scoring("lower", floor=1.2), Scoring("lower", floor=2.2)
    step = follow(scores[0], scores[1], budget, on_validation=of_validation, on_test=of_test)
    assert (step.models, step.lost) == ((), {"1": 10})
    wrong = follow(scores[0], scores[1], budget, on_validation=of_test, on_test=of_test)
    assert wrong.lost == {}


def test_what_is_wanted_next_depends_on_the_scores_alone() -> None:
    """Repetitions beyond a look, as an extended race leaves them, change no earlier look."""
    world = np.random.default_rng(4).normal(0, 1, (3, 40)) + np.asarray([[0.0], [0.0], [-6.0]])
    budget = ErrorBudget.of(0.95, looks=ladder(29), models=3)
    short = {str(k): list(world[k][:10]) for k in range(3)}
    long = {"0": list(world[0]), "1": list(world[1][:10]), "2": list(world[2])}
    steps = [follow(scores, scores, budget, on_validation=HIGHER, on_test=HIGHER) for scores in (short, long)]
    assert steps[0].lost == steps[1].lost == {"2": 10}
    assert steps[1].models == ("1",)


def test_an_extension_replays_the_looks_of_the_race_before_it() -> None:
    world = np.random.default_rng(6).normal(0, 1, (4, 60)) + np.asarray([[0.0], [0.0], [-1.5], [-3.0]])
    short, long = raced(world, ladder(29)), raced(world, ladder(60))
    assert short.lost.items() <= long.lost.items()
