"""An executor whose workers are events on a simulated clock: durations, failures and stragglers, but no training.

The driver is real: its time is measured and moves the simulated clock, so that a slow driver leaves slots idle.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TypeVar

from harness.execution.controller import StudyController
from harness.execution.placement import Node, Occupancy
from harness.records import Point, Trial, TrialResult

GPUS_PER_NODE = 8
POINTS = 5
"""Evaluations per trial."""
MEDIAN_SECONDS = 60.0
"""Median duration of a trial; durations are log-normal."""
SPREAD = 0.5
STRAGGLERS, SLOWDOWN = 0.02, 10.0
"""Share of trials that take this many times as long."""
FAILURES = 0.02
"""Share of attempts whose worker fails halfway."""
DIVERGED = 0.02
TRACKER_PAUSE_SECONDS = 0.25
"""Least time between two syncs of the tracker, as in its thread."""
EPOCH = 1.6e9
"""Simulated time 0, in seconds since 1970."""

Sync = Callable[[float], object]
"""Sends the ledger to MLflow; takes the seconds after which no further trial is begun."""
PASS_SECONDS = 1.0
"""That time in the tracker's thread."""
T = TypeVar("T")


def nodes_for(slots: int) -> tuple[Node, ...]:
    """Return nodes of eight GPUs that hold this many trials with one GPU each."""
    return tuple(
        Node(f"node-{index}", 64.0, float(min(GPUS_PER_NODE, slots - first)), 512.0 * 2**30)
        for index, first in enumerate(range(0, slots, GPUS_PER_NODE))
    )


