"""What a check is: a function of a model or a task that raises where the contract does not hold."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.errors import UnknownNameError, cause, did_you_mean

S = TypeVar("S")

Status = Literal["passed", "failed", "not applicable", "failed as expected", "passed unexpectedly"]

TOLERANCE = 1e-8
"""Relative and absolute, in float64: the rounding errors of an FFT stay below, what leaks does not."""


class CheckError(AssertionError):
    """The contract does not hold: what was found, and where."""


class NotApplicableError(Exception):
    """The check has nothing to look at: a verb that is not offered, a data file that is not here."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found of a model or a task."""

    subject: str
    check: str
    status: Status
    reason: str = ""
    """Why it failed, does not apply or may fail."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """False where it failed, and where it passes although it is expected to fail: that exemption is out of date."""
        return self.status not in ("failed", "passed unexpectedly")


def run_checks(
    subject: S,
    name: str,
    checks: Sequence[Callable[[S], None]],
    expected_failed_checks: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Every check, whatever the others found."""
    expected = expected_failed_checks or {}
    refuse_unknown(expected, checks)
    return [_run(subject, name, check, expected.get(check.__name__)) for check in checks]


def refuse_unknown(expected: Mapping[str, str], checks: Sequence[Callable[..., None]]) -> None:
    """UnknownNameError where a failure is expected of a check that there is not."""
    known = [check.__name__ for check in checks]
    for name in expected:
        if name not in known:
            raise UnknownNameError(
                f"expected_failed_checks: there is no check {name!r};{did_you_mean(name, known)} "
                f"Checks: {', '.join(known)}"
            )


def _run(subject: S, name: str, check: Callable[[S], None], expected: str | None) -> CheckResult:
    begun = time.perf_counter()
    status, reason = _judge(subject, check)
    if expected is not None and status == "failed":
        status, reason = "failed as expected", expected
    elif expected is not None and status == "passed":
        status, reason = "passed unexpectedly", f"it is expected to fail ({expected}); take that back"
    return CheckResult(name, check.__name__, status, reason, time.perf_counter() - begun)


def _judge(subject: S, check: Callable[[S], None]) -> tuple[Status, str]:
    try:
        check(subject)
    except NotApplicableError as missing:
        return "not applicable", str(missing)
    except CheckError as failure:
        return "failed", str(failure)
    # The plugin border: a stranger's model or task may raise anything, and the other checks go on.
    except Exception as error:  # noqa: BLE001
        return "failed", described(error)
    return "passed", ""


def described(error: BaseException) -> str:
    """An error, what it was raised in, and where, in one line."""
    return cause(error) + "".join(f" [{note}]" for note in getattr(error, "__notes__", ()))


def require(holds: bool, message: str) -> None:
    """CheckError with this message unless it holds."""
    if not holds:
        raise CheckError(message)


def require_close(actual: Tensor, expected: Tensor, what: str) -> None:
    """CheckError unless two tensors have one shape and, to `TOLERANCE`, the same values."""
    require(actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, not {tuple(expected.shape)}")
    if not torch.allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE):
        worst = float((actual - expected).detach().abs().max())
        raise CheckError(f"{what}: off by {worst:.2g}")


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Puts the global random states of torch, numpy and Python back."""
    before = random_states()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(before["numpy"])
            random.setstate(before["random"])


def random_states() -> dict[str, Any]:
    """The states of Python's and numpy's global generators, of types that only they know (hence Any)."""
    return {"random": random.getstate(), "numpy": np.random.get_state(legacy=False)}


def moved_generators(before: Mapping[str, Any]) -> list[str]:
    """The modules whose global generator has moved since."""
    now = random_states()
    moved = ["random"] if now["random"] != before["random"] else []
    one, other = now["numpy"]["state"], before["numpy"]["state"]
    unmoved = one["pos"] == other["pos"] and np.array_equal(one["key"], other["key"])
    return moved if unmoved else [*moved, "numpy.random"]
