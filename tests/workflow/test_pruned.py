"""A pruned study in Python: its frames, its report, Optuna's states, and its runs in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

import harness
from harness.halving import Rung, total_updates
from harness.plugin.loader import load_plugins
from harness.plugin.local import with_local
from harness.study.plan import make_plan
from harness.tracking import run_data
from harness.workflow.planned import notes
from tests.support.toys import ToyEma, ToyStack, ToySum

RUNGS = (Rung(2, 13), Rung(6, 4), Rung(18, 1))


class Waiting(ToySum):
    """A task that states a plateau."""

    name = "waiting"

    def plateau(self) -> harness.Plateau:
        return harness.Plateau(50, "a test")


def _study(changes: Mapping[str, Any] = {}, **search: object) -> harness.Study:
    tables = {
        "budget": {"trials": 3, "repetitions": 2, "tolerance": 0.1},
        "training": {"updates": 18, "batch_size": 8, "evaluations": 9},
        **changes,
    }
    return harness.Study("toys", [ToyEma, ToyStack], [{"name": Waiting, "parameters": 400}], **tables, search=search)


PRUNING = {"kind": "successive-halving", "minimum_updates": 2}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('pruned')}/mlflow.db"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, uri: str) -> Iterator[harness.Results]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("study"))
        patch.setenv("HARNESS_DISABLE_PLUGINS", "seqharness-models,seqharness-tasks,seqharness-modern")
        study = _study(pruning=PRUNING)
        yield harness.run(study, executor="serial", tracking_uri=uri, progress=False, log_models=False)


@pytest.fixture(scope="module")
def from_mlflow(results: harness.Results, uri: str) -> harness.Results:
    return harness.load_results("toys", tracking_uri=uri)


def test_frame_of_trials_has_outcome_and_rung(results: harness.Results) -> None:
    trials = results.trials
    for model in ("toy-ema", "toy-stack"):
        search = trials[(trials["model"] == model) & (trials["phase"] == "search")]
        assert search["rung"].value_counts().sort_index().tolist() == [9, 3, 1]
        assert search["outcome"].value_counts().to_dict() == {"pruned": 12, "complete": 1}
        assert [RUNGS[rung].updates for rung in search["rung"]] == search["updates"].tolist()
        finals = trials[(trials["model"] == model) & (trials["phase"] == "final")]
        (winner,) = set(finals["winner"])
        assert search.set_index("key").loc[winner, "outcome"] == "complete"
        assert finals["rung"].isna().all()


def test_frames_from_mlflow_are_those_of_the_ledger(results: harness.Results, from_mlflow: harness.Results) -> None:
    place = ["key", "outcome", "rung", "updates", "score"]
    own, stored = (frame.trials.sort_values("key")[place].reset_index(drop=True) for frame in (results, from_mlflow))
    assert own.equals(stored)
    assert results.best_of_k.equals(from_mlflow.best_of_k)
    assert results.comparison["best_validation"].equals(from_mlflow.comparison["best_validation"])


def test_best_of_k_counts_in_updates_up_to_the_total(results: harness.Results) -> None:
    for _, curve in results.best_of_k.groupby("model"):
        assert curve["updates"].tolist() == [2 * k for k in range(1, 10)] + [24, 30, 36, 54]
        assert curve["updates"].tolist()[-1] == total_updates(RUNGS)
        assert all(after <= before for before, after in pairwise(curve["expected"]))


def test_every_model_uses_the_same_updates(results: harness.Results) -> None:
    comparison = results.comparison
    assert comparison["search_updates_granted"].tolist() == comparison["search_updates_done"].tolist() == [54, 54]
    assert comparison["search_pruned"].tolist() == [12, 12]
    assert comparison["state"].tolist() == ["complete", "complete"]
    assert comparison["reason"].tolist() == ["", ""]


def test_report_says_that_budgets_count_in_updates(results: harness.Results) -> None:
    text = str(results.report())
    assert "Successive halving: 13 trials to 2 updates, 4 to 6, 1 to 18; 54 updates in all, as many as 3 full" in text
    assert "updates of the search (used/allocated)" in text
    assert "best validation score by updates of the search" in text
    assert "13/13 (12 pruned)" in text
    assert "of the 1 in the last rung" in text
    assert "Expected best of k" not in text
    (picture,) = [figure for name, figure in results.figures.items() if name.startswith("best-of-k")]
    assert picture.get_supxlabel() == "updates of the search"
    drawn = [np.asarray(line.get_xdata()) for line in picture.axes[0].lines]
    assert {max(updates) for updates in drawn if len(updates) > 2} == {54}


@pytest.mark.parametrize("of_store", [False, True])
def test_states_in_optuna(results: harness.Results, from_mlflow: harness.Results, of_store: bool) -> None:
    chosen = from_mlflow if of_store else results
    chosen.local = results.local
    study = harness.optuna_study(chosen, "waiting/toy-ema")
    assert [trial.state for trial in study.trials].count(TrialState.PRUNED) == 12
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 1
    pruned = study.get_trials(states=[TrialState.PRUNED])
    assert all(trial.value is not None or trial.intermediate_values for trial in pruned)
    assert {trial.last_step for trial in pruned} == {2, 6}
    assert isinstance(study, optuna.Study)


def test_runs_in_mlflow(results: harness.Results, uri: str) -> None:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("toys")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`{run_data.KIND}` = 'trial'")
    states = {(run.data.tags["harness.outcome"], run.info.status) for run in runs}
    assert states == {("pruned", "KILLED"), ("complete", "FINISHED")}
    cells = client.search_runs([experiment.experiment_id], f"tags.`{run_data.KIND}` = 'cell'")
    assert {cell.data.metrics["outcomes/pruned"] for cell in cells} == {12}
    assert {cell.data.metrics["search_updates"] for cell in cells} == {54}
    assert {cell.info.status for cell in cells} == {"FINISHED"}


def test_plan_has_the_updates_and_the_plateau() -> None:
    plan = _study(pruning=PRUNING).plan()
    assert plan["trials"].tolist() == [13, 13]
    assert plan["search_updates"].tolist() == [54, 54]
    assert plan["plateau"].tolist() == [50, 50]
    full = _study().plan()
    assert full["trials"].tolist() == [3, 3]
    assert full["search_updates"].tolist() == [54, 54]
    assert full["seconds"].tolist() == pytest.approx(plan["seconds"].tolist())


def _notes(changes: Mapping[str, Any] = {}, **search: object) -> list[str]:  # tables of a study file, hence Any
    study = _study(changes, **search)
    return notes(make_plan(study.definition, with_local(load_plugins([]), study.local).registry))


def test_plan_says_by_how_much_the_plateau_exceeds_the_first_rung() -> None:
    rungs, warning = _notes(pruning=PRUNING)
    assert rungs == (
        "waiting: successive halving in every cell: 13 trials to 2 updates, 4 to 6, 1 to 18; 54 updates in all"
    )
    assert warning == (
        "waiting: pruning is unsafe: training is known to stay at the floor for 50 updates, 48 more than the first "
        'rung of 2 (a test); set search.pruning.minimum_updates above 50, or pruning = "none"'
    )


def test_plan_says_that_no_trial_can_be_pruned() -> None:
    (note,) = _notes(pruning={**PRUNING, "minimum_updates": 10})
    assert note == (
        "waiting: search.pruning prunes no trial: the first rung would be 18 / 3 updates, fewer than "
        "minimum_updates = 10"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"training": {"updates": 18, "evaluations": 1}},
            "there is no evaluation before the end, at 18 updates; raise",
        ),
        (
            {"budget": {"trials": 1, "tolerance": 0.1}},
            "budget.trials is too small for more than one trial in the first",
        ),
    ],
)
def test_plan_names_what_keeps_trials_from_being_pruned(changes: dict[str, Any], why: str) -> None:
    (note,) = _notes(changes, pruning=PRUNING)
    assert f"search.pruning prunes no trial: {why}" in note


def test_plan_says_that_a_sampler_of_complete_trials_learns_nothing_under_pruning() -> None:
    said = [note for note in _notes(sampler="gp", pruning=PRUNING) if "learns nothing" in note]
    assert said == [
        "waiting: sampler 'gp' learns nothing: it reads complete trials alone, and every configuration is drawn before "
        "a trial is complete; use tpe"
    ]
    assert not [note for note in _notes(sampler="tpe", pruning=PRUNING) if "learns nothing" in note]


def test_plan_without_pruning_says_nothing_of_it() -> None:
    assert _notes() == []
