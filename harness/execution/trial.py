"""What a worker runs: a trial's names, numbers and seeds in, curve points and a result out."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from harness.api.dataset import Dataset, Split, sample
from harness.api.task import Task
from harness.errors import (
    CheckpointError,
    ClusterError,
    DataError,
    HarnessError,
    PluginError,
    cause,
    is_of_plugin,
)
from harness.execution.environment import device_of, environment_versions
from harness.execution.isolation import Isolation, raised_exits
from harness.execution.memory import PeakMemory, is_out_of_memory, state_bytes
from harness.execution.signals import marked_interrupts
from harness.execution.trial_code import raiser, task_or_model
from harness.execution.trial_data import TrialData
from harness.execution.trial_source import Progress
from harness.plugin.loader import load_plugins
from harness.plugin.registry import Registry, names_of
from harness.records import Outcome, Plugin, Trial, TrialResult
from harness.seeds import evaluation_seed
from harness.training import checkpoint
from harness.training.evaluation import evaluate, evaluate_weights
from harness.training.inspection import inspect_backbone
from harness.training.network import Network, receptive_field
from harness.training.random_state import seed_everything
from harness.training.run import TrainingData, TrainingRun
from harness.training.standard_errors import Scores, evaluate_with_errors

WEIGHTS = "weights.pt"


class WorkerUnusableError(Exception):
    """No other trial may run in this process; the trial is started in another one."""


class Worker:
    """Runs trials one after another in its process, with plugins loaded once and data kept between trials."""

    def __init__(self, folder: Path, registry: Registry | None = None) -> None:
        """`folder` is the study's; it must be reachable under this path wherever workers run."""
        self.folder = folder
        self.registry = registry or load_plugins().registry
        self._data = TrialData()
        self.isolation = Isolation()

    def check_plugins(self, expected: tuple[Plugin, ...]) -> None:
        """PluginError naming the differences where this process would not train what the driver planned."""
        mine = {plugin.name: plugin.version for plugin in self.registry.plugins}
        theirs = {plugin.name: plugin.version for plugin in expected}
        differences = [
            f"{name}: driver {theirs.get(name, 'absent')}, worker {mine.get(name, 'absent')}"
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]
        if differences:
            raise PluginError(
                f"the worker on {socket.gethostname()} has other plugins than the driver ({'; '.join(differences)}); "
                "install the same versions everywhere"
            )

    @property
    def lost(self) -> str:
        """What a trial has changed in this process and cannot be restored; "" if nothing."""
        return self.isolation.lost

    def start(self, trial: Trial, attempt: int) -> ActiveTrial:
        """Raises WorkerUnusableError if an earlier trial has changed this process for good."""
        if self.lost:
            raise WorkerUnusableError(self.lost)
        return ActiveTrial(self, trial, attempt)

    @contextlib.contextmanager
    def isolated(self, trial: Trial) -> Iterator[list[str]]:
        """Keep the settings of the process while a trial trains.  The list then holds notes on what it changed."""
        if trial.resources.gpu == 0:
            torch.set_num_threads(1)  # trials share the cores; barriers between threads cost more than they gain
        notes: list[str] = []
        code = task_or_model(self.registry, trial)
        with marked_interrupts(), raised_exits(), self.isolation.around(code, "training", notes):
            yield notes

    def dataset(self, task: Task, split: Split, trial: Trial) -> Dataset:
        """Return a split, from memory where an earlier trial had the same."""
        return self._data.split(task, split, trial)


