"""The hooks that a plugin may implement. Each docstring ends with where and when the hook is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from harness.api.model import Model
    from harness.api.task import Task
    from harness.records import Point, Trial, TrialResult
    from harness.study.schema import Study

PROJECT = "harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def harness_register_models(register: Callable[[Model], None]) -> None:
    """Call `register(model)` with an instance for each model of the plugin.

    Called once in every process, in the driver and in every worker, when plugins are loaded.
    """


@hookspec
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Call `register(TaskClass)` with the class for each task of the plugin; its fields are its options.

    Called once in every process, in the driver and in every worker, when plugins are loaded.
    """


@hookspec
def harness_study_started(study: Study, study_id: str, folder: str) -> None:
    """A study starts or resumes in `folder`.

    Called in the driver, once per command, before the first trial starts.
    """


@hookspec
def harness_trial_started(trial: Trial, attempt: int) -> None:
    """A worker starts a trial for the `attempt`-th time, counted from 1.

    Called in the driver, after the ledger has recorded the trial.
    """


@hookspec
def harness_trial_reported(trial: Trial, point: Point) -> None:
    """Handle one evaluation of a trial on validation.

    Called in the driver, after the ledger has recorded the point.
    """


@hookspec
def harness_trial_finished(trial: Trial, result: TrialResult) -> None:
    """Handle the result of a trial, whatever its outcome.

    Called in the driver, after the ledger has recorded the result.
    """


@hookspec
def harness_study_finished(study: Study, study_id: str, complete: bool) -> None:
    """No trial is running any more; `complete` says whether every cell has all of its trials.

    Called in the driver, once per command, also after an interrupt.
    """
