from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.api.model import Model, Scan, Suffix
from harness.api.signature import Bits, Classes, Real, Signature, Tokens
from harness.plugin.registry import Registry
from harness.training.network import Network, build_network, receptive_field

WORDS = Signature(input=Tokens(11, 4), output=Classes(11), length=6, readout="each", tied=True)
KEYS = Signature(input=Real(3), output=Bits(2), length=6, readout="each")


class Widen(nn.Module):
    """Repeats the features of its input up to a width; records the shapes of its inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_features = width
        self.asked: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(tuple(x.shape))
        return x.repeat(1, 1, -(-self.out_features // x.shape[-1]))[..., : self.out_features]


class WidenSuffix(Widen):
    def suffix(self, x: Tensor, steps: int) -> Tensor:
        return self(x[:, -steps:])  # type: ignore[no-any-return]  # nn.Module.__call__ is untyped


def _inputs(signature: Signature, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if isinstance(signature.input, Tokens):
        return torch.randint(0, signature.input.vocabulary, (batch, signature.length), generator=generator)
    return torch.randn(batch, signature.length, signature.input.size, generator=generator)


def test_real_input_reaches_the_backbone_as_it_is() -> None:
    network = Network(KEYS, Widen(3))
    assert isinstance(network.encoder, nn.Identity)
    x = _inputs(KEYS)
    assert torch.equal(network(x), network.decoder(x))
    assert network(x).shape == (2, 6, 2)


def test_tokens_are_embedded() -> None:
    network = Network(WORDS, Widen(4))
    tokens = _inputs(WORDS)
    assert torch.equal(network(tokens), network.decoder(network.encoder.weight[tokens]))  # type: ignore[index]


def test_tied_decoder_is_the_embedding_itself() -> None:
    network = Network(WORDS, Widen(4))
    assert network.decoder.weight is network.encoder.weight
    assert isinstance(network.projection, nn.Identity)
    assert network(_inputs(WORDS)).shape == (2, 6, 11)


def test_tied_decoder_of_another_width_stands_behind_a_projection() -> None:
    network = Network(WORDS, Widen(5))
    assert isinstance(network.projection, nn.Linear)
    assert network.projection.weight.shape == (4, 5)
    assert list(network.projection.state_dict()) == ["weight"]
    assert network.decoder.weight is network.encoder.weight
    assert network(_inputs(WORDS)).shape == (2, 6, 11)


def test_untied_decoder_has_weights_of_its_own() -> None:
    signature = Signature(input=Tokens(11, 4), output=Classes(3), length=6, readout="last")
    network = Network(signature, Widen(5))
    assert network.decoder.weight.shape == (3, 5)
    assert isinstance(network.projection, nn.Identity)


@pytest.mark.parametrize("kind", [Widen, WidenSuffix])
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_suffix_is_the_end_of_forward(kind: type[Widen], steps: int) -> None:
    network = Network(KEYS, kind(5))
    x = _inputs(KEYS)
    assert torch.equal(network.suffix(x, steps), network(x)[:, -steps:])


def test_suffix_is_asked_of_a_backbone_that_offers_it() -> None:
    backbone = WidenSuffix(5)
    Network(KEYS, backbone).suffix(_inputs(KEYS), 2)
    assert backbone.asked == [(2, 2, 3)]


def test_last_reads_the_final_step() -> None:
    network = Network(KEYS, Widen(5))
    x = _inputs(KEYS)
    assert torch.equal(network.last(x), network(x)[:, -1])


def test_last_of_ragged_sequences_reads_each_ones_last_real_step(toy_registry: Registry) -> None:
    torch.manual_seed(0)
    stack = toy_registry.model("toy-stack").value
    network = build_network(stack, KEYS, (4, 5), {"layers": 2}).eval()
    x, lengths = _inputs(KEYS, 3), torch.tensor([1, 4, 6])
    padded = x * (torch.arange(6) < lengths[:, None])[..., None]
    alone = torch.cat([network(x[i : i + 1, :length])[:, -1] for i, length in enumerate(lengths.tolist())])
    torch.testing.assert_close(network.last(padded, lengths), alone)


def test_scan_over_windows_is_forward_over_all(toy_registry: Registry) -> None:
    torch.manual_seed(0)
    network = build_network(toy_registry.model("toy-ema").value, KEYS, (7,), {}).eval().double()
    x = _inputs(KEYS).double()
    first, state = network.scan(x[:, :2])
    second, _ = network.scan(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), network(x))


def test_kind_of_a_backbone_follows_from_its_methods(toy_registry: Registry) -> None:
    ema = toy_registry.model("toy-ema").value.build(KEYS, (3,))
    stack = toy_registry.model("toy-stack").value.build(KEYS, (3,), layers=1)
    assert (isinstance(ema, Scan), isinstance(stack, Scan)) == (True, False)
    assert (isinstance(WidenSuffix(1), Suffix), isinstance(Widen(1), Suffix)) == (True, False)


def test_receptive_field_is_what_the_backbone_states(toy_registry: Registry) -> None:
    stack = toy_registry.model("toy-stack").value.build(KEYS, (3, 3), layers=2)
    assert receptive_field(stack) == 3
    assert receptive_field(Widen(1)) is None


def test_toys_are_causal(toy_registry: Registry) -> None:
    cases: list[tuple[Model, tuple[int, ...], dict[str, Any]]] = [
        (toy_registry.model("toy-ema").value, (5,), {}),
        (toy_registry.model("toy-stack").value, (3, 4, 4), {"layers": 3}),
    ]
    for model, widths, params in cases:
        network = build_network(model, KEYS, widths, params).eval().double()
        x = _inputs(KEYS).double()
        changed = torch.cat([x[:, :3], x[:, 3:] + 1], dim=1)
        assert torch.equal(network(x)[:, :3], network(changed)[:, :3])
        assert not torch.equal(network(x), network(changed))


class Seen(Widen):
    """Remembers its inputs; offers every verb."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        return super().forward(x)

    def scan(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self(x), state


@pytest.mark.parametrize("verb", ["forward", "suffix", "last", "ragged", "scan"])
def test_embedding_dropout_acts_on_what_the_backbone_sees_in_training_alone(verb: str) -> None:
    torch.manual_seed(0)
    signature = replace(WORDS, input=Tokens(11, 60, dropout=0.25))
    network = Network(signature, Seen(60))
    tokens = torch.randint(11, (8, 6))
    read: dict[str, Callable[[Tensor], Any]] = {
        "forward": network,
        "suffix": lambda x: network.suffix(x, 2),
        "last": network.last,
        "ragged": lambda x: network.last(x, torch.full((8,), 3)),
        "scan": network.scan,
    }
    for training in (True, False):
        network.train(training)
        read[verb](tokens)
    dropped, whole = network.backbone.seen  # type: ignore[misc]  # tensors
    kept = dropped != 0
    assert abs(float(kept.double().mean()) - 0.75) < 0.03
    assert torch.equal(whole, network.encoder(tokens))
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)


def test_network_without_embedding_dropout_is_what_it_was() -> None:
    """It draws nothing, and dropout adds nothing to the weights."""
    plain, dropping = (Network(replace(WORDS, input=Tokens(11, 4, dropout=share)), Widen(4)) for share in (0.0, 0.5))
    assert plain.state_dict().keys() == dropping.state_dict().keys()
    before = torch.get_rng_state()
    plain.train()(_inputs(WORDS))
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_follow_the_global_seed_alone(toy_registry: Registry) -> None:
    stack = toy_registry.model("toy-stack").value

    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = build_network(stack, KEYS, (3, 4), {"layers": 2})
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
