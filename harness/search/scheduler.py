"""The dealer: which trial comes next.  Pure: plans and told results in, trials out; no clock, no files, no Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import qmc

from harness.errors import BudgetError
from harness.ledger.journal import Entry
from harness.ledger.selection import winner
from harness.records import ParamValue, Resources, Trial, TrialResult
from harness.seeds import Seeds, derive
from harness.study.budget import Size
from harness.study.cell_plan import CellPlan
from harness.study.space import Space, at_unit

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every in-memory study, one a draw

SamplerName = Literal["random", "tpe", "quasi-random"]
DRAWS = 1000
"""Rejected draws in a row after which a cell's budget counts as impossible."""


def suggest(
    sampler: SamplerName, space: Space, *, seed: int, draw: int, history: Sequence[Entry]
) -> dict[str, ParamValue]:
    """Parameters of one draw: a function of these arguments alone, in any process.

    `seed` is the cell's.  `random` and `quasi-random` ignore `history`; `tpe` learns from its trials, whose parameters
    must lie in `space`.
    """
    if sampler == "quasi-random":
        return _quasi_random(space, seed, draw)
    # A sampler that is seeded once and rebuilt after a restart draws the same points again: so one for each draw.
    of_this_draw = derive(seed, "draw", draw) % 2**32
    if sampler == "random":
        return _ask(RandomSampler(of_this_draw), space, [])
    tpe = TPESampler(seed=of_this_draw, multivariate=True, constant_liar=True)
    return _ask(tpe, space, [_told(entry, space) for entry in history])


def _ask(sampler: BaseSampler, space: Space, told: Sequence[FrozenTrial]) -> dict[str, ParamValue]:
    study = optuna.create_study(sampler=sampler)  # always minimising: `_told` turns scores round
    study.add_trials(told)
    return study.ask(dict(space)).params


def _told(entry: Entry, space: Space) -> FrozenTrial:
    """A trial as Optuna's samplers learn from it; one that did not complete has no value."""
    outcome = entry.result.outcome if entry.result else None
    state = {
        None: TrialState.RUNNING,
        "complete": TrialState.COMPLETE,
        "diverged": TrialState.PRUNED,
        "out-of-memory": TrialState.FAIL,
        "failed": TrialState.FAIL,
    }[outcome]
    value = entry.result.score if entry.result and state is TrialState.COMPLETE else None
    params = {name: entry.trial.params[name] for name in space}
    return create_trial(state=state, value=value, params=params, distributions=dict(space))


def _quasi_random(space: Mapping[str, BaseDistribution], seed: int, draw: int) -> dict[str, ParamValue]:
    """Point `draw` of a scrambled Sobol sequence.  Optuna's own keeps its place in a storage and draws the first point
    at random; here the place is the draw."""
    sobol = qmc.Sobol(d=len(space), scramble=True, rng=derive(seed, "sobol") % 2**32)
    if draw:  # scipy cannot fast-forward by 0
        sobol.fast_forward(draw)
    units = sobol.random(1)[0]
    return {name: at_unit(dimension, float(unit)) for (name, dimension), unit in zip(space.items(), units, strict=True)}


