"""Checks of a task's splits: disjoint, determined by their seeds, and a test split that only final trials load."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from harness.api.dataset import SPLITS, Dataset, Split
from harness.api.model import Model
from harness.api.task import Task
from harness.execution.trial import Worker
from harness.plugin.registry import Entry, Registry
from harness.records import Cell, Optimisation, Phase, Plugin, TaskRef, Training, Trial, TrialResult
from harness.seeds import Seeds
from harness.testing import overlap, subprocesses
from harness.testing.memoryless import WIDTH, Probe, head
from harness.testing.outcomes import moved_generators, random_states, require
from harness.testing.tasks import CPU, SEEDS, SEQUENCES, TOKENS, TaskSubject, paths_of, task_check
from harness.training.batches import training_batches


@task_check
def check_splits_disjoint(subject: TaskSubject) -> None:
    """Check that no sequence is in two splits, whatever the seeds, even if the seeds of all axes are equal."""
    equal = Seeds(fixed=1, data=1, order=1, init=1, noise=1)
    loads = [subject.split] if subject.task.files() else [subject.split, lambda split: subject.load(split, equal)]
    for load in loads:
        shared = overlap.shared_sequences({split: load(split) for split in SPLITS})
        for (small, large), (count, total) in shared.items():
            require(count == 0, f"{count:,} of {total:,} sequences of {small} are also in {large}")


@task_check
def check_seed_axes(subject: TaskSubject) -> None:
    """Check that splits depend only on the seeds `fixed` and `data`, and the test split only on `fixed`."""
    others = SEEDS.model_copy(update={"order": 1, "init": 2, "noise": 3})
    for split in SPLITS:
        seeds = others if split != "test" else others.model_copy(update={"data": 4})
        axes = "order, init or noise" if split != "test" else "data, order, init or noise"
        same = overlap.digest(subject.load(split, seeds)) == overlap.digest(subject.split(split))
        require(same, f"{split} depends on the seed of the axis {axes}")


@task_check
def check_global_random_state(subject: TaskSubject) -> None:
    """Check that `load` does not use the global random states of Python, NumPy and PyTorch."""
    for split in SPLITS:
        before, state = random_states(), torch.get_rng_state()
        subject.load(split, SEEDS)
        moved = moved_generators(before) + ([] if torch.equal(torch.get_rng_state(), state) else ["torch"])
        require(not moved, f"load({split!r}) draws from the global generator of {' and '.join(moved)}")


@task_check
def check_data_in_another_process(subject: TaskSubject) -> None:
    """Check that the same seeds give the same splits and batches in another process."""
    paths_of(subject.task)
    here = digests(subject.task)
    there = subprocesses.call_in_subprocess(digests, subject.task)
    for split in SPLITS:
        require(here[split] == there[split], f"the same seeds give a different {split} split in another process")


def digests(task: Task) -> dict[Split, str]:
    """Return a digest of every split and its first batches."""
    return {split: _digest(task.load(split, SEEDS, paths_of(task))) for split in SPLITS}


def _digest(dataset: Dataset) -> str:
    batches = training_batches(dataset, batch_size=min(4, len(dataset)), order_seed=SEEDS.order, device=CPU)
    return overlap.digest(dataset, *(batches.at(update).inputs for update in range(min(3, batches.per_epoch))))


@task_check
def check_test_split_unopened(subject: TaskSubject) -> None:
    """Check that a search trial never loads the test split, and that a final trial loads it once.

    Loading another split must not load the test split either.
    """
    loaded: list[Split] = []
    registry = _recording_registry(subject, loaded)
    with tempfile.TemporaryDirectory(prefix="seqharness-") as folder:
        for phase in ("search", "final"):
            loaded.clear()
            result = _run_trial(Worker(Path(folder), registry), subject.task, phase)
            require(result.outcome == "complete", f"a {phase} trial ends as {result.outcome}: {result.reason}")
            times, allowed = loaded.count("test"), 0 if phase == "search" else 1
            require(times == allowed, f"a {phase} trial loads the test split {times} times instead of {allowed}")


def _recording_registry(subject: TaskSubject, loaded: list[Split]) -> Registry:
    """Return a registry with a small version of the task, which appends each split that it loads to `loaded`."""
    kind = type(subject.task)

    class Recording(kind):  # type: ignore[misc, valid-type]  # the base class is known only at run time
        def load(self, split: Split, seeds: Seeds, files: Mapping[str, Path]) -> Dataset:
            loaded.append(split)
            return head(kind.load(self, split, seeds, files), SEQUENCES, TOKENS)

    plugin = Plugin(name="harness.testing", version="0")
    models: dict[str, Entry[Model]] = {Probe.name: Entry(Probe.name, Probe(), plugin, "")}
    return Registry(models, {subject.task.name: Entry(subject.task.name, Recording, plugin, "")})


def _run_trial(worker: Worker, task: Task, phase: Phase) -> TrialResult:
    """Train a memoryless network for two updates, as a worker does, and return the result."""
    paths_of(task)
    trial = Trial(
        study="conformance",
        cell=Cell(task=task.name, model=Probe.name),
        phase=phase,
        number=0,
        task=TaskRef(name=task.name, options=task.model_dump()),
        model=Probe.name,
        params={},
        build={"dropout": 0.0},
        widths=(WIDTH,),
        parameters=0,
        optimisation=Optimisation(learning_rate=1e-3),
        training=Training(updates=2, batch_size=2, evaluate_every=2),
        seeds=SEEDS,
    )
    active = worker.start(trial, 1)
    while (progress := active.advance(1.0)).result is None:
        pass
    return progress.result
