from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from harness import Classes, Real, Signature
from harness.errors import SpaceError
from harness_modern.mingru import MinGru, MinGruBlock, spread_timescales
from harness_modern.recurrence import linear_recurrence


def test_block_follows_the_equations_of_the_paper() -> None:
    torch.manual_seed(0)
    block = MinGruBlock(4, 6, dropout=0.0).double()
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    h = torch.zeros(2, 6, dtype=torch.float64)
    for step in range(9):
        normed = block.norm(x[:, step])
        z = torch.sigmoid(block.gate(normed))
        h = (1 - z) * h + z * block.candidate(normed)
        expected = x[:, step] + block.output(h)
        y, after = block(x[:, : step + 1], None, 1, True)
        torch.testing.assert_close(y[:, 0], expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(after, h, rtol=1e-12, atol=1e-12)


def _in_log_space(gate: Tensor, candidate: Tensor) -> Tensor:
    """The paper's scan for positive candidates: exp(a* + logcumsumexp(log(z h̃) - a*)) with a* = Σ log(1 - z)."""
    decays = torch.nn.functional.logsigmoid(-gate).cumsum(1)
    drives = torch.nn.functional.logsigmoid(gate) + candidate.log()
    return torch.exp(decays + torch.logcumsumexp(drives - decays, dim=1))


def test_scan_equals_the_papers_scan_in_log_space() -> None:
    gate = 2 * torch.randn(2, 784, 5, dtype=torch.float64)
    candidate = torch.rand(2, 784, 5, dtype=torch.float64) + 0.1
    ours = linear_recurrence(torch.sigmoid(-gate), torch.sigmoid(gate) * candidate, None)
    torch.testing.assert_close(ours, _in_log_space(gate, candidate), rtol=1e-11, atol=0)


def test_closed_gate_holds_its_state_and_open_gate_takes_the_candidate() -> None:
    block = MinGruBlock(4, 6, dropout=0.0).double()
    x, held = torch.randn(2, 50, 4, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    with torch.no_grad():
        block.gate.weight.zero_()
        block.gate.bias.fill_(-800)
        _, after = block(x, held, 50, True)
        assert torch.equal(after, held)
        block.gate.bias.fill_(800)
        _, after = block(x, held, 50, True)
        assert torch.equal(after, block.candidate(block.norm(x))[:, -1])


def _kept(timescale: float | None, steps: int) -> Tensor:
    """What is left of a state of ones after steps of silence: (units,)."""
    torch.manual_seed(0)
    block = MinGruBlock(4, 2000, dropout=0.0).double()
    if timescale is not None:
        spread_timescales(block.gate.bias, timescale)
    with torch.no_grad():
        block.candidate.bias.zero_()
        _, after = block(
            torch.zeros(1, steps, 4, dtype=torch.float64), torch.ones(1, 2000, dtype=torch.float64), 1, True
        )
    return cast(Tensor, after)[0]


def test_timescale_spreads_what_units_keep_from_a_step_to_as_many() -> None:
    keeps = _kept(100.0, 1)
    remembered = 1 / (1 - keeps)  # uniform in [2, 100]: its mean is 51, its standard error over 2,000 units 0.63
    assert remembered.min() >= 2
    assert remembered.max() <= 100 + 1e-9
    assert abs(float(remembered.mean()) - 51) < 3
    torch.testing.assert_close(_kept(100.0, 50), keeps**50, rtol=1e-9, atol=0)


def test_past_of_a_hundred_steps_reaches_the_output_only_with_a_timescale() -> None:
    assert float(_kept(100.0, 100).max()) > 0.36  # 0.99 to the power of 100
    assert float(_kept(None, 100).max()) < 1e-15


def test_build_without_a_timescale_is_pytorchs_initialisation() -> None:
    signature = Signature(Real(3), Classes(10), length=784, readout="last")
    torch.manual_seed(0)
    plain = MinGru().build(signature, (40,), layers=2, expansion=1)
    torch.manual_seed(0)
    same = MinGru().build(signature, (40,), layers=2, expansion=1, timescale=None)
    for (name, ours), (_, theirs) in zip(plain.named_parameters(), same.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        if name.endswith("gate.bias"):
            assert float(ours.detach().abs().max()) <= plain.out_features**-0.5


def test_timescale_moves_gate_biases_alone_and_is_not_counted() -> None:
    signature = Signature(Real(3), Classes(10), length=784, readout="last")
    torch.manual_seed(0)
    plain = MinGru().build(signature, (40,), layers=2, expansion=1)
    torch.manual_seed(0)
    slow = MinGru().build(signature, (40,), layers=2, expansion=1, timescale=784.0)
    changed = [name for name, value in plain.state_dict().items() if not torch.equal(value, slow.state_dict()[name])]
    assert changed == ["blocks.0.gate.bias", "blocks.1.gate.bias"]


def test_space_offers_the_papers_biases_and_the_tasks_timescale() -> None:
    known = Signature(Real(2), Real(1), length=60, readout="last", dependency=50)
    assert MinGru().space(known)["timescale"].choices == (None, 50.0)  # type: ignore[attr-defined]  # a categorical one
    unknown = Signature(Real(2), Real(1), length=60, readout="last")
    assert MinGru().space(unknown)["timescale"].choices == (None, 60.0)  # type: ignore[attr-defined]
    step = Signature(Real(2), Real(1), length=1, readout="last")
    assert MinGru().space(step)["timescale"].choices == (None,)  # type: ignore[attr-defined]


def test_timescale_below_two_steps_is_refused_by_name() -> None:
    signature = Signature(Real(3), Classes(10), length=784, readout="last")
    with pytest.raises(SpaceError, match="parameter 'timescale': Input should be greater than 2, got 1"):
        MinGru().build(signature, (40,), layers=1, timescale=1.0)