@dataclass
class CellState:
    """What is known of one cell: its plan and every trial that was ever dealt for it."""

    plan: CellPlan
    study_id: str
    seed: int
    """The study's."""
    sampler: SamplerName
    entries: dict[str, Entry] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    """Keys of trials that were dealt and neither run nor ended: they go first."""
    alone: set[str] = field(default_factory=set)
    """Keys of those that ran out of memory beside others on a GPU: they get it for themselves, once."""
    _sizes: dict[str, Size | str] = field(default_factory=dict)
    """Architecture → its size, or why it has none."""

    @property
    def searched(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.trial.phase == "search"]

    def winner(self) -> Entry | None:
        return winner(self.entries.values(), self.plan.facts.metric.better)

    def search_ended(self) -> bool:
        searched = self.searched
        return len(searched) >= self.plan.facts.trials and all(entry.result is not None for entry in searched)

    def missing_repetitions(self) -> list[int]:
        """Repetitions that the cell's present setting has no final trial for."""
        best = self.winner()
        if not self.search_ended() or (best is None and self.plan.setting is None):
            return []
        dealt = {entry.trial.repetition for entry in self.finals()}
        return [repetition for repetition in range(self.plan.facts.repetitions) if repetition not in dealt]

    def finals(self) -> list[Entry]:
        """Final trials of the present winner or the published setting; those of an earlier winner are superseded."""
        best = self.winner()
        key = best.trial.key if best else None
        return [entry for entry in self.entries.values() if entry.trial.phase == "final" and entry.trial.winner == key]

    def next_trial(self) -> Trial | None:
        """The trial this cell would have next; None where it must wait or has all."""
        due = self._due()
        if due is not None:
            # What a trial occupies may differ from when it was first dealt.
            return self.entries[due].trial.model_copy(update={"resources": self.wants()})
        if len(self.searched) < self.plan.facts.trials:
            return self.search_trial(len(self.searched))
        missing = self.missing_repetitions()
        return self.final_trial(missing[0]) if missing else None

    def wants(self) -> Resources:
        """What the next trial occupies."""
        wanted = self.plan.resources
        return wanted.model_copy(update={"gpu": 1.0}) if self._due() in self.alone else wanted

    def _due(self) -> str | None:
        return next((key for key in self.again if self._is_due(self.entries[key].trial)), None)

    def _is_due(self, trial: Trial) -> bool:
        """Whether an interrupted trial is still wanted: a final one only of a winner that stands."""
        best = self.winner()
        stands = self.search_ended() and trial.winner == (best.trial.key if best else None)
        return trial.phase == "search" or stands

    def finished(self) -> bool:
        ended = all(entry.result is not None for entry in self.finals())
        return ended and self.search_ended() and not self.missing_repetitions()

    def remember(self, trial: Trial) -> None:
        """It was dealt for the first time."""
        self.entries[trial.key] = Entry(trial, 1)

    def search_trial(self, number: int) -> Trial:
        """The trial of this number: the first draw, after those of the trial before, that the budget admits."""
        plan = self.plan
        history = self.searched
        first = 1 + max((entry.trial.draw or 0 for entry in history), default=-1)
        rejections: list[str] = []
        for draw, params in self._draws(first, history):
            build = plan.space.build_params(params)
            size = self._size(params, build)
            if isinstance(size, str):
                rejections.append(size)
                continue
            return self._trial(
                phase="search",
                number=number,
                params=params,
                build=build,
                size=size,
                optimisation=plan.space.optimisation(params, plan.schedule),
                seeds=Seeds.of(self.seed, 0),
                draw=draw,
                rejections=tuple(rejections),
            )
        raise BudgetError(
            f"{plan.cell}: {DRAWS} configurations in a row were rejected, the last with: {rejections[-1]}; "
            "change the task's parameters, the model's space or budget.tolerance"
        )

    def _size(self, params: Mapping[str, ParamValue], build: Mapping[str, ParamValue]) -> Size | str:
        """The solved size, or why there is none.

        Solved once an architecture, since dropout alters no count: a slot waits while the next trial is being made.
        """
        architecture = repr([params[name] for name in self.plan.space.architecture])
        if architecture not in self._sizes:
            try:
                self._sizes[architecture] = self.plan.size(build)
            except BudgetError as error:
                self._sizes[architecture] = str(error)
        return self._sizes[architecture]

    def _draws(self, first: int, history: Sequence[Entry]) -> Iterator[tuple[int, dict[str, ParamValue]]]:
        dimensions = self.plan.space.dimensions
        seed = derive(self.seed, "search", str(self.plan.cell))
        told = [_lower_is_better(entry, self.plan.facts.metric.better) for entry in history]
        for draw in range(first, first + DRAWS):
            yield draw, suggest(self.sampler, dimensions, seed=seed, draw=draw, history=told)

    def final_trial(self, repetition: int) -> Trial:
        """The cell's setting again, with the seeds of this repetition."""
        number = sum(entry.trial.phase == "final" for entry in self.entries.values())
        seeds = Seeds.of(self.seed, repetition + 1)
        setting, best = self.plan.setting, self.winner()
        if setting is not None:
            params: dict[str, ParamValue] = {
                **setting.params,
                "optimizer": setting.optimisation.optimizer,
                "learning_rate": setting.optimisation.learning_rate,
                "clip": setting.optimisation.clip,
            }
            return self._trial(
                phase="final",
                number=number,
                params=params,
                build=dict(setting.params),
                size=self.plan.published_size(),
                embedding=setting.embedding,
                tied=setting.tied,
                optimisation=setting.optimisation.model_copy(update={"schedule": self.plan.schedule}),
                seeds=seeds,
                repetition=repetition,
            )
        assert best is not None  # `missing_repetitions` is empty without a winner
        again = {"phase": "final", "number": number, "seeds": seeds, "repetition": repetition, "winner": best.trial.key}
        return best.trial.model_copy(update={**again, "draw": None, "rejections": (), "resources": self.plan.resources})

    def _trial(self, *, size: Size, **given: object) -> Trial:
        plan = self.plan
        return Trial.model_validate(
            {
                "study": self.study_id,
                "cell": plan.cell,
                "task": plan.facts.task,
                "model": plan.model.name,
                "widths": size.widths,
                "parameters": size.count.parameters,
                "training": plan.training,
                "resources": plan.resources,
                "data": dict(plan.data),
                "plugins": plan.plugins,
                **given,
            }
        )


