"""The memoryless probe, and the first part of a split."""

from __future__ import annotations

import torch

from harness import Arrays, Ragged, Real, Signature, Stream
from harness.testing.memoryless import Memoryless, head, probe_network

X = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))


def test_output_depends_only_on_the_present_input() -> None:
    backbone = Memoryless(3, 5)
    changed = X.clone()
    changed[:, :-1] += 1
    assert torch.equal(backbone(X)[:, -1], backbone(changed)[:, -1])
    assert backbone(X).shape == (2, 7, 5)


def test_suffix_and_scan_equal_forward() -> None:
    backbone = Memoryless(3, 5)
    first, state = backbone.scan(X[:, :4])
    second, _ = backbone.scan(X[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), backbone(X))
    torch.testing.assert_close(backbone.suffix(X, 2), backbone(X)[:, -2:])


def test_probe_network_is_reproducible_and_in_eval_mode() -> None:
    signature = Signature(Real(3), Real(1), length=7, readout="each")
    first, second = probe_network(signature), probe_network(signature)
    assert not first.training
    assert all(torch.equal(weight, second.state_dict()[name]) for name, weight in first.state_dict().items())


def test_head_returns_first_sequences_or_first_tokens() -> None:
    arrays = head(Arrays(X, torch.arange(2)), 1, 10)
    assert isinstance(arrays, Arrays)
    assert torch.equal(arrays.inputs, X[:1])
    ragged = head(Ragged(torch.arange(9.0)[:, None], torch.arange(9), torch.tensor([2, 4, 3])), 2, 10)
    assert isinstance(ragged, Ragged)
    assert (ragged.lengths.tolist(), ragged.targets.tolist()) == ([2, 4], [0, 1, 2, 3, 4, 5])
    stream = head(Stream(torch.arange(100), before=7, scored=5, history=3, rows=20), 1, 10)
    assert isinstance(stream, Stream)
    assert stream.tokens.tolist() == list(range(10))
    assert (stream.rows, stream.before, stream.scored, stream.history) == (10, 7, 5, 3)


def test_head_of_a_shorter_split_is_the_whole_split() -> None:
    stream = head(Stream(torch.arange(4), before=0, scored=2, history=None, rows=2), 1, 10)
    assert isinstance(stream, Stream)
    assert (len(stream), stream.rows) == (4, 2)
    assert len(head(Arrays(X, torch.arange(2)), 5, 1)) == 2
