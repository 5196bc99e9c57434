"""Ctrl-C and SIGTERM, sent to this process."""

from __future__ import annotations

import os
import signal

import pytest

from harness.execution.signals import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_interrupt_is_reported_and_the_second_raises(number: signal.Signals) -> None:
    calls: list[bool] = []
    with interruptible(lambda: calls.append(True)) as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert calls == [True]


def test_handlers_are_restored_after_an_exception() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="stop"), interruptible():
        raise RuntimeError("stop")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
