"""Trials on Ray Tune, on this machine or a cluster.  The only importer of Ray.

Tune executes; the desk decides.  Trials come from the desk through a searcher, their points and results go back
through a callback.  Workers are reused from trial to trial, a `step` is a slice of a few seconds, and checkpoints are
the harness's own: Tune's folder is temporary and never restored from.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

os.environ.update(
    # Read by Ray when it is imported: no usage reports, no tables on the terminal, no per-trial CSV and TensorBoard
    # files (they double the cost of a trial), Ctrl-C handled here.
    RAY_USAGE_STATS_ENABLED="0",
    RAY_AIR_NEW_OUTPUT="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
)


os.environ.update(
    # `ray start` asks for the token that it finds; a client that is given an address sends it only when told to.
    {"RAY_AUTH_MODE": "token"}
    if "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").exists()
    else {}
)

import ray
from ray import tune
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.checkpoint import folder_of
from harness.errors import CheckpointError, ClusterError, DataError, PluginError
from harness.group import ActiveGroup
from harness.interrupt import interruptible
from harness.placement import Node, all_slots, fits_beside
from harness.records import Death, Plugin, Point, Resources, Trial, TrialResult
from harness.trace import Recorder, death_of, trace_path
from harness.trial import Desk, Progress, Worker

SLICE_SECONDS = 5.0
NODES_SECONDS = 1.0
"""How long a list of nodes is believed."""
KNOCK_SECONDS = 10.0
"""How long a Ray that is named by its address has to answer."""
LONGEST_TMPDIR = 107 - len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""Characters of a folder in which the paths of Ray's sockets have at most the 107 that Linux allows."""
PASSED_ON = ("HARNESS_DATA", "HARNESS_CACHE", "HARNESS_DISABLE_PLUGINS")
"""Environment variables that workers must share with the driver."""


@dataclass
class Cluster:
    """How to reach Ray: an address, or None for workers on this machine."""

    address: str | None = None
    slice_seconds: float = SLICE_SECONDS
    messages: list[str] = field(default_factory=list)

    def run(self, desk: Desk, folder: Path, plugins: Sequence[Plugin]) -> None:
        """Run what the desk deals, until it is finished or interrupted; workers reach `folder` under this path."""
        with _connected(self.address), tempfile.TemporaryDirectory(prefix="seqharness-tune-") as scratch:
            nodes = Nodes()
            slots = all_slots(desk.classes(), nodes())
            if self.address is not None:
                probe_nodes(folder, plugins)
            bridge = _Bridge(desk, nodes, folder)
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
            search_alg=_DeskSearcher(bridge),
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
            callbacks=[_DeskCallback(bridge)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )


