"""Trials on Ray Tune, on this machine or a cluster.

Tune executes, the trial source decides. Trials come from the source through a searcher; their points and results return
through a callback. Workers are reused from trial to trial, and a `step` is a slice of a few seconds. Checkpoints are
the harness's own: Tune's folder is temporary and never restored from.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ray import tune
from ray.tune.search import Searcher

from harness.errors import ClusterError
from harness.execution.crash_trace import death_of, trace_path
from harness.execution.placement import all_slots, fits_beside
from harness.execution.ray_backend.cluster import Nodes, connect, dead_nodes, probe_nodes
from harness.execution.ray_backend.worker import RayWorker
from harness.execution.signals import interruptible
from harness.execution.trial_source import TrialSource
from harness.records import Death, Plugin, Point, Resources, Trial, TrialResult
from harness.training.checkpoint import folder_of

SLICE_SECONDS = 5.0


@dataclass
class RayExecutor:
    """Runs trials on Ray: at an address, or with workers on this machine if it is None."""

    address: str | None = None
    slice_seconds: float = SLICE_SECONDS
    messages: list[str] = field(default_factory=list)

    def run(self, source: TrialSource, folder: Path, plugins: Sequence[Plugin]) -> None:
        """Run the source's trials until it is finished or interrupted. Workers reach `folder` under the same path."""
        with connect(self.address), tempfile.TemporaryDirectory(prefix="seqharness-tune-") as scratch:
            nodes = Nodes()
            slots = all_slots(source.resource_classes(), nodes())
            if self.address is not None:
                probe_nodes(folder, plugins)
            bridge = _Bridge(source, nodes, folder)
            config = {
                "folder": str(folder),
                "plugins": json.dumps([plugin.model_dump() for plugin in plugins]),
                "slice_seconds": self.slice_seconds,
            }
            with interruptible(lambda: self._interrupted(bridge)):
                _tuner(bridge, config, slots, scratch).fit()
        if bridge.error is not None:
            raise bridge.error
        if bridge.interrupted:
            raise KeyboardInterrupt

    def _interrupted(self, bridge: _Bridge) -> None:
        bridge.interrupted = True
        self.messages.append("interrupted: trials in training wrote a checkpoint; the same command continues")


def _tuner(bridge: _Bridge, config: dict[str, Any], slots: int, scratch: str) -> tune.Tuner:
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
    """The trials of one Tune trial: one, or those of a stack."""

    left: list[tuple[Trial, int]]
    """Trials that have not ended, with their attempts."""
    node: str = ""
    """Ray's id of the node that trains them, once known."""


class _Bridge:
    """The connection between Tune's callbacks and the trial source.

    No exception may leave a Tune callback: Tune swallows it and calls again as if the trial had failed. The first one
    is stored, ends the run, and is raised after it.
    """

    def __init__(self, source: TrialSource, nodes: Nodes, folder: Path) -> None:
        self.source = source
        self.nodes = nodes
        self.folder = folder
        self.running: dict[str, _Assignment] = {}
        """By Tune's trial id."""
        self.error: BaseException | None = None
        self.interrupted = False

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """Tune pickles all it is given into a snapshot, which is never restored from: nothing of this goes there."""
        return object, ()

    @property
    def stopping(self) -> bool:
        return self.error is not None or self.interrupted

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # kept and raised after `fit`
            self.error = self.error or error

    def death(self, dealt: _Assignment, told: str) -> tuple[Death, str]:
        """Return how a trial's worker failed, and the reason in one line. told: Ray's error text."""
        trial, attempt = dealt.left[0]
        path = trace_path(folder_of(self.folder, trial.key), attempt)
        gone = dealt.node in {node["NodeID"] for node in dead_nodes()}
        return death_of(told, path, hang_seconds=trial.resources.hang_seconds, machine_gone=gone)

    def fits(self, wanted: Resources) -> bool:
        running = [dealt.left[0][0].resources for dealt in self.running.values()]
        return fits_beside(running, wanted, self.nodes())


_FINISHED = cast(dict[str, Any], Searcher.FINISHED)


class _SourceSearcher(Searcher):
    """Tune asks here for its next trial."""

    def __init__(self, bridge: _Bridge) -> None:
        super().__init__(metric="training_iteration", mode="max")
        self._bridge = bridge

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """A trial; None: none now; FINISHED, a string that Tune types as a dict: none any more."""
        bridge = self._bridge
        with bridge.guard():
            if bridge.stopping:
                return _FINISHED
            dealt = bridge.source.ask(bridge.fits)
            if dealt is None:
                return _FINISHED if bridge.source.finished() else None
            group = [dealt, *bridge.source.companions(dealt[0])]
            bridge.running[trial_id] = _Assignment(list(group))
            return {
                "dealt": json.dumps([(trial.model_dump(mode="json"), attempt) for trial, attempt in group]),
                "resources": dealt[0].resources.model_dump_json(),
            }
        return _FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the callback receives the same event with the reason."""

    def save(self, checkpoint_path: str) -> None:
        """Tune's snapshots are never restored from."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune's snapshots are never restored from."""


class _SourceCallback(tune.Callback):
    """Receives from Tune how its trials went."""

    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        bridge = self._bridge
        with bridge.guard():
            if "fatal" in result:
                raise ClusterError(result["fatal"])
            dealt = bridge.running[trial.trial_id]
            dealt.node = result["node"]
            for told in json.loads(result["told"]):
                self._hear(trial.trial_id, dealt, told)

    def _hear(self, trial_id: str, dealt: _Assignment, told: dict[str, Any]) -> None:
        bridge = self._bridge
        ours, attempt = next(each for each in dealt.left if each[0].key == told["trial"])
        for note in told["notes"]:
            bridge.source.note(ours, note)
        bridge.source.report(ours, tuple(Point.model_validate(item) for item in told["points"]))
        if told["result"] is not None:
            dealt.left.remove((ours, attempt))
            if not dealt.left:
                del bridge.running[trial_id]
            bridge.source.tell(ours, TrialResult.model_validate(told["result"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        bridge = self._bridge
        with bridge.guard():
            dealt = bridge.running.pop(trial.trial_id, None)
            if dealt is not None:
                death, why = bridge.death(dealt, str(trial.get_error() or "its process is gone"))
                for ours, _attempt in dealt.left:
                    bridge.source.worker_failed(ours, why, death=death)


class _StudyStopper(tune.Stopper):
    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._bridge.stopping


def _request(resources: Resources) -> tune.PlacementGroupFactory:
    bundle = {"CPU": resources.cpu}
    if resources.gpu:
        bundle["GPU"] = resources.gpu
    if resources.memory_gib:
        bundle["memory"] = resources.memory_gib * 2**30
    return tune.PlacementGroupFactory([bundle])
