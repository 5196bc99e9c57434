"""Compare the TCN with the released code's network in float64, at the paper's settings.

    python benchmarks/released.py FOLDER

FOLDER: a checkout of github.com/locuslab/TCN, whose TCN/tcn.py is imported; nothing is downloaded.  Both networks get
the same weights and the same random input.  Printed are the largest difference of the outputs and of the gradients of
all weights, each relative to the largest value.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.errors import DataError, HarnessError
from harness_models.convolution import Convolution
from harness_models.published import TCN
from harness_models.tcn import Keywords, ResidualBlock, TcnBackbone


@dataclass(frozen=True)
class Setting:
    """One row of the paper at its published widths."""

    row: str
    inputs: int
    """Channels that the backbone reads: the task's, or the size of the embedding."""
    steps: int


SETTINGS = (
    Setting("adding-600", 2, 600),
    Setting("copy-memory-1000", 1, 1020),
    Setting("sequential-mnist", 1, 784),
    Setting("jsb-chorales", 88, 160),
    Setting("nottingham", 88, 400),
    Setting("ptb-word", 600, 80),
    Setting("ptb-char", 100, 400),
)
BATCH = 2


def released_class(folder: Path) -> type[nn.Module]:
    """Return the class `TemporalConvNet` of a checkout.  Raises DataError if the folder has none."""
    path = folder / "TCN" / "tcn.py"
    spec = importlib.util.spec_from_file_location("released_tcn", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise DataError(f"{path}: no such file; give a checkout of github.com/locuslab/TCN")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(type[nn.Module], module.TemporalConvNet)


def differences(kind: type[nn.Module], setting: Setting) -> tuple[float, float]:
    """Return the largest relative difference of the outputs, and of the gradients, in float64 without dropout."""
    published = TCN[setting.row]
    torch.manual_seed(0)
    ours = TcnBackbone(setting.inputs, published.widths, Keywords(**{**published.params, "dropout": 0.0})).double()
    theirs = cast(Any, kind)(setting.inputs, list(published.widths), published.params["kernel_size"], 0.0).double()
    pairs = [pair for ours_block, block in _blocks(ours, theirs) for pair in _pairs(ours_block, block)]
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(mine.reshape(other.shape))
    x = torch.randn(BATCH, setting.steps, setting.inputs, dtype=torch.float64)
    outputs = ours(x), theirs(x.transpose(1, 2)).transpose(1, 2)
    weights = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weights).sum().backward()
    gradients = [_difference(_gradient(mine), _gradient(other).reshape(mine.shape)) for mine, other in pairs]
    return _difference(*(output.detach() for output in outputs)), max(gradients)


def _blocks(ours: TcnBackbone, theirs: nn.Module) -> Iterator[tuple[ResidualBlock, Any]]:
    for block, other in zip(ours.blocks, cast(nn.Sequential, theirs.network), strict=True):
        yield cast(ResidualBlock, block), other


def _pairs(ours: ResidualBlock, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield our parameters with those of a released block."""
    for mine, other in ((ours.first, theirs.conv1), (ours.second, theirs.conv2)):
        yield from zip(_of_convolution(mine), _of_released(other), strict=True)
    if isinstance(ours.skip, nn.Linear):
        yield ours.skip.weight, theirs.downsample.weight
        yield ours.skip.bias, theirs.downsample.bias


def _of_convolution(convolution: Convolution) -> tuple[nn.Parameter, ...]:
    return convolution.v, convolution.g, convolution.bias


def _of_released(convolution: nn.Module) -> tuple[nn.Parameter, ...]:
    """Return direction, norm and bias: of PyTorch's older weight norm, or of its parametrization."""
    named = dict(convolution.named_parameters())
    older = "weight_v" in named
    names = (
        ("weight_v", "weight_g")
        if older
        else ("parametrizations.weight.original1", "parametrizations.weight.original0")
    )
    return (*(named[name] for name in names), named["bias"])


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max() / first.abs().max())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a checkout of github.com/locuslab/TCN")
    given = parser.parse_args(arguments)
    try:
        kind = released_class(given.folder)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    print("| setting | outputs | gradients |\n| :-- | --: | --: |")
    for setting in SETTINGS:
        outputs, gradients = differences(kind, setting)
        print(f"| {setting.row} | {outputs:.1e} | {gradients:.1e} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