class RayWorker(tune.Trainable):
    """One process that trains trial after trial.  Tune also makes spare ones that never step: no work before then."""

    def setup(self, config: dict[str, Any]) -> None:
        self._worker: Worker | None = None
        self._active: ActiveGroup | None = None
        self._recorder: Recorder | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        self._active = None
        self._left: list[tuple[Trial, int]] = []
        self._stop_recording()
        return True

    def step(self) -> dict[str, Any]:
        """One slice: JSON of what it brought to each trial that is trained here."""
        self._left = self._left or [
            (Trial.model_validate(trial), attempt) for trial, attempt in json.loads(self._config["dealt"])
        ]
        try:
            with self._recording().watch(self._left[0][0].resources.hang_seconds):
                active = self._active or self._begin()
                told = active.advance(self._config["slice_seconds"])
        except (PluginError, CheckpointError, ClusterError, DataError) as error:
            return {"fatal": str(error), "done": True}
        ended = {trial.key for trial, progress in told if progress.result is not None}
        self._left = [(trial, attempt) for trial, attempt in self._left if trial.key not in ended]
        if not self._left:
            self._active = None
        return {
            "told": json.dumps([self._told(*each) for each in told]),
            "node": ray.get_runtime_context().get_node_id(),
            "done": not self._left,
        }

    def _recording(self) -> Recorder:
        """Of the first trial that has not ended, for all; its end takes the file away, and the next one's follows.

        Made before anything of the trial runs, so that a worker that dies without it died of something else.
        """
        trial, attempt = self._left[0]
        folder = folder_of(Path(self._config["folder"]), trial.key)
        if self._recorder is None or self._recorder.path != trace_path(folder, attempt):
            self._stop_recording()
            try:
                self._recorder = Recorder(trace_path(folder, attempt))
            except OSError as error:
                raise CheckpointError(
                    f"{folder}: cannot be written ({error.strerror}); make space and run again"
                ) from error
        return self._recorder

    def _stop_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = None

    def _begin(self) -> ActiveGroup:
        if self._worker is None:
            worker = Worker(Path(self._config["folder"]))
            worker.check_plugins(tuple(Plugin.model_validate(item) for item in json.loads(self._config["plugins"])))
            self._worker = worker
        worker = self._worker
        self._active = ActiveGroup([worker.start(trial, attempt) for trial, attempt in self._left])
        return self._active

    def _told(self, trial: Trial, progress: Progress) -> dict[str, Any]:
        """New points, notes, and the result where the trial has ended, as JSON has them."""
        return {
            "trial": trial.key,
            "points": [point.model_dump(mode="json") for point in progress.points],
            # Not pydantic's own JSON, which writes a number that is not finite as null.
            "result": self._with_place(progress.result).model_dump(mode="json") if progress.result else None,
            "notes": progress.notes,
        }

    def _with_place(self, result: TrialResult) -> TrialResult:
        context = ray.get_runtime_context()
        place = {"node": context.get_node_id(), "worker": f"{result.worker}:{context.get_worker_id()[:8]}"}
        return result.model_copy(update=place)

    def cleanup(self) -> None:
        """Called when the study stops: what was trained since the last checkpoint is not lost."""
        if self._active is not None:
            with contextlib.suppress(CheckpointError):  # the last one still stands
                self._active.save()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune demands it; the harness keeps its own."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Tune demands it; the harness keeps its own."""


@dataclass
class _Dealt:
    """The trials in one of Tune's places: one, or those of a stack."""

    left: list[tuple[Trial, int]]
    """Those that have not ended, with their attempts."""
    node: str = ""
    """Ray's id of the node that trains them, once that has told."""


class _Bridge:
    """Between Tune's callbacks and the desk.

    No exception may leave a Tune callback: Tune swallows it and calls again as if the trial had failed.  The first one
    is kept, ends the run, and is raised after it.
    """

    def __init__(self, desk: Desk, nodes: Nodes, folder: Path) -> None:
        self.desk = desk
        self.nodes = nodes
        self.folder = folder
        self.running: dict[str, _Dealt] = {}
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

    def death(self, dealt: _Dealt, told: str) -> tuple[Death, str]:
        """How a trial's worker died, and why in a line.  told: what Ray says of it."""
        trial, attempt = dealt.left[0]
        path = trace_path(folder_of(self.folder, trial.key), attempt)
        gone = dealt.node in {node["NodeID"] for node in _gone()}
        return death_of(told, path, hang_seconds=trial.resources.hang_seconds, machine_gone=gone)

    def fits(self, wanted: Resources) -> bool:
        running = [dealt.left[0][0].resources for dealt in self.running.values()]
        return fits_beside(running, wanted, self.nodes())


_FINISHED = cast(dict[str, Any], Searcher.FINISHED)


