"""Count the shapes of each model that can be drawn at small budgets, and measure the cost of solving one.

    python benchmarks/shapes.py [MODEL ...] [--json FILE] [--before FILE]

The task has sequences of 50 numbers, two classes and a tolerance of 1 %.  A shape has one value of each discrete
dimension of the model's space; shapes with equal counts at widths 8 and 16 count as one.  Builds are on the meta
device, per configuration; the time is CPU time.  `--json` writes the figures, `--before` reads those of an earlier
commit: run this file with that commit's folders in PYTHONPATH and `--json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

import harness.study.budget
from harness.api.model import Model
from harness.api.signature import Classes, Real, Signature
from harness.errors import BudgetError
from harness.plugin.loader import load_plugins
from harness.records import ParamValue
from harness.study.budget import count_at, solve

SIGNATURE = Signature(Real(1), Classes(2), length=50, readout="last")
BUDGETS = (5_000, 16_000, 70_000, 300_000)
TOLERANCE = 0.01
BEFORE = Path(__file__).parent / "results" / "shapes-before.json"
Params = dict[str, ParamValue]


@dataclass(frozen=True)
class Figures:
    """The figures of one model at one budget."""

    total: int
    drawn: int
    builds: float
    """Builds per configuration."""
    milliseconds: float
    """CPU time per configuration."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="all installed models unless given")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--before", type=Path, default=BEFORE, metavar="FILE")
    arguments = parser.parse_args()
    registry = load_plugins().registry
    by_model: dict[str, dict[str, Figures]] = {}
    for name in arguments.models or sorted(registry.models):
        shapes = list(distinct_shapes(registry.model(name).value))
        by_model[name] = {str(budget): solved(registry.model(name).value, shapes, budget) for budget in BUDGETS}
    if arguments.json is not None:
        figures = {name: {budget: asdict(at) for budget, at in row.items()} for name, row in by_model.items()}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    before = json.loads(arguments.before.read_text()) if arguments.before.exists() else {}
    then = {name: {budget: Figures(**at) for budget, at in row.items()} for name, row in before.items()}
    print("\n".join(table(by_model, then)))
    return 0


def distinct_shapes(model: Model) -> Iterator[Params]:
    """Yield the parameters of each shape."""
    space = model.space(SIGNATURE)
    seen = set()
    for values in itertools.product(*map(_values, space.values())):
        params: Params = {**dict(zip(space, values, strict=True)), "dropout": 0.0}
        if model.unsupported(SIGNATURE, **params) is None:
            levels = model.levels(**params)
            counts = [count_at(model, SIGNATURE, (width,) * levels, params).parameters for width in (8, 16)]
            if (levels, *counts) not in seen:
                seen.add((levels, *counts))
                yield params


def _values(distribution: BaseDistribution) -> list[ParamValue]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if not isinstance(distribution, IntDistribution):
        raise SystemExit(f"{distribution} is continuous; this table counts discrete spaces")
    return list(range(distribution.low, distribution.high + 1, distribution.step))


def solved(model: Model, shapes: list[Params], budget: int) -> Figures:
    """Solve every shape at one budget."""
    drawn = 0
    with patch.object(harness.study.budget, "count_at", wraps=count_at) as builds:
        started = time.process_time()
        for params in shapes:
            try:
                solve(model, SIGNATURE, params, budget=budget, tolerance=TOLERANCE)
            except BudgetError:
                continue
            drawn += 1
        seconds = time.process_time() - started
    return Figures(len(shapes), drawn, builds.call_count / len(shapes), 1000 * seconds / len(shapes))


def table(after: dict[str, dict[str, Figures]], before: dict[str, dict[str, Figures]]) -> Iterator[str]:
    """Yield the lines of the table; a dash where there is no earlier figure."""
    yield "| model | shapes | parameters | drawn before | drawn | builds before | builds | ms before | ms |"
    yield "| :-- | --: | --: | --: | --: | --: | --: | --: | --: |"
    for name, row in after.items():
        for budget, now in row.items():
            then = before.get(name, {}).get(budget)
            cells = [name, str(now.total), f"{int(budget):,}", str(then.drawn) if then else "-", str(now.drawn)]
            cells += [f"{then.builds:.1f}" if then else "-", f"{now.builds:.1f}"]
            cells += [f"{then.milliseconds:.1f}" if then else "-", f"{now.milliseconds:.1f}"]
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
