"""Running checks, and their results.

A check is a function of a model or a task that raises if the contract is broken.
"""

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
"""Relative and absolute tolerance in float64; rounding errors of an FFT are smaller, real dependences are larger."""


class CheckError(AssertionError):
    """The contract is broken; the message says how and where."""


class NotApplicableError(Exception):
    """The check does not apply: a method is not offered, or a data file is not found."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of a model or a task."""

    subject: str
    check: str
    status: Status
    reason: str = ""
    """Why the check failed, does not apply, or is expected to fail."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the check did not fail; an unexpected pass is not good either, since its exemption is out of date."""
        return self.status not in ("failed", "passed unexpectedly")


def run_checks(
    subject: S,
    name: str,
    checks: Sequence[Callable[[S], None]],
    expected_failed_checks: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Run every check and return the results; a failure does not stop the others.

    name: name of the subject in the results.  expected_failed_checks: mapping from the name of a check to the reason
    why it may fail.

    Raises UnknownNameError if expected_failed_checks names an unknown check.
    """
    expected = expected_failed_checks or {}
    refuse_unknown(expected, checks)
    return [_run(subject, name, check, expected.get(check.__name__)) for check in checks]


def refuse_unknown(expected: Mapping[str, str], checks: Sequence[Callable[..., None]]) -> None:
    """Raise UnknownNameError if a failure is expected of an unknown check."""
    known = [check.__name__ for check in checks]
    for name in expected:
        if name not in known:
            raise UnknownNameError(
                f"expected_failed_checks: unknown check {name!r};{did_you_mean(name, known)} Checks: {', '.join(known)}"
            )


def _run(subject: S, name: str, check: Callable[[S], None], expected: str | None) -> CheckResult:
    start = time.perf_counter()
    status, reason = _status_of(subject, check)
    if expected is not None and status == "failed":
        status, reason = "failed as expected", expected
    elif expected is not None and status == "passed":
        status, reason = "passed unexpectedly", f"it is expected to fail ({expected}); remove that exemption"
    return CheckResult(name, check.__name__, status, reason, time.perf_counter() - start)


def _status_of(subject: S, check: Callable[[S], None]) -> tuple[Status, str]:
    try:
        check(subject)
    except NotApplicableError as inapplicable:
        return "not applicable", str(inapplicable)
    except CheckError as failure:
        return "failed", str(failure)
    # Third-party code may raise anything; the other checks still run.
    except Exception as error:  # noqa: BLE001
        return "failed", described(error)
    return "passed", ""


def described(error: BaseException) -> str:
    """Return an exception, where it was raised, and its notes, in one line."""
    return cause(error) + "".join(f" [{note}]" for note in getattr(error, "__notes__", ()))


def require(condition: bool, message: str) -> None:
    """Raise CheckError with this message unless the condition is true."""
    if not condition:
        raise CheckError(message)


def require_close(actual: Tensor, expected: Tensor, message: str) -> None:
    """Raise CheckError unless two tensors have the same shape and, within `TOLERANCE`, the same values."""
    require(actual.shape == expected.shape, f"{message}: shape {tuple(actual.shape)}, not {tuple(expected.shape)}")
    if not torch.allclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE):
        worst = float((actual - expected).detach().abs().max())
        raise CheckError(f"{message}: off by {worst:.2g}")


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the global random states of PyTorch, NumPy and Python on exit."""
    before = random_states()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(before["numpy"])
            random.setstate(before["random"])


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of Python and NumPy; their types are private to them, hence Any."""
    return {"random": random.getstate(), "numpy": np.random.get_state(legacy=False)}


def moved_generators(before: Mapping[str, Any]) -> list[str]:
    """Return the modules whose global generator has been used since `before`, a result of `random_states`."""
    now = random_states()
    moved = ["random"] if now["random"] != before["random"] else []
    state, earlier = now["numpy"]["state"], before["numpy"]["state"]
    unmoved = state["pos"] == earlier["pos"] and np.array_equal(state["key"], earlier["key"])
    return moved if unmoved else [*moved, "numpy.random"]
