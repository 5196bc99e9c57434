"""The reference for a training step: a rewrite of the structure of the released code (locuslab/TCN at 2f8c2b8).

It has convolutions padded on both sides and then cut, weight norm by PyTorch's older hook, `nn.Dropout` after each
activation, data as (batch, channels, time), every position computed and decoded, PyTorch's default optimisers, and the
loss read back after each update.  Embedding dropout is left out on both sides.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.dataset import Batch
from harness.records import Optimisation
from harness.training.network import Network
from harness_models.convolution import Convolution
from harness_models.tcn import ResidualBlock, TcnBackbone

Loss = Callable[[Tensor, Batch], Tensor]
"""Outputs at every step, (batch, time, n), or at the last one, (batch, n), and the batch → the loss."""


class Chomp(nn.Module):
    """Drops the steps that padding on the right has added."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:  # (batch, channels, time + steps)
        return x[:, :, : -self.steps].contiguous()


class Block(nn.Module):
    """Twice [convolution, chomp, relu, dropout], with a 1x1 convolution on the residual if the widths differ."""

    def __init__(self, before: int, after: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        steps = (kernel_size - 1) * dilation
        self.first = _normalised(nn.Conv1d(before, after, kernel_size, padding=steps, dilation=dilation))
        self.second = _normalised(nn.Conv1d(after, after, kernel_size, padding=steps, dilation=dilation))
        self.net = nn.Sequential(
            *(self.first, Chomp(steps), nn.ReLU(), nn.Dropout(dropout)),
            *(self.second, Chomp(steps), nn.ReLU(), nn.Dropout(dropout)),
        )
        self.skip: nn.Module = nn.Conv1d(before, after, 1) if before != after else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.net(x) + self.skip(x)))


def _normalised(convolution: nn.Conv1d) -> nn.Conv1d:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, but the released code calls it
        return nn.utils.weight_norm(convolution)


class ReferenceTcn(nn.Module):
    """Blocks with dilation 2**i: (batch, channels, time) → (batch, widths[-1], time).  kernel_size >= 2."""

    def __init__(self, in_features: int, widths: tuple[int, ...], kernel_size: int, dropout: float) -> None:
        super().__init__()
        sizes = (in_features, *widths)
        self.blocks = nn.Sequential(
            *(Block(sizes[i], sizes[i + 1], kernel_size, dilation=2**i, dropout=dropout) for i in range(len(widths)))
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.blocks(x))


class ReferenceNetwork(nn.Module):
    """Embedding (if any) → backbone → projection (if any) → linear decoder, with the sizes and initial weights of a
    network of the harness.

    backbone: `ReferenceTcn`, or any module on (batch, channels, time).  last: whether only the last step is decoded.
    """

    def __init__(self, like: Network, backbone: nn.Module, *, last: bool) -> None:
        super().__init__()
        self.encoder = nn.Embedding(*like.decoder.weight.shape) if _embeds(like) else nn.Identity()
        self.backbone = backbone
        self.projection = copy.deepcopy(like.projection)  # solved widths seldom equal that of the embedding
        self.decoder = nn.Linear(like.decoder.in_features, like.decoder.out_features)
        self.decoder.load_state_dict(like.decoder.state_dict())
        self._last = last
        if _embeds(like):
            assert like.encoder.weight is like.decoder.weight, "the released code's language models are tied"
            self.encoder.weight = self.decoder.weight

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.backbone(self.encoder(inputs).transpose(1, 2))  # (batch, features, time)
        return cast(Tensor, self.decoder(self.projection(hidden[:, :, -1] if self._last else hidden.transpose(1, 2))))


def _embeds(network: Network) -> bool:
    return isinstance(network.encoder, nn.Embedding)


def tcn_like(network: Network, dropout: float, *, last: bool) -> ReferenceNetwork:
    """Return the reference for a TCN of the harness, with its weights; `network` is not changed."""
    ours = cast(TcnBackbone, network.backbone)
    blocks = [cast(ResidualBlock, block) for block in ours.blocks]
    widths = tuple(block.first.v.shape[0] for block in blocks)
    theirs = ReferenceTcn(blocks[0].first.v.shape[1], widths, ours.kernel_size, dropout)
    for block, like in zip(theirs.blocks, blocks, strict=True):
        _copy_block(cast(Block, block), like)
    return ReferenceNetwork(network, theirs, last=last)


@torch.no_grad()
def _copy_block(block: Block, like: ResidualBlock) -> None:
    pairs: list[tuple[nn.Conv1d, Convolution]] = [(block.first, like.first), (block.second, like.second)]
    for convolution, source in pairs:
        for name, value in (("weight_v", source.v), ("weight_g", source.g), ("bias", source.bias)):
            convolution.get_parameter(name).copy_(value)
    if isinstance(block.skip, nn.Conv1d):
        linear = cast(nn.Linear, like.skip)
        block.skip.weight.copy_(linear.weight.unsqueeze(2))
        cast(Tensor, block.skip.bias).copy_(linear.bias)


def default_optimizer(network: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    """Return the optimiser of the released scripts: by name, with only the learning rate set."""
    kinds: dict[str, type[Any]] = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}
    optimizer: torch.optim.Optimizer = kinds[optimisation.optimizer](
        network.parameters(), lr=optimisation.learning_rate
    )
    return optimizer


class ReferenceStep:
    """An update as in the released scripts, but clipped after the backward pass."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        optimisation: Optimisation,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self.network = network
        self._loss = loss
        self._clip = optimisation.clip
        self._optimizer = optimizer or default_optimizer(network, optimisation)

    def __call__(self, batch: Batch) -> float:
        """Make an update; return the loss before it."""
        self._optimizer.zero_grad()
        loss = self._loss(self.network(batch.inputs), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        self._optimizer.step()
        return loss.item()


def squared_error(output: Tensor, batch: Batch) -> Tensor:
    return F.mse_loss(output, batch.targets)


def negative_log_likelihood(output: Tensor, batch: Batch) -> Tensor:
    return F.nll_loss(F.log_softmax(output, dim=1), batch.targets)


def cross_entropy(output: Tensor, batch: Batch) -> Tensor:
    """Return the loss over the scored end of a window; all its positions have been decoded."""
    scored = output[:, output.shape[1] - batch.targets.shape[1] :].contiguous()
    return F.cross_entropy(scored.view(-1, scored.shape[2]), batch.targets.contiguous().view(-1))


def music_trace(output: Tensor, batch: Batch) -> Tensor:
    """Return the loss of one piece: summed over frames, as the trace of a (time, time) matrix."""
    keys, p = batch.targets[0], torch.sigmoid(output[0]).double()
    on, off = torch.log(p).float().t(), torch.log(1 - p).float().t()
    return -torch.trace(torch.matmul(keys, on) + torch.matmul(1 - keys, off))


def music_masked(output: Tensor, batch: Batch) -> Tensor:
    """Return the loss of several pieces, padded on the right: summed over their real frames."""
    nats = F.binary_cross_entropy_with_logits(output, batch.targets, reduction="none").sum(-1)
    return nats.sum() if batch.mask is None else (nats * batch.mask).sum()
