"""The controller of a running study: it gives trials to an executor and records what the executor reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from harness.execution.retry_policy import MAX_FAILURES, FailureKind, WorkerFailure, retry_decision
from harness.ledger.ledger import Ledger
from harness.plugin.loader import Loaded
from harness.plugin.registry import names_of
from harness.records import Point, Resources, Trial, TrialResult
from harness.redaction import without_secrets
from harness.search.scheduler import TrialScheduler
from harness.training import checkpoint


class StudyController:
    """The trial source of a study.

    Every trial and result passes through the ledger first, then the scheduler, then the lifecycle hooks.
    """

    def __init__(self, ledger: Ledger, scheduler: TrialScheduler, loaded: Loaded, messages: list[str]) -> None:
        """messages: list to which notes for the user are added."""
        self.ledger = ledger
        self.scheduler = scheduler
        self._loaded = loaded
        self._messages = messages
        self._failures: dict[str, list[WorkerFailure]] = {}
        """Key of a trial → the failures of its workers."""
        self._broken_hooks: set[tuple[str, str]] = set()
        """Plugin and hook of the exceptions that the user knows of."""

    def resource_classes(self) -> tuple[Resources, ...]:
        return tuple(dict.fromkeys(state.plan.resources for state in self.scheduler.cells.values()))

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        trial = self.scheduler.ask(fits)
        return None if trial is None else self._begin(trial)

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        return tuple(self._begin(companion) for companion in self.scheduler.companions(trial))

    def _begin(self, trial: Trial) -> tuple[Trial, int]:
        attempt = self.ledger.begin(trial)
        self.call_hook("harness_trial_started", trial=trial, attempt=attempt)
        return trial, attempt

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        for point in points:
            if self.ledger.report(trial.key, point):
                self.call_hook("harness_trial_reported", trial=trial, point=point)

    def note(self, trial: Trial, text: str) -> None:
        self._messages.append(f"{trial.key}: {without_secrets(text)}")

    def tell(self, trial: Trial, result: TrialResult) -> None:
        if _filled_a_shared_gpu(trial, result):
            self.note(trial, f"{result.reason}; retrying the trial with a GPU of its own")
            self.scheduler.requeue(trial, alone=True)
            return
        if result.outcome == "pruned":
            self.ledger.pause(trial.key, result)
            self.scheduler.pause(trial, result)
            self.call_hook("harness_trial_paused", trial=trial, result=result)
        else:
            self._finish(trial, result)
        self._end_pruned()

    def _end_pruned(self) -> None:
        """End the trials that wait at a rung and do not train on.

        After a kill between the decision and its record they end with the next event: the best trial of the rung
        always has one.
        """
        for trial, result in self.scheduler.pruned():
            self._finish(trial, result)

    def _finish(self, trial: Trial, result: TrialResult) -> None:
        result = _with_all_updates(result, self.ledger.entry(trial.key).points)
        self.ledger.finish(trial.key, result)
        # Only now that the result is in the ledger: before, a kill would leave neither result nor checkpoint.
        checkpoint.forget(checkpoint.folder_of(self.ledger.folder, trial.key))
        self.scheduler.tell(trial, result)
        self.call_hook("harness_trial_finished", trial=trial, result=result)

    def worker_failed(self, trial: Trial, reason: str, *, kind: FailureKind) -> None:
        """Retry the trial, unless it is the likely cause: then the failure is its outcome and spends budget."""
        reason = without_secrets(reason)
        failures = self._failures.setdefault(trial.key, [])
        failures.append(WorkerFailure(kind, len(self.ledger.entry(trial.key).points)))
        blamed = f" in a trial of {names_of(trial.plugins)}" if kind in ("crash", "silent") and trial.plugins else ""
        match retry_decision(failures):
            case "retry":
                if kind != "unusable":  # a note on the trial that made it so has been given
                    self.note(trial, f"worker failed ({reason}{blamed}); retrying the trial")
                self.scheduler.requeue(trial)
            case "postpone":
                again = "postponed; run the same command again to resume"
                self.note(trial, f"worker failed {MAX_FAILURES} times ({reason}); {again}")
                self.scheduler.postpone(trial)
            case "out-of-memory":
                self.tell(trial, TrialResult(outcome="out-of-memory", reason=reason, ended=time.time()))
            case "failed":
                text = f"worker failed {len(failures)} times: {reason}{blamed}"
                self.tell(trial, TrialResult(outcome="failed", reason=text, ended=time.time()))

    def finished(self) -> bool:
        return self.scheduler.finished() or self.scheduler.only_postponed_trials_left()

    def call_hook(self, hook: str, **facts: object) -> None:
        """Call a lifecycle hook of every plugin.

        An exception costs one message per plugin and hook.  The study and the other plugins go on.
        """
        hooks = self._loaded.hooks
        plugins = [plugin for _, plugin in hooks.list_name_plugin() if plugin is not None]
        for plugin in plugins:
            try:
                hooks.subset_hook_caller(hook, [other for other in plugins if other is not plugin])(**facts)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # the plugin border
                name = getattr(plugin, "__name__", type(plugin).__name__)
                if (name, hook) not in self._broken_hooks:
                    self._broken_hooks.add((name, hook))
                    text = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])
                    self._messages.append(f"plugin {name} raised in {hook} ({text})")


def _filled_a_shared_gpu(trial: Trial, result: TrialResult) -> bool:
    """Return whether other trials on the same GPU may have taken the memory that this trial lacked.

    Memory of the host is not shared in this way: Ray decides which worker it ends.
    """
    on_gpu = result.device not in ("", "cpu")
    return on_gpu and result.outcome == "out-of-memory" and 0 < trial.resources.gpu < 1


def _with_all_updates(result: TrialResult, points: Sequence[Point]) -> TrialResult:
    """Return the result with the updates that were reported: a worker that fails at its start knows of none."""
    if not points or result.updates >= points[-1].update:
        return result
    last = points[-1]
    done = {"updates": last.update, "epochs": last.epoch, "train_seconds": last.seconds}
    return result.model_copy(update=done)
