"""A trained model, ready for prediction: load the network and predict new rows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.api.dataset import Arrays, Ragged
from harness.api.signature import Tokens
from harness.api.task import Task
from harness.data.files import locate
from harness.data.in_memory import data_file
from harness.errors import CheckpointError, LedgerError, PluginError, StudyError
from harness.plugin.loader import load_plugins
from harness.plugin.local import NO_CLASSES, LocalClasses, with_local
from harness.plugin.registry import Registry
from harness.recommendation.result import Recommendation
from harness.recommendation.saved_winner import SavedWinner, WinnerRecord, find_winner
from harness.records import Trial
from harness.study.fingerprint import code_of, fingerprint_of
from harness.training import checkpoint
from harness.training.batches import evaluation_batches
from harness.training.evaluation import outputs
from harness.training.network import Network, build_network

if TYPE_CHECKING:
    import pandas as pd

    from harness.data.in_memory import DataLike

BATCH_SIZE = 64
"""Sequences per batch of a prediction."""
PROBABILITY = "probability_"
"""Beginning of the columns of `Task.answers` that hold the probability of a class."""


@dataclass(frozen=True)
class Winner:
    """A model as it was trained, on CPU and in evaluation mode."""

    network: Network
    """(batch, time, features), or (batch, time) of tokens → (batch, time, n): outputs at every step, before any
    softmax.  `network.last(inputs)` gives (batch, n), the outputs at the last step."""
    task: Task
    saved: SavedWinner

    @property
    def trial(self) -> Trial:
        """The repetition that trained the weights."""
        return self.saved.record.trial

    @property
    def recommendation(self) -> Recommendation | None:
        """The recommendation that chose the model; None if it is of a study without one."""
        return self.saved.record.recommendation

    def get_params(self) -> dict[str, object]:
        """Return the configuration: model, widths, number of parameters and the value of each dimension."""
        trial = self.trial
        return {"model": trial.model, "widths": trial.widths, "parameters": trial.parameters, **trial.params}

    def predict(self, rows: DataLike) -> pd.DataFrame:
        """Predict rows with the columns of the training data, in the user's units.

        rows: path of a file, a DataFrame, or arrays by name.  The target column is not needed.  Returns one line per
        sequence, or one per step if every step has a target.  Raises DataError if a column is missing or a value was
        never seen in training and cannot be read, StudyError if the task reads no user-supplied files.
        """
        if isinstance(rows, str | os.PathLike):
            return self._predict(Path(rows))
        with tempfile.TemporaryDirectory(prefix="seqharness-rows-") as folder:
            return self._predict(data_file(rows, Path(folder), "rows"))

    def predict_proba(self, rows: DataLike) -> pd.DataFrame:
        """Return the probability of each class: one column per class, otherwise as `predict`.

        Raises StudyError if the task predicts no classes.
        """
        predictions = self.predict(rows)
        columns = [name for name in predictions.columns if name.startswith(PROBABILITY)]
        if not columns:
            raise StudyError(f"task {self.task.name!r} predicts numbers, which have no probabilities; use predict")
        return predictions[columns].rename(columns=lambda name: name.removeprefix(PROBABILITY))

    def outputs_of(self, inputs: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        """Return raw outputs for sequences of one length, before any softmax.

        inputs: (batch, time, features) of numbers, or (batch, time) of tokens.  Returns (batch, n), the outputs at the
        last step, if there is one answer per sequence; otherwise (batch, time, n).
        """
        signature = self.task.signature()
        tokens = isinstance(signature.input, Tokens)
        batch = torch.from_numpy(np.ascontiguousarray(inputs)).to(torch.int64 if tokens else torch.float32)
        with torch.inference_mode():
            network = self.network.last if signature.readout == "last" else self.network
            result: np.ndarray[Any, np.dtype[Any]] = network(batch).numpy()
        return result

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a folder of its own, from which `load_winner` loads it anywhere; nothing is pickled.

        Raises LedgerError if the folder holds anything or cannot be written.
        """
        self.saved.copy_to(Path(folder))

    def _predict(self, path: Path) -> pd.DataFrame:
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


def load_winner(
    folder: str | os.PathLike[str],
    task: str | None = None,
    model: str | None = None,
    *,
    local: LocalClasses = NO_CLASSES,
) -> Winner:
    """Load a trained model: the winner of a recommendation, the leader of a study, or what `Winner.save` wrote.

    folder: such as `runs/my-data`.  task, model: labels, to choose one of a study: see `find_winner`.  local: the
    classes of a notebook that the study trained.
    Reads records and one file of weights, and unpickles nothing.  Raises PluginError if the installed plugins differ
    from those that trained the model, CheckpointError if the weights are damaged, LedgerError if there is no model.
    """
    path = Path(folder)
    saved = find_winner(path, task, model)
    registry = with_local(load_plugins(), local).registry
    trained = _with_facts(_same_code(registry, saved.record, path), saved.record, path)
    return Winner(_network(registry, trained, saved), trained, saved)


def _same_code(registry: Registry, record: WinnerRecord, folder: Path) -> Task:
    """Return the task.  Raises PluginError if the installed plugins or their code differ from those of the training."""
    trial = record.trial
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
    if fingerprint_of(code_of(task, registry.model(trial.model).value)) != record.code:
        names = " or ".join(("seqharness", *needed))
        raise PluginError(
            f"{folder}: the code of {names} has changed since the training; install the code that trained it"
        )
    return task


def _with_facts(task: Task, record: WinnerRecord, folder: Path) -> Task:
    """Return the task with what it needs of its training files; the task itself if there is no such record."""
    if record.prediction is None:
        return task
    try:
        return task.with_prediction_facts(record.prediction)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise LedgerError(
            f"{folder}: what {task.name!r} stored for predictions cannot be read ({reason}); run the study again"
        ) from error


def _network(registry: Registry, task: Task, saved: SavedWinner) -> Network:
    trial, path = saved.record.trial, saved.weights
    weights: Mapping[str, Tensor] = checkpoint.load(path, trial=trial.digest, sha256=saved.record.weights_sha256)
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
