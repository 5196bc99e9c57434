"""The Ray Tune trainable: a worker process that trains one trial after another."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import ray
from ray import tune

from harness.errors import CheckpointError, ClusterError, DataError, PluginError
from harness.execution.crash_trace import Recorder, trace_path
from harness.execution.trial import Worker
from harness.execution.trial_group import ActiveGroup
from harness.execution.trial_source import Progress
from harness.records import Plugin, Trial, TrialResult
from harness.training.checkpoint import folder_of


class RayWorker(tune.Trainable):
    """One worker process that trains one trial after another.

    Tune also starts spare workers that never take a step, so nothing is loaded before the first step.
    """

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
        """Train for one slice.  Return the progress of each trial, as JSON."""
        self._left = self._left or [
            (Trial.model_validate(trial), attempt) for trial, attempt in json.loads(self._config["trials"])
        ]
        try:
            first, _ = self._left[0]
            with self._recording().watch(first.resources.hang_seconds):
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

    def _recording(self) -> Recorder:
        """Return the recorder of the first trial that has not ended, which records for all trials of the stack.

        When that trial ends, its trace file is deleted and the next trial gets one.  The file is created before
        anything of the trial runs: a worker that fails without a trace file failed for another reason.
        """
        trial, attempt = self._left[0]
        folder = folder_of(Path(self._config["folder"]), trial.key)
        if self._recorder is None or self._recorder.path != trace_path(folder, attempt):
            self._stop_recording()
            try:
                self._recorder = Recorder(trace_path(folder, attempt))
            except OSError as error:
                raise CheckpointError(
                    f"{folder}: cannot be written ({error.strerror}); free disk space, then run the same command "
                    "again to resume"
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
