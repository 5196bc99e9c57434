"""Studies on Ray, compared with the same studies in this process."""

from __future__ import annotations

import importlib
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from harness.errors import ClusterError, LedgerError
from harness.execution.ray_backend.tuner import RayExecutor
from harness.execution.retry_policy import SILENT_FAILURES
from harness.execution.runner import Runner, StudyOutcome
from harness.execution.serial import run_serial
from harness.execution.trial import Worker
from harness.execution.trial_source import TrialSource
from harness.plugin.loader import DISABLE, GROUP, Loaded, load_plugins
from harness.records import Point, Trial, TrialResult
from harness.study.file import parse_study
from harness.study.plan import make_plan
from harness.study.schema import Study
from tests.support.ledgers import entries_by_key, reproducible, reproducible_by_key
from tests.support.sources import Passing

pytestmark = pytest.mark.xdist_group("ray")

MORE_TOYS = '''

import math


class ToyOverflow(ToySum):
    """A second metric that overflows, as the perplexity of a bad model does."""

    name: ClassVar[str] = "toy-overflow"

    def metrics(self) -> tuple[Metric, ...]:
        return (*super().metrics(), Metric("ppl", "", "lower", lambda sums: math.exp(1e9)))


@hookimpl
def harness_register_tasks(register: Callable[[type[Task]], None]) -> None:
    register(ToyOverflow)
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The toys as an installed distribution, in this process and in workers; every other plugin is disabled."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).parents[1] / "support" / "toys.py", site / "toys_of_test_cluster.py")
    with (site / "toys_of_test_cluster.py").open("a") as file:
        file.write(MORE_TOYS)
    info = site / "toys_of_test_cluster-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys-of-test-cluster\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ntoys = toys_of_test_cluster\n")
    others = {point.dist.name for point in entry_points(group=GROUP) if point.dist}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
        patch.setenv(DISABLE, ",".join(sorted(others)))
        importlib.invalidate_caches()
        loaded = load_plugins()
        assert [plugin.name for plugin in loaded.registry.plugins] == ["toys-of-test-cluster"]
        yield loaded


def make_study(**overrides: Any) -> Study:  # Any: the tables of a study file
    data: dict[str, Any] = {
        "name": "toys",
        "models": ["toy-ema", "toy-stack"],
        "tasks": [{"name": "toy-overflow", "parameters": 161}],
        "budget": {"trials": 2, "repetitions": 2, "tolerance": 0.1},
        "training": {"updates": 12, "batch_size": 8, "evaluations": 3},
        **overrides,
    }
    return parse_study(data, source="toys.toml")


def run_on_ray(
    study: Study, loaded: Loaded, runs: Path, around: Callable[[TrialSource], TrialSource] = Passing, **options: Any
) -> StudyOutcome:
    runner = Runner(make_plan(study, loaded.registry), loaded, runs)
    cluster = RayExecutor(messages=runner.messages, **options)
    try:
        return runner.run(lambda source: cluster.run(around(source), runner.folder, loaded.registry.plugins))
    finally:
        assert not ray_processes(), "Ray was left running"


def ray_processes() -> list[str]:
    """Return the names of Ray's running processes below this one."""
    names = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                names.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return [name for name in names if name in ("raylet", "gcs_server") or name.startswith("ray::")]


def run_here(study: Study, loaded: Loaded, runs: Path) -> StudyOutcome:
    runner = Runner(make_plan(study, loaded.registry), loaded, runs)
    return runner.run(lambda source: run_serial(source, Worker(runner.folder, loaded.registry)))


KILLED = {"name": "toy-ema", "as": "killed", "space": {"fault": "killed"}}


@dataclass(frozen=True)
class TwoRuns:
    """One study on Ray, with a third model that ends its workers, and in this process, without that model."""

    ray: StudyOutcome
    here: StudyOutcome


@pytest.fixture(scope="module")
def both(installed: Loaded, tmp_path_factory: pytest.TempPathFactory) -> TwoRuns:
    folder = tmp_path_factory.mktemp("both")
    here = run_here(make_study(), installed, folder / "here")
    models = [KILLED, "toy-ema", "toy-stack"]
    return TwoRuns(run_on_ray(make_study(models=models), installed, folder / "ray", slice_seconds=0.05), here)


@pytest.mark.slow
def test_ray_gives_the_same_trials_and_scores_as_one_process(both: TwoRuns) -> None:
    expected = reproducible_by_key(both.here.folder)
    on_ray = reproducible_by_key(both.ray.folder)
    assert {key: facts for key, facts in on_ray.items() if "/killed/" not in key} == expected
    assert len(expected) == 8


@pytest.mark.slow
def test_pruned_study_on_ray_gives_the_same_trials_and_scores_as_in_this_process(
    installed: Loaded, tmp_path: Path
) -> None:
    pruning = {"kind": "successive-halving", "reduction": 3, "minimum_updates": 2}
    study = make_study(
        models=["toy-ema"],
        budget={"trials": 2, "repetitions": 1},
        search={"pruning": pruning},
        training={"updates": 18, "batch_size": 8, "evaluations": 9},
    )
    here, on_ray = (run(study, installed, tmp_path / run.__name__).folder for run in (run_here, run_on_ray))
    assert reproducible_by_key(on_ray) == reproducible_by_key(here)
    outcomes = {entry.result.outcome for entry in entries_by_key(on_ray).values() if entry.result is not None}
    assert outcomes == {"pruned", "complete"}


@pytest.mark.slow
def test_stack_on_ray_gives_the_same_trials_and_scores_as_in_this_process(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(resources={"stack": 2}, budget={"trials": 2, "repetitions": 3, "tolerance": 0.1})
    here, on_ray = (run(study, installed, tmp_path / run.__name__).folder for run in (run_here, run_on_ray))
    assert reproducible_by_key(on_ray) == reproducible_by_key(here)
    entries = entries_by_key(on_ray)
    first, second = (entries[f"toy-overflow/toy-ema/final/{number}"].result for number in (0, 1))
    assert first is not None
    assert second is not None
    assert first.worker == second.worker
    assert max(first.started, second.started) < min(first.ended, second.ended), "one after the other"


@pytest.mark.slow
def test_trials_of_a_stack_whose_worker_is_killed_are_retried_one_by_one(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(
        models=["toy-ema"],
        resources={"stack": 3},
        budget={"trials": 1, "repetitions": 3},
        training={"updates": 1200, "batch_size": 8, "evaluations": 100},
        search={"space": {"dropout": 0.0}},
    )
    expected = entries_by_key(run_here(study, installed, tmp_path / "here").folder)

    class Killing(Passing):
        killed = False

        def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
            super().report(trial, points)
            if points and trial.phase == "final" and not self.killed:
                self.killed = True
                for process in psutil.Process().children(recursive=True):
                    if process.name().startswith("ray::RayWorker"):
                        process.kill()

    outcome = run_on_ray(study, installed, tmp_path / "ray", Killing, slice_seconds=0.05)
    assert outcome.complete
    assert len([message for message in outcome.messages if "retrying the trial" in message]) == 3
    entries = entries_by_key(outcome.folder)
    for number in range(3):
        key = f"toy-overflow/toy-ema/final/{number}"
        assert entries[key].attempt == 2
        result, undisturbed = entries[key].result, expected[key].result
        assert result is not None
        assert undisturbed is not None
        assert result.score == pytest.approx(undisturbed.score, rel=1e-3)


@pytest.mark.slow
def test_non_finite_numbers_arrive(both: TwoRuns) -> None:
    entries = entries_by_key(both.ray.folder)
    results = [entry.result for key, entry in entries.items() if "/final/" in key and entry.result]
    assert results
    for result in results:
        assert [result.metrics[part]["ppl"] for part in ("validation", "test", "test-last3")] == [math.inf] * 3


@pytest.mark.slow
def test_workers_are_reused(both: TwoRuns) -> None:
    entries = [entry for entry in entries_by_key(both.ray.folder).values() if entry.trial.cell.model != "killed"]
    workers = {entry.result.worker for entry in entries if entry.result}
    assert len(workers) < len(entries)
    assert all(workers)
    assert {entry.attempt for entry in entries} == {1}


@pytest.mark.slow
def test_model_that_ends_its_worker_without_a_trace_is_retried_and_the_others_are_unaffected(both: TwoRuns) -> None:
    assert both.ray.complete
    (failed,) = both.ray.failed
    assert failed.startswith("toy-overflow/killed: no search trial completed: worker failed 4 times: ")
    killed = [entry for entry in entries_by_key(both.ray.folder).values() if entry.trial.cell.model == "killed"]
    outcomes = [(entry.attempt, entry.result.outcome) for entry in killed if entry.result]
    assert outcomes == [(SILENT_FAILURES, "failed")] * 2
    retries = [message for message in both.ray.messages if "retrying the trial" in message]
    assert len(retries) == 2 * (SILENT_FAILURES - 1)


@pytest.mark.slow
def test_exception_of_the_source_at_a_result_ends_the_run_and_is_raised(installed: Loaded, tmp_path: Path) -> None:
    ended: list[str] = []

    class Full(Passing):
        def tell(self, trial: Trial, result: TrialResult) -> None:
            ended.append(result.outcome)
            if len(ended) == 2:
                raise LedgerError("the disk is full")
            super().tell(trial, result)

    with pytest.raises(LedgerError, match="the disk is full"):
        run_on_ray(make_study(), installed, tmp_path, Full)
    assert ended[:2] == ["complete"] * 2
    entries = entries_by_key(tmp_path / "toys").values()
    assert len(entries) <= 4, "trials were started after the error"
    assert all(entry.result is None or entry.result.outcome == "complete" for entry in entries)


@pytest.mark.slow
def test_resources_that_no_node_has_are_an_error_before_the_first_trial(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(resources={"cpu": 100_000})
    message = r"a trial needs 100000 cpu .* more than any node has .*lower \[resources\]"
    with pytest.raises(ClusterError, match=message) as caught:
        run_on_ray(study, installed, tmp_path)
    assert "\n" not in str(caught.value)
    assert entries_by_key(tmp_path / "toys") == {}


@pytest.mark.slow
def test_interrupt_writes_checkpoints_from_which_another_executor_resumes(installed: Loaded, tmp_path: Path) -> None:
    study = make_study(
        models=["toy-ema"],
        budget={"trials": 2, "repetitions": 1},
        training={"updates": 1200, "batch_size": 8, "evaluations": 100},
    )
    expected = reproducible_by_key(run_here(study, installed, tmp_path / "a").folder)

    class Interrupted(Passing):
        def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
            super().report(trial, points)
            if points and points[0].update < 100:
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_on_ray(study, installed, tmp_path / "b", Interrupted, slice_seconds=0.05)
    assert signal.getsignal(signal.SIGINT) is handler
    folder = tmp_path / "b" / "toys"
    assert list(folder.rglob("attempt-0001.pt")), "no worker wrote a checkpoint"
    outcome = run_here(study, installed, tmp_path / "b")
    assert outcome.complete
    assert {key: reproducible(entry) for key, entry in entries_by_key(folder).items()} == expected


UNUSED = cast(TrialSource, None)
"""A source that must not be used."""


def test_address_without_ray_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"--address 127\.0\.0\.1:1: Ray does not answer .*ray start") as caught:
        RayExecutor("127.0.0.1:1").run(Passing(UNUSED), tmp_path, ())
    assert "\n" not in str(caught.value)
