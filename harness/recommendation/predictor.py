"""The recommended model, ready for prediction: load the trained network and predict new rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.api.dataset import Arrays, Ragged
from harness.api.task import Task
from harness.data.files import locate
from harness.errors import CheckpointError, LedgerError, PluginError, StudyError
from harness.ledger.journal import Snapshot, TrialEntry, read_study
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry
from harness.recommendation.result import ANSWER, Recommendation, SelectedTrial
from harness.records import CellFacts, Trial
from harness.study.fingerprint import code_of, fingerprint_of
from harness.training import checkpoint
from harness.training.batches import evaluation_batches
from harness.training.evaluation import outputs
from harness.training.network import Network, build_network

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 64
"""Sequences per batch of a prediction."""


@dataclass(frozen=True)
class Winner:
    """The recommended model as it was trained, on CPU and in evaluation mode."""

    network: Network
    """(batch, time, features), or (batch, time) of tokens → (batch, time, n): outputs at every step, before any
    softmax.  `network.last(inputs)` gives (batch, n), the outputs at the last step."""
    task: Task
    trial: Trial
    """The repetition that trained the weights."""
    recommendation: Recommendation

    def predict(self, rows: str | os.PathLike[str]) -> pd.DataFrame:
        """Predict the rows of a file with the columns of the training data, in the user's units.

        The target column is not needed.  Returns one line per sequence, or one per step if every step has a target.
        Raises DataError if a column is missing, StudyError if the task reads no user-supplied files.
        """
        path = Path(rows)
        files = {file.name: locate(file) for file in self.task.files()}
        data = self.task.examples(path, files)
        if not isinstance(data, Arrays | Ragged):
            raise StudyError(f"task {self.task.name!r} reads no rows of your own; give tensors to winner.network")
        predictions = self.task.answers(self.outputs(data), path, files)
        if predictions is None:
            raise StudyError(
                f"task {self.task.name!r} has no predictions in your units; give tensors to winner.network"
            )
        return predictions

    def outputs(self, data: Arrays | Ragged) -> Tensor:
        """Return raw outputs in the order of the sequences: (sequences, n); (frames, n) if each step has a target."""
        pieces: list[Tensor] = []
        readout = self.task.signature().readout
        with torch.inference_mode():
            for batch in evaluation_batches(data, batch_size=BATCH_SIZE, device=torch.device("cpu")):
                output, _ = outputs(self.network, readout, batch)
                if output.ndim == 2:  # (batch, n)
                    pieces += [row[None] for row in output]
                elif batch.lengths is None:
                    pieces += output.unbind()
                else:
                    pieces += [row[:length] for row, length in zip(output, batch.lengths.tolist(), strict=True)]
        if isinstance(data, Ragged):  # batches are ordered from the shortest sequence to the longest
            order = torch.argsort(data.lengths, stable=True).tolist()
            pieces = [piece for _, piece in sorted(zip(order, pieces, strict=True), key=lambda pair: pair[0])]
        return torch.cat(pieces)


def load_winner(folder: str | os.PathLike[str]) -> Winner:
    """Load the winner from the folder of a study that `harness recommend` ran, such as `runs/my-data`.

    Reads the study's records and one file of weights, and unpickles nothing.  Raises PluginError if the installed
    plugins differ from those that trained the winner, CheckpointError if the weights are damaged, LedgerError if there
    is no winner.
    """
    path = Path(folder)
    recommendation = read_recommendation(path)
    selected = recommendation.winner
    if selected is None:
        raise LedgerError(f"{path}: has no winner ({recommendation.verdict}); see {path / 'recommendation.md'}")
    snapshot = read_study(path)
    entry = _entry(snapshot, selected, path)
    facts = next(facts for facts in snapshot.manifest.cells if facts.cell == entry.trial.cell)
    registry = load_plugins().registry
    task = _same_code(registry, entry.trial, facts, path)
    return Winner(_network(registry, task, entry, path), task, entry.trial, recommendation)


def read_recommendation(folder: Path) -> Recommendation:
    """Return the recommendation in a study's folder.  Raises LedgerError if there is none or it cannot be read."""
    try:
        return Recommendation.model_validate_json((folder / ANSWER).read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LedgerError(f"{folder}: has no recommendation yet; `harness recommend` writes one at its end") from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LedgerError(
            f"{folder / ANSWER}: cannot be read ({reason}); run `harness recommend` again to write it"
        ) from error


def _entry(snapshot: Snapshot, selected: SelectedTrial, folder: Path) -> TrialEntry:
    entry = next((entry for entry in snapshot.entries() if entry.trial.key == selected.key), None)
    if entry is None or entry.result is None or entry.result.weights is None:
        raise LedgerError(f"{folder}: its ledger has no {selected.key}; run `harness recommend` again")
    return entry


def _same_code(registry: Registry, trial: Trial, facts: CellFacts, folder: Path) -> Task:
    """Return the task.  Raises PluginError if the installed plugins or their code differ from those of the training."""
    installed = {plugin.name: plugin.version for plugin in registry.plugins}
    needed = {plugin.name: plugin.version for plugin in trial.plugins}
    differing = [
        f"{name} {version} (installed: {installed.get(name, 'none')})"
        for name, version in needed.items()
        if installed.get(name) != version
    ]
    if differing:
        raise PluginError(
            f"{folder}: was trained with {', '.join(differing)}; install these versions to use its winner"
        )
    task = registry.make_task(trial.task.name, trial.task.options)
    if fingerprint_of(code_of(task, registry.model(trial.model).value)) != facts.fingerprint["code"]:
        names = " or ".join(("seqharness", *needed))
        raise PluginError(
            f"{folder}: the code of {names} has changed since the training; install the code that trained it"
        )
    return task


def _network(registry: Registry, task: Task, entry: TrialEntry, folder: Path) -> Network:
    trial, result = entry.trial, entry.result
    assert result is not None  # `_entry` has checked
    assert result.weights is not None
    path = folder / result.weights
    weights: Mapping[str, Tensor] = checkpoint.load(path, trial=trial.digest, sha256=result.weights_sha256)
    signature = task.signature().with_embedding(trial.embedding, tied=trial.tied)
    with torch.random.fork_rng(
        devices=[]
    ):  # the initial weights, which are replaced, must not use the caller's numbers
        network = build_network(registry.model(trial.model).value, signature, trial.widths, dict(trial.build))
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: does not fit the network ({reason}); install the code that trained it"
        ) from error
    return network.eval()
