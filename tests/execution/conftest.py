"""A study of the toys, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.execution import serial
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.plugin.loader import Loaded
from harness.study.plan import make_plan
from harness.study.schema import Study


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one update per slice, so that every update polls the sources."""
    monkeypatch.setattr(serial, "SLICE_SECONDS", 0)


@pytest.fixture
def launch(tmp_path: Path, toy_loaded: Loaded) -> Callable[..., StudyOutcome]:
    """Runs a study in `tmp_path / runs` in this process.

    around: wraps the source that the executor sees.  runs: another folder.  fresh, listeners: see Runner.
    """

    def start(
        study: Study, around: Callable[[TrialSource], TrialSource] = lambda source: source, **options: Any
    ) -> StudyOutcome:
        runner = Runner(
            make_plan(study, toy_loaded.registry),
            toy_loaded,
            tmp_path / options.pop("runs", "runs"),
            fresh=options.pop("fresh", False),
        )
        worker = Worker(runner.folder, toy_loaded.registry)
        return runner.run(lambda source: run_serial(around(source), worker), **options)

    return start
