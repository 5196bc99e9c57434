"""Checks of a task: its data, its loss and its metrics."""

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
"""The part of a split that is checked if a check need not read all of it."""
BATCH_SIZES = (1, 3, SEQUENCES)
SCORE_TOLERANCE = 1e-4
"""Relative tolerance of sums; float32 sums in another order differ by less."""
STEPS, RATE = 60, 0.3
"""Updates and learning rate of Adam on free outputs, enough to fit a batch."""


class TaskSubject:
    """A task with its options and its splits, each loaded once; a check accepts it instead of the task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._splits: dict[Split, Dataset] = {}

    @property
    def name(self) -> str:
        """Name of the task and its options that differ from their defaults."""
        defaults = type(self.task).model_fields
        given = {key: value for key, value in self.task if value != defaults[key].default}
        return "-".join([self.task.name, *(f"{key}-{value}" for key, value in given.items())])

    def split(self, split: Split) -> Dataset:
        """Return a split for the seeds `SEEDS`, loaded at the first call."""
        if split not in self._splits:
            self._splits[split] = self.load(split, SEEDS)
        return self._splits[split]

    def load(self, split: Split, seeds: Seeds) -> Dataset:
        """Load a split for these seeds; raise NotApplicableError if a data file is missing."""
        return self.task.load(split, seeds, paths_of(self.task))


def paths_of(task: Task) -> dict[str, Path]:
    """Return the paths of a task's data files by name; raise NotApplicableError if one is missing."""
    for file in task.files():
        if file_status(file).state == "missing":
            raise NotApplicableError(f"data file {file.name} not found; see `harness data status {task.name}`")
    return {file.name: locate(file) for file in task.files()}


TaskLaw = Callable[[TaskSubject], None]
TaskCheck = Callable[[Task | TaskSubject], None]


def task_subject_of(task: Task | TaskSubject) -> TaskSubject:
    """Return a task as a subject; a subject is returned unchanged."""
    return task if isinstance(task, TaskSubject) else TaskSubject(task)


def task_check(law: TaskLaw) -> TaskCheck:
    """Convert a check of a subject to a check that also accepts a task, and that restores global random states."""

    @wraps(law)
    def check(task: Task | TaskSubject) -> None:
        with random_state_kept():
            law(task_subject_of(task))

    return check


def batches_of(dataset: Dataset, batch_size: int) -> Iterator[Batch]:
    """Return batches with every sequence or token once; a stream is cut into `batch_size` rows."""
    if not isinstance(dataset, Stream):
        return evaluation_batches(dataset, batch_size=batch_size, device=CPU)
    rows = min(batch_size, len(dataset))
    return iter(StreamBatches(dataset, rows=rows, scored=dataset.scored, history=dataset.history, device=CPU))


def first_batch(subject: TaskSubject, split: Split = "validation", batch_size: int = 8) -> Batch:
    """Return the first batch of a split."""
    return next(batches_of(head(subject.split(split), SEQUENCES, TOKENS), batch_size))


def free_output(signature: Signature, batch: Batch, seed: int = 0) -> Tensor:
    """Return random numbers of the shape that the loss takes as output, with `requires_grad`."""
    sequences, time = batch.inputs.shape[:2]
    last = signature.readout == "last" or batch.last
    shape = (sequences,) if last else (sequences, batch.scored or time)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, signature.out_features, generator=generator).requires_grad_()


def sums_of(totals: Mapping[str, Total]) -> Sums:
    """Return totals as (sum, count) pairs of Python numbers."""
    return {name: (float(total.sum.detach()), float(total.count)) for name, total in totals.items()}


@task_check
def check_signature(subject: TaskSubject) -> None:
    """Check that inputs of every split match the signature: shape, dtype, length, tokens within the vocabulary."""
    signature = subject.task.signature()
    for split in SPLITS:
        dataset = head(subject.split(split), SEQUENCES, TOKENS)
        for batch in batches_of(dataset, 8):
            _check_inputs(signature, batch.inputs, split)
            steps = batch.inputs.shape[1]
            too_long = not isinstance(dataset, Stream) and steps > signature.length and not batch.last
            require(not too_long, f"{split} has {steps} steps, but the signature states length {signature.length}")


def _check_inputs(signature: Signature, inputs: Tensor, split: str) -> None:
    if isinstance(signature.input, Tokens):
        valid = inputs.ndim == 2 and inputs.dtype == torch.int64
        require(valid, f"{split} inputs are {tuple(inputs.shape)} {inputs.dtype}, not (batch, time) int64")
        inside = bool(((inputs >= 0) & (inputs < signature.input.vocabulary)).all())
        require(inside, f"{split} has tokens outside [0, {signature.input.vocabulary})")
        return
    valid = inputs.ndim == 3 and inputs.shape[2] == signature.in_features and inputs.dtype == torch.float32
    expected = f"(batch, time, {signature.in_features}) float32"
    require(valid, f"{split} inputs are {tuple(inputs.shape)} {inputs.dtype}, not {expected}")
    require(bool(inputs.isfinite().all()), f"{split} has inputs that are not finite")