def _lower_is_better(entry: Entry, better: Literal["lower", "higher"]) -> Entry:
    if better == "lower" or entry.result is None or entry.result.score is None:
        return entry
    return Entry(entry.trial, entry.attempt, (), entry.result.model_copy(update={"score": -entry.result.score}))


class Dealer:
    """Deals trials over all cells in turn: what was interrupted, then the search, then the final trials."""

    def __init__(self, cells: Sequence[CellState]) -> None:
        self._cells = {str(state.plan.cell): state for state in cells}
        self._turn = 0
        self._running: dict[str, Resources] = {}
        self._died: set[str] = set()
        """Keys of trials whose worker died, or that lacked room."""
        self._places: dict[str, str] = {}
        """Key of each of them → key of the trial whose worker it has: its own, unless it is a companion."""
        self._aside = False
        self._idle: list[Resources] = []
        """Classes of workers that wait for a trial, the longest waiting first."""

    @property
    def cells(self) -> Mapping[str, CellState]:
        return self._cells

    @property
    def running(self) -> Mapping[str, Resources]:
        """Key → resources of every trial that was dealt and has not ended."""
        return self._running

    def deal(self, fits: Callable[[Resources], bool]) -> Trial | None:
        """The next trial whose resources fit beside those running; None where none does or none is ready."""
        for state in self._in_turn():
            # Asked first, since making a trial solves widths.
            if not fits(state.wants()):
                continue
            trial = state.next_trial()
            if trial is None:
                continue
            self._turn = list(self._cells.values()).index(state) + 1
            self._started(state, trial)
            return trial
        return None

    def companions(self, trial: Trial) -> tuple[Trial, ...]:
        """Further final trials of its cell that are trained beside this one, in its place.

        One whose worker died has none and is none: the next death tells of it alone.
        """
        state = self._cells[str(trial.cell)]
        found: list[Trial] = []
        while trial.phase == "final" and trial.key not in self._died and 1 + len(found) < trial.resources.stack:
            beside = state.next_trial()
            if beside is None or beside.resources != trial.resources or beside.key in self._died:
                break
            self._started(state, beside, place=trial.key)
            found.append(beside)
        return tuple(found)

    def _in_turn(self) -> list[CellState]:
        """The cells after the last one served, those first whose class has an idle worker.

        A worker serves one class; to start one of another class in its place costs seconds in which a slot is idle.
        """
        states = list(self._cells.values())
        turned = [*states[self._turn :], *states[: self._turn]]
        return sorted(turned, key=lambda state: state.plan.resources not in self._idle)

    def _started(self, state: CellState, trial: Trial, place: str | None = None) -> None:
        if trial.key in state.again:
            state.again.remove(trial.key)
        else:
            state.remember(trial)
        self._running[trial.key] = trial.resources
        self._places[trial.key] = place or trial.key
        if self._idle and place is None:  # its own worker, or the one that makes room
            self._idle.remove(trial.resources if trial.resources in self._idle else self._idle[0])

    def ended(self, trial: Trial, result: TrialResult) -> None:
        """A trial has its outcome."""
        state = self._cells[str(trial.cell)]
        known = state.entries[trial.key]
        state.entries[trial.key] = Entry(trial, known.attempt, known.points, result)
        self._freed(trial)

    def lost(self, trial: Trial, *, alone: bool = False) -> None:
        """A trial did not end and is to be dealt again, with a GPU for itself where it shall be alone."""
        state = self._cells[str(trial.cell)]
        state.again.append(trial.key)
        self._died.add(trial.key)
        if alone:
            state.alone.add(trial.key)
        self._freed(trial)

    def set_aside(self, trial: Trial) -> None:
        """A trial did not end and is not dealt again; its cell waits for it, the others go on."""
        self._aside = True
        self._freed(trial)

    def has_only_what_is_aside(self) -> bool:
        """Whether nothing runs and nothing can be dealt, though trials that were set aside have not ended."""
        return self._aside and not self._running and all(state.next_trial() is None for state in self._cells.values())

    def _freed(self, trial: Trial) -> None:
        if self._running.pop(trial.key, None) is not None:
            place = self._places.pop(trial.key)
            if place not in self._places.values():
                self._idle.append(trial.resources)

    def finished(self) -> bool:
        return all(state.finished() for state in self._cells.values())
