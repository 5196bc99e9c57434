"""The checks as tests of pytest, which is imported only where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.api.model import Model
from harness.api.task import Task
from harness.errors import UnknownNameError, did_you_mean
from harness.testing.cases import ModelSubject, subject_of
from harness.testing.outcomes import NotApplicableError, refuse_unknown
from harness.testing.suites import MODEL_CHECKS, TASK_CHECKS
from harness.testing.tasks import TaskSubject, task_subject_of

if TYPE_CHECKING:
    import pytest

S = TypeVar("S")
Subject = Model | ModelSubject | Task | TaskSubject


@dataclass(frozen=True)
class BoundCheck(Generic[S]):
    """A check and what it looks at, called without arguments; skips its test where it does not apply."""

    check: Callable[[S], None]
    subject: S

    def __call__(self) -> None:
        import pytest

        try:
            self.check(self.subject)
        except NotApplicableError as missing:
            pytest.skip(str(missing))


def parametrize_checks(
    *subjects: Subject, expected_failed_checks: Mapping[str, Mapping[str, str]] | None = None
) -> pytest.MarkDecorator:
    """A mark that gives a test the argument `check`, once for each model or task and each check of it:

        @parametrize_checks(MyModel(), MyTask(length=20))
        def test_contract(check):
            check()

    expected_failed_checks: name of a model or task → name of a check → why it may fail.  Such a test must fail; one
    that passes has an exemption which is out of date.
    """
    import pytest

    expected = expected_failed_checks or {}
    parameters = []
    named = [_named(subject) for subject in subjects]
    for name in expected.keys() - {name for name, _, _ in named}:
        known = [known for known, _, _ in named]
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
    kept = task_subject_of(subject)
    return kept.name, kept, TASK_CHECKS
