"""Run `worlds.py` with the statistics of commit 43604bc; only the columns `before` need it.

git worktree add /tmp/before 43604bc
PYTHONPATH=/tmp/before python benchmarks/worlds_before.py --json /tmp/before.json
"""

# mypy: ignore-errors
# The names below are those of that commit.

from __future__ import annotations

from itertools import combinations

import numpy as np
from harness.decision import decide
from harness.race import Errors, Scoring, follow, gains, ladder, look, probabilities

from harness.recommendation import place_of
from simulated import Outcome
from worlds import main


def play(draw, world, most):
    names = [f"m{index}" for index in range(len(draw.test))]
    scoring = Scoring(world.better, world.margin, world.scale, draw.floor)
    held = dict.fromkeys(names, 0)
    for reads, end in enumerate(most, start=1):
        looks = ladder(end)
        errors = Errors.of(0.95, looks=len(looks), models=len(names))
        while True:
            step = follow({m: draw.validation[i, : held[m]] for i, m in enumerate(names)}, scoring, looks, errors)
            if not step.models:
                break
            held |= dict.fromkeys(step.models, step.repetitions)
        now = look(
            gains({m: draw.test[i, : held[m]] for i, m in enumerate(names)}, scoring), errors, error=errors.answer
        )
        places = {int(duel.rival[1:]): place_of(duel, step) for duel in now.duels}
        learned = now.learned[now.leader] == "yes"
        count = sum(held.values()) / len(names)
        outcome = Outcome.of(int(now.leader[1:]), places, learned, now.nothing_learned, count, reads)
        if outcome.verdict == "best":
            break
    return outcome


def best_of(scores):
    names = [str(index) for index in range(len(scores))]
    best = probabilities(gains(dict(zip(names, scores, strict=True)), Scoring("higher")), names)
    return np.array([best[name] for name in names])


def judge(scores, margin):
    pairs = combinations(scores, 2)
    decisions = [decide(first.tolist(), second.tolist(), better="lower", margin=margin) for first, second in pairs]
    return {decision.verdict for decision in decisions}


if __name__ == "__main__":
    main(play, best_of, judge)
