"""Measure how often recommendations and reports make a false claim, on simulated scores; nothing trains.

    python benchmarks/worlds.py [--races 1000] [--short] [--output docs/results/worlds.md] [--plot calibration.svg]
                                [--json after.json] [--before before.json]

Prints for each world the nominal error, the observed error with its Monte Carlo interval (Clopper & Pearson, 95 %), the
share of right answers, the mean repetitions and the mean number of times that test scores were read.  `--before` adds
the columns of an earlier run's `--json`, such as that of `benchmarks/worlds_before.py`.  `--plot` draws the calibration
of P(best).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy import stats

import calibration_plot
from simulated import CASES, REPORTS, WORLDS, Array, Case, Draw, Outcome, World

NOMINAL = 0.05
SHORT_RACES = 25
BINS = (0.0, 0.4, 0.6, 0.8, 0.9, 1.0)
"""Bins of the leader's P(best)."""

Play = Callable[[Draw, World, Sequence[int]], Outcome]
"""Runs one race, extended to each of these numbers of repetitions in turn."""
Best = Callable[[Array], Array]
"""Scores, (models, repetitions) → P(best) of each model."""
Judge = Callable[[Array, float], set[str]]
"""Scores, (models, repetitions), and a margin → the verdicts of all pairs, each of an earlier model against a later."""
Line = dict[str, Any]  # a line of JSON, hence Any


def play(draw: Draw, world: World, most: Sequence[int]) -> Outcome:
    """Run a race as `harness recommend` does, until its verdict is `best` or the last extension ends."""
    from harness.analysis.statistics import SamplingError
    from harness.recommendation.gains import Scoring, gains
    from harness.recommendation.pairwise import ErrorBudget, ladder
    from harness.recommendation.race import follow, interim_look

    names = [f"m{index}" for index in range(len(draw.test))]
    sampling = {
        model: SamplingError(draw.answers or 0, error)
        for model, error in zip(names, draw.standard_errors, strict=False)
    }
    on_test = Scoring(world.better, world.margin, world.scale, draw.floor, sampling)
    on_validation = Scoring(world.better, world.margin, world.scale, draw.validation_floor)
    held, kept, reads = dict.fromkeys(names, 0), set[int](), set[int]()
    for end in most:
        looks = tuple(sorted({look for look in kept if look >= 10} | set(ladder(end))))
        kept |= set(looks)
        budget = ErrorBudget.of(1 - NOMINAL, looks=looks, models=len(names))
        while True:
            seen = [
                {model: list(split[index, : held[model]]) for index, model in enumerate(names)}
                for split in (draw.validation, draw.test)
            ]
            step = follow(seen[0], seen[1], budget, on_validation=on_validation, on_test=on_test)
            if not step.models:
                break
            held |= dict.fromkeys(step.models, step.repetitions)
        reads |= set(step.reads)
        field = gains(seen[1], on_test)
        assert field is not None
        now = interim_look(field, budget)
        places = {int(comparison.rival[1:]): comparison.verdict for comparison in now.comparisons}
        count = sum(held.values()) / len(names)
        learned = now.learned[now.leader] == "yes"
        outcome = Outcome.of(int(now.leader[1:]), places, learned, now.nothing_learned, count, len(reads))
        if outcome.verdict == "best":
            break
    return outcome


def best_of(scores: Array) -> Array:
    from harness.recommendation.inference import best_probabilities

    return best_probabilities(scores)


def judge(scores: Array, margin: float) -> set[str]:
    from harness.analysis.paired_tests import correct, decide

    decisions = [
        decide(first.tolist(), second.tolist(), better="lower", margin=margin)
        for first, second in combinations(scores, 2)
    ]
    return {decision.verdict for decision in correct(decisions)}


def races(world: World, count: int, how: Play) -> Line:
    """Return the results of `count` races of a world."""
    random = np.random.default_rng(0)
    most = world.extended or (world.most,)
    false: list[bool] = []
    right: list[bool] = []
    outcomes: list[Outcome] = []
    for _ in range(count):
        draw = world.draw(random, most[-1])
        outcome = how(draw, world, most)
        outcomes.append(outcome)
        false.append(outcome.false_claim(draw.truth, world.margin, learns=world.learns))
        right.append(outcome.verdict == world.right and not false[-1])
    line = _line(world.name, sum(false), count, note=world.note)
    means = {
        "right": np.mean(right),
        "repetitions": np.mean([outcome.repetitions for outcome in outcomes]),
        "reads": np.mean([outcome.reads for outcome in outcomes]),
    }
    return line | {key: float(value) for key, value in means.items()} | {"wanted": world.right}


def _line(name: str, false: int, count: int, note: str = "") -> Line:
    interval = stats.binomtest(false, count).proportion_ci()  # Clopper and Pearson's
    return {
        "name": name, "races": count, "false": false, "error": false / count,
        "low": interval.low, "high": interval.high, "note": note,
    }  # fmt: skip


def reports(count: int, how: Judge) -> list[Line]:
    """Return how often a report makes a false claim about any two models."""
    lines = []
    for world in REPORTS:
        random = np.random.default_rng(0)
        drawn = (world.draw(random) for _ in range(count))
        false = sum(any(how(scores[:, :n], world.margin) & world.false for n in world.looks) for scores in drawn)
        lines.append(_line(world.name, false, count))
    return lines


