"""The controller of a running study: it answers executors and records what they report."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.execution.retry_policy import MOST_DEATHS, WorkerFailure, retry_decision
from harness.ledger.ledger import Ledger
from harness.plugin.loader import Loaded
from harness.records import Death, Point, Resources, Trial, TrialResult
from harness.search.scheduler import TrialScheduler
from harness.training import checkpoint


class StudyController:
    """The trial source of a study: every trial and result passes through the ledger, then the scheduler, then the
    hooks.
    """

    def __init__(self, ledger: Ledger, scheduler: TrialScheduler, loaded: Loaded, messages: list[str]) -> None:
        self.ledger = ledger
        self.scheduler = scheduler
        self._loaded = loaded
        self._messages = messages
        self._lost: dict[str, list[WorkerFailure]] = {}
        self._raised: set[tuple[str, str]] = set()

    def resource_classes(self) -> tuple[Resources, ...]:
        return tuple(dict.fromkeys(state.plan.resources for state in self.scheduler.cells.values()))

    def ask(self, fits: Callable[[Resources], bool]) -> tuple[Trial, int] | None:
        trial = self.scheduler.ask(fits)
        return None if trial is None else self._begun(trial)

    def companions(self, trial: Trial) -> tuple[tuple[Trial, int], ...]:
        return tuple(self._begun(beside) for beside in self.scheduler.companions(trial))

    def _begun(self, trial: Trial) -> tuple[Trial, int]:
        attempt = self.ledger.begin(trial)
        self.call_hook("harness_trial_started", trial=trial, attempt=attempt)
        return trial, attempt

    def report(self, trial: Trial, points: tuple[Point, ...]) -> None:
        for point in points:
            if self.ledger.report(trial.key, point):
                self.call_hook("harness_trial_reported", trial=trial, point=point)

    def note(self, trial: Trial, text: str) -> None:
        self._messages.append(f"{trial.key}: {text}")

    def tell(self, trial: Trial, result: TrialResult) -> None:
        if _for_want_of_room(trial, result):
            self.note(trial, f"{result.reason}; retrying with the GPU alone")
            self.scheduler.requeue(trial, alone=True)
            return
        self.ledger.finish(trial.key, result)
        checkpoint.forget(checkpoint.folder_of(self.ledger.folder, trial.key))  # not before its end is written
        self.scheduler.tell(trial, result)
        self.call_hook("harness_trial_finished", trial=trial, result=result)

    def worker_failed(self, trial: Trial, why: str, *, death: Death) -> None:
        """Retry the trial, unless it is the likely cause: then the failure is its outcome and spends budget."""
        history = self._lost.setdefault(trial.key, [])
        history.append(WorkerFailure(death, len(self.ledger.entry(trial.key).points)))
        match retry_decision(history):
            case "again":
                self.note(trial, f"worker failed ({why}); retrying the trial")
                self.scheduler.requeue(trial)
            case "aside":
                self.note(
                    trial,
                    f"worker failed {MOST_DEATHS} times ({why}); postponed: run the same command again to retry it",
                )
                self.scheduler.set_aside(trial)
            case "out-of-memory":
                self.tell(trial, TrialResult(outcome="out-of-memory", reason=why, ended=time.time()))
            case "failed":
                reason = f"worker failed {len(history)} times: {why}"
                self.tell(trial, TrialResult(outcome="failed", reason=reason, ended=time.time()))

    def finished(self) -> bool:
        return self.scheduler.finished() or self.scheduler.has_only_what_is_aside()

    def call_hook(self, hook: str, **facts: object) -> None:
        """Call a lifecycle hook. A listener that raises costs one message; the study and the other listeners
        continue.
        """
        hooks = self._loaded.hooks
        plugins = [plugin for _, plugin in hooks.list_name_plugin() if plugin is not None]
        for plugin in plugins:
            try:
                hooks.subset_hook_caller(hook, [other for other in plugins if other is not plugin])(**facts)
            except Exception as error:  # noqa: BLE001  # the plugin border
                name = getattr(plugin, "__name__", type(plugin).__name__)
                if (name, hook) not in self._raised:
                    self._raised.add((name, hook))
                    self._messages.append(f"plugin {name} raised in {hook} ({type(error).__name__}: {error})")


def _for_want_of_room(trial: Trial, result: TrialResult) -> bool:
    """Return whether other trials on its GPU may have taken the memory that a trial lacked. For host memory, Ray
    decides.
    """
    on_gpu = result.device not in ("", "cpu")
    return on_gpu and result.outcome == "out-of-memory" and 0 < trial.resources.gpu < 1
