"""Outputs, losses and metrics of a network over a split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from harness.api.dataset import Batch, Dataset, Stream
from harness.api.model import Scan
from harness.api.task import Sums, Task, Total
from harness.records import Optimisation, Precision
from harness.training.batches import StreamBatches, evaluation_batches
from harness.training.network import Network, map_state, receptive_field

EVALUATION_BATCH_SIZE = 64

EVALUATION_TOKENS = 1 << 14
"""Tokens of all rows that one evaluation window of a stream scores at most."""

EVALUATION_OUTPUTS = 1 << 25
"""Numbers that the decoder gives for one such window at most: 128 MiB of float32."""

EVALUATION_LEAD = 512
"""Tokens before a row of a stream that it reads first, where there are several rows; a backbone with a larger
receptive field reads all of it.  Measured on PTB, ten rows against one: without them up to 0.10 bits a character (1,000
characters) and 2 % of the perplexity (1,100 words); with 512 at most 0.003 % (an LSTM with forget bias 10)."""

Weights = dict[str, Tensor]


def outputs(network: Network, readout: str, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
    """(batch, n) at the last real step, or (batch, time, n) at each scored one; and the state after the batch.

    The state is a tree of tensors (hence Any), read where the batch continues the one before it, and given back
    without its gradient; None where none is carried.
    """
    if batch.continues is not None:
        output, after = network.scan(batch.inputs, state if batch.continues else None)
        return output, map_state(Tensor.detach, after)
    if readout == "last" or batch.last:
        return network.last(batch.inputs, batch.lengths), None
    return (network(batch.inputs) if batch.scored is None else network.suffix(batch.inputs, batch.scored)), None


def training_outputs(
    network: Network, readout: str, batch: Batch, state: Any, precision: Precision
) -> tuple[Tensor, Any]:
    """`outputs` in the precision of training; the loss is in float32 whatever it is, and so is evaluation."""
    if precision == "float32":
        return outputs(network, readout, batch, state)
    with _bfloat16(batch.inputs.device):
        output, after = outputs(network, readout, batch, state)
    return output.float(), after


@contextmanager
def _bfloat16(device: torch.device) -> Iterator[None]:
    """Autocast to bfloat16; without oneDNN on a CPU that lacks AVX-512.

    PyTorch gives oneDNN an LSTM in bfloat16 on any CPU; oneDNN has one only with AVX-512, and otherwise raises
    RuntimeError.  PyTorch's own products need no such instructions.
    """
    without_onednn = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() != "AVX512"
    with (
        torch.autocast(device.type, dtype=torch.bfloat16),
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None) if without_onednn else nullcontext(),
    ):
        yield


def objective(primary: Total, optimisation: Optimisation) -> Tensor:
    """What is back-propagated."""
    return primary.sum / primary.count if optimisation.reduction == "mean" else primary.sum


def first_total(totals: Mapping[str, Total]) -> Total:
    """The total that is back-propagated."""
    return next(iter(totals.values()))


def evaluate(network: Network, task: Task, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """Every metric over a whole split, as exact micro-averages; leaves the network in training mode."""
    return metric_values(task, added(batch_sums(network, task, split_batches(network, dataset, device), device)))


def batch_sums(network: Network, task: Task, batches: Iterable[Batch], device: torch.device) -> list[Sums]:
    """Return the totals of each batch; leaves the network in training mode."""
    readout = task.signature().readout
    totals: list[dict[str, Tensor]] = []
    state = None
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            output, state = outputs(network, readout, batch, state)
            totals.append({name: _pair(total, device) for name, total in task.loss(output, batch).items()})
    network.train()
    names = list(dict.fromkeys(name for total in totals for name in total))
    none = torch.zeros(2, dtype=torch.float64, device=device)
    rows = torch.stack([total.get(name, none) for total in totals for name in names]).tolist()  # one copy to the host
    pairs = [(row[0], row[1]) for row in rows]
    return [
        dict(zip(names, pairs[start : start + len(names)], strict=True)) for start in range(0, len(pairs), len(names))
    ]


def _pair(total: Total, device: torch.device) -> Tensor:
    """Return sum and count: (2,) float64."""
    pair = torch.zeros(2, dtype=torch.float64, device=device)
    pair[0] += total.sum
    pair[1] += total.count
    return pair


def added(sums: Sequence[Sums]) -> Sums:
    """Return the totals of all batches together."""
    whole: dict[str, tuple[float, float]] = dict.fromkeys(sums[0], (0.0, 0.0))
    for batch in sums:
        whole = {name: (total + batch[name][0], count + batch[name][1]) for name, (total, count) in whole.items()}
    return whole


def metric_values(task: Task, sums: Sums) -> dict[str, float]:
    """Return every metric, from totals."""
    return {metric.name: _metric_value(metric.of, sums) for metric in task.metrics()}


def split_batches(network: Network, dataset: Dataset, device: torch.device, *, groups: int = 1) -> Iterator[Batch]:
    """Return the batches of a split.  groups: fewest batches, if it has as many sequences or tokens."""
    if isinstance(dataset, Stream):
        return iter(_stream_windows(network, dataset, device, groups))
    size = min(EVALUATION_BATCH_SIZE, max(len(dataset) // groups, 1))
    return evaluation_batches(dataset, batch_size=size, device=device)


def _stream_windows(network: Network, stream: Stream, device: torch.device, groups: int) -> StreamBatches:
    """Read a stream by `scan` where the backbone offers it, else in windows whose history fills its receptive field.

    Rows are for speed and must not show in a score: each reads the tokens before it first, and a stream is cut only
    into rows that score at least as many tokens as they read so.
    """
    past = (receptive_field(network.backbone) or 1) - 1
    history = None
    if not isinstance(network.backbone, Scan):
        # A backbone whose past is unlimited, or not stated, sees what it saw in training.
        history = max(stream.history or 0, past)
    lead = max(EVALUATION_LEAD, past, history or 0)
    rows = max(min(stream.rows, len(stream) // lead - 1), 1)
    tokens = min(EVALUATION_TOKENS, EVALUATION_OUTPUTS // network.decoder.out_features)
    if groups > 1:
        tokens = min(tokens, len(stream) // groups)
    return StreamBatches(
        stream,
        rows=rows,
        scored=max(tokens // rows, 1),
        history=history,
        device=device,
        lead=lead if rows > 1 else 0,
    )


def _metric_value(of: Any, sums: Sums) -> float:
    try:
        return float(of(sums))
    except OverflowError:  # exp of a large loss
        return math.inf


def evaluate_weights(
    network: Network, weights: Weights, task: Task, dataset: Dataset, device: torch.device
) -> dict[str, float]:
    network.load_state_dict(weights)
    return evaluate(network, task, dataset, device)
