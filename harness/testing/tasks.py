"""The laws of a task: what it hands over, how it scores, and what its seeds decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path

import torch
from torch import Tensor

from harness.api.dataset import SPLITS, Batch, Dataset, Ragged, Split, Stream
from harness.api.signature import Signature, Tokens
from harness.api.task import Sums, Task, Total
from harness.data.files import file_status, locate
from harness.seeds import Seeds
from harness.testing.memoryless import head, probe_network
from harness.testing.outcomes import CheckError, NotApplicableError, random_state_kept, require
from harness.training.batches import StreamBatches, evaluation_batches, training_batches
from harness.training.evaluation import first_total, outputs
from harness.training.network import Network

SEEDS = Seeds.of(0, 0)
CPU = torch.device("cpu")
SEQUENCES, TOKENS = 40, 2000
"""Of a split, where not all of it must be looked at."""
SCORE_TOLERANCE = 1e-4
"""Relative; what is summed in float32 in another order differs by less."""
STEPS, RATE = 60, 0.3
"""Of Adam on free outputs: enough to fit a batch."""


class TaskSubject:
    """A task at its options and its splits, each loaded once; a check takes this in place of the task itself."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._splits: dict[Split, Dataset] = {}

    @property
    def name(self) -> str:
        defaults = type(self.task).model_fields
        given = {key: value for key, value in self.task if value != defaults[key].default}
        return "-".join([self.task.name, *(f"{key}-{value}" for key, value in given.items())])

    def split(self, split: Split) -> Dataset:
        if split not in self._splits:
            self._splits[split] = self.load(split, SEEDS)
        return self._splits[split]

    def load(self, split: Split, seeds: Seeds) -> Dataset:
        """Loaded anew.  NotApplicableError where a data file is not here."""
        return self.task.load(split, seeds, paths_of(self.task))


def paths_of(task: Task) -> dict[str, Path]:
    """Where a task's files are; NotApplicableError where one is missing."""
    for file in task.files():
        if file_status(file).state == "missing":
            raise NotApplicableError(f"the data file {file.name} is not here; see harness data status {task.name}")
    return {file.name: locate(file) for file in task.files()}


TaskLaw = Callable[[TaskSubject], None]
TaskCheck = Callable[[Task | TaskSubject], None]


def task_subject_of(task: Task | TaskSubject) -> TaskSubject:
    return task if isinstance(task, TaskSubject) else TaskSubject(task)


def task_check(law: TaskLaw) -> TaskCheck:
    """A law of a task as a check that takes the task itself, or a subject that keeps its splits between checks."""

    @wraps(law)
    def check(task: Task | TaskSubject) -> None:
        with random_state_kept():
            law(task_subject_of(task))

    return check


def batches_of(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
    """Every sequence or token once; a stream in as many rows as a batch has."""
    if not isinstance(dataset, Stream):
        return evaluation_batches(dataset, batch_size=batch_size, device=CPU)
    rows = min(batch_size, len(dataset))
    return iter(StreamBatches(dataset, rows=rows, scored=dataset.scored, history=dataset.history, device=CPU))


def first_batch(subject: TaskSubject, split: Split = "validation", batch_size: int = 8) -> Batch:
    return next(batches_of(head(subject.split(split), SEQUENCES, TOKENS), batch_size))


def free_output(signature: Signature, batch: Batch, seed: int = 0) -> Tensor:
    """Random numbers of the shape that the loss gets, with a gradient."""
    sequences, time = batch.inputs.shape[:2]
    last = signature.readout == "last" or batch.last
    shape = (sequences,) if last else (sequences, batch.scored or time)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, signature.out_features, generator=generator).requires_grad_()


def sums_of(totals: Mapping[str, Total]) -> Sums:
    return {name: (float(total.sum.detach()), float(total.count)) for name, total in totals.items()}


@task_check
def check_signature(subject: TaskSubject) -> None:
    """Inputs of every split are what the signature promises: shape, type, length, tokens within the vocabulary."""
    signature = subject.task.signature()
    for split in SPLITS:
        dataset = head(subject.split(split), SEQUENCES, TOKENS)
        for batch in batches_of(dataset, 8):
            _fits(signature, batch.inputs, split)
            whole = not isinstance(dataset, Stream)
            too_long = whole and batch.inputs.shape[1] > signature.length and not batch.last
            require(not too_long, f"{split} has {batch.inputs.shape[1]} steps, the signature {signature.length}")


def _fits(signature: Signature, inputs: Tensor, split: str) -> None:
    if isinstance(signature.input, Tokens):
        right = inputs.ndim == 2 and inputs.dtype == torch.int64
        require(right, f"{split} inputs are {tuple(inputs.shape)} {inputs.dtype}, not (batch, time) int64")
        inside = bool(((inputs >= 0) & (inputs < signature.input.vocabulary)).all())
        require(inside, f"{split} has tokens outside [0, {signature.input.vocabulary})")
        return
    right = inputs.ndim == 3 and inputs.shape[2] == signature.in_features and inputs.dtype == torch.float32
    expected = f"(batch, time, {signature.in_features}) float32"
    require(right, f"{split} inputs are {tuple(inputs.shape)} {inputs.dtype}, not {expected}")
    require(bool(inputs.isfinite().all()), f"{split} has inputs that are not finite")


