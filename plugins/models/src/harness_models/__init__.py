"""The architectures of Bai, Kolter & Koltun 2018 (arXiv:1803.01271): TCN, LSTM, GRU and tanh RNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness import hookimpl

if TYPE_CHECKING:
    from harness import Model


@hookimpl
def harness_register_models(register: Callable[[Model], None]) -> None:
    """Register the four models.  Torch is imported here, not with the package, so that entry points list quickly."""
    from harness_models.recurrent import Gru, Lstm, Rnn
    from harness_models.tcn import Tcn

    for model in (Tcn(), Lstm(), Gru(), Rnn()):
        register(model)
