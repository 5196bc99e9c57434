from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness_modern.mamba import MambaBlock, SelectiveStateSpace, selective_scan, step_rank


def _algorithm_2(space: SelectiveStateSpace, u: Tensor) -> Tensor:
    """Gu & Dao 2023, Algorithm 2, as a loop; B is discretised by Euler's rule as in the released code."""
    low_rank, b, c = space.select(u).split(space.sizes, dim=-1)
    delta = F.softplus(space.step(low_rank))
    a = -space.log_decay.exp()
    h = torch.zeros(len(u), *a.shape, dtype=u.dtype)
    outputs = []
    for t in range(u.shape[1]):
        h = torch.exp(delta[:, t, :, None] * a) * h + (delta[:, t] * u[:, t])[..., None] * b[:, t, None, :]
        outputs.append((h * c[:, t, None, :]).sum(-1) + space.skip * u[:, t])
    return torch.stack(outputs, dim=1)


def _space() -> SelectiveStateSpace:
    torch.manual_seed(0)
    return SelectiveStateSpace(6, state_size=4, rank=2).double()


def test_selective_scan_equals_algorithm_2_across_chunks() -> None:
    space = _space()
    u = torch.randn(2, 300, 6, dtype=torch.float64, requires_grad=True)
    y, _ = space(u, None)
    expected = _algorithm_2(space, u)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-12)
    inputs = [u, *space.parameters()]
    right = torch.autograd.grad(expected.square().sum(), inputs)
    for gradient, wanted in zip(torch.autograd.grad(y.square().sum(), inputs), right, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-11)


def test_selection_of_constants_is_a_time_invariant_system() -> None:
    """With Δ, B and C the same at every step, y is a convolution with Σ C exp(ΔA)**t Δ B."""
    delta = torch.full((1, 50, 1), 0.05, dtype=torch.float64)
    b, c = torch.randn(2, 1, 1, 3, dtype=torch.float64).expand(2, 1, 50, 3)
    decay = -torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    impulse = torch.zeros(1, 50, 1, dtype=torch.float64)
    impulse[:, 0] = 1
    y, _ = selective_scan(impulse, delta, b, c, decay, torch.zeros(1, 1, 3, dtype=torch.float64))
    time = torch.arange(50, dtype=torch.float64)[:, None]
    expected = (c[0, 0] * torch.exp(0.05 * decay * time) * 0.05 * b[0, 0]).sum(-1)
    torch.testing.assert_close(y[0, :, 0], expected, rtol=1e-11, atol=1e-14)


def test_initial_steps_and_decays_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    space = SelectiveStateSpace(2000, state_size=5, rank=3).double()
    steps = F.softplus(space.step.bias.detach())
    assert 0.999e-3 < float(steps.min()) < 1.1e-3
    assert 0.9e-1 < float(steps.max()) < 1.001e-1
    assert abs(float(steps.log().mean()) - float(torch.tensor(1e-2).log())) < 0.1  # even in the logarithm
    torch.testing.assert_close(space.log_decay.exp()[7], torch.arange(1.0, 6, dtype=torch.float64))


def test_states_are_computed_again_and_not_stored() -> None:
    """What is kept for the backward pass grows with channels, not with channels x state_size."""
    space = _space()
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y, _ = space(torch.randn(2, 100, 6, dtype=torch.float64, requires_grad=True), None)
    assert max(kept) <= 2 * 100 * max(6, sum(space.sizes))
    y.sum().backward()


def test_block_is_the_one_of_figure_3() -> None:
    torch.manual_seed(0)
    block = MambaBlock(5, 6, state_size=4, kernel_size=3, dropout=0.0).double()
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    normed = block.norm(x)
    inner = F.pad(block.inner(normed).mT, (2, 0))
    convolved = F.silu(F.conv1d(inner, block.convolution.weight, block.convolution.bias, groups=6).mT)
    expected = x + block.output(_algorithm_2(block.space, convolved) * F.silu(block.gate(normed)))
    torch.testing.assert_close(block(x, None, 9, False)[0], expected, rtol=1e-11, atol=1e-12)


def test_rank_of_the_step_is_a_sixteenth_of_the_model_width() -> None:
    assert [step_rank(model) for model in (1, 16, 17, 768)] == [1, 1, 2, 48]


def test_block_of_the_smallest_published_network_has_its_count() -> None:
    """mamba-130m: 24 blocks of 3,770,880 parameters, each with a normalisation of 768, and an embedding of 50,280."""
    with torch.device("meta"):
        block = MambaBlock(768, 2 * 768, state_size=16, kernel_size=4, dropout=0.0)
    assert sum(parameter.numel() for parameter in block.parameters()) == 3_770_880 + 768
