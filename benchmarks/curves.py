"""Train the adding problem with the fast computation of the last output, and with the reference on the same seeds.

    python benchmarks/curves.py fast --save benchmarks/results [--length 600] [--updates 15630]
    python benchmarks/curves.py plain --save benchmarks/results [--updates 1500]
    python benchmarks/curves.py show --save benchmarks/results

Both start with the same weights and read the same batches in the same order.  `fast` is the harness's training loop
with the published setting; `plain` is the structure of the released code (reference.py) on the same batches.  Each
writes its points to a separate file during training; `show` prints both curves side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from harness.api.dataset import Dataset
from harness.records import Optimisation, Training
from harness.seeds import Seeds
from harness.training.batches import training_batches
from harness.training.evaluation import evaluate
from harness.training.network import Network, build_network
from harness.training.random_state import seed_everything
from harness.training.run import TrainingData, TrainingRun
from harness_models.tcn import Tcn
from harness_tasks.adding import Adding
from reference import ReferenceStep, squared_error, tcn_like

WIDTHS, KERNEL_SIZE = (24,) * 8, 8
OPTIMISATION = Optimisation(optimizer="adam", learning_rate=2e-3)
"""Bai, Kolter & Koltun 2018, Table 2: adding problem, T = 600."""
BATCH_SIZE = 32
EVERY = 100
"""Updates between two points."""
SEEDS = Seeds.of(0, 1)
CPU = torch.device("cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fast", "plain", "show"))
    parser.add_argument("--save", type=Path, required=True, help="folder of the curves")
    parser.add_argument("--length", type=int, default=600)
    parser.add_argument("--updates", type=int, default=15_630)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "show":
        print(side_by_side(arguments.save, arguments.length))
        return 0
    arguments.save.mkdir(parents=True, exist_ok=True)
    points = {"fast": fast, "plain": plain}[arguments.what](Adding(length=arguments.length), arguments.updates)
    with _file(arguments.save, arguments.what, arguments.length).open("w") as file:
        for point in points:
            file.write(json.dumps(point) + "\n")
            file.flush()
    return 0


def fast(task: Adding, updates: int) -> Iterator[dict[str, float]]:
    """Yield the points of the harness's training loop."""
    run = TrainingRun(
        network(task),
        task,
        training=Training(updates=updates, batch_size=BATCH_SIZE, evaluate_every=EVERY),
        optimisation=OPTIMISATION,
        data=TrainingData(split(task, "train"), split(task, "validation")),
        seeds=SEEDS,
    )
    test = split(task, "test")
    begun, yielded = time.process_time(), 0
    while run.outcome is None:
        run.advance(0)
        for point in run.points[yielded:]:
            yield _point(point.update, begun, point.train_loss, evaluate(run.network, task, test, CPU)["mse"])
        yielded = len(run.points)


def plain(task: Adding, updates: int) -> Iterator[dict[str, float]]:
    """Yield the points of the released code's structure, from the same weights and on the same batches."""
    like = network(task)
    step = ReferenceStep(tcn_like(like, 0.0, last=True), squared_error, OPTIMISATION)
    batches = training_batches(split(task, "train"), batch_size=BATCH_SIZE, order_seed=SEEDS.order, device=CPU)
    test: Any = split(task, "test")
    begun, losses = time.process_time(), list[float]()
    for update in range(1, updates + 1):
        losses.append(step(batches.at(update - 1)))
        if update % EVERY == 0 or update == updates:
            with torch.no_grad():
                outputs = torch.cat([step.network(inputs) for inputs in test.inputs.split(64)])
            mse = (outputs - test.targets).square().mean(dtype=torch.float64)
            yield _point(update, begun, sum(losses) / len(losses), float(mse))
            losses.clear()


def network(task: Adding) -> Network:
    seed_everything(SEEDS.init)
    params = {"kernel_size": KERNEL_SIZE, "levels": len(WIDTHS), "dropout": 0.0}
    return build_network(Tcn(), task.signature(), WIDTHS, params)


def split(task: Adding, name: Any) -> Dataset:
    return task.load(name, SEEDS, {})


def _point(update: int, begun: float, train_loss: float, test: float) -> dict[str, float]:
    return {"update": update, "cpu_seconds": time.process_time() - begun, "train_mse": train_loss, "test_mse": test}


def _file(folder: Path, kind: str, length: int) -> Path:
    return folder / f"adding-{length}-{kind}.jsonl"


def side_by_side(folder: Path, length: int) -> str:
    """Return a Markdown table of both curves; the shorter one ends first."""
    curves = [_read(_file(folder, kind, length)) for kind in ("fast", "plain")]
    lines = [
        "| update | fast: train MSE | test MSE | CPU s | plain: train MSE | test MSE | CPU s |",
        "| --: | --: | --: | --: | --: | --: | --: |",
    ]
    for points in itertools.zip_longest(*curves):
        cells = [cell for point in points for cell in _cells(point)]
        lines.append(f"| {max(point['update'] for point in points if point):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _read(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _cells(point: dict[str, float] | None) -> tuple[str, str, str]:
    if point is None:
        return "", "", ""
    return f"{point['train_mse']:.3g}", f"{point['test_mse']:.3g}", f"{point['cpu_seconds']:.0f}"


if __name__ == "__main__":
    raise SystemExit(main())
