"""Trials on Ray Tune, on this machine or a cluster.

Tune executes, the trial source decides.  Trials come from the source through a searcher; their points and results
return through a callback.  Workers are reused from trial to trial, and a `step` is a slice of a few seconds.
Checkpoints are the harness's own: Tune's folder is temporary and never restored from.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ray import tune
from ray.tune.search import Searcher

from harness.errors import ClusterError
from harness.execution.crash_trace import classify_failure, trace_path
from harness.execution.placement import Occupancy, all_slots
from harness.execution.ray_backend.cluster import Nodes, connect, dead_node_ids, probe_nodes
from harness.execution.ray_backend.local import to_text
from harness.execution.ray_backend.watch import Watch
from harness.execution.ray_backend.worker import RayWorker
from harness.execution.retry_policy import FailureKind
from harness.execution.signals import interruptible
from harness.execution.trial_source import TrialSource
from harness.plugin.local import NO_CLASSES, LocalClasses
from harness.records import Plugin, Point, Resources, Trial, TrialResult
from harness.training.checkpoint import folder_of

SLICE_SECONDS = 5.0


@dataclass
class RayExecutor:
    """Trains trials on Ray."""

    address: str | None = None
    """Of a Ray cluster; None: workers on this machine."""
    slice_seconds: float = SLICE_SECONDS
    local: LocalClasses = NO_CLASSES
    """Models and tasks that no package provides; they are sent to the workers."""
    messages: list[str] = field(default_factory=list)
    """List to which notes for the user are added."""

    def run(self, source: TrialSource, folder: Path, plugins: Sequence[Plugin]) -> None:
        """Train the trials of a source until it is finished or interrupted.

        folder: of the study; workers reach it under the same path.  plugins: of the driver; workers must have the same.
        Raises KeyboardInterrupt after an interrupt, ClusterError if Ray cannot be reached or cannot hold the study,
        PluginError if plugins differ, and whatever the source raises.
        """
        with connect(self.address), tempfile.TemporaryDirectory(prefix="seqharness-tune-") as scratch:
            nodes = Nodes()
            slots = all_slots(source.resource_classes(), nodes())
            if self.address is not None:
                probe_nodes(folder, plugins, self.local)
            bridge = _Bridge(source, nodes, folder)
            config = {
                "folder": str(folder),
                "plugins": json.dumps([plugin.model_dump() for plugin in plugins]),
                "local": to_text(self.local),
                "slice_seconds": self.slice_seconds,
            }
            with interruptible(bridge.interrupt), Watch(self.address)():
                _tuner(bridge, config, slots, scratch).fit()
        if bridge.error is not None:
            raise bridge.error
        if bridge.interrupted_at is not None:
            self.messages.append(saved_since(bridge.interrupted_at, bridge.in_training(), folder))
            raise KeyboardInterrupt


def saved_since(moment: float, trials: Sequence[Trial], folder: Path) -> str:
    """Return in one line how many of the trials have a checkpoint that was written after a moment in Unix time."""
    saved = sum(
        any(path.stat().st_mtime >= moment for path in folder_of(folder, trial.key).glob("attempt-*.pt"))
        for trial in trials
    )
    others = "; the others resume from an earlier checkpoint or from their start" if saved < len(trials) else ""
    return f"interrupted: {saved} of {len(trials)} trials in training wrote a checkpoint{others}"


def _tuner(bridge: _Bridge, config: dict[str, Any], slots: int, scratch: str) -> tune.Tuner:
    """Return the tuner of a study.  config: of every worker.  scratch: Tune's temporary folder."""
    return tune.Tuner(
        tune.with_resources(
            RayWorker, lambda suggested: _request(Resources.model_validate_json(suggested["resources"]))
        ),
        param_space=config,
        tune_config=tune.TuneConfig(
            search_alg=_SourceSearcher(bridge),
            num_samples=-1,
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=scratch,
            verbose=0,
            stop=_StudyStopper(bridge),
            callbacks=[_SourceCallback(bridge)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )


@dataclass
class _Assignment:
    """The trials that one worker trains as one of Tune's trials: a single trial, or those of a stack."""

    left: list[tuple[Trial, int]]
    """Trials that have not ended, with their attempts."""
    resources: Resources
    """Of the worker."""
    node: str = ""
    """Ray's id of the node that trains them; '' before the first report."""

    @property
    def first(self) -> tuple[Trial, int]:
        return self.left[0]


class _Bridge:
    """The state that Tune's callbacks share, and their way to the trial source.

    No exception may leave a Tune callback: Tune swallows it and calls again as if the trial had failed.  The first
    exception is stored, ends the run, and is raised after it.
    """

    def __init__(self, source: TrialSource, nodes: Nodes, folder: Path) -> None:
        self.source = source
        self.nodes = nodes
        self.folder = folder
        self.running: dict[str, _Assignment] = {}
        """Tune's trial id → its assignment; changed by `start` and `end` alone."""
        self._occupancy = Occupancy()
        self.error: BaseException | None = None
        self.interrupted_at: float | None = None
        """Moment of the first interrupt, in Unix time."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """Pickle nothing: Tune pickles its arguments into a snapshot, which is never restored from."""
        return object, ()

    @property
    def stopping(self) -> bool:
        return self.error is not None or self.interrupted_at is not None

    def interrupt(self) -> None:
        self.interrupted_at = time.time()

    def in_training(self) -> list[Trial]:
        """Return the trials that have a worker and have not ended."""
        return [trial for assignment in self.running.values() for trial, _attempt in assignment.left]

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Store an exception of the block."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # stored here, raised after `fit`
            self.error = self.error or error

    def failure(self, assignment: _Assignment, ray_error: str) -> tuple[FailureKind, str]:
        """Return how the worker of an assignment failed, and the reason in one line.  ray_error: Ray's error text."""
        trial, attempt = assignment.first
        return classify_failure(
            ray_error,
            trace_path(folder_of(self.folder, trial.key), attempt),
            hang_seconds=trial.resources.hang_seconds,
            node_lost=assignment.node in dead_node_ids(),
        )

    def fits(self, wanted: Resources) -> bool:
        """Return whether these resources are free on a node."""
        return self._occupancy.fits(wanted, self.nodes())

    def start(self, trial_id: str, assignment: _Assignment) -> None:
        """Record that Tune's trial runs."""
        self.running[trial_id] = assignment
        self._occupancy.add(assignment.resources)

    def end(self, trial_id: str) -> _Assignment | None:
        """Record that Tune's trial does not run any more, and return its assignment; None if it did not run."""
        assignment = self.running.pop(trial_id, None)
        if assignment is not None:
            self._occupancy.remove(assignment.resources)
        return assignment


_FINISHED = cast(dict[str, Any], Searcher.FINISHED)


class _SourceSearcher(Searcher):
    """Gives Tune the next trial of the source."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__(metric="training_iteration", mode="max")
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the configuration of the next trial.

        None: no trial is ready now.  FINISHED, a string that Tune types as a dict: no trial is left.
        """
        bridge = self._bridge
        with bridge.guard():
            if bridge.stopping:
                return _FINISHED
            asked = bridge.source.ask(bridge.fits)
            if asked is None:
                return _FINISHED if bridge.source.finished() else None
            first, _ = asked
            group = [asked, *bridge.source.companions(first)]
            bridge.start(trial_id, _Assignment(list(group), first.resources))
            return {
                "trials": json.dumps([(trial.model_dump(mode="json"), attempt) for trial, attempt in group]),
                "resources": first.resources.model_dump_json(),
            }
        return _FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the callback receives the same event with the reason."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: Tune's snapshots are never restored from."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: Tune's snapshots are never restored from."""


class _SourceCallback(tune.Callback):
    """Passes the progress and the failures of Tune's trials to the source."""

    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        bridge = self._bridge
        with bridge.guard():
            if "fatal" in result:
                raise ClusterError(result["fatal"])
            bridge.running[trial.trial_id].node = result["node"]
            for progress in json.loads(result["progress"]):
                self._pass_on(trial.trial_id, progress)

    def _pass_on(self, trial_id: str, progress: dict[str, Any]) -> None:
        """Pass the progress of one trial, as the worker's JSON, to the source.  trial_id: Tune's."""
        source, left = self._bridge.source, self._bridge.running[trial_id].left
        trial, attempt = next(member for member in left if member[0].key == progress["trial"])
        for note in progress["notes"]:
            source.note(trial, note)
        source.report(trial, tuple(Point.model_validate(point) for point in progress["points"]))
        if progress["result"] is not None:
            left.remove((trial, attempt))
            if not left:
                self._bridge.end(trial_id)
            source.tell(trial, TrialResult.model_validate(progress["result"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        bridge = self._bridge
        with bridge.guard():
            assignment = bridge.end(trial.trial_id)
            if assignment is not None:
                kind, reason = bridge.failure(assignment, _error_text(trial))
                for member, _attempt in assignment.left:
                    bridge.source.worker_failed(member, reason, kind=kind)


def _error_text(trial: Any) -> str:  # Tune's trial
    """Return Ray's error text, which Tune has written to its local folder and not yet to its storage."""
    try:
        return Path(trial.error_file).read_text().strip() or "its process is gone"
    except (OSError, TypeError):
        return "its process is gone"


class _StudyStopper(tune.Stopper):
    """Stops all of Tune's trials after an error or an interrupt."""

    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._bridge.stopping


def _request(resources: Resources) -> tune.PlacementGroupFactory:
    """Return the resources of a trial as Tune requests them from Ray."""
    bundle = {"CPU": resources.cpu}
    if resources.gpu:
        bundle["GPU"] = resources.gpu
    if resources.memory_gib:
        bundle["memory"] = resources.memory_gib * 2**30
    return tune.PlacementGroupFactory([bundle])
