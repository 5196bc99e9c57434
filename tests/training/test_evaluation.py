"""Outputs in the precision of training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.api.dataset import Batch
from harness.api.signature import Real, Signature
from harness.training.evaluation import training_outputs
from harness.training.network import Network, build_network
from tests.support.toys import ToyEma

SIGNATURE = Signature(input=Real(3), output=Real(2), length=6, readout="each")


def ema() -> Network:
    torch.manual_seed(0)
    return build_network(ToyEma(), SIGNATURE, (8,), {"bias": True, "dropout": 0.0})


def inputs() -> Tensor:
    return torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("continues", [None, False, True])
def test_bfloat16_outputs_are_float32_numbers_within_its_rounding(continues: bool | None) -> None:
    """A bfloat16 number has 8 significant bits; the bound allows four roundings."""
    network = ema()
    _, state = training_outputs(network, "each", Batch(inputs(), inputs(), continues=False), None, "float32")
    batch = Batch(inputs(), inputs(), continues=continues)
    exact, after = training_outputs(network, "each", batch, state, "float32")
    rounded, rounded_after = training_outputs(network, "each", batch, state, "bfloat16")
    assert rounded.dtype == exact.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=2**-6 * float(exact.detach().abs().max()))
    assert (after is None) == (rounded_after is None) == (continues is None)


@pytest.mark.parametrize(("capability", "onednn"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_bfloat16_is_without_onednn_on_a_cpu_for_which_it_has_no_lstm(
    capability: str, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    network = ema()
    seen: list[bool] = []
    network.register_forward_pre_hook(lambda *_: seen.append(bool(torch.backends.mkldnn.enabled)))
    for precision in ("float32", "bfloat16"):
        training_outputs(network, "each", Batch(inputs(), inputs()), None, precision)
        assert torch.backends.mkldnn.enabled
    assert seen == [True, onednn]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_state_is_read_where_a_batch_continues_the_one_before(precision: str) -> None:
    network, halves = ema(), torch.split(inputs(), 3, dim=1)

    def scan(part: Tensor, state: object, *, continues: bool) -> tuple[Tensor, object]:
        return training_outputs(network, "each", Batch(part, part, continues=continues), state, precision)  # type: ignore[arg-type]  # parametrized

    whole, _ = scan(inputs(), None, continues=False)
    first, state = scan(halves[0], None, continues=False)
    second, _ = scan(halves[1], state, continues=True)
    fresh, _ = scan(halves[1], state, continues=False)
    tolerance = 2**-6 * float(whole.detach().abs().max())
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=0, atol=tolerance)
    assert float((fresh - second).detach().abs().max()) > tolerance
