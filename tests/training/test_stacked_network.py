"""Networks of one shape as one: encoder, backbone, projection and decoder of each on its own slice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.api.signature import Bits, Classes, Real, Signature, Tokens
from harness.training.network import Network
from harness.training.stacked_network import StackedNetwork
from tests.support.toys import Ema

MEMBERS, BATCH, TIME = 3, 2, 6
KEYS = Signature(input=Real(3), output=Bits(2), length=TIME, readout="each")
WORDS = Signature(input=Tokens(11, 4), output=Classes(11), length=TIME, readout="each")
CASES = {
    "real": (KEYS, 5),
    "tokens": (WORDS, 5),
    "tied": (replace(WORDS, tied=True), 4),
    "tied-projected": (replace(WORDS, tied=True), 7),
}
every_case = pytest.mark.parametrize(("signature", "width"), CASES.values(), ids=CASES.keys())


def members(signature: Signature, width: int) -> list[Network]:
    torch.manual_seed(0)
    return [
        Network(signature, Ema(signature.in_features, width, bias=True, dropout=0.0, fault="none")).double()
        for _ in range(MEMBERS)
    ]


def inputs(signature: Signature) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if isinstance(signature.input, Tokens):
        return torch.randint(0, signature.input.vocabulary, (MEMBERS, BATCH, TIME), generator=generator)
    return torch.randn(MEMBERS, BATCH, TIME, signature.input.size, generator=generator, dtype=torch.float64)


def assert_near(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


@every_case
def test_outputs_and_gradients_of_a_slice_are_those_of_its_network(signature: Signature, width: int) -> None:
    networks = members(signature, width)
    stacked, x = StackedNetwork(networks), inputs(signature)
    output = stacked(x)
    output.sin().sum().backward()
    for index, network in enumerate(networks):
        expected = network(x[index])
        expected.sin().sum().backward()
        assert_near(output[index], expected)
        for name, parameter in network.named_parameters():
            gradient = stacked.get_parameter(name).grad
            assert gradient is not None
            assert parameter.grad is not None
            assert_near(gradient[index], parameter.grad)


@every_case
def test_suffix_last_and_scan_are_those_of_each_network(signature: Signature, width: int) -> None:
    networks = members(signature, width)
    stacked, x = StackedNetwork(networks), inputs(signature)
    lengths = torch.tensor([[6, 2], [1, 6], [3, 4]])
    first, state = stacked.scan(x[:, :, :2])
    second, _ = stacked.scan(x[:, :, 2:], state)
    for index, network in enumerate(networks):
        assert_near(stacked.suffix(x, 3)[index], network.suffix(x[index], 3))
        assert_near(stacked.last(x)[index], network.last(x[index]))
        assert_near(stacked.last(x, lengths)[index], network.last(x[index], lengths[index]))
        assert_near(torch.cat([first, second], dim=2)[index], network(x[index]))


@every_case
def test_weights_are_those_of_the_networks_under_their_names(signature: Signature, width: int) -> None:
    networks = members(signature, width)
    stacked = StackedNetwork(networks)
    assert stacked.state_dict().keys() == networks[0].state_dict().keys()
    for name, value in stacked.state_dict().items():
        assert torch.equal(value, torch.stack([network.state_dict()[name] for network in networks]))
    assert stacked.tied == networks[0].tied
    assert len(list(stacked.parameters())) == len(list(networks[0].parameters()))


def test_embedding_dropout_draws_for_each_network_by_itself() -> None:
    signature = replace(WORDS, input=Tokens(11, 50, dropout=0.25))
    networks = members(signature, 5)
    x = inputs(signature)[:1].expand(MEMBERS, -1, -1)
    dropped = StackedNetwork(networks).train().encode(x) == 0  # (members, batch, time, features)
    assert abs(float(dropped.double().mean()) - 0.25) < 0.03
    assert not torch.equal(dropped[0], dropped[1])
    assert not (StackedNetwork(networks).eval().encode(x) == 0).any()


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_that_of_the_networks(training: bool) -> None:
    networks = [network.train(training) for network in members(KEYS, 2)]
    assert {module.training for module in StackedNetwork(networks).modules()} == {training}
