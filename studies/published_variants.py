"""Measure which part of a published setting its result depends on: the setting as stated, and with one change each.

    python studies/published_variants.py jsb-chorales tcn [--seeds 3] [--runs FOLDER] [--only NAME,NAME]

The released code (github.com/locuslab/TCN) differs from the paper's text: it clips before `backward`, which has no
effect, its dropout is element-wise since 2018-04-16, and its music script trains at 1e-3.  Each variant is trained by
the `paper` protocol, in this process; run the same command again to resume.  The output is the test score of each seed:
with the best-validation weights and, after the slash, the mean over the last three evaluations.  For sequences of
different lengths it also shows the loss if each sequence, and not each frame, had the same weight.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from torch import nn

from harness.api.dataset import Ragged
from harness.api.model import Model, Published
from harness.api.signature import Signature
from harness.data.files import locate
from harness.errors import HarnessError, StudyError
from harness.execution.runner import Runner
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.ledger.folder import read_manifest
from harness.ledger.ledger import Ledger
from harness.plugin.loader import Loaded, load_plugins
from harness.plugin.registry import Registry
from harness.records import TrialResult
from harness.seeds import Seeds
from harness.study.cell_plan import CellPlan
from harness.study.plan import make_plan
from harness.study.schema import Study
from harness.training import checkpoint
from harness.training.batches import evaluation_batches
from harness.training.network import build_network

ELEMENT = {"dropout_kind": "element"}
VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "as-stated": ({}, {}),
    "no-clipping": ({}, {"clip": None}),
    "rate-1e-3": ({}, {"learning_rate": 1e-3}),
    "mean-loss": ({}, {"reduction": "mean"}),
    "element-dropout": (ELEMENT, {}),
    "released-loop": (ELEMENT, {"clip": None, "learning_rate": 1e-3}),
}
"""Name → changes of the architecture's parameters, and of the optimisation."""


@dataclass
class Variant(Model):
    """A model with a changed published setting."""

    name: str  # type: ignore[misc]  # set per instance, because one class serves all variants
    base: Model

    def space(self, signature: Signature) -> dict[str, BaseDistribution]:
        return self.base.space(signature)

    def build(self, signature: Signature, widths: tuple[int, ...], **params: Any) -> nn.Module:
        return self.base.build(signature, widths, **params)

    def levels(self, **params: Any) -> int:
        return self.base.levels(**params)

    def published(self, task: str) -> Published | None:
        setting = self.base.published(task)
        if setting is None:
            return None
        architecture, optimisation = VARIANTS[self.name]
        return replace(
            setting,
            params={**setting.params, **architecture},
            optimisation=setting.optimisation.model_copy(update=dict(optimisation)),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("model")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--only", help="names of variants, comma-separated")
    given = parser.parse_args()
    try:
        run(given)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(given: argparse.Namespace) -> None:
    """Train the variants and print their scores."""
    names = given.only.split(",") if given.only else list(VARIANTS)
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise StudyError(f"--only: no variant {unknown[0]!r}; the variants are {', '.join(VARIANTS)}")
    loaded = load_plugins()
    loaded = Loaded(_with_variants(loaded.registry, given.model, names), loaded.hooks)
    study = Study.model_validate(
        {
            "name": f"variants-{given.task}-{given.model}",
            "protocol": "paper",
            "models": [{"name": name} for name in names],
            "tasks": [{"name": given.task}],
            "budget": {"repetitions": given.seeds},
        }
    )
    runner = Runner(make_plan(study, loaded.registry), loaded, given.runs)
    runner.run(lambda trials: run_serial(trials, Worker(runner.folder, loaded.registry)))
    _show(runner)


def _with_variants(registry: Registry, model: str, names: list[str]) -> Registry:
    entry = registry.model(model)
    variants = {name: replace(entry, name=name, value=Variant(name, entry.value)) for name in names}
    return replace(registry, models=variants)


def _show(runner: Runner) -> None:
    manifest = read_manifest(runner.folder)
    assert manifest is not None
    for plan in runner.plan.cells:
        entries = [entry for entry in Ledger(runner.folder, manifest).entries() if entry.trial.cell == plan.cell]
        results = [entry.result for entry in entries if entry.result is not None]
        metric = plan.facts.metric.name
        scores = [_scores(result, metric) + _by_sequence(runner, plan, result) for result in results]
        print(f"{plan.cell.model:16} {metric}: " + ", ".join(scores))


def _scores(result: TrialResult, metric: str) -> str:
    if result.outcome != "complete":
        return result.outcome
    best, last = (result.metrics[weights][metric] for weights in ("test", "test-last3"))
    return f"{best:.4f} / {last:.4f} ({result.updates:,} updates, {result.train_seconds:.0f} s)"


@torch.inference_mode()
def _by_sequence(runner: Runner, plan: CellPlan, result: TrialResult) -> str:
    """Return the mean over sequences of their mean losses, on validation and test, for the best-validation weights."""
    task, setting = plan.task, plan.setting
    if result.weights is None or setting is None:
        return ""
    network = build_network(plan.model, plan.signature, setting.widths, dict(setting.params)).eval()
    network.load_state_dict(checkpoint.load(runner.folder / result.weights))
    files = {file.name: locate(file) for file in task.files()}
    means: list[str] = []
    for split in ("validation", "test"):
        data = task.load(split, Seeds.of(0, 0), files)
        if not isinstance(data, Ragged):
            return ""
        batches = evaluation_batches(data, batch_size=1, device=torch.device("cpu"))
        totals = [next(iter(task.loss(network(batch.inputs), batch).values())) for batch in batches]
        means.append(f"{split} {statistics.fmean(float(total.sum) / float(total.count) for total in totals):.4f}")
    return f" [by sequence: {', '.join(means)}]"


if __name__ == "__main__":
    sys.exit(main())
