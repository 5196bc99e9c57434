"""The hooks that a plugin may implement.  Each docstring ends with where and when the hook is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from harness.api.model import Model
    from harness.api.sampler import SamplerFactory
    from harness.api.task import Task
    from harness.records import Point, Trial, TrialResult
    from harness.study.schema import Study

PROJECT = "harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def harness_register_models(register: Callable[[Model], None]) -> None:
    """Register the models of the plugin: call `register(model)` with an instance of each.

    Called once in every process, in the driver and in every worker, when plugins are loaded.
    """


@hookspec
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    """Register the tasks of the plugin: call `register(TaskClass)` with each class, whose fields are its options.

    Called once in every process, in the driver and in every worker, when plugins are loaded.
    """


@hookspec
def harness_register_samplers(register: Callable[[str, SamplerFactory], None]) -> None:
    """Register the samplers of the plugin: call `register(name, factory)` with the name for `search.sampler` and the
    function that makes one of Optuna's samplers for each draw: see `SamplerFactory`.

    Called once in every process, in the driver and in every worker, when plugins are loaded.
    """


@hookspec
def harness_study_started(study: Study, study_id: str, folder: str) -> None:
    """Handle the start of a study, new or resumed, in `folder`.

    Called in the driver, once per run of the command, before the first trial starts.
    """


@hookspec
def harness_trial_started(trial: Trial, attempt: int) -> None:
    """Handle the start of a trial on a worker; `attempt` counts from 1.

    Called in the driver, after the ledger has recorded the trial.
    """


@hookspec
def harness_trial_reported(trial: Trial, point: Point) -> None:
    """Handle one evaluation of a trial on validation.

    Called in the driver, after the ledger has recorded the point.
    """


@hookspec
def harness_trial_paused(trial: Trial, result: TrialResult) -> None:
    """Handle the pause of a trial at a rung of successive halving; `result` is what it has measured so far.

    The trial starts again if it is promoted, or finishes with this result.

    Called in the driver, after the ledger has recorded the result.
    """


@hookspec
def harness_trial_finished(trial: Trial, result: TrialResult) -> None:
    """Handle the result of a trial, whatever its outcome.

    Called in the driver, after the ledger has recorded the result.
    """


@hookspec
def harness_study_finished(study: Study, study_id: str, complete: bool) -> None:
    """Handle the end of a study; `complete` is true if every cell has all the trials that it was allocated.

    No trial is running any more.

    Called in the driver, once per run of the command, also if the run was interrupted.
    """