class _DeskSearcher(Searcher):
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
            dealt = bridge.desk.deal(bridge.fits)
            if dealt is None:
                return _FINISHED if bridge.desk.finished() else None
            group = [dealt, *bridge.desk.companions(dealt[0])]
            bridge.running[trial_id] = _Dealt(list(group))
            return {
                "dealt": json.dumps([(trial.model_dump(mode="json"), attempt) for trial, attempt in group]),
                "resources": dealt[0].resources.model_dump_json(),
            }
        return _FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The callback hears it, with the reason."""

    def save(self, checkpoint_path: str) -> None:
        """Tune's snapshots are never restored from."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune's snapshots are never restored from."""


class _DeskCallback(tune.Callback):
    """Tune tells here what became of its trials."""

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

    def _hear(self, trial_id: str, dealt: _Dealt, told: dict[str, Any]) -> None:
        bridge = self._bridge
        ours, attempt = next(each for each in dealt.left if each[0].key == told["trial"])
        for note in told["notes"]:
            bridge.desk.note(ours, note)
        bridge.desk.report(ours, tuple(Point.model_validate(item) for item in told["points"]))
        if told["result"] is not None:
            dealt.left.remove((ours, attempt))
            if not dealt.left:
                del bridge.running[trial_id]
            bridge.desk.end(ours, TrialResult.model_validate(told["result"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        bridge = self._bridge
        with bridge.guard():
            dealt = bridge.running.pop(trial.trial_id, None)
            if dealt is not None:
                death, why = bridge.death(dealt, str(trial.get_error() or "its process is gone"))
                for ours, _attempt in dealt.left:
                    bridge.desk.lose(ours, why, death=death)


class _StudyStopper(tune.Stopper):
    def __init__(self, bridge: _Bridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._bridge.stopping


class Nodes:
    """The living nodes, asked of Ray at most once a second."""

    def __init__(self) -> None:
        self._at = -NODES_SECONDS
        self._nodes: tuple[Node, ...] = ()

    def __call__(self) -> tuple[Node, ...]:
        if time.monotonic() - self._at >= NODES_SECONDS:
            self._nodes = tuple(_node(facts) for facts in _living())
            self._at = time.monotonic()
        return self._nodes


def _request(resources: Resources) -> tune.PlacementGroupFactory:
    bundle = {"CPU": resources.cpu}
    if resources.gpu:
        bundle["GPU"] = resources.gpu
    if resources.memory_gib:
        bundle["memory"] = resources.memory_gib * 2**30
    return tune.PlacementGroupFactory([bundle])


def _living() -> list[dict[str, Any]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [facts for facts in nodes if facts["Alive"]]


def _gone() -> list[dict[str, Any]]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [facts for facts in nodes if not facts["Alive"]]


def _node(facts: dict[str, Any]) -> Node:
    has = facts["Resources"]
    return Node(facts["NodeName"], has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", 0.0))


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray for the duration: a fresh one on this machine without an address."""
    if address is not None:
        _knock(address)
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": passed} if address else None,
            _temp_dir=temporary_folder() if address is None else None,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        what = str(error).splitlines()[0]
        where = "Ray on this machine" if address is None else f"--address {address}"
        raise ClusterError(f"{where}: {what}; start one with `ray start`") from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost trial is told in our words
    try:
        yield
    finally:
        ray.shutdown()


def temporary_folder() -> str | None:
    """Return a folder for Ray's sockets if the one that the environment names is too long for them, else None."""
    named = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return "/tmp/ray" if len(named) > LONGEST_TMPDIR else None


def _knock(address: str) -> None:
    """ClusterError where nothing listens at host:port, for which Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # a name that Ray resolves, as `auto`
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"--address {address}: nothing answers there ({error}); start one with `ray start`"
        ) from error


def probe_nodes(folder: Path, plugins: Sequence[Plugin]) -> None:
    """ClusterError or PluginError, before the first trial, naming the nodes that cannot serve this study.

    Each must read back a token from the study's folder, and load the driver's plugins.
    """
    token = f"{time.time_ns()}"
    path = folder / "token"
    path.write_text(token)
    wanted = json.dumps([plugin.model_dump() for plugin in plugins])
    try:
        answers = {facts["NodeName"]: ray.get(_asked(facts, path, wanted)) for facts in _living()}
    finally:
        path.unlink(missing_ok=True)
    blind = [name for name, (read, _) in answers.items() if read != token]
    if blind:
        raise ClusterError(
            f"{folder}: not shared with {', '.join(blind)} of {len(answers)} nodes; give --storage a path that driver "
            "and workers share"
        )
    for _, difference in answers.values():
        if difference:
            raise PluginError(difference)


def _asked(facts: dict[str, Any], path: Path, plugins: str) -> Any:  # an ObjectRef, which Ray leaves untyped
    there = NodeAffinitySchedulingStrategy(facts["NodeID"], soft=False)
    return _answer.options(scheduling_strategy=there, num_cpus=0).remote(str(path), plugins)


@ray.remote
def _answer(path: str, plugins: str) -> tuple[str, str]:
    """What a node reads at a path, and how its plugins differ from these."""
    try:
        read = Path(path).read_text()
    except OSError:
        read = ""
    try:
        Worker(Path(path).parent).check_plugins(tuple(Plugin.model_validate(item) for item in json.loads(plugins)))
    except PluginError as error:
        return read, str(error)
    return read, ""
