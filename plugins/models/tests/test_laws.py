"""The conformance kit on every model, and what its laws leave open."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from harness import Real, Signature
from harness.testing import BoundCheck, ModelSubject, parametrize_checks
from harness_models.recurrent import Gru, Lstm, Rnn
from harness_models.tcn import Tcn

CHANNELS = 3
SIGNATURE = Signature(input=Real(CHANNELS), output=Real(1), length=30, readout="each")


@parametrize_checks(
    Tcn(),
    ModelSubject(Tcn(), {"dropout_kind": "element", "init": "normal"}),
    ModelSubject(Tcn(), {"kernel_size": 1}, signatures=(SIGNATURE,)),
    Lstm(),
    ModelSubject(Lstm(), {"forget_bias": None}, signatures=(SIGNATURE,)),
    Gru(),
    Rnn(),
)
def test_contract(check: BoundCheck[Any]) -> None:
    check()


@pytest.mark.parametrize(
    ("model", "widths", "params"),
    [
        (Tcn(), (6, 5), {"kernel_size": 2, "levels": 2, "dropout_kind": "element"}),
        (Lstm(), (5, 4), {"layers": 2, "forget_bias": 5.0}),
    ],
    ids=["tcn", "lstm"],
)
def test_seed_decides_the_dropout_of_training(
    model: Tcn | Lstm, widths: tuple[int, ...], params: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    backbone = model.build(SIGNATURE, widths, dropout=0.4, **params).train()
    x = torch.randn(2, 9, CHANNELS)

    def output(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return cast(Tensor, backbone(x))

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))