@dataclass
class Phases:
    """Wall time of the driver by phase, in seconds, and how often each was entered."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: Counter[str] = field(default_factory=Counter)

    def timed(self, phase: str, function: Callable[..., T]) -> Callable[..., T]:
        """Return the function with its time added to a phase."""

        def call(*arguments: object, **named: object) -> T:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[phase] += time.perf_counter() - begun
                self.calls[phase] += 1

        return call


@dataclass(order=True)
class _Event:
    at: float
    number: int
    trial: Trial = field(compare=False)
    attempt: int = field(compare=False)
    started: float = field(compare=False)
    seconds: float = field(compare=False)
    points: int = field(compare=False)
    """Points that are reported with this event; after the last one the trial ends."""


class SimulatedWorkers:
    """Runs every trial of a study's controller on simulated workers."""

    def __init__(self, slots: int, *, seed: int = 0, sync: Sync | None = None) -> None:
        """sync: sends the ledger to MLflow; its time counts as a phase but does not stop the driver."""
        self.slots = slots
        self.phases = Phases()
        self.now = 0.0
        """Simulated seconds."""
        self.busy_seconds = 0.0
        """Sum over slots of the simulated time with a trial, until the last search trial has started."""
        self.last_start = 0.0
        self._sync = sync
        self._next_sync = 0.0
        self._sync_begun: float | None = None
        self._random = random.Random(seed)
        self._events: list[_Event] = []
        self._numbers = count()
        self._running: set[str] = set()
        self._occupancy = Occupancy()
        self._fits = self.phases.timed("fits", partial(self._occupancy.fits, nodes=nodes_for(slots)))
        self._spans: list[tuple[float, float]] = []

    def run(self, source: StudyController) -> None:
        """Run all trials of the source."""
        for name in ("begin", "report", "pause", "finish"):
            setattr(source.ledger, name, self.phases.timed("ledger", getattr(source.ledger, name)))
        self._fill(source)
        while self._events:
            event = heapq.heappop(self._events)
            self.now = max(self.now, event.at)
            self._driver(self._handle, source, event)
            self._fill(source)
            self._track()
        if self._sync is not None:
            self._send(math.inf)
        ended = self.last_start
        self.busy_seconds = sum(min(end, ended) - start for start, end in self._spans if start < ended)

    def clock(self) -> float:
        """Return simulated seconds; in the middle of a sync its real time is added."""
        return self.now + (0.0 if self._sync_begun is None else time.perf_counter() - self._sync_begun)

    def utilisation(self) -> float:
        """Return the share of slot time with a trial until the last search trial started."""
        return self.busy_seconds / (self.slots * self.last_start) if self.last_start else 1.0

    def _driver(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function of the driver; its real time moves the simulated clock."""
        before = self.phases.seconds["driver"]
        answer = self.phases.timed("driver", function)(*arguments)
        self.now += self.phases.seconds["driver"] - before
        return answer

    def _fill(self, source: StudyController) -> None:
        while len(self._running) < self.slots:
            asked = self._driver(source.ask, self._fits)
            if asked is None:
                return
            self._start(*asked)

    def _start(self, trial: Trial, attempt: int) -> None:
        seconds = MEDIAN_SECONDS * self._random.lognormvariate(0.0, SPREAD)
        seconds *= SLOWDOWN if self._random.random() < STRAGGLERS else 1.0
        self._running.add(trial.key)
        self._occupancy.add(trial.resources)
        if trial.phase == "search":
            self.last_start = self.now
        self._push(trial, attempt, self.now, seconds, points=1)

    def _push(self, trial: Trial, attempt: int, started: float, seconds: float, *, points: int) -> None:
        at = started + seconds * points / POINTS
        heapq.heappush(self._events, _Event(at, next(self._numbers), trial, attempt, started, seconds, points))

    def _handle(self, source: StudyController, event: _Event) -> None:
        trial, rng = event.trial, self._random
        if event.points == POINTS // 2 and rng.random() < FAILURES:
            self._end(event)
            source.worker_failed(trial, "the simulated node is gone", kind="node")
            return
        source.report(trial, (_point(trial, event),))
        if event.points < POINTS:
            self._push(trial, event.attempt, event.started, event.seconds, points=event.points + 1)
            return
        self._end(event)
        source.tell(trial, _result(trial, event, diverged=rng.random() < DIVERGED))

    def _end(self, event: _Event) -> None:
        self._running.remove(event.trial.key)
        self._occupancy.remove(event.trial.resources)
        self._spans.append((event.started, self.now))

    def _track(self) -> None:
        if self._sync is None or self.now < self._next_sync:
            return
        self._next_sync = self.now + self._send(PASS_SECONDS) + TRACKER_PAUSE_SECONDS

    def _send(self, seconds: float) -> float:
        """Call the tracker, and return how long it took."""
        assert self._sync is not None
        wall, cpu = self.phases.seconds["tracker"], time.process_time()
        self._sync_begun = time.perf_counter()
        self.phases.timed("tracker", self._sync)(seconds)
        self._sync_begun = None
        self.phases.seconds["tracker cpu"] += time.process_time() - cpu
        return self.phases.seconds["tracker"] - wall


def score_of(trial: Trial) -> float:
    """Return a score that depends on the configuration and the seed."""
    noise = random.Random(trial.key.partition("/")[2]).gauss(0.0, 0.05)
    return float(abs(trial.optimisation.learning_rate - 3e-3) ** 0.5 + 0.1 + abs(noise))


def result_of(trial: Trial) -> TrialResult:
    """Return a complete result for a trial that no worker has run."""
    return _result(trial, _Event(MEDIAN_SECONDS, 0, trial, 1, 0.0, MEDIAN_SECONDS, POINTS), diverged=False)


def _point(trial: Trial, event: _Event) -> Point:
    share = event.points / POINTS
    return Point(
        update=round(trial.training.updates * share),
        epoch=share,
        seconds=event.seconds * share,
        time=EPOCH + event.at,
        learning_rate=trial.optimisation.learning_rate,
        train_loss=1 / event.points,
        gradient_norm=1.0,
        metrics={"mse": score_of(trial) / share},
    )


def _result(trial: Trial, event: _Event, *, diverged: bool) -> TrialResult:
    score = None if diverged else score_of(trial)
    metrics = {} if score is None else {"validation": {"mse": score}}
    if score is not None and trial.phase == "final":
        metrics["test"] = {"mse": score}
    return TrialResult(
        outcome="diverged" if diverged else "complete",
        reason="loss is not finite" if diverged else "",
        score=score,
        metrics=metrics,
        updates=trial.training.updates,
        epochs=1.0,
        best_update=trial.training.updates,
        train_seconds=event.seconds,
        started=EPOCH + event.started,
        ended=EPOCH + event.at,
        node="simulated",
        device="cpu",
    )
