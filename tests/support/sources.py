"""Trial sources that wrap the source of a study."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from harness.execution.retry_policy import FailureKind
from harness.execution.trial_source import TrialSource
from harness.records import Point, Resources, Trial, TrialResult


class Passing:
    """A trial source that passes every call on to another source."""

    def __init__(self, source: TrialSource) -> None:
        self.source = source

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        return self.source.ask(fits)

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        return self.source.companions(trial)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        self.source.report(trial, points)

    def note(self, trial: Trial, text: str) -> None:
        self.source.note(trial, text)

    def tell(self, trial: Trial, result: TrialResult) -> None:
        self.source.tell(trial, result)

    def worker_failed(self, trial: Trial, reason: str, *, kind: FailureKind) -> None:
        self.source.worker_failed(trial, reason, kind=kind)

    def finished(self) -> bool:
        return self.source.finished()

    def resource_classes(self) -> tuple[Resources, ...]:
        return self.source.resource_classes()


class Interrupting(Passing):
    """Raises KeyboardInterrupt at call number `after`, from 0, before or after the call is passed on."""

    def __init__(self, source: TrialSource, after: int, *, before: bool) -> None:
        super().__init__(source)
        self.left = after
        self.before = before

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        now, self.left = self.left == 0, self.left - 1
        if now and self.before:
            raise KeyboardInterrupt
        yield
        if now:
            raise KeyboardInterrupt

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        with self.counted():
            return self.source.ask(fits)

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        with self.counted():
            self.source.report(trial, points)

    def tell(self, trial: Trial, result: TrialResult) -> None:
        with self.counted():
            self.source.tell(trial, result)
