"""What a recommendation found, ready for use: the trained network in a fresh process, and its answers to new rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness import checkpoint
from harness.batches import evaluation_batches
from harness.data import locate
from harness.dataset import Arrays, Ragged
from harness.errors import CheckpointError, LedgerError, PluginError, StudyError
from harness.ledger import Entry, Snapshot, read_study
from harness.network import Network, build_network
from harness.plan import code_of, fingerprint_of
from harness.plugins import load_plugins
from harness.recommendation import ANSWER, FACTS, Recommendation
from harness.recommendation import Winner as Found
from harness.records import CellFacts, Trial
from harness.registry import Registry
from harness.task import Task
from harness.training import outputs

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 64


@dataclass(frozen=True)
class Winner:
    """The recommended model as it was trained, on CPU, for evaluation."""

    network: Network
    """(batch, time, features) or (batch, time) of tokens → (batch, time, n) at every step, before any softmax;
    `network.last(inputs)` gives (batch, n) at the last step."""
    task: Task
    trial: Trial
    """The repetition whose weights these are."""
    recommendation: Recommendation

    def predict(self, rows: str | os.PathLike[str]) -> pd.DataFrame:
        """Answers to the rows of a file like that of the training data, targets not needed, in the user's units.

        One line a sequence, or a step where the target is one of each step.  DataError where a column is missing;
        StudyError where the task has no files of its user's own.
        """
        path = Path(rows)
        files = {file.name: locate(file) for file in self.task.files()}
        data = self.task.examples(path, files)
        if not isinstance(data, Arrays | Ragged):
            raise StudyError(f"task {self.task.name!r} reads no rows of your own; give tensors to winner.network")
        found = self.task.answers(self.outputs(data), path, files)
        if found is None:
            raise StudyError(f"task {self.task.name!r} has no answers in your units; give tensors to winner.network")
        return found

    def outputs(self, data: Arrays | Ragged) -> Tensor:
        """Raw outputs in the order of the sequences: (sequences, n), or (frames, n) where every step is read."""
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
                    pieces += [each[:length] for each, length in zip(output, batch.lengths.tolist(), strict=True)]
        if isinstance(data, Ragged):  # they came from the shortest to the longest
            order = torch.argsort(data.lengths, stable=True).tolist()
            pieces = [piece for _, piece in sorted(zip(order, pieces, strict=True), key=lambda each: each[0])]
        return torch.cat(pieces)


def load_winner(folder: str | os.PathLike[str]) -> Winner:
    """The winner in the folder of a study that `harness recommend` ran, as `runs/my-data`.

    Reads its records and one file of weights, unpickles nothing, and needs the plugins that trained it: PluginError
    where those installed differ, CheckpointError where the weights are damaged, LedgerError where there is no winner.
    """
    path = Path(folder)
    recommendation = read_recommendation(path)
    found = recommendation.winner
    if found is None:
        raise LedgerError(f"{path}: has no winner ({recommendation.verdict}); see {path / 'recommendation.md'}")
    snapshot = read_study(path)
    entry = _entry(snapshot, found, path)
    facts = next(facts for facts in snapshot.manifest.cells if facts.cell == entry.trial.cell)
    registry = load_plugins().registry
    task = _with_facts(_same_code(registry, entry.trial, facts, path), path)
    return Winner(_network(registry, task, entry, path), task, entry.trial, recommendation)


def read_recommendation(folder: Path) -> Recommendation:
    try:
        return Recommendation.model_validate_json((folder / ANSWER).read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LedgerError(f"{folder}: has no recommendation yet; `harness recommend` writes one at its end") from error
    except (OSError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise LedgerError(f"{folder / ANSWER}: cannot be read ({what}); `harness recommend` writes it again") from error


def _entry(snapshot: Snapshot, found: Found, folder: Path) -> Entry:
    entry = next((entry for entry in snapshot.entries() if entry.trial.key == found.key), None)
    if entry is None or entry.result is None or entry.result.weights is None:
        raise LedgerError(f"{folder}: its ledger has no {found.key}; run `harness recommend` again")
    return entry


def _same_code(registry: Registry, trial: Trial, facts: CellFacts, folder: Path) -> Task:
    """The task, where the installed plugins are those that trained it, to the last line of code."""
    installed = {plugin.name: plugin.version for plugin in registry.plugins}
    wanted = {plugin.name: plugin.version for plugin in trial.plugins}
    differing = [
        f"{name} {version} (here: {installed.get(name, 'not installed')})"
        for name, version in wanted.items()
        if installed.get(name) != version
    ]
    if differing:
        raise PluginError(f"{folder}: was trained with {', '.join(differing)}; install that to use its winner")
    task = registry.make_task(trial.task.name, trial.task.options)
    if fingerprint_of(code_of(task, registry.model(trial.model).value)) != facts.fingerprint["code"]:
        names = " or ".join(("seqharness", *wanted))
        raise PluginError(f"{folder}: the code of {names} has changed since it was trained; install what trained it")
    return task


def _with_facts(task: Task, folder: Path) -> Task:
    """Return the task with what it needs of its training files; unchanged if the folder has no such record."""
    path = folder / FACTS
    if not path.exists():
        return task
    try:
        return task.with_prediction_facts(path.read_text())
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise LedgerError(f"{path}: cannot be read ({reason}); run `harness recommend` again to write it") from error


def _network(registry: Registry, task: Task, entry: Entry, folder: Path) -> Network:
    trial, result = entry.trial, entry.result
    assert result is not None  # `_entry` has asked
    assert result.weights is not None
    path = folder / result.weights
    weights: Mapping[str, Tensor] = checkpoint.load(path, trial=trial.digest, sha256=result.weights_sha256)
    signature = task.signature().with_embedding(trial.embedding, tied=trial.tied)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and thrown away
        network = build_network(registry.model(trial.model).value, signature, trial.widths, dict(trial.build))
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: is not of this network ({str(error).splitlines()[0]})") from error
    return network.eval()
