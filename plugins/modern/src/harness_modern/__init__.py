"""Causal backbones newer than Bai, Kolter & Koltun 2018: transformer, minGRU, S4D, gated TCN and Mamba."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness import hookimpl

if TYPE_CHECKING:
    from harness import Model


@hookimpl
def harness_register_models(register: Callable[[Model], None]) -> None:
    """Register the five models.  Torch is imported here, not with the package, so that entry points list quickly."""
    from harness_modern.gated_tcn import GatedTcn
    from harness_modern.mamba import Mamba
    from harness_modern.mingru import MinGru
    from harness_modern.s4d import S4d
    from harness_modern.transformer import Transformer

    for model in (Transformer(), MinGru(), S4d(), GatedTcn(), Mamba()):
        register(model)
