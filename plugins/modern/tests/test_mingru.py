from __future__ import annotations

import torch
from torch import Tensor

from harness_modern.mingru import MinGruBlock
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
