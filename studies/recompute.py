"""Recompute final trials of a music study from MLflow, sequence by sequence, without the training loop.

    HARNESS_DATA=... python studies/recompute.py fair-jsb-chorales [--trials 2]

For each trial, it computes the parameter count of the stored weights and the test NLL of the stored network: one
unpadded chorale at a time, binary cross-entropy summed over keys and averaged over all scored frames, in float64.
Exits with 1 if a value differs, and with 2 if there is nothing to compare.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import scipy.io
import torch
from mlflow.tracking import MlflowClient
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.data.files import locate
from harness.errors import HarnessError, UnknownNameError
from harness.plugin.loader import load_plugins
from harness.tracking.client import store_uri
from harness.tracking.sqlite_file import check_exists
from harness.training import checkpoint
from harness.training.network import build_network

TOLERANCE = 1e-6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--trials", type=int, default=2)
    arguments = parser.parse_args()
    try:
        return compare_trials(arguments.study, arguments.trials)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2


def compare_trials(study: str, trials: int) -> int:
    """Compare the first final trials of a study; return the exit code.  Raises UnknownNameError if it has none."""
    uri = store_uri(Path.cwd())
    check_exists(uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        raise UnknownNameError(f"no experiment {study!r} in this store")
    finals = client.search_runs(
        [experiment.experiment_id], "tags.`harness.kind` = 'trial' and tags.`harness.phase` = 'final'"
    )[:trials]
    if not finals:
        raise UnknownNameError(f"{study}: the store holds no final trials")
    worst = 0.0
    for run in finals:
        folder = Path(client.download_artifacts(run.info.run_id, ""))
        difference = compare(json.loads((folder / "trial.json").read_text()), run.data.metrics, folder / "weights.pt")
        worst = max(worst, difference)
    print(f"largest difference {worst:.2g}, allowed {TOLERANCE:g}")
    return int(worst > TOLERANCE)


def compare(trial: dict[str, object], metrics: dict[str, float], weights: Path) -> float:
    """Print the recomputed and the stored values of one trial; return the difference of the NLL in nats per frame."""
    registry = load_plugins().registry
    reference, cell = trial["task"], trial["cell"]
    assert isinstance(reference, dict)
    assert isinstance(cell, dict)
    task = registry.make_task(reference["name"], reference["options"])
    model = registry.model(str(trial["model"])).value
    widths, build = trial["widths"], trial["build"]
    assert isinstance(widths, list)
    assert isinstance(build, dict)
    network = build_network(model, task.signature(), tuple(widths), build)
    state = checkpoint.load(weights)
    network.load_state_dict(state)
    count = sum(tensor.numel() for tensor in state.values())
    if "test/nll" not in metrics or not task.files():
        raise UnknownNameError(f"{cell['task']}: is no music task; its trials have no test NLL of piano rolls")
    nll = test_nll(network.eval(), locate(task.files()[0]))
    stored = metrics["test/nll"]
    print(
        f"{cell['task']}/{cell['model']} {trial['phase']} {trial['number']}: widths {widths}, "
        f"parameters {count:,} (MLflow {metrics['parameters']:,.0f}), "
        f"test NLL {nll:.9f} (MLflow {stored:.9f}), difference {abs(nll - stored):.2g}"
    )
    assert count == metrics["parameters"]
    return abs(nll - stored)


@torch.no_grad()
def test_nll(network: torch.nn.Module, rolls: Path) -> float:
    total, frames = 0.0, 0
    for roll in scipy.io.loadmat(rolls)["testdata"][0]:
        notes = torch.from_numpy(roll.astype("float32"))
        logits = network(notes[None, :-1])[0].double()
        total += float(binary_cross_entropy_with_logits(logits, notes[1:].double(), reduction="sum"))
        frames += len(notes) - 1
    return total / frames


if __name__ == "__main__":
    sys.exit(main())
