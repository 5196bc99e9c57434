"""The storage of one ask: Optuna's samplers read the earlier trials of a cell from it, and it takes one new trial.

Optuna's storage in memory copies each earlier trial, and an ask would need a new one; this storage only refers to them.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState


class AskStorage(BaseStorage):
    """Holds one study.  The id of a trial is its number.  Earlier trials are never changed: a write replaces a copy."""

    def __init__(self, told: Sequence[FrozenTrial]) -> None:
        """told: the earlier trials; their numbers and ids are their positions, as `numbered` sets them."""
        self._trials = list(told)
        self._name = ""
        self._directions: list[StudyDirection] = []
        self._user_attrs: dict[str, Any] = {}
        self._system_attrs: dict[str, Any] = {}

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._directions, self._name = list(directions), study_name or "ask"
        return 0

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError("the study of an ask cannot be deleted")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._user_attrs[key] = value

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._system_attrs[key] = value

    def get_study_id_from_name(self, study_name: str) -> int:
        if study_name != self._name:
            raise KeyError(study_name)
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._system_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        return [FrozenStudy(self._name, None, self._user_attrs, self._system_attrs, 0, directions=self._directions)]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number = len(self._trials)
        self._trials.append(_new_trial() if template_trial is None else copy.deepcopy(template_trial))
        self._trials[number] = numbered(self._trials[number], number)
        return number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        value = distribution.to_external_repr(param_value_internal)
        trial = self._writable(trial_id)
        trial.params = {**trial.params, param_name: value}
        trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state is TrialState.RUNNING and self._trials[trial_id].state is not TrialState.WAITING:
            return False
        trial = self._writable(trial_id)
        trial.state = state
        trial.values = trial.values if values is None else list(values)
        trial.datetime_complete = datetime.now() if state.is_finished() else None
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        trial = self._writable(trial_id)
        trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._writable(trial_id)
        trial.user_attrs = {**trial.user_attrs, key: value}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._writable(trial_id)
        trial.system_attrs = {**trial.system_attrs, key: value}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._trials[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._trials if states is None else [trial for trial in self._trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else list(trials)

    def _writable(self, trial_id: int) -> FrozenTrial:
        """Return a copy of a trial, which takes its place.  Raises UpdateFinishedTrialError if the trial has ended."""
        self.check_trial_is_updatable(trial_id, self._trials[trial_id].state)
        self._trials[trial_id] = copy.copy(self._trials[trial_id])
        return self._trials[trial_id]


def numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    """Return the trial with this number, which is also its id; the same object if it has it already."""
    if trial.number == number == trial._trial_id:
        return trial
    copied = copy.copy(trial)
    copied.number = copied._trial_id = number
    return copied


def _new_trial() -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
