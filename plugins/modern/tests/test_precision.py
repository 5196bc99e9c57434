"""Training in bfloat16 by autocast, and values read back from a device, which a CUDA graph cannot record."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness import Batch, Model, Real, Signature
from harness.training.evaluation import training_outputs
from harness.training.network import Network, build_network
from harness_modern.gated_tcn import GatedTcn
from harness_modern.mamba import Mamba
from harness_modern.mingru import MinGru
from harness_modern.s4d import S4d, causal_convolution
from harness_modern.transformer import Transformer

SIGNATURE = Signature(input=Real(3), output=Real(2), length=40, readout="each")
MODELS: dict[str, tuple[Model, int, dict[str, Any]]] = {  # parameters are of several types, hence Any
    "transformer": (Transformer(), 1200, {"layers": 2, "heads": 2, "expansion": 2}),
    "mingru": (MinGru(), 400, {"layers": 2, "expansion": 1, "timescale": None}),
    "s4d": (S4d(), 800, {"layers": 2, "state_size": 8, "expansion": 1}),
    "gated-tcn": (GatedTcn(), 200, {"levels": 3, "kernel_size": 3}),
    "mamba": (Mamba(), 300, {"layers": 2, "state_size": 4, "expansion": 2}),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])


def network(name: str, device: str, dropout: float = 0.0) -> Network:
    model, width, params = MODELS[name]
    torch.manual_seed(0)
    return build_network(model, SIGNATURE, (width,), {**params, "dropout": dropout}).to(device)


def batch(device: str) -> Batch:
    generator = torch.Generator().manual_seed(1)
    inputs, targets = (torch.randn(4, 40, size, generator=generator).to(device) for size in (3, 2))
    return Batch(inputs, targets)


def updated(net: Network, given: Batch, precision: Any) -> tuple[Tensor, list[Tensor]]:  # one of two literals
    """Return the output and the gradient of every parameter."""
    output, _ = training_outputs(net, "each", given, None, precision)
    (output - given.targets).square().mean().backward()  # type: ignore[no-untyped-call]
    return output.detach(), [parameter.grad for parameter in net.parameters() if parameter.grad is not None]


@every_device
@every_model
def test_bfloat16_has_outputs_and_gradients_near_those_of_float32(name: str, device: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reduced, gradients = updated(network(name, device), batch(device), "bfloat16")
    full, expected = updated(network(name, device), batch(device), "float32")
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, full, rtol=0.05, atol=0.05)
    assert not torch.equal(reduced, full)
    assert len(gradients) == len(expected)
    norms = nn.utils.get_total_norm(gradients), nn.utils.get_total_norm(expected)
    torch.testing.assert_close(*norms, rtol=0.05, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@every_device
def test_convolution_of_a_reduced_input_is_in_the_precision_of_its_kernel(dtype: torch.dtype, device: str) -> None:
    """On CUDA, autocast does not convert what goes into an FFT, and there is none of bfloat16."""
    u = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    kernel = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)).to(device)
    y = causal_convolution(u, kernel)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, causal_convolution(u.float(), kernel))


class NothingReadBack(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what waits for a device: reading a value, or making a shape of values."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # PyTorch's own
        name = function.overloadpacket.__name__
        if name in {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"}:
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@every_model
def test_update_reads_no_value_back(name: str, precision: str) -> None:
    net, given = network(name, "cpu", dropout=0.3), batch("cpu")
    with NothingReadBack():  # type: ignore[no-untyped-call]
        updated(net, given, precision)


@pytest.mark.gpu
@every_model
def test_update_does_not_wait_for_the_gpu(name: str) -> None:
    net, given = network(name, "cuda", dropout=0.3), batch("cuda")
    updated(net, given, "bfloat16")  # libraries initialise themselves
    torch.cuda.set_sync_debug_mode("error")
    try:
        updated(net, given, "bfloat16")
    finally:
        torch.cuda.set_sync_debug_mode("default")
