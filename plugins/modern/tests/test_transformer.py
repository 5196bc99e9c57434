from __future__ import annotations

from typing import cast

import pytest
import torch
import torch.nn.functional as F

from harness import Real, Signature
from harness_modern.stack import Stack
from harness_modern.transformer import Transformer, TransformerBlock, attention_width, rotated


def _signature(length: int) -> Signature:
    return Signature(Real(3), Real(1), length=length, readout="each")


def _stack(length: int, width: int = 200, layers: int = 2) -> Stack:
    torch.manual_seed(0)
    stack = Transformer().build(_signature(length), (width,), layers=layers, heads=2, expansion=2)
    return stack.double().eval()


@pytest.mark.parametrize("shift", [1, 17, 1000])
def test_scores_of_rotated_queries_and_keys_depend_on_distance_alone(shift: int) -> None:
    q, k = torch.randn(2, 1, 2, 9, 6, dtype=torch.float64)
    scores = rotated(q, 0) @ rotated(k, 0).mT
    shifted = rotated(q, shift) @ rotated(k, shift).mT
    torch.testing.assert_close(shifted, scores, rtol=1e-11, atol=1e-11)
    assert not torch.allclose(rotated(q, shift) @ rotated(k, 0).mT, scores, rtol=1e-3)


def test_rotation_turns_each_pair_by_its_own_speed() -> None:
    """Su et al. 2021, equation 15, as complex numbers: pair i times exp(i m 10000**(-2i / d))."""
    x = torch.randn(1, 1, 5, 8, dtype=torch.float64)
    pairs = torch.complex(x[..., :4], x[..., 4:])
    place = torch.arange(3, 8, dtype=torch.float64)[:, None]
    speed = 10_000.0 ** (-2 * torch.arange(4, dtype=torch.float64) / 8)
    expected = pairs * torch.polar(torch.ones(5, 4, dtype=torch.float64), place * speed)
    torch.testing.assert_close(rotated(x, 3), torch.cat((expected.real, expected.imag), dim=-1))


def test_block_is_attention_and_feed_forward_of_pytorch_on_rotated_keys() -> None:
    block = TransformerBlock(6, 10, heads=2, span=50, dropout=0.0).double().eval()
    x = torch.randn(2, 11, 6, dtype=torch.float64)
    normed = F.rms_norm(x, (6,), eps=1e-6)
    q, k, v = (
        (normed @ weight.T).view(2, 11, 2, -1).transpose(1, 2)
        for weight in (block.query.weight, *block.key_value.weight.chunk(2))
    )
    scores = rotated(q, 0) @ rotated(k, 0).mT / q.shape[-1] ** 0.5
    allowed = torch.ones(11, 11, dtype=torch.bool).tril()
    attended = scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v
    y = x + attended.transpose(1, 2).reshape(2, 11, -1) @ block.output.weight.T
    hidden = F.gelu(F.rms_norm(y, (6,), eps=1e-6) @ block.widen.weight.T)
    expected = y + hidden @ block.narrow.weight.T
    torch.testing.assert_close(block(x, None, 11, False)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("span", "layers"), [(4, 1), (4, 2), (6, 3)])
def test_receptive_field_is_what_gradients_reach(span: int, layers: int) -> None:
    stack = _stack(span, layers=layers)
    assert stack.receptive_field is not None
    x = torch.randn(1, 40, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(stack(x)[0, -1].square().sum(), x)
    reached = (gradient[0] != 0).any(-1).nonzero().min()
    assert 40 - int(reached) == stack.receptive_field == 1 + layers * (span - 1)


def test_span_changes_nothing_within_a_whole_sequence() -> None:
    x = torch.randn(2, 12, 3, dtype=torch.float64)
    wide = _stack(500)
    exact = _stack(12)
    exact.load_state_dict(wide.state_dict())
    torch.testing.assert_close(exact(x), wide(x), rtol=1e-12, atol=1e-12)


def test_cache_holds_the_steps_that_later_ones_attend_to() -> None:
    stack = _stack(8)
    _, state = stack.scan(torch.randn(3, 5, 3, dtype=torch.float64))
    assert state is not None
    assert {leaf.shape[1] for layer in state for leaf in layer} == {5}
    _, state = stack.scan(torch.randn(3, 50, 3, dtype=torch.float64), state)
    assert state is not None
    assert {leaf.shape[1] for layer in state for leaf in layer} == {7}


@pytest.mark.parametrize(("model", "heads", "width"), [(22, 4, 24), (3, 8, 16), (64, 4, 64), (25, 2, 24), (1, 1, 2)])
def test_head_size_is_even_and_nearest(model: int, heads: int, width: int) -> None:
    assert attention_width(model, heads) == width


def test_last_block_answers_only_the_queries_asked_for() -> None:
    stack = _stack(30)
    seen: list[torch.Size] = []
    last = cast(TransformerBlock, stack.blocks[-1])
    last.query.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    stack.suffix(torch.randn(2, 30, 3, dtype=torch.float64), 1)
    assert [shape[1] for shape in seen] == [1]
