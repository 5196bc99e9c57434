"""The checks as pytest tests; pytest is imported only when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.api.model import Model
from harness.api.task import Task
from harness.errors import UnknownNameError, did_you_mean
from harness.testing.cases import ModelSubject, subject_of
from harness.testing.outcomes import NotApplicableError, refuse_unknown
from harness.testing.samplers import SamplerSubject
from harness.testing.suites import MODEL_CHECKS, SAMPLER_CHECKS, TASK_CHECKS
from harness.testing.tasks import TaskSubject, task_subject_of

if TYPE_CHECKING:
    import pytest

S = TypeVar("S")
Subject = Model | ModelSubject | Task | TaskSubject | SamplerSubject


@dataclass(frozen=True)
class BoundCheck(Generic[S]):
    """A check with its model or task, called without arguments; it skips its test if the check does not apply."""

    check: Callable[[S], None]
    subject: S

    def __call__(self) -> None:
        import pytest

        try:
            self.check(self.subject)
        except NotApplicableError as inapplicable:
            pytest.skip(str(inapplicable))


def parametrize_checks(
    *subjects: Subject, expected_failed_checks: Mapping[str, Mapping[str, str]] | None = None
) -> pytest.MarkDecorator:
    """Return a pytest mark that runs a test once for each model, task or sampler and each of its checks:

        @parametrize_checks(MyModel(), MyTask(length=20))
        def test_contract(check):
            check()

    The test takes the argument `check`.

    expected_failed_checks: mapping from the name of a model or task to a mapping from the name of a check to the
    reason why it may fail.  Such a test must fail; if it passes, the exemption is out of date and the test fails.

    Raises UnknownNameError if expected_failed_checks has an unknown name.
    """
    import pytest

    expected = expected_failed_checks or {}
    parameters = []
    named = [_named(subject) for subject in subjects]
    known = [name for name, _, _ in named]
    for name in expected.keys() - set(known):
        raise UnknownNameError(
            f"expected_failed_checks: {name!r} is not among what is checked;{did_you_mean(name, known)} "
            f"Checked: {', '.join(known)}"
        )
    for name, subject, checks in named:
        reasons = expected.get(name, {})
        refuse_unknown(reasons, checks)
        for check in checks:
            reason = reasons.get(check.__name__)
            marks = () if reason is None else (pytest.mark.xfail(reason=reason, strict=True),)
            label = f"{name}-{check.__name__}"
            parameters.append(pytest.param(BoundCheck(check, subject), id=label, marks=marks))
    return pytest.mark.parametrize("check", parameters)


def _named(subject: Subject) -> tuple[str, Subject, tuple[Callable[..., None], ...]]:
    if isinstance(subject, Model | ModelSubject):
        return subject_of(subject).name, subject_of(subject), MODEL_CHECKS
    if isinstance(subject, SamplerSubject):
        return subject.name, subject, SAMPLER_CHECKS
    task_subject = task_subject_of(subject)
    return task_subject.name, task_subject, TASK_CHECKS
