"""The Ray Tune trainable: a worker process that trains one trial after another."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import ray
from ray import tune

from harness.errors import CheckpointError, ClusterError, DataError, PluginError
from harness.execution.crash_trace import StackRecorder
from harness.execution.ray_backend.local import registry_with
from harness.execution.trial import Worker
from harness.execution.trial_group import ActiveGroup
from harness.execution.trial_source import Progress
from harness.records import Plugin, Trial, TrialResult


class RayWorker(tune.Trainable):
    """One worker process that trains one trial after another.

    Tune also starts spare workers that never take a step, so nothing is loaded before the first step.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._worker: Worker | None = None
        self._active: ActiveGroup | None = None
        self._recorder = StackRecorder(Path(config["folder"]))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config = new_config
        self._active = None
        self._left: list[tuple[Trial, int]] = []
        self._recorder.close()
        return True

    def step(self) -> dict[str, Any]:
        """Train for one slice.  Return the progress of each trial, as JSON."""
        self._left = self._left or [
            (Trial.model_validate(trial), attempt) for trial, attempt in json.loads(self._config["trials"])
        ]
        try:
            first, attempt = self._left[0]
            with self._recorder.of(first, attempt).watch(first.resources.hang_seconds):
                active = self._active or self._begin()
                progress = active.advance(self._config["slice_seconds"])
        except (PluginError, CheckpointError, ClusterError, DataError) as error:
            return {"fatal": str(error), "done": True}
        ended = {trial.key for trial, reported in progress if reported.result is not None}
        self._left = [(trial, attempt) for trial, attempt in self._left if trial.key not in ended]
        if not self._left:
            self._active = None
        return {
            "progress": json.dumps([self._to_json(trial, reported) for trial, reported in progress]),
            "node": ray.get_runtime_context().get_node_id(),
            "done": not self._left,
        }

    def _begin(self) -> ActiveGroup:
        if self._worker is None:
            worker = Worker(Path(self._config["folder"]), registry_with(self._config["local"]))
            worker.check_plugins(tuple(Plugin.model_validate(item) for item in json.loads(self._config["plugins"])))
            self._worker = worker
        worker = self._worker
        self._active = ActiveGroup([worker.start(trial, attempt) for trial, attempt in self._left])
        return self._active

    def _to_json(self, trial: Trial, progress: Progress) -> dict[str, Any]:
        """Return new points, notes, and the result if the trial has ended, as values for JSON."""
        return {
            "trial": trial.key,
            "points": [point.model_dump(mode="json") for point in progress.points],
            # Not as pydantic's own JSON, which writes non-finite numbers as null.
            "result": self._with_node(progress.result).model_dump(mode="json") if progress.result else None,
            "notes": progress.notes,
        }

    def _with_node(self, result: TrialResult) -> TrialResult:
        """Return the result with the ids of Ray's node and worker."""
        context = ray.get_runtime_context()
        place = {"node": context.get_node_id(), "worker": f"{result.worker}:{context.get_worker_id()[:8]}"}
        return result.model_copy(update=place)

    def cleanup(self) -> None:
        """Write a checkpoint when the study stops, so that no training is lost."""
        if self._active is not None:
            with contextlib.suppress(CheckpointError):  # the checkpoint before remains
                self._active.save()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: Tune requires the method, and the harness keeps its own checkpoints."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Do nothing: Tune requires the method, and the harness keeps its own checkpoints."""