def calibration(case: Case, count: int, how: Best) -> Line:
    """Return for each bin of the leader's P(best): its mean, how often the leader was the best, and the count."""
    random = np.random.default_rng(0)
    said: list[float] = []
    right: list[bool] = []
    for _ in range(count):
        scores, best = case.draw(random)
        probabilities = how(scores)
        said.append(float(probabilities.max()))
        right.append(int(probabilities.argmax()) == best)
    place = np.clip(np.digitize(said, BINS) - 1, 0, len(BINS) - 2)
    bins = [
        [float(np.mean(np.asarray(said)[place == index])), int(np.sum(np.asarray(right)[place == index])), int(n)]
        if (n := int((place == index).sum()))
        else None
        for index in range(len(BINS) - 1)
    ]
    return {"name": case.name, "bins": bins}


def measure(count: int, how: Play = play, best: Best = best_of, report: Judge = judge) -> dict[str, list[Line]]:
    """Return the lines of all tables."""
    return {
        "races": [races(world, count, how) for world in WORLDS],
        "reports": reports(count, report),
        "calibration": [calibration(case, count, best) for case in CASES],
    }


def page(after: Mapping[str, list[Line]], before: Mapping[str, list[Line]] | None, command: str) -> str:
    """Return the tables as Markdown.  command: the command line that prints them."""
    lines = [
        "# Errors of recommendations and reports on simulated scores",
        "",
        f"Printed by `{command}`.",
        "",
        "A race makes an error if any of its claims is false: *best*, *lost*, *equivalent*, *better than the floor*.",
        "Error: observed share of races, with its Monte Carlo interval (95 %). Right: share of races that give the",
        "wanted answer. Reads: how often test scores were read.",
        *([] if before is None else [f"Before: commit 43604bc, {before['races'][0]['races']} races of each world."]),
        "",
    ]
    lines += _table(after["races"], None if before is None else before["races"], ("right", "repetitions", "reads"))
    reasons = dict.fromkeys(line["note"] for line in after["races"] if line["note"])
    notes = [
        f"- {reason} Worlds: {'; '.join(line['name'] for line in after['races'] if line['note'] == reason)}."
        for reason in reasons
    ]
    lines += ["", "## Where the guarantee is approximate", "", *notes, "", "## Reports", ""]
    lines += [
        "A report makes an error if it calls two equal models different, or two that are a margin apart equivalent.",
        "",
    ]
    lines += _table(after["reports"], None if before is None else before["reports"], ())
    lines += [
        "",
        "## Calibration of P(best)",
        "",
        "Said: mean P(best) of the leader; right: how often it is the best. True means are normal, with a spread given",
        "in standard deviations of a repetition.",
        "",
    ]
    lines += _calibration_table(after["calibration"], None if before is None else before["calibration"])
    return "\n".join([*lines, ""])


def _table(after: Sequence[Line], before: Sequence[Line] | None, more: Sequence[str]) -> list[str]:
    old = {line["name"]: line for line in before or ()}
    heads = ["error", *more]
    header = ["world", *(["wanted"] if more else []), "nominal", *([f"{head} before" for head in heads] if old else [])]
    header += heads
    rows = []
    for line in after:
        row = [line["name"], *([line["wanted"]] if more else []), f"{NOMINAL:.0%}"]
        for entry in [old.get(line["name"]), line] if old else [line]:
            row += ["–"] * len(heads) if entry is None else [_error(entry), *(_number(entry[key], key) for key in more)]
        rows.append(row)
    return _markdown(header, rows)


def _error(line: Line) -> str:
    return f"{100 * line['error']:.1f} [{100 * line['low']:.1f}, {100 * line['high']:.1f}] %"


def _number(value: float, key: str) -> str:
    return f"{100 * value:.0f} %" if key == "right" else f"{value:.1f}"


def _calibration_table(after: Sequence[Line], before: Sequence[Line] | None) -> list[str]:
    labels = [f"{low:g} to {high:g}" for low, high in pairwise(BINS)]
    old = {line["name"]: line for line in before or ()}
    rows = []
    for line in after:
        for label, entry in (("before", old.get(line["name"])), ("after" if old else "", line)):
            if entry is not None:
                cells = [
                    "–" if cell is None else f"{cell[0]:.2f} → {cell[1] / cell[2]:.2f} of {cell[2]}"
                    for cell in entry["bins"]
                ]
                rows.append([line["name"], label, *cells])
    return _markdown(
        ["models, repetitions, spread of true means", "", *(f"said {label} → right" for label in labels)], rows
    )


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return [lines[0], "| :-- |" + " --: |" * (len(header) - 1), *lines[1:]]


def main(how: Play = play, best: Best = best_of, report: Judge = judge) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=1000, help="races of each world")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_RACES} races of each world")
    parser.add_argument("--output", type=Path, help="also write the page here")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--before", type=Path, help="numbers of an earlier run, for the columns `before`")
    parser.add_argument("--plot", type=Path, help="draw the calibration of P(best) here, as SVG")
    options = parser.parse_args()
    measured = measure(SHORT_RACES if options.short else options.races, how, best, report)
    before = None if options.before is None else cast(dict[str, list[Line]], json.loads(options.before.read_text()))
    if options.plot is not None:
        calibration_plot.draw(measured["calibration"], None if before is None else before["calibration"], options.plot)
    text = page(measured, before, command=f"python benchmarks/worlds.py {' '.join(sys.argv[1:])}".strip())
    print(text)
    if options.json is not None:
        options.json.write_text(json.dumps(measured, indent=1))
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
