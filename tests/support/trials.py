"""Run the trials of a scheduler without training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness.ledger.journal import TrialEntry
from harness.plugin.registry import Registry
from harness.records import ParamValue, Resources, Trial, TrialResult
from harness.samplers import CORE_SAMPLERS
from harness.search.cell import CellState
from harness.search.proposals import Proposer
from harness.search.scheduler import TrialScheduler
from harness.search.suggestion import draw_of, suggest, told_trial
from harness.study.file import parse_study
from harness.study.plan import make_plan
from harness.study.space import Space
from tests.conftest import make_trial

SAMPLERS = ("random", "quasi-random", "tpe")
"""Those of the core that are fast, and sample every space."""
Score = Callable[[Trial], float | None]
MakeStates = Callable[..., list[CellState]]
"""Top-level keys of a study file that replace those of the toys → the states of its cells."""


def any_resources(_: Resources) -> bool:
    return True


def complete(score: float) -> TrialResult:
    return TrialResult(outcome="complete", score=score)


def result_of(score: float | None) -> TrialResult:
    return TrialResult(outcome="diverged", reason="nan") if score is None else complete(score)


def rate_of(trial: Trial) -> float:
    """Return a score that depends on the parameters."""
    return float(trial.params["learning_rate_factor"] or 0)


def always(score: float) -> Score:
    return lambda _: score


def run_trials(
    scheduler: TrialScheduler, score: Score = rate_of, *, at_once: int = 1, stop_after: int | None = None
) -> list[Trial]:
    """Start and end trials, the oldest first, until none is left, and return them in the order of their start.

    score: of a trial; None: it diverges.  stop_after: number of trials after which to stop, with some running.
    """
    trials: list[Trial] = []
    running: list[Trial] = []
    while stop_after is None or len(trials) < stop_after:
        while len(running) < at_once and (trial := scheduler.ask(any_resources)) is not None:
            running.append(trial)
            trials.append(trial)
        if not running:
            break
        if stop_after is None or len(trials) < stop_after:
            ended = running.pop(0)
            end(scheduler, ended, score(ended))
    return trials


def end(scheduler: TrialScheduler, trial: Trial, score: float | None) -> None:
    """End a trial, or pause it at its rung, and end the trials that are pruned with it.  None: it diverges."""
    if trial.until is not None and score is not None:
        scheduler.pause(trial, TrialResult(outcome="pruned", score=score, updates=trial.until))
    else:
        updates = {"updates": trial.until or trial.training.updates}
        scheduler.tell(trial, result_of(score).model_copy(update=updates))
    for pruned, result in scheduler.pruned():
        scheduler.tell(pruned, result)


def rebuilt(states: Iterable[CellState]) -> TrialScheduler:
    """Return a scheduler with what the ledger holds: every trial, and the results of those that ended."""
    copies = []
    for state in states:
        again = [key for key, entry in state.entries.items() if entry.result is None and not entry.rungs]
        copies.append(CellState(state.proposer, study_id=state.study_id, again=again))
        copies[-1].entries.update(state.entries)
    return TrialScheduler(copies)


def entry_of(number: int, score: float | None, **params: ParamValue) -> TrialEntry:
    trial = make_trial(number=number, params=params, draw=number)
    return TrialEntry(trial, 1, (), result_of(score))


def suggested(
    sampler: str, space: Space, *, seed: int, draw: int, history: Sequence[TrialEntry] = ()
) -> dict[str, ParamValue]:
    """Return what a sampler of the core suggests.  seed: the cell's.  history: with scores to be minimized."""
    told = [told_trial(entry, space, "lower") for entry in history]
    return suggest(CORE_SAMPLERS[sampler], draw_of(space, cell_seed=seed, number=draw), told)


def small_states(toys: Registry, sampler: str, *, pruning: object = "none", **sections: object) -> list[CellState]:
    """Return the states of the two cells of a small study.  sampler: of the core.  sections: of the study file."""
    study = parse_study(
        {
            "name": "toys",
            "models": ["toy-ema", "toy-stack"],
            "tasks": [{"name": "toy-ragged", "parameters": 300}],
            "search": {"sampler": sampler, "pruning": pruning},
            **sections,
        },
        source="here",
    )
    return [CellState(Proposer(plan, seed=0), study_id="s") for plan in make_plan(study, toys).cells]
