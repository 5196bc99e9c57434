"""Ctrl-C and SIGTERM, sent to this process."""

from __future__ import annotations

import os
import signal
import time
import weakref
from collections.abc import Iterator

import pytest

from harness.execution.signals import interruptible, redelivered_interrupts


class Referent:
    """A target of weak references."""


@pytest.fixture
def default_handler() -> Iterator[None]:
    """Python's handler of Ctrl-C, which a process in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.mark.usefixtures("default_handler")
def test_interrupt_that_arrives_in_a_callback_of_a_weak_reference_is_delivered_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    referents = [Referent()]
    reference = weakref.ref(referents[0], lambda _: os.kill(os.getpid(), signal.SIGINT))

    @redelivered_interrupts()
    def drop_referent() -> None:
        referents.clear()  # Python ignores the KeyboardInterrupt of the callback
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        drop_referent()
    assert reference() is None
    assert capsys.readouterr().err == ""


def test_other_ignored_exceptions_are_printed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: printed.append(unraisable.exc_value))
    referent = Referent()
    reference = weakref.ref(referent, lambda _: 1 // 0)
    with redelivered_interrupts():
        del referent
    assert reference() is None
    assert [type(error) for error in printed] == [ZeroDivisionError]
