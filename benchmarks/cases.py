"""Cases in which reports and recommendations were wrong at commit 43604bc: the figures that were wrong, and now.

    HARNESS_DATA=data python benchmarks/cases.py [--updates 600] [--json FILE] [--before FILE]

It needs `ptb/ptb.valid.txt` and `lambada/lambada_development_plain_text.txt`.  Cases of simulated scores are in
`worlds.py`, those of shapes in `shapes.py`.  `--before` has the figures of the same computations at that commit.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from harness import Seeds, Stream
from harness.api.dataset import Arrays, sample
from harness.plugin.loader import load_plugins
from harness.records import Optimisation, ParamValue, Training
from harness.seeds import evaluation_seed
from harness.training.evaluation import evaluate
from harness.training.network import Network, build_network
from harness.training.run import TrainingData, TrainingRun
from harness_tasks import OwnArrays, TextFile

SEEDS = Seeds.of(0, 1)
CPU = torch.device("cpu")
BEFORE = Path(__file__).parent / "results" / "cases-before.json"
Setting = tuple[tuple[int, ...], dict[str, ParamValue]]
WORDS: Mapping[str, Setting] = {
    "gru": ((64,), {"layers": 1, "dropout": 0.1}),
    "tcn": ((64,) * 3, {"kernel_size": 3, "levels": 3, "dropout": 0.1}),
}
CHARACTERS: Mapping[str, Setting] = {
    "gru": ((96,), {"layers": 1, "dropout": 0.0}),
    "tcn": ((48,) * 4, {"kernel_size": 3, "levels": 4, "dropout": 0.0}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--before", type=Path, default=BEFORE, metavar="FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HARNESS_CACHE"] = folder
        data = Path(os.environ["HARNESS_DATA"])
        figures = dict(measured(Path(folder), data, given.updates))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    before = json.loads(given.before.read_text()) if given.before.exists() else {}
    print("| figure | before | now |\n| :-- | --: | --: |")
    for name, value in figures.items():
        print(f"| {name} | {before.get(name, '–')} | {value} |")
    return 0


def measured(folder: Path, data: Path, updates: int) -> Iterator[tuple[str, str]]:
    yield from of_words(folder, data / "lambada/lambada_development_plain_text.txt", updates)
    yield from of_rows(folder, data / "ptb/ptb.valid.txt", updates)
    yield from of_samples(folder)


def of_words(folder: Path, source: Path, updates: int) -> Iterator[tuple[str, str]]:
    """A text of fewer words than `most_words`: what the model learns of `<unk>`."""
    words = source.read_text().split()[:50_000]
    path = folder / "words.txt"
    path.write_text("\n".join(" ".join(words[start : start + 12]) for start in range(0, len(words), 12)))
    task = TextFile(data=str(path), unit="words", embedding=64, scored=40)
    train, test = task.load("train", SEEDS, {}), task.load("test", SEEDS, {})
    yield "`<unk>` in the training text, tokens", f"{int((train.tokens == 1).sum()):,}"
    yield "`<unk>` in the test text", f"{100 * float((test.tokens == 1).double().mean()):.1f} %"
    yield "floor, perplexity", f"{task.floor():.0f}"
    for name, setting in WORDS.items():
        network = trained(task, name, setting, updates, batch_size=16, rate=2e-3)
        nats = nats_of(network, test)
        yield f"{name}: nats per `<unk>`", f"{float(nats[test.tokens == 1].mean()):.1f}"
        yield f"{name}: test perplexity", f"{math.exp(float(nats.mean())):.0f}"


def nats_of(network: Network, stream: Stream) -> torch.Tensor:
    """Return the nats of each token in one pass."""
    tokens = stream.tokens.long()
    shifted = torch.cat([torch.tensor([stream.before]), tokens[:-1]])[None]
    with torch.inference_mode():
        output, _ = network.eval().scan(shifted)
    return cross_entropy(output[0], tokens, reduction="none")


def of_rows(folder: Path, source: Path, updates: int) -> Iterator[tuple[str, str]]:
    """How much the scores of a text depend on the rows in which it is evaluated."""
    path = folder / "characters.txt"
    path.write_text(source.read_text()[:60_000])
    task = TextFile(data=str(path), unit="characters", embedding=32, scored=80)
    test = task.load("test", SEEDS, {})
    for name, setting in CHARACTERS.items():
        network = trained(task, name, setting, max(updates - 100, 1), batch_size=8, rate=4e-3)
        for count in (len(test), 2000, 1000, 400):
            part = replace(test, tokens=test.tokens[:count])
            one, ten = (evaluate(network, task, replace(part, rows=rows), CPU)["bpc"] for rows in (1, 10))
            yield (
                f"{name}: ten evaluation rows against one, {count:,} characters",
                f"{round(ten - one, 4) + 0.0:.4f} bpc",
            )


def of_samples(folder: Path) -> Iterator[tuple[str, str]]:
    """What six sequences of a table that is sorted by class have as targets, and their floor."""
    random = np.random.default_rng(0)
    rows = [
        pd.DataFrame(
            {"machine": f"{kind}{number:02d}", "hour": range(5), "load": random.normal(size=5), "fails": fails}
        )
        for kind, fails in (("ok", "no"), ("zz", "yes"))
        for number in range(40)
    ]
    path = folder / "sorted.csv"
    pd.concat(rows).to_csv(path, index=False)
    task = OwnArrays(data=str(path), target="fails", sequence="machine", time="hour")
    drawn = sample(task.load("test", SEEDS, {}), 6, evaluation_seed(SEEDS, "test"))
    assert isinstance(drawn, Arrays)
    yield "`evaluation_limit = 6`: targets", " ".join(str(int(target)) for target in drawn.targets)
    yield "`evaluation_limit = 6`: floor, %", f"{task.sample_floor(drawn, task.load('train', SEEDS, {})):.0f}"


def trained(task: TextFile, name: str, setting: Setting, updates: int, *, batch_size: int, rate: float) -> Network:
    """Return the network with its best weights."""
    torch.manual_seed(0)
    widths, params = setting
    network = build_network(load_plugins().registry.model(name).value, task.signature(), widths, params)
    run = TrainingRun(
        network,
        task,
        training=Training(updates=updates, batch_size=batch_size, evaluate_every=100),
        optimisation=Optimisation(optimizer="adam", learning_rate=rate, clip=1.0),
        data=TrainingData(task.load("train", SEEDS, {}), task.load("validation", SEEDS, {})),
        seeds=SEEDS,
    )
    while run.outcome is None:
        run.advance(1e9)
    network.load_state_dict(run.best)
    return network


if __name__ == "__main__":
    raise SystemExit(main())