class ActiveTrial:
    """One trial in training.  Whatever a plugin raises becomes the trial's result, never an exception."""

    def __init__(self, worker: Worker, trial: Trial, attempt: int) -> None:
        self.trial = trial
        self._notes: list[str] = []
        self._worker = worker
        self._attempt = attempt
        self._started = time.time()
        self._run: TrainingRun | None = None
        self._task: Task | None = None
        self._reported = 0
        self._saved_at = 0.0
        self._field: int | None = None
        self._state_bytes: int | None = None
        self._peak = PeakMemory()

    @property
    def run(self) -> TrainingRun | None:
        """None before it has begun."""
        return self._run

    def advance(self, seconds: float) -> Progress:
        """Train for about `seconds`, or to the next checkpoint; the result is there once the trial has ended."""
        seconds = min(seconds, self.trial.resources.checkpoint_seconds)
        with self.isolated() as notes:
            progress = self.follow(lambda run: run.advance(seconds))
        return replace(progress, notes=(*progress.notes, *notes))

    def isolated(self) -> contextlib.AbstractContextManager[list[str]]:
        """Keep the settings of the process; the list holds notes on changes at the end."""
        return self._worker.isolated(self.trial)

    def follow(self, train: Callable[[TrainingRun], None]) -> Progress:
        """What became of the trial by `train`, begun before where it was not."""
        try:
            run = self._run or self._begin()
            train(run)
            if run.outcome == "pruned":
                self.save()  # the trial may train on from here
            if run.outcome is not None:
                return self._progress(self._result(run))
            if run.seconds - self._saved_at >= self.trial.resources.checkpoint_seconds:
                self.save()
            return self._progress(None)
        except (CheckpointError, ClusterError, DataError):
            raise  # the machine's fault, not the trial's: it spends no budget
        # The trial border: a stranger's model or task may raise anything, and the study goes on.
        except BaseException as error:
            if not is_of_plugin(error):
                raise
            return self._progress(self._failure(error))

    def _progress(self, result: TrialResult | None) -> Progress:
        """Return what has not been reported yet; points before a failure count too."""
        points = tuple(self._run.points[self._reported :]) if self._run is not None else ()
        self._reported += len(points)
        notes, self._notes = tuple(self._notes), []
        return Progress(points, result, notes)

    def save(self) -> None:
        """Write a checkpoint from which another worker goes on; none of an update that was broken off."""
        run = self._run
        if run is not None and run.outcome in (None, "pruned") and run.whole and run.update > 0:
            path = checkpoint.attempt_path(self._folder, self._attempt)
            checkpoint.save(path, run.state(), trial=self.trial.digest)
            self._saved_at = run.seconds

    @property
    def _folder(self) -> Path:
        return checkpoint.folder_of(self._worker.folder, self.trial.key)

    def _begin(self) -> TrainingRun:
        trial = self.trial
        device = device_of(trial.resources)
        self._peak.begin(device)
        self._task = self._worker.registry.make_task(trial.task.name, trial.task.options)
        train = self._split(self._task, "train")
        validation = self._held_out(self._task, "validation")
        run = TrainingRun(
            self._network(self._task).to(device),
            self._task,
            training=trial.training,
            optimisation=trial.optimisation,
            data=TrainingData(train, validation),
            seeds=trial.seeds,
        )
        run.until = trial.until
        state, passed = checkpoint.newest(self._folder, trial=trial.digest)
        self._notes += passed
        if state is not None and trial.until is not None and state["update"] > trial.until:
            self._notes.append(
                f"checkpoint at update {state['update']} lies behind update {trial.until}; starting over"
            )
            state = None
        if state is not None:
            run.restore(state)
            self._saved_at = run.seconds
        self._run = run
        return run

    def _split(self, task: Task, split: Split) -> Dataset:
        """Return a split.  Settings of the process that the task changes while it loads are restored, and noted."""
        code = f"task {task.name!r} of {names_of([self._worker.registry.task(task.name).plugin])}"
        self._worker.isolation.restore()  # training may have changed them, and later trials read the same split
        with self._worker.isolation.around(code, "load", self._notes):
            return self._worker.dataset(task, split, self.trial)

    def _held_out(self, task: Task, split: Split) -> Dataset:
        """Return validation or test, or the sample of it that every trial of the study scores."""
        whole, limit = self._split(task, split), self.trial.training.evaluation_limit
        return whole if limit is None else sample(whole, limit, evaluation_seed(self.trial.seeds, split))

    def _network(self, task: Task) -> Network:
        """The initial network.  The global seeds are set here, for a model that draws elsewhere than from torch."""
        seed_everything(self.trial.seeds.init)
        signature = task.signature().with_embedding(
            self.trial.embedding, tied=self.trial.tied, dropout=self.trial.embedding_dropout
        )
        model = self._worker.registry.model(self.trial.model).value
        with self._kept_settings("build"):
            backbone = model.build(signature, self.trial.widths, **self.trial.build)
        network = Network(signature, backbone)
        with self._kept_settings("forward"):
            self._field = receptive_field(network.backbone)
            self._state_bytes = state_bytes(network, task.signature())
            self._inspect(network, task)
        return network

    @contextlib.contextmanager
    def _kept_settings(self, method: str) -> Iterator[None]:
        """Restore settings of the process that a method of the model changes, and note them."""
        with self._worker.isolation.around(self._model(), method, self._notes):
            yield

    def _model(self) -> str:
        """Return model, plugin and version, for messages."""
        return f"model {self.trial.model!r} of {names_of([self._worker.registry.model(self.trial.model).plugin])}"

    def _inspect(self, network: Network, task: Task) -> None:
        """Raise PluginError for a backbone that sees what it must predict, or whose `forward` breaks its contract."""
        signature = task.signature().with_embedding(self.trial.embedding)
        device = device_of(self.trial.resources)
        inspection = inspect_backbone(network.backbone.to(device), signature.in_features, signature.length, device)
        model = self._model()
        if inspection.wrong_output:
            raise PluginError(f"{model}: {inspection.wrong_output}; `harness check {self.trial.model}` tests a model")
        if inspection.reads_future:
            raise PluginError(f"{model} is not causal: its outputs change with inputs that come after them")
        if inspection.touches:
            self._notes.append(f"{model} moves the global random state of {', '.join(inspection.touches)} in forward")

    def _result(self, run: TrainingRun) -> TrialResult:
        """Return the scores of the best evaluation, and for a final trial those of the test split.

        The test split is opened here and nowhere else.  A run that diverged has the scores of the best evaluation
        before; its outcome remains `diverged`.
        """
        facts: dict[str, object] = {"outcome": run.outcome, "reason": run.reason, "score": run.best_score}
        if run.best_score is None:
            return self._facts(run, **facts)
        best_point = next(point for point in run.points if point.update == run.best_update)
        metrics = {"validation": best_point.metrics}
        if self.trial.phase == "final":
            best = self._test_of_best(run)
            metrics |= {"test": best.metrics, **self._test_of_last(run)}
            facts["test_errors"], facts["test_groups"] = best.standard_errors, best.groups
            path = self._folder / WEIGHTS
            facts["weights_sha256"] = checkpoint.save(path, run.best, trial=self.trial.digest)
            facts["weights"] = str(path.relative_to(self._worker.folder))
            facts["test_opened"] = 1
        return self._facts(run, metrics=metrics, **facts)

    def _test_of_best(self, run: TrainingRun) -> Scores:
        """Return the test scores of the best-validation weights, with their standard errors."""
        task, test, device = self._test_data()
        run.network.load_state_dict(run.best)
        scores = evaluate_with_errors(run.network, task, test, device)
        scores.metrics.update(_readings(run, task, test, device))
        return scores

    def _test_of_last(self, run: TrainingRun) -> dict[str, dict[str, float]]:
        """Return the mean test scores of the weights of the last three evaluations, the paper's rule.

        A run that diverged has none: its last evaluation had no score.
        """
        if run.outcome == "diverged":
            return {}
        task, test, device = self._test_data()
        last = [
            evaluate_weights(run.network, weights, task, test, device) | _readings(run, task, test, device)
            for weights in run.last
        ]
        return {"test-last3": {name: sum(values[name] for values in last) / len(last) for name in last[0]}}

    def _test_data(self) -> tuple[Task, Dataset, torch.device]:
        assert self._task is not None  # set before the run was
        return self._task, self._held_out(self._task, "test"), device_of(self.trial.resources)

    def _failure(self, error: BaseException) -> TrialResult:
        outcome: Outcome = "out-of-memory" if is_out_of_memory(error) else "failed"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        reason = str(error) if isinstance(error, HarnessError) else cause(error)
        if isinstance(error, RecursionError) or not isinstance(error, Exception):
            reason = f"{raiser(self._worker.registry, self.trial, error)} raised {reason}"
        return self._facts(self._run, outcome=outcome, reason=reason)

    def _facts(self, run: TrainingRun | None, **given: object) -> TrialResult:
        """A result with what is known of how the trial ran."""
        known: dict[str, object] = {}
        if run is not None:
            known = {
                "updates": run.update,
                "epochs": run.epochs,
                "best_update": run.best_update,
                "train_seconds": run.seconds,
                "padding": run.padding,
            }
        return TrialResult.model_validate(
            {
                **known,
                "started": self._started,
                "ended": time.time(),
                "peak_bytes": self._peak.bytes(),
                "receptive_field": self._field,
                "state_bytes": self._state_bytes,
                "node": socket.gethostname(),
                "worker": f"{socket.gethostname()}:{psutil.Process().pid}",
                "device": self._peak.device_name,
                "versions": environment_versions(),
                **given,
            }
        )


def _readings(run: TrainingRun, task: Task, test: Dataset, device: torch.device) -> dict[str, float]:
    """Return every metric on each further reading of the test split, under its own name."""
    return {
        f"{metric}-{name}": value
        for name, reading in task.readings(test).items()
        for metric, value in evaluate(run.network, task, reading, device).items()
    }
