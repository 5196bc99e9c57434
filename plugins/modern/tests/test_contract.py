"""What the harness relies on, by the conformance kit."""

from __future__ import annotations

import pytest

from harness import Model
from harness.testing import SIGNATURES, BoundCheck, ModelSubject, parametrize_checks
from harness_modern.gated_tcn import GatedTcn
from harness_modern.mamba import Mamba
from harness_modern.mingru import MinGru
from harness_modern.s4d import S4d
from harness_modern.transformer import Transformer

MODELS: tuple[Model, ...] = (Transformer(), MinGru(), S4d(), GatedTcn(), Mamba())
FEW = (SIGNATURES[0], SIGNATURES[4])
"""Numbers read at the end, and tied tokens."""


@parametrize_checks(*(ModelSubject(model, signatures=FEW) for model in MODELS))
def test_contract_at_a_few_signatures(check: BoundCheck[ModelSubject]) -> None:
    check()


@pytest.mark.slow
@parametrize_checks(*MODELS)
def test_contract(check: BoundCheck[ModelSubject]) -> None:
    check()
