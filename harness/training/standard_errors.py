"""Standard errors of the metrics of a split: how much they would vary between splits of this size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from harness.api.dataset import Batch, Dataset, Stream
from harness.api.task import Sums, Task
from harness.training.batches import evaluation_batches
from harness.training.evaluation import added, batch_sums, metric_values, split_batches
from harness.training.network import Network

GROUPS = 20
"""Groups, at least, into which a split is divided; fewer if it has fewer answers."""


@dataclass(frozen=True)
class Scores:
    """Metrics over a whole split, and how much they vary between such splits."""

    metrics: dict[str, float]
    standard_errors: dict[str, float]
    """Metric → standard error over the groups; without metrics whose standard error is not finite."""
    groups: int
    """Groups of sequences, blocks of steps or windows of a stream, from which the standard errors are estimated."""


def evaluate_with_errors(network: Network, task: Task, dataset: Dataset, device: torch.device) -> Scores:
    """Return every metric over a whole split with its standard error; leaves the network in training mode.

    The standard error is that of the delete-a-group jackknife (Efron & Stein 1981).  Groups of sequences are taken to
    be independent.  Windows of a stream are not quite independent, nor are the blocks of steps into which few sequences
    are cut: there it is approximate.  The metrics are those of `evaluate`, in every digit.
    """
    batches = batch_sums(network, task, split_batches(network, dataset, device), device)
    groups = batches if len(batches) >= GROUPS else _groups(network, task, dataset, device)
    return Scores(metric_values(task, added(batches)), _standard_errors(task, groups), len(groups))


def _groups(network: Network, task: Task, dataset: Dataset, device: torch.device) -> list[Sums]:
    """Return the totals of at least `GROUPS` groups, if the split has as many answers."""
    sequences = batch_sums(network, task, split_batches(network, dataset, device, groups=GROUPS), device)
    if len(sequences) >= GROUPS or task.signature().readout == "last":
        return sequences
    return _of_blocks(network, task, dataset, device, sequences)


def _of_blocks(
    network: Network, task: Task, dataset: Dataset, device: torch.device, sequences: list[Sums]
) -> list[Sums]:
    """Return the totals of blocks of steps; those of the sequences if the task's loss does not allow blocks."""
    if isinstance(dataset, Stream):
        return sequences
    try:
        blocks = batch_sums(network, task, _blocks(dataset, device), device)
    # A loss of a plugin may need whole sequences, and it may raise anything.
    except Exception:  # noqa: BLE001
        return sequences
    whole, again = added(sequences), added(blocks)
    same = all(
        math.isclose(pair[0], other[0], rel_tol=1e-3, abs_tol=1e-9) and pair[1] == other[1]
        for pair, other in zip(whole.values(), again.values(), strict=True)
    )
    return blocks if same else sequences


def _blocks(dataset: Dataset, device: torch.device) -> Iterator[Batch]:
    """Yield each sequence in blocks of steps, each with all steps before it."""
    assert not isinstance(dataset, Stream)  # as the caller has checked
    count = -(-GROUPS // len(dataset))
    for batch in evaluation_batches(dataset, batch_size=1, device=device):
        steps = batch.inputs.shape[1]
        if batch.last or batch.targets.shape[1] != steps:
            raise ValueError("targets are not one per step")
        for first, end in pairwise(sorted({steps * place // count for place in range(count + 1)})):
            yield Batch(batch.inputs[:, :end], batch.targets[:, first:end], scored=end - first)


def _standard_errors(task: Task, sums: Sequence[Sums]) -> dict[str, float]:
    """Return metric → standard error; a metric that a group cannot be left out of has none."""
    whole, count, errors = added(sums), len(sums), dict[str, float]()
    values: dict[str, list[float]] = {}
    for group in sums:
        try:
            without = metric_values(task, _less(whole, group))
        except (ValueError, ZeroDivisionError):
            return {}
        values = {name: [*values.get(name, ()), value] for name, value in without.items()}
    for name, each in values.items():
        mean = sum(each) / count
        error = math.sqrt((count - 1) / count * sum((value - mean) ** 2 for value in each))
        if count > 1 and math.isfinite(error):
            errors[name] = error
    return errors


def _less(whole: Sums, group: Sums) -> Sums:
    return {name: (total - group[name][0], count - group[name][1]) for name, (total, count) in whole.items()}