@task_check
def check_epoch(subject: TaskSubject) -> None:
    """training_sequences and updates_per_epoch, known without data, are what the data have."""
    train = subject.split("train")
    if not isinstance(train, Stream):
        stated = subject.task.training_sequences()
        require(stated == len(train), f"training_sequences() is {stated:,}, but there are {len(train):,}")
    for batch_size in (1, 7, 32):
        if isinstance(train, Stream) and len(train) < batch_size:
            continue
        updates = training_batches(train, batch_size=batch_size, order_seed=0, device=CPU).per_epoch
        stated = subject.task.updates_per_epoch(batch_size)
        require(stated == updates, f"updates_per_epoch({batch_size}) is {stated:,}, but an epoch has {updates:,}")


@task_check
def check_loss(subject: TaskSubject) -> None:
    """Totals are finite scalars over at least one element, hold what the metrics read, and the first has a gradient.

    On the meta device too: a value that is read back, or a shape that depends on one, waits for the accelerator at
    every update.
    """
    task, signature = subject.task, subject.task.signature()
    batch = first_batch(subject)
    output = free_output(signature, batch)
    totals = task.loss(output, batch)
    for name, total in totals.items():
        kind = type(total.sum).__name__
        require(isinstance(total.sum, Tensor), f"total {name!r} sums to a {kind}, not a tensor: leave .item() out")
        require(total.sum.ndim == 0, f"total {name!r} is {tuple(total.sum.shape)}, not a scalar")
        require(bool(total.sum.isfinite()), f"total {name!r} is {float(total.sum.detach())}")
        require(float(total.count) > 0, f"total {name!r} counts {float(total.count)} elements")
    (gradient,) = torch.autograd.grad(first_total(totals).sum, output)
    require(bool((gradient != 0).any() and gradient.isfinite().all()), "the first total has no finite gradient")
    _metrics_of(task, sums_of(totals))
    task.loss(output.detach().to("meta"), _on_meta(batch))


def _metrics_of(task: Task, sums: Sums) -> dict[str, float]:
    try:
        return {metric.name: float(metric.of(sums)) for metric in task.metrics()}
    except KeyError as missing:
        raise CheckError(f"a metric reads the total {missing}, and loss gives {', '.join(sums)}") from missing


def _on_meta(batch: Batch) -> Batch:
    lengths = None if batch.lengths is None else batch.lengths.to("meta")
    return replace(batch, inputs=batch.inputs.to("meta"), targets=batch.targets.to("meta"), lengths=lengths)


@task_check
def check_padding(subject: TaskSubject) -> None:
    """Padded steps change no total and get no gradient."""
    dataset = head(subject.split("validation"), SEQUENCES, TOKENS)
    if not isinstance(dataset, Ragged) or dataset.last:
        raise NotApplicableError("no sequence has padded steps that are scored")
    batch = next((batch for batch in batches_of(dataset, SEQUENCES) if batch.mask is not None), None)
    if batch is None or batch.mask is None:
        raise NotApplicableError("the first sequences have one length")
    output = free_output(subject.task.signature(), batch)
    other = torch.where(batch.mask[..., None], output, output * 1e3 + 1e3)
    totals = subject.task.loss(output, batch)
    before, after = sums_of(totals), sums_of(subject.task.loss(other, batch))
    for name in before:
        require(before[name] == after[name], f"total {name!r} depends on outputs at padded steps")
    (gradient,) = torch.autograd.grad(first_total(totals).sum, output)
    require(bool((gradient[~batch.mask] == 0).all()), "outputs at padded steps get a gradient")


@task_check
def check_batch_size(subject: TaskSubject) -> None:
    """Sums and counts over a split do not depend on how it is cut into batches."""
    network = probe_network(subject.task.signature())
    dataset = head(subject.split("validation"), SEQUENCES, TOKENS)
    by_size = {size: _sums_over(network, subject.task, dataset, size) for size in (1, 3, SEQUENCES)}
    expected = by_size.pop(1)
    for size, sums in by_size.items():
        for name, pair in sums.items():
            for what, value, alone in zip(("sum", "count"), pair, expected[name], strict=True):
                close = abs(value - alone) <= SCORE_TOLERANCE * max(abs(alone), 1e-12)
                require(
                    close, f"the {what} of {name!r} is {alone:.6g} in batches of 1, {value:.6g} in batches of {size}"
                )


def _sums_over(network: Network, task: Task, dataset: Dataset, batch_size: int) -> dict[str, tuple[float, float]]:
    readout, state = task.signature().readout, None
    sums: dict[str, tuple[float, float]] = {}
    with torch.no_grad():
        for batch in batches_of(dataset, batch_size):
            output, state = outputs(network, readout, batch, state)
            for name, (value, count) in sums_of(task.loss(output, batch)).items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + value, before[1] + count)
    return sums


@task_check
def check_metric_direction(subject: TaskSubject) -> None:
    """Outputs with a smaller loss have a better metric, in the direction that each metric states."""
    task, batch = subject.task, first_batch(subject)
    output = free_output(task.signature(), batch)
    _fit(task, batch, output, ascend=True)
    bad = _metrics_of(task, sums_of(task.loss(output.detach(), batch)))
    _fit(task, batch, output, ascend=False)
    good = _metrics_of(task, sums_of(task.loss(output.detach(), batch)))
    for metric in task.metrics():
        worse, better = bad[metric.name], good[metric.name]
        right = better < worse if metric.better == "lower" else better > worse
        what = f"{metric.name} goes from {worse:.4g} to {better:.4g} as the loss falls"
        require(right, f"{what}, and {metric.better} is said to be better")


def _fit(task: Task, batch: Batch, output: Tensor, *, ascend: bool) -> None:
    """Move free outputs down the loss, or up."""
    optimizer = torch.optim.Adam([output], lr=RATE, maximize=ascend)
    for _ in range(STEPS // 10 if ascend else STEPS):
        optimizer.zero_grad()
        first_total(task.loss(output, batch)).sum.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