@task_check
def check_epoch(subject: TaskSubject) -> None:
    """Check that `training_sequences` and `updates_per_epoch` match the data."""
    train = subject.split("train")
    if not isinstance(train, Stream):
        stated = subject.task.training_sequences()
        require(stated == len(train), f"training_sequences() is {stated:,}, but the data have {len(train):,}")
    for batch_size in (1, 7, 32):
        if isinstance(train, Stream) and len(train) < batch_size:
            continue
        updates = training_batches(train, batch_size=batch_size, order_seed=0, device=CPU).per_epoch
        stated = subject.task.updates_per_epoch(batch_size)
        require(stated == updates, f"updates_per_epoch({batch_size}) is {stated:,}, but an epoch has {updates:,}")


@task_check
def check_loss(subject: TaskSubject) -> None:
    """Check that totals are finite scalars over at least one element, and that the first one has a gradient.

    They must include what the metrics read.  The loss must also run on the meta device: reading a value back from the
    accelerator, or a shape that depends on a value, would make every update wait for it.
    """
    task, signature = subject.task, subject.task.signature()
    batch = first_batch(subject)
    output = free_output(signature, batch)
    totals = task.loss(output, batch)
    for name, total in totals.items():
        kind = type(total.sum).__name__
        require(
            isinstance(total.sum, Tensor), f"the sum of total {name!r} is a {kind}, not a tensor; leave .item() out"
        )
        require(total.sum.ndim == 0, f"the sum of total {name!r} has shape {tuple(total.sum.shape)}, not a scalar")
        require(bool(total.sum.isfinite()), f"the sum of total {name!r} is {float(total.sum.detach())}")
        require(float(total.count) > 0, f"the count of total {name!r} is {float(total.count)}; it must be above 0")
    (gradient,) = torch.autograd.grad(first_total(totals).sum, output)
    usable = bool((gradient != 0).any() and gradient.isfinite().all())
    require(usable, "the gradient of the first total is zero or not finite")
    _metrics_of(task, sums_of(totals))
    task.loss(output.detach().to("meta"), _on_meta(batch))


def _metrics_of(task: Task, sums: Sums) -> dict[str, float]:
    try:
        return {metric.name: float(metric.of(sums)) for metric in task.metrics()}
    except KeyError as missing:
        raise CheckError(f"a metric reads the total {missing}, but loss returns {', '.join(sums)}") from missing


def _on_meta(batch: Batch) -> Batch:
    lengths = None if batch.lengths is None else batch.lengths.to("meta")
    return replace(batch, inputs=batch.inputs.to("meta"), targets=batch.targets.to("meta"), lengths=lengths)


@task_check
def check_padding(subject: TaskSubject) -> None:
    """Check that padded steps change no total and get no gradient."""
    dataset = head(subject.split("validation"), SEQUENCES, TOKENS)
    if not isinstance(dataset, Ragged) or dataset.last:
        raise NotApplicableError("no sequence has padded steps that are scored")
    batch = next((batch for batch in batches_of(dataset, SEQUENCES) if batch.mask is not None), None)
    if batch is None or batch.mask is None:
        raise NotApplicableError("the first sequences have equal lengths")
    output = free_output(subject.task.signature(), batch)
    changed = torch.where(batch.mask[..., None], output, output * 1e3 + 1e3)
    totals = subject.task.loss(output, batch)
    before, after = sums_of(totals), sums_of(subject.task.loss(changed, batch))
    for name in before:
        require(before[name] == after[name], f"total {name!r} depends on outputs at padded steps")
    (gradient,) = torch.autograd.grad(first_total(totals).sum, output)
    require(bool((gradient[~batch.mask] == 0).all()), "outputs at padded steps get a gradient")


@task_check
def check_batch_size(subject: TaskSubject) -> None:
    """Check that sums and counts over a split do not depend on the batch size."""
    network = probe_network(subject.task.signature())
    dataset = head(subject.split("validation"), SEQUENCES, TOKENS)
    expected, *others = (_sums_over(network, subject.task, dataset, size) for size in BATCH_SIZES)
    for size, sums in zip(BATCH_SIZES[1:], others, strict=True):
        for name, total in sums.items():
            for part, value, alone in zip(("sum", "count"), total, expected[name], strict=True):
                close = abs(value - alone) <= SCORE_TOLERANCE * max(abs(alone), 1e-12)
                message = f"the {part} of {name!r} is {alone:.6g} with batch size 1, {value:.6g} with batch size {size}"
                require(close, message)


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
    """Check that a smaller loss gives a better value of each metric, in the direction that the metric states."""
    task, batch = subject.task, first_batch(subject)
    output = free_output(task.signature(), batch)
    _fit(task, batch, output, ascend=True)
    high_loss = _metrics_of(task, sums_of(task.loss(output.detach(), batch)))
    _fit(task, batch, output, ascend=False)
    low_loss = _metrics_of(task, sums_of(task.loss(output.detach(), batch)))
    for metric in task.metrics():
        worse, better = high_loss[metric.name], low_loss[metric.name]
        as_stated = better < worse if metric.better == "lower" else better > worse
        change = f"{metric.name} goes from {worse:.4g} to {better:.4g} as the loss falls"
        require(as_stated, f"{change}, but the metric states that {metric.better} is better")


def _fit(task: Task, batch: Batch, output: Tensor, *, ascend: bool) -> None:
    """Minimise the loss over free outputs, or maximise it."""
    optimizer = torch.optim.Adam([output], lr=RATE, maximize=ascend)
    for _ in range(STEPS // 10 if ascend else STEPS):
        optimizer.zero_grad()
        first_total(task.loss(output, batch)).sum.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
