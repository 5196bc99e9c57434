"""A cell's search as a study of Optuna."""

from __future__ import annotations

import json
import math
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from harness.analysis.cell_result import CellResult
from harness.errors import UnknownNameError, did_you_mean
from harness.ledger.journal import TrialEntry
from harness.plugin.loader import load_plugins
from harness.plugin.local import with_local
from harness.plugin.registry import plugin_border
from harness.records import TrialResult
from harness.study.space import common_space, contains
from harness.workflow.results import Results


def optuna_study(results: Results, cell: str) -> optuna.Study:
    """Return the search of a cell as a real `optuna.Study`, in memory.

    For `optuna.visualization`, `optuna.importance` and optuna-dashboard.  cell: "task/model", by their labels.  A trial
    that successive halving stopped is pruned; another one without a score has failed; a diverged trial that has a score
    is complete.  Intermediate values are the validation scores at each evaluation, by update, if the results were read
    from a folder; otherwise a pruned trial has its score at the rung.
    Raises UnknownNameError if there is no such cell or it was not searched.
    """
    searched = {str(result.facts.cell): result for result in results.stored.results if result.facts.trials}
    if cell not in searched:
        known = ", ".join(searched) or "none"
        raise UnknownNameError(f"no searched cell {cell!r};{did_you_mean(cell, searched)} Cells: {known}")
    result = searched[cell]
    lower = result.facts.metric.better == "lower"
    direction = StudyDirection.MINIMIZE if lower else StudyDirection.MAXIMIZE
    study = optuna.create_study(direction=direction, study_name=f"{results.name}/{cell}")
    study.set_user_attr("metric", f"validation {result.facts.metric.name}")
    space = _space(results, result)
    study.add_trials([_trial(entry, space, result.facts.metric.name) for entry in result.search])
    return study


def _space(results: Results, result: CellResult) -> dict[str, BaseDistribution]:
    """Return a distribution for each dimension: that of the model and the task if it holds the values of all trials.

    Otherwise, as where a study fixes a dimension, it is a choice among the values that occur.
    """
    trials = [entry.trial for entry in result.search]
    if not trials:
        return {}
    registry = with_local(load_plugins(), results.local).registry
    with plugin_border(str(result.facts.cell), *trials[0].plugins):
        task = registry.make_task(trials[0].task.name, trials[0].task.options)
        model = registry.model(trials[0].model).value
        known = {**common_space(task), **model.space(task.signature())}
    space: dict[str, BaseDistribution] = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        values = [trial.params[name] for trial in trials if name in trial.params]
        holds = name in known and all(contains(known[name], value) for value in values)
        space[name] = known[name] if holds else CategoricalDistribution(list(dict.fromkeys(values)))
    return space


def _trial(entry: TrialEntry, space: dict[str, BaseDistribution], metric: str) -> FrozenTrial:
    trial, result = entry.trial, entry.result
    state = _state(result)
    values = {point.update: point.metrics[metric] for point in entry.points if math.isfinite(point.metrics[metric])}
    if not values and result is not None and result.score is not None and state == TrialState.PRUNED:
        values = {result.updates: result.score}
    attributes: dict[str, Any] = {
        "key": trial.key,
        "parameters": trial.parameters,
        "widths": json.dumps(trial.widths),
        "outcome": None if result is None else result.outcome,
    }
    return create_trial(
        state=state,
        value=result.score if result is not None and state == TrialState.COMPLETE else None,
        params=trial.params,
        distributions={name: space[name] for name in trial.params},
        user_attrs=attributes,
        intermediate_values=values,
    )


def _state(result: TrialResult | None) -> TrialState:
    if result is None:
        return TrialState.RUNNING
    if result.outcome == "pruned":
        return TrialState.PRUNED
    return TrialState.COMPLETE if result.score is not None else TrialState.FAIL
